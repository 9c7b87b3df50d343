/* state.c - see state.h. */
#include "lua/codec/state.h"
#include "lua/codec/format.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char *const tool_names[TOOL_LAST + 1] = {
    NULL,     "plans",   "plan",   "names",     "resolve", "lookup", "complaint", "by_name", "cdata",
    "make",   "ctype",   "symbol", "namespace", "library", "text",   "buffer",    "load",    "maker",
    "remake", "builtin", "array",  "complete",  "keep",    "absent", "own_parts",
};

/* Its address is the key of the codec in the registry. */
static const char registry_key = 0;

/* __gc of the codec */
static int codec_collect(lua_State *L)
{
  struct codec *codec = lua_touserdata(L, 1);
  map_free(&codec->objects);
  map_free(&codec->names);
  map_free(&codec->seen);
  map_free(&codec->checked);
  free(codec->shared);
  codec->shared = NULL;
  return 0;
}

/* Adds a table with weak keys to the table of tools on the top. */
static void add_weak_table(lua_State *L, enum tool place)
{
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawseti(L, -2, place);
}

/* Makes a protected function of the codec and the tools on the top; returns its reference. */
static int protect(lua_State *L, lua_CFunction function)
{
  lua_pushvalue(L, -2);
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, function, 2);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* (name, value) */
static int declare_protected(lua_State *L)
{
  struct codec *codec = lua_touserdata(L, lua_upvalueindex(CODEC_UPVALUE));
  push_tool(L, TOOL_BY_NAME);
  lua_insert(L, 1);
  lua_call(L, 2, 0);
  codec->names_stamp = 0;
  return 0;
}

int codec_declare(lua_State *L)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return -1;
  lua_rawgeti(L, LUA_REGISTRYINDEX, codec->declare_reference);
  lua_insert(L, -3);
  return lua_pcall(L, 2, 0, 0) == 0 ? 0 : -1;
}

/* Makes the codec of this lua_State. The Lua part is loaded when it is first needed. */
static int codec_create(lua_State *L)
{
  struct codec *codec = lua_newuserdata(L, sizeof *codec);
  *codec = (struct codec){.encode_reference = LUA_NOREF};
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, codec_collect);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_createtable(L, TOOL_PENDING, 0);
  add_weak_table(L, TOOL_REQUIRED);
  add_weak_table(L, TOOL_MAKERS);
  add_weak_table(L, TOOL_WITHHELD);
  codec->encode_reference = protect(L, codec_encode_protected);
  codec->decode_reference = protect(L, codec_decode_protected);
  codec->walk_reference = protect(L, codec_walk_protected);
  codec->declare_reference = protect(L, declare_protected);
  lua_pop(L, 1);
  lua_pushlightuserdata(L, (void *)&registry_key);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return 0;
}

struct codec *codec_of(lua_State *L)
{
  for (int attempt = 0; attempt < 2; attempt++) {
    lua_pushlightuserdata(L, (void *)&registry_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct codec *codec = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (codec) return codec;
    if (lua_cpcall(L, codec_create, NULL) != 0) return NULL;
  }
  return NULL;
}

/* Loads closure.lua and notes its functions. */
static void load_tools(lua_State *L)
{
  static const char module[] = "parlua.wire.closure";
  /* If memory ran out while it was loaded before, `require` would remember that and refuse for ever. */
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, module);
  if (!lua_istable(L, -1)) {
    lua_pushnil(L);
    lua_setfield(L, -3, module);
  }
  lua_getfield(L, LUA_REGISTRYINDEX, "parlua.globals"); /* a script may have its own `require` */
  lua_getfield(L, -1, "require");
  lua_remove(L, -2);
  lua_pushstring(L, module);
  lua_call(L, 1, 1);
  for (int i = 1; i <= TOOL_LAST; i++) {
    lua_getfield(L, -1, tool_names[i]);
    lua_rawseti(L, lua_upvalueindex(TOOLS_UPVALUE), i);
  }
  lua_pop(L, 3);
}

void push_tool(lua_State *L, enum tool tool)
{
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), tool);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  load_tools(L);
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), tool);
}

