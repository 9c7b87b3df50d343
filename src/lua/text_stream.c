/* text_stream.c - see text.h: texts that are read from their beginning to their end, compressed ones among them. */
#include "lua/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/ahead.h"
#include "lua/unpack.h"
#include "sys/cores.h"
#include "sys/signals.h"
#include "sys/stdin.h"

enum { READ_BYTES = 1 << 16, PACKED_BYTES = 1 << 17, MOST_THREADS = 8 };
/* What is read is looked at again for an end when it has grown by one part of LITTLE; signals count in what is longer
 * than MUCH, which may take long to come. */
enum { LITTLE = 8, MUCH = 16 << 20 };

/* A script may have read the first lines of standard input itself: the rest begins with what stdio has read beyond
 * them. */
static int take_read_ahead(struct text *text)
{
  free(text->buffer);
  text->buffer = malloc(2 * (size_t)READ_BYTES);
  if (!text->buffer) return ENOMEM;
  text->capacity = 2 * (size_t)READ_BYTES;
  text->have = stdin_take_buffered(text->buffer, text->capacity);
  return 0;
}

/* Is the open file one that threads can unpack? */
static bool is_packed_file(int fd)
{
  struct stat info;
  char magic[UNPACK_MAGIC];
  if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode)) return false;
  ssize_t length = pread(fd, magic, sizeof magic, 0);
  return length > 0 && unpack_is_packed(magic, (size_t)length);
}

/* Begins to unpack files behind the present one, so that there is one for each processor. What is wrong with them is
 * told when their turn comes. */
