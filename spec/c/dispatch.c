/* dispatch.c - run by spec/dispatch_spec.lua: what the dispatcher (run/dispatch.h) hands out, takes back and tells,
 * over lanes by hand, at a clock of its own. */
#include "run/dispatch.h"

#include <math.h>

#include "check.h"
#include "run/state.h"
#include "sys/clock.h"
#include "sys/signals.h"

static double now = 100;

double clock_seconds(void)
{
  return now += 1e-6;
}

/* ---- lanes ---- */

enum { LANES = 2 };

static bool is_gone[LANES];                    /* the worker */
static struct outcome coming[LANES];           /* of kind 0: there is none */
static double reserve, given_first[LANES + 1]; /* first task of what was given last; 0: nothing was */
static uint32_t depth, asked;

static bool is_idle(const struct lane *lane)
{
  return lane->count == 0;
}

static double room(const struct lane *lane)
{
  (void)lane;
  return 100;
}

static double reserved(const struct lane *lane)
{
  (void)lane;
  return reserve;
}

static bool takes_retry(const struct lane *lane)
{
  (void)lane;
  return true;
}

static int start_lane(struct lane *lane)
{
  lane->crew->engine->alive[lane->number] = true;
  return 0;
}

static void give(struct lane *lane, struct work *work)
{
  lane_hold(lane, work);
  given_first[lane->number] = work->first;
}

static uint32_t wants(const struct lane *lane)
{
  return lane->count < depth ? depth - lane->count : 0;
}

static bool take_back(struct lane *lane, struct work *work)
{
  (void)lane, (void)work;
  return false;
}

static double lower(struct lane *lane, struct work *work, double last)
{
  (void)lane, (void)last;
  return work->last;
}

static bool ask_back(struct lane *lane, struct outcome *outcome)
{
  asked++;
  *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK};
  return !lane->kind->is_rank;
}

static double left(const struct lane *lane, double at)
{
  (void)at;
  return lane->count;
}

static bool view(const struct lane *lane, struct lane_view *seen)
{
  (void)lane;
  *seen = (struct lane_view){.has_begun = true};
  return true;
}

static bool next(struct lane *lane, struct outcome *outcome, bool partial)
{
  struct outcome *mine = &coming[lane->number];
  (void)partial;
  if (lane->state == LANE_ENDED && !mine->kind)
    *mine = (struct outcome){.kind = OUTCOME_ENDED, .cause = LOST_CRASH, .had_begun = true};
  if (!mine->kind) return false;
  *outcome = *mine;
  mine->kind = 0;
  return true;
}

static void nothing(struct lane *lane)
{
  (void)lane;
}

static void check_end(struct lane *lane)
{
  if (is_gone[lane->number] && lane->state == LANE_READY) lane->state = LANE_ENDED;
}

static int end_lane(struct lane *lane)
{
  lane->state = LANE_ENDING;
  return 0;
}

static void quiet(struct lane *lane, bool is_cancelled)
{
  (void)lane, (void)is_cancelled;
}

static void close_lane(struct lane *lane, double deadline)
{
  (void)deadline;
  for (struct link *link; (link = list_take(&lane->held));)
    work_free(lane->crew->store, LIST_OF(link, struct work, link));
  lane->count = 0;
  lane->crew->engine->alive[lane->number] = false;
}

#define LANE                                                                                                       \
  .bytes = sizeof(struct lane), .is_idle = is_idle, .room = room, .reserve = reserved, .takes_retry = takes_retry, \
  .start = start_lane, .give = give, .wants = wants, .take_back = take_back, .lower = lower, .shorten = lower,     \
  .ask_back = ask_back, .left = left, .view = view, .next = next, .release = nothing, .check_end = check_end,      \
  .end = end_lane, .quiet = quiet, .close = close_lane

static const struct lane_kind worker_lane = {LANE}, rank_lane = {LANE, .is_rank = true};

/* No run here is over workers with slots. */
const struct lane_kind lane_over_slot = {LANE};

/* ---- the engine ---- */

static struct engine engine;
static struct dispatch *run;

static int no_start(struct engine *of, uint32_t w)
{
  (void)of, (void)w;
  return 0;
}

static bool no_ended(struct engine *of, uint32_t w, int *status)
{
  (void)of, (void)w, (void)status;
  return false;
}

static const struct engine_kind kind = {.name = "hand", .start = no_start, .end = no_start, .ended = no_ended};

/* `workers` lanes, whose workers are alive. */
static void begin(const struct lane_kind *lanes, uint32_t workers, uint32_t deep, struct dispatch_options options)
{
  if (engine_open(&engine, &kind, workers)) fail("there is no memory");
  engine.lanes = lanes;
  engine.all = workers;
  depth = deep;
  for (uint32_t w = 0; w < workers; w++) {
    engine.alive[w] = true;
    is_gone[w] = false;
    given_first[w] = 0;
    coming[w] = (struct outcome){0};
  }
  options.workers = workers;
  run = dispatch_open(&engine, &options);
  if (!run) fail("there is no memory");
}

