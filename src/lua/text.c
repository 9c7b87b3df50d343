/* text.c - see text.h: opening, and cutting what is mapped. */
#include "lua/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/ahead.h"
#include "lua/unpack.h"
#include "sys/mapping.h"

enum { COUNT_BYTES = 16 * 128 };

/* The path from the root on, to find the file by wherever this process goes; the caller frees it. NULL: it is not
 * known. */
static char *whole_path(const char *path)
{
  char *directory = path[0] == '/' ? NULL : getcwd(NULL, 0), *whole = NULL;
  if (path[0] == '/')
    whole = strdup(path);
  else if (directory && asprintf(&whole, "%s/%s", directory, path) < 0)
    whole = NULL;
  free(directory);
  return whole;
}

/* Can the file be mapped, and is it plain text? Notes how long it is. */
static bool is_mappable(struct text_part *part, const struct stat *info, int fd)
{
  char magic[UNPACK_MAGIC];
  if (strcmp(part->name, "-") == 0 || !S_ISREG(info->st_mode)) return false;
  if (info->st_size == 0 && strncmp(part->name, "/proc/", 6) == 0) return false; /* such files do not tell their size */
  ssize_t length = pread(fd, magic, sizeof magic, 0);
  if (length > 0 && unpack_is_packed(magic, (size_t)length)) return false;
  part->length = (size_t)info->st_size;
  return true;
}

static size_t round_up(size_t bytes)
{
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (bytes + page - 1) / page * page;
}

