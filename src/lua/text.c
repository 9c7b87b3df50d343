/* text.c - see text.h. */
#include "lua/text.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fts.h>
#include <glob.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/mapping.h"
#include "sys/signals.h"
#include "sys/stdin.h"

enum { READ_BYTES = 1 << 16, COUNT_BYTES = 16 * 128 };

/* A script may have read the first lines of standard input itself: the rest begins with what stdio has read beyond
 * them. */
static int take_read_ahead(struct text *text)
{
  text->buffer = malloc(2 * (size_t)READ_BYTES);
  if (!text->buffer) {
    text_close(text);
    return ENOMEM;
  }
  text->capacity = 2 * (size_t)READ_BYTES;
  text->have = stdin_take_buffered(text->buffer, text->capacity);
  return 0;
}

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

int text_open(struct text *text, const char *path)
{
  struct stat info;
  memset(text, 0, sizeof *text);
  bool is_stdin = strcmp(path, "-") == 0;
  text->fd = is_stdin ? stdin_open(&text->has_stdin) : open(path, O_RDONLY | O_CLOEXEC);
  if (text->fd < 0) return errno;
  if (fstat(text->fd, &info) < 0 || S_ISDIR(info.st_mode)) {
    int error = S_ISDIR(info.st_mode) ? EISDIR : errno;
    text_close(text);
    return error;
  }
  if (text->has_stdin) return take_read_ahead(text);
  if (!S_ISREG(info.st_mode) || is_stdin) return 0;
  if (info.st_size == 0 && strncmp(path, "/proc/", 6) == 0) return 0; /* such files do not tell their size */
  if (info.st_size > 0) {
    void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, text->fd, 0);
    if (bytes == MAP_FAILED) return 0; /* a file system without mapping: as a stream */
    text->mapping = mapping_watch(bytes, (size_t)info.st_size);
    if (!text->mapping) {
      munmap(bytes, (size_t)info.st_size);
      text_close(text);
      return ENOMEM;
    }
    madvise(bytes, (size_t)info.st_size, MADV_SEQUENTIAL);
    text->path = whole_path(path);
    text->device = info.st_dev;
    text->inode = info.st_ino;
    text->bytes = bytes;
    text->length = (size_t)info.st_size;
  }
  snprintf(text->version, sizeof text->version, "%jd:%ju %jd %jd.%09ld %jd.%09ld", (intmax_t)info.st_dev,
           (uintmax_t)info.st_ino, (intmax_t)info.st_size, (intmax_t)info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
           (intmax_t)info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
  close(text->fd);
  text->fd = -1;
  return 0;
}

void text_close(struct text *text)
{
  mapping_forget(text->mapping);
  if (text->bytes) munmap((void *)text->bytes, text->length);
  free(text->path);
  if (text->fd >= 0) close(text->fd);
  if (text->has_stdin) stdin_give_back();
  free(text->buffer);
  memset(text, 0, sizeof *text);
  text->fd = -1;
}

