/* workers.c - see workers.h. */
#include "workers.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "contents.h"
#include "ledger.h"
#include "memory.h"
#include "slot/mailbox.h"
#include "sys/clock.h"
#include "system.h"
#include "world.h"

enum { MOST_STORES = 12, PAGE = 4096, CHUNKS_KEPT = 8 };

/* Tasks of a chunk. */
struct span {
  uint32_t chunk;
  double first, last;
};

/* A store that the worker has made and that only it sees yet: processors keep some in a buffer, in their order. */
struct pending_store {
  volatile double *to;
  double value;
};

struct body {
  struct worker worker;
  struct engine *engine;
  struct remains *remains;
  struct fiber *fiber;
  struct slot *slot;
  struct buffer value; /* what is put into blocks */
  uint32_t number, life;
  struct pending_store stores[MOST_STORES];
  uint32_t stores_count;
  double in; /* task that the cell `current` tells, and since when */
  double began;
  double allowed;            /* when it found that it may begin that task */
  double before_barrier;     /* seconds that it had been in the task that its cell named at the last barrier; 0: none */
  bool is_given_up_at_close; /* then nobody looks where it is: it may be about to begin a task */
  double given_up_in;        /* task in which the coordinator saw it when it gave it up */
  uint32_t attempt;
  bool has_finished; /* that task */
  uint64_t steps;    /* it dies at the access after so many; 0: at none */
  uint32_t printed;
  bool is_alive, is_ending, is_end_told, is_abandoned, has_left;
  struct span spans[CHUNKS_KEPT]; /* of the last chunks that it began */
  uint32_t spans_count;
  double leaving;  /* since when it prints, told to stop; 0: it does not */
  uint32_t unread; /* results that stood unread: the channel's head then, + 1; 0: none */
  int status;
  struct body *next_free;
};

static struct body **bodies, *spare;
static uint32_t bodies_count, bodies_room, lives;
static struct slot **slots;
static uint32_t slots_spare, slots_room;
static int64_t slots_mapped;

/* ---- memory of slots: made once, as mapping it anew would take most of the time ---- */

struct slot *__wrap_slot_map(uint32_t id);
void __wrap_slot_unmap(struct slot *slot);
void *__real_slot_map(uint32_t id);

struct slot *__wrap_slot_map(uint32_t id)
{
  if (random_chance(memory.failing)) {
    errno = ENOMEM;
    return NULL;
  }
  struct slot *slot = slots_spare > 0 ? slots[--slots_spare] : __real_slot_map(id);
  if (!slot) return NULL;
  memset(slot, 0, sizeof *slot);
  for (uint32_t place = 0; place < CHANNEL_BLOCKS; place++) { /* as new, as far as anybody reads */
    memset(slot_in_block(slot, place), 0, PAGE);
    memset(slot_out_block(slot, place), 0, PAGE);
  }
  slot->id = id;
  slots_mapped++;
  return slot;
}

void __wrap_slot_unmap(struct slot *slot)
{
  if (!slot) return;
  if (slots_spare == slots_room) {
    slots_room = slots_room ? 2 * slots_room : 64;
    slots = memory_own(slots, slots_room * sizeof(struct slot *));
  }
  slots[slots_spare++] = slot;
  slots_mapped--;
}

/* ---- stores ---- */

static void make_visible(struct body *body)
{
  for (uint32_t i = 0; i < body->stores_count; i++) *body->stores[i].to = body->stores[i].value;
  body->stores_count = 0;
}

static void store(struct body *body, volatile double *to, double value)
{
  if (body->stores_count == MOST_STORES) make_visible(body);
  body->stores[body->stores_count++] = (struct pending_store){to, value};
}

void workers_all_store(void)
{
  for (uint32_t i = 0; i < bodies_count; i++) {
    struct body *body = bodies[i];
    make_visible(body);
    bool names_task = body->is_alive && body->in > 0 && body->slot->current == body->in;
    body->before_barrier = names_task ? world.now - body->began : 0;
  }
}

void worker_stores(void);
void worker_may_die(void);
void interleave(int is_store);

void worker_stores(void)
{
  struct body *body = fiber_what(fiber_running());
  make_visible(body);
}

/* ---- news ---- */

/* Does the coordinator have to know of results of the worker? In slot_results others could go on, which they may not
 * while the simulation looks. */
