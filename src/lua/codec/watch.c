/* watch.c - see watch.h. */
#include "lua/codec/watch.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lua/codec/format.h"
#include "lua/codec/state.h"

/* Where things are in LuaJIT 2.1's objects, with 64-bit references (lj_obj.h). */
enum {
  TABLE_ARRAY = 16,
  TABLE_METATABLE = 32,
  TABLE_NODE = 40,
  TABLE_SIZES = 48, /* slots of the array, then the mask of the hash part, four bytes each */
  TABLE_END = 56,
  SLOT_BYTES = 8,
  NODE_BYTES = 24,
  FUNCTION_ENVIRONMENT = 16,
  FUNCTION_CELLS = 40,
  CELL_VALUE = 32 /* in a cell: the address of its value */
};
#define NIL_WORD UINT64_MAX /* nil, as a value stands in memory */

static const char watch_meta[] = "parlua.watch";

enum { BASIC_TYPES = 6 };
/* Upvalues of the functions that Lua calls: a value of each basic type, the metatable of watches. A call asks for them
 * several times, and a function that is made each time is garbage. */
enum { SAMPLES = 1, META = SAMPLES + BASIC_TYPES };

struct region {
  const unsigned char *at;
  size_t length;
  size_t copied; /* where in the copy */
  int owner;     /* whose it is: a place in the watch's environment; an owner's regions are neighbours */
};

/* A userdata; its environment is a list of the owners of the regions, and of what the memory refers to, which it keeps
 * alive. */
struct watch {
  struct region *regions;
  size_t count, capacity;
  int kept;  /* the length of that list */
  int owner; /* whose the regions are that are added next */
  unsigned char *copy;
  size_t length;
  const void *metatables[BASIC_TYPES];
  bool of_fields; /* of one table: its environment has the key of each node of the hash part, by the node's number */
};

static uint64_t read_word(const void *object, size_t offset)
{
  uint64_t word;
  memcpy(&word, (const char *)object + offset, sizeof word);
  return word;
}

static uint32_t read_half(const void *object, size_t offset)
{
  uint32_t half;
  memcpy(&half, (const char *)object + offset, sizeof half);
  return half;
}

