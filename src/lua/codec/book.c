/* book.c - see book.h. */
#include "lua/codec/book.h"

#include <lauxlib.h>
#include <string.h>

static const char book_meta[] = "parlua.book";

struct book *book_new(lua_State *L)
{
  struct book *book = lua_newuserdata(L, sizeof *book);
  *book = (struct book){0};
  luaL_newmetatable(L, book_meta);
  lua_setmetatable(L, -2);
  lua_newtable(L);
  lua_setfenv(L, -2);
  return book;
}

struct book *book_at(lua_State *L, int index)
{
  struct book *book = lua_touserdata(L, index);
  if (book == NULL || lua_islightuserdata(L, index) || !lua_getmetatable(L, index)) return NULL;
  luaL_getmetatable(L, book_meta);
  if (!lua_rawequal(L, -1, -2)) book = NULL;
  lua_pop(L, 2);
  return book;
}

void book_clear(lua_State *L, struct book *book, int table)
{
  for (int i = 1; i <= book->objects; i++) {
    lua_pushnil(L);
    lua_rawseti(L, table, i);
  }
  map_clear(&book->map);
  book->count = 0;
  book->objects = 0;
  book->hides_state = false;
}

void book_drop(lua_State *L, struct book *book, int index)
{
  lua_pushvalue(L, index);
  lua_newtable(L);
  lua_setfenv(L, -2);
  lua_pop(L, 1);
  *book = (struct book){0};
}

/* New memory that lives as long as the book does, or until it gets other memory of this name. */
static void *new_memory(lua_State *L, int table, const char *name, size_t size)
{
  void *memory = lua_newuserdata(L, size);
  lua_setfield(L, table, name);
  return memory;
}

void book_reserve(lua_State *L, struct book *book, int table)
{
  if (map_has_room(&book->map)) return;
  size_t size = sizeof(struct map_entry) << map_next_bits(&book->map);
  lua_getfield(L, table, "map"); /* what is moved from stays until it has been moved */
  struct map_entry *entries = new_memory(L, table, "map", size);
  memset(entries, 0, size);
  map_move(&book->map, entries, true);
  lua_pop(L, 1);
}

void book_add(lua_State *L, struct book *book, int table, int index, size_t offset, int upvalue)
{
  if (book->count == book->capacity) {
    size_t capacity = book->capacity ? book->capacity * 2 : 64;
    lua_getfield(L, table, "list");
    struct shared *bigger = new_memory(L, table, "list", capacity * sizeof *bigger);
    if (book->count) memcpy(bigger, book->list, book->count * sizeof *bigger);
    lua_pop(L, 1);
    book->list = bigger;
    book->capacity = capacity;
  }
  book->objects++;
  book->list[book->count++] = (struct shared){offset, book->objects, upvalue, 0, false};
  lua_pushvalue(L, index);
  lua_rawseti(L, table, book->objects);
}

const struct shared *book_entry(const struct book *book, size_t offset)
{
  size_t low = 0, high = book->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (book->list[middle].offset < offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low < book->count && book->list[low].offset == offset ? &book->list[low] : NULL;
}
