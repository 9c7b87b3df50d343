/* glob.h - files that a shell's pattern matches. */
#ifndef PARLUA_GLOB_H
#define PARLUA_GLOB_H
#include <lua.h>

/* Lua: glob(pattern) -> sorted list of paths of files; or nil and a message. "**" stands for any number of directories.
 */
int glob_lua(lua_State *L);
/* Lua: is_file(path) -> is it there, and no directory? */
int glob_lua_is_file(lua_State *L);
#endif
