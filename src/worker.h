/* worker.h - the worker's side of a slot, and the life of a worker: it receives jobs and chunks, runs them in Lua
 * (lua/parlua/worker.lua) and puts the results into blocks. The same for threads and for processes. */
#ifndef PARLUA_WORKER_H
#define PARLUA_WORKER_H
#include <lua.h>

#include "slot.h"

/* Runs the worker, a thread, in the state `L` on `slot` until it is told to stop. When `job` is not 0 it is the stack index of the
 * job's Lua table (inherited from the coordinator); otherwise jobs come as messages. Returns 0, or the LUA_ERR code when the
 * worker's own Lua code failed: then a message is on the stack. */
int worker_main(lua_State *L, struct slot *slot, const struct bell *bell, int job);

/* Lets this process pass over the signals of a terminal and of a batch system. */
void worker_set_signals(void);
/* The life of a worker that is a process of its own. First its signals, its place before the kernel's out-of-memory killer and,
 * when `memory` is not 0, the bytes that it may take beyond what it has; then its work, as worker_main, up to the end of the
 * process. */
void worker_process_prepare(uint64_t memory);
_Noreturn void worker_process_run(lua_State *L, struct slot *slot, const struct bell *bell, int job);

/* Lua: value(pointer to a block, place in units of 8 bytes) -> the values of the codec message there. */
int worker_value(lua_State *L);

#endif