static bool is_unread(const struct body *body)
{
  if (!body->is_alive || body->is_ending || body->is_abandoned) return false;
  return body->slot->out.tail != body->slot->out.head;
}

void workers_note_unread(void)
{
  for (uint32_t i = 0; i < bodies_count; i++)
    bodies[i]->unread = is_unread(bodies[i]) ? bodies[i]->slot->out.head + 1 : 0;
}

bool workers_still_unread(uint32_t *number)
{
  for (uint32_t i = 0; i < bodies_count; i++) {
    const struct body *body = bodies[i];
    *number = body->number;
    if (body->unread && is_unread(body) && body->unread == body->slot->out.head + 1) return true;
  }
  return false;
}

/* ---- where a worker is ---- */

struct present __wrap_slot_present(const struct slot *slot);
struct present __real_slot_present(const struct slot *slot);

/* Chunk and task are cells of one moment, however the worker goes on between two reads. */
struct present __wrap_slot_present(const struct slot *slot)
{
  struct present present = __real_slot_present(slot);
  const struct body *body = NULL; /* the last that had the slot */
  for (uint32_t i = 0; i < bodies_count && present.task > 0; i++)
    if (bodies[i]->slot == slot && (!body || bodies[i]->life > body->life)) body = bodies[i];
  for (uint32_t k = 0; body && k < CHUNKS_KEPT; k++) {
    const struct span *span = &body->spans[k];
    if (span->chunk == present.chunk && (present.task < span->first || present.task > span->last))
      fault("worker %u is said to be in task %g of chunk %u, which has tasks %g to %g", (unsigned)body->number + 1,
            present.task, (unsigned)present.chunk, span->first, span->last);
  }
  return present;
}

static void note_span(struct body *body, const struct block *chunk)
{
  body->spans[body->spans_count++ % CHUNKS_KEPT] =
      (struct span){.chunk = chunk->chunk, .first = chunk->first, .last = chunk->last};
}

/* ---- limits ---- */

void __wrap_slot_set_limit(struct slot *slot, uint32_t place, double last);
void __real_slot_set_limit(struct slot *slot, uint32_t place, double last);

/* What stands at a place, seen by nobody. */
struct cells {
  bool is_released;
  double limit;
  uint32_t claim;
};

static struct cells cells_of(struct slot *slot, uint32_t place)
{
  struct cells cells = {.is_released = (int32_t)(slot->in.head - place) > 0};
  cells.limit = slot->limit[place % CHANNEL_BLOCKS];
  cells.claim = slot_in_block(slot, place)->claim;
  return cells;
}

/* A later message there may be claimed by its worker meanwhile, and not taken back. */
static void check_cells(struct slot *slot, uint32_t place, const struct cells *before)
{
  struct cells now = cells_of(slot, place);
  if (!before->is_released) return;
  if (now.limit != before->limit) fault("the limit of a message was set that had been released");
  if (now.claim != before->claim && now.claim == CLAIM_REVOKED)
    fault("the claim of a message was changed that had been released");
}

/* A task that hangs comes back just when its worker is told to begin nothing more. */
static void returns_now(const struct slot *slot)
{
  enum { TURNS = 4 };
  for (uint32_t i = 0; i < bodies_count; i++)
    if (bodies[i]->is_alive && bodies[i]->slot == slot) fiber_wake(bodies[i]);
  for (int i = 0; i < TURNS; i++) world_step(world.now);
}

void __wrap_slot_set_limit(struct slot *slot, uint32_t place, double last)
{
  static const double share = 0.5;
  const struct plan *plan = ledger_plan();
  bool has_hung = plan && plan_has(plan, TROUBLE_HANGS) && last < 0 && world.slice > 0;
  if (has_hung && random_chance(share)) returns_now(slot);
  struct cells before = cells_of(slot, place);
  __real_slot_set_limit(slot, place, last);
  check_cells(slot, place, &before);
}

/* ---- cells of a place whose message the worker has released are another message's, or will be ---- */

double __wrap_slot_cut(struct slot *slot, uint32_t chunk, uint32_t place, double first, double last, double keep);
double __real_slot_cut(struct slot *slot, uint32_t chunk, uint32_t place, double first, double last, double keep);
bool __wrap_slot_revoke(struct slot *slot, uint32_t place);
bool __real_slot_revoke(struct slot *slot, uint32_t place);
bool __wrap_slot_is_queued(struct slot *slot, uint32_t place);
bool __real_slot_is_queued(struct slot *slot, uint32_t place);