size_t text_whole(const struct text *text)
{
  struct stat info;
  if (!text->mapping) return text->length;
  size_t whole = mapping_whole(text->mapping);
  /* Of the last page that is left the end reads as zeros, and nothing tells; so the file is asked for its size. Another
   * one of the same name says nothing of the one that is mapped. */
  bool is_same = text->path && stat(text->path, &info) == 0 && info.st_dev == text->device &&
                 info.st_ino == text->inode && info.st_size >= 0;
  return is_same && (size_t)info.st_size < whole ? (size_t)info.st_size : whole;
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

size_t text_cut_lines(const struct text *text, size_t offset, size_t want, size_t *length)
{
  const char *from = text->bytes + offset, *stop = text->bytes + text->length, *p = from;
  size_t count = 0, ends;
  *length = 0;
  if (!text->bytes || offset >= text->length) return 0;
  for (; stop - p > COUNT_BYTES && (ends = count_ends(p)) < want - count; p += COUNT_BYTES) count += ends;
  for (; count < want && p < stop; count++) {
    const char *end = memchr(p, '\n', (size_t)(stop - p));
    p = end ? end + 1 : stop;
  }
  *length = (size_t)(p - from);
  return count;
}

/* The end of the row that begins at `p`, behind its line end. */
static const char *row_end(const char *p, const char *stop, char quote, char separator)
{
  const char *end = memchr(p, '\n', (size_t)(stop - p));
  if (!end) end = stop;
  if (!memchr(p, quote, (size_t)(end - p))) return end < stop ? end + 1 : stop;
  for (bool begins = true; p < stop; p++) {
    if (begins && *p == quote) {
      do {
        p = memchr(p + 1, quote, (size_t)(stop - p - 1));
        if (!p) return stop;
      } while (p + 1 < stop && p[1] == quote && p++);
    } else if (*p == '\n') {
      return p + 1;
    }
    begins = *p == separator;
  }
  return stop;
}

size_t text_cut_rows(const struct text *text, size_t offset, size_t want, char quote, char separator, size_t *length)
{
  const char *from = text->bytes + offset, *stop = text->bytes + text->length, *p = from;
  size_t count = 0;
  *length = 0;
  if (!text->bytes || offset >= text->length) return 0;
  while (count < want) {
    while (p < stop && (*p == '\n' || (*p == '\r' && p + 1 < stop && p[1] == '\n'))) p++;
    if (p == stop) break;
    p = row_end(p, stop, quote, separator);
    count++;
  }
  *length = (size_t)(p - from);
  return count;
}

size_t text_cut_block(const struct text *text, size_t offset, size_t size)
{
  if (!text->bytes || offset >= text->length) return 0;
  size_t left = text->length - offset;
  if (left <= size) return left;
  const char *from = text->bytes + offset;
  const char *end = memrchr(from, '\n', size);
  if (!end) end = memchr(from + size, '\n', left - size);
  return end ? (size_t)(end - from) + 1 : left;
}

/* Reads more of the stream behind what is there. Returns bytes read, 0 at the end, -1 with errno set. */
static ssize_t read_more(struct text *text)
{
  if (text->at > 0) {
    memmove(text->buffer, text->buffer + text->at, text->have - text->at);
    text->have -= text->at;
    text->at = 0;
  }
  if (text->capacity - text->have < READ_BYTES) {
    size_t capacity = text->capacity ? text->capacity * 2 : 2 * (size_t)READ_BYTES;
    char *buffer = realloc(text->buffer, capacity);
    if (!buffer) return -1;
    text->buffer = buffer;
    text->capacity = capacity;
  }
  ssize_t n;
  do n = read(text->fd, text->buffer + text->have, text->capacity - text->have);
  while (n < 0 && errno == EINTR && signals_count() == 0);
  if (n > 0) text->have += (size_t)n;
  if (n == 0) text->ended = 1;
  if (n <= 0 && text->has_stdin) { /* there is no more to take: it is the script's again */
    stdin_give_back();
    text->has_stdin = false;
  }
  return n;
}

ssize_t text_read(struct text *text, size_t size, const char **at)
{
  size_t looked = 0;
  for (;;) {
    size_t left = text->have - text->at, length = 0;
    const char *from = text->buffer ? text->buffer + text->at : NULL;
    if (size > 0 && left >= size) {
      const char *end = memrchr(from, '\n', size);
      if (!end && left > size) end = memchr(from + size, '\n', left - size);
      if (end) length = (size_t)(end - from) + 1;
    } else if (size == 0 && left > looked) {
      const char *end = memchr(from + looked, '\n', left - looked);
      if (end) length = (size_t)(end - from) + 1;
      looked = left;
    }
    if (length == 0 && text->ended) length = left;
    if (length > 0 || text->ended) {
      *at = from;
      text->at += length;
      return (ssize_t)length;
    }
    if (read_more(text) < 0) return -1;
  }
}

/* ---- Lua ---- */

static const char text_meta[] = "parlua.text";

static struct text *check_text(lua_State *L)
{
  return luaL_checkudata(L, 1, text_meta);
}

static int method_pointer(lua_State *L)
{
  lua_pushlightuserdata(L, (void *)check_text(L)->bytes);
  return 1;
}

static int method_length(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)check_text(L)->length);
  return 1;
}

static int method_whole(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)text_whole(check_text(L)));
  return 1;
}

/* mapping() -> pointer for struct mapping_loop (mapping.h), or nil. */
static int method_mapping(lua_State *L)
{
  struct mapping *mapping = check_text(L)->mapping;
  if (!mapping) return 0;
  lua_pushlightuserdata(L, mapping);
  return 1;
}

static int method_version(lua_State *L)
{
  lua_pushstring(L, check_text(L)->version);
  return 1;
}

static int method_is_stream(lua_State *L)
{
  lua_pushboolean(L, check_text(L)->fd >= 0);
  return 1;
}

static int method_cut_lines(lua_State *L)
{
  size_t length, offset = (size_t)luaL_checknumber(L, 2);
  lua_Number want = luaL_checknumber(L, 3);
  lua_pushnumber(L,
                 (lua_Number)text_cut_lines(check_text(L), offset, want > 1e15 ? (size_t)1e15 : (size_t)want, &length));
  lua_pushnumber(L, (lua_Number)offset);
  lua_pushnumber(L, (lua_Number)length);
  return 3;
}

/* cut_rows(offset, want, quote, separator) -> rows, offset, length */
static int method_cut_rows(lua_State *L)
{
  size_t length, offset = (size_t)luaL_checknumber(L, 2);
  lua_Number want = luaL_checknumber(L, 3);
  char quote = (char)luaL_checkinteger(L, 4), separator = (char)luaL_checkinteger(L, 5);
  lua_pushnumber(L, (lua_Number)text_cut_rows(check_text(L), offset, want > 1e15 ? (size_t)1e15 : (size_t)want, quote,
                                              separator, &length));
  lua_pushnumber(L, (lua_Number)offset);
  lua_pushnumber(L, (lua_Number)length);
  return 3;
}

