/* driver.c - see driver.h. */
#include "driver.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "attending.h"
#include "contents.h"
#include "inside.h"
#include "ledger.h"
#include "memory.h"
#include "peeks.h"
#include "run/dispatch.h"
#include "workers.h"
#include "world.h"

/* With more lanes than this only some events are followed by a look at all of them; the fewer, the more there are, as
 * each of these looks takes longer. */
enum { MOST_EACH = 64, SHARE = 16 };

/* The dispatcher believes after so many events, at the most, that tasks take longer and longer. */
enum { MOST_BEFORE_RISE = 50 };

struct driver {
  const struct plan *plan;
  struct engine *engine;
  struct dispatch *d;
  struct event event;
  double began, supplied, skipped; /* tasks up to `skipped` were looked at for skips */
  double last, behind;             /* of those not supplied yet; so many behind it are */
  double ceiling;
  bool is_cancelled, is_shortened, is_exhausted;
  bool is_over;  /* it is to be closed as it is */
  double pushed; /* tasks up to this one */
  uint64_t events;
};

/* ---- arguments ---- */

/* Task `task` and those behind it, up to the next that is to be run, are skipped? Returns the last of them; 0: none. */
static double skip_from(const struct plan *plan, double task)
{
  double last = 0;
  if (!plan_has(plan, TROUBLE_SKIPS)) return 0;
  while (task <= plan->tasks && hash_of(plan->seed + 9, (uint64_t)(task / 5)) % 3 == 0) last = task++;
  return last;
}

static void skip(struct driver *driver, double first, double last)
{
  if (dispatch_skip(driver->d, first, last)) {
    ledger_lacks_memory();
    driver->is_over = true;
  } else {
    ledger_skip(first, last);
  }
}

static struct block *stage(struct driver *driver, double first, double count)
{
  struct block *block = dispatch_stage(driver->d, arguments_bytes(driver->plan, first, count));
  if (!block) {
    ledger_lacks_memory();
    driver->is_over = true;
    return NULL;
  }
  block->width = 1;
  block->count = (uint32_t)count;
  for (double k = 0; k < count; k++) put_argument(driver->plan, block, (uint64_t)k, first + k);
  return block;
}

static void supply(struct driver *driver)
{
  const struct plan *plan = driver->plan;
  if (driver->event.last > driver->last) fault("task %g is wanted again", driver->event.last);
  if (driver->event.last > 0 && driver->event.last < driver->last) {
    if (!driver->is_shortened) fault("task %g is wanted, not %g", driver->event.last, driver->last);
    driver->last = driver->event.last;
  }
  double want = driver->event.want, first = driver->supplied + 1,
         most = fmin(fmin(want, driver->last - first + 1), 4000);
  if (plan->supply_seconds > 0) world_run_until(world.now + random_about(plan->supply_seconds));
  double skipped = skip_from(plan, first);
  if (skipped > 0) {
    skip(driver, first, skipped);
    driver->supplied = skipped;
    return;
  }
  if (most >= 1) {
    double count = random_chance(0.3) ? 1 + random_below((uint32_t)most) : most;
    for (double k = 1; k < count; k++)
      if (skip_from(plan, first + k) > 0) count = k;
    bool is_last = driver->event.last > 0;
    if (!stage(driver, is_last ? driver->last - count + 1 : first, count)) return;
    *(is_last ? &driver->behind : &driver->supplied) += count;
    if (is_last) driver->last -= count;
    dispatch_supply(driver->d, count);
  }
  if (driver->supplied >= driver->last) {
    dispatch_exhausted(driver->d);
    driver->is_exhausted = true;
  }
}