void codec_set_chain(lua_State *L, struct codec *codec, int index, int fresh, bool lasting)
{
  struct chain chain = {.fresh = fresh, .lasting = lasting};
  map_clear(&codec->checked);
  if (lua_istable(L, index)) {
    int count = (int)lua_objlen(L, index);
    if (count > LONGEST_CHAIN) luaL_error(L, "too many books");
    for (int i = 0; i < count; i++) {
      lua_rawgeti(L, index, i + 1);
      chain.books[i] = book_at(L, -1);
      if (chain.books[i] == NULL) luaL_error(L, "a list of books is expected");
      lua_pop(L, 1);
    }
    chain.count = count;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, codec->walk_reference);
  lua_getupvalue(L, -1, TOOLS_UPVALUE);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, TOOL_CHAIN);
  lua_pop(L, 2);
  codec->chain = chain;
}

/* One word more of a checksum. */
static uint64_t mix_word(uint64_t sum, uint64_t word)
{
  sum = (sum ^ word) * UINT64_C(0xD6E8FEB86659FD93);
  return sum ^ sum >> 32;
}

uint64_t codec_checksum(const char *bytes, size_t length)
{
  uint64_t sum = length * UINT64_C(0x9E3779B97F4A7C15) + 1, word;
  for (; length >= sizeof word; bytes += sizeof word, length -= sizeof word) {
    memcpy(&word, bytes, sizeof word);
    sum = mix_word(sum, word);
  }
  if (length == 0) return sum;
  word = 0;
  memcpy(&word, bytes, length);
  return mix_word(sum, word);
}

const struct shared *chain_find(const struct codec *codec, const void *object, int *in_chain)
{
  for (int i = codec->chain.count - 1; i >= 0; i--) {
    const struct map_entry *entry = map_get(&codec->chain.books[i]->map, object);
    if (entry == NULL) continue;
    const struct shared *shared = book_entry(codec->chain.books[i], entry->value);
    if (shared == NULL) continue;
    *in_chain = i;
    return shared;
  }
  return NULL;
}

void chain_push(lua_State *L, int in_chain, const struct shared *entry)
{
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_CHAIN);
  lua_rawgeti(L, -1, in_chain + 1);
  lua_getfenv(L, -1);
  lua_rawgeti(L, -1, entry->index);
  lua_replace(L, -4);
  lua_pop(L, 2);
}

/* ---- What objects hold ---- */

enum {
  MOST_ENTRIES = 65536, /* of a table that is looked at for a message */
  MOST_SEEN = 16384,    /* tables that are looked at for one */
  MOST_NESTED = 100
};

static uint64_t mix(uint64_t sum)
{
  sum *= UINT64_C(0xD6E8FEB86659FD93);
  return sum ^ sum >> 32;
}

/* The whole of a short string, and the ends of a long one: another may get the address of one that was collected. */
static uint64_t word_of_string(const char *bytes, size_t length)
{
  enum { SHORT = 64 };
  uint64_t word = codec_checksum(bytes, length < SHORT ? length : SHORT);
  if (length > SHORT) word += mix(length) + 3 * codec_checksum(bytes + length - SHORT, SHORT);
  return word ^ (uint64_t)(uintptr_t)bytes;
}

/* A number for the value at `index` as it stands. */
static uint64_t word_of(lua_State *L, int index, int type)
{
  uint64_t word = 0;
  double number;
  size_t length;
  const char *bytes;
  switch (type) {
  case LUA_TNUMBER:
    number = lua_tonumber(L, index);
    memcpy(&word, &number, sizeof word);
    break;
  case LUA_TBOOLEAN: word = (uint64_t)lua_toboolean(L, index); break;
  case LUA_TSTRING:
    bytes = lua_tolstring(L, index, &length);
    word = word_of_string(bytes, length);
    break;
  default: word = (uint64_t)(uintptr_t)lua_topointer(L, index);
  }
  return mix(word + (uint64_t)type * UINT64_C(0x9E3779B97F4A7C15));
}

static uint64_t state_of_function(lua_State *L, int index)
{
  uint64_t sum = 0;
  if (lua_iscfunction(L, index)) return 0;
  for (int i = 1; lua_getupvalue(L, index, i); i++) {
    sum = mix(sum + word_of(L, -1, lua_type(L, -1))) | 1;
    lua_pop(L, 1);
  }
  return sum;
}

