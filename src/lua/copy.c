/* copy.c - see copy.h. Not by recursion: lists may be long chains. */
#include "lua/copy.h"
#include "lua/codec/format.h"
#include "lua/codec/state.h"

#include <lauxlib.h>
#include <stdbool.h>

/* Places on the stack of copy. COPIES and QUEUE are nil until a table in the table is seen: most are flat. CLOSURES is
 * a list of the functions with upvalues that were met, nil until there is one. */
enum { ROOT = 1, MADE, COPIES, QUEUE, CLOSURES, TOP = CLOSURES };
enum { MOST_CLOSURES = 1000 };

/* The upvalues: a table of three sets, modules (package.loaded[their names] leads to them), what the map function has
 * captured, and the tables that these lead to, all table -> its state when the run began (0: not known), and of the
 * function that copies C data and buffers; is a result copied? */
enum { SETS = 1, IS_RESULT };
enum { MODULES = 1, CAPTURED, PARTS, DATA_COPIER };
enum { MOST_PARTS = 20000 }; /* 10 ms for small ones */

/* Is the table at the top one that stays what it is: a class, a module, or one that the function has captured? Of a
 * captured one that is a result, or a part of one: if it has not changed. Parts that are arguments are copied. */
static bool is_shared(lua_State *L)
{
  int top = lua_gettop(L);
  lua_pushliteral(L, "__index");
  lua_rawget(L, top);
  bool is_class = !lua_isnil(L, -1);
  lua_settop(L, top);
  if (is_class) return true;
  bool is_result = lua_toboolean(L, lua_upvalueindex(IS_RESULT));
  for (int set = MODULES; set <= (is_result ? PARTS : CAPTURED); set++) {
    lua_rawgeti(L, lua_upvalueindex(SETS), set);
    lua_pushvalue(L, top);
    lua_rawget(L, -2);
    bool found = !lua_isnil(L, -1);
    double state = lua_tonumber(L, -1);
    lua_settop(L, top);
    if (found && set >= CAPTURED && is_result) found = state != 0 && state == codec_short_state(L, top);
    if (found) return true;
  }
  return false;
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

/* Gives the copy at index `to` the metatable of the table at `from`. A field that leads to the class leads to
 * the same. */
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

/* Are they C data, or a userdata that may be a buffer? */
static bool is_data(int type)
{
  return type == TYPE_CDATA || type == LUA_TUSERDATA;
}

/* Replaces the data at the top by a copy, where it is such as a task may change. */
static void copy_data(lua_State *L)
{
  lua_rawgeti(L, lua_upvalueindex(SETS), DATA_COPIER);
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

/* The same of data in a table: what is there twice is one copy. */
static void place_data(lua_State *L)
{
  begin_queue(L);
  lua_pushvalue(L, -1);
  lua_rawget(L, COPIES);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    copy_data(L);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, COPIES);
  }
  lua_remove(L, -2);
}

/* Notes the function at `index`, where it has upvalues or an environment of its own. */
static void note_closure(lua_State *L, int index)
{
  if (lua_iscfunction(L, index)) return;
  lua_getfenv(L, index);
  bool is_plain = lua_rawequal(L, -1, LUA_GLOBALSINDEX) != 0;
  lua_pop(L, 1);
  if (is_plain && !lua_getupvalue(L, index, 1)) return;
  if (!is_plain) lua_pushnil(L);
  lua_pop(L, 1);
  if (lua_isnil(L, CLOSURES)) {
    lua_newtable(L);
    lua_replace(L, CLOSURES);
  }
  int count = (int)lua_objlen(L, CLOSURES);
  lua_pushvalue(L, index);
  if (count < MOST_CLOSURES)
    lua_rawseti(L, CLOSURES, count + 1);
  else
    lua_pop(L, 1);
}

/* Was the table on the top copied? Pops it. */
static bool was_copied(lua_State *L)
{
  if (lua_rawequal(L, -1, ROOT)) {
    lua_pop(L, 1);
    return true;
  }
  if (lua_isnil(L, COPIES)) {
    lua_pop(L, 1);
    return false;
  }
  lua_pushvalue(L, -1);
  lua_rawget(L, COPIES);
  bool copied = !lua_isnil(L, -1) && !lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return copied;
}

/* Does a function that was met, or one that it holds, hold a table that was copied? It holds the old one. */
static bool has_split(lua_State *L)
{
  if (lua_isnil(L, CLOSURES)) return false;
  for (int i = 1; i <= (int)lua_objlen(L, CLOSURES); i++) { /* those that they hold are added */
    lua_rawgeti(L, CLOSURES, i);
    int function = lua_gettop(L);
    lua_getfenv(L, function);
    bool split = was_copied(L);
    for (int k = 1; !split && lua_getupvalue(L, function, k); k++) {
      if (lua_istable(L, -1)) {
        split = was_copied(L);
        continue;
      }
      if (lua_isfunction(L, -1) && !lua_rawequal(L, -1, function)) note_closure(L, lua_gettop(L));
      lua_pop(L, 1);
    }
    lua_settop(L, function - 1);
    if (split) return true;
  }
  return false;
}

