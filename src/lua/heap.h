/* heap.h - where a Lua state's memory comes from: small objects from sys/small.h, large ones (arrays of C, tables,
 * strings of some megabytes) from sys/large.h, those between from LuaJIT's own allocator. A loop that makes and keeps
 * records of three fields makes 10 to 17 million a second, and 5 by LuaJIT's own allocator alone. */
#ifndef PARLUA_HEAP_H
#define PARLUA_HEAP_H
#include <lua.h>
#include <stdbool.h>

/* Lets a new state have its memory so. Nothing changes when there is no memory for that. */
void heap_install(lua_State *L);
/* Closes the state; `leave`: its memory is left to the system, as the program ends. */
void heap_close(lua_State *L, bool leave);

#endif
