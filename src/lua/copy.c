/* copy.c - see copy.h. Not by recursion: lists may be long chains. */
#include "lua/copy.h"

#include <lauxlib.h>
#include <stdbool.h>

/* Places on the stack of copy. COPIES and QUEUE are nil until a table in the table is seen: most are flat. */
enum { ROOT = 1, MADE, COPIES, QUEUE, TOP = QUEUE };

/* Is the table at the top one that stays what it is, a module? package.loaded[its name] leads to it. The set is an upvalue: table
 * -> true. */
static bool is_shared(lua_State *L)
{
  lua_pushvalue(L, -1);
  lua_rawget(L, lua_upvalueindex(1));
  bool found = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return found;
}

/* Makes the tables that more than one table needs. */
static void begin_queue(lua_State *L)
{
  if (!lua_isnil(L, COPIES)) return;
  lua_newtable(L);
  lua_pushvalue(L, ROOT);
  lua_pushvalue(L, MADE);
  lua_rawset(L, -3);
  lua_replace(L, COPIES);
  lua_newtable(L);
  lua_replace(L, QUEUE);
}

/* Replaces the table at the top by its copy, which is filled later where it is new. */
static void place(lua_State *L, int *queued)
{
  begin_queue(L);
  lua_pushvalue(L, -1);
  lua_rawget(L, COPIES);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    if (is_shared(L)) return;
    lua_createtable(L, (int)lua_objlen(L, -1), 0);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, COPIES);
    lua_pushvalue(L, -2);
    lua_rawseti(L, QUEUE, ++*queued);
  }
  lua_remove(L, -2);
}

/* The table at the top stays what it is, wherever it is met; pops it. */
static void keep(lua_State *L)
{
  begin_queue(L);
  lua_pushvalue(L, -1);
  lua_rawget(L, COPIES);
  bool known = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (known) {
    lua_pop(L, 1);
    return;
  }
  lua_pushvalue(L, -1);
  lua_rawset(L, COPIES);
}

/* Gives the copy at index `to` the metatable of the table at `from`. A field that leads to the class leads to the same. */
static void copy_metatable(lua_State *L, int from, int to)
{
  if (!lua_getmetatable(L, from)) return;
  lua_pushvalue(L, -1);
  keep(L);
  lua_pushliteral(L, "__index");
  lua_rawget(L, -2);
  if (lua_istable(L, -1) && !lua_rawequal(L, -1, from))
    keep(L);
  else
    lua_pop(L, 1);
  lua_setmetatable(L, to);
}

/* Fills the copy at `to` with what is in the table at `from`. */
static void fill(lua_State *L, int from, int to, int *queued)
{
  copy_metatable(L, from, to);
  lua_pushnil(L);
  while (lua_next(L, from)) {
    if (lua_istable(L, -1)) place(L, queued);
    lua_pushvalue(L, -2);
    if (lua_istable(L, -1)) place(L, queued);
    lua_insert(L, -2);
    lua_rawset(L, to);
  }
}

static int copy(lua_State *L)
{
  int queued = 0;
  luaL_checktype(L, ROOT, LUA_TTABLE);
  lua_settop(L, ROOT);
  if (is_shared(L)) return 1;
  luaL_checkstack(L, 16, "copy");
  lua_createtable(L, (int)lua_objlen(L, ROOT), 0);
  lua_settop(L, TOP);
  fill(L, ROOT, MADE, &queued);
  while (queued > 0) {
    lua_rawgeti(L, QUEUE, queued);
    lua_pushnil(L);
    lua_rawseti(L, QUEUE, queued--);
    lua_pushvalue(L, -1);
    lua_rawget(L, COPIES);
    fill(L, TOP + 1, TOP + 2, &queued);
    lua_settop(L, TOP);
  }
  lua_settop(L, MADE);
  return 1;
}

/* refresh(): looks at what modules there are now. Its upvalue is the set. */
static int refresh(lua_State *L)
{
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    if (lua_istable(L, -1)) {
      lua_pushboolean(L, 1);
      lua_rawset(L, lua_upvalueindex(1));
    } else {
      lua_pop(L, 1);
    }
  }
  return 0;
}

int luaopen_parlua_copy(lua_State *L)
{
  lua_createtable(L, 0, 2);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, copy, 1);
  lua_setfield(L, -3, "copy");
  lua_pushcclosure(L, refresh, 1);
  lua_setfield(L, -2, "refresh");
  return 1;
}