/* Worker 0 is one of this process, 1 a rank; each has tasks, and nothing is left to be handed out. */
static void begin_with_rank(uint32_t deep)
{
  static const double first[] = {1, 2};
  begin(&worker_lane, 2, deep, (struct dispatch_options){.total = INFINITY, .chunk = 1, .is_fed = true});
  engine.rank_lanes = &rank_lane;
  engine.ranks_from = 1;
  dispatch_lane(run, 1)->kind = &rank_lane;
  for (int i = 0; i < 2; i++)
    if (dispatch_offer(run, first[i], first[i], 1, NULL)) fail("there is no memory");
}

static void finish(void)
{
  dispatch_close(run);
  engine_close(&engine);
}

/* The next event within the time, if it is no tick. */
static struct event wait_for(double seconds)
{
  struct event event = {.kind = EVENT_TICK};
  for (double until = now + seconds; event.kind == EVENT_TICK && now < until;) dispatch_next(run, &event, 1e-3);
  return event;
}

/* ---- what is checked ---- */

/* That a worker has ended which has nothing to do, and of whose end no descriptor tells, is told. */
static void check_unwatched(void)
{
  begin(&worker_lane, 1, 2, (struct dispatch_options){.total = -1, .is_pushed = true});
  engine.unwatched[0] = true;
  dispatch_place(run, dispatch_lane(run, 0), now); /* it came to rest */
  is_gone[0] = true;
  struct event event = wait_for(1);
  if (event.kind != EVENT_LOST || event.first != 0) fail("nobody hears that a worker has ended that had nothing to do");
  finish();
}

/* The last task that was not begun goes to a worker elsewhere that has nothing to do. */
static void check_last_task(void)
{
  struct range ranges[4];
  struct event event;
  double until;
  begin(&worker_lane, 1, 1, (struct dispatch_options){.total = INFINITY, .chunk = 1, .is_fed = true});
  for (double task = 1; task <= 2; task++)
    if (dispatch_offer(run, task, task, 1, NULL)) fail("there is no memory");
  while (dispatch_poll(run, &event, &until)) continue;
  if (given_first[0] != 1 || run->queue.ranged != 1) fail("a task was not handed out, or too many were");
  if (dispatch_part(run, 1, ranges, 4) != 1 || ranges[0].first != 2) fail("the last task is kept from idle workers");
  asked = 0;
  if (dispatch_part(run, 0, ranges, 4) != 0 || asked != 0)
    fail("a worker's chunk goes to one that has something to do");
  dispatch_part(run, 1, ranges, 4);
  if (asked != 1) fail("a worker that has a chunk is not asked for those that have none");
  finish();
}

/* The rank with the most work is asked before the worker here has nothing to do, for what it has not handed out. */
static void check_ask_ahead(void)
{
  for (reserve = 1; reserve <= 2; reserve++)
    for (uint32_t deep = 1; deep <= 2; deep++) {
      struct event event;
      double until;
      begin_with_rank(deep);
      asked = 0;
      while (dispatch_poll(run, &event, &until)) continue;
      if (asked != (deep == 2 && reserve == 2)) fail("a rank is asked too early, or not before a worker waits for it");
      if (asked && run->crew.idle != 0) fail("a rank is asked as if a worker waited for it");
      finish();
    }
  engine.rank_lanes = NULL;
  reserve = 0;
}

/* Where tasks take longer and longer, the rest is handed out from its end, if any order will do. */
static void check_turn(void)
{
  enum { TASKS = 1000 };
  for (int is_any = 0; is_any < 2; is_any++) {
    struct event event;
    double until, any = is_any ? TASKS : 0;
    begin(&worker_lane, 1, 2, (struct dispatch_options){.total = TASKS, .any_order = any});
    for (double task = 1; task < TASKS / 2 && !chunks_rise(&run->chunks); task++)
      chunks_measure(&run->chunks, 1, 1e-3 * task);
    while (dispatch_poll(run, &event, &until)) continue;
    if (given_first[0] != (is_any ? TASKS - 1 : 1 + run->chunks.size)) fail("tasks are handed out in the wrong order");
    finish();
    begin(&worker_lane, 1, 1, (struct dispatch_options){.total = -1, .any_order = any});
    run->chunks.rises = 100;
    if (!dispatch_poll(run, &event, &until) || event.kind != EVENT_SUPPLY || event.last != any)
      fail("the wrong tasks are wanted of a source");
    if (!dispatch_stage(run, 256)) fail("there is no memory");
    dispatch_supply(run, 1);
    if (given_first[0] != fmax(any, 1)) fail("tasks are supplied as others");
    finish();
  }
}