/* Puts so many tasks into the intake, in two portions. Where there is no memory, they are put there later. */
static void push_by_intake(struct driver *driver, double count)
{
  double first = driver->pushed + 1;
  struct intake *intake = dispatch_intake(driver->d, first, arguments_bytes(driver->plan, first, count));
  if (!intake) {
    if (!plan_has(driver->plan, TROUBLE_MEMORY)) fault("the intake takes nothing");
    return;
  }
  intake->block->width = 1;
  for (double k = 0; k < count; k++) put_argument(driver->plan, intake->block, (uint64_t)k, first + k);
  uint32_t part = random_below((uint32_t)count);
  if (part > 0 && intake_publish(intake, part) != INTAKE_NOTHING) dispatch_hand_out(driver->d);
  intake_publish(intake, (uint32_t)count);
  driver->pushed += count;
}

/* Pushes some of the tasks that were not. */
static void push(struct driver *driver)
{
  const struct plan *plan = driver->plan;
  static const double most = 20, intake_share = 0.5;
  double left = plan->tasks - driver->pushed, n = fmin(1 + random_below((uint32_t)most), left);
  if (random_chance(intake_share)) {
    push_by_intake(driver, n);
    return;
  }
  for (; n > 0 && !driver->is_over; n--) {
    double task = driver->pushed + 1;
    if (!stage(driver, task, 1)) return;
    if (dispatch_push(driver->d, task, 1)) {
      ledger_lacks_memory();
      driver->is_over = true;
      return;
    }
    driver->pushed = task;
  }
}

/* ---- events ---- */

/* A task failed: it is tried again, or that was its end. */
static void task_failed(struct driver *driver, double task, uint32_t attempt)
{
  const struct plan *plan = driver->plan;
  if (attempt > plan->retries || driver->is_cancelled) return;
  double delay = plan_has(plan, TROUBLE_BACKOFF) ? plan->backoff * random_unit() : 0;
  int error;
  if ((plan_has(plan, TROUBLE_SUPPLY) || plan_has(plan, TROUBLE_PUSH)) && random_chance(0.2)) {
    struct block *block = stage(driver, task, 1);
    if (!block) return;
    block->origin = task;
    error = dispatch_redo_staged(driver->d, task, attempt + 1, delay);
  } else {
    error = dispatch_redo(driver->d, task, attempt + 1, delay);
  }
  if (error) {
    ledger_lacks_memory();
    driver->is_over = true;
    return;
  }
  ledger_again(task, attempt + 1, world.now + delay);
}

/* One result: its word, NULL: nothing is kept of it. */
static void result(struct driver *driver, double task, const double *word)
{
  uint32_t attempt = driver->event.attempt;
  ledger_result(task, attempt);
  if (word) check_result(driver->event.block, word, task, attempt);
  if (plan_fate(driver->plan, task, attempt) == FATE_ERROR) task_failed(driver, task, attempt);
}

static void results(struct driver *driver)
{
  const struct event *event = &driver->event;
  const struct block *block = event->block;
  if (driver->plan->kind == PLAN_LANES) {
    for (double task = event->last - event->want + 1; task <= event->last; task++) result(driver, task, NULL);
    return;
  }
  if (block->kind == BLOCK_DENSE) {
    if (event->count != event->want) fault("%u results, but %g tasks have ended", (unsigned)event->count, event->want);
    for (uint32_t k = event->from; k < event->from + event->count; k++)
      result(driver, event->first + k, &block->word[k]);
    return;
  }
  uint32_t k = event->from, end = event->from + event->count;
  for (double task = event->last - event->want + 1; task <= event->last; task++) {
    const double *word = k < end && block->word[2 * k] == task ? &block->word[2 * k++ + 1] : NULL;
    if (!word && plan_is_kept(driver->plan, task, event->attempt)) fault("what task %g gave is missing", task);
    result(driver, task, word);
  }
  if (k < end) fault("results of tasks that have not ended: %g", block->word[2 * k]);
}

static void lost(struct driver *driver)
{
  const struct event *event = &driver->event;
  ledger_lost(event);
  if (event->first > 0 && event->cause != LOST_CANCELLED) task_failed(driver, event->first, event->attempt);
}

