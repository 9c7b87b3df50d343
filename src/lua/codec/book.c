/* book.c - see book.h. */
#include "lua/codec/book.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char book_meta[] = "parlua.book";

static int book_gc(lua_State *L)
{
  struct book *book = luaL_checkudata(L, 1, book_meta);
  map_free(&book->map);
  free(book->list);
  *book = (struct book){0};
  return 0;
}

struct book *book_new(lua_State *L)
{
  struct book *book = lua_newuserdata(L, sizeof *book);
  *book = (struct book){0};
  if (luaL_newmetatable(L, book_meta)) {
    lua_pushcfunction(L, book_gc);
    lua_setfield(L, -2, "__gc");
  }
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
}

void book_add(lua_State *L, struct book *book, int table, int index, size_t offset, int upvalue)
{
  if (book->count == book->capacity) {
    size_t capacity = book->capacity ? book->capacity * 2 : 64;
    struct shared *bigger = realloc(book->list, capacity * sizeof *bigger);
    if (bigger == NULL) luaL_error(L, "not enough memory for the objects of a message");
    book->list = bigger;
    book->capacity = capacity;
  }
  book->objects++;
  book->list[book->count++] = (struct shared){offset, book->objects, upvalue, 0};
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
