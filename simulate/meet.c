/* meet.c - see meet.h. */
#include "meet.h"

#include <math.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "slot/mailbox.h"
#include "sys/hub.h"
#include "system.h"
#include "world.h"

/* src/sys/hub.c as it ships (shipped_hub.h). */
int shipped_hub_sleep(struct hub *hub, double seconds, uint32_t *ended, int most);
int virtual_pwait2(int poll_fd, struct epoll_event *events, int most, const struct timespec *time, const void *signals);

enum { WORKERS = 2, NEWS = 2, ALL = 1 << 30, MOST_WITHIN = 24 };

static const double patience = 1; /* seconds; nothing here takes as long, unless somebody sleeps on */

/* The order of one meeting, counted in atomic accesses. */
struct order {
  uint32_t before; /* the worker makes so many, then the coordinator begins */
  uint32_t at;     /* before its access of this number, counted from 0, the coordinator is interrupted, */
  uint32_t within; /* and the worker makes so many more; then both go on to the end, the coordinator first */
};

static struct {
  struct order order;
  uint32_t made;          /* accesses of the coordinator */
  uint32_t left;          /* that the worker may still make */
  bool is_held;           /* the worker has made these, and would go on */
  uint32_t told[WORKERS]; /* news of each: it rings for every one */
  bool has_received, has_overslept;
  struct hub hub;
  struct worker worker;
} meeting;

/* Lets the worker make so many accesses. False: it sleeps or has ended before. */
static bool let_worker(uint32_t accesses)
{
  meeting.left = accesses;
  meeting.is_held = false;
  while (!meeting.is_held && world_step(world.now + patience / 2)) continue;
  return meeting.is_held;
}

static void access_made(void)
{
  if (!fiber_running()) {
    if (meeting.made++ == meeting.order.at) let_worker(meeting.order.within);
    return;
  }
  for (; meeting.left == 0; fiber_yield()) meeting.is_held = true;
  meeting.left--;
}

/* A new world, in which the worker makes the first accesses; false: it has not as many to make. */
static bool begin(struct order order, fiber_function *body)
{
  world_begin(1);
  system_begin();
  system_faults = (struct system_faults){0};
  memset(&meeting, 0, sizeof meeting);
  meeting.order = order;
  hub_open(&meeting.hub, WORKERS);
  meeting.worker.bell = hub_bell(&meeting.hub, 0);
  world.access = access_made;
  fiber_start(body, NULL);
  return let_worker(order.before);
}

/* Both have nothing left to do. */
static void end(void)
{
  let_worker(ALL);
  world.access = NULL;
  hub_close(&meeting.hub);
}

/* Calls `meet` with every order. It says how far it came: whether the worker, or the coordinator, had ended or slept
 * before it was interrupted. */
enum came { WORKER_ENDS_BEFORE, COORDINATOR_ENDS_BEFORE, MET };

static void try_all(enum came (*meet)(struct order order))
{
  enum came came = MET;
  for (struct order order = {0}; came != WORKER_ENDS_BEFORE; order.before++) {
    came = MET;
    for (order.at = 0; came == MET; order.at++)
      for (order.within = 1; came == MET && order.within <= MOST_WITHIN; order.within++) came = meet(order);
  }
}

static enum came came_of(bool worker_goes_on)
{
  if (!worker_goes_on) return WORKER_ENDS_BEFORE;
  return meeting.made > meeting.order.at ? MET : COORDINATOR_ENDS_BEFORE;
}

static void expect(bool is_well, const char *what)
{
  const struct order *order = &meeting.order;
  if (!is_well)
    fault("%s (the worker makes %u atomic accesses, then the coordinator %u, the worker %u more, then the coordinator)",
          what, (unsigned)order->before, (unsigned)order->at, (unsigned)order->within);
}

/* ---- the coordinator sleeps ---- */