/* Texts are records of each worker's lives, numbered; what was printed at the end of an earlier run is not told. */
static void text(struct driver *driver)
{
  static struct printed last[1024];
  static uint32_t runs[1024]; /* in which run each was told */
  const struct event *event = &driver->event;
  struct printed *seen = &last[event->worker % 1024], record;
  if (event->length % sizeof record) fault("%u bytes of text are no records", (unsigned)event->length);
  for (uint64_t at = 0; at < event->length; at += sizeof record) {
    memcpy(&record, event->bytes + at, sizeof record);
    bool is_first = record.life != seen->life || runs[event->worker % 1024] != ledger_job();
    uint32_t expected = is_first ? record.number : seen->number + 1;
    runs[event->worker % 1024] = ledger_job();
    if (record.stream != (uint32_t)event->stream)
      fault("text of worker %u came on stream %d, it was printed on %u", (unsigned)event->worker, event->stream,
            (unsigned)record.stream);
    if (record.number != expected)
      fault("text of worker %u: record %u follows record %u", (unsigned)event->worker, (unsigned)record.number,
            (unsigned)(expected - 1));
    *seen = record;
  }
}

/* Workers that end before they can run a task are replaced: so many times, before their lane is closed. */
enum { LEAST_STILLBORN = 3 };

/* Runs that follow another may use the first of the engine's workers alone. */
static uint32_t workers_of(const struct plan *plan, uint32_t job)
{
  uint64_t hash = hash_of(plan->seed + 20, job);
  bool is_part = plan_has(plan, TROUBLE_RUNS) && plan->ranks == 0 && job > 1 && hash % 3 == 0;
  return is_part ? 1 + (uint32_t)(hash >> 32) % plan->workers : plan->workers;
}

/* Was each lane given so many workers, and no more where none could ever run a task? Some may have been closed for
 * another reason. */
static bool has_tried(const struct plan *plan)
{
  bool is_only_cause = plan->start_failure <= 0 && !plan_has(plan, TROUBLE_MEMORY) && !plan_has(plan, TROUBLE_LIMIT) &&
                       !plan_has(plan, TROUBLE_RANKS);
  uint32_t workers = workers_of(plan, ledger_job()), least = LEAST_STILLBORN * (is_only_cause ? workers : 1);
  bool is_first = ledger_job() == 1 && !ledger_any_begun() && plan->kind == PLAN_SLOTS;
  return ledger_starts() >= least && !(is_first && ledger_starts() > LEAST_STILLBORN * workers);
}

static bool trouble_is_due(const struct driver *driver, int error)
{
  const struct plan *plan = driver->plan;
  bool is_start = plan_has(plan, TROUBLE_STARTS) || plan_has(plan, TROUBLE_DEATHS) || plan_has(plan, TROUBLE_MASSACRE);
  switch (error) {
  case ENOMEM: return plan_has(plan, TROUBLE_MEMORY);
  case ECHILD: return is_start && has_tried(plan);
  case ETIMEDOUT:
  case EAGAIN: return is_start;
  case EHOSTDOWN: return plan_has(plan, TROUBLE_RANKS);
  case EBUSY: return plan->engine == ENGINE_ABANDONED && plan_has(plan, TROUBLE_LIMIT);
  default: return false;
  }
}

static void set_ceiling(struct driver *driver, double last)
{
  driver->ceiling = last;
  ledger_ceiling(last);
  dispatch_ceiling(driver->d, last);
}

/* A task to be ended: one that runs, or one that waits, in a worker's chunk or to be handed out; 0: none was found. */
static double task_to_abort(const struct driver *driver)
{
  static const double waiting = 0.5;
  double task = random_chance(waiting) ? 0 : ledger_some_task();
  if (task > 0) return task;
  task = 1 + random_below(driver->pushed > 0 ? (uint32_t)driver->pushed : driver->plan->tasks);
  return ledger_has_ended(task) ? 0 : task;
}

