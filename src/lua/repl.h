/* The prompt: `parlua` alone on a terminal, or `parlua -i`. */
#ifndef PARLUA_REPL_H
#define PARLUA_REPL_H

#include <lua.h>

/* Reads, runs and prints until the end of standard input. Lines are edited, and kept in ~/.parlua_history, with libedit
   where that is installed. Ctrl-C discards what was typed, or interrupts what runs; a second one ends the process.
   Errors are printed with their traceback, and the prompt goes on.
   `variables` is the stack index of a table in which names are looked up instead of the globals; 0 for the globals. */
void repl_run(lua_State *L, int variables);

#endif