static void look_ahead(struct text *text, size_t threads)
{
  const char *message;
  for (size_t k = text->part + 1; k < text->part_count && k < text->part + threads; k++) {
    struct text_part *part = &text->parts[k];
    if (part->ahead || strcmp(part->name, "-") == 0) continue;
    struct stat info;
    if (stat(part->name, &info) < 0 || !S_ISREG(info.st_mode)) continue; /* to open a pipe is to wait for who writes */
    int fd = open(part->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    part->ahead = is_packed_file(fd) ? ahead_open(fd, &message) : NULL;
    if (part->ahead)
      ahead_widen(part->ahead, 1);
    else
      close(fd);
  }
}

/* Opens the present part's file. Returns 0 or an errno. */
static int open_file(struct text *text)
{
  struct stat info;
  const char *path = text->parts[text->part].name;
  text->fd = strcmp(path, "-") == 0 ? stdin_open(&text->has_stdin) : open(path, O_RDONLY | O_CLOEXEC);
  if (text->fd < 0) return errno;
  if (fstat(text->fd, &info) < 0 || S_ISDIR(info.st_mode)) {
    int error = S_ISDIR(info.st_mode) ? EISDIR : errno;
    text_close_part(text);
    return error;
  }
  return text->has_stdin ? take_read_ahead(text) : 0;
}

int text_open_part(struct text *text)
{
  const char *message;
  struct text_part *part = &text->parts[text->part];
  int cores = cores_available();
  size_t threads = cores < MOST_THREADS ? (size_t)cores : MOST_THREADS;
  text->at = text->have = text->lines = text->packed_have = text->packed_at = text->piece_left = 0;
  text->ended = text->is_known = text->packed_ended = text->is_damaged = false;
  if (!part->ahead) {
    int error = open_file(text);
    if (error) return error;
    if (strcmp(part->name, "-") != 0 && is_packed_file(text->fd)) part->ahead = ahead_open(text->fd, &message);
    if (!part->ahead) return 0; /* what is wrong, its first bytes tell */
    text->fd = -1;
  }
  text->is_known = true;
  ahead_widen(part->ahead, threads);
  look_ahead(text, threads);
  return 0;
}

void text_close_part(struct text *text)
{
  if (text->fd >= 0) close(text->fd);
  text->fd = -1;
  if (text->has_stdin) stdin_give_back();
  text->has_stdin = false;
  unpack_close(text->unpacker);
  text->unpacker = NULL;
  if (text->part < text->part_count) {
    ahead_close(text->parts[text->part].ahead);
    text->parts[text->part].ahead = NULL;
  }
}

bool text_next_part(struct text *text, int *error)
{
  *error = 0;
  if (text->part >= text->part_count) return false;
  text_close_part(text);
  if (++text->part == text->part_count) return false;
  *error = text_open_part(text);
  return *error == 0;
}

const char *text_trouble(const struct text *text)
{
  return text->trouble ? text->trouble : strerror(errno);
}

/* Reads into a buffer. Returns bytes read, 0 at the end, -1 with errno set. */
static ssize_t read_bytes(struct text *text, char *to, size_t room)
{
  ssize_t n;
  do n = read(text->fd, to, room);
  while (n < 0 && errno == EINTR && signals_count() == 0);
  if (n <= 0 && text->has_stdin) { /* there is no more to take: it is the script's again */
    stdin_give_back();
    text->has_stdin = false;
  }
  return n;
}

/* Sees to room behind what is there. */
static bool make_room(struct text *text)
{
  if (text->at > 0) {
    memmove(text->buffer, text->buffer + text->at, text->have - text->at);
    text->have -= text->at;
    text->at = 0;
  }
  if (text->capacity - text->have >= READ_BYTES) return true;
  size_t capacity = text->capacity ? text->capacity * 2 : 2 * (size_t)READ_BYTES;
  char *buffer = realloc(text->buffer, capacity);
  if (!buffer) return false;
  text->buffer = buffer;
  text->capacity = capacity;
  return true;
}

/* Looks at the part's first bytes, once there are enough: where it is compressed, what is there is what is to be
 * unpacked. */
static bool look_at_magic(struct text *text)
{
  if (text->have < UNPACK_MAGIC && !text->ended && unpack_may_be_packed(text->buffer, text->have)) return true;
  text->is_known = true;
  if (!unpack_is_packed(text->buffer, text->have)) return true;
  text->unpacker = unpack_open(text->buffer, text->have, &text->trouble);
  if (!text->unpacker) return false;
  size_t capacity = text->have > PACKED_BYTES ? text->have : PACKED_BYTES;
  free(text->packed);
  text->packed = malloc(capacity);
  if (!text->packed) {
    text->trouble = "not enough memory";
    return false;
  }
  memcpy(text->packed, text->buffer, text->have);
  text->packed_have = text->have;
  text->packed_ended = text->ended;
  text->have = 0;
  text->ended = false;
  return true;
}

/* Unpacks some more. Returns false with `trouble` or errno set. */
static bool unpack_more(struct text *text)
{
  size_t before = text->have;
  if (text->is_damaged) {
    text->trouble = "its compressed data are damaged";
    return false;
  }
  while (text->have == before) {
    if (text->packed_at == text->packed_have && !text->packed_ended) {
      ssize_t n = read_bytes(text, text->packed, PACKED_BYTES);
      if (n < 0) return false;
      text->packed_at = 0;
      text->packed_have = (size_t)n;
      text->packed_ended = n == 0;
    }
    const char *in = text->packed + text->packed_at;
    size_t in_length = text->packed_have - text->packed_at, room = text->capacity - text->have;
    char *out = text->buffer + text->have;
    if (in_length == 0 && text->packed_ended && unpack_is_complete(text->unpacker)) {
      text->ended = true;
      return true;
    }
    bool is_right = unpack(text->unpacker, &in, &in_length, &out, &room, &text->trouble);
    size_t had = text->have;
    text->packed_at = text->packed_have - in_length;
    text->have = text->capacity - room;
    if (!is_right && text->have == had) return false;
    if (!is_right) text->is_damaged = true; /* what came before is taken first */
    if (text->packed_ended && in_length == 0 && text->have == had && !unpack_is_complete(text->unpacker)) {
      text->trouble = "it ends in the middle of its compressed data";
      return false;
    }
  }
  return true;
}

/* Takes some more of what was unpacked ahead. Returns false with `trouble` or errno set. */
static bool take_ahead(struct text *text)
{
  if (text->piece_left == 0) {
    ssize_t n = ahead_next(text->parts[text->part].ahead, &text->piece, &text->trouble);
    if (n < 0) return false;
    text->piece_left = (size_t)n;
    text->ended = n == 0;
    if (n == 0) return true;
  }
  size_t room = text->capacity - text->have, some = text->piece_left < room ? text->piece_left : room;
  memcpy(text->buffer + text->have, text->piece, some);
  text->have += some;
  text->piece += some;
  text->piece_left -= some;
  return true;
}

/* Reads more behind what is there; at the end sets `ended`. Returns false with `trouble` or errno set. */
static bool read_more(struct text *text)
{
  text->trouble = NULL;
  errno = 0;
  if (!make_room(text)) {
    text->trouble = "not enough memory";
    return false;
  }
  if (text->parts[text->part].ahead) return take_ahead(text);
  if (text->is_known && text->unpacker) return unpack_more(text);
  ssize_t n = read_bytes(text, text->buffer + text->have, text->capacity - text->have);
  if (n < 0) return false;
  text->have += (size_t)n;
  text->ended = n == 0;
  return true;
}

/* What can be cut from the bytes that are there; 0: nothing yet. */
static size_t cut_some(const struct text *text, const struct text_cut *cut, size_t *count)
{
  const char *from = text->buffer + text->at, *stop = text->buffer + text->have;
  size_t length = 0, most = cut->size ? cut->size : (size_t)-1, there = (size_t)(stop - from);
  *count = 0;
  if (cut->record) {
    size_t whole = (cut->size < cut->record ? 1 : cut->size / cut->record) * cut->record;
    length = there >= whole ? whole : text->ended ? there : 0;
    *count = length > 0;
    return length;
  }
  if (cut->want == 0) {
    const char *end = text_block_end(from, stop, cut->size, cut->start, cut->start_length);
    length = end ? (size_t)(end - from) : text->ended ? there : 0;
    *count = length > 0;
    return length;
  }
  const char *last = there > most ? from + most : stop;
  bool is_all = last == stop && text->ended;
  for (;;) {
    if (cut->is_rows) {
      *count = text_count_rows(from, last, cut->want, cut->quote, cut->separator, is_all, &length);
    } else {
      const char *end = is_all ? last : memrchr(from, '\n', (size_t)(last - from));
      *count = end ? text_count_lines(from, is_all ? last : end + 1, cut->want, &length) : 0;
    }
    if (*count > 0 || last == stop) break;
    last = stop; /* one that is longer than what was wanted */
    is_all = text->ended;
  }
  return length;
}

bool text_is_ready(const struct text *text, int milliseconds)
{
  size_t there = text->have - text->at;
  if (text->fd < 0 || text->ended || text->unpacker) return true;
  if (there > 0 && memchr(text->buffer + text->at, '\n', there)) return true;
  struct pollfd poll_fd = {.fd = text->fd, .events = POLLIN};
  return poll(&poll_fd, 1, milliseconds) > 0;
}

/* Is it worth while to look for an end again, where there was none in the first `tried` bytes? Not after each read: a
 * line of gigabytes would be looked at again and again. */
static bool is_due(const struct text *text, size_t there, size_t tried)
{
  struct pollfd poll_fd = {.fd = text->fd, .events = POLLIN};
  if (there == 0 || text->ended) return there > 0;
  if (there - tried >= tried / LITTLE) return there > tried;
  bool has_more = text->unpacker || text->fd < 0 || poll(&poll_fd, 1, 0) > 0;
  return there > tried && !has_more; /* who writes may wait for us */
}

ssize_t text_take(struct text *text, const struct text_cut *cut, const char **at, size_t *count)
{
  size_t tried = 0;
  *count = 0;
  if (text->part >= text->part_count) return 0;
  for (;;) {
    if (!text->is_known && (text->have > 0 || text->ended) && !look_at_magic(text)) return -1;
    size_t there = text->have - text->at, length = 0;
    const char *from = text->buffer ? text->buffer + text->at : NULL; /* nothing has been read */
    /* not known yet: it may be compressed. Nothing ends where there is no line end. */
    if (text->is_known && is_due(text, there, tried)) {
      bool may_end = text->ended || cut->record || memchr(from + tried, '\n', there - tried);
      tried = there;
      if (may_end) length = cut_some(text, cut, count);
    }
    if (length > 0 || (text->ended && text->is_known)) {
      *at = text->buffer ? text->buffer + text->at : NULL;
      if (length > 0) text->lines += text_count_ends(*at, *at + length);
      text->at += length;
      return (ssize_t)length;
    }
    if (!read_more(text)) return -1;
    if (tried > MUCH && signals_count() > 0) {
      errno = EINTR;
      return -1;
    }
  }
}
