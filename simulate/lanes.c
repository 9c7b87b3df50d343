/* lanes.c - see lanes.h. The worker of a lane is a list of chunks and a timer for the end of the task that it is in.
 * What it has done is told when the dispatcher looks, as from a slot; a distant one answers after a while. */
#include "lanes.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "ledger.h"
#include "memory.h"
#include "run/queue.h"
#include "sys/clock.h"
#include "system.h"
#include "world.h"

enum { MOST_CHUNKS = 8 };

/* A chunk at the worker. */
struct chunk {
  uint32_t number, attempt;
  double first, limit; /* no task behind it is begun */
  double in;           /* task that it is in, or the last that it was in; before the first: first - 1 */
  double done;         /* last task that has ended */
  double there_at;     /* when it has come */
  double began, took;
  bool is_begun, is_over;
  bool is_gone; /* taken back: the answer is on its way */
};

struct simulated {
  struct lane lane;
  struct chunk chunks[MOST_CHUNKS]; /* in the order in which they were given */
  uint32_t count;
  uint64_t life, task_turn; /* so that a timer that is out of date is known */
  bool is_up, is_end_told;
  int status;
  uint32_t job;
  double task_began;
  /* The answer of a distant one: */
  bool has_answer;
  uint32_t answer_chunk; /* 0: nothing is given back */
  double answer_keep;
  bool has_ever_begun;
};

static struct simulated *own(const struct lane *lane)
{
  return (struct simulated *)(void *)(uintptr_t)lane;
}

static bool can_kill(const struct lane *lane)
{
  return lane->crew->engine->kind->can.kill;
}

static bool is_distant(void)
{
  return plan_has(ledger_plan(), TROUBLE_DISTANT);
}

/* ---- time goes on for a worker ---- */

/* Lanes are made anew for each run, timers may outlive them: what they go by. */
static struct {
  struct simulated **lane; /* by ticket */
  uint32_t room, count;
} tickets;

void lanes_begin(void)
{
  tickets.count = 0;
}

static uint64_t new_life(struct simulated *worker)
{
  if (tickets.count == tickets.room) {
    tickets.room = tickets.room ? 2 * tickets.room : 4096;
    tickets.lane = memory_own(tickets.lane, tickets.room * sizeof(struct simulated *));
  }
  tickets.lane[tickets.count++] = worker;
  return tickets.count;
}

static struct simulated *by_life(uint64_t life)
{
  struct simulated *worker = tickets.lane[life - 1];
  return worker && worker->life == life ? worker : NULL;
}

static void end_life(struct simulated *worker)
{
  if (worker->life) tickets.lane[worker->life - 1] = NULL;
  worker->life = 0;
  worker->is_up = false;
}

/* Is the ledger to know what it does with a task? Those that merge results are an agent's own. */
static bool counts(const struct simulated *worker, double task)
{
  return task < FIRST_EXTRA && !system_is_cut_off(worker->lane.crew->engine);
}

static void news(const struct simulated *worker)
{
  struct bell bell = hub_bell(&worker->lane.crew->engine->hub, worker->lane.number);
  system_ring(&bell);
}

static struct chunk *present_chunk(struct simulated *worker)
{
  for (uint32_t i = 0; i < worker->count; i++)
    if (!worker->chunks[i].is_over && !worker->chunks[i].is_gone) return &worker->chunks[i];
  return NULL;
}

static struct chunk *chunk_of(struct simulated *worker, const struct work *work)
{
  for (uint32_t i = 0; i < worker->count; i++)
    if (worker->chunks[i].number == work->number) return &worker->chunks[i];
  return NULL;
}

static void drop_chunk(struct simulated *worker, struct chunk *chunk)
{
  size_t behind = worker->count - 1 - (size_t)(chunk - worker->chunks);
  memmove(chunk, chunk + 1, behind * sizeof *chunk);
  worker->count--;
}

static void tell_end(void *what, uint64_t life)
{
  (void)what;
  struct simulated *worker = by_life(life);
  if (!worker) return;
  struct bell bell = hub_bell(&worker->lane.crew->engine->hub, worker->lane.number);
  worker->is_end_told = true;
  system_tell_end(&bell);
}

