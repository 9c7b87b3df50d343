/* output.h - what tasks print. In a worker, print, io.write and io.stdout (and io.stderr) write to streams of the worker's own, which
 * send whole lines to the coordinator; so lines of different tasks never mix, and the progress bar can step aside. */
#ifndef PARLUA_OUTPUT_H
#define PARLUA_OUTPUT_H
#include <lua.h>

struct worker;

/* Makes the state's standard streams send their lines through `worker`. */
void output_install(lua_State *L, struct worker *worker);
/* In a forked worker: C's own stdout too (ffi.C.printf, a print function kept in a local). */
void output_capture_c(lua_State *L);
/* Sends what has no line end yet, and closes the state's streams. */
void output_close(lua_State *L);
#endif
