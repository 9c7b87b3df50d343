/* encode_function.c - functions: see encoder.h. */
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lua/codec/encoder.h"

/* Pushes what `name` is in the environment (both stack indices). Read raw if possible; __index can't raise. */
static void push_global(struct encoder *encoder, int environment, int name)
{
  lua_State *L = encoder->L;
  lua_pushvalue(L, name);
  lua_rawget(L, environment);
  if (!lua_isnil(L, -1)) return;
  /* a worker has the metatable of _G */
  if (encoder->flags & CODEC_TO_WORKER && codec_has_globals(L, environment)) return;
  if (!lua_getmetatable(L, environment)) return;
  lua_pop(L, 2);
  push_tool(L, TOOL_LOOKUP);
  lua_pushvalue(L, environment);
  lua_pushvalue(L, name);
  lua_call(L, 2, 1);
  if (!lua_isnil(L, -1)) anchor(encoder);
}

/* Has a function with the environment at `index` no globals but those that the script has put there? It has no
 * metatable, or one whose __index is a table other than _G. */
static bool is_closed(lua_State *L, int index)
{
  if (!lua_getmetatable(L, index)) return true;
  lua_pushliteral(L, "__index");
  lua_rawget(L, -2);
  bool closed = lua_isnil(L, -1) || (lua_istable(L, -1) && !lua_rawequal(L, -1, LUA_GLOBALSINDEX));
  lua_pop(L, 2);
  return closed;
}

/* Is the table at `index`, an environment, one that crosses as a whole: a module's, one that was met before, or one
 * that keeps the globals away from its functions? */
static bool is_outside(struct encoder *encoder, int index)
{
  enum name_kind kind;
  int in_chain;
  const void *table = lua_topointer(encoder->L, index);
  return name_of(encoder, index, &kind) || map_get(encoder->objects, table) ||
         chain_find(encoder->codec, table, &in_chain) || is_closed(encoder->L, index);
}

/* Pushes what _G has under the name at `name`, if a function whose environment crosses as a whole finds it there and
 * the receiver may not have it: what takes too much room to be sent with every call. Else nil. */
static void push_left_out(struct encoder *encoder, int environment, int name)
{
  lua_State *L = encoder->L;
  enum name_kind kind;
  int in_chain;
  lua_pushvalue(L, name);
  lua_rawget(L, environment);
  bool has_own = !lua_isnil(L, -1);
  lua_pop(L, 1);
  lua_pushvalue(L, name);
  lua_rawget(L, LUA_GLOBALSINDEX);
  int value = lua_gettop(L), type = lua_type(L, value);
  bool is_large = type == LUA_TSTRING  ? lua_objlen(L, value) > MOST_ITEM_BYTES
                  : type == LUA_TTABLE ? !chain_find(encoder->codec, lua_topointer(L, value), &in_chain)
                                       : false;
  if (!has_own && is_large && !name_of(encoder, value, &kind)) return;
  lua_pop(L, 1);
  lua_pushnil(L);
}

/* Writes a function's environment and the values of the globals that it names. Its plan is on the top, and stays. */
static void encode_globals(struct encoder *encoder, int function, const struct place *outer)
{
  lua_State *L = encoder->L;
  int plan = lua_gettop(L), environment = plan + 1, name = plan + 2, value = plan + 3;
  lua_getfenv(L, function);
  const char *table = lua_topointer(L, environment);
  bool outside = false;
  bool has_globals = codec_has_globals(L, environment);
  if (encoder->book && !has_globals) encoder->book->hides_state = true; /* __index */
  if (has_globals) {
    check(encoder, put_byte(encoder->out, TAG_STANDARD));
  } else if ((outside = is_outside(encoder, environment))) {
    check(encoder, put_byte(encoder->out, TAG_OUTSIDE));
    encode_value(encoder, environment, outer);
  } else if (!put_reference(encoder, table + 1, environment, 0)) { /* + 1: the same table can occur as a value, too */
    check(encoder, put_byte(encoder->out, TAG_ENVIRONMENT));
  }

  struct place place = {.outer = outer, .kind = IN_GLOBAL, .slot = name, .function = function};
  bool is_function_alone = encoder->flags & CODEC_TO_WORKER && encoder->most == 0; /* of a job, not of the state */
  for (int i = 2; !outside || is_function_alone; i++) {
    lua_rawgeti(L, plan, i);
    if (lua_isnil(L, name)) break;
    if (outside)
      push_left_out(encoder, environment, name);
    else
      push_global(encoder, environment, name);
    bool is_withheld = encoder->merging && encoder->codec->has_withheld && is_in_set(encoder, TOOL_WITHHELD, value);
    if (!lua_isnil(L, value) && !is_withheld && !is_standard(encoder, name)) {
      encode_string(encoder, name);
      encode_value(encoder, value, &place);
    }
    lua_settop(L, environment);
  }
  check(encoder, put_byte(encoder->out, TAG_END));
  lua_settop(L, plan);
}

/* Writes the upvalues of a function, each as a cell that other functions may have too. */
static void encode_upvalues(struct encoder *encoder, int function, const struct place *outer)
{
  lua_State *L = encoder->L;
  int count = 0, value = lua_gettop(L) + 1, in_chain;
  for (; lua_getupvalue(L, function, count + 1); count++) lua_pop(L, 1);
  check(encoder, put_byte(encoder->out, (unsigned)count));
  struct place place = {.outer = outer, .kind = IN_UPVALUE, .function = function};
  for (int i = 1; i <= count; i++) {
    const void *cell = lua_upvalueid(L, function, i);
    const struct shared *entry = find_fresh(encoder, cell, &in_chain);
    if (entry && entry->upvalue) {
      put_in_book(encoder, in_chain, entry);
      continue;
    }
    if (put_reference(encoder, cell, function, i)) continue;
    check(encoder, put_byte(encoder->out, TAG_CELL));
    place.slot = i;
    lua_getupvalue(L, function, i);
    encode_value(encoder, value, &place);
    lua_pop(L, 1);
  }
}