double __wrap_slot_cut(struct slot *slot, uint32_t chunk, uint32_t place, double first, double last, double keep)
{
  struct cells before = cells_of(slot, place);
  double end = __real_slot_cut(slot, chunk, place, first, last, keep);
  check_cells(slot, place, &before);
  if (before.is_released && end != last) fault("chunk %u was cut, which had ended", (unsigned)chunk);
  return end;
}

bool __wrap_slot_revoke(struct slot *slot, uint32_t place)
{
  struct cells before = cells_of(slot, place);
  bool is_revoked = __real_slot_revoke(slot, place);
  check_cells(slot, place, &before);
  if (before.is_released && is_revoked) fault("a message was taken back that had been released");
  return is_revoked;
}

bool __wrap_slot_is_queued(struct slot *slot, uint32_t place)
{
  bool was_released = cells_of(slot, place).is_released, is_queued = __real_slot_is_queued(slot, place);
  if (was_released && is_queued) fault("a message is said to be queued that had been released");
  return is_queued;
}

/* ---- ends ---- */

static void tell_end(void *what, uint64_t life)
{
  struct body *body = what;
  if (body->life != life || body->is_abandoned) return;
  body->is_end_told = true;
  if (body->engine->kind->rings_at_end)
    system_ring(&body->worker.bell);
  else
    system_tell_end(&body->worker.bell);
}

/* The second of engine and abandoned worker frees what they shared. */
static void leave(struct body *body)
{
  if (!body->has_left) {
    body->has_left = true;
    return;
  }
  slot_unmap(body->slot);
  body->remains->abandoned--;
  remains_leave(body->remains);
}

/* The worker dies in no task. Has it taken a chunk, and begun it or not? */
static void orphan_chunk(const struct body *body)
{
  struct slot *slot = body->slot;
  const struct block *message = slot_in_block(slot, slot->in.head);
  if (slot->in.head == slot->in.tail || message->claim != CLAIM_TAKEN) return;
  if (message->kind == BLOCK_PIECE) message = body->worker.whole;
  if (message && message->kind == BLOCK_CHUNK) ledger_chunk_is_orphaned(message->job, message->first, message->last);
}

enum end { END_OWN, END_FROM_OUTSIDE, END_AS_TOLD };

static void end_body(struct body *body, enum end how, int status)
{
  if (!body->is_alive) return;
  make_visible(body);
  body->is_alive = false;
  body->status = status;
  if (!body->is_abandoned && body->in > 0) {
    const struct span *span = &body->spans[(body->spans_count - 1) % CHUNKS_KEPT];
    ledger_results_remain(body->worker.job, span->first, body->in - 1, body->attempt);
  }
  if (how == END_OWN) {
    ledger_worker_dies(body->worker.job, body->in, body->attempt);
    if (body->in == 0 || body->has_finished) orphan_chunk(body);
  } else if (how == END_FROM_OUTSIDE) {
    ledger_worker_is_ended(body->worker.job, body->in, body->attempt, world.now - body->began);
  }
  free(body->worker.whole);
  body->worker.whole = NULL;
  if (body->is_abandoned)
    leave(body);
  else
    world_at(world.now + random_about(system_faults.slow), tell_end, body, body->life);
  if (fiber_running() == body->fiber) fiber_end();
  fiber_kill(body->fiber);
}

_Noreturn void worker_exits(int status)
{
  end_body(fiber_what(fiber_running()), END_OWN, status << 8);
  abort();
}

void worker_may_die(void)
{
  struct body *body = fiber_what(fiber_running());
  if (body->stores_count > 0 && random_chance(world.drains)) make_visible(body);
  if (body->steps > 0 && --body->steps == 0) end_body(body, END_OWN, SIGSEGV);
}

/* ---- the worker's loop, as in lua/parlua/worker/init.lua ---- */

static void print(struct body *body)
{
  struct printed records[4];
  uint32_t count = 1 + random_below(4), stream = 1 + random_below(2);
  for (uint32_t i = 0; i < count; i++) records[i] = (struct printed){body->life, ++body->printed, stream};
  worker_print(&body->worker, (int)stream, (const char *)records, count * sizeof *records);
}

