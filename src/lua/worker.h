/* worker.h - the life of a worker whose tasks are Lua functions: it receives jobs and chunks by its mailbox
 * (slot/mailbox.h), runs them in Lua (lua/parlua/worker/init.lua) and puts the results into blocks. The same for
 * threads and for processes, which start it by worker_bodies (engines/engine.h). */
#ifndef PARLUA_WORKER_H
#define PARLUA_WORKER_H
#include <stdbool.h>

#include <lua.h>

/* What a forked worker inherits: the context that its engine was given (engine.h). */
struct worker_heritage {
  lua_State *L;
  int job; /* reference of the job's table in the registry */
};

/* Lua: value(pointer to a block, place in units of 8 bytes) -> the values of the codec message there. */
int worker_value(lua_State *L);

/* Is the calling thread a worker of the threads engine? Its task can't be killed: what waits in it has to look whether
 * it was given up, at a time limit or at Ctrl-C. */
bool worker_is_thread(void);
bool worker_is_given_up(void);

/* The task of the calling worker runs a program, at `program`, and collects its output: what that writes is kept for
 * the case that the worker ends. Nothing outside of workers, nor while the task runs another one. */
void worker_begin_program(const void *program, const char *name);
void worker_note_written(const void *program, int stream, const void *bytes, size_t length);
void worker_end_program(const void *program);

#endif
