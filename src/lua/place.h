/* place.h - where in the script a call stands, quickly: for each submitted call it is asked. */
#ifndef PARLUA_PLACE_H
#define PARLUA_PLACE_H
#include <lua.h>

/* Pushes a function that returns the place of the innermost Lua function that is not parlua's own: "sweep.lua:12". */
void place_push(lua_State *L);

#endif
