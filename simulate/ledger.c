/* ledger.c - see ledger.h. */
#include "ledger.h"

#include <math.h>
#include <string.h>

#include "memory.h"
#include "world.h"

/* Where an attempt stands, that try of the task is meant; 0: none. */
struct entry {
  uint32_t attempt;  /* that is to end next, or has ended last */
  uint32_t finished; /* by a worker */
  uint32_t crashed;  /* a worker died in it */
  uint32_t late;     /* a worker was ended in it, beyond the time limit */
  uint32_t begun;
  uint32_t decided;  /* its worker is being ended */
  uint32_t remains;  /* its result lay ready when its worker ended */
  uint32_t orphaned; /* workers that died in no task, and had taken its chunk */
  double due;        /* a further try: when */
  double began_at;
  float in_it;    /* seconds that the last worker which was ended in it had been in it */
  bool has_ended; /* the run has told its end */
  bool is_skipped, is_aborted;
};

/* After so many deaths with no task to blame, the first task of the chunk is (lane_slot.c). */
enum { MOST_DEATHS = 3 };

static struct {
  const struct plan *plan;
  struct entry *entries; /* from 1 */
  uint32_t room, job, starts;
  bool is_open, is_cancelled, is_shortened, lacks_memory;
  bool is_closing;
  double ceiling;      /* tasks behind it are not handed out */
  double last;         /* tasks behind it are of no use, */
  double shortened_at; /* since then */
  double closed_at;    /* the run before this one, or this one */
  double reached, last_finish;
  double told_at; /* when the end of a task was told that counts */
} ledger;

void ledger_begin(const struct plan *plan, uint32_t job)
{
  if (ledger.room < plan->tasks + 1) {
    ledger.room = plan->tasks + 1;
    ledger.entries = memory_own(ledger.entries, ledger.room * sizeof *ledger.entries);
  }
  memset(ledger.entries, 0, (plan->tasks + 1) * sizeof *ledger.entries);
  for (uint32_t i = 0; i <= plan->tasks; i++) ledger.entries[i].attempt = 1;
  ledger.plan = plan;
  ledger.job = job;
  ledger.starts = 0;
  ledger.is_open = true;
  ledger.is_closing = false;
  ledger.shortened_at = INFINITY;
  ledger.is_cancelled = ledger.is_shortened = ledger.lacks_memory = false;
  ledger.last = ledger.ceiling = INFINITY;
  ledger.reached = 0;
  ledger.last_finish = ledger.told_at = world.now;
}

void ledger_closes(void)
{
  ledger.is_closing = true;
}

bool ledger_is_closing(void)
{
  return ledger.is_closing || !ledger.is_open;
}

bool ledger_is_cancelled(void)
{
  return ledger.is_cancelled;
}

void ledger_close(void)
{
  ledger.closed_at = world.now;
  ledger.is_open = false;
}

uint32_t ledger_job(void)
{
  return ledger.job;
}

const struct plan *ledger_plan(void)
{
  return ledger.plan;
}

static struct entry *entry_of(double task)
{
  if (!(task >= 1 && task <= ledger.plan->tasks) || task != floor(task)) fault("there is no task %g", task);
  return &ledger.entries[(uint32_t)task];
}

/* ---- what happens ---- */

/* A further try is begun neither before it is due, nor, where nothing stands in the way, long after: each worker has
 * two chunks before it at the most. */
static void check_due(double task, uint32_t attempt, double due)
{
  static const uint32_t fair = (uint32_t)1 << TROUBLE_ERRORS | (uint32_t)1 << TROUBLE_BACKOFF |
                               (uint32_t)1 << TROUBLE_SPARSE | (uint32_t)1 << TROUBLE_RUNS |
                               (uint32_t)1 << TROUBLE_TEXT | (uint32_t)1 << TROUBLE_SKIPS;
  static const double chunk_seconds = 1e-3, instant = 0.05, chunks = 4;
  const struct plan *plan = ledger.plan;
  if (attempt == 1) return;
  if (world.now < due) fault("task %g was tried again %.3g s before its time", task, due - world.now);
  if (plan->troubles & ~fair || plan->lengths >= LENGTHS_HEAVY) return;
  double longest = plan->lengths == LENGTHS_SAME ? plan->length : 20 * plan->length;
  double chunk = plan->chunk > 0 ? plan->chunk * longest : chunk_seconds * 20 + longest;
  if (world.now > due + instant + chunks * chunk + plan->reach)
    fault("task %g was tried again %.3g s after its time", task, world.now - due);
}

