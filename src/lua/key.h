/* key.h - keys of the random streams of calls. lua/parlua/task.lua makes those of calls in tasks, in Lua; in C no
 * object is made of each step. */
#ifndef PARLUA_KEY_H
#define PARLUA_KEY_H

#include <lua.h>

/* Lua: call_key(seed[, number of the call in the program]) -> the key, 8 bytes. */
int key_lua_of_call(lua_State *L);

#endif
