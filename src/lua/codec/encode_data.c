/* encode_data.c - C data and userdata: see encoder.h. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lua/codec/encoder.h"

/* A function of C: its type, and where it is found. The four values are on the stack from `at` on. */
static void encode_symbol(struct encoder *encoder, int at, const struct place *place)
{
  uint64_t address = (uint64_t)lua_tonumber(encoder->L, at + 3);
  check(encoder, put_byte(encoder->out, TAG_SYMBOL));
  for (int i = at; i < at + 3; i++) {
    lua_pushvalue(encoder->L, i);
    anchor(encoder);
    lua_pop(encoder->L, 1);
    encode_value(encoder, i, place);
  }
  check(encoder, buffer_append(encoder->out, &address, sizeof address));
}

/* An array: what the receiver is to know of it, and perhaps its elements, where they are aligned as in memory of its
 * own. */
static void encode_array(struct encoder *encoder, int index, const struct place *place)
{
  lua_State *L = encoder->L;
  struct buffer *out = encoder->out;
  static const unsigned char zeros[ARRAY_ALIGNMENT];
  int top = lua_gettop(L);
  if (put_reference(encoder, lua_topointer(L, index), index, 0)) return;
  size_t entry = encoder->book ? encoder->book->count - 1 : 0;
  push_tool(L, TOOL_ARRAY);
  lua_pushvalue(L, index);
  lua_pushboolean(L, encoder->flags & CODEC_POINTERS);
  lua_pushboolean(L, encoder->flags & CODEC_NO_FUNCTIONS);
  lua_call(L, 3, 5);
  if (lua_isnil(L, top + 1)) {
    if (!encoder->merging) refuse(encoder, index, place, lua_tostring(L, top + 2));
    if (encoder->book) encoder->book->list[entry].is_incomplete = true; /* what the receiver has there stays */
    put_kept(encoder);
    lua_settop(L, top);
    return;
  }
  size_t watched = (size_t)lua_tonumber(L, top + 2), size = (size_t)lua_tonumber(L, top + 3);
  if (encoder->book) encoder->book->list[entry].state = size ? NOT_WATCHED : watched;
  check(encoder, put_byte(out, TAG_ARRAY));
  encode_value(encoder, top + 1, place);
  check(encoder, put_varint(out, size));
  if (size) {
    const void *elements;
    unsigned pad = (unsigned)(-(out->length + 1) & (ARRAY_ALIGNMENT - 1));
    memcpy(&elements, lua_topointer(L, top + 5), sizeof elements);
    check(encoder, put_byte(out, pad));
    check(encoder, buffer_append(out, zeros, pad));
    check(encoder, buffer_append(out, elements, size));
  }
  lua_settop(L, top);
}

void encode_cdata(struct encoder *encoder, int index, const struct place *place)
{
  lua_State *L = encoder->L;
  const void *content = lua_topointer(L, index);
  int in_chain, top = lua_gettop(L);
  luaL_checkstack(L, SLOTS_PER_LEVEL, NULL);
  const struct shared *known = find_fresh(encoder, content, &in_chain);
  if (known && known->upvalue == 0) {
    put_in_book(encoder, in_chain, known);
    return;
  }
  push_tool(L, TOOL_CDATA);
  lua_pushvalue(L, index);
  lua_pushboolean(L, encoder->flags & CODEC_POINTERS);
  lua_call(L, 2, 5);
  int kind_at = top + 1, description = top + 2;
  const char *kind = lua_tostring(L, kind_at);
  struct buffer *out = encoder->out;
  if (kind == NULL) {
    const char *reason = lua_tostring(L, description);
    refuse(encoder, index, place, reason);
  } else if (strcmp(kind, "int64") == 0) {
    check(encoder, put_tagged(out, TAG_INT64, content, 8));
  } else if (strcmp(kind, "uint64") == 0) {
    check(encoder, put_tagged(out, TAG_UINT64, content, 8));
  } else if (strcmp(kind, "complex") == 0) {
    check(encoder, put_tagged(out, TAG_COMPLEX, content, 16));
  } else if (strcmp(kind, "array") == 0) {
    encode_array(encoder, index, place);
  } else if (encoder->flags & CODEC_NO_FUNCTIONS) {
    complain(encoder, index, place, "C data can't be stored");
  } else if (strcmp(kind, "ctype") == 0) {
    check(encoder, put_byte(out, TAG_CTYPE));
    encode_value(encoder, description, place);
  } else if (strcmp(kind, "symbol") == 0) {
    encode_symbol(encoder, description, place);
  } else if (!put_reference(encoder, content, index, 0)) {
    size_t size = (size_t)lua_tonumber(L, description + 1);
    bool is_reference = strcmp(kind, "reference") == 0;
    if (is_reference) memcpy(&content, content, sizeof content);
    if (encoder->book) encoder->book->list[encoder->book->count - 1].state = is_reference ? NOT_WATCHED : size;
    check(encoder, put_byte(out, TAG_CDATA));
    encode_value(encoder, description, place);
    check(encoder, put_varint(out, size));
    bool is_last = !place && encoder->number == encoder->count && !is_reference;
    if (!is_last || !leave_rest(encoder->rest, content, size)) check(encoder, buffer_append(out, content, size));
  }
  lua_settop(L, top);
}