static int method_cut_block(lua_State *L)
{
  lua_pushnumber(
      L, (lua_Number)text_cut_block(check_text(L), (size_t)luaL_checknumber(L, 2), (size_t)luaL_checknumber(L, 3)));
  return 1;
}

/* line(keep_cr): the next line of a stream without its end, or nil. */
static int method_line(lua_State *L)
{
  const char *at;
  ssize_t length = text_read(check_text(L), 0, &at);
  if (length < 0) return luaL_error(L, "cannot read: %s", strerror(errno));
  if (length == 0) return 0;
  if (at[length - 1] == '\n') length--;
  if (length > 0 && at[length - 1] == '\r' && !lua_toboolean(L, 2)) length--;
  lua_pushlstring(L, at, (size_t)length);
  return 1;
}

/* piece(size): whole lines of a stream, about `size` bytes, or nil. */
static int method_piece(lua_State *L)
{
  const char *at;
  lua_Number size = luaL_checknumber(L, 2);
  ssize_t length = text_read(check_text(L), size < 1 ? 1 : (size_t)size, &at);
  if (length < 0) return luaL_error(L, "cannot read: %s", strerror(errno));
  if (length == 0) return 0;
  lua_pushlstring(L, at, (size_t)length);
  return 1;
}

static int method_gc(lua_State *L)
{
  text_close(check_text(L));
  return 0;
}

int text_lua_open(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"pointer", method_pointer},
      {"length", method_length},
      {"is_stream", method_is_stream},
      {"version", method_version},
      {"cut_lines", method_cut_lines},
      {"cut_block", method_cut_block},
      {"line", method_line},
      {"piece", method_piece},
      {"__gc", method_gc},
      {"close", method_gc},
      {"cut_rows", method_cut_rows},
      {"whole", method_whole},
      {"mapping", method_mapping},
      {NULL, NULL},
  };
  const char *path = luaL_checkstring(L, 1);
  struct text *text = lua_newuserdata(L, sizeof *text);
  int error = text_open(text, path);
  if (error) {
    lua_pushnil(L);
    lua_pushstring(L, error == EISDIR ? "it is a directory (parlua.files lists the files of one)" : strerror(error));
    return 2;
  }
  if (luaL_newmetatable(L, text_meta)) {
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  return 1;
}

static void add_file(lua_State *L, int list, const char *path)
{
  struct stat info;
  if (stat(path, &info) < 0 || S_ISDIR(info.st_mode)) return;
  lua_pushstring(L, path);
  lua_rawseti(L, list, (int)lua_objlen(L, list) + 1);
}

/* The part of `path` that has as many components as `pattern`. */
static const char *last_components(const char *path, const char *pattern)
{
  int slashes = 0;
  for (const char *p = pattern; *p; p++) slashes += *p == '/';
  const char *p = path + strlen(path);
  for (; p > path; p--)
    if (p[-1] == '/' && slashes-- == 0) break;
  return p;
}

/* Files below `root` whose last components match `pattern`. */
static void walk(lua_State *L, int list, char *root, const char *pattern)
{
  char *roots[] = {root, NULL};
  FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
  if (!tree) return;
  for (FTSENT *entry; (entry = fts_read(tree));) {
    if (entry->fts_level > 0 && entry->fts_name[0] == '.') {
      fts_set(tree, entry, FTS_SKIP);
      continue;
    }
    if (entry->fts_info != FTS_F && entry->fts_info != FTS_SL && entry->fts_info != FTS_DEFAULT) continue;
    if (fnmatch(pattern, last_components(entry->fts_path, pattern), FNM_PATHNAME | FNM_PERIOD) == 0)
      add_file(L, list, entry->fts_path);
  }
  fts_close(tree);
}

int text_lua_glob(lua_State *L)
{
  const char *pattern = luaL_checkstring(L, 1), *deep = strstr(pattern, "**/");
  glob_t found;
  lua_newtable(L);
  int list = lua_gettop(L);
  if (deep && (deep == pattern || deep[-1] == '/')) {
    lua_pushlstring(L, pattern, deep == pattern ? 0 : (size_t)(deep - pattern - 1));
    const char *root = lua_tostring(L, -1);
    int status = glob(deep == pattern ? "." : *root ? root : "/", GLOB_TILDE | GLOB_BRACE, NULL, &found);
    for (size_t i = 0; status == 0 && i < found.gl_pathc; i++) walk(L, list, found.gl_pathv[i], deep + 3);
    if (status == 0) globfree(&found);
    lua_pop(L, 1);
  } else {
    int status = glob(pattern, GLOB_TILDE | GLOB_BRACE, NULL, &found);
    for (size_t i = 0; status == 0 && i < found.gl_pathc; i++) add_file(L, list, found.gl_pathv[i]);
    if (status == 0) globfree(&found);
    if (status == GLOB_NOMATCH && !strpbrk(pattern, "*?[{")) {
      lua_pushnil(L);
      lua_pushstring(L, strerror(ENOENT));
      return 2;
    }
  }
  lua_pushvalue(L, list);
  return 1;
}