/* The map function. */
static void call(struct body *body, const struct block *chunk, double task)
{
  const struct plan *plan = ledger_plan();
  uint32_t job = body->worker.job, attempt = chunk->attempt;
  if (body->is_abandoned && task != body->given_up_in && !body->is_given_up_at_close)
    fault("worker %u was given up in task %g, and began task %g then", (unsigned)body->number + 1, body->given_up_in,
          task);
  ledger_task_begins(job, task, attempt, body->allowed);
  if (chunk->width > 0 && !argument_is_right(chunk, task)) fault("task %g got another's argument", task);
  make_visible(body);
  if (plan_prints(plan, task)) print(body);
  enum fate fate = plan_fate(plan, task, attempt);
  double length = plan_length(plan, task, attempt);
  if (fate == FATE_HANG)
    fiber_wait(body, length); /* see returns_now */
  else
    fiber_sleep(fate == FATE_CRASH ? length * random_unit() : length);
  if (fate == FATE_CRASH && !body->is_abandoned) end_body(body, END_OWN, SIGSEGV);
  ledger_task_finishes(job, task, attempt);
  body->has_finished = true;
}

/* Large ones are as large as a block, with a few words to spare or too many, or larger. */
static void make_value(struct body *body, double task, bool is_large)
{
  enum { SHORT = 300, ABOUT = 128, MOST = 3 * BLOCK_BYTES };
  uint32_t more = random_chance(0.5) ? random_below(ABOUT) : random_below(MOST);
  size_t length = VALUE_OFFSET + (is_large ? BLOCK_BYTES - BLOCK_HEAD - ABOUT / 2 + more : 1 + random_below(SHORT));
  if (is_large) length = (length + 7) & ~(size_t)7;
  if (body->value.capacity < length) {
    body->value.bytes = memory_own(body->value.bytes, length);
    body->value.capacity = length;
  }
  memset(body->value.bytes + VALUE_OFFSET, (char)task, length - VALUE_OFFSET);
  body->value.length = length;
}

/* So many words or pairs fit a block at most: values would take the rest. */
static double room_of(const struct block *block)
{
  uint64_t hash = hash_of(ledger_plan()->seed, (uint64_t)block->first);
  double most = 1 + (double)(hash % (hash >> 32 & 1 ? 200 : 5));
  return fmin(worker_room(block), most);
}

enum why { DONE, STOPPED, FULL, PENDING, AGAIN };

/* What one chunk's loop goes by. */
struct loop {
  struct body *body;
  const struct block *chunk;
  const volatile double *limit;
  double base, last;
  uint32_t k, entries;
  bool is_sparse;
};

/* Puts what task `i` gave into the open block; false: it does not fit. */
static bool put(struct loop *loop, double i)
{
  const struct plan *plan = ledger_plan();
  struct body *body = loop->body;
  struct block *out = worker_current(&body->worker);
  uint32_t attempt = loop->chunk->attempt, at = loop->is_sparse ? loop->entries : loop->k;
  bool is_failure = plan_fate(plan, i, attempt) == FATE_ERROR, is_large = plan_is_large(plan, i) && !is_failure;
  if (loop->is_sparse && !plan_is_kept(plan, i, attempt)) return true;
  if (!loop->is_sparse && !is_failure && !is_large) {
    store(body, &out->word[at], plan_value(plan, i, attempt));
    return true;
  }
  make_visible(body);
  make_value(body, i, is_large);
  if ((loop->is_sparse && loop->entries >= room_of(out)) ||
      !worker_place(&body->value, out, i, at, is_failure ? TAG_FAILURE : TAG_STRING))
    return false;
  if (loop->is_sparse && !is_failure && !is_large) out->word[2 * at + 1] = plan_value(plan, i, attempt);
  loop->entries++;
  return true;
}

/* Between two accesses a worker may be kept from going on too. */
static void linger(void)
{
  static const double share = 0.2, seconds = 50e-6;
  if (world.preempted > 0 && random_chance(share)) fiber_sleep(random_about(seconds));
}

/* A chunk ends with a task of its own, or the one before its first; -1: it is of no use any more. */
static void check_limit(const struct loop *loop, double limit)
{
  if (limit >= 0 && limit < loop->chunk->first - 1)
    fault("worker %u ends a chunk from task %g on at task %g, the limit of another", (unsigned)loop->body->number + 1,
          loop->chunk->first, limit);
}