/* The worker dies; `is_own`: by itself. */
static void die(struct simulated *worker, bool is_own)
{
  const struct chunk *chunk = present_chunk(worker);
  bool is_in = chunk && chunk->in > chunk->done;
  if (!worker->is_up) return;
  worker->is_up = false;
  worker->status = SIGKILL;
  double task = is_in ? chunk->in : 0;
  uint32_t attempt = is_in ? chunk->attempt : 0;
  if (counts(worker, task) && is_own) ledger_worker_dies(worker->job, task, attempt);
  if (counts(worker, task) && !is_own)
    ledger_worker_is_ended(worker->job, task, attempt, world.now - worker->task_began);
  world_at(world.now + random_about(ledger_plan()->latency), tell_end, NULL, worker->life);
}

static void task_ended(void *what, uint64_t turn);

/* Begins what comes next. */
static void go_on(struct simulated *worker)
{
  const struct plan *plan = ledger_plan();
  for (struct chunk *chunk; (chunk = present_chunk(worker));) {
    if (chunk->there_at > world.now) return;
    if (!chunk->is_begun) chunk->began = world.now;
    chunk->is_begun = worker->has_ever_begun = true;
    if (chunk->done >= chunk->limit) {
      chunk->is_over = true;
      chunk->took = world.now - chunk->began;
      news(worker);
      continue;
    }
    chunk->in = chunk->done + 1;
    worker->task_began = world.now;
    if (counts(worker, chunk->in)) ledger_task_begins(worker->job, chunk->in, chunk->attempt, world.now);
    enum fate fate = plan_fate(plan, chunk->in, chunk->attempt);
    double length = plan_length(plan, chunk->in, chunk->attempt);
    worker->task_turn++;
    if (fate == FATE_CRASH || length > 0) {
      double at = world.now + (fate == FATE_CRASH ? length * random_unit() : length);
      world_at(at, task_ended, NULL, worker->life << 32 | (worker->task_turn & 0xffffffff));
      return;
    }
    if (counts(worker, chunk->in)) ledger_task_finishes(worker->job, chunk->in, chunk->attempt);
    chunk->done = chunk->in;
  }
}

static void task_ended(void *what, uint64_t turn)
{
  (void)what;
  struct simulated *worker = by_life(turn >> 32);
  struct chunk *chunk = worker ? present_chunk(worker) : NULL;
  if (!chunk || !worker->is_up || (worker->task_turn & 0xffffffff) != (turn & 0xffffffff)) return;
  if (plan_fate(ledger_plan(), chunk->in, chunk->attempt) == FATE_CRASH) {
    die(worker, true);
    return;
  }
  if (counts(worker, chunk->in)) ledger_task_finishes(worker->job, chunk->in, chunk->attempt);
  chunk->done = chunk->in;
  go_on(worker);
}

static void die_anywhere(void *what, uint64_t life)
{
  (void)what;
  struct simulated *worker = by_life(life);
  if (worker) die(worker, true);
}

void lanes_cut_off(const struct engine *engine)
{
  for (uint32_t i = 0; i < tickets.count; i++) {
    struct simulated *worker = tickets.lane[i];
    const struct chunk *chunk = worker && worker->lane.crew->engine == engine ? present_chunk(worker) : NULL;
    if (chunk && worker->is_up && chunk->in > chunk->done && chunk->in < FIRST_EXTRA)
      ledger_worker_dies(worker->job, chunk->in, chunk->attempt);
  }
}

void lanes_kill_all(const struct engine *engine)
{
  for (uint32_t i = 0; i < tickets.count; i++)
    if (tickets.lane[i] && tickets.lane[i]->lane.crew->engine == engine) die(tickets.lane[i], true);
}

static void killed(void *what, uint64_t life)
{
  (void)what;
  struct simulated *worker = by_life(life);
  if (worker) die(worker, false);
}

static void arrive(void *what, uint64_t turn)
{
  (void)what;
  struct simulated *worker = by_life(turn);
  const struct chunk *chunk = worker && worker->is_up ? present_chunk(worker) : NULL;
  if (chunk && chunk->in == chunk->done) go_on(worker); /* else it is in a task */
}

/* ---- the lane's verbs ---- */

static int simulated_start(struct lane *lane)
{
  const struct plan *plan = ledger_plan();
  struct simulated *worker = own(lane);
  if (plan_has(plan, TROUBLE_STARTS) && random_chance(plan->start_failure)) return EAGAIN;
  end_life(worker);
  worker->count = 0;
  worker->is_end_told = worker->has_answer = worker->has_ever_begun = false;
  worker->is_up = true;
  worker->job = ledger_job();
  worker->life = new_life(worker);
  lane->crew->engine->alive[lane->number] = true;
  ledger_worker_starts();
  world_progress();
  double at = INFINITY;
  if (plan_has(plan, TROUBLE_STARTS) && random_chance(plan->start_death)) at = random_about(plan->latency);
  if (plan_has(plan, TROUBLE_DEATHS)) at = fmin(at, random_about(1 / plan->death_rate));
  if (plan_has(plan, TROUBLE_MASSACRE) && plan->massacre_at > world.now - 1000)
    at = fmin(at, plan->massacre_at + 1000 - world.now);
  if (at < 1e6) world_at(world.now + at, die_anywhere, NULL, worker->life);
  return 0;
}

