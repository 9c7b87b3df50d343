/* stage.c - see stage.h. */
#include "lua/stage.h"

#include <lauxlib.h>
#include <string.h>

#include "lua/codec.h"
#include "slot/slot.h"
#include "sys/buffer.h"

/* place(block, words, k, tag, value...): encodes values into a staged block as word k, of which `words` are to fit; tag
 * TAG_STRING takes one string. Returns 0; or the bytes that a block for this value needs when it does not fit; or nil
 * and a message when it can't cross. */
static int stage_place(lua_State *L)
{
  struct block *block;
  memcpy(&block, lua_topointer(L, 1), sizeof block);
  uint64_t words = (uint64_t)lua_tonumber(L, 2), k = (uint64_t)lua_tonumber(L, 3), length;
  int tag = (int)lua_tonumber(L, 4), count = lua_gettop(L) - 4;
  struct buffer *buffer = lua_touserdata(L, lua_upvalueindex(1));
  const char *bytes;
  size_t size;
  if (tag == TAG_STRING) {
    bytes = lua_tolstring(L, 5, &size);
  } else {
    buffer->length = 0;
    if (codec_encode(L, 5, count, "argument", CODEC_TO_WORKER, buffer)) {
      lua_pushnil(L);
      lua_insert(L, -2);
      return 2;
    }
    bytes = (char *)buffer->bytes;
    size = buffer->length;
  }
  length = size;
  uint64_t need = value_bytes(length);
  if (BLOCK_HEAD + 8 * words + need > block->floor) {
    lua_pushnumber(L, (lua_Number)(BLOCK_HEAD + 8 * words + need));
    return 1;
  }
  block->floor -= need;
  memcpy((char *)block + block->floor, &length, 8);
  memcpy((char *)block + block->floor + 8, bytes, length);
  uint64_t word = (uint64_t)(uint32_t)tag << 32 | (uint32_t)(block->floor / 8);
  memcpy(&block->word[k], &word, 8);
  lua_pushnumber(L, 0);
  return 1;
}

static int buffer_gc(lua_State *L)
{
  buffer_free(lua_touserdata(L, 1));
  return 0;
}

void stage_push(lua_State *L)
{
  struct buffer *buffer = lua_newuserdata(L, sizeof *buffer);
  memset(buffer, 0, sizeof *buffer);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, buffer_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_pushcclosure(L, stage_place, 1);
}