int virtual_pwait2(int poll_fd, struct epoll_event *events, int most, const struct timespec *time, const void *signals)
{
  static const uint32_t bell_mark = 0xffffffff;
  (void)poll_fd, (void)most, (void)time, (void)signals;
  meeting.left = ALL;
  if (!system_wait_bell(world.now + patience)) {
    meeting.has_overslept = true;
    return 0;
  }
  events[0] = (struct epoll_event){.events = EPOLLIN, .data.u32 = bell_mark};
  return 1;
}

static uint32_t workers_telling;

static void tell(void *what)
{
  (void)what;
  for (uint32_t i = 0; i < NEWS; i++) {
    struct bell bell = hub_bell(&meeting.hub, i % workers_telling);
    access_made(); /* both may be interrupted here too */
    meeting.told[bell.number]++;
    bell_ring(&bell);
  }
}

/* The coordinator looks and sleeps until it has seen all news. */
static enum came meet_sleeping_coordinator(struct order order)
{
  bool goes_on = begin(order, tell);
  uint32_t number, seen[WORKERS] = {0};
  while (goes_on && seen[0] + seen[1] < NEWS && !meeting.has_overslept) {
    hub_expect_long(&meeting.hub);
    shipped_hub_sleep(&meeting.hub, 2 * patience, NULL, 0);
    while (hub_next_ready(&meeting.hub, &number)) seen[number] = meeting.told[number];
  }
  expect(!meeting.has_overslept, "the coordinator sleeps, though a worker has rung");
  end();
  return came_of(goes_on);
}

/* ---- the worker sleeps ---- */

static struct slot *slot;

static void receive(void *what)
{
  (void)what;
  meeting.worker.slot = slot;
  meeting.has_received = worker_receive(&meeting.worker)->kind == BLOCK_CHUNK;
}

/* The coordinator sends one message, for which the worker waits. */
static enum came meet_sleeping_worker(struct order order)
{
  static const struct block message = {
      .first = 1, .last = 1, .size = BLOCK_BYTES, .floor = BLOCK_BYTES, .kind = BLOCK_CHUNK};
  uint64_t sent = 0;
  uint32_t place;
  slot_reset(slot);
  bool goes_on = begin(order, receive);
  slot_send(slot, &message, &sent, &place);
  enum came came = came_of(goes_on);
  end();
  expect(meeting.has_received, "the worker sleeps, though it was sent a message");
  return came;
}

/* ---- a chunk is cut, or taken back, while its worker goes on ---- */

/* Chunks of two tasks each, but the first: task 1 is in chunk 1. One more than there are places. */
enum {
  CHUNKS = CHANNEL_BLOCKS + 1,
  FIRST_TASKS = 3,
  OTHER_TASKS = 2,
  TASKS = FIRST_TASKS + (CHUNKS - 1) * OTHER_TASKS
};

static uint32_t ran[TASKS + 1]; /* how often each task has begun */

static double last_of(uint32_t chunk)
{
  return FIRST_TASKS + (chunk - 1) * OTHER_TASKS;
}

static double first_of(uint32_t chunk)
{
  return chunk == 1 ? 1 : last_of(chunk - 1) + 1;
}

/* The worker runs chunks as that of lua/parlua/worker does. */
static void run_chunks(void *what)
{
  struct worker *worker = &meeting.worker;
  (void)what;
  worker->slot = slot;
  for (;;) {
    const struct block *chunk = worker_receive(worker);
    const volatile double *limit = worker_limit(worker);
    double task = chunk->first;
    worker_open(worker, task, BLOCK_SPARSE);
    for (; task <= chunk->last; task++) {
      slot->current = task;
      access_made();
      if (task > *limit) break;
      access_made();
      ran[(int)task]++;
    }
    worker_close(worker, task - 1, 0, 1);
  }
}