/* From the moment on in which the run was shortened, no worker finds that it may begin what lies behind. A message that
 * was half sent goes on as it was. */
static void check_shortened(double task, double allowed)
{
  const struct plan *plan = ledger.plan;
  if (task <= ledger.last || (plan_has(plan, TROUBLE_SUPPLY) && plan_has(plan, TROUBLE_LARGE))) return;
  double late = allowed - ledger.shortened_at - plan->reach;
  if (late > 0) fault("task %g was begun %.3g s after the run was shortened to %g", task, late, ledger.last);
}

/* A time limit is met to within 10 %, or 1 ms, and the time between two looks, where nothing keeps the coordinator from
 * looking. */
static void check_late(const struct entry *entry, double task, uint32_t attempt)
{
  static const uint32_t away = (uint32_t)1 << TROUBLE_SINK | (uint32_t)1 << TROUBLE_SUPPLY;
  static const double share = 0.1, instant = 1e-3, look_share = 0.04, look_least = 0.25e-3, look_most = 0.02,
                      turns = 100;
  static const double most_pauses = 10e-3; /* without barriers, a millisecond for each thread that is given up */
  const struct plan *plan = ledger.plan;
  bool is_kept_away = plan->kind != PLAN_LANES && plan->preempted > 0;
  if (!plan_has(plan, TROUBLE_LIMIT) || plan->troubles & away || is_kept_away || ledger.is_closing) return;
  if (entry->begun != attempt || entry->finished == attempt || entry->decided == attempt) return;
  double look = fmin(fmax(plan->limit * look_share, look_least), look_most);
  double most =
      plan->limit + fmax(plan->limit * share, instant) + look + plan->reach + turns * plan->tick * plan->workers;
  if (plan_has(plan, TROUBLE_NO_BARRIER)) most += most_pauses;
  double seconds = world.now - entry->began_at;
  if (seconds > most) fault("task %g ran for %.3g s; its limit is %.3g s", task, seconds, plan->limit);
}

void ledger_task_begins(uint32_t job, double task, uint32_t attempt, double allowed)
{
  world_progress();
  if (job != ledger.job || !ledger.is_open) {
    /* A thread that is given up may be about to begin the task that it was seen in. */
    if (ledger.plan->engine == ENGINE_ABANDONED && allowed <= ledger.closed_at) return;
    fault("task %g of run %u was begun after that run had ended", task, (unsigned)job);
  }
  struct entry *entry = entry_of(task);
  if (entry->is_skipped) fault("task %g was begun, though it was to be skipped", task);
  if (attempt != entry->attempt)
    fault("task %g was begun as try %u, expected was %u", task, (unsigned)attempt, (unsigned)entry->attempt);
  if (entry->has_ended) fault("task %g was run again, though its end was told", task);
  if (entry->remains == attempt) fault("task %g was run again, though its dead worker had left its result", task);
  if (task > ledger.ceiling) fault("task %g was begun, though %g was the last to be handed out", task, ledger.ceiling);
  check_due(task, attempt, entry->due);
  check_shortened(task, allowed);
  entry->begun = attempt;
  entry->began_at = world.now;
}

/* A try that has run for so long may be told as beyond its limit. */
static void note_late(struct entry *entry, uint32_t attempt, double seconds)
{
  /* Limits are met that well. That a worker waited for room is seen when it is looked at, which a coordinator that is
   * kept away does not. */
  static const double share = 0.9, instant = 1e-3, away = 20e-3;
  double slack = instant + (ledger.plan->preempted > 0 ? away : 0);
  if (plan_has(ledger.plan, TROUBLE_LIMIT) && seconds >= ledger.plan->limit * share - slack) entry->late = attempt;
}

