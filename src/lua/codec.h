/*
 * codec: Lua values to bytes and back, from one lua_State to another.
 *
 * What crosses by content: nil, booleans, numbers, strings, tables (cycles, shared references, metatables), Lua
 * functions (upvalues, shared upvalue cells, the globals that they name, environments given by setfenv), int64_t,
 * uint64_t and complex cdata. By name, and looked up or required in the receiving state: the standard library,
 * io.stdin/stdout/stderr, _G, everything in package.loaded and the functions one level below it. Nothing else crosses;
 * the error names the path to the culprit. The byte format is described at the top of codec.c, the rules for functions
 * at the top of lua/parlua/wire/closure.lua.
 *
 * State is kept for each lua_State in its registry (made on first use), so states in different threads share nothing.
 */
#ifndef PARLUA_CODEC_H
#define PARLUA_CODEC_H

#include <lua.h>
#include <stddef.h>

#include "sys/buffer.h"

enum codec_flags {
  /* No functions and nothing by name. Decode: for bytes that come from a file. Encode: for bytes that go to one. */
  CODEC_NO_FUNCTIONS = 1,
  CODEC_PLAIN_BY_VALUE = 2 /* encoding: a function that has neither upvalues nor globals may go by value though it has a name */
};

/*
 * How deep values may nest (tables in tables, functions in upvalues, ...), in both directions. Bounded by the 8000
 * stack slots that LuaJIT allows a C function; it takes less than 512 KB of C stack (measured).
 */
enum { CODEC_DEPTH_LIMIT = 2000 };

/*
 * Appends the `count` consecutive stack values from `first` on to `out`, as one message (they share references).
 * `what` names them in an error ("result", "argument"). Returns 0, or -1 with out->length restored and the error
 * message pushed. Never raises, memory running out included. Needs 8 free stack slots (a C function starts with 20).
 */
int codec_encode(lua_State *L, int first, int count, const char *what, unsigned flags, struct buffer *out);

/*
 * Decodes one message of exactly `length` bytes. Pushes its values and returns how many, or returns -1 with the error
 * message pushed. Never raises; checks every bound. Needs 8 free stack slots besides those for the values, which it
 * makes. Functions with the standard environment set the globals that they name in this state.
 */
int codec_decode(lua_State *L, const void *bytes, size_t length, unsigned flags);

/* Lua module `parlua.codec`: encode, encode_as, encode_data, decode, by_name. See the functions of these names in codec.c. */
int luaopen_parlua_codec(lua_State *L);

#endif
