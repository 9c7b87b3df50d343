/* threads.c - run by spec/threads_rest_spec.lua: which workers that are threads count as in a task
 * (src/engines/threads.c). A thread here does what it is told, step by step. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "engines/engine.h"

extern const struct engine_kind engine_threads;

enum { LIMIT = 60000 }; /* milliseconds: far longer than anything here takes */

/* Turns between the thread and main: each posts the other's. */
static sem_t to_thread, to_main;
static enum { PARK, LEAVE_PARK, END } order;

static void live(struct slot *slot, const struct bell *bell)
{
  (void)bell;
  for (;;) {
    sem_wait(&to_thread);
    if (order == PARK) __atomic_store_n(&slot->parked, 1, __ATOMIC_SEQ_CST);
    if (order == LEAVE_PARK) __atomic_store_n(&slot->parked, 0, __ATOMIC_SEQ_CST);
    bool is_over = order == END;
    sem_post(&to_main);
    if (is_over) return;
  }
}

const struct worker_bodies worker_bodies = {.thread = live};

static void tell(int what)
{
  order = what;
  sem_post(&to_thread);
  sem_wait(&to_main);
}

static void expect(const char *what, uint32_t in_tasks, uint32_t given_up)
{
  if (threads_in_tasks() != in_tasks || threads_given_up() != given_up) fail(what);
}

static void start(struct engine *engine)
{
  if (engine_open(engine, &engine_threads, 1) || engine_start(engine, 0)) fail("a thread could not be started");
}

static void send(struct slot *slot)
{
  struct block message = {.kind = BLOCK_CHUNK, .first = 1, .last = 1, .size = BLOCK_HEAD, .floor = BLOCK_HEAD};
  uint64_t sent = 0;
  uint32_t place;
  if (!slot_send(slot, &message, &sent, &place)) fail("there is no room for a message");
}

/* As the worker takes, and releases, the message. */
static void release(struct slot *slot)
{
  __atomic_store_n(&slot->in.head, slot->in.head + 1, __ATOMIC_SEQ_CST);
}

static void check_tasks(void)
{
  struct engine engine;
  int status;
  start(&engine);
  struct slot *slot = engine.slots[0];
  expect("a thread that begins is not at rest: it may hold a lock", 1, 0);
  tell(PARK);
  expect("a thread that waits for a message, and has none, is at rest", 0, 0);
  send(slot);
  expect("a thread that has a message is about to begin it, though it does not know yet", 1, 0);
  tell(LEAVE_PARK);
  expect("a thread in a task is in a task", 1, 0);
  release(slot);
  expect("a thread that has ended its message, and does not wait yet, is not at rest", 1, 0);
  tell(PARK);
  expect("a thread that waits again is at rest", 0, 0);
  tell(LEAVE_PARK);
  tell(END);
  const struct timespec nap = {.tv_nsec = 1000000};
  for (int n = 0; threads_in_tasks() > 0; n++, nanosleep(&nap, NULL))
    if (n == LIMIT) fail("a thread that has ended is in a task, until somebody asks whether it has ended");
  while (!engine.kind->ended(&engine, 0, &status)) nanosleep(&nap, NULL);
  expect("a thread that has ended is in no task", 0, 0);
  engine.alive[0] = false;
  engine_close(&engine);
}

/* A thread that was given up counts until it has ended, whatever becomes of its engine; and not for ever. */
static void check_given_up(void)
{
  struct engine engine;
  const struct timespec nap = {.tv_nsec = 1000000};
  start(&engine);
  struct remains *remains = engine.remains;
  struct slot *slot = engine.slots[0];
  uint32_t rung = slot->bell;
  remains->users++;
  slot->asleep = 1; /* it waits for room, say */
  if (engine.kind->end(&engine, 0)) fail("a thread could not be given up");
  if (slot->bell == rung) fail("a thread that sleeps is not woken as it is given up: it never ends");
  expect("a thread that was given up is still in its task", 1, 1);
  if (remains->abandoned != 1) fail("its engine does not know that a thread was given up");
  engine_close(&engine);
  expect("so it is when its engine is closed", 1, 1);
  tell(END);
  for (int n = 0; threads_given_up() > 0; n++, nanosleep(&nap, NULL))
    if (n == LIMIT) fail("a thread that was given up, and has ended, counts as one that was given up");
  expect("nothing is left of it", 0, 0);
  while (__atomic_load_n(&remains->users, __ATOMIC_SEQ_CST) > 1) nanosleep(&nap, NULL);
  if (remains->abandoned != 0) fail("its engine counts it as given up for ever: so many, and no run may go on");
  remains_leave(remains);
}

int main(void)
{
  sem_init(&to_thread, 0, 0);
  sem_init(&to_main, 0, 0);
  check_tasks();
  check_given_up();
  puts("all holds");
  return 0;
}
