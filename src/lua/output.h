/* output.h - what tasks print. In a worker, print, io.write and io.stdout (and io.stderr) write to streams of the worker's own,
 * which send what they get to the coordinator; there it becomes whole lines again (lua/parlua/report/output.lua), so that lines of
 * different tasks never mix, and the progress bar can step aside. */
#ifndef PARLUA_OUTPUT_H
#define PARLUA_OUTPUT_H
#include <lua.h>
#include <stdio.h>

/* Sends text that was written to stream 1 or 2. */
typedef void output_sender(void *to, int stream, const char *bytes, size_t length);

struct output;

/* Makes the state's standard streams give what they get to `send` (with `to`); `files` gets the two streams (NULL: no memory for
 * one), to be flushed now and then. A worker that owns its process has C's stdout too (ffi.C.printf, LuaJIT's own print). Returns
 * what output_close takes; it lives as long as the state. */
struct output *output_install(lua_State *L, output_sender *send, void *to, FILE *files[2], int owns_process);
/* Closes the state's streams, after sending what they hold; NULL: there are none. Raises nothing. */
void output_close(struct output *outputs);
#endif
