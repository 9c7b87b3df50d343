/* looks.c - see looks.h. A lane of its own kind says what its worker is in. */
#include "looks.h"

#include "run/state.h"
#include "silent.h"
#include "world.h"

static struct lane_view seen;

static bool view_seen(const struct lane *lane, struct lane_view *view)
{
  (void)lane;
  *view = seen;
  return true;
}

static int end_seen(struct lane *lane)
{
  lane->state = LANE_ENDING;
  return 0;
}

static bool tells_nothing(struct lane *lane, struct outcome *outcome, bool partial)
{
  (void)lane, (void)outcome, (void)partial;
  return false;
}

static bool gives_nothing(struct lane *lane, struct work *work)
{
  (void)lane, (void)work;
  return false;
}

static bool gives_none(struct lane *lane, struct outcome *outcome)
{
  (void)lane;
  *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK};
  return true;
}

static const struct lane_kind lane_seen = {.bytes = sizeof(struct lane),
                                           .view = view_seen,
                                           .end = end_seen,
                                           .wants = wants_nothing,
                                           .left = has_nothing_left,
                                           .next = tells_nothing,
                                           .take_back = gives_nothing,
                                           .ask_back = gives_none};

enum { LIMIT = 10 };

/* A dispatcher over one lane, whose worker is in a task from second 0 on. */
struct watched {
  struct dispatch d;
  struct engine engine;
  struct engine_kind kind;
  struct lane lane;
  struct work work;
  bool unwatched;
};

static void watch(struct watched *w)
{
  *w = (struct watched){.kind = {.can = {.kill = true}}, .lane = {.kind = &lane_seen, .state = LANE_READY}};
  struct link *const lists[] = {&w->d.empty, &w->d.idle,    &w->d.hungry,        &w->d.full,
                                &w->d.news,  &w->d.looking, &w->d.looking_ranks, &w->lane.held};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
  queue_init(&w->d.queue, 0); /* all was handed out */
  w->engine.kind = &w->kind;
  w->engine.unwatched = &w->unwatched;
  w->d.engine = &w->engine;
  w->d.options.timeout = LIMIT;
  w->d.look_interval = dispatch_look_interval(LIMIT);
  if (!balance_init(&w->d.balance, 1)) fault("there is no memory");
  w->work = (struct work){.first = 1, .last = 9, .bound = 9, .number = 1};
  lane_hold(&w->lane, &w->work);
  seen = (struct lane_view){.present = {.task = 1, .chunk = 1}, .has_begun = true};
  dispatch_place(&w->d, &w->lane, 0);
}

static void forget(struct watched *w)
{
  queue_free(&w->d.queue);
  balance_free(&w->d.balance);
}

static void look_once(struct watched *w, double time)
{
  struct event event;
  w->lane.look_at = time;
  dispatch_look(&w->d, &event, time);
  w->d.left_at = time + 1e-6; /* it took no longer */
}

/* Looks at the lane at these times, one after the other; its worker is ended at the last of them, and at none before.
 */
static void expect_end(const char *what, struct watched *w, const double *times, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    look_once(w, times[i]);
    bool is_ended = w->lane.state == LANE_ENDING, is_last = i + 1 == count;
    if (is_ended != is_last) fault("%s: the worker is %s at %g s", what, is_ended ? "ended" : "not ended", times[i]);
  }
}

#define EXPECT_END(what, ...) \
  expect_end(what, &w, (const double[]){__VA_ARGS__}, sizeof(const double[]){__VA_ARGS__} / sizeof(double))

static void expect_none(const char *what, struct watched *w, double time)
{
  look_once(w, time);
  if (w->lane.state != LANE_READY) fault("%s: the worker is ended at %g s", what, time);
}

static void check_limits(void)
{
  struct watched w;
  watch(&w);
  EXPECT_END("a task beyond its limit", 0, 5, 9.9, 10.1);
  forget(&w);

  watch(&w);
  seen.blocked = BLOCKED_BY_RESULTS;
  expect_none("a worker that waits for room", &w, 1);
  expect_none("a worker that waits for room", &w, 15);
  seen.blocked = NOT_BLOCKED; /* it may have had room for a moment only */
  EXPECT_END("a worker that waited for room at the last look", 19, 26, 28.9, 29.1);
  forget(&w);

  watch(&w);
  expect_none("a task", &w, 0);
  seen.blocked = BLOCKED_BY_RESULTS;
  dispatch_note_waiting(&w.d, &w.lane, 9);
  seen.blocked = NOT_BLOCKED;
  EXPECT_END("a worker that gets room when the script has come back", 10.5, 20.4, 20.6);
  forget(&w);

  watch(&w);
  expect_none("a task", &w, 0);
  seen.blocked = BLOCKED_BY_TEXT;
  w.d.returned_at = 12; /* nobody took its text before */
  EXPECT_END("a worker that waits for room to print", 13, 21.9, 22.1);
  forget(&w);

  watch(&w);
  expect_none("a task", &w, 0);
  w.d.continued_at = 9; /* Ctrl-Z, fg */
  EXPECT_END("a task that stood still", 12, 18.9, 19.1);
  forget(&w);

  watch(&w);
  w.lane.given_at = 1;
  w.d.options.timeout = 2;
  seen = (struct lane_view){.has_begun = false};
  EXPECT_END("a set-up beyond what one may take", 5, 10.9, 11.1);
  forget(&w);

  watch(&w);
  w.lane.given_at = 1;
  w.d.options.timeout = 30;
  seen = (struct lane_view){.has_begun = false};
  EXPECT_END("a set-up beyond the limit of a task", 11.1, 30.9, 31.1);
  forget(&w);

  watch(&w);
  w.kind.can.kill = false;
  w.d.is_cancelled = true;
  w.d.cancelled_at = 1;
  EXPECT_END("a thread in a task of a run that was cancelled", 1.1, 1.25, 1.35);
  forget(&w);
}

/* Tasks of a chunk that can't be cut are aborted, one after the other. */
static void check_aborts(void)
{
  struct watched w;
  watch(&w);
  if (!dispatch_abort(&w.d, 3)) fault("a task of a chunk that runs can't be aborted");
  if (dispatch_abort(&w.d, 5)) fault("a second task is said to be aborted, though nobody remembers it");
  expect_none("the task before one that was aborted", &w, 1);
  seen.present.task = 3;
  EXPECT_END("a task that was aborted", 1.1);
  forget(&w);

  watch(&w);
  w.work.aborted = 3;
  w.work.reached = 3; /* it has ended */
  seen.present.task = 4;
  if (!dispatch_abort(&w.d, 5)) fault("a task behind one that has ended can't be aborted");
  seen.present.task = 5;
  EXPECT_END("a task that was aborted behind another", 1);
  forget(&w);

  watch(&w);
  w.work.aborted = 7;
  if (!work_reserve(&w.d.queue.store, 1)) fault("there is no memory");
  struct work *rest = work_split(&w.d.queue.store, &w.work, 6);
  if (rest->aborted != 7 || w.work.aborted > 0) fault("an aborted task is forgotten where its chunk is cut before it");
  work_free(&w.d.queue.store, rest);
  forget(&w);
}

void looks_check(void)
{
  check_limits();
  check_aborts();
}
