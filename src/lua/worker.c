/* worker.c - see worker.h. */
#include "lua/worker.h"

#include <lauxlib.h>
#include <luajit.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engines/engine.h"
#include "lua/codec.h"
#include "lua/output.h"
#include "lua/state.h"
#include "slot/mailbox.h"
#include "sys/ask.h"
#include "sys/barrier.h"
#include "sys/buffer.h"
#include "sys/capture.h"
#include "sys/guard.h"
#include "sys/large.h"
#include "sys/oom.h"
#include "sys/signals.h"
#include "sys/stdin.h"
#include "sys/streams.h"

/* A worker whose tasks are Lua functions. */
struct lua_worker {
  struct worker mailbox;
  struct output *output;
  struct buffer value;    /* an encoded value, from VALUE_OFFSET on */
  int value_tag;          /* it waits for the next block */
  struct codec_rest rest; /* of the value; what it belongs to is in the registry, under rest_key */
  struct capture_sink sink;
  const void *program; /* whose output the slot keeps; NULL: none's */
};

/* Registry: light userdata -> the job that a forked worker inherits. */
static const char job_key = 0;
/* ... -> the last large result, while its bytes are to be sent. */
static const char rest_key = 0;

/* The worker that this thread is: for what a task's own fork must not touch. */
static _Thread_local struct lua_worker *own_worker;

bool worker_is_thread(void)
{
  return own_worker && !own_worker->mailbox.is_process;
}

bool worker_is_given_up(void)
{
  return own_worker && __atomic_load_n(&own_worker->mailbox.slot->abandoned, __ATOMIC_SEQ_CST) != 0;
}

void worker_begin_program(const void *program, const char *name)
{
  if (!own_worker || own_worker->program) return;
  own_worker->program = program;
  worker_keep_program(&own_worker->mailbox, name);
}

void worker_note_written(const void *program, int stream, const void *bytes, size_t length)
{
  if (own_worker && own_worker->program == program) worker_keep(&own_worker->mailbox, stream, bytes, length);
}

void worker_end_program(const void *program)
{
  if (!own_worker || own_worker->program != program) return;
  own_worker->program = NULL;
  worker_keep_program(&own_worker->mailbox, NULL);
}