static uint64_t bits_of(double number)
{
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

/* Does LuaJIT keep its objects as expected? Looked at on some of known content. */
static bool look_at_layout(lua_State *L)
{
  int top = lua_gettop(L);
  bool known = false;
  lua_createtable(L, 2, 0);
  lua_pushnumber(L, 2.5);
  lua_rawseti(L, -2, 1);
  const void *array = lua_topointer(L, -1);
  lua_createtable(L, 0, 1);
  lua_pushnumber(L, 1.5);
  lua_setfield(L, -2, "key");
  lua_pushvalue(L, -2);
  lua_setmetatable(L, -2);
  const void *hash = lua_topointer(L, -1);
  if (read_half(array, TABLE_SIZES) == 3 && read_half(array, TABLE_SIZES + 4) == 0 &&
      read_half(hash, TABLE_SIZES) == 0 && read_half(hash, TABLE_SIZES + 4) < 4 &&
      read_word(hash, TABLE_METATABLE) == (uint64_t)(uintptr_t)array) {
    const char *slots = (const char *)(uintptr_t)read_word(array, TABLE_ARRAY);
    const char *nodes = (const char *)(uintptr_t)read_word(hash, TABLE_NODE);
    bool found = false;
    for (uint32_t i = 0; i <= read_half(hash, TABLE_SIZES + 4); i++)
      found |= read_word(nodes, i * NODE_BYTES) == bits_of(1.5);
    known = found && read_word(slots, SLOT_BYTES) == bits_of(2.5) && read_word(slots, 2 * SLOT_BYTES) == NIL_WORD;
  }
  if (known && luaL_loadstring(L, "local u = 3.5; return function() return u end") == 0) {
    lua_call(L, 0, 1);
    const void *function = lua_topointer(L, -1), *cell = lua_upvalueid(L, -1, 1);
    known = read_word(function, FUNCTION_CELLS) == (uint64_t)(uintptr_t)cell &&
            read_word(function, FUNCTION_ENVIRONMENT) == (uint64_t)(uintptr_t)lua_topointer(L, LUA_GLOBALSINDEX) &&
            read_word((const void *)(uintptr_t)read_word(cell, CELL_VALUE), 0) == bits_of(3.5);
  }
  lua_settop(L, top);
  return known;
}

/* The same, looked at once in a program. */
static bool is_known_layout(lua_State *L)
{
  enum { NOT_LOOKED_AT, KNOWN, OTHER };
  static int found = NOT_LOOKED_AT;
  int layout = __atomic_load_n(&found, __ATOMIC_RELAXED);
  if (layout == NOT_LOOKED_AT) {
    layout = look_at_layout(L) ? KNOWN : OTHER;
    __atomic_store_n(&found, layout, __ATOMIC_RELAXED);
  }
  return layout == KNOWN;
}

static void add_region(lua_State *L, struct watch *watch, const void *at, size_t length)
{
  if (length == 0) return;
  if (watch->count == watch->capacity) {
    size_t capacity = watch->capacity ? watch->capacity * 2 : 256;
    struct region *bigger = realloc(watch->regions, capacity * sizeof *bigger);
    if (!bigger) luaL_error(L, "not enough memory to watch the script's state");
    watch->regions = bigger;
    watch->capacity = capacity;
  }
  watch->regions[watch->count++] = (struct region){at, length, watch->length, watch->owner};
  watch->length += length;
}

/* Keeps the value on the top alive, in the list at `anchors`, if it is one whose address another could get; pops it.
 * Not a pool: it would not be collected. */
static void anchor(lua_State *L, struct watch *watch, int anchors)
{
  int type = lua_type(L, -1);
  if (type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TLIGHTUSERDATA ||
      (type == LUA_TTABLE && codec_is_bound(L, lua_gettop(L)))) {
    lua_pop(L, 1);
    return;
  }
  lua_rawseti(L, anchors, ++watch->kept);
}

/* The object on the top is the owner of the regions that are added next. */
static void begin_owner(lua_State *L, struct watch *watch, int anchors)
{
  lua_pushvalue(L, -1);
  watch->owner = ++watch->kept;
  lua_rawseti(L, anchors, watch->owner);
}

/* The table's sizes come first: as long as they are the same, the memory of its parts is there. */
static void add_table(lua_State *L, struct watch *watch, int index, int anchors)
{
  const char *table = lua_topointer(L, index);
  add_region(L, watch, table + TABLE_ARRAY, 8);
  add_region(L, watch, table + TABLE_METATABLE, TABLE_END - TABLE_METATABLE);
  add_region(L, watch, (const void *)(uintptr_t)read_word(table, TABLE_ARRAY),
             (size_t)read_half(table, TABLE_SIZES) * SLOT_BYTES);
  size_t nodes = (size_t)read_half(table, TABLE_SIZES + 4) + 1;
  add_region(L, watch, (const void *)(uintptr_t)read_word(table, TABLE_NODE), nodes * NODE_BYTES);
  for (lua_pushnil(L); lua_next(L, index);) {
    anchor(L, watch, anchors);
    lua_pushvalue(L, -1);
    anchor(L, watch, anchors);
  }
}

static void add_function(lua_State *L, struct watch *watch, int index, int anchors)
{
  const char *function = lua_topointer(L, index);
  lua_Debug info;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">u", &info);
  add_region(L, watch, function + FUNCTION_ENVIRONMENT, 8);
  add_region(L, watch, function + FUNCTION_CELLS, (size_t)info.nups * 8); /* debug.upvaluejoin gives it other cells */
  for (int i = 1; lua_getupvalue(L, index, i); i++) {
    const char *cell = lua_upvalueid(L, index, i);
    add_region(L, watch, cell + CELL_VALUE, 8);
    add_region(L, watch, (const void *)(uintptr_t)read_word(cell, CELL_VALUE), SLOT_BYTES);
    anchor(L, watch, anchors);
  }
}