/* Looks at all files. Returns 0 or an errno; *mappable: all can be mapped. */
static int look_at(struct text *text, size_t *failed, bool *mappable, uint64_t *hash)
{
  *mappable = true;
  for (size_t k = 0; k < text->part_count; k++) {
    struct text_part *part = &text->parts[k];
    struct stat info;
    *failed = k;
    if (strcmp(part->name, "-") == 0) {
      *mappable = false;
      continue;
    }
    if (stat(part->name, &info) < 0) return errno;
    if (S_ISDIR(info.st_mode)) return EISDIR;
    if (!S_ISREG(info.st_mode)) { /* to open a pipe is to wait for who writes */
      if (access(part->name, R_OK) < 0) return errno;
      *mappable = false;
      continue;
    }
    int fd = open(part->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    if (!is_mappable(part, &info, fd)) *mappable = false;
    close(fd);
    part->device = info.st_dev;
    part->inode = info.st_ino;
    const uint64_t seen[] = {(uint64_t)info.st_dev,          (uint64_t)info.st_ino,
                             (uint64_t)info.st_size,         (uint64_t)info.st_mtim.tv_sec,
                             (uint64_t)info.st_mtim.tv_nsec, (uint64_t)info.st_ctim.tv_sec,
                             (uint64_t)info.st_ctim.tv_nsec};
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
      *hash = (*hash ^ seen[i]) * 0x9e3779b97f4a7c15ULL + (*hash >> 29);
  }
  return 0;
}

/* Maps the files behind one another. Returns 0, an errno, or -1: a file system without mapping. */
static int map_parts(struct text *text, size_t *failed)
{
  size_t total = 0;
  for (size_t k = 0; k < text->part_count; k++) {
    text->parts[k].begin = total;
    total += round_up(text->parts[k].length);
  }
  if (total == 0) return 0;
  char *base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return errno;
  text->bytes = base;
  text->reserved = total;
  for (size_t k = 0; k < text->part_count; k++) {
    struct text_part *part = &text->parts[k];
    *failed = k;
    if (part->length == 0) continue;
    text->length = part->begin + part->length;
    int fd = open(part->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    void *bytes = mmap(base + part->begin, part->length, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    int error = errno;
    close(fd);
    if (bytes == MAP_FAILED) return error == ENOMEM ? ENOMEM : -1;
    part->mapping = mapping_watch(bytes, part->length);
    if (!part->mapping) return ENOMEM;
    madvise(bytes, part->length, MADV_SEQUENTIAL);
    part->path = whole_path(part->name);
  }
  return 0;
}

static void unmap(struct text *text)
{
  for (size_t k = 0; k < text->part_count; k++) {
    mapping_forget(text->parts[k].mapping);
    free(text->parts[k].path);
    text->parts[k].mapping = NULL;
    text->parts[k].path = NULL;
  }
  if (text->reserved) munmap((void *)(uintptr_t)text->bytes, text->reserved);
  text->bytes = NULL;
  text->length = text->reserved = 0;
}

int text_open(struct text *text, const char *const *paths, size_t count, size_t *failed)
{
  bool mappable;
  uint64_t hash = count;
  memset(text, 0, sizeof *text);
  text->fd = -1;
  *failed = 0;
  text->parts = calloc(count ? count : 1, sizeof *text->parts);
  if (!text->parts) return ENOMEM;
  for (; text->part_count < count; text->part_count++) {
    text->parts[text->part_count].name = strdup(paths[text->part_count]);
    if (!text->parts[text->part_count].name) {
      text_close(text);
      return ENOMEM;
    }
  }
  int error = look_at(text, failed, &mappable, &hash);
  if (!error && mappable) {
    error = map_parts(text, failed);
    if (error == -1) {
      unmap(text);
      mappable = false;
      error = 0;
    }
  }
  if (!error && !mappable) {
    *failed = 0;
    text->is_stream = true;
    error = text_open_part(text);
  }
  if (error) {
    text_close(text);
    return error;
  }
  snprintf(text->version, sizeof text->version, "%zu:%zu %016jx", count, text->length, (uintmax_t)hash);
  return 0;
}

void text_close(struct text *text)
{
  unmap(text);
  text_close_part(text);
  for (size_t k = 0; k < text->part_count; k++) {
    ahead_close(text->parts[k].ahead);
    free(text->parts[k].name);
  }
  free(text->parts);
  free(text->buffer);
  free(text->packed);
  memset(text, 0, sizeof *text);
  text->fd = -1;
}

/* ---- mapped ---- */

/* The part that has the byte at `offset`. */
static size_t part_at(const struct text *text, size_t offset)
{
  size_t low = 0, high = text->part_count; /* it is below `high`, not below `low` */
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (text->parts[middle].begin <= offset)
      low = middle;
    else
      high = middle;
  }
  while (low + 1 < text->part_count && text->parts[low].length == 0 && text->parts[low + 1].begin <= offset) low++;
  return low;
}

/* Where the part of the byte at `offset` ends. */
static const char *part_end(const struct text *text, size_t offset)
{
  const struct text_part *part = &text->parts[part_at(text, offset)];
  return text->bytes + part->begin + part->length;
}

/* How many bytes of a part are the file's. */
static size_t whole_part(const struct text_part *part)
{
  struct stat info;
  if (!part->mapping) return part->length;
  size_t whole = mapping_whole(part->mapping);
  /* Of the last page that is left the end reads as zeros, and nothing tells; so the file is asked for its size. Another
   * one of the same name says nothing of the one that is mapped. */
  bool is_same = part->path && stat(part->path, &info) == 0 && info.st_dev == part->device &&
                 info.st_ino == part->inode && info.st_size >= 0;
  return is_same && (size_t)info.st_size < whole ? (size_t)info.st_size : whole;
}

size_t text_whole(const struct text *text, size_t reach, size_t *which)
{
  *which = 0;
  if (text->part_count == 0 || reach == 0) return reach;
  size_t first = part_at(text, reach - 1), last = first;
  if (reach >= text->length) first = 0;
  for (size_t k = first; k <= last; k++) {
    const struct text_part *part = &text->parts[k];
    size_t whole = whole_part(part);
    *which = k;
    if (whole < part->length && (k < last || part->begin + whole < reach)) return part->begin + whole;
  }
  return reach;
}

/* Line ends in the next COUNT_BYTES: 16 counts side by side, which the compiler turns into vector instructions. */
static size_t count_ends(const char *bytes)
{
  unsigned char sums[16] = {0};
  size_t count = 0;
  for (int i = 0; i < COUNT_BYTES; i += 16)
    for (int k = 0; k < 16; k++) sums[k] = (unsigned char)(sums[k] + (bytes[i + k] == '\n'));
  for (int k = 0; k < 16; k++) count += sums[k];
  return count;
}

size_t text_count_ends(const char *from, const char *stop)
{
  size_t count = 0;
  for (; stop - from > COUNT_BYTES; from += COUNT_BYTES) count += count_ends(from);
  for (; from < stop; from++) count += *from == '\n';
  return count;
}

size_t text_count_lines(const char *from, const char *stop, size_t want, size_t *length)
{
  const char *p = from;
  size_t count = 0, ends;
  for (; stop - p > COUNT_BYTES && (ends = count_ends(p)) < want - count; p += COUNT_BYTES) count += ends;
  for (; count < want && p < stop; count++) {
    const char *end = memchr(p, '\n', (size_t)(stop - p));
    p = end ? end + 1 : stop;
  }
  *length = (size_t)(p - from);
  return count;
}

size_t text_cut_lines(const struct text *text, size_t offset, size_t want, size_t *length)
{
  *length = 0;
  if (!text->bytes || offset >= text->length) return 0;
  return text_count_lines(text->bytes + offset, part_end(text, offset), want, length);
}

/* The end of the row that begins at `p`, behind its line end; NULL: the text ends before. */
static const char *row_end(const char *p, const char *stop, char quote, char separator)
{
  const char *end = memchr(p, '\n', (size_t)(stop - p));
  if (!memchr(p, quote, (size_t)((end ? end : stop) - p))) return end ? end + 1 : NULL;
  for (bool begins = true; p < stop; p++) {
    if (begins && *p == quote) {
      do {
        p = memchr(p + 1, quote, (size_t)(stop - p - 1));
        if (!p) return NULL;
      } while (p + 1 < stop && p[1] == quote && p++);
    } else if (*p == '\n') {
      return p + 1;
    }
    begins = *p == separator;
  }
  return NULL;
}

size_t text_count_rows(const char *from, const char *stop, size_t want, char quote, char separator, bool is_whole,
                       size_t *length)
{
  const char *p = from, *behind = from;
  size_t count = 0;
  while (count < want) {
    while (p < stop && (*p == '\n' || (*p == '\r' && p + 1 < stop && p[1] == '\n'))) p++;
    if (p == stop) break;
    p = row_end(p, stop, quote, separator);
    if (!p && !is_whole) break;
    if (!p) p = stop;
    count++;
    behind = p;
  }
  *length = (size_t)(behind - from);
  return count;
}

size_t text_cut_rows(const struct text *text, size_t offset, size_t want, char quote, char separator, size_t *length)
{
  *length = 0;
  if (!text->bytes || offset >= text->length) return 0;
  return text_count_rows(text->bytes + offset, part_end(text, offset), want, quote, separator, true, length);
}

const char *text_block_end(const char *from, const char *stop, size_t size, const char *start, size_t start_length)
{
  if ((size_t)(stop - from) <= size) return NULL;
  const char *last = from + size; /* a line end before it is preferred to one behind it */
  for (const char *p = last; p > from;) {
    const char *end = memrchr(from, '\n', (size_t)(p - from));
    if (!end) break;
    bool fits = (size_t)(stop - end - 1) >= start_length && memcmp(end + 1, start, start_length) == 0;
    if (fits || start_length == 0) return end + 1;
    p = end;
  }
  for (const char *p = last; p < stop;) {
    const char *end = memchr(p, '\n', (size_t)(stop - p));
    if (!end) return NULL;
    if (start_length == 0) return end + 1;
    if ((size_t)(stop - end - 1) < start_length) return NULL;
    if (memcmp(end + 1, start, start_length) == 0) return end + 1;
    p = end + 1;
  }
  return NULL;
}

size_t text_cut_block(const struct text *text, size_t offset, size_t size, const char *start, size_t start_length)
{
  if (!text->bytes || offset >= text->length) return 0;
  const char *from = text->bytes + offset, *stop = part_end(text, offset);
  if (from >= stop) return 0;
  const char *end = text_block_end(from, stop, size, start, start_length);
  return (size_t)((end ? end : stop) - from);
}