/* Pushes the plan of a function: { its dump, the names of the globals that it uses... }. */
static void push_plan(struct encoder *encoder, int function)
{
  lua_State *L = encoder->L;
  push_tool(L, TOOL_PLANS);
  lua_pushvalue(L, function);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  push_tool(L, TOOL_PLAN);
  lua_pushvalue(L, function);
  lua_call(L, 1, 1);
}

/* Does a function stand for itself: written in Lua, without upvalues, naming no globals? Then, where identity does not
 * matter, it need not be known whether it has got a name since names were last looked at, which costs more than all
 * else about it. */
static bool is_plain(struct encoder *encoder, int function)
{
  lua_State *L = encoder->L;
  if (!(encoder->flags & CODEC_PLAIN_BY_VALUE) || encoder->codec->names_stamp == 0 || lua_iscfunction(L, function))
    return false;
  if (lua_getupvalue(L, function, 1)) {
    lua_pop(L, 1);
    return false;
  }
  push_plan(encoder, function);
  lua_rawgeti(L, -1, 2);
  bool plain = lua_isnil(L, -1);
  lua_pop(L, 2);
  return plain;
}

void encode_function_body(struct encoder *encoder, int function, const struct place *place)
{
  push_plan(encoder, function);
  encode_globals(encoder, function, place);
  lua_pop(encoder->L, 1);
  encode_upvalues(encoder, function, place);
}

void encode_lua_function(struct encoder *encoder, int function, const struct place *place)
{
  lua_State *L = encoder->L;
  size_t entry = encoder->book ? encoder->book->count - 1 : 0;
  bool now = enter(encoder);
  check(encoder, put_byte(encoder->out, now ? TAG_FUNCTION : TAG_FUNCTION_HEAD));
  push_plan(encoder, function);
  lua_rawgeti(L, -1, 1);
  lua_getfield(L, -2, "off");
  unsigned flags = lua_toboolean(L, -1) ? FUNCTION_NOT_COMPILED : 0;
  lua_getfield(L, -3, "has_templates");
  if (lua_toboolean(L, -1)) flags |= FUNCTION_HAS_TEMPLATES;
  lua_pop(L, 2);
  size_t length;
  const char *dump = lua_tolstring(L, -1, &length);
  uint64_t sum = codec_checksum(dump, length);
  encode_string(encoder, -1);
  lua_pop(L, 2);
  check(encoder, buffer_append(encoder->out, &sum, sizeof sum));
  check(encoder, put_byte(encoder->out, flags));
  if (!now) {
    put_off(encoder, function, 0, place);
    return;
  }
  encode_function_body(encoder, function, place);
  note_state(encoder, entry, function);
  encoder->depth--;
}

/* Writes the name of a function of LuaJIT that is not the one that the library has now: it was opened again. Returns
 * whether it is such a function. */
static bool encode_builtin(struct encoder *encoder, int function, const struct place *place)
{
  lua_State *L = encoder->L;
  int top = lua_gettop(L);
  push_tool(L, TOOL_BUILTIN);
  lua_pushvalue(L, function);
  lua_call(L, 1, 2);
  bool found = lua_toboolean(L, top + 1);
  if (found) {
    check(encoder, put_byte(encoder->out, TAG_NAME));
    encode_value(encoder, top + 1, place);
    encode_value(encoder, top + 2, place);
  }
  lua_settop(L, top);
  return found;
}

void encode_function(struct encoder *encoder, int function, const struct place *outer)
{
  lua_State *L = encoder->L;
  enum name_kind kind = NAMED_PART;
  bool to_worker = encoder->flags & CODEC_TO_WORKER, is_c = lua_iscfunction(L, function);
  if (encoder->flags & CODEC_NO_FUNCTIONS) complain(encoder, function, outer, "functions can't be stored");
  if (put_known(encoder, function, outer)) return;
  if (!is_plain(encoder, function)) check_names(encoder);
  int name = name_of(encoder, function, &kind);
  int top = lua_gettop(L);
  struct place place = {.outer = outer, .kind = IN_MODULE, .slot = 0};
  if (name && kind == NAMED_PART && to_worker) {
    push_module(encoder, name);
    /* LuaJIT's and Lua's own are sent with their module's state; what can't be, and C's, is a part of what is required
     * there */
    bool required = encoder->codec->has_required && is_in_set(encoder, TOOL_REQUIRED, top + 1);
    if (encoder->merging ? is_c : (is_c || required)) {
      lua_settop(L, top);
      if (encoder->merging)
        refuse(encoder, function, outer, NULL);
      else
        encode_by_name(encoder, function, name, outer);
      return;
    }
    place.owner = top + 1;
    lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_LIST);
    lua_rawgeti(L, -1, name + NAME_MODULE);
    place.slot = top + 3;
  } else if (name && (kind == NAMED_EVERYWHERE || !to_worker)) {
    encode_by_name(encoder, function, name, outer);
    return;
  }
  if (is_c && !(name && kind == NAMED_MODULE)) {
    if (encode_builtin(encoder, function, outer)) return;
    refuse(encoder, function, outer, NULL);
    return;
  }
  if (put_reference(encoder, lua_topointer(L, function), function, 0)) {
    lua_settop(L, top);
    return;
  }
  if (name && kind == NAMED_MODULE)
    encode_module(encoder, function, name, outer);
  else
    encode_lua_function(encoder, function, place.owner ? &place : outer);
  lua_settop(L, top);
}
