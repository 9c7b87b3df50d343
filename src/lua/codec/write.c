/* write.c - see write.h. */
#include "lua/codec/write.h"

#include <stdint.h>
#include <string.h>

int put_varint(struct buffer *out, size_t number)
{
  if (buffer_reserve(out, 10) != 0) return -1;
  for (; number > 0x7f; number >>= 7) out->bytes[out->length++] = (unsigned char)(0x80 | (number & 0x7f));
  out->bytes[out->length++] = (unsigned char)number;
  return 0;
}

int put_tagged(struct buffer *out, enum tag tag, const void *bytes, size_t size)
{
  if (buffer_reserve(out, 17) != 0) return -1;
  unsigned char *at = out->bytes + out->length;
  *at = (unsigned char)tag;
  memcpy(at + 1, bytes, size);
  out->length += 1 + size;
  return 0;
}

int put_number(struct buffer *out, double number)
{
  if (number >= INT32_MIN && number <= INT32_MAX) {
    int32_t integer = (int32_t)number;
    double back = integer;
    if (memcmp(&back, &number, sizeof back) == 0) { /* not ==, which takes -0 for 0 */
      if (integer >= 0 && integer <= LARGEST_SMALL) return put_byte(out, TAG_SMALL | (unsigned)integer);
      if (integer < INT16_MIN || integer > INT16_MAX) return put_tagged(out, TAG_INT32, &integer, sizeof integer);
      int16_t narrow = (int16_t)integer;
      return put_tagged(out, TAG_INT16, &narrow, sizeof narrow);
    }
  }
  return put_tagged(out, TAG_DOUBLE, &number, sizeof number);
}

int put_string(struct buffer *out, const char *bytes, size_t length)
{
  if (buffer_reserve(out, 5 + length) != 0) return -1;
  if (length <= LONGEST_SHORT_STRING) {
    out->bytes[out->length++] = (unsigned char)(TAG_SHORT_STRING | length);
  } else {
    uint32_t size = (uint32_t)length;                      /* LuaJIT's strings stay below 2 GiB */
    (void)put_tagged(out, TAG_STRING, &size, sizeof size); /* fits: room was made above */
  }
  memcpy(out->bytes + out->length, bytes, length);
  out->length += length;
  return 0;
}

int put_scalar(struct buffer *out, lua_State *L, int index, int type)
{
  size_t length;
  const char *bytes;
  switch (type) {
  case LUA_TNIL: return put_byte(out, TAG_NIL);
  case LUA_TBOOLEAN: return put_byte(out, lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
  case LUA_TNUMBER: return put_number(out, lua_tonumber(L, index));
  default: bytes = lua_tolstring(L, index, &length); return put_string(out, bytes, length);
  }
}
