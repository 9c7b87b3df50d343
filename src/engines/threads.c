/* engine_threads.c - workers are threads, each with a LuaJIT state of its own, kept between runs. A thread that does not answer
 * can't be ended: it is abandoned, and ends by itself when its task does. A crash in one ends the whole program. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/engine.h"
#include "lua/state.h"
#include "lua/worker.h"

/* What a thread works on; it frees this, and the slot, when it was abandoned. */
struct thread {
  pthread_t id;
  struct slot *slot;
  struct bell bell;
  struct remains *remains; /* the engine's */
  bool ended;
  uint32_t left; /* set by the first of: the coordinator that abandons, the thread that ends */
};

struct threads {
  struct thread *thread;
};

/* Called by both sides of an abandoned thread; the second frees what they shared. */
static void leave_thread(struct thread *thread)
{
  if (!__atomic_exchange_n(&thread->left, 1, __ATOMIC_SEQ_CST)) return;
  slot_unmap(thread->slot);
  __atomic_fetch_sub(&thread->remains->abandoned, 1, __ATOMIC_SEQ_CST);
  remains_leave(thread->remains);
  free(thread);
}

static void *run_thread(void *argument)
{
  struct thread *thread = argument;
  lua_State *L = state_new();
  if (L) {
    worker_main(L, thread->slot, &thread->bell);
    state_close(L);
  } else {
    fprintf(stderr, "parlua: worker %u: not enough memory for a Lua state\n", (unsigned)thread->slot->id);
  }
  struct bell bell = thread->bell;
  __atomic_store_n(&thread->ended, true, __ATOMIC_SEQ_CST);
  bell_ring(&bell);
  leave_thread(thread);
  return NULL;
}

static void on_broken_pipe(int number)
{
  if ((pid_t)syscall(SYS_gettid) != getpid()) return;
  signal(number, SIG_DFL);
  raise(number);
}

/* A task that writes to a pipe which nobody reads gets an error; the script ends, as any program does. Threads don't block signals,
 * as programs that tasks run would inherit that: see on_signal in sys/hub.c. */
static void keep_broken_pipes_off(void)
{
  struct sigaction action = {.sa_handler = on_broken_pipe, .sa_flags = SA_RESTART}, before;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGPIPE, NULL, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(SIGPIPE, &action, NULL);
}

static int threads_start(struct engine *engine, uint32_t w, lua_State *L, int job)
{
  struct threads *own = engine_own(engine, w);
  struct thread *thread = calloc(1, sizeof *thread);
  (void)L;
  (void)job;
  if (!thread) return ENOMEM;
  thread->slot = engine->slots[w];
  thread->bell = engine->hub.bell;
  thread->remains = engine->remains;
  keep_broken_pipes_off();
  int error = pthread_create(&thread->id, NULL, run_thread, thread);
  if (error)
    free(thread);
  else
    own->thread = thread;
  return error;
}

/* Leaves the thread alone: its slot is its own from here on. */
static void abandon(struct engine *engine, uint32_t w)
{
  struct threads *own = engine_own(engine, w);
  struct thread *thread = own->thread;
  __atomic_fetch_add(&engine->remains->abandoned, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&engine->remains->users, 1, __ATOMIC_SEQ_CST);
  __atomic_store_n(&thread->slot->abandoned, 1, __ATOMIC_SEQ_CST);
  pthread_detach(thread->id);
  slot_wake(thread->slot);
  engine->slots[w] = NULL;
  own->thread = NULL;
  engine->alive[w] = false;
  leave_thread(thread);
}

static int threads_kill(struct engine *engine, uint32_t w)
{
  abandon(engine, w);
  return 0;
}

/* A thread ends before it was told to when its own code fails, or it finds no memory to begin. */
static bool threads_ended(struct engine *engine, uint32_t w, int *status)
{
  struct threads *own = engine_own(engine, w);
  if (!own->thread || !__atomic_load_n(&own->thread->ended, __ATOMIC_SEQ_CST)) return false;
  pthread_join(own->thread->id, NULL);
  free(own->thread);
  own->thread = NULL;
  *status = 1 << 8; /* as a process that exits with status 1 */
  return true;
}

static void threads_join(struct engine *engine, uint32_t w, double seconds)
{
  struct threads *own = engine_own(engine, w);
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += (time_t)seconds;
  if (pthread_timedjoin_np(own->thread->id, NULL, &deadline) == 0) {
    free(own->thread);
    own->thread = NULL;
  } else {
    abandon(engine, w);
  }
}

const struct engine_ops engine_threads = {
    .name = "threads",
    .flags = SHARES_MEMORY | CAN_ABANDON,
    .own_bytes = sizeof(struct threads),
    .start = threads_start,
    .kill = threads_kill,
    .ended = threads_ended,
    .join = threads_join,
};
