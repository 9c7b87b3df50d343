/* hash.c - Lua module `parlua.hash`: a number for any Lua values that is the same in every process (bytes of the codec are not: the
 * order of a table's fields differs from process to process). For the journal: to tell that a task's arguments are what they were.
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { DEEPEST = 32 /* tables in tables beyond this, as in a cycle, count by their type alone */ };

/* The last step of MurmurHash3: every bit of the input changes about half of the output. */
static uint64_t mixed(uint64_t x)
{
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ x >> 33;
}

/* FNV-1a. */
static uint64_t hash_bytes(const void *bytes, size_t length)
{
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const unsigned char *p = bytes; length > 0; length--) hash = (hash ^ *p++) * 0x100000001b3ULL;
  return hash;
}

/* The value at absolute stack index `at`. Fields of a table are added up, since they come in any order. */
static uint64_t hash_value(lua_State *L, int at, int depth)
{
  int type = lua_type(L, at);
  uint64_t hash = 0;
  if (type == LUA_TNUMBER) {
    double number = lua_tonumber(L, at);
    hash = hash_bytes(&number, sizeof number);
  } else if (type == LUA_TSTRING) {
    size_t length;
    const char *text = lua_tolstring(L, at, &length);
    hash = hash_bytes(text, length);
  } else if (type == LUA_TBOOLEAN) {
    hash = (uint64_t)lua_toboolean(L, at) + 1;
  } else if (type == LUA_TTABLE && depth < DEEPEST && lua_checkstack(L, 4)) {
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
      uint64_t key = hash_value(L, lua_gettop(L) - 1, depth + 1);
      hash += mixed(key * 31 + hash_value(L, lua_gettop(L), depth + 1));
    }
  }
  return mixed(hash + (uint64_t)type * 0x9e3779b97f4a7c15ULL);
}

/* hash(...) -> 16 hexadecimal digits. What has no content to go by (functions, userdata, cdata) counts by its type. */
static int hash_of(lua_State *L)
{
  uint64_t hash = 0;
  char digits[17];
  for (int i = 1, n = lua_gettop(L); i <= n; i++) hash = mixed(hash * 31 + hash_value(L, i, 0) + (uint64_t)n);
  snprintf(digits, sizeof digits, "%016llx", (unsigned long long)hash);
  lua_pushstring(L, digits);
  return 1;
}

int luaopen_parlua_hash(lua_State *L)
{
  lua_pushcfunction(L, hash_of);
  return 1;
}
