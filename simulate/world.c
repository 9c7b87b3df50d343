/* world.c - see world.h. */
#include "world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"
#include "switch.h"

struct world world;

static uint64_t state[2];

/* ---- chance ---- */

uint64_t hash_of(uint64_t a, uint64_t b)
{
  uint64_t x = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u; /* splitmix64 (Steele, Lea, Flood, 2014) */
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

uint64_t random_word(void)
{
  return hash_of(state[0], ++state[1]);
}

double unit_of(uint64_t hash)
{
  return (double)(hash >> 11) / 9007199254740992.0;
}

double random_unit(void)
{
  return unit_of(random_word());
}

uint32_t random_below(uint32_t most)
{
  return most < 2 ? 0 : (uint32_t)(random_word() >> 32) % most;
}

bool random_chance(double probability)
{
  return probability > 0 && random_unit() < probability;
}

double random_spread(double least, double most)
{
  return least * exp(random_unit() * log(most / least));
}

double random_about(double mean)
{
  return mean > 0 ? -log(1 - random_unit()) * mean : 0;
}

/* ---- timers: a heap ---- */

struct timer {
  double at;
  uint64_t order, which;
  timer_function *call;
  void *what;
};

static struct timer *timers;
static uint32_t timers_count, timers_room;
static uint64_t timers_made;

static bool is_before(const struct timer *a, const struct timer *b)
{
  return a->at < b->at || (a->at == b->at && a->order < b->order);
}

void world_at(double at, timer_function *call, void *what, uint64_t which)
{
  if (timers_count == timers_room) {
    timers_room = timers_room ? 2 * timers_room : 4096;
    timers = memory_own(timers, timers_room * sizeof *timers);
  }
  struct timer timer = {at, timers_made++, which, call, what};
  uint32_t i = timers_count++;
  for (; i > 0 && is_before(&timer, &timers[(i - 1) / 2]); i = (i - 1) / 2) timers[i] = timers[(i - 1) / 2];
  timers[i] = timer;
}

static struct timer take_timer(void)
{
  struct timer first = timers[0], last = timers[--timers_count];
  uint32_t i = 0;
  for (uint32_t child; (child = 2 * i + 1) < timers_count; i = child) {
    if (child + 1 < timers_count && is_before(&timers[child + 1], &timers[child])) child++;
    if (!is_before(&timers[child], &last)) break;
    timers[i] = timers[child];
  }
  timers[i] = last;
  return first;
}

/* ---- fibers ---- */

enum fiber_state { FIBER_DEAD, FIBER_READY, FIBER_WAITING };

enum { STACK_BYTES = 1 << 20, MOST_TURN = 48 };

struct fiber {
  void *stack, *at;
  fiber_function *body;
  void *what;
  enum fiber_state state;
  uint64_t turn;  /* counts waits, so that a timer for an old one is not taken for the present one */
  const void *on; /* what it waits for */
  uint32_t place; /* in `ready` */
  struct fiber *next_free;
};

static struct fiber *running, *spare, **ready, **all;
static uint32_t ready_count, ready_room, all_count, all_room, alive;
static void *main_stack;
static uint32_t until_turn; /* accesses of the coordinator's before others have one */
static int budget;          /* atomic accesses that the running fiber may still make in its turn */

static void set_ready(struct fiber *fiber)
{
  if (ready_count == ready_room) {
    ready_room = ready_room ? 2 * ready_room : 256;
    ready = memory_own(ready, ready_room * sizeof(struct fiber *));
  }
  fiber->state = FIBER_READY;
  fiber->place = ready_count;
  ready[ready_count++] = fiber;
}

static void unset_ready(struct fiber *fiber)
{
  struct fiber *last = ready[--ready_count];
  ready[fiber->place] = last;
  last->place = fiber->place;
}

static void begin_fiber(void)
{
  running->body(running->what);
  fiber_end();
}

static struct fiber *new_fiber(void)
{
  struct fiber *fiber = spare;
  if (fiber) {
    spare = fiber->next_free;
    return fiber;
  }
  if (all_count == all_room) {
    all_room = all_room ? 2 * all_room : 256;
    all = memory_own(all, all_room * sizeof(struct fiber *));
  }
  fiber = memory_own(NULL, sizeof *fiber);
  memset(fiber, 0, sizeof *fiber);
  fiber->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (fiber->stack == MAP_FAILED) fault("no memory for a simulated worker's stack");
  all[all_count++] = fiber;
  return fiber;
}

struct fiber *fiber_start(fiber_function *body, void *what)
{
  struct fiber *fiber = new_fiber();
  fiber->body = body;
  fiber->what = what;
  fiber->at = switch_prepare((char *)fiber->stack + STACK_BYTES, begin_fiber);
  fiber->turn++;
  alive++;
  set_ready(fiber);
  return fiber;
}

static void bury_fiber(struct fiber *fiber)
{
  if (fiber->state == FIBER_READY) unset_ready(fiber);
  fiber->state = FIBER_DEAD;
  fiber->turn++;
  fiber->on = NULL;
  alive--;
  fiber->next_free = spare;
  spare = fiber;
}

void fiber_kill(struct fiber *fiber)
{
  if (fiber->state != FIBER_DEAD) bury_fiber(fiber);
}

struct fiber *fiber_running(void)
{
  return running;
}

void *fiber_what(const struct fiber *fiber)
{
  return fiber->what;
}

static void leave(void)
{
  struct fiber *fiber = running;
  running = NULL;
  switch_stack(&fiber->at, main_stack);
}

void fiber_yield(void)
{
  leave();
}

static void end_wait(void *what, uint64_t turn)
{
  struct fiber *fiber = what;
  if (fiber->state == FIBER_WAITING && fiber->turn == turn) set_ready(fiber);
}

void fiber_wait(const void *on, double most)
{
  struct fiber *fiber = running;
  unset_ready(fiber);
  fiber->state = FIBER_WAITING;
  fiber->on = on;
  fiber->turn++;
  if (most > 0) world_at(world.now + most, end_wait, fiber, fiber->turn);
  leave();
  fiber->on = NULL;
}

void fiber_sleep(double seconds)
{
  if (seconds > 0) fiber_wait(NULL, seconds);
}

void fiber_wake(const void *on)
{
  for (uint32_t i = 0; i < all_count; i++)
    if (all[i]->state == FIBER_WAITING && all[i]->on == on) set_ready(all[i]);
}

void fiber_wake_one(struct fiber *fiber, const void *on)
{
  if (fiber->state == FIBER_WAITING && fiber->on == on) set_ready(fiber);
}

_Noreturn void fiber_end(void)
{
  struct fiber *fiber = running;
  bury_fiber(fiber);
  leave();
  abort();
}

void fibers_clear(void)
{
  for (uint32_t i = 0; i < all_count; i++) fiber_kill(all[i]);
  spare = NULL;
  for (uint32_t i = all_count; i-- > 0;) { /* in the order in which a new process would make them */
    all[i]->next_free = spare;
    spare = all[i];
  }
}

uint32_t fibers_alive(void)
{
  return alive;
}

static void take_turn(struct fiber *fiber)
{
  running = fiber;
  budget = 1 + (int)random_below(MOST_TURN);
  if (world.turn) world.turn(fiber->what);
  switch_stack(&main_stack, fiber->at);
  running = NULL;
  if (world.turn) world.turn(NULL);
}

/* ---- what happens ---- */

void world_begin(uint64_t seed)
{
  world = (struct world){.now = 1000, .progress_at = 1000, .patience = 60};
  state[0] = seed;
  state[1] = 0;
  timers_count = 0;
  until_turn = 0;
  fibers_clear();
}

void world_progress(void)
{
  world.progress_at = world.idle_since = world.now;
  world.idle = 0;
}

void world_look(void)
{
  enum { MOST_IDLE = 30000000 }; /* in a second: many ranks look often while one task takes long */
  double seconds = world.now - fmax(world.progress_at, world.held_until);
  if (world.now - world.idle_since > 1) {
    world.idle_since = world.now;
    world.idle = 0;
  }
  if (++world.idle > MOST_IDLE) fault("the run goes round without anything going on");
  if (seconds > world.patience) fault("nothing has gone on for %.0f seconds: the run hangs", seconds);
}

static bool run_timer(double limit)
{
  if (timers_count == 0 || timers[0].at > limit) return false;
  struct timer timer = take_timer();
  if (timer.at > world.now) world.now = timer.at;
  world.events++;
  timer.call(timer.what, timer.which);
  return true;
}

bool world_step(double limit)
{
  if (run_timer(world.now)) return true;
  if (ready_count == 0) return run_timer(limit);
  world.events++;
  world.now += world.tick;
  take_turn(ready[random_below(ready_count)]);
  return true;
}

void world_run_until(double until)
{
  while (world.now < until && world_step(until)) continue;
  if (world.now < until) world.now = until;
}

/* The hook of interleave.h. */
void interleave(int is_store);
void worker_stores(void);  /* workers.c: what the running worker has stored becomes visible */
void worker_may_die(void); /* likewise: it may die here */

void interleave(int is_store)
{
  static const double longest_away = 1e-3;
  if (world.access) {
    world.access();
    return;
  }
  if (running) {
    if (is_store) worker_stores();
    worker_may_die();
    if (--budget <= 0) fiber_yield();
    return;
  }
  if (world.slice == 0 || until_turn-- > 0) return;
  until_turn = random_below(world.slice);
  while (run_timer(world.now)) continue;
  for (uint32_t turns = 1 + random_below(3); turns > 0 && ready_count > 0; turns--) world_step(world.now);
  if (!random_chance(world.preempted)) return;
  for (uint32_t turns = 1 + random_below(20); turns > 0; turns--) world_step(world.now + longest_away);
}