/* Runs tasks until the block is full, or the chunk is done. */
static enum why run_tasks(struct loop *loop)
{
  struct body *body = loop->body;
  const struct block *out = worker_current(&body->worker);
  double room = room_of(out);
  for (; loop->base + loop->k <= loop->last; loop->k++) {
    double i = loop->base + loop->k;
    store(body, &body->slot->current, i);
    body->in = i;
    body->attempt = loop->chunk->attempt;
    body->has_finished = false;
    body->began = i == loop->chunk->first ? body->slot->started : world.now; /* see note_present in watch.c */
    interleave(0);
    if (i > *loop->limit) {
      check_limit(loop, *loop->limit);
      return STOPPED;
    }
    body->allowed = world.now;
    if (!loop->is_sparse && loop->k >= room) return FULL;
    interleave(0);
    linger(); /* nobody sees yet in what it is */
    call(body, loop->chunk, i);
    if (!put(loop, i)) return PENDING;
    room = room_of(out); /* a value takes room from words */
    interleave(0);
  }
  return DONE;
}

/* After the open block was closed: the value that did not fit begins a new block, or is one of its own. */
static bool flush(struct loop *loop, double task, int kind)
{
  struct body *body = loop->body;
  const struct plan *plan = ledger_plan();
  bool is_failure = plan_fate(plan, task, loop->chunk->attempt) == FATE_ERROR;
  bool fits = BLOCK_HEAD + 16 + value_bytes(body->value.length - VALUE_OFFSET) <= BLOCK_BYTES;
  int tag = is_failure ? TAG_FAILURE : TAG_STRING;
  if (!fits) {
    worker_send_whole(&body->worker, &body->value, NULL, 0, task, kind, tag);
    return false;
  }
  struct block *block = worker_open(&body->worker, task, kind);
  linger(); /* it may have waited for room, and its cell still names the task that is through */
  worker_place(&body->value, block, task, 0, tag);
  if (loop->is_sparse && !is_failure && !plan_is_large(plan, task))
    block->word[1] = plan_value(plan, task, loop->chunk->attempt);
  return true;
}

static void run_chunk(struct body *body, const struct block *chunk)
{
  struct worker *worker = &body->worker;
  struct loop loop = {
      .body = body, .chunk = chunk, .limit = worker_limit(worker), .base = chunk->first, .last = chunk->last};
  loop.is_sparse = plan_has(ledger_plan(), TROUBLE_SPARSE);
  int kind = loop.is_sparse ? BLOCK_SPARSE : BLOCK_DENSE;
  worker_open(worker, loop.base, kind);
  for (enum why why = AGAIN; why == AGAIN;) {
    why = run_tasks(&loop);
    make_visible(body);
    if (why == STOPPED) {
      loop.last = loop.base + loop.k - 1;
    } else if (why != DONE) {
      double task = loop.base + loop.k;
      worker_close(worker, task - 1, loop.is_sparse ? loop.entries : loop.k, 0);
      if (why == PENDING && flush(&loop, task, kind)) {
        loop.base = task;
        loop.k = loop.entries = 1;
      } else {
        loop.base = why == PENDING ? task + 1 : task;
        loop.k = loop.entries = 0;
        worker_open(worker, loop.base, kind);
      }
      why = loop.base + loop.k > loop.last ? DONE : AGAIN;
    }
  }
  worker_close(worker, loop.last, loop.is_sparse ? loop.entries : (uint32_t)(loop.last - loop.base + 1), 1);
  body->in = 0;
}

/* The cell `current` names no task of an earlier chunk (docs/PROTOCOL.md, Where a worker is). */
static void begin_chunk(struct body *body, const struct block *chunk)
{
  if (body->slot->current != 0)
    fault("worker %u begins a chunk, and its cell still names task %g", (unsigned)body->number + 1,
          (double)body->slot->current);
  if (body->worker.waited != 0)
    fault("worker %u begins a chunk, and has waited %.3g s in it", (unsigned)body->number + 1, body->worker.waited);
  if (chunk->first > chunk->last)
    fault("worker %u is given a chunk without tasks, behind task %g", (unsigned)body->number + 1, chunk->last);
  note_span(body, chunk);
  run_chunk(body, chunk);
}

/* What a worker's finalizers print when it was told to stop may be more than there is room for. Nobody reads it, and it
 * is not to wait until its time is up. */
