/* worker.h - the worker's side of a slot, and the life of a worker: it receives jobs and chunks, runs them in Lua
 * (lua/parlua/worker/init.lua) and puts the results into blocks. The same for threads and for processes. */
#ifndef PARLUA_WORKER_H
#define PARLUA_WORKER_H
#include <lua.h>

#include "slot/slot.h"

/* Runs the worker, a thread, in the state `L` on `slot` until it is told to stop, or until its own Lua code fails: that is told on
 * standard error. */
void worker_main(lua_State *L, struct slot *slot, const struct bell *bell);

/* Lets this process pass over the signals of a terminal and of a batch system. */
void worker_set_signals(void);
/* The life of a worker that is a process of its own. First its signals, its place before the kernel's out-of-memory killer and,
 * when `memory` is not 0, the bytes that it may take beyond what it has; then its work, as worker_main, up to the end of the
 * process. It inherits the job that was kept in the state, if any; other jobs come as messages. */
void worker_process_prepare(uint64_t memory);
_Noreturn void worker_process_run(lua_State *L, struct slot *slot, const struct bell *bell);
/* Keeps the job's table at stack index `job`, for a worker that is forked next; 0: none any more. Raises when memory runs out. */
void worker_keep_job(lua_State *L, int job);

/* Lua: value(pointer to a block, place in units of 8 bytes) -> the values of the codec message there. */
int worker_value(lua_State *L);

#endif
