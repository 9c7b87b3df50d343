/* ffi_worker.h - the worker's side, for the loop in lua/parlua/worker/init.lua; what each does: slot/mailbox.h. Plain C
 * declarations only: the text is also given to LuaJIT's ffi.cdef (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_WORKER_H
#define PARLUA_FFI_WORKER_H
#include <stddef.h>
#include <stdint.h>

struct worker;
struct block *worker_receive(struct worker *worker);
struct block *worker_open(struct worker *worker, double first, int kind);
struct block *worker_current(struct worker *worker);
void worker_close(struct worker *worker, double last, uint32_t count, int final);
double worker_lap(struct worker *worker);
volatile double *worker_limit(struct worker *worker);
struct slot *worker_slot(struct worker *worker);
void worker_print(struct worker *worker, int stream, const char *bytes, size_t length);

#endif