/* Of a table with at most so many entries. */
static uint64_t state_of(lua_State *L, int index, size_t most)
{
  if (index < 0) index = lua_gettop(L) + 1 + index;
  if (lua_type(L, index) == LUA_TFUNCTION) return state_of_function(L, index);
  uint64_t sum = UINT64_C(0x9E3779B97F4A7C15);
  if (lua_getmetatable(L, index)) {
    sum = word_of(L, -1, LUA_TTABLE);
    lua_pop(L, 1);
  }
  size_t entries = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int key = lua_type(L, -2), value = lua_type(L, -1);
    if (key == TYPE_CDATA || value == TYPE_CDATA || ++entries > most) {
      lua_pop(L, 2);
      return 0;
    }
    sum += mix(word_of(L, -2, key) * 3 + word_of(L, -1, value)); /* in any order */
  }
  return sum | 1;
}

uint64_t codec_state_of(lua_State *L, int index)
{
  return state_of(L, index, MOST_ENTRIES);
}

uint64_t codec_whole_state_of(lua_State *L, int index)
{
  return state_of(L, index, SIZE_MAX);
}

double codec_short_state(lua_State *L, int index)
{
  return (double)(codec_state_of(L, index) >> 12);
}

static bool is_unchanged(lua_State *L, struct codec *codec, int index, const struct shared *entry, int depth);

/* The same for a key or value in a table. Only tables can have changed; in a chain that lasts also C data and what
 * functions have captured, methods of a class, say. What nobody can tell counts as changed there. */
static bool is_part_unchanged(lua_State *L, struct codec *codec, int index, int depth)
{
  int type = lua_type(L, index);
  bool lasting = codec->chain.lasting;
  if (lasting && type == TYPE_CDATA) return false;
  if (type == LUA_TUSERDATA) {
    int at;
    const struct shared *buffer = chain_find(codec, lua_topointer(L, index), &at);
    return !buffer || buffer->state == 0;
  }
  if (type != LUA_TTABLE && !(lasting && type == LUA_TFUNCTION && !lua_iscfunction(L, index))) return true;
  const void *object = lua_topointer(L, index);
  if (map_reserve(&codec->seen) != 0) return false;
  struct map_entry *seen = map_find(&codec->seen, object);
  if (seen->generation == codec->seen.generation) return true;
  if (codec->seen.count > MOST_SEEN) return false;
  map_put(&codec->seen, seen, object, 0);
  int in_chain;
  const struct shared *entry = chain_find(codec, object, &in_chain);
  /* what has a name and is in no book was not sent, and is there anyway */
  return entry ? is_unchanged(L, codec, index, entry, depth) : codec_place_of_name(L, codec, index) != 0;
}

static bool are_upvalues_unchanged(lua_State *L, struct codec *codec, int index, int depth)
{
  bool unchanged = depth <= MOST_NESTED && lua_checkstack(L, 8);
  for (int i = 1; unchanged && lua_getupvalue(L, index, i); i++) {
    unchanged = is_part_unchanged(L, codec, lua_gettop(L), depth + 1);
    lua_pop(L, 1);
  }
  return unchanged;
}

static bool is_unchanged(lua_State *L, struct codec *codec, int index, const struct shared *entry, int depth)
{
  if (lua_type(L, index) == LUA_TFUNCTION) {
    return entry->state == codec_state_of(L, index) &&
           (!codec->chain.lasting || are_upvalues_unchanged(L, codec, index, depth));
  }
  if (entry->state == 0 || depth > MOST_NESTED || !lua_checkstack(L, 8) ||
      entry->state != codec_whole_state_of(L, index))
    return false;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int value = lua_gettop(L);
    if (is_part_unchanged(L, codec, value - 1, depth + 1) && is_part_unchanged(L, codec, value, depth + 1)) continue;
    lua_pop(L, 2);
    return false;
  }
  return true;
}

