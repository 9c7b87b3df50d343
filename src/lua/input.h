/* input.h - what tasks, and the programs that they run, read: standard input is the script's, so theirs is empty,
 * unless the option `stdin` says otherwise. A process of tasks has descriptor 0 for itself; a worker's thread shares it
 * with the script. */
#ifndef PARLUA_INPUT_H
#define PARLUA_INPUT_H
#include <stdbool.h>
#include <sys/types.h>

#include <lua.h>

/* Starts a command of the shell; `empty`: it finds standard input empty. Returns 0 or an errno. */
int input_start_shell(const char *command, bool empty, pid_t *pid);
/* Lua: empty_stdin(empty, owns_process): from here on the state's tasks find standard input empty, or as
 * the script's. */
int input_lua_empty(lua_State *L);
/* Lua: execute(command, empty) -> status: runs a command of the shell and waits for it, as os.execute does, in a state
 * that shares its process. Unlike system(3) it leaves SIGINT alone meanwhile: the program gets Ctrl-C and so does the
 * run, and programs that other threads start at that moment are not deaf to it. */
int input_lua_execute(lua_State *L);
#endif
