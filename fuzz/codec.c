/* codec.c - fuzz target: the codec's decoder.
 *
 * The first byte of an input says what the receiver accepts, the rest is the message: with bit 0 functions and names,
 * as between a program and its own workers; without, plain data, as from a file. With bit 1 its objects become a book,
 * as a job's do. Messages may refer to the book that the seeds have made.
 *
 * The boundary: LuaJIT trusts the bytecode that it loads, and no check short of a verifier, which it does not have,
 * makes foreign bytecode safe. A message has a checksum of each function's code, against accidents, not against an
 * enemy: what can write into a worker's messages runs with the program's rights anyway, and data from files is decoded
 * with functions off. libFuzzer finds its way through the checksum, so here code is loaded only if it is that of a
 * function in the seeds; everything around it (upvalues, shared cells, environments, globals, names) is
 * the fuzzer's. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

#include "lua/codec.h"
#include "lua/codec/book.h"
#include "lua/state.h"

enum {
  COLLECT_EVERY = 256 /* inputs: what they leave is garbage, and collecting it is where damage shows */
};

static lua_State *L;

static void fail(const char *what)
{
  fprintf(stderr, "fuzz: %s: %s\n", what, lua_tostring(L, -1));
  abort();
}

/* Stands in for luaL_loadbufferx in the codec (--wrap): refuses code that is not in the seeds. */
int __real_luaL_loadbufferx(lua_State *state, const char *code, size_t length, const char *name, const char *mode);
int __wrap_luaL_loadbufferx(lua_State *state, const char *code, size_t length, const char *name, const char *mode);
int __wrap_luaL_loadbufferx(lua_State *state, const char *code, size_t length, const char *name, const char *mode)
{
  lua_getfield(state, LUA_REGISTRYINDEX, "fuzz.codes");
  lua_pushlstring(state, code, length);
  lua_rawget(state, -2);
  int known = lua_toboolean(state, -1);
  lua_pop(state, 2);
  if (known) return __real_luaL_loadbufferx(state, code, length, name, mode);
  lua_pushliteral(state, "this code is not in the seeds");
  return LUA_ERRSYNTAX;
}

/* What a message can name and so put in the place of `require` must do no harm; and no module comes from a file. */
static const char restrict_state[] =
    "package.path, package.cpath = '', ''\n"
    "local function refuse() error('not here', 0) end\n"
    "for library, names in pairs { os = 'execute exit remove rename tmpname setlocale', io = 'open popen output input "
    "lines "
    "tmpfile',\n"
    "    _G = 'dofile load loadfile loadstring collectgarbage print module' } do\n"
    "  for name in names:gmatch('%S+') do (library == '_G' and _G or package.loaded[library])[name] = refuse end\n"
    "end\n"
    "local codec, ffi, start = require 'parlua.codec', require 'ffi', require 'parlua.wire.start'\n"
    "ffi.load, codec.find_symbol = refuse, refuse\n"
    "start.take()\n"
    "start.complete()\n"
    "local kept = debug.getregistry()['parlua.globals']\n"
    "for name, value in pairs(_G) do kept[name] = value end\n";

/* Puts the globals back: messages with functions set those that the functions name. */
static int restore_globals(lua_State *state)
{
  lua_settop(state, 0);
  lua_getfield(state, LUA_REGISTRYINDEX, "parlua.globals");
  for (lua_pushnil(state); lua_next(state, LUA_GLOBALSINDEX); lua_pop(state, 1)) {
    lua_pushvalue(state, -2);
    lua_pushvalue(state, -1);
    lua_rawget(state, 1);
    lua_rawset(state, LUA_GLOBALSINDEX);
  }
  for (lua_pushnil(state); lua_next(state, 1);) {
    lua_pushvalue(state, -2);
    lua_insert(state, -2);
    lua_rawset(state, LUA_GLOBALSINDEX);
  }
  return 0;
}

/* FUZZ_SEEDS: the directory into which the seeds are written. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  const char *directory = getenv("FUZZ_SEEDS");
  (void)argc;
  (void)argv;
  L = state_new();
  if (!L) abort();
  if (luaL_loadfile(L, "fuzz/seeds.lua")) fail("seeds");
  if (directory)
    lua_pushstring(L, directory);
  else
    lua_pushnil(L);
  if (lua_pcall(L, 1, 1, 0)) fail("seeds");
  lua_setfield(L, LUA_REGISTRYINDEX, "fuzz.codes");
  if (luaL_dostring(L, restrict_state)) fail("restricting the state");
  return 0;
}

/* registry["fuzz.book"]: a new book. */
static int begin_book(lua_State *state)
{
  book_new(state);
  lua_setfield(state, LUA_REGISTRYINDEX, "fuzz.book");
  return 0;
}

/* Plain data that was decoded can be encoded, and decoded again. */
static void check_again(int count)
{
  struct buffer out = {0};
  if (codec_encode(L, 1, count, "value", CODEC_NO_FUNCTIONS, &out)) fail("decoded data can't be encoded");
  if (codec_decode(L, out.bytes, out.length, CODEC_NO_FUNCTIONS) != count) fail("encoded data can't be decoded");
  buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static unsigned inputs;
  if (length == 0) return 0;
  unsigned flags = bytes[0] & 1 ? 0 : CODEC_NO_FUNCTIONS;
  int book = bytes[0] & 2 ? 1 : 0;
  if (book && lua_cpcall(L, begin_book, NULL)) fail("making a book");
  lua_settop(L, 0);
  if (book) lua_getfield(L, LUA_REGISTRYINDEX, "fuzz.book");
  int count = codec_decode_book(L, bytes + 1, length - 1, flags, book);
  if (book) lua_remove(L, 1);
  if (count < 0 && lua_type(L, -1) != LUA_TSTRING) fail("an error without a message");
  if (lua_gettop(L) != (count < 0 ? 1 : count)) fail("another number of values than was told");
  if (count >= 0 && flags) check_again(count);
  lua_settop(L, 0);
  if (!flags && lua_cpcall(L, restore_globals, NULL)) fail("restoring the globals");
  lua_settop(L, 0);
  if (++inputs % COLLECT_EVERY == 0) lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}
