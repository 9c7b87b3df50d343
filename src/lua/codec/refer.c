/* refer.c - references, names and refusals of the encoder: see encoder.h. */
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lua/codec/encoder.h"

static const char *const place_names[] = {"field", "key", "metatable", "upvalue", "global", "module"};

/* Begins the message again. */
void restart(struct encoder *encoder)
{
  encoder->restart = true;
  lua_pushnil(encoder->L);
  lua_error(encoder->L);
}

void put_again(struct encoder *encoder, size_t offset)
{
  struct buffer *out = encoder->out;
  out->bytes[encoder->start + offset] |= SHARED;
  check(encoder, put_byte(out, TAG_REFERENCE));
  check(encoder, put_varint(out, offset));
}

void put_in_book(struct encoder *encoder, int in_chain, const struct shared *entry)
{
  check(encoder, put_byte(encoder->out, TAG_BOOK));
  check(encoder, put_varint(encoder->out, (size_t)in_chain + 1));
  check(encoder, put_varint(encoder->out, entry->offset));
}

const struct shared *find_fresh(struct encoder *encoder, const void *object, int *in_chain)
{
  if (!(encoder->flags & CODEC_TO_WORKER)) return NULL;
  const struct shared *entry = chain_find(encoder->codec, object, in_chain);
  if (!entry || entry->is_incomplete) return NULL;
  return encoder->flags & CODEC_TRUST || *in_chain >= encoder->codec->chain.fresh ? entry : NULL;
}

bool put_reference(struct encoder *encoder, const void *object, int index, int upvalue)
{
  struct buffer *out = encoder->out;
  if (encoder->book)
    book_reserve(encoder->L, encoder->book, BOOK_OBJECTS);
  else
    check(encoder, map_reserve(encoder->objects));
  struct map_entry *entry = map_find(encoder->objects, object);
  bool is_new = entry->generation != encoder->objects->generation;
  if (is_new || entry->value == TAKEN_BACK) {
    if (encoder->most && out->length > encoder->most) {
      lua_pushliteral(encoder->L, CODEC_TOO_LARGE);
      lua_error(encoder->L);
    }
    size_t offset = out->length - encoder->start;
    if (is_new)
      map_put(encoder->objects, entry, object, offset);
    else
      entry->value = offset;
    if (encoder->book) book_add(encoder->L, encoder->book, BOOK_OBJECTS, index, offset, upvalue);
    return false;
  }
  put_again(encoder, entry->value);
  return true;
}

void anchor(struct encoder *encoder)
{
  lua_State *L = encoder->L;
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_ANCHORS);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_ANCHORS);
  }
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
  lua_pop(L, 1);
  encoder->anchored = true;
}

/* Pushes `cannot send <path>: <what it is>`, or with the reason given instead of what it is. */
static void push_complaint(struct encoder *encoder, int index, const struct place *place, const char *reason)
{
  lua_State *L = encoder->L;
  check_names(encoder); /* what it is in may go by name */
  luaL_checkstack(L, 16, NULL);
  push_tool(L, TOOL_COMPLAINT);
  lua_pushstring(L, encoder->what);
  lua_pushinteger(L, encoder->number);
  lua_pushinteger(L, encoder->count);
  lua_newtable(L);
  for (int i = 0; place; place = place->outer) {
    lua_pushstring(L, place_names[place->kind]);
    lua_rawseti(L, -2, ++i);
    if (place->kind == IN_METATABLE)
      lua_pushboolean(L, 0);
    else if (place->kind == IN_UPVALUE)
      lua_pushstring(L, lua_getupvalue(L, place->function, place->slot));
    else
      lua_pushvalue(L, place->slot);
    lua_rawseti(L, place->kind == IN_UPVALUE ? -3 : -2, ++i);
    if (place->kind == IN_UPVALUE) lua_pop(L, 1);
    if (place->kind == IN_UPVALUE || place->kind == IN_GLOBAL)
      lua_pushvalue(L, place->function);
    else
      lua_pushboolean(L, 0);
    lua_rawseti(L, -2, ++i);
  }
  lua_pushvalue(L, index);
  lua_pushstring(L, reason);
  lua_call(L, 6, 1);
}

void complain(struct encoder *encoder, int index, const struct place *place, const char *reason)
{
  push_complaint(encoder, index, place, reason);
  lua_error(encoder->L);
}

void put_kept(struct encoder *encoder)
{
  check(encoder, put_byte(encoder->out, TAG_KEEP));
  check(encoder, put_byte(encoder->out, TAG_NIL));
}

/* Where the program's code lies: the linker's. */
extern const char __executable_start[], etext[];

/* Is the value at `index` a function that a module of C has brought along? Not one that the program or LuaJIT has made,
 * as an iterator over lines. */
static bool is_of_module(lua_State *L, int index)
{
  uintptr_t code = (uintptr_t)lua_tocfunction(L, index);
  return code && (code < (uintptr_t)__executable_start || code >= (uintptr_t)etext);
}

/* The same for the value at `index`, which can't be written; and what is to be said where the receiver uses it, if it
 * has none there. */