void ledger_task_finishes(uint32_t job, double task, uint32_t attempt)
{
  world_progress();
  if (job != ledger.job || !ledger.is_open) return;
  struct entry *entry = entry_of(task);
  check_late(entry, task, attempt);
  note_late(entry, attempt, world.now - entry->began_at); /* it may end just when its worker is given up */
  if (entry->finished < attempt)
    entry->finished = attempt; /* an earlier try may go on where nobody waits for it any more */
  ledger.last_finish = world.now;
}

void ledger_worker_starts(void)
{
  ledger.starts++;
}

void ledger_worker_dies(uint32_t job, double task, uint32_t attempt)
{
  world_progress();
  if (job != ledger.job || !ledger.is_open) return;
  struct entry *entry = task > 0 ? entry_of(task) : NULL;
  if (entry && entry->crashed < attempt) entry->crashed = attempt; /* it may be through with an earlier try */
}

void ledger_chunk_is_orphaned(uint32_t job, double first, double last)
{
  if (job != ledger.job || !ledger.is_open) return;
  for (double task = first; task <= last; task++) entry_of(task)->orphaned++;
}

void ledger_end_is_decided(uint32_t job, double task, uint32_t attempt)
{
  if (job != ledger.job || !ledger.is_open || task == 0) return;
  struct entry *entry = entry_of(task);
  check_late(entry, task, attempt);
  entry->decided = attempt;
}

void ledger_results_remain(uint32_t job, double first, double last, uint32_t attempt)
{
  if (job != ledger.job || !ledger.is_open) return;
  for (double task = first; task <= last; task++)
    if (entry_of(task)->finished == attempt) entry_of(task)->remains = attempt;
}

void ledger_worker_is_ended(uint32_t job, double task, uint32_t attempt, double seconds)
{
  world_progress();
  if (job != ledger.job || !ledger.is_open || task == 0) return;
  entry_of(task)->in_it = (float)seconds;
  note_late(entry_of(task), attempt, seconds);
}

/* ---- what the run tells ---- */

void ledger_skip(double first, double last)
{
  for (double task = first; task <= last; task++) entry_of(task)->is_skipped = true;
}

void ledger_abort(double task)
{
  entry_of(task)->is_aborted = true;
}

void ledger_cancel(void)
{
  ledger.is_cancelled = true;
}

void ledger_ceiling(double last)
{
  ledger.ceiling = last;
}

void ledger_shorten(double last)
{
  ledger.is_shortened = true;
  ledger.last = fmin(ledger.last, last);
}

void ledger_has_shortened(void)
{
  ledger.shortened_at = world.now;
}

void ledger_lacks_memory(void)
{
  ledger.lacks_memory = true;
}

static struct entry *end_task(double task, uint32_t attempt)
{
  struct entry *entry = entry_of(task);
  if (entry->has_ended) fault("the end of task %g was told twice", task);
  if (entry->is_skipped) fault("task %g was told, though it was to be skipped", task);
  if (attempt != entry->attempt)
    fault("task %g was told as try %u, expected was %u", task, (unsigned)attempt, (unsigned)entry->attempt);
  entry->has_ended = true;
  if (task <= ledger.last) ledger.told_at = world.now;
  return entry;
}

void ledger_result(double task, uint32_t attempt)
{
  const struct entry *entry = end_task(task, attempt);
  if (entry->finished != attempt) fault("a result of task %g was told that no worker has made", task);
}

void ledger_glimpse(double task, uint32_t attempt)
{
  const struct entry *entry = entry_of(task);
  if (entry->finished != attempt) fault("a result of task %g is to be seen that no worker has made", task);
}