static void simulated_give(struct lane *lane, struct work *work)
{
  struct simulated *worker = own(lane);
  double there_at = world.now + system_ahead() + (is_distant() ? random_about(ledger_plan()->latency) : 0);
  if (worker->count == MOST_CHUNKS) fault("a lane was given more than it wants");
  work->number = ++lane->crew->engine->chunks;
  work->bound = work->last;
  work->is_complete = true;
  lane_hold(lane, work);
  worker->chunks[worker->count++] = (struct chunk){.number = work->number,
                                                   .attempt = work->attempt,
                                                   .first = work->first,
                                                   .limit = work->last,
                                                   .there_at = there_at,
                                                   .in = work->first - 1,
                                                   .done = work->first - 1};
  world_at(there_at, arrive, NULL, worker->life);
}

static uint32_t simulated_wants(const struct lane *lane)
{
  uint32_t depth = ledger_plan()->depth;
  return lane->count < depth ? depth - lane->count : 0;
}

static bool simulated_take_back(struct lane *lane, struct work *work)
{
  struct simulated *worker = own(lane);
  struct chunk *chunk = chunk_of(worker, work);
  if (is_distant() || !chunk || chunk->is_begun) return false;
  drop_chunk(worker, chunk);
  lane_let_go(lane, work);
  return true;
}

static double simulated_lower(struct lane *lane, struct work *work, double last)
{
  struct chunk *chunk = chunk_of(own(lane), work);
  if (!chunk || chunk->is_gone) return work->last;
  double keep = fmax(fmax(last, work->first - 1), chunk->in);
  chunk->limit = fmin(chunk->limit, keep);
  return is_distant() ? work->last : fmin(keep, work->last);
}

static double left_of(const struct lane *lane, const struct chunk *chunk)
{
  return fmax(lane->crew->per_task, 1e-9) * fmax(chunk->limit - fmax(chunk->in, chunk->first - 1), 0);
}

static double simulated_left(const struct lane *lane, double now)
{
  struct simulated *worker = own(lane);
  static const double least = 60e-6;
  double left = 0;
  (void)now;
  if (lane->state != LANE_READY || lane->count == 0) return 0;
  for (uint32_t i = 0; i < worker->count; i++) {
    const struct chunk *chunk = &worker->chunks[i];
    bool is_present = chunk == present_chunk(worker);
    if (chunk->is_over || chunk->is_gone || (is_present && (!chunk->is_begun || !lane->crew->may_cut))) continue;
    double here = left_of(lane, chunk);
    if (!chunk->is_begun || here > least) left += here;
  }
  return left;
}

/* What the worker gives back when it is asked now; NULL: nothing. */
static struct chunk *give_back(struct simulated *worker, double *keep)
{
  static const double least = 1; /* the task behind the one that it is in may be handed out elsewhere */
  for (uint32_t i = worker->count; i-- > 0;) {
    struct chunk *chunk = &worker->chunks[i];
    double left = chunk->limit - chunk->in;
    if (chunk->is_over || chunk->is_gone) continue;
    if (!chunk->is_begun) {
      if (chunk == present_chunk(worker)) return NULL; /* it is about to begin it */
      *keep = chunk->first - 1;
      chunk->is_gone = true;
      return chunk;
    }
    if (!worker->lane.crew->may_cut || left < least) continue;
    *keep = chunk->limit = chunk->in + floor(left / 2);
    return chunk;
  }
  return NULL;
}

static void answer(void *what, uint64_t life)
{
  (void)what;
  struct simulated *worker = by_life(life);
  if (!worker) return;
  worker->has_answer = true;
  news(worker);
}

static void asked(void *what, uint64_t life)
{
  (void)what;
  struct simulated *worker = by_life(life);
  if (!worker || !worker->is_up) return;
  const struct chunk *chunk = give_back(worker, &worker->answer_keep);
  worker->answer_chunk = chunk ? chunk->number : 0;
  world_at(world.now + random_about(ledger_plan()->latency), answer, NULL, life);
}

static struct work *work_of_number(const struct lane *lane, uint32_t number)
{
  for (struct link *link = lane->held.next; link != &lane->held; link = link->next) {
    struct work *work = LIST_OF(link, struct work, link);
    if (work->number == number) return work;
  }
  return NULL;
}

