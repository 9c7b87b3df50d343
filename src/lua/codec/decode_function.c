/* decode_function.c - functions: see decoder.h. */
#include <lauxlib.h>
#include <luajit.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lua/codec/decoder.h"

/* Reads the function's dump and pushes the function, without upvalues. */
static void decode_dump(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  size_t length = 0;
  uint64_t sum;
  decode_value(decoder);
  const char *dump = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
  memcpy(&sum, take(decoder, sizeof sum), sizeof sum);
  if (dump == NULL || sum != codec_checksum(dump, length)) corrupt(decoder, "a function's code is damaged");
  unsigned flags = take_byte(decoder);
  if (luaL_loadbufferx(L, dump, length, "=?", "b") != 0)
    luaL_error(L, "cannot decode a function: %s", lua_tostring(L, -1));
  lua_remove(L, -2);
  if (flags & FUNCTION_NOT_COMPILED) luaJIT_setmode(L, lua_gettop(L), LUAJIT_MODE_FUNC | LUAJIT_MODE_OFF);
  if (flags & FUNCTION_HAS_TEMPLATES) {
    push_tool(L, TOOL_COMPLETE);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 0);
  }
}

/* Pushes the environment for a function that does not have the standard one. */
static void decode_environment(struct decoder *decoder, unsigned tag, int function, bool merging)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at - 1;
  if (tag == TAG_REFERENCE || tag == TAG_OUTSIDE) {
    if (tag == TAG_REFERENCE) {
      push_shared(decoder);
    } else if (merging) {
      lua_getfenv(L, function);
      decode_onto(decoder);
    } else {
      decode_value(decoder);
    }
    if (!lua_istable(L, -1)) corrupt(decoder, "a function's environment is not a table");
    return;
  }
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  note(decoder, start, 0);
}

/* The environment of a function and the globals that it names. */
static void decode_globals(struct decoder *decoder, int function, bool merging)
{
  lua_State *L = decoder->L;
  unsigned tag = take_byte(decoder);
  if (tag == TAG_STANDARD) {
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    if (merging) { /* the function may have had another */
      lua_getfenv(L, function);
      if (!codec_has_globals(L, lua_gettop(L))) {
        lua_pushvalue(L, LUA_GLOBALSINDEX);
        lua_setfenv(L, function);
      }
      lua_pop(L, 1);
    }
  } else if ((tag | SHARED) == (TAG_ENVIRONMENT | SHARED) || tag == TAG_REFERENCE || tag == TAG_OUTSIDE) {
    decode_environment(decoder, tag, function, merging);
    lua_pushvalue(L, -1);
    lua_setfenv(L, function);
    if (tag == TAG_OUTSIDE) { /* it came as a whole: what else is named is a global */
      lua_pushvalue(L, LUA_GLOBALSINDEX);
      lua_replace(L, -2);
    }
  } else {
    corrupt(decoder, "a function has no environment");
  }
  int environment = lua_gettop(L);
  while (peek(decoder) != TAG_END) {
    decode_value(decoder);
    if (lua_type(L, -1) != LUA_TSTRING) corrupt(decoder, "a global's name is not a string");
    if (merging) {
      lua_pushvalue(L, -1);
      lua_rawget(L, environment);
      decode_onto(decoder);
    } else {
      decode_value(decoder);
    }
    lua_rawset(L, environment);
  }
  decoder->at++;
  lua_pop(L, 1);
}

/* Makes sure that the cell of an upvalue is merged into but once: else the function gets a new one. */
static void take_cell(struct decoder *decoder, int function, int number)
{
  lua_State *L = decoder->L;
  lua_pushlightuserdata(L, lua_upvalueid(L, function, number));
  bool is_first = decode_take(decoder, -1);
  lua_pop(L, 1);
  if (is_first) return;
  if (luaL_loadstring(L, "local cell return function() return cell end") != 0) lua_error(L);
  lua_call(L, 0, 1);
  lua_upvaluejoin(L, function, number, -1, 1);
  lua_pop(L, 1);
}

/* One upvalue of a function. */
static void decode_upvalue(struct decoder *decoder, int function, int number, bool merging)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at;
  unsigned tag = take_byte(decoder);
  if (tag == TAG_REFERENCE || tag == TAG_BOOK) {
    struct shared shared = tag == TAG_BOOK ? push_known(decoder) : push_shared(decoder);
    if (shared.upvalue == 0 || !lua_isfunction(L, -1)) corrupt(decoder, "a reference is not to an upvalue");
    lua_upvaluejoin(L, function, number, -1, shared.upvalue);
    lua_pop(L, 1);
    return;
  }
  if ((tag | SHARED) != (TAG_CELL | SHARED)) corrupt(decoder, "a function lacks an upvalue");
  if (merging) take_cell(decoder, function, number);
  lua_pushvalue(L, function);
  note(decoder, start, number);
  lua_pop(L, 1);
  if (merging) {
    lua_getupvalue(L, function, number);
    decode_onto(decoder);
  } else {
    decode_value(decoder);
  }
  lua_setupvalue(L, function, number);
}

void decode_function_body(struct decoder *decoder, int function, bool merging)
{
  lua_State *L = decoder->L;
  int upvalues = 0;
  decode_globals(decoder, function, merging);
  for (; lua_getupvalue(L, function, upvalues + 1); upvalues++) lua_pop(L, 1);
  if (take_byte(decoder) != (unsigned)upvalues)
    corrupt(decoder, "a function has another number of upvalues than its code");
  for (int i = 1; i <= upvalues; i++) decode_upvalue(decoder, function, i, merging);
}

/* Were the functions at these two stack indices made by the same piece of source? */
static bool is_same_code(lua_State *L, int a, int b)
{
  lua_Debug one, other;
  lua_pushvalue(L, a);
  lua_getinfo(L, ">S", &one);
  lua_pushvalue(L, b);
  lua_getinfo(L, ">S", &other);
  return one.linedefined == other.linedefined && one.lastlinedefined == other.lastlinedefined && one.source &&
         other.source && strcmp(one.source, other.source) == 0;
}

/* How many upvalues a function has. */
static int count_upvalues(lua_State *L, int index)
{
  lua_Debug info;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">u", &info);
  return info.nups;
}

void decode_function(struct decoder *decoder, unsigned tag, bool merging)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at - 1;
  if (decoder->flags & CODEC_NO_FUNCTIONS) luaL_error(L, "cannot decode: functions are not accepted here");
  decode_enter(decoder);
  size_t place = keep_place(decoder, start);
  decode_dump(decoder);
  if (merging) {
    int made = lua_gettop(L), there = made - 1;
    bool stays = !lua_iscfunction(L, there) && is_same_code(L, there, made) &&
                 count_upvalues(L, there) == count_upvalues(L, made);
    lua_remove(L, stays ? made : there);
  }
  fill_place(decoder, start, place);
  if ((tag | SHARED) == (TAG_FUNCTION_HEAD | SHARED)) {
    decode_put_off(decoder, place, merging);
  } else {
    int function = lua_gettop(L);
    decode_function_body(decoder, function, merging);
    decode_note_state(decoder, place, function);
  }
  decoder->depth--;
}
