/* output.h - what tasks print. In a worker, print, io.write and io.stdout (and io.stderr) write to streams of the
 * worker's own, which send what they get to the coordinator; there it becomes whole lines again
 * (lua/parlua/report/output.lua), so that lines of different tasks never mix, and the progress bar can step aside.
 *
 * A sender may wait for the coordinator. So no stream here has a lock or a buffer of the C library's: another thread
 * that flushes all streams (io.popen, fork, exit) would wait for the lock, and the sender for that thread. Lines are
 * put together here. */
#ifndef PARLUA_OUTPUT_H
#define PARLUA_OUTPUT_H
#include <lua.h>
#include <stdbool.h>

/* Sends text that was written to stream 1 or 2. */
typedef void output_sender(void *to, int stream, const char *bytes, size_t length);

struct output;

/* Makes the state's standard streams give what they get to `send` (with `to`). A worker that owns its process has C's
 * stdout and stderr too (ffi.C.printf, LuaJIT's own print). Returns what the others take; it lives as long as the
 * state. */
struct output *output_install(lua_State *L, output_sender *send, void *to, bool owns_process);
/* As if the task had printed it; for the reader of what its programs write (sys/capture.h), under the lock there. */
void output_put(struct output *outputs, int stream, double task, const char *bytes, size_t length);
/* The task that runs, if its index is to stand before what it prints, else 0. */
double output_task(const struct output *outputs);
/* How many bytes can surely be put where `room` bytes can be sent. */
size_t output_room(const struct output *outputs, size_t room);
/* In a copy of the worker: half lines are the worker's. */
void output_forget(struct output *outputs);
/* Puts the task's index, which stands at `index`, before each line, and each task's text on lines of its own; NULL:
 * nothing. */
void output_tag(struct output *outputs, const volatile double *index);
/* Lua: tag(pointer to the index) -> tags(on[, ...]), which begins and ends the same for what the script's own state
 * prints. tags(false): a line end is put behind half lines. tags(false, "held") -> half lines of standard output and of
 * standard error, or nil: the task will go on, with tags(true, output, errors). */
int output_lua_tag(lua_State *L);
/* Sends what stands in half lines, which end there if they have tags; NULL: there are no streams. */
void output_flush(struct output *outputs);
/* Closes the state's streams, after sending what they hold; NULL: there are none. Raises nothing. */
void output_close(struct output *outputs);
#endif