static void fill_answer(struct lane *lane, struct work *work, double keep, struct outcome *outcome)
{
  struct simulated *worker = own(lane);
  *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK};
  if (!work || keep >= work->last) return;
  outcome->work = work;
  outcome->keep = fmax(keep, work->reached);
  if (outcome->keep >= work->first) return;
  struct chunk *chunk = chunk_of(worker, work);
  if (!chunk || !chunk->is_gone) return;
  drop_chunk(worker, chunk);
  lane_let_go(lane, work);
}

static bool simulated_ask_back(struct lane *lane, struct outcome *outcome)
{
  struct simulated *worker = own(lane);
  if (is_distant()) {
    worker->has_answer = false;
    world_at(world.now + random_about(ledger_plan()->latency), asked, NULL, worker->life);
    return false;
  }
  double keep = 0;
  const struct chunk *chunk = worker->is_up ? give_back(worker, &keep) : NULL;
  fill_answer(lane, chunk ? work_of_number(lane, chunk->number) : NULL, keep, outcome);
  return true;
}

static bool simulated_view(const struct lane *lane, struct lane_view *view)
{
  struct simulated *worker = own(lane);
  const struct chunk *chunk = present_chunk(worker);
  if (is_distant()) return false;
  *view = (struct lane_view){.has_begun = worker->has_ever_begun};
  if (!chunk || chunk->in == chunk->done) return true;
  view->present = (struct present){.task = chunk->in, .chunk = chunk->number};
  view->started = chunk->began;
  return true;
}

/* Results of tasks, all of them 0, but of a merge that fails: of more than the block has room for, none. */
static struct block *results_of(double first, double count)
{
  enum { MOST_WORDS = 1 << 16 };
  static union {
    struct block block;
    char bytes[BLOCK_HEAD + 8 * MOST_WORDS];
  } results;
  uint32_t words = count <= MOST_WORDS ? (uint32_t)count : 0;
  results.block = (struct block){.first = first, .kind = BLOCK_DENSE, .count = words};
  results.block.size = results.block.floor = BLOCK_HEAD + 8 * (uint64_t)words;
  bool is_failure = first >= FIRST_EXTRA && plan_fate(ledger_plan(), first, 2) == FATE_ERROR;
  uint64_t word = is_failure ? (uint64_t)(uint32_t)TAG_FAILURE << 32 : 0;
  memcpy(results.block.word, &word, sizeof word);
  return &results.block;
}

/* ---- outcomes ---- */

static bool take_results(struct lane *lane, struct outcome *outcome, bool partial)
{
  struct simulated *worker = own(lane);
  struct work *work = lane_first(lane);
  struct chunk *chunk = work ? chunk_of(worker, work) : NULL;
  if (!chunk || chunk->is_gone) return false;
  if (!chunk->is_over && (!partial || chunk->done <= work->reached)) return false;
  *outcome = (struct outcome){.kind = OUTCOME_RESULTS, .work = work, .last = chunk->done};
  outcome->fresh = chunk->done - work->reached;
  outcome->block = results_of(work->reached + 1, outcome->fresh);
  outcome->count = outcome->block->count;
  outcome->is_final = chunk->is_over;
  outcome->seconds = chunk->took;
  work->reached = chunk->done;
  if (chunk->is_over) drop_chunk(worker, chunk);
  return true;
}

/* Whom the worker's end concerns: what was decided about a task concerns that task alone. */
static void bury(struct lane *lane, struct outcome *outcome)
{
  struct simulated *worker = own(lane);
  const struct chunk *chunk = present_chunk(worker);
  bool is_decided = lane->cause == LOST_TIMEOUT || lane->cause == LOST_CANCELLED;
  *outcome = (struct outcome){.kind = OUTCOME_ENDED, .status = worker->status, .had_begun = worker->has_ever_begun};
  outcome->cause = lane->cause ? lane->cause : LOST_CRASH;
  if (chunk && chunk->in > chunk->done &&
      (!is_decided || lane->doomed.task == 0 ||
       (lane->doomed.task == chunk->in && lane->doomed.chunk == chunk->number))) {
    outcome->work = work_of_number(lane, chunk->number);
    outcome->task = chunk->in;
    outcome->task_seconds = world.now - worker->task_began;
  }
  end_life(worker);
  worker->count = 0;
  worker->has_answer = false;
}

