/* decode_special.c - what only messages of this program have: see decoder.h. */
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lua/codec/decoder.h"

/* A function, table or userdata known by name. */
static void decode_name(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  decode_enter(decoder);
  push_tool(L, TOOL_RESOLVE);
  decode_value(decoder);
  decode_value(decoder);
  if (lua_type(L, -2) != LUA_TSTRING || (lua_type(L, -1) != LUA_TSTRING && !lua_isnil(L, -1)))
    corrupt(decoder, "a name is not a string");
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_call(L, 3, 1);
  decoder->depth--;
}

/* Merges the parts of the object on the top into it. They may refer to it: its place is filled before. */
static void decode_parts(struct decoder *decoder, const unsigned char *start, size_t place)
{
  lua_State *L = decoder->L;
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
  }
  fill_place(decoder, start, place);
  decode_onto(decoder);
  fill_place(decoder, start, place);
}

/* An object that a tool finds or makes here, by `count` values of which the first is a name, and what is merged into
 * it. */
static void decode_merged(struct decoder *decoder, enum tool tool, int count)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at - 1;
  decode_enter(decoder);
  size_t place = keep_place(decoder, start);
  push_tool(L, tool);
  for (int i = 0; i < count; i++) decode_value(decoder);
  if (lua_type(L, -count) != LUA_TSTRING) corrupt(decoder, "a name is not a string");
  lua_call(L, count, 1);
  decode_parts(decoder, start, place);
  decoder->depth--;
}

static void clear_table(lua_State *L, int table)
{
  lua_pushnil(L);
  lua_setmetatable(L, table);
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, table);
  }
}

void decode_filled(struct decoder *decoder, bool merging)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at - 1;
  decode_enter(decoder);
  size_t place = keep_place(decoder, start);
  unsigned tag = take_byte(decoder);
  if (tag != TAG_REFERENCE && tag != TAG_BOOK) corrupt(decoder, "an environment is not known");
  if (tag == TAG_BOOK)
    push_known(decoder);
  else
    push_shared(decoder);
  if (!lua_istable(L, -1)) corrupt(decoder, "an environment is not a table");
  if (!merging) clear_table(L, lua_gettop(L));
  fill_place(decoder, start, place);
  tag = take_byte(decoder);
  if (tag != TAG_TABLE && tag != TAG_TABLE_HEAD) corrupt(decoder, "an environment holds nothing");
  decode_table(decoder, tag, true, merging);
  decoder->depth--;
}

/* A number of the FFI, made by ctypes.lua and filled here. */
void decode_whole(struct decoder *decoder, const char *type, size_t size)
{
  lua_State *L = decoder->L;
  decode_enter(decoder);
  const unsigned char *content = take(decoder, size);
  push_tool(L, TOOL_MAKE);
  lua_pushstring(L, type);
  lua_pushinteger(L, (lua_Integer)size);
  lua_call(L, 2, 1);
  memcpy((void *)lua_topointer(L, -1), content, size);
  decoder->depth--;
}

void decode_array(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at - 1, *elements = NULL;
  decode_enter(decoder);
  size_t place = keep_place(decoder, start);
  push_tool(L, TOOL_ARRAY);
  decode_value(decoder);
  size_t size = take_varint(decoder);
  if (size) {
    take(decoder, take_byte(decoder));
    elements = take(decoder, size);
  }
  if (lua_type(L, -1) != LUA_TSTRING) corrupt(decoder, "an array has no description");
  lua_pushlightuserdata(L, (void *)elements);
  lua_pushnumber(L, (lua_Number)size);
  lua_pushboolean(L, decoder->flags & CODEC_NO_FUNCTIONS);
  lua_call(L, 4, 1);
  fill_place(decoder, start, place);
  decoder->depth--;
}

static void decode_cdata(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at - 1;
  decode_enter(decoder);
  size_t place = keep_place(decoder, start);
  push_tool(L, TOOL_MAKE);
  decode_value(decoder);
  size_t size = take_varint(decoder);
  const unsigned char *content = take(decoder, size);
  lua_pushnumber(L, (lua_Number)size);
  lua_call(L, 2, 1);
  if (lua_type(L, -1) != TYPE_CDATA) corrupt(decoder, "there is no C data");
  memcpy((void *)lua_topointer(L, -1), content, size);
  fill_place(decoder, start, place);
  decoder->depth--;
}

/* A value that a tool makes of `count` decoded values, the last of them `address` if there is one. */
static void decode_by_tool(struct decoder *decoder, enum tool tool, int count, bool with_address)
{
  lua_State *L = decoder->L;
  decode_enter(decoder);
  push_tool(L, tool);
  for (int i = 0; i < count; i++) decode_value(decoder);
  if (with_address) {
    uint64_t address;
    memcpy(&address, take(decoder, sizeof address), sizeof address);
    lua_pushnumber(L, (lua_Number)address);
  }
  lua_call(L, count + with_address, 1);
  decoder->depth--;
}

static void decode_text(struct decoder *decoder)
{
  const unsigned char *start = decoder->at - 1;
  size_t place = keep_place(decoder, start);
  decode_by_tool(decoder, TOOL_BUFFER, 1, false);
  fill_place(decoder, start, place);
  if (decoder->book) decoder->book->list[place].state = 1; /* nobody can tell whether its content has changed */
}

/* Userdata without content, and its metatable. */
static void decode_proxy(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at - 1;
  decode_enter(decoder);
  size_t place = keep_place(decoder, start);
  lua_newuserdata(L, 0);
  fill_place(decoder, start, place);
  decode_value(decoder);
  if (!lua_istable(L, -1) && !lua_isnil(L, -1)) corrupt(decoder, "a metatable is not a table");
  lua_setmetatable(L, -2);
  decoder->depth--;
}

void decode_special(struct decoder *decoder, unsigned tag)
{
  lua_State *L = decoder->L;
  void *address;
  if (decoder->flags & CODEC_NO_FUNCTIONS) luaL_error(L, "cannot decode: only plain data are accepted here");
  switch (tag) {
  case TAG_NAME: decode_name(decoder); return;
  case TAG_ADDRESS:
    memcpy(&address, take(decoder, sizeof address), sizeof address);
    lua_pushlightuserdata(L, address);
    return;
  case TAG_NAMESPACE: decode_by_tool(decoder, TOOL_NAMESPACE, 1, false); return;
  case TAG_SYMBOL: decode_by_tool(decoder, TOOL_SYMBOL, 3, true); return;
  case TAG_CTYPE: decode_by_tool(decoder, TOOL_CTYPE, 1, false); return;
  case TAG_CDATA:
  case TAG_CDATA | SHARED: decode_cdata(decoder); return;
  case TAG_TEXT:
  case TAG_TEXT | SHARED: decode_text(decoder); return;
  case TAG_PROXY:
  case TAG_PROXY | SHARED: decode_proxy(decoder); return;
  case TAG_MODULE:
  case TAG_MODULE | SHARED: decode_merged(decoder, TOOL_REQUIRE, 1); return;
  case TAG_FILLED:
  case TAG_FILLED | SHARED: decode_filled(decoder, false); return;
  case TAG_MADE:
  case TAG_MADE | SHARED: decode_merged(decoder, TOOL_REMAKE, 3); return;
  default: decoder->at--; corrupt(decoder, "there is no value");
  }
}
