/*
 * watch.h - has anything changed in the objects of a book? Asked before every call, so it must cost next to nothing:
 * the memory of the tables, of the functions' upvalues and of C data is compared with a copy. That takes knowing where
 * LuaJIT keeps it; the layout is checked when the first watch is made, and where it is another, there are no watches
 * and everything is looked at anew.
 */
#ifndef PARLUA_CODEC_WATCH_H
#define PARLUA_CODEC_WATCH_H

#include <lua.h>

/* Lua: watch(book, list of tables) -> a watch over the objects of the book and over the tables, or nil. */
int watch_new(lua_State *L);
/* Lua: unchanged(watch) -> is all as it was when the watch was made? */
int watch_unchanged(lua_State *L);

#endif