/* Puts a chunk into the channel, if there is room. */
static bool send_chunk(uint32_t chunk, uint32_t *place)
{
  struct block message = {.first = first_of(chunk), .last = last_of(chunk), .size = BLOCK_HEAD, .floor = BLOCK_HEAD};
  uint64_t sent = 0;
  message.kind = BLOCK_CHUNK;
  message.chunk = chunk;
  return slot_send(slot, &message, &sent, place);
}

/* So many chunks lie there; the worker has made its first accesses. */
static bool begin_chunks(struct order order, uint32_t chunks, uint32_t *place)
{
  uint32_t other;
  slot_reset(slot);
  memset(ran, 0, sizeof ran);
  for (uint32_t chunk = 1; chunk <= chunks; chunk++) send_chunk(chunk, chunk == 1 ? place : &other);
  return begin(order, run_chunks);
}

/* Of the first chunk no task behind `last` has run, of all others each has; each once. `may_end`: the first may have
 * ended before, which its last block says. */
static void end_chunks(double last, uint32_t chunks, bool may_end, const char *what)
{
  for (int k = 0; k < CHUNKS; k++) { /* it may wait for room */
    let_worker(ALL);
    while (slot_results(slot)) slot_release_results(slot);
  }
  let_worker(ALL);
  end();
  for (int task = 1; task <= last_of(chunks); task++) {
    bool is_wanted = task <= last || task > FIRST_TASKS;
    expect(ran[task] == is_wanted || (may_end && task <= FIRST_TASKS && ran[task] < is_wanted), what);
  }
}

/* What is cut off is handed out again: so it must not run, and what is not must. */
static enum came meet_cut(struct order order)
{
  enum { KEPT = 1, SENT = 2 };
  uint32_t place;
  bool goes_on = begin_chunks(order, SENT, &place);
  double last = slot_cut(slot, 1, place, 1, FIRST_TASKS, KEPT);
  enum came came = came_of(goes_on);
  end_chunks(last, SENT, true, "a chunk that was cut has run beyond its new end");
  return came;
}

static enum came meet_revoke(struct order order)
{
  enum { SENT = 2 };
  uint32_t place;
  bool goes_on = begin_chunks(order, SENT, &place);
  bool is_revoked = slot_revoke(slot, place);
  enum came came = came_of(goes_on);
  end_chunks(is_revoked ? 0 : FIRST_TASKS, SENT, false, "a chunk was taken back and has run, or neither");
  return came;
}

/* The first chunk's place is another's by now, if the worker has come so far: then nothing there is the first's. */
static enum came meet_reused(struct order order)
{
  uint32_t place, other;
  order.at = ALL; /* nobody is interrupted */
  bool goes_on = begin_chunks(order, CHANNEL_BLOCKS, &place);
  bool is_reused = send_chunk(CHUNKS, &other), has_begun = ran[1] > 0;
  expect(!is_reused || other % CHANNEL_BLOCKS == place % CHANNEL_BLOCKS, "a chunk has a place of its own");
  expect(!has_begun || !slot_is_queued(slot, place), "a chunk that has begun is said to be queued");
  expect(!has_begun || !slot_revoke(slot, place), "a chunk that has begun was taken back");
  if (is_reused) {
    slot_set_limit(slot, place, -1);
    double last = slot_cut(slot, 1, place, 1, FIRST_TASKS, 0);
    expect(last == FIRST_TASKS, "a chunk that has ended was cut");
    end_chunks(FIRST_TASKS, CHUNKS, false, "a chunk did not run as it was sent, whose place was another's before");
  } else {
    end();
  }
  return goes_on ? COORDINATOR_ENDS_BEFORE : WORKER_ENDS_BEFORE;
}

void meet_check(void)
{
  for (workers_telling = 1; workers_telling <= WORKERS; workers_telling++) try_all(meet_sleeping_coordinator);
  slot = slot_map(0);
  if (!slot) fault("there is no memory");
  try_all(meet_sleeping_worker);
  try_all(meet_cut);
  try_all(meet_revoke);
  try_all(meet_reused);
  slot_unmap(slot);
  world_begin(1);
}
