/* hash.c - Lua module `parlua.hash`: a number for any Lua values that is the same in every process (bytes of the codec
 * are not: the order of a table's fields differs from process to process). For the journal: to tell that a task's
 * arguments are what they were.
 *
 * Tables are walked in the order of their keys and numbered as they are met, so that shared tables and cycles cost
 * nothing more.
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 1000 /* tables in tables beyond this count by their type alone */ };

/* One call of the module. */
struct walk {
  int seen; /* stack index of a table: table -> its number; 0: none was met */
  double tables;
};

/* A key of a table that is a number, string or boolean. */
struct key {
  int type;
  double number; /* or boolean */
  const char *text;
  size_t length;
};

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

static uint64_t hash_number(double number)
{
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return mixed(bits);
}

static int compare_keys(const void *left, const void *right)
{
  const struct key *a = left, *b = right;
  if (a->type != b->type) return a->type < b->type ? -1 : 1;
  if (a->type != LUA_TSTRING) return a->number < b->number ? -1 : a->number > b->number;
  size_t least = a->length < b->length ? a->length : b->length;
  int order = memcmp(a->text, b->text, least);
  return order ? order : a->length < b->length ? -1 : a->length > b->length;
}

static uint64_t hash_value(lua_State *L, int at, int depth, struct walk *walk);

/* Reads the key at the top of the stack; false when it is of another type. */
static int read_key(lua_State *L, struct key *key)
{
  key->type = lua_type(L, -1);
  key->number = key->type == LUA_TNUMBER ? lua_tonumber(L, -1) : lua_toboolean(L, -1);
  if (key->type == LUA_TSTRING) key->text = lua_tolstring(L, -1, &key->length);
  return key->type == LUA_TSTRING || key->type == LUA_TNUMBER || key->type == LUA_TBOOLEAN;
}

/* Is the key one of 1..n, whose values were taken already? */
static int is_counted(const struct key *key, double n)
{
  return key->type == LUA_TNUMBER && key->number >= 1 && key->number <= n &&
         key->number == (double)(int64_t)key->number;
}

/* The fields of the table at absolute stack index `at` whose keys are not 1..n. Keys that have no order are counted
 * alone. */
static uint64_t hash_fields(lua_State *L, int at, double n, int depth, struct walk *walk)
{
  size_t count = 0, room = 0, others = 0;
  struct key key;
  for (lua_pushnil(L); lua_next(L, at);) {
    lua_pop(L, 1);
    if (!read_key(L, &key))
      others++;
    else if (!is_counted(&key, n))
      room++;
  }
  uint64_t hash = mixed(others);
  if (room == 0) return hash;
  struct key *keys = lua_newuserdata(L, room * sizeof *keys);
  for (lua_pushnil(L); lua_next(L, at);) {
    lua_pop(L, 1);
    if (read_key(L, &key) && !is_counted(&key, n)) keys[count++] = key;
  }
  qsort(keys, count, sizeof *keys, compare_keys);
  for (size_t i = 0; i < count; i++) {
    const struct key *each = &keys[i];
    if (each->type == LUA_TSTRING)
      lua_pushlstring(L, each->text, each->length);
    else if (each->type == LUA_TNUMBER)
      lua_pushnumber(L, each->number);
    else
      lua_pushboolean(L, each->number != 0);
    hash = mixed(hash * 31 +
                 (each->type == LUA_TSTRING ? hash_bytes(each->text, each->length) : hash_number(each->number)));
    lua_rawget(L, at);
    hash = mixed(hash * 31 + hash_value(L, lua_gettop(L), depth + 1, walk));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return hash;
}

/* The table at absolute stack index `at`; its number where it was met before. */
static uint64_t hash_table(lua_State *L, int at, int depth, struct walk *walk)
{
  uint64_t hash = 0;
  if (depth >= DEEPEST || !lua_checkstack(L, 8)) return 0;
  lua_pushvalue(L, at);
  lua_rawget(L, walk->seen);
  double number = lua_tonumber(L, -1);
  lua_pop(L, 1);
  if (number > 0) return hash_number(number);
  lua_pushvalue(L, at);
  lua_pushnumber(L, ++walk->tables);
  lua_rawset(L, walk->seen);
  int n = 0;
  for (lua_rawgeti(L, at, 1); !lua_isnil(L, -1); lua_rawgeti(L, at, n + 1)) {
    hash = mixed(hash * 31 + hash_value(L, lua_gettop(L), depth + 1, walk));
    lua_pop(L, 1);
    n++;
  }
  lua_pop(L, 1);
  return mixed(hash * 31 + (uint64_t)n) + hash_fields(L, at, n, depth, walk);
}

/* The value at absolute stack index `at`. What has no content to go by (functions, userdata, cdata) counts by
 * its type. */
static uint64_t hash_value(lua_State *L, int at, int depth, struct walk *walk)
{
  int type = lua_type(L, at);
  uint64_t hash = 0;
  if (type == LUA_TNUMBER) {
    hash = hash_number(lua_tonumber(L, at));
  } else if (type == LUA_TSTRING) {
    size_t length;
    const char *text = lua_tolstring(L, at, &length);
    hash = hash_bytes(text, length);
  } else if (type == LUA_TBOOLEAN) {
    hash = (uint64_t)lua_toboolean(L, at) + 1;
  } else if (type == LUA_TTABLE) {
    hash = hash_table(L, at, depth, walk);
  }
  return mixed(hash + (uint64_t)type * 0x9e3779b97f4a7c15ULL);
}

/* hash(...) -> an integer below 2^53 */
static int hash_of(lua_State *L)
{
  struct walk walk = {0};
  int n = lua_gettop(L);
  uint64_t hash = (uint64_t)n;
  for (int i = 1; i <= n && !walk.seen; i++) {
    if (!lua_istable(L, i)) continue;
    lua_newtable(L);
    walk.seen = lua_gettop(L);
  }
  for (int i = 1; i <= n; i++) hash = mixed(hash * 31 + hash_value(L, i, 0, &walk));
  lua_pushnumber(L, (double)(hash >> 11));
  return 1;
}

int luaopen_parlua_hash(lua_State *L)
{
  lua_pushcfunction(L, hash_of);
  return 1;
}