/* Fills the copy at `to` with what is in the table at `from`. */
static void fill(lua_State *L, int from, int to, int *queued)
{
  copy_metatable(L, from, to);
  bool is_result = lua_toboolean(L, lua_upvalueindex(IS_RESULT));
  lua_pushnil(L);
  while (lua_next(L, from)) {
    if (lua_istable(L, -1))
      place(L, queued);
    else if (is_data(lua_type(L, -1)) && !is_result)
      place_data(L);
    else if (lua_isfunction(L, -1))
      note_closure(L, lua_gettop(L));
    lua_pushvalue(L, -2);
    if (lua_istable(L, -1)) place(L, queued);
    lua_insert(L, -2);
    lua_rawset(L, to);
  }
}

/* copy(value) -> its copy, true: a function in it holds a part of the original */
static int copy(lua_State *L)
{
  int queued = 0;
  lua_settop(L, ROOT);
  if (is_data(lua_type(L, ROOT))) {
    copy_data(L);
    return 1;
  }
  if (lua_islightuserdata(L, ROOT)) return 1; /* cjson.null */
  luaL_checktype(L, ROOT, LUA_TTABLE);
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
  lua_pushboolean(L, has_split(L));
  lua_pushvalue(L, MADE);
  lua_insert(L, -2);
  return 2;
}

/* Adds the table on the top to the set at index `set`; pops what is there. */
static void add_to_set(lua_State *L, int set)
{
  if (lua_istable(L, -1)) {
    lua_pushinteger(L, 0);
    lua_rawset(L, set);
  } else {
    lua_pop(L, 1);
  }
}

/* Adds the tables that are fields of the table on the top to the set at index `set`, and itself; pops it. */
static void add_fields(lua_State *L, int set)
{
  lua_pushnil(L);
  while (lua_next(L, -2)) add_to_set(L, set);
  add_to_set(L, set);
}

/* refresh([set [, parts]]): looks at what modules there are now, with package's own tables; `set` is what the function
 * has captured: table -> its state, and `parts` the tables in it. Returns the set of the modules. */
static int refresh(lua_State *L)
{
  lua_settop(L, 2);
  lua_rawgeti(L, lua_upvalueindex(SETS), MODULES);
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "package");
  if (lua_istable(L, -1))
    add_fields(L, 3);
  else
    lua_pop(L, 1);
  add_fields(L, 3);
  lua_settop(L, 2);
  for (int k = 1; k <= 2; k++) {
    if (lua_istable(L, k))
      lua_pushvalue(L, k);
    else
      lua_newtable(L);
    lua_rawseti(L, lua_upvalueindex(SETS), k == 1 ? CAPTURED : PARTS);
  }
  lua_rawgeti(L, lua_upvalueindex(SETS), MODULES);
  return 1;
}

/* The stack of find_parts. */
enum { SET = 1, SKIP, FOUND, FOUND_QUEUE };

/* Adds the table on the top to those found, and to the queue, if it is new; pops what is there. */
static void add_part(lua_State *L, int *count)
{
  int table = lua_gettop(L);
  bool known = !lua_istable(L, table) || *count >= MOST_PARTS;
  for (int set = SET; !known && set <= FOUND; set++) {
    lua_pushvalue(L, table);
    lua_rawget(L, set);
    known = !lua_isnil(L, -1);
    lua_pop(L, 1);
  }
  if (known) {
    lua_pop(L, 1);
    return;
  }
  lua_pushvalue(L, table);
  lua_pushnumber(L, codec_short_state(L, table));
  lua_rawset(L, FOUND);
  lua_rawseti(L, FOUND_QUEUE, ++*count);
}

/* Adds the tables that are keys or fields of the table on the top; pops it. */
static void add_parts(lua_State *L, int *count)
{
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    add_part(L, count);
    lua_pushvalue(L, -1);
    add_part(L, count);
  }
  lua_pop(L, 1);
}

/* parts(set, skip) -> the tables that those of `set` lead to: table -> its state. Those of `skip` are left out. */
static int find_parts(lua_State *L)
{
  int count = 0;
  luaL_checktype(L, SET, LUA_TTABLE);
  luaL_checktype(L, SKIP, LUA_TTABLE);
  lua_settop(L, SKIP);
  lua_newtable(L);
  lua_newtable(L);
  lua_pushnil(L);
  while (lua_next(L, SET)) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1); /* stays as the key of the next */
    add_parts(L, &count);
  }
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, FOUND_QUEUE, i);
    add_parts(L, &count);
  }
  lua_settop(L, FOUND);
  return 1;
}

/* data_by(f): f copies C data and buffers */
static int data_by(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawseti(L, lua_upvalueindex(SETS), DATA_COPIER);
  return 0;
}

int luaopen_parlua_copy(lua_State *L)
{
  static const struct {
    const char *name;
    lua_CFunction function;
    int is_result;
  } functions[] = {{"copy", copy, 0},
                   {"copy_result", copy, 1},
                   {"refresh", refresh, 0},
                   {"data_by", data_by, 0},
                   {"parts", find_parts, 0}};
  lua_createtable(L, 0, 5);
  lua_createtable(L, DATA_COPIER, 0);
  for (int set = MODULES; set <= PARTS; set++) {
    lua_newtable(L);
    lua_rawseti(L, -2, set);
  }
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    lua_pushvalue(L, -1);
    lua_pushboolean(L, functions[i].is_result);
    lua_pushcclosure(L, functions[i].function, 2);
    lua_setfield(L, -3, functions[i].name);
  }
  lua_pop(L, 1);
  return 1;
}