bool codec_is_unchanged(lua_State *L, struct codec *codec, int index, const struct shared *entry)
{
  if (map_reserve(&codec->seen) != 0) return false;
  map_clear(&codec->seen);
  if (map_reserve(&codec->seen) != 0) return false;
  map_put(&codec->seen, map_find(&codec->seen, lua_topointer(L, index)), lua_topointer(L, index), 0);
  return is_unchanged(L, codec, index, entry, 0);
}

bool codec_has_globals(lua_State *L, int index)
{
  if (lua_rawequal(L, index, LUA_GLOBALSINDEX)) return true;
  const void *table = lua_topointer(L, index);
  lua_getfield(L, LUA_REGISTRYINDEX, "parlua.globals"); /* of parlua's own modules: src/lua/state.c */
  bool is_own = lua_topointer(L, -1) == table;
  lua_pop(L, 1);
  return is_own;
}

bool codec_is_bound(lua_State *L, int index)
{
  if (!lua_getmetatable(L, index)) return false;
  lua_pushliteral(L, "__is_bound");
  lua_rawget(L, -2);
  bool is_bound = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return is_bound;
}

bool codec_is_proxy(lua_State *L, int index)
{
  if (lua_type(L, index) != LUA_TUSERDATA || lua_objlen(L, index) != 0 || codec_is_bound(L, index)) return false;
  if (!lua_getmetatable(L, index)) return true;
  lua_pushliteral(L, "__gc");
  lua_rawget(L, -2);
  bool has_finalizer = !lua_isnil(L, -1);
  lua_pop(L, 2);
  return !has_finalizer;
}

/* ---- Names ---- */

/* A number that changes with the content of package.loaded. */
static size_t loaded_stamp(lua_State *L)
{
  size_t stamp = 1;
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    size_t key = (size_t)(uintptr_t)lua_topointer(L, -2), value = (size_t)(uintptr_t)lua_topointer(L, -1);
    stamp += (key * 3 + value) * (size_t)UINT64_C(0x9E3779B97F4A7C15) + 2;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return stamp == 0 ? 1 : stamp;
}

/* What kind of thing has the name at this place. */
static enum name_kind kind_of(lua_State *L, int place)
{
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_LIST);
  lua_rawgeti(L, -1, place + NAME_KIND);
  enum name_kind kind = (enum name_kind)lua_tointeger(L, -1);
  lua_pop(L, 2);
  return kind;
}

/* The place of an object among the names that there are, or 0. */
static int find_name(lua_State *L, const struct codec *codec, int index)
{
  int type = lua_type(L, index);
  if (type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA) {
    if (index < 0) index = lua_gettop(L) + 1 + index;
    lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_VALUES);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    int place = (int)lua_tointeger(L, -1);
    lua_pop(L, 2);
    return place;
  }
  const struct map_entry *entry = map_get(&codec->names, lua_topointer(L, index));
  return entry ? (int)entry->value : 0;
}

/* Notes the object on the top under its place in TOOL_NAME_LIST; pops it. */
static void note_name(lua_State *L, struct codec *codec, int place)
{
  int type = lua_type(L, -1);
  if (type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA) {
    lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_VALUES);
    lua_insert(L, -2);
    lua_pushinteger(L, place);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return;
  }
  if (map_reserve(&codec->names) != 0) luaL_error(L, "not enough memory for names");
  const void *object = lua_topointer(L, -1);
  struct map_entry *entry = map_find(&codec->names, object);
  if (entry->generation == codec->names.generation)
    entry->value = (size_t)place;
  else
    map_put(&codec->names, entry, object, (size_t)place);
  lua_pop(L, 1);
}

/* Which fields of a table have a name, by the type of their value. */
enum { FUNCTIONS = 1, FUNCTIONS_AND_USERDATA, OBJECTS };

static bool is_nameable(int type, int types)
{
  return type == LUA_TFUNCTION ||
         ((type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA) && types >= FUNCTIONS_AND_USERDATA) ||
         (type == LUA_TTABLE && types == OBJECTS);
}

