/* ffi_lines.h - what --map reads and writes of text by FFI. Plain C declarations only: the text is also given to
 * LuaJIT's ffi.cdef (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_LINES_H
#define PARLUA_FFI_LINES_H
#include <stdint.h>

/* Lines of a block of text, and what is written about them; all zero but for `next` and `stop` at first. See lines.c.
 */
struct parlua_lines {
  const char *next, *stop; /* what is left */
  const char *text;        /* the line */
  uint64_t length;         /* of it, without its end */
  double value;            /* the number that it reads as, where `is_number` */
  uint32_t is_number;
  uint32_t pad;
  double count; /* lines so far */
  char *out;    /* what was written */
  uint64_t used, capacity;
};
/* Goes on to the next line; 0: there is none. */
int parlua_next_line(struct parlua_lines *lines);
/* Write a line: text, the line itself, a number that reads back as the same. Return 0 where there is no memory. */
int parlua_put_text(struct parlua_lines *lines, const char *text, uint64_t length);
int parlua_put_line(struct parlua_lines *lines);
int parlua_put_number(struct parlua_lines *lines, double value);
/* Does a text read as a number? */
int parlua_read_number(const char *text, uint64_t length, double *value);
/* Writes a number, of at most 40 bytes; returns its length. */
int parlua_write_number(char *at, double value);
void parlua_free_lines(struct parlua_lines *lines);

#endif
