/* One Lua state: the standard libraries, the modules embedded in the binary, and calls that cannot escape. */
#ifndef PARLUA_STATE_H
#define PARLUA_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

/* A Lua module compiled to bytecode when parlua was built. The table is sorted by name. */
struct embedded_module {
  const char *name; /* as given to require: "parlua", "parlua.run" */
  const unsigned char *bytecode;
  size_t length; /* bytes */
};

/* This, its length, and embedded_headers are written by embed.c at build time. */
extern const struct embedded_module embedded_modules[];
extern const size_t embedded_modules_count;
/* Is there a module of this name in the binary, in Lua or in C? */
bool state_has_module(const char *name);
/* The declarations of a header, for ffi.cdef: without preprocessor lines. The table ends with an entry
 * whose name is NULL. */
struct embedded_header {
  const char *name; /* below src: "run/event.h" */
  const char *text;
};
extern const struct embedded_header embedded_headers[];
/* Lua: header(name) -> its text. */
int state_lua_header(lua_State *L);

/* A new state with all standard libraries, in which `require` finds the modules inside the binary before any file:
   the embedded Lua modules, and the C modules parlua.host, parlua.codec and others.
   NULL when there is no memory. The caller closes it with state_close. */
lua_State *state_new(void);

/* Collects garbage again after lua_gc(L, LUA_GCSTOP, 0), but not before the heap is eight times as large: what has been
   loaded into a small state is no garbage. */
void state_collect_later(lua_State *L);

/* Ends a state: its finalizers run, and its memory is given back, unless the program ends too. */
void state_close(lua_State *L);

/* The program ends: states that are closed from now on leave their memory to the system, which frees it faster. */
void state_program_ends(void);

/* Pushes a global as it is when a state begins, whatever the script has put in its place. */
void state_push_global(lua_State *L, const char *name);
/* Pushes require(module)[field]; raises when there is no such module. */
void state_push_from_module(lua_State *L, const char *module, const char *field);

/* Calls the function below its `nargs` arguments on the stack, as lua_pcall does: 0 and `nresults` results, or a
   LUA_ERR code and one string: the message and the traceback. An error value that is no string is shown by its
   __tostring, or else by its type; nil stays nil, which Lua programs raise to end without a message. */
int state_call(lua_State *L, int nargs, int nresults);

/* As state_call, but Ctrl-C raises the error "interrupted!" in what is called, as in luajit; a second one ends the
 * program, and so does the first where it goes unanswered: compiled loops and functions in C don't look. */
int state_call_interruptible(lua_State *L, int nargs, int nresults);
/* Has such an error ended a call? */
bool state_was_interrupted(void);

#endif