/* What ends behind the run's end is no failure of a task. */
static void check_shortened(void)
{
  for (int is_behind = 0; is_behind < 2; is_behind++)
    for (int is_rank = 0; is_rank < 2; is_rank++) {
      begin(is_rank ? &rank_lane : &worker_lane, 1, 1, (struct dispatch_options){.total = 20, .chunk = 10});
      wait_for(0.01);
      struct lane *lane = dispatch_lane(run, 0);
      struct work *work = lane_first(lane);
      if (!work || work->last < 8) fail("tasks were not handed out");
      dispatch_shorten(run, is_behind ? 4 : 9);
      if (is_rank) { /* it has cut the task off */
        if (!work_reserve(&run->queue.store, 1)) fail("there is no memory");
        lane_hold(lane, work_split(&run->queue.store, work, 8));
        if (!work_reserve(&run->queue.store, 1)) fail("there is no memory");
        work = work_split(&run->queue.store, work, 7);
        lane_hold(lane, work);
        work->is_needed = true;
        run->needed++;
        dispatch_update_needed(run, work);
        for (int i = 0; i < 2; i++)
          if (!work_reserve(&run->queue.store, 1)) fail("there is no memory");
      }
      coming[0] = (struct outcome){.kind = is_rank ? OUTCOME_LOST : OUTCOME_ENDED,
                                   .work = work,
                                   .task = 7,
                                   .cause = LOST_CRASH,
                                   .had_begun = true};
      if (!is_rank) lane->state = LANE_ENDED;
      dispatch_note(run, lane);
      struct event event = wait_for(0.01);
      if (event.kind != EVENT_LOST) fail("a worker's end is not told");
      if (is_behind && event.first != 0) fail("a task fails that is of no use");
      if (!is_behind && event.first != 7) fail("a task does not fail that is of use");
      finish();
    }
}

/* Nor is a result there for which there was no memory. */
static void check_unheld(void)
{
  for (int is_behind = 0; is_behind < 2; is_behind++) {
    begin(&worker_lane, 1, 1, (struct dispatch_options){.total = 20, .chunk = 10});
    wait_for(0.01);
    struct lane *lane = dispatch_lane(run, 0);
    struct work *work = lane_first(lane);
    if (!work || work->last < 8) fail("tasks were not handed out");
    work->reached = 7;
    dispatch_shorten(run, is_behind ? 4 : 9);
    coming[0] = (struct outcome){.kind = OUTCOME_UNHELD, .work = work, .task = 7};
    dispatch_note(run, lane);
    struct event event = wait_for(0.01);
    if (is_behind && event.kind == EVENT_LOST) fail("a result of no use is told as lost for want of memory");
    if (!is_behind && (event.kind != EVENT_LOST || event.first != 7 || event.cause != LOST_MEMORY))
      fail("nobody hears of a result for which there was no memory");
    finish();
  }
}

/* A rank that has its part of what is left is given no more of it, but a task whose next try is due. */
static void check_part(void)
{
  begin(&rank_lane, 1, 3, (struct dispatch_options){.total = 1000, .chunk = 10});
  reserve = 0;
  dispatch_ceiling(run, 10);
  wait_for(0.01);
  if (given_first[0] != 1) fail("a rank was given nothing");
  reserve = 1e6;
  given_first[0] = 0;
  dispatch_ceiling(run, 1000);
  dispatch_place(run, dispatch_lane(run, 0), now);
  wait_for(0.01);
  if (given_first[0] != 0) fail("a rank was given more than its part");
  dispatch_place(run, dispatch_lane(run, 0), now);
  if (queue_redo(&run->queue, 3, 2, now, NULL)) fail("there is no memory");
  wait_for(0.01);
  if (given_first[0] != 3) fail("a task that is due waits, as its rank has its part of others");
  finish();
}

/* A worker with nothing to do does not wait for its arguments behind news of others, which may come without end. */
static void check_news(void)
{
  begin(&worker_lane, 2, 2, (struct dispatch_options){.total = -1, .chunk = 1});
  struct event event = wait_for(0.01);
  if (event.kind != EVENT_SUPPLY || !event.idle) fail("an idle worker is given nothing");
  if (!dispatch_stage(run, 256)) fail("there is no memory");
  dispatch_supply(run, 1);
  struct lane *busy = dispatch_lane(run, given_first[1] > 0);
  coming[busy->number] = (struct outcome){.kind = OUTCOME_TEXT, .bytes = "text", .length = 4, .stream = 1};
  dispatch_note(run, busy);
  event = wait_for(0.01);
  if (event.kind != EVENT_SUPPLY || !event.idle) fail("an idle worker waits for news of another to be told");
  if (!dispatch_stage(run, 256)) fail("there is no memory");
  dispatch_supply(run, 1);
  event = wait_for(0.01); /* the others have enough for now */
  if (event.kind != EVENT_TEXT) fail("news wait for a source, though each worker has something to do");
  finish();
}

int main(void)
{
  check_unwatched();
  check_last_task();
  check_ask_ahead();
  check_turn();
  check_shortened();
  check_unheld();
  check_part();
  check_news();
  puts("all holds");
  return 0;
}