static void print_at_end(struct body *body)
{
  static const char text[TEXT_BYTES / 4];
  enum { TIMES = 6 };
  if (!plan_prints(ledger_plan(), body->life)) return;
  body->leaving = world.now;
  for (int i = 0; i < TIMES; i++) worker_print(&body->worker, 1, text, sizeof text);
  body->leaving = 0;
}

static void check_leaving(const struct body *body)
{
  static const double soon = 0.5;
  bool is_woken = !plan_has(ledger_plan(), TROUBLE_WAKES); /* else the wake-up may have been lost */
  if (body->is_alive && body->leaving > 0 && is_woken && world.now - body->leaving > soon)
    fault("worker %u was told to stop, and was ended while it waited for room to print", (unsigned)body->number + 1);
}

/* A set-up that may not end: with a time limit, a worker for which a chunk waits meanwhile is ended within ten seconds
 * (watch.c). */
static void set_up(struct body *body)
{
  static const double before = 2, longest = 15;
  const struct plan *plan = ledger_plan();
  struct slot *slot = body->slot;
  fiber_sleep(random_about(plan->latency));
  if (!plan_has(plan, TROUBLE_STARTS) || !plan_has(plan, TROUBLE_LIMIT) || !random_chance(plan->start_death)) return;
  fiber_sleep(before);
  uint32_t last = slot->in.tail - 1, job = ledger_job();
  fiber_sleep(longest);
  bool is_away = plan_has(plan, TROUBLE_SINK) || plan_has(plan, TROUBLE_SUPPLY);
  bool is_open = job == ledger_job() && !ledger_is_closing() && !body->is_abandoned && !body->is_ending;
  if (is_open && !is_away && last == slot->in.tail - 1 && slot_is_queued(slot, last) &&
      slot_in_block(slot, last)->kind == BLOCK_CHUNK)
    fault("worker %u was let be set up for %g s", (unsigned)body->number + 1, before + longest);
}

static void live(void *what)
{
  struct body *body = what;
  const struct plan *plan = ledger_plan();
  worker_open_mailbox(&body->worker, body->slot, &body->worker.bell);
  fiber_sleep(random_about(plan->latency));
  if (plan_has(plan, TROUBLE_STARTS) && random_chance(plan->start_death)) end_body(body, END_OWN, 1 << 8);
  if (plan->engine == ENGINE_FORKED) set_up(body);
  if (plan->kind == PLAN_STACK) { /* the real worker, with a Lua state */
    worker_bodies.thread(body->slot, &body->worker.bell);
    end_body(body, END_AS_TOLD, 0);
  }
  for (struct block *message; (message = worker_receive(&body->worker))->kind != BLOCK_STOP;) {
    if (message->kind == BLOCK_JOB)
      set_up(body);
    else
      begin_chunk(body, message);
  }
  print_at_end(body);
  end_body(body, END_AS_TOLD, 0);
}

/* ---- the engine ---- */

static struct body **own(struct engine *engine, uint32_t w)
{
  return engine_own(engine, w);
}

static void massacre(void *what, uint64_t which)
{
  (void)what, (void)which;
  for (uint32_t i = 0; i < bodies_count; i++)
    if (bodies[i]->is_alive && bodies[i]->fiber != fiber_running()) end_body(bodies[i], END_OWN, SIGKILL);
}

static void die_anywhere(void *what, uint64_t life)
{
  struct body *body = what;
  if (body->life == life) end_body(body, END_OWN, SIGKILL);
}

static struct body *new_body(void)
{
  struct body *body = spare;
  if (body) {
    spare = body->next_free;
    return body;
  }
  if (bodies_count == bodies_room) {
    bodies_room = bodies_room ? 2 * bodies_room : 64;
    bodies = memory_own(bodies, bodies_room * sizeof(struct body *));
  }
  body = memory_own(NULL, sizeof *body);
  memset(body, 0, sizeof *body);
  bodies[bodies_count++] = body;
  return body;
}

static void let_go(struct body *body)
{
  body->next_free = spare;
  spare = body;
}