/* What the script does of its own accord, between two events. */
static void act(struct driver *driver)
{
  static const double peek_share = 0.2;
  const struct plan *plan = driver->plan;
  double seconds = world.now - driver->began;
  if (plan->kind == PLAN_SLOTS && random_chance(peek_share)) peeks_look(driver->d);
  if (plan_has(plan, TROUBLE_SINK) && random_chance(plan->sink_rate))
    world_run_until(world.now + random_about(plan->sink_seconds));
  if (plan_has(plan, TROUBLE_CLOSE) && seconds > plan->close_at) driver->is_over = true;
  if (plan_has(plan, TROUBLE_CANCEL) && !plan_is_interrupted(plan) && seconds > plan->cancel_at &&
      !driver->is_cancelled) {
    driver->is_cancelled = true;
    ledger_cancel();
    dispatch_cancel(driver->d);
  }
  if (plan_has(plan, TROUBLE_SHORTEN) && seconds > plan->shorten_at && !driver->is_shortened) {
    double last = 1 + random_below(plan->tasks);
    driver->is_shortened = true;
    ledger_shorten(last);
    dispatch_shorten(driver->d, last);
    ledger_has_shortened();
  }
  if (plan_has(plan, TROUBLE_PUSH) && !driver->is_cancelled) {
    for (uint32_t n = random_chance(0.3) ? 1 + random_below(3) : 0; n > 0 && !driver->is_over; n--)
      if (driver->pushed < plan->tasks) push(driver);
    if (driver->pushed == plan->tasks && ledger_reached() == plan->tasks) driver->is_over = true;
  }
  if (plan_has(plan, TROUBLE_ABORTS) && !driver->is_over && random_chance(plan->abort_rate)) {
    double task = task_to_abort(driver);
    if (task > 0 && dispatch_abort(driver->d, task)) ledger_abort(task);
  }
  if (plan_has(plan, TROUBLE_CEILING)) {
    double ceiling = ledger_reached() + plan->window;
    if (ceiling > driver->ceiling) set_ceiling(driver, ceiling);
  }
}

static void tell(struct driver *driver)
{
  driver->events++;
  switch (driver->event.kind) {
  case EVENT_RESULTS: results(driver); break;
  case EVENT_SUPPLY:
    if (plan_has(driver->plan, TROUBLE_PUSH)) fault("arguments are asked for where tasks are pushed");
    supply(driver);
    break;
  case EVENT_LOST: lost(driver); break;
  case EVENT_TEXT: text(driver); break;
  case EVENT_SIGNAL:
    driver->is_cancelled = true;
    ledger_cancel();
    dispatch_cancel(driver->d);
    break;
  case EVENT_DONE:
    if (plan_has(driver->plan, TROUBLE_PUSH) && !driver->is_cancelled) fault("a run of pushed tasks has ended");
    ledger_done(plan_has(driver->plan, TROUBLE_SUPPLY) ? fmin(driver->supplied + driver->behind, driver->plan->tasks)
                                                       : driver->plan->tasks);
    if (plan_has(driver->plan, TROUBLE_SUPPLY) && !driver->is_exhausted && !driver->is_cancelled &&
        !driver->is_shortened)
      fault("the run has ended before the supply");
    driver->is_over = true;
    break;
  case EVENT_TROUBLE:
    if (!trouble_is_due(driver, driver->event.status))
      fault("the run can't go on, errno %d, without cause", (int)driver->event.status);
    driver->is_over = true;
    break;
  default: break;
  }
}

static void begin(struct driver *driver)
{
  const struct plan *plan = driver->plan;
  if (plan_has(plan, TROUBLE_CEILING)) set_ceiling(driver, plan->window);
  if (plan_has(plan, TROUBLE_PUSH)) push(driver);
  if (plan_has(plan, TROUBLE_SUPPLY) || plan_has(plan, TROUBLE_PUSH)) return;
  for (double task = 1; task <= plan->tasks && !driver->is_over; task++) {
    double last = skip_from(plan, task);
    if (last == 0) continue;
    skip(driver, task, last);
    task = last;
  }
}

