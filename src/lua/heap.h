/* heap.h - where a Lua state's memory comes from: LuaJIT's own allocator, but for large objects (arrays of C, tables,
 * strings of some megabytes), which get huge pages. */
#ifndef PARLUA_HEAP_H
#define PARLUA_HEAP_H
#include <lua.h>
#include <stdbool.h>

/* Lets a new state have its large objects in huge pages. Nothing changes when there is no memory for that. */
void heap_install(lua_State *L);
/* Closes the state; `leave`: its memory is left to the system, as the program ends. */
void heap_close(lua_State *L, bool leave);

#endif
