/* The module parlua.terminal: a line that is edited, keys, and calls that Ctrl-C interrupts. For the prompt,
   lua/parlua/prompt; its functions are described where they are. */
#ifndef PARLUA_TERMINAL_H
#define PARLUA_TERMINAL_H

#include <stdbool.h>

#include <lua.h>

/* Whether somebody sits at a terminal. Where mpirun stands between it and this process, rank 0, the terminal is taken:
   it becomes standard input, and the output that went to it through mpirun goes there at once. The group of processes
   that had it gets it back at the end. */
bool terminal_take(void);

int luaopen_parlua_terminal(lua_State *L);

#endif