/* The next event. Where tasks are pushed, the script is away now and then, and the attendant goes on. */
static void next(struct driver *driver)
{
  static const double share = 0.1, away_share = 0.3, wait = 0.01, away = 0.005;
  bool is_pushed = plan_has(driver->plan, TROUBLE_PUSH);
  double seconds = is_pushed || random_chance(share) ? random_about(wait) : INFINITY;
  if (is_pushed && random_chance(away_share))
    attending_serve(random_about(away), driver->pushed - ledger_count_ended());
  attending_next(&driver->event, seconds);
}

/* The job as workers that inherit nothing are sent it. */
static const struct block *job_message(const struct plan *plan, uint32_t job)
{
  static union {
    struct block block;
    char bytes[2 * BLOCK_BYTES];
  } message;
  message.block =
      (struct block){.kind = BLOCK_JOB, .size = BLOCK_HEAD + 64, .floor = BLOCK_HEAD + 64, .job = job, .chunk = job};
  if (plan_has(plan, TROUBLE_LARGE)) message.block.size = message.block.floor = sizeof message.bytes;
  return &message.block;
}

bool drive(const struct plan *plan, struct engine *engine, uint32_t job, struct outcome_of_run *outcome)
{
  struct driver driver = {.plan = plan, .engine = engine, .began = world.now, .ceiling = INFINITY, .last = plan->tasks};
  bool is_supplied = plan_has(plan, TROUBLE_SUPPLY) || plan_has(plan, TROUBLE_PUSH);
  struct dispatch_options options = {.total = is_supplied ? -1.0 : plan->tasks, .chunk = plan->chunk};
  options.timeout = plan_has(plan, TROUBLE_LIMIT) ? plan->limit : 0;
  options.workers = workers_of(plan, job);
  options.group = plan->group ? plan->group : GROUP_JOINED;
  options.sparse = plan_has(plan, TROUBLE_SPARSE);
  options.is_pushed = plan_has(plan, TROUBLE_PUSH);
  options.is_gathered = !options.is_pushed && fmod(plan->tasks, 2) == 0;
  bool is_ordered = plan_has(plan, TROUBLE_CEILING) || plan_has(plan, TROUBLE_SKIPS) || plan->group > 0;
  if (options.is_gathered && !is_ordered) options.any_order = plan->tasks;
  options.job = job;
  if (!engine->kind->can.inherit) options.message = job_message(plan, job);
  if (options.message && engine->kind->share) options.message = engine->kind->share(engine, options.message);
  ledger_begin(plan, job);
  world_progress();
  driver.d = dispatch_open(engine, &options);
  if (!driver.d) {
    if (!plan_has(plan, TROUBLE_MEMORY)) fault("the run could not be opened");
    ledger_close();
    return true;
  }
  peeks_begin();
  attending_begin(driver.d);
  begin(&driver);
  uint64_t every = plan->workers <= MOST_EACH ? 1 : (uint64_t)fmax(MOST_EACH, plan->workers / SHARE);
  while (!driver.is_over) {
    next(&driver);
    if (driver.event.kind != EVENT_TICK) world_progress();
    if (driver.events % every == 0) inside_check(driver.d);
    if (driver.events == plan->seed % MOST_BEFORE_RISE) inside_rise(driver.d);
    tell(&driver);
    if (!driver.is_over) act(&driver);
  }
  peeks_end();
  attending_end();
  ledger_closes();
  dispatch_close(driver.d);
  ledger_close();
  outcome->seconds += ledger_last_finish() - driver.began;
  outcome->events += driver.events;
  outcome->tasks += plan->tasks;
  return true;
}