static int watch_gc(lua_State *L)
{
  struct watch *watch = luaL_checkudata(L, 1, watch_meta);
  free(watch->regions);
  free(watch->copy);
  *watch = (struct watch){0};
  return 0;
}

/* The metatables of basic types. */
static void basic_metatables(lua_State *L, const void *metatables[BASIC_TYPES])
{
  for (int i = 0; i < BASIC_TYPES; i++) {
    metatables[i] = NULL;
    if (!lua_getmetatable(L, lua_upvalueindex(SAMPLES + i))) continue;
    metatables[i] = lua_topointer(L, -1);
    lua_pop(L, 1);
  }
}

static struct watch *check_watch(lua_State *L, int index)
{
  bool is_watch = false;
  if (lua_getmetatable(L, index)) {
    is_watch = lua_rawequal(L, -1, lua_upvalueindex(META));
    lua_pop(L, 1);
  }
  return is_watch ? lua_touserdata(L, index) : luaL_checkudata(L, index, watch_meta); /* which raises */
}

/* Watches the table or function on the top; pops it. Not a pool: nothing of it crosses, and each call changes it. */
static void add_object(lua_State *L, struct watch *watch, int anchors)
{
  int object = lua_gettop(L), type = lua_type(L, object);
  if (type == LUA_TTABLE && codec_is_bound(L, object)) {
    lua_pop(L, 1);
    return;
  }
  begin_owner(L, watch, anchors);
  if (type == LUA_TTABLE)
    add_table(L, watch, object, anchors);
  else if (type == LUA_TFUNCTION && !lua_iscfunction(L, object))
    add_function(L, watch, object, anchors);
  lua_pop(L, 1);
}

/* Watches the C data on the top, of `size` bytes; pops them. */
static void add_data(lua_State *L, struct watch *watch, size_t size, int anchors)
{
  begin_owner(L, watch, anchors);
  add_region(L, watch, lua_topointer(L, -1), size);
  lua_pop(L, 1);
}

static void copy_regions(struct watch *watch)
{
  for (size_t i = 0; i < watch->count; i++)
    memcpy(watch->copy + watch->regions[i].copied, watch->regions[i].at, watch->regions[i].length);
}

/* Pushes an empty watch, and the table of what it keeps alive, with room for about so many values. */
static struct watch *begin_watch(lua_State *L, size_t values)
{
  enum { MOST_ROOM = 4096 };
  struct watch *watch = lua_newuserdata(L, sizeof *watch);
  *watch = (struct watch){0};
  lua_pushvalue(L, lua_upvalueindex(META));
  lua_setmetatable(L, -2);
  lua_createtable(L, (int)(values < MOST_ROOM ? values : MOST_ROOM), 0);
  lua_pushvalue(L, -1);
  lua_setfenv(L, -3);
  return watch;
}

/* Copies what is watched as it is now, and leaves the watch at `index` on top. */
static int finish_watch(lua_State *L, struct watch *watch, int index)
{
  basic_metatables(L, watch->metatables);
  watch->copy = malloc(watch->length ? watch->length : 1);
  if (!watch->copy) return luaL_error(L, "not enough memory to watch the script's state");
  copy_regions(watch);
  lua_settop(L, index);
  return 1;
}

