/* threads.c - workers are threads, each with a LuaJIT state of its own, kept between runs. A thread that does not
 * answer can't be ended: it is abandoned, and ends by itself when its task does. A crash in one ends the
 * whole program. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "engines/engine.h"
#include "sys/list.h"
#include "sys/signals.h"

/* What a thread works on; it frees this, and the slot, when it was abandoned. */
struct thread {
  pthread_t id;
  struct link link; /* in `present`, until it is joined or abandoned */
  struct slot *slot;
  struct bell bell;
  struct remains *remains; /* the engine's */
  bool ended;
  uint32_t left; /* set by the first of: the coordinator that abandons, the thread that ends */
};

struct threads {
  struct thread *thread;
};

/* All threads of this process, whatever engine they belong to: a fork concerns them all. The script's thread looks, and
 * those that go on with its runs while it does other things (run/attendant.h). */
static struct link present = {&present, &present};
static pthread_mutex_t present_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t abandoned_in_all;

/* Called by both sides of an abandoned thread; the second frees what they shared. */
static void leave_thread(struct thread *thread)
{
  if (!__atomic_exchange_n(&thread->left, 1, __ATOMIC_SEQ_CST)) return;
  slot_unmap(thread->slot);
  __atomic_fetch_sub(&thread->remains->abandoned, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_sub(&abandoned_in_all, 1, __ATOMIC_SEQ_CST);
  remains_leave(thread->remains);
  free(thread);
}

static void add_present(struct thread *thread)
{
  pthread_mutex_lock(&present_lock);
  list_append(&present, &thread->link);
  pthread_mutex_unlock(&present_lock);
}

static void remove_present(struct thread *thread)
{
  pthread_mutex_lock(&present_lock);
  link_remove(&thread->link);
  pthread_mutex_unlock(&present_lock);
}

static void *run_thread(void *argument)
{
  struct thread *thread = argument;
  struct bell bell = thread->bell;
  worker_bodies.thread(thread->slot, &bell);
  __atomic_store_n(&thread->ended, true, __ATOMIC_SEQ_CST);
  bell_ring(&bell);
  leave_thread(thread);
  return NULL;
}

/* Tasks raise signals, and write to pipes that nobody reads: the script's are not ended by that. Threads don't block
 * signals, as programs that tasks run would inherit that (see signals_pass_to_main); these handlers they
 * don't inherit. */
static void keep_signals_off(void)
{
  static const int left_alone[] = {SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD, SIGURG, SIGWINCH};
  static bool is_done;
  if (is_done) return;
  is_done = true;
  for (int number = 1; number < SIGRTMIN && number < 32; number++) {
    bool is_left = false;
    for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++) is_left |= left_alone[i] == number;
    if (!is_left) signals_keep_off(number);
  }
}

static int threads_start(struct engine *engine, uint32_t w)
{
  struct threads *own = engine_own(engine, w);
  struct thread *thread = calloc(1, sizeof *thread);
  if (!thread) return ENOMEM;
  thread->slot = engine->slots[w];
  thread->bell = hub_bell(&engine->hub, w);
  thread->remains = engine->remains;
  keep_signals_off();
  int error = pthread_create(&thread->id, NULL, run_thread, thread);
  if (error) {
    free(thread);
    return error;
  }
  add_present(thread);
  own->thread = thread;
  return 0;
}

/* Leaves the thread alone: its slot is its own from here on. */
static int threads_end(struct engine *engine, uint32_t w)
{
  struct threads *own = engine_own(engine, w);
  struct thread *thread = own->thread;
  remove_present(thread);
  __atomic_fetch_add(&engine->remains->abandoned, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&engine->remains->users, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&abandoned_in_all, 1, __ATOMIC_SEQ_CST);
  __atomic_store_n(&thread->slot->abandoned, 1, __ATOMIC_SEQ_CST);
  pthread_detach(thread->id);
  slot_wake(thread->slot);
  engine->slots[w] = NULL;
  own->thread = NULL;
  engine->alive[w] = false;
  leave_thread(thread);
  return 0;
}

/* A thread ends when it was told to, or when its own code fails, or it finds no memory to begin. */
static bool threads_ended(struct engine *engine, uint32_t w, int *status)
{
  struct threads *own = engine_own(engine, w);
  if (own->thread) {
    if (!__atomic_load_n(&own->thread->ended, __ATOMIC_SEQ_CST)) return false;
    pthread_join(own->thread->id, NULL);
    remove_present(own->thread);
    free(own->thread);
    own->thread = NULL;
  }
  *status = 1 << 8; /* as a process that exits with status 1 */
  return true;
}

uint32_t threads_given_up(void)
{
  return __atomic_load_n(&abandoned_in_all, __ATOMIC_SEQ_CST);
}

uint32_t threads_in_tasks(void)
{
  uint32_t count = threads_given_up();
  pthread_mutex_lock(&present_lock);
  for (const struct link *link = present.next; link != &present; link = link->next) {
    const struct thread *thread = LIST_OF(link, const struct thread, link);
    bool is_parked = __atomic_load_n(&thread->slot->parked, __ATOMIC_SEQ_CST) && channel_filled(&thread->slot->in) == 0;
    count += !is_parked && !__atomic_load_n(&thread->ended, __ATOMIC_SEQ_CST);
  }
  pthread_mutex_unlock(&present_lock);
  return count;
}

const struct engine_kind engine_threads = {
    .name = "threads",
    .can = {.share_memory = true, .abandon = true},
    .rings_at_end = true,
    .own_bytes = sizeof(struct threads),
    .start = threads_start,
    .end = threads_end,
    .ended = threads_ended,
};
