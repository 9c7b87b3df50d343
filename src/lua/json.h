/* json.h - values from JSON. */
#ifndef PARLUA_JSON_H
#define PARLUA_JSON_H
#include <lua.h>

/* Lua module `parlua.json_reader`, a function: (text, revive) -> value, or (address, length, revive) -> value.
 * `revive(name, value)` is called for each object of one key that begins with `$`; what it returns, unless nil, takes
 * the object's place. Raises what is wrong with the text, and where. */
int luaopen_parlua_json_reader(lua_State *L);

#endif
