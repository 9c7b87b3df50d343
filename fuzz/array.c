/* array.c - fuzz target: what reads the files of arrays (lua/parlua/array/files.lua): .npy, .npz, PGM and PPM.
 *
 * The input is the file. What is read must lie within it: all elements are added up, and what lies behind the last page
 * of a file can't be read. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "lua/state.h"

enum { COLLECT_EVERY = 256 /* inputs */ };

static lua_State *L;
static int file;

/* Writes the seeds; returns the function that reads a file. */
static const char reader[] =
    "local parlua = require 'parlua'\n"
    "local core = require 'parlua.array.core'\n"
    "local function add(value)\n"
    "  if core.is(value) then\n"
    "    if not value.type:find 'complex' then value:sum() value:min() end\n"
    "    local _ = #value:bytes() + #tostring(value)\n"
    "  else\n"
    "    for _, array in pairs(value) do add(array) end\n"
    "  end\n"
    "end\n"
    "local path, directory = ...\n"
    "if directory then\n"
    "  local a = parlua.array('float', { { 1, 2, 3 }, { 4, 5, 6 } })\n"
    "  for _, name in ipairs { 'a.npy', 'b.npz', 'c.pgm' } do a:save(directory .. '/seed-' .. name) end\n"
    "  a:transpose():save(directory .. '/seed-d.npy')\n"
    "  a:reshape(1, 2, 3):save(directory .. '/seed-e.ppm', { bits = 16 })\n"
    "  local text = io.open(directory .. '/seed-f.pgm', 'wb')\n"
    "  text:write('P2 # x\\n2 2 9\\n1 2 3 4\\n')\n"
    "  text:close()\n"
    "end\n"
    "return function()\n"
    "  local ok, value = pcall(parlua.load, path)\n"
    "  if ok then add(value) elseif type(value) ~= 'string' then error 'an error without a message' end\n"
    "end\n";

/* FUZZ_SEEDS: the directory into which the seeds are written. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  const char *directory = getenv("FUZZ_SEEDS");
  (void)argc;
  (void)argv;
  L = state_new();
  file = memfd_create("fuzz", 0);
  if (!L || file < 0 || luaL_loadstring(L, reader)) abort();
  lua_pushfstring(L, "/proc/self/fd/%d", file);
  if (directory)
    lua_pushstring(L, directory);
  else
    lua_pushnil(L);
  if (lua_pcall(L, 2, 1, 0)) {
    fprintf(stderr, "fuzz: %s\n", lua_tostring(L, -1));
    abort();
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static unsigned inputs;
  if (ftruncate(file, 0) || ftruncate(file, (off_t)length) || pwrite(file, bytes, length, 0) != (ssize_t)length)
    abort();
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 0, 0, 0)) {
    fprintf(stderr, "fuzz: %s\n", lua_tostring(L, -1));
    abort();
  }
  if (++inputs % COLLECT_EVERY == 0) lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}
