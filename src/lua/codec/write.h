/* write.h - plain values into a buffer. All return 0, or -1 when memory is out; they never raise. */
#ifndef PARLUA_CODEC_WRITE_H
#define PARLUA_CODEC_WRITE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "lua/codec/format.h"
#include "sys/buffer.h"

int put_varint(struct buffer *out, size_t number);
/* A tag and `size` bytes after it, at most 16. */
int put_tagged(struct buffer *out, enum tag tag, const void *bytes, size_t size);
int put_number(struct buffer *out, double number);
int put_string(struct buffer *out, const char *bytes, size_t length);
/* A value of a type that is_scalar says yes to. */
int put_scalar(struct buffer *out, lua_State *L, int index, int type);

static inline int put_byte(struct buffer *out, unsigned byte)
{
  if (buffer_reserve(out, 1) != 0) return -1;
  out->bytes[out->length++] = (unsigned char)byte;
  return 0;
}

static inline bool is_scalar(int type)
{
  return type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING;
}

#endif