static int new (lua_State *L)
{
  enum { BOOK = 1, OTHERS, WATCH, ANCHORS, OBJECTS, OBJECT };
  enum { PARTS = 24 }; /* keys and values of one object, on average; most are libraries */
  struct book *book = book_at(L, BOOK);
  luaL_argcheck(L, book, BOOK, "a book expected");
  luaL_checktype(L, OTHERS, LUA_TTABLE);
  bool is_strict = lua_toboolean(L, OTHERS + 1);
  lua_settop(L, OTHERS);
  if (is_strict && book->hides_state) return 0;
  if (!is_known_layout(L)) return 0;
  struct watch *watch = begin_watch(L, PARTS * (lua_objlen(L, OTHERS) + book->count));
  lua_getfenv(L, BOOK);
  /* The globals are among the others: what changes most often is looked at first. */
  for (int i = 1; i <= (int)lua_objlen(L, OTHERS); i++) {
    lua_rawgeti(L, OTHERS, i);
    if (lua_type(L, OBJECT) == TYPE_CDATA) {
      lua_rawgeti(L, OTHERS, ++i);
      size_t size = (size_t)lua_tonumber(L, -1);
      lua_pop(L, 1);
      add_data(L, watch, size, ANCHORS);
    } else {
      add_object(L, watch, ANCHORS);
    }
  }
  for (size_t i = 0; i < book->count; i++) {
    const struct shared *entry = &book->list[i];
    if (entry->upvalue) continue; /* a cell: it is the function's */
    lua_rawgeti(L, OBJECTS, entry->index);
    int type = lua_type(L, OBJECT);
    if ((type == TYPE_CDATA && entry->state == NOT_WATCHED) || (type == LUA_TUSERDATA && entry->state)) /* a buffer */
      return 0;
    if (type == TYPE_CDATA)
      add_data(L, watch, entry->state, ANCHORS);
    else
      add_object(L, watch, ANCHORS);
  }
  return finish_watch(L, watch, WATCH);
}

/* Stops to watch the owner of region `i`, which has changed; returns the first region behind its own. */
static size_t forget_owner(struct watch *watch, size_t i)
{
  int owner = watch->regions[i].owner;
  for (; i < watch->count && watch->regions[i].owner == owner; i++) watch->regions[i].length = 0;
  return i;
}

static int changes(lua_State *L)
{
  struct watch *watch = check_watch(L, 1);
  const void *metatables[BASIC_TYPES];
  int changed = 0;
  lua_settop(L, 1);
  basic_metatables(L, metatables);
  if (!watch->copy || memcmp(metatables, watch->metatables, sizeof metatables) != 0) return 0;
  for (size_t i = 0; i < watch->count;) {
    const struct region *region = &watch->regions[i];
    if (memcmp(watch->copy + region->copied, region->at, region->length) == 0) {
      i++;
      continue;
    }
    if (!changed) {
      lua_newtable(L);
      lua_getfenv(L, 1);
    }
    lua_rawgeti(L, 3, region->owner);
    lua_rawseti(L, 2, ++changed);
    i = forget_owner(watch, i);
  }
  if (changed)
    lua_settop(L, 2);
  else
    lua_pushboolean(L, 0);
  return 1;
}

/* Watches the fields of the table at `index` alone, for changed_fields. Needs a known layout. */
static int watch_fields(lua_State *L)
{
  enum { TABLE = 1, WATCH, ANCHORS, KEY };
  luaL_checktype(L, TABLE, LUA_TTABLE);
  lua_settop(L, TABLE);
  if (!is_known_layout(L)) return 0;
  const char *table = lua_topointer(L, TABLE);
  if (read_half(table, TABLE_SIZES) != 0) return 0; /* it has an array part */
  const char *nodes = (const char *)(uintptr_t)read_word(table, TABLE_NODE);
  size_t count = (size_t)read_half(table, TABLE_SIZES + 4) + 1, at = 0;
  struct watch *watch = begin_watch(L, 2 * count);
  watch->of_fields = true;
  watch->kept = (int)count; /* behind the keys */
  add_region(L, watch, table + TABLE_METATABLE, TABLE_END - TABLE_METATABLE);
  add_region(L, watch, nodes, count * NODE_BYTES);
  for (lua_pushnil(L); lua_next(L, TABLE);) { /* goes from node to node */
    while (at < count && read_word(nodes, at * NODE_BYTES) == NIL_WORD) at++;
    lua_pushvalue(L, KEY);
    lua_rawseti(L, ANCHORS, (int)++at);
    anchor(L, watch, ANCHORS);
  }
  return finish_watch(L, watch, WATCH);
}