/* Calls a tool for the value at `index`; its results, two, are on the top. */
static void ask_tool(struct encoder *encoder, enum tool tool, int index)
{
  push_tool(encoder->L, tool);
  lua_pushvalue(encoder->L, index);
  lua_call(encoder->L, 1, 2);
  anchor(encoder);
  lua_insert(encoder->L, -2);
  anchor(encoder);
  lua_insert(encoder->L, -2);
}

static void encode_proxy(struct encoder *encoder, int index, const struct place *outer)
{
  lua_State *L = encoder->L;
  if (put_reference(encoder, lua_touserdata(L, index), index, 0)) return;
  check(encoder, put_byte(encoder->out, TAG_PROXY));
  if (!lua_getmetatable(L, index)) lua_pushnil(L);
  struct place place = {.outer = outer, .kind = IN_METATABLE, .slot = lua_gettop(L), .function = index};
  encode_value(encoder, lua_gettop(L), &place);
  lua_pop(L, 1);
}

/* Is a value in the midst of the module that `name`, of the value, names? It can't be found there by that name. */
static bool is_in_own_module(struct encoder *encoder, int name, const struct place *place)
{
  lua_State *L = encoder->L;
  if (!(encoder->flags & CODEC_TO_WORKER)) return false;
  push_module(encoder, name);
  bool found = false;
  for (; place && !found; place = place->outer) found = place->owner && lua_rawequal(L, place->owner, -1);
  lua_pop(L, 1);
  return found;
}

/* Writes what is sent by its content: a string.buffer. Returns whether it is one. */
static bool encode_text(struct encoder *encoder, int index)
{
  lua_State *L = encoder->L;
  int top = lua_gettop(L);
  ask_tool(encoder, TOOL_TEXT, index);
  bool found = lua_isstring(L, top + 1);
  if (found && !put_reference(encoder, lua_touserdata(L, index), index, 0)) {
    if (encoder->book) encoder->book->list[encoder->book->count - 1].state = 1; /* no watch can see its content */
    check(encoder, put_byte(encoder->out, TAG_TEXT));
    encode_string(encoder, top + 1);
  }
  lua_settop(L, top);
  return found;
}

/* Is it an open file, or one that was closed? */
static bool is_file(lua_State *L, int index)
{
  if (!lua_getmetatable(L, index)) return false;
  luaL_getmetatable(L, LUA_FILEHANDLE);
  bool found = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return found;
}

void encode_userdata(struct encoder *encoder, int index, int type, const struct place *place)
{
  lua_State *L = encoder->L;
  enum name_kind kind;
  int top = lua_gettop(L);
  const void *object = lua_touserdata(L, index);
  if (encoder->flags & CODEC_NO_FUNCTIONS) {
    complain(encoder, index, place, "userdata can't be stored");
    return;
  }
  if (type == LUA_TLIGHTUSERDATA && (object == NULL || (encoder->flags & CODEC_POINTERS))) {
    check(encoder, put_tagged(encoder->out, TAG_ADDRESS, &object, sizeof object));
    return;
  }
  if (type == LUA_TUSERDATA && put_known(encoder, index, place)) return;
  luaL_checkstack(L, SLOTS_PER_LEVEL, NULL);
  check_names(encoder);
  int name = name_of(encoder, index, &kind);
  if (type == LUA_TUSERDATA && kind != NAMED_EVERYWHERE && encode_text(encoder, index)) return;
  if (name && kind == NAMED_MODULE && is_file(L, index)) {
    refuse(encoder, index, place, NULL);
    return;
  }
  if (name && kind == NAMED_PART && !encoder->merging && is_in_own_module(encoder, name, place)) {
    refuse(encoder, index, place, NULL);
    return;
  }
  if (name && !(encoder->merging && kind == NAMED_PART) &&
      !(kind == NAMED_MODULE && encoder->flags & CODEC_TO_WORKER)) {
    encode_by_name(encoder, index, name, place);
    return;
  }
  if (name && kind == NAMED_MODULE && type == LUA_TUSERDATA) {
    if (!put_reference(encoder, object, index, 0)) encode_module(encoder, index, name, place);
    return;
  }
  if (codec_is_proxy(L, index)) {
    encode_proxy(encoder, index, place);
    return;
  }
  if (type == LUA_TUSERDATA) {
    ask_tool(encoder, TOOL_LIBRARY, index);
    if (lua_toboolean(L, top + 1)) {
      check(encoder, put_byte(encoder->out, TAG_NAMESPACE));
      encode_value(encoder, top + 2, place);
      lua_settop(L, top);
      return;
    }
    lua_settop(L, top);
  }
  refuse(encoder, index, place, NULL);
}