static bool is_due(const struct entry *entry, const struct event *event)
{
  switch (event->cause) {
  case LOST_CRASH: /* or it was at two ranks that were lost, which nobody can ask whether they had begun it */
    return entry->crashed == event->attempt || entry->orphaned >= MOST_DEATHS || plan_has(ledger.plan, TROUBLE_RANKS);
  case LOST_TIMEOUT: /* or its worker has died in it, and the news came after the limit */
    return entry->late == event->attempt || (entry->crashed == event->attempt && plan_has(ledger.plan, TROUBLE_LIMIT));
  case LOST_CANCELLED: return entry->is_aborted || ledger.is_cancelled || event->first > ledger.last;
  case LOST_MEMORY: return ledger.lacks_memory || plan_has(ledger.plan, TROUBLE_MEMORY);
  default: return false;
  }
}

void ledger_lost(const struct event *event)
{
  static const char *const causes[] = {"", "a crash", "the time limit", "a cancellation", "lack of memory", "damage"};
  if (event->cause == LOST_DAMAGED)
    fault("worker %u is said to have damaged its memory (task %g)", (unsigned)event->worker, event->first);
  if (event->first == 0) return;
  if (event->cause != LOST_CANCELLED && event->first > ledger.last)
    fault("a failure of task %g was told, though the run was shortened to %g", event->first, ledger.last);
  const struct entry *entry = end_task(event->first, event->attempt);
  if (!is_due(entry, event))
    fault("task %g was blamed for %s, and is innocent (%.3g s in it of %.3g)", event->first, causes[event->cause],
          entry->in_it, ledger.plan->limit);
}

void ledger_again(double task, uint32_t attempt, double due)
{
  struct entry *entry = entry_of(task);
  entry->due = due;
  entry->attempt = attempt;
  entry->has_ended = entry->is_aborted = false;
  ledger.reached = fmin(ledger.reached, task - 1);
}

/* A run that was shortened does not wait for tasks behind its new end, where nothing keeps it from hearing of others.
 */
static void check_end_of_shortened(void)
{
  static const uint32_t away = (uint32_t)1 << TROUBLE_SINK | (uint32_t)1 << TROUBLE_SUPPLY |
                               (uint32_t)1 << TROUBLE_WAKES | (uint32_t)1 << TROUBLE_RANKS |
                               (uint32_t)1 << TROUBLE_STALLS;
  static const double soon = 0.15;
  const struct plan *plan = ledger.plan;
  if (!ledger.is_shortened || plan->troubles & away || plan->preempted > 0) return;
  double waited = world.now - fmax(ledger.told_at, ledger.shortened_at) - 2 * plan->reach;
  if (waited > soon)
    fault("the run ended %.3g s after the last task up to %g, to which it was shortened", waited, ledger.last);
}

void ledger_done(double last)
{
  if (ledger.is_cancelled) return;
  check_end_of_shortened();
  last = fmin(last, ledger.last);
  for (uint32_t task = 1; task <= last; task++) {
    const struct entry *entry = &ledger.entries[task];
    if (!entry->has_ended && !entry->is_skipped) fault("the run has ended without task %u", (unsigned)task);
  }
}

double ledger_some_task(void)
{
  enum { TRIES = 8 };
  for (int i = 0; i < TRIES; i++) {
    uint32_t task = 1 + random_below(ledger.plan->tasks);
    const struct entry *entry = &ledger.entries[task];
    if (entry->begun == entry->attempt && !entry->has_ended) return task;
  }
  return 0;
}

bool ledger_has_ended(double task)
{
  const struct entry *entry = entry_of(task);
  return entry->has_ended || entry->is_skipped;
}

double ledger_count_ended(void)
{
  double count = 0;
  for (uint32_t task = 1; task <= ledger.plan->tasks; task++) count += ledger.entries[task].has_ended;
  return count;
}

double ledger_reached(void)
{
  while (ledger.reached < ledger.plan->tasks && ledger_has_ended(ledger.reached + 1)) ledger.reached++;
  return ledger.reached;
}

double ledger_last_finish(void)
{
  return ledger.last_finish;
}

uint32_t ledger_starts(void)
{
  return ledger.starts;
}

bool ledger_any_begun(void)
{
  for (uint32_t task = 1; task <= ledger.plan->tasks; task++)
    if (ledger.entries[task].begun > 0) return true;
  return false;
}