/* Has the node at `now` still the key that it has in the copy at `then`? */
static bool is_same_key(const unsigned char *now, const unsigned char *then)
{
  return memcmp(now + SLOT_BYTES, then + SLOT_BYTES, NODE_BYTES - SLOT_BYTES) == 0;
}

/* (watch of fields, its table) -> the keys of the fields that have got another number, boolean or nil, in a list: they
 * are watched as they are now; false: there are none; nil: it has changed otherwise. */
static int changed_fields(lua_State *L)
{
  enum { WATCH = 1, TABLE, LIST, KEYS, KEY, VALUE };
  struct watch *watch = check_watch(L, WATCH);
  luaL_argcheck(L, watch->of_fields && watch->copy && lua_istable(L, TABLE), WATCH, "a watch of fields expected");
  lua_settop(L, TABLE);
  const struct region *head = &watch->regions[0], *nodes = &watch->regions[1];
  const unsigned char *copy = watch->copy + nodes->copied;
  if (memcmp(watch->copy + head->copied, head->at, head->length) != 0) return 0;
  if (memcmp(copy, nodes->at, nodes->length) == 0) {
    lua_pushboolean(L, 0);
    return 1;
  }
  lua_newtable(L);
  lua_getfenv(L, WATCH);
  int changed = 0;
  for (size_t at = 0; at < nodes->length; at += NODE_BYTES) {
    const unsigned char *now = nodes->at + at, *then = copy + at;
    if (memcmp(now, then, NODE_BYTES) == 0) continue;
    lua_rawgeti(L, KEYS, (int)(at / NODE_BYTES) + 1);
    if (lua_isnil(L, KEY) || !is_same_key(now, then)) return 0;
    lua_pushvalue(L, KEY);
    lua_rawget(L, TABLE);
    int type = lua_type(L, VALUE);
    if (type != LUA_TNUMBER && type != LUA_TBOOLEAN && type != LUA_TNIL) return 0;
    lua_pop(L, 1);
    lua_rawseti(L, LIST, ++changed);
    memcpy(watch->copy + nodes->copied + at, now, NODE_BYTES);
  }
  lua_settop(L, LIST);
  return 1;
}

static int is_unchanged(lua_State *L)
{
  const void *metatables[BASIC_TYPES];
  int count = lua_gettop(L);
  luaL_checkstack(L, 4, NULL);
  basic_metatables(L, metatables);
  for (int w = 1; w <= count; w++) {
    const struct watch *watch = check_watch(L, w);
    bool same = watch->copy && memcmp(metatables, watch->metatables, sizeof metatables) == 0;
    for (size_t i = 0; same && i < watch->count; i++) {
      const struct region *region = &watch->regions[i];
      same = memcmp(watch->copy + region->copied, region->at, region->length) == 0;
    }
    if (!same) {
      lua_pushboolean(L, 0);
      return 1;
    }
  }
  lua_pushboolean(L, 1);
  return 1;
}

void watch_register(lua_State *L)
{
  static const luaL_Reg functions[] = {{"watch", new},
                                       {"changes", changes},
                                       {"is_unchanged", is_unchanged},
                                       {"watch_fields", watch_fields},
                                       {"changed_fields", changed_fields},
                                       {NULL, NULL}};
  for (const luaL_Reg *function = functions; function->name; function++) {
    lua_pushnil(L);
    lua_pushboolean(L, 1);
    lua_pushnumber(L, 0);
    lua_pushliteral(L, "");
    lua_pushcfunction(L, changes);
    lua_newthread(L);
    if (luaL_newmetatable(L, watch_meta)) {
      lua_pushcfunction(L, watch_gc);
      lua_setfield(L, -2, "__gc");
    }
    lua_pushcclosure(L, function->func, META);
    lua_setfield(L, -2, function->name);
  }
}