/* Keeps the value on the top of the stack, or lets go of the one before where that is nil; pops it. */
static void keep_result(lua_State *L)
{
  lua_pushlightuserdata(L, (void *)&rest_key);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

/* put(k, task, tag, value...): encodes the values into the open block as word k. Returns the block's room; or -1 when
 * it does not fit: then close the block and call flush; or nil and a message when it can't cross. */
static int put(lua_State *L)
{
  struct lua_worker *worker = lua_touserdata(L, lua_upvalueindex(1));
  uint64_t k = (uint64_t)lua_tonumber(L, 1);
  double task = lua_tonumber(L, 2);
  int tag = (int)lua_tonumber(L, 3), top = lua_gettop(L);
  worker->value.length = 0;
  if (buffer_reserve(&worker->value, VALUE_OFFSET)) return luaL_error(L, "not enough memory");
  worker->value.length = VALUE_OFFSET;
  if (codec_encode_open(L, 4, top - 3, "result", 0, &worker->value, &worker->rest)) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  struct block *block = worker_current(&worker->mailbox);
  if (worker->rest.bytes) {
    lua_settop(L, top);
    keep_result(L);
    worker->value_tag = tag;
    lua_pushnumber(L, -1);
  } else if (worker_place(&worker->value, block, task, k, tag)) {
    lua_pushnumber(L, worker_room(block));
  } else {
    worker->value_tag = tag;
    lua_pushnumber(L, -1);
  }
  return 1;
}

/* flush(task, kind): after the open block was closed, puts the value that did not fit: as the first word of a new block
 * (returns true: that block is open), or as a block of its own (returns false). */
static int flush_value(lua_State *L)
{
  struct lua_worker *worker = lua_touserdata(L, lua_upvalueindex(1));
  double task = lua_tonumber(L, 1);
  int kind = (int)lua_tonumber(L, 2);
  const struct codec_rest rest = worker->rest;
  bool fits = !rest.bytes && BLOCK_HEAD + 16 + value_bytes(worker->value.length - VALUE_OFFSET) <= BLOCK_BYTES;
  if (fits)
    worker_place(&worker->value, worker_open(&worker->mailbox, task, kind), task, 0, worker->value_tag);
  else
    worker_send_whole(&worker->mailbox, &worker->value, rest.bytes, rest.bytes ? rest.length : 0, task, kind,
                      worker->value_tag);
  if (rest.bytes) {
    lua_pushnil(L);
    keep_result(L);
  }
  lua_pushboolean(L, fits);
  return 1;
}

/* tag(pointer to the index of the running task, or nil): it stands before each line that tasks print. */
static int tag_output(lua_State *L)
{
  struct lua_worker *worker = lua_touserdata(L, lua_upvalueindex(1));
  const volatile double *index = NULL;
  if (!lua_isnoneornil(L, 1)) memcpy(&index, lua_topointer(L, 1), sizeof index);
  output_tag(worker->output, index);
  return 0;
}

int worker_value(lua_State *L)
{
  const void *cell = lua_topointer(L, 1);
  const struct block *block;
  int64_t offset = (int64_t)lua_tonumber(L, 2) * 8;
  uint64_t length;
  memcpy(&block, cell, sizeof block);
  uint64_t size = block->size, at = (uint64_t)offset;
  if (offset < BLOCK_HEAD || at + 8 > size) return luaL_error(L, "cannot decode: a value lies outside of its message");
  memcpy(&length, (const char *)block + at, 8);
  if (length > size - at - 8) return luaL_error(L, "cannot decode: a value lies outside of its message");
  int n = codec_decode_book(L, (const char *)block + at + 8, length, 0, lua_gettop(L) >= 3 ? 3 : 0);
  return n < 0 ? lua_error(L) : n;
}

/* Pages of address space that this process has. */
static long pages_in_use(void)
{
  long pages = 0;
  FILE *statm = fopen("/proc/self/statm", "r");
  if (!statm) return 0;
  if (fscanf(statm, "%ld", &pages) != 1) pages = 0;
  fclose(statm);
  return pages;
}

/* What limit_memory has set: the process's pages before, and bytes beyond them. */
static long first_pages;
static uint64_t memory_limit; /* 0: none */

/* has_grown(): does the worker hold more than half of its memory limit, so that the next task has less than it may
 * use? */
static int has_grown(lua_State *L)
{
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  if (memory_limit) large_give_up();
  long pages = memory_limit ? pages_in_use() - first_pages : 0;
  lua_pushboolean(L, pages > 0 && (uint64_t)pages * page > memory_limit / 2);
  return 1;
}

/* What the state's streams send. A copy that a task has forked has no part in the slot: what it prints is what a
 * program of the task writes. */
static void send_text(void *to, int stream, const char *bytes, size_t length)
{
  const struct worker *mailbox = to;
  if (!mailbox->is_copy)
    worker_print(to, stream, bytes, length);
  else
    for (ssize_t n; length > 0 && (n = write(stream, bytes, length)) > 0; length -= (size_t)n) bytes += n;
}

/* ---- what programs of tasks print ---- */

static size_t text_room(void *to)
{
  const struct lua_worker *worker = to;
  return output_room(worker->output, worker_text_room(&worker->mailbox));
}

static void put_captured(void *to, int stream, double task, const char *bytes, size_t length)
{
  output_put(((struct lua_worker *)to)->output, stream, task, bytes, length);
}

static double running_task(void *to)
{
  return output_task(((struct lua_worker *)to)->output);
}

static void hold_task(void *to, bool is_held)
{
  worker_hold(&((struct lua_worker *)to)->mailbox, is_held);
}

static void push_function(lua_State *L, struct lua_worker *worker, const char *name, lua_CFunction f)
{
  lua_pushlightuserdata(L, worker);
  lua_pushcclosure(L, f, 1);
  lua_setfield(L, -2, name);
}

/* A task has called fork: its child may go on as it likes, but there is one worker. The child's slot becomes memory of
 * its own, where nobody sees what it does, and it ends when the task does. */
static void part_from_parent(void)
{
  if (!own_worker) return;
  own_worker->mailbox.is_copy = true;
  output_forget(own_worker->output);
  stdin_part();
  slot_part(own_worker->mailbox.slot);
}

static void watch_forks(void)
{
  pthread_atfork(NULL, NULL, part_from_parent);
}

/* Before the end of a chunk: what its tasks have printed, half lines too. */
static void flush_output(void *context)
{
  capture_settle();
  output_flush(((struct lua_worker *)context)->output);
}

/* What the protected part of a worker's life is told. */
struct life {
  struct lua_worker *worker;
  bool owns_process; /* C's own stdout is the worker's too */
};

/* Runs lua/parlua/worker/init.lua up to the worker's end; called protected, with a struct life. */
static int live(lua_State *L)
{
  struct life *life = lua_touserdata(L, 1);
  struct lua_worker *worker = life->worker;
  lua_pushlightuserdata(L, (void *)&job_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  bool inherits = !lua_isnil(L, 2);
  worker->output = output_install(L, send_text, &worker->mailbox, life->owns_process);
  if (life->owns_process) capture_open(&worker->sink);
  if (!inherits) lua_gc(L, LUA_GCSTOP, 0); /* nothing of what is loaded is garbage */
  state_push_global(L, "require");
  lua_pushliteral(L, "parlua.worker");
  lua_call(L, 1, 1);
  if (!inherits) state_collect_later(L);
  lua_getfield(L, -1, "main");
  lua_createtable(L, 0, 7);
  lua_pushlightuserdata(L, &worker->mailbox);
  lua_setfield(L, -2, "pointer");
  lua_pushboolean(L, life->owns_process);
  lua_setfield(L, -2, "owns_process");
  push_function(L, worker, "put", put);
  push_function(L, worker, "flush", flush_value);
  push_function(L, worker, "tag", tag_output);
  push_function(L, worker, "has_grown", has_grown);
  lua_pushvalue(L, 2);
  lua_call(L, 2, 0);
  return 0;
}

/* Has the worker claimed its first chunk, and begun no task? What fails later may be a task's doing, and another worker
 * goes on. */
static bool is_before_first(const struct slot *slot)
{
  return slot->begun && slot->current == 0 && slot->done == 0;
}

/* The worker's own code has failed: tells the run why; called protected, with the reason. */
static int give_up(lua_State *L)
{
  const char *why = lua_touserdata(L, 1);
  state_push_global(L, "require");
  lua_pushliteral(L, "parlua.worker");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "give_up");
  lua_pushstring(L, why);
  lua_call(L, 1, 0);
  return 0;
}

/* The life of a worker. Whatever a task did to its state, nothing is raised here: in a forked worker an error would go
 * on to the script's own protected calls, and a copy of the script would run on. Returns false when the worker's own
 * code failed. */
static bool run(lua_State *L, struct slot *slot, const struct bell *bell, bool owns_process)
{
  struct lua_worker worker = {.mailbox = {.is_process = owns_process, .before_final = flush_output, .context = &worker},
                              .sink = {&worker, text_room, put_captured, running_task, hold_task}};
  struct life life = {&worker, owns_process};
  static pthread_once_t watched = PTHREAD_ONCE_INIT;
  pthread_once(&watched, watch_forks);
  worker_open_mailbox(&worker.mailbox, slot, bell);
  worker.mailbox.value = &worker.value;
  barrier_join();
  own_worker = &worker;
  int status = lua_cpcall(L, live, &life);
  bool is_text = status && lua_type(L, -1) == LUA_TSTRING;
  const char *why = is_text ? lua_tostring(L, -1) : "its own code raised a value that is no string";
  if (status == LUA_ERRMEM && slot->current > 0)
    slot->starved = 1; /* the task's failure says it */
  else if (status && !(is_before_first(slot) && lua_cpcall(L, give_up, (void *)why) == 0))
    fprintf(stderr, "parlua: worker %u: %s\n", (unsigned)slot->id, why);
  own_worker = NULL;
  if (owns_process) capture_close();
  output_close(worker.output);
  worker_close_mailbox(&worker.mailbox);
  buffer_free(&worker.value);
  return status == 0;
}

/* A state of the worker's own; NULL, and told, when there is no memory for one. */
static lua_State *own_state(const struct slot *slot)
{
  lua_State *L = state_new();
  if (!L) fprintf(stderr, "parlua: worker %u: not enough memory for a Lua state\n", (unsigned)slot->id);
  return L;
}

static void run_thread(struct slot *slot, const struct bell *bell)
{
  lua_State *L = own_state(slot);
  if (!L) return;
  run(L, slot, bell, false);
  state_close(L);
}

/* ---- a worker that is a process ---- */

static void limit_memory(uint64_t bytes)
{
  struct rlimit limit;
  first_pages = pages_in_use();
  memory_limit = bytes;
  limit.rlim_cur = limit.rlim_max = bytes + (uint64_t)first_pages * (uint64_t)sysconf(_SC_PAGESIZE);
  setrlimit(RLIMIT_AS, &limit);
}

/* A task ends its process. */
static void flush_own_output(void)
{
  if (!own_worker) return;
  capture_close();
  output_flush(own_worker->output);
}

static _Noreturn void run_process(lua_State *L, struct slot *slot, const struct bell *bell)
{
  streams_end_quietly(flush_own_output);
  bool ran = run(L, slot, bell, true);
  streams_flush();
  _exit(!ran);
}

static void prepare_process(uint64_t memory)
{
  ask_leave();
  capture_watch_forks();
  guard_enter_worker();
  oom_volunteer();
  if (memory) limit_memory(memory);
}

static __attribute__((noreturn)) void run_own_process(struct slot *slot, const struct bell *bell, uint64_t memory)
{
  prepare_process(memory);
  lua_State *L = own_state(slot);
  if (!L) _exit(1);
  run_process(L, slot, bell);
}

static __attribute__((noreturn)) void run_forked(void *context, struct slot *slot, const struct bell *bell,
                                                 uint64_t memory)
{
  const struct worker_heritage *heritage = context;
  lua_State *L = heritage->L;
  prepare_process(memory);
  luaJIT_profile_stop(L); /* its timer stays behind, but compiled code would go on to look (terminal.c) */
  lua_rawgeti(L, LUA_REGISTRYINDEX, heritage->job);
  lua_pushlightuserdata(L, (void *)&job_key);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_gc(L, LUA_GCRESTART,
         -1); /* no collection before the heap has doubled: marking what was inherited copies its pages */
  run_process(L, slot, bell);
}

const struct worker_bodies worker_bodies = {run_thread, run_own_process, run_forked};
