/* ffi.h - what the Lua side of every state, those of workers too, reaches by FFI beside the slot's layout
 * (slot/layout.h). Plain C declarations only: the text is also given to LuaJIT's ffi.cdef (lua/parlua/wire/header.lua).
 */
#ifndef PARLUA_FFI_H
#define PARLUA_FFI_H
#include <stddef.h>
#include <stdint.h>

/* The worker's side, for the loop in lua/parlua/worker/init.lua; what each does: slot/mailbox.h. */
struct worker;
struct block *worker_receive(struct worker *worker);
struct block *worker_open(struct worker *worker, double first, int kind);
struct block *worker_current(struct worker *worker);
void worker_close(struct worker *worker, double last, uint32_t count, int final);
double worker_lap(struct worker *worker);
volatile double *worker_limit(struct worker *worker);
struct slot *worker_slot(struct worker *worker);
void worker_print(struct worker *worker, int stream, const char *bytes, size_t length);

double clock_seconds(void); /* sys/clock.h */

/* Can the bytes stand in a string of JSON as they are: ASCII without control characters, quotes and backslashes? */
int parlua_json_is_plain(const char *text, size_t length);
/* Writes a number of few digits behind its point as "%.15g" does; at most 24 bytes. Returns how many; 0: it is none. */
int parlua_json_number(double number, char *to);

#endif
