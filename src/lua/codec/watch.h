/*
 * watch.h - has anything changed in the objects of a book? Asked before every call, so it must cost next to nothing:
 * the memory of the tables, of the functions' upvalues and of C data is compared with a copy. That takes knowing where
 * LuaJIT keeps it; the layout is checked when the first watch is made, and where it is another, there are no watches
 * and everything is looked at anew.
 */
#ifndef PARLUA_CODEC_WATCH_H
#define PARLUA_CODEC_WATCH_H

#include <lua.h>

/* Puts the functions that Lua calls into the table on the top:
 * watch(book, list[, all]) -> a watch over the objects of the book and over the tables and functions in the list, and C
 * data, which have their size behind them; or nil: there can be none, as for a string.buffer in the book. With `all`:
 * none either where the book's message depends on more than the memory of its objects.
 * changes(watch) -> false: all is as it was when the watch was made; or a list of the objects that have changed, which
 * are not watched any more; or nil: the metatable of a basic type is another.
 * is_unchanged(watch[, another]) -> is all as it was? What has changed is still watched. */
void watch_register(lua_State *L);

#endif