static int workers_start(struct engine *engine, uint32_t w)
{
  static const double most_steps = 4000;
  const struct plan *plan = ledger_plan();
  if (plan_has(plan, TROUBLE_STARTS) && random_chance(plan->start_failure)) return EAGAIN;
  struct body *body = new_body(), **place = own(engine, w);
  struct buffer value = body->value;
  *body = (struct body){.engine = engine, .remains = engine->remains, .slot = engine->slots[w], .value = value};
  body->number = w;
  body->life = ++lives;
  body->worker.bell = hub_bell(&engine->hub, w);
  body->worker.is_process = engine->kind->can.kill;
  body->is_alive = true;
  if (plan_has(plan, TROUBLE_DEATHS)) {
    if (random_chance(plan->step_death)) body->steps = (uint64_t)exp(random_unit() * log(most_steps));
    world_at(world.now + random_about(1 / plan->death_rate), die_anywhere, body, body->life);
  }
  *place = body;
  body->fiber = fiber_start(live, body);
  ledger_worker_starts();
  world_progress();
  return 0;
}

static void kill_now(void *what, uint64_t life)
{
  struct body *body = what;
  if (body->life == life) end_body(body, END_FROM_OUTSIDE, SIGKILL);
}

static int workers_kill(struct engine *engine, uint32_t w)
{
  struct body *body = *own(engine, w);
  body->is_ending = true;
  check_leaving(body);
  if (body->is_alive) ledger_end_is_decided(body->worker.job, body->in, body->attempt);
  world_at(world.now + random_about(ledger_plan()->latency), kill_now, body, body->life);
  return 0;
}

/* A thread is given up in a task beyond its time limit, but for a cancelled run and one that is closed: not when it has
 * come back from there before the barrier behind which the coordinator has looked. */
static void check_given_up(const struct body *body)
{
  static const double share = 0.9, instant = 1e-3;
  const struct plan *plan = ledger_plan();
  if (!body->is_alive || !body->slot->begun || ledger_is_closing() || ledger_is_cancelled()) return;
  if (plan_has(plan, TROUBLE_NO_BARRIER) || body->before_barrier >= plan->limit * share - instant) return;
  fault("worker %u was given up, though it was in no task beyond its limit (%.3g s in task %g)",
        (unsigned)body->number + 1, body->before_barrier, body->in);
}

static int workers_abandon(struct engine *engine, uint32_t w)
{
  struct body **place = own(engine, w), *body = *place;
  check_given_up(body);
  check_leaving(body);
  if (body->is_alive) ledger_end_is_decided(body->worker.job, body->in, body->attempt);
  if (body->is_alive) ledger_worker_is_ended(body->worker.job, body->in, body->attempt, world.now - body->began);
  engine->remains->abandoned++;
  engine->remains->users++;
  __atomic_store_n(&body->slot->abandoned, 1, __ATOMIC_SEQ_CST);
  slot_wake(body->slot);
  engine->slots[w] = NULL;
  *place = NULL;
  engine->alive[w] = false;
  body->is_abandoned = true;
  body->is_given_up_at_close = ledger_is_closing();
  body->given_up_in = body->slot->current;
  if (!body->is_alive) leave(body);
  leave(body);
  return 0;
}

static bool workers_ended(struct engine *engine, uint32_t w, int *status)
{
  struct body **place = own(engine, w), *body = *place;
  if (body && !body->is_end_told) return false;
  *status = body ? body->status : 1 << 8;
  if (body) let_go(body);
  *place = NULL;
  return true;
}

const struct engine_kind workers_forked = {.name = "process",
                                           .can = {.kill = true, .inherit = true, .limit_memory = true},
                                           .own_bytes = sizeof(struct body *),
                                           .start = workers_start,
                                           .end = workers_kill,
                                           .ended = workers_ended};
const struct engine_kind workers_kept = {.name = "process",
                                         .can = {.kill = true},
                                         .own_bytes = sizeof(struct body *),
                                         .start = workers_start,
                                         .end = workers_kill,
                                         .ended = workers_ended};
const struct engine_kind workers_abandoned = {.name = "threads",
                                              .can = {.abandon = true},
                                              .rings_at_end = true,
                                              .own_bytes = sizeof(struct body *),
                                              .start = workers_start,
                                              .end = workers_abandon,
                                              .ended = workers_ended};

void workers_begin(void)
{
  spare = NULL;
  for (uint32_t i = bodies_count; i-- > 0;) {
    bodies[i]->is_alive = false;
    bodies[i]->life = 0;
    bodies[i]->slot = NULL;
    bodies[i]->stores_count = 0;
    let_go(bodies[i]);
  }
  slots_mapped = 0;
}

void workers_plan_massacre(double at)
{
  world_at(at, massacre, NULL, 0);
}

int64_t workers_slots_mapped(void)
{
  return slots_mapped;
}