static void put_missing(struct encoder *encoder, int index, const struct place *place, const char *reason)
{
  lua_State *L = encoder->L;
  const struct place *module = place;
  int top = lua_gettop(L);
  while (module && module->owner == 0) module = module->outer;
  if (!module || is_of_module(L, index) || (place->kind != IN_UPVALUE && place->kind != IN_FIELD)) {
    put_kept(encoder);
    return;
  }
  push_tool(L, TOOL_KEEP);
  push_complaint(encoder, index, place, reason);
  lua_pushvalue(L, module->owner);
  lua_pushstring(L, place_names[place->kind]);
  if (place->kind == IN_UPVALUE)
    lua_pushinteger(L, place->slot);
  else
    lua_pushvalue(L, place->slot);
  lua_pushvalue(L, place->function);
  lua_pushvalue(L, index);
  lua_call(L, 6, 1);
  check(encoder, put_byte(encoder->out, TAG_KEEP));
  check(encoder, lua_isstring(L, -1) ? put_scalar(encoder->out, L, -1, LUA_TSTRING) : put_byte(encoder->out, TAG_NIL));
  lua_settop(L, top);
}

/* What can't be written belongs to an object that was noted: what is sent later does not go by that. */
static void note_incomplete(struct encoder *encoder, const void *object)
{
  const struct map_entry *entry = encoder->book ? map_get(encoder->objects, object) : NULL;
  for (size_t i = encoder->book ? encoder->book->count : 0; entry && i > 0; i--) {
    if (encoder->book->list[i - 1].offset != entry->value) continue;
    encoder->book->list[i - 1].is_incomplete = true;
    return;
  }
}

/* What can't be written is in a global that a function of a required module names: begins the message again, without
 * that global. Requiring the module may make it, or the receiver does not have it. */
static void withhold_global(struct encoder *encoder, const struct place *place)
{
  lua_State *L = encoder->L;
  while (place && place->kind != IN_GLOBAL) place = place->outer;
  if (!place) return;
  int value = place->slot + 1; /* behind its name: see encode_globals */
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_WITHHELD);
  lua_pushvalue(L, value);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  encoder->codec->has_withheld = true;
  restart(encoder);
}

void refuse(struct encoder *encoder, int index, const struct place *place, const char *reason)
{
  lua_State *L = encoder->L;
  if (encoder->merging) {
    withhold_global(encoder, place);
    if (place && place->kind == IN_UPVALUE) {
      note_incomplete(encoder, lua_upvalueid(L, place->function, place->slot));
      note_incomplete(encoder, lua_topointer(L, place->function));
    }
    const void *object = lua_topointer(L, index);
    if (object != NULL && put_reference(encoder, object, index, 0)) return;
    if (object != NULL && encoder->book) encoder->book->list[encoder->book->count - 1].is_incomplete = true;
    put_missing(encoder, index, place, reason);
    return;
  }
  for (const struct place *at = place; at && (encoder->flags & CODEC_TO_WORKER); at = at->outer) {
    if (at->owner == 0) continue;
    lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_REQUIRED);
    lua_pushvalue(L, at->owner);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    encoder->codec->has_required = true;
    restart(encoder);
  }
  if (place && place->kind == IN_FIELD && lua_iscfunction(L, index) && (encoder->flags & CODEC_TO_WORKER)) {
    push_tool(L, TOOL_MAKER);
    lua_pushvalue(L, place->function);
    lua_call(L, 1, 1);
    if (lua_toboolean(L, -1)) {
      lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_MAKERS);
      lua_pushvalue(L, place->function);
      lua_pushboolean(L, 1);
      lua_rawset(L, -3);
      encoder->codec->has_makers = true;
      restart(encoder);
    }
  }
  complain(encoder, index, place, reason);
}

/* ---- Names ---- */

/*
 * Makes sure, once in a message, that the by-name map knows what package.loaded holds. Called when the first function
 * or userdata is met: plain data need no names. When the map was stale and tables have been written already, one of
 * them may have been a module: then the message is encoded again.
 */
void check_names(struct encoder *encoder)
{
  if (encoder->names_checked) return;
  encoder->names_checked = true;
  if (codec_update_names(encoder->L, encoder->codec) && encoder->objects->count > 0) restart(encoder);
}

int name_of(struct encoder *encoder, int index, enum name_kind *kind)
{
  return codec_name_of(encoder->L, encoder->codec, index, kind);
}

void put_name(struct encoder *encoder, int name, bool with_field)
{
  lua_State *L = encoder->L;
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_LIST);
  for (int i = NAME_MODULE; i <= (with_field ? NAME_FIELD : NAME_MODULE); i++) {
    lua_rawgeti(L, -1, name + i);
    int part = lua_type(L, -1);
    check(encoder, put_scalar(encoder->out, L, -1, part == LUA_TSTRING ? part : LUA_TNIL));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void encode_by_name(struct encoder *encoder, int index, int name, const struct place *place)
{
  if (encoder->flags & CODEC_NO_FUNCTIONS) {
    complain(encoder, index, place, "functions and libraries can't be stored");
    return;
  }
  check(encoder, put_byte(encoder->out, TAG_NAME));
  put_name(encoder, name, true);
}

void push_module(struct encoder *encoder, int name)
{
  lua_State *L = encoder->L;
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_LIST);
  lua_rawgeti(L, -1, name + NAME_MODULE);
  lua_rawget(L, -3);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

bool is_in_set(struct encoder *encoder, enum tool set, int index)
{
  lua_State *L = encoder->L;
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), set);
  lua_pushvalue(L, index);
  lua_rawget(L, -2);
  bool is_in = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return is_in;
}

