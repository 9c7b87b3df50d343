/* copy.h - copies of Lua tables: module parlua.copy. */
#ifndef PARLUA_COPY_H
#define PARLUA_COPY_H
#include <lua.h>

/* Returns a function copy(table) -> a copy with all that is in it; shared references and cycles stay as they are among
 * the copies. Metatables and what they index, modules, functions, userdata and cdata are not copied. */
int luaopen_parlua_copy(lua_State *L);
#endif
