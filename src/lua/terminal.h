/* The module parlua.terminal: a line that is edited, keys, and calls that Ctrl-C interrupts. For the prompt, lua/parlua/prompt; its
   functions are described where they are. */
#ifndef PARLUA_TERMINAL_H
#define PARLUA_TERMINAL_H

#include <lua.h>

int luaopen_parlua_terminal(lua_State *L);

#endif