/* add_fields(list, fields, module, kind, types, are they globals of every state?): see names.lua. */
static int add_fields(lua_State *L)
{
  enum { LIST = 1, FIELDS, MODULE, KIND, TYPES, ARE_GLOBAL, KEY, VALUE };
  int types = (int)lua_tointeger(L, TYPES), at = (int)lua_objlen(L, LIST);
  bool is_part = lua_toboolean(L, MODULE);
  lua_settop(L, ARE_GLOBAL);
  for (lua_pushnil(L); lua_next(L, FIELDS); lua_settop(L, KEY)) {
    if (lua_type(L, KEY) != LUA_TSTRING || !is_nameable(lua_type(L, VALUE), types)) continue;
    lua_rawseti(L, LIST, at + 1);
    lua_pushvalue(L, is_part ? MODULE : KEY);
    lua_rawseti(L, LIST, at + 1 + NAME_MODULE);
    lua_pushvalue(L, is_part ? KEY : MODULE);
    lua_rawseti(L, LIST, at + 1 + NAME_FIELD);
    lua_pushvalue(L, lua_toboolean(L, ARE_GLOBAL) ? KEY : ARE_GLOBAL);
    lua_rawseti(L, LIST, at + 1 + NAME_GLOBAL);
    lua_pushvalue(L, KIND);
    lua_rawseti(L, LIST, at + 1 + NAME_KIND);
    at += NAME_STRIDE;
  }
  return 0;
}

/* Fills codec->names and TOOL_NAME_VALUES from the list that closure.names returns: the first name of each object. */
static void make_names(lua_State *L, struct codec *codec)
{
  map_clear(&codec->names);
  push_tool(L, TOOL_NAMES);
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_pushcfunction(L, add_fields);
  lua_call(L, 2, 1);
  int list = lua_gettop(L), length = (int)lua_objlen(L, list);
  lua_newtable(L);
  lua_rawseti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_VALUES);
  for (int at = length - NAME_STRIDE + 1; at > 0; at -= NAME_STRIDE) {
    lua_rawgeti(L, list, at);
    note_name(L, codec, at);
  }
  lua_rawseti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_LIST);
  codec->names_parts = false;
}

/* Adds those of the parts of parlua's own modules, behind the others, which are found at their places as before. They
 * come before what else names the same as a part. */
static void add_own_parts(lua_State *L, struct codec *codec)
{
  int top = lua_gettop(L), list = top + 1;
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_LIST);
  int first = (int)lua_objlen(L, list) + 1;
  push_tool(L, TOOL_OWN_PARTS);
  lua_pushvalue(L, list);
  lua_pushcfunction(L, add_fields);
  lua_call(L, 2, 0);
  for (int at = first, length = (int)lua_objlen(L, list); at <= length; at += NAME_STRIDE) {
    lua_rawgeti(L, list, at);
    int place = find_name(L, codec, -1);
    if (place == 0 || kind_of(L, place) == NAMED_PART)
      note_name(L, codec, at);
    else
      lua_pop(L, 1);
  }
  lua_settop(L, top);
  codec->names_parts = true;
}

bool codec_update_names(lua_State *L, struct codec *codec)
{
  size_t stamp = loaded_stamp(L);
  if (stamp == codec->names_stamp) return false;
  codec->names_stamp = 0;
  make_names(L, codec);
  codec->names_stamp = stamp;
  return true;
}

/* May the object be a function or userdata of one of parlua's own modules? */
static bool may_be_own_part(lua_State *L, int index)
{
  int type = lua_type(L, index);
  if (type != LUA_TFUNCTION || lua_iscfunction(L, index)) return type == LUA_TUSERDATA || type == LUA_TFUNCTION;
  lua_Debug info;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &info);
  return strncmp(info.source, "=parlua/", strlen("=parlua/")) == 0;
}

int codec_place_of_name(lua_State *L, struct codec *codec, int index)
{
  if (codec->names_stamp == 0 || codec->names.count == 0) return 0;
  int place = find_name(L, codec, index);
  if (codec->names_parts || !may_be_own_part(L, index) || (place && kind_of(L, place) == NAMED_EVERYWHERE))
    return place;
  if (index < 0) index = lua_gettop(L) + 1 + index;
  add_own_parts(L, codec);
  return find_name(L, codec, index);
}

int codec_name_of(lua_State *L, struct codec *codec, int index, enum name_kind *kind)
{
  int place = codec_place_of_name(L, codec, index);
  if (place) *kind = kind_of(L, place);
  return place;
}
