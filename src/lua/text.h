/* text.h - text files for parlua.lines and parlua.blocks: mapped into memory and cut at line ends, or, where they can't
 * be mapped (a pipe, a terminal, /proc), read as a stream. */
#ifndef PARLUA_TEXT_H
#define PARLUA_TEXT_H
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mapping;

struct text {
  const char *bytes; /* mapped; NULL for a stream, and for an empty file */
  size_t length;
  int fd; /* stream; -1: mapped */
  char *buffer;
  size_t have, capacity, at; /* stream: bytes read and not handed out stand at buffer[at .. have) */
  int ended;
  bool has_stdin;    /* it reads standard input, which is empty for everybody else: see sys/stdin.h */
  char version[128]; /* of a mapped file: another one when the file is another, or has been written to */
  struct mapping *mapping;
  char *path; /* of a mapped file, from the root on; NULL: not known */
  dev_t device;
  ino_t inode;
};

/* Opens `path` ("-": standard input). Returns 0, or an errno (EISDIR for a directory). */
int text_open(struct text *text, const char *path);
void text_close(struct text *text);
/* Mapped: how many bytes from the beginning on are the file's: all `length` of them, unless it was cut short since it
 * was opened. What is read behind them is zeros. */
size_t text_whole(const struct text *text);
/* Mapped: counts up to `want` lines from byte `offset` on; *length is theirs in bytes, ends included. Returns
 * how many. */
size_t text_cut_lines(const struct text *text, size_t offset, size_t want, size_t *length);
/* Likewise for rows of comma-separated values: a line end between quotes does not end a row; empty lines are none. */
size_t text_cut_rows(const struct text *text, size_t offset, size_t want, char quote, char separator, size_t *length);
/* Mapped: bytes of whole lines from `offset` on, about `size` (at least one line); 0 at the end. */
size_t text_cut_block(const struct text *text, size_t offset, size_t size);
/* Stream: bytes of the next line, its end included, or with `size` of whole lines of about that many bytes. *at is
 * valid until the next call. Returns 0 at the end, or -1 with errno set. */
ssize_t text_read(struct text *text, size_t size, const char **at);

/* Lua: text(path) -> userdata with the methods pointer, length, version, is_stream, cut_lines, cut_block, line, piece,
 * cut_rows, close, whole, mapping; or nil and a message. */
int text_lua_open(lua_State *L);
/* Lua: glob(pattern) -> sorted list of paths of files; or nil and a message. "**" stands for any number
 * of directories. */
int text_lua_glob(lua_State *L);
#endif
