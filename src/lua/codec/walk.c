/* walk.c - makes the book of what a worker that is forked will have: of objects that can be reached from a few, nearest
 * first. */
#include <lauxlib.h>
#include <stdbool.h>

#include "lua/codec/format.h"
#include "lua/codec/state.h"
#include "lua/codec/walk.h"

/* Every call on the process engine pays for the walk: 30,000 entries take about a millisecond. What lies further away
 * crosses by content. For the same reason it is not noted what tables of more than MOST_STATED entries hold, but for
 * workers that last, which are forked once: what methods have captured may change while they live. */
enum { MOST_ENTRIES = 30000, MOST_ENTRIES_OF_ONE = 1024, MOST_STATED = 256 };

enum { BOOK_SLOT = 1, ROOTS_SLOT, LASTING_SLOT, CHANGED_SLOT, OBJECTS_SLOT };

/* Adds the value at `index` if it is an object that is not there yet and has no name in every state. */
static void visit(lua_State *L, struct codec *codec, struct book *book, int index)
{
  int type = lua_type(L, index);
  if (type != LUA_TTABLE && type != LUA_TFUNCTION && !codec_is_proxy(L, index)) return;
  if (type == LUA_TTABLE && codec_is_bound(L, index)) return;
  book_reserve(L, book, OBJECTS_SLOT);
  const void *object = lua_topointer(L, index);
  struct map_entry *entry = map_find(&book->map, object);
  if (entry->generation == book->map.generation) return;
  enum name_kind kind = NAMED_PART;
  if (codec_name_of(L, codec, index, &kind) && kind == NAMED_EVERYWHERE) return;
  size_t offset = book->count + 1;
  map_put(&book->map, entry, object, offset);
  book_add(L, book, OBJECTS_SLOT, index, offset, 0);
}

/* Visits what the table on the top holds; returns how many entries it has looked at. */
static size_t visit_table(lua_State *L, struct codec *codec, struct book *book)
{
  int table = lua_gettop(L);
  size_t entries = 1;
  if (lua_getmetatable(L, table)) {
    visit(L, codec, book, table + 1);
    lua_pushliteral(L, "__mode");
    lua_rawget(L, table + 1);
    bool is_weak = !lua_isnil(L, -1);
    lua_pop(L, 2);
    if (is_weak) return entries; /* what it holds is not to be kept alive by this */
  }
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (++entries > MOST_ENTRIES_OF_ONE) {
      lua_pop(L, 2);
      break;
    }
    visit(L, codec, book, table + 1);
    visit(L, codec, book, table + 2);
  }
  return entries;
}

static size_t visit_function(lua_State *L, struct codec *codec, struct book *book)
{
  int function = lua_gettop(L);
  size_t entries = 1;
  for (int i = 1; lua_getupvalue(L, function, i); i++, entries++) {
    visit(L, codec, book, function + 1);
    lua_pop(L, 1);
  }
  lua_getfenv(L, function);
  if (!codec_has_globals(L, -1)) visit(L, codec, book, function + 1);
  lua_pop(L, 1);
  return entries;
}

static size_t visit_proxy(lua_State *L, struct codec *codec, struct book *book)
{
  int proxy = lua_gettop(L);
  if (lua_getmetatable(L, proxy)) visit(L, codec, book, proxy + 1);
  lua_settop(L, proxy);
  return 1;
}

/* Visits what the object on the top holds, which has entry `i` in the book, and notes what that is; pops it. Returns
 * how many entries it has looked at. */
static size_t look_into(lua_State *L, struct codec *codec, struct book *book, size_t i, bool lasting)
{
  int type = lua_type(L, -1);
  size_t seen = type == LUA_TTABLE      ? visit_table(L, codec, book)
                : type == LUA_TFUNCTION ? visit_function(L, codec, book)
                                        : visit_proxy(L, codec, book);
  if (type == LUA_TFUNCTION || (type == LUA_TTABLE && (lasting || seen <= MOST_STATED)))
    book->list[i].state = codec_whole_state_of(L, -1);
  lua_pop(L, 1);
  return seen;
}

/* (book, list of roots, do the workers last, objects of the book that have changed) */
int codec_walk_protected(lua_State *L)
{
  struct codec *codec = lua_touserdata(L, lua_upvalueindex(CODEC_UPVALUE));
  struct book *book = book_at(L, BOOK_SLOT);
  bool lasting = lua_toboolean(L, LASTING_SLOT);
  size_t entries = 0;
  codec_update_names(L, codec);
  lua_getfenv(L, BOOK_SLOT);
  luaL_checkstack(L, SLOTS_PER_LEVEL, NULL);
  int roots = (int)lua_objlen(L, ROOTS_SLOT), root = 0, i = book->objects;
  for (int k = 1; k <= (int)lua_objlen(L, CHANGED_SLOT); k++) {
    lua_rawgeti(L, CHANGED_SLOT, k);
    const struct map_entry *entry = map_get(&book->map, lua_topointer(L, -1));
    if (entry)
      entries += look_into(L, codec, book, (size_t)(book_entry(book, entry->value) - book->list), lasting);
    else
      lua_pop(L, 1);
  }
  for (; entries < MOST_ENTRIES; i++) {
    while (i == book->objects && root < roots) { /* all that the roots so far lead to has been visited */
      lua_rawgeti(L, ROOTS_SLOT, ++root);
      visit(L, codec, book, lua_gettop(L));
      lua_pop(L, 1);
    }
    if (i == book->objects) break;
    lua_rawgeti(L, OBJECTS_SLOT, i + 1);
    entries += look_into(L, codec, book, (size_t)i, lasting);
  }
  return 0;
}

int codec_walk(lua_State *L, int book, int roots, bool lasting, int changed)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return -1;
  lua_rawgeti(L, LUA_REGISTRYINDEX, codec->walk_reference);
  lua_pushvalue(L, book);
  lua_pushvalue(L, roots);
  lua_pushboolean(L, lasting);
  lua_pushvalue(L, changed);
  return lua_pcall(L, 4, 0, 0) == 0 ? 0 : -1;
}