bool is_standard(struct encoder *encoder, int name)
{
  lua_State *L = encoder->L;
  int type = lua_type(L, -1);
  if (type != LUA_TFUNCTION && type != LUA_TTABLE) return false;
  int place = codec_place_of_name(L, encoder->codec, lua_gettop(L));
  if (place == 0) return false;
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_LIST);
  lua_rawgeti(L, -1, place + NAME_GLOBAL);
  bool standard = lua_rawequal(L, -1, name) != 0;
  lua_pop(L, 2);
  return standard;
}

/* ---- What both sides have ---- */

/* Is the table at `index` a class, or a metatable otherwise: has it a key such as __index? */
static bool is_class(lua_State *L, int index)
{
  lua_pushliteral(L, "__index");
  lua_rawget(L, index);
  bool found = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (found) return true;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING && strncmp(lua_tostring(L, -2), "__", 2) == 0) {
      lua_pop(L, 2);
      return true;
    }
  }
  return false;
}

/* Has the table at `index`, whose entry in the chain is `entry`, changed since? Asked once until the script
 * runs again. */
static bool is_known_unchanged(struct encoder *encoder, int index, const struct shared *entry)
{
  struct map *checked = &encoder->codec->checked;
  const void *object = lua_topointer(encoder->L, index);
  check(encoder, map_reserve(checked));
  struct map_entry *found = map_find(checked, object);
  if (found->generation == checked->generation) return found->value;
  bool unchanged = codec_is_unchanged(encoder->L, encoder->codec, index, entry);
  map_put(checked, found, object, unchanged);
  return unchanged;
}

/* Is the table at `index` one that the map function has captured? What a task gets besides is its own. */
static bool is_captured(struct encoder *encoder, int index)
{
  lua_State *L = encoder->L;
  int top = lua_gettop(L);
  bool found = false;
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_CHAIN);
  lua_getfield(L, -1, "captured");
  if (lua_isfunction(L, -1)) { /* not looked at yet */
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "captured");
  }
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    found = !lua_isnil(L, -1);
  }
  lua_settop(L, top);
  return found;
}

/* May the object at `index`, which is in a book, be sent as a reference? `in_chain`: which book, from 0. */
static bool is_still_known(struct encoder *encoder, int index, const struct place *place, const struct shared *entry,
                           int in_chain)
{
  lua_State *L = encoder->L;
  enum name_kind kind = NAMED_PART;
  if ((encoder->flags & CODEC_TRUST) || lua_iscfunction(L, index)) return true;
  if (lua_type(L, index) == LUA_TUSERDATA) /* a buffer has a state */
    return entry->state == 0 || ((encoder->flags & CODEC_TO_WORKER) && in_chain >= encoder->codec->chain.fresh);
  if (encoder->flags & CODEC_TO_WORKER) { /* the script goes on and may have changed it */
    if (in_chain >= encoder->codec->chain.fresh) return true;
    if (lua_isfunction(L, index)) { /* what one changes that it has captured would stay in a worker that lasts */
      bool is_closure = lua_getupvalue(L, index, 1) != NULL;
      if (is_closure) lua_pop(L, 1);
      return !(is_closure && encoder->codec->chain.lasting) && codec_is_unchanged(L, encoder->codec, index, entry);
    }
    return lua_istable(L, index) &&
           (is_class(L, index) || (place && place->kind == IN_METATABLE) || is_captured(encoder, index)) &&
           is_known_unchanged(encoder, index, entry);
  }
  if (lua_isfunction(L, index)) return codec_is_unchanged(L, encoder->codec, index, entry);
  if ((place && place->kind == IN_METATABLE) || is_class(L, index)) return true;
  if (name_of(encoder, index, &kind) && kind == NAMED_MODULE) return true;
  /* a call's arguments are its own: what they hold comes back as a copy */
  return in_chain < encoder->codec->chain.fresh && codec_is_unchanged(L, encoder->codec, index, entry);
}

bool put_known(struct encoder *encoder, int index, const struct place *place)
{
  int in_chain;
  if (encoder->codec->chain.count == 0 || (encoder->flags & CODEC_NO_FUNCTIONS)) return false;
  const struct shared *entry = chain_find(encoder->codec, lua_topointer(encoder->L, index), &in_chain);
  if (entry == NULL || entry->upvalue != 0 || entry->is_incomplete ||
      !is_still_known(encoder, index, place, entry, in_chain))
    return false;
  put_in_book(encoder, in_chain, entry);
  return true;
}
