/* host.h - the Lua module parlua.host: engines, runs and services of the machine, for the Lua side alone. */
#ifndef PARLUA_HOST_H
#define PARLUA_HOST_H
#include <lua.h>
int luaopen_parlua_host(lua_State *L);
#endif