static bool give_up(struct lane *lane, struct outcome *outcome)
{
  struct simulated *worker = own(lane);
  const struct chunk *chunk = present_chunk(worker);
  bool is_in = chunk && chunk->in > chunk->done;
  if (lane->count == 0 || (lane->cause == LOST_TIMEOUT &&
                           (!is_in || chunk->in != lane->doomed.task || chunk->number != lane->doomed.chunk))) {
    lane->cause = 0;
    lane->state = LANE_READY;
    return false;
  }
  if (is_in && counts(worker, chunk->in))
    ledger_worker_is_ended(worker->job, chunk->in, chunk->attempt, world.now - worker->task_began);
  lane->state = LANE_ENDED;
  bury(lane, outcome);
  return true;
}

static bool simulated_next(struct lane *lane, struct outcome *outcome, bool partial)
{
  struct simulated *worker = own(lane);
  if (lane->state == LANE_EMPTY || lane->state == LANE_CLOSED) return false;
  if (worker->is_end_told && lane->state != LANE_ENDED) lane->state = LANE_ENDED;
  if (lane->state == LANE_ENDING && can_kill(lane)) return false;
  if (take_results(lane, outcome, partial || lane->state == LANE_ENDED)) return true;
  if (lane->state == LANE_ENDED) {
    bury(lane, outcome);
    return true;
  }
  if (lane->state == LANE_ENDING) return give_up(lane, outcome);
  if (!lane->is_asked || !worker->has_answer) return false;
  worker->has_answer = false;
  fill_answer(lane, worker->answer_chunk ? work_of_number(lane, worker->answer_chunk) : NULL, worker->answer_keep,
              outcome);
  return true;
}

static void simulated_release(struct lane *lane)
{
  (void)lane;
}

static void simulated_check_end(struct lane *lane)
{
  if (own(lane)->is_end_told && (lane->state == LANE_READY || lane->state == LANE_ENDING)) lane->state = LANE_ENDED;
}

static int simulated_end(struct lane *lane)
{
  struct simulated *worker = own(lane);
  const struct chunk *chunk = present_chunk(worker);
  lane->state = LANE_ENDING;
  if (chunk && worker->is_up && counts(worker, chunk->in))
    ledger_end_is_decided(worker->job, chunk->in > chunk->done ? chunk->in : 0, chunk->attempt);
  if (can_kill(lane)) world_at(world.now + random_about(ledger_plan()->latency), killed, NULL, worker->life);
  return 0;
}

static void simulated_quiet(struct lane *lane, bool is_cancelled)
{
  struct simulated *worker = own(lane);
  (void)is_cancelled;
  for (uint32_t i = 0; i < worker->count; i++)
    worker->chunks[i].limit = fmin(worker->chunks[i].limit, worker->chunks[i].in);
}

static void simulated_close(struct lane *lane, double deadline)
{
  (void)deadline;
  if (lane->state != LANE_EMPTY && lane->state != LANE_CLOSED) lane->crew->engine->alive[lane->number] = false;
  end_life(own(lane));
  for (struct link *link; (link = list_take(&lane->held));)
    work_free(lane->crew->store, LIST_OF(link, struct work, link));
  lane->count = 0;
}

const struct lane_kind lane_simulated = {
    .bytes = sizeof(struct simulated),
    .start = simulated_start,
    .give = simulated_give,
    .wants = simulated_wants,
    .take_back = simulated_take_back,
    .lower = simulated_lower,
    .shorten = simulated_lower,
    .ask_back = simulated_ask_back,
    .left = simulated_left,
    .view = simulated_view,
    .next = simulated_next,
    .release = simulated_release,
    .check_end = simulated_check_end,
    .end = simulated_end,
    .quiet = simulated_quiet,
    .close = simulated_close,
};

/* ---- the engine below ---- */

static int no_start(struct engine *engine, uint32_t w)
{
  (void)engine, (void)w;
  return ENOSYS;
}

static int no_end(struct engine *engine, uint32_t w)
{
  (void)engine, (void)w;
  return ENOSYS;
}

static bool no_ended(struct engine *engine, uint32_t w, int *status)
{
  (void)engine, (void)w, (void)status;
  return false;
}

const struct engine_kind lanes_killed = {
    .name = "lanes", .can = {.kill = true}, .start = no_start, .end = no_end, .ended = no_ended};
const struct engine_kind lanes_abandoned = {
    .name = "lanes", .can = {.abandon = true}, .start = no_start, .end = no_end, .ended = no_ended};

void lanes_end(struct engine *engine)
{
  for (uint32_t w = 0; w < engine->workers; w++) engine->alive[w] = false;
}
