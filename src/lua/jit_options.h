/* jit_options.h - the options of the command that are LuaJIT's own, as luajit has them. All are to be called protected.
 */
#ifndef PARLUA_JIT_OPTIONS_H
#define PARLUA_JIT_OPTIONS_H
#include <lua.h>

/* -j NAME[=WORDS], with that text: jit.NAME(WORDS...), or else require("jit.NAME").start(WORDS...). */
int jit_control(lua_State *L);
/* -O[WORDS], with that text: jit.opt.start(WORDS...). */
int jit_optimize(lua_State *L);
/* -b...: calls LuaJIT's tool that saves or lists bytecode. Gets a light userdata: the words of the command line from -b
   on, which end with NULL. */
int jit_save(lua_State *L);

#endif
