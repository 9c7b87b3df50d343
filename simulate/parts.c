/* parts.c - see parts.h. */
#include "parts.h"

#include <math.h>

#include "memory.h"
#include "queues.h"
#include "run/state.h"
#include "silent.h"
#include "sys/hub.h"
#include "system.h"
#include "world.h"

/* ---- tasks that are cancelled ---- */

static struct work *to_give_back;

static bool gives_back(struct lane *lane, struct outcome *outcome, bool partial)
{
  (void)lane, (void)partial;
  if (!to_give_back) return false;
  *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK, .work = to_give_back, .keep = to_give_back->first - 1};
  to_give_back = NULL;
  return true;
}

static const struct lane_kind lane_that_gives_back = {
    .bytes = sizeof(struct lane), .wants = wants_nothing, .left = has_nothing_left, .next = gives_back};

/* Tasks 3 to 5 of a chunk are left, of which 5 was cancelled: 3 and 4 are handed out. The chunk comes back when they
 * have ended: 5 is told as cancelled, and the run has not ended before. */
static void check_cancelled(void)
{
  static bool unwatched[1];
  struct engine_kind kind = {0};
  struct engine engine = {.kind = &kind, .unwatched = unwatched, .news.first = UINT32_MAX};
  struct dispatch d = {.engine = &engine, .crew.total = INFINITY};
  struct lane lane = {.kind = &lane_that_gives_back, .state = LANE_READY, .width = 1};
  struct link *const lists[] = {&d.empty,   &d.idle,          &d.hungry,  &d.full,   &d.news,
                                &d.looking, &d.looking_ranks, &d.aborted, &lane.held};
  struct event event;
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
  world_begin(1);
  system_begin();
  hub_open(&engine.hub, 1);
  queue_init(&d.queue, 0);
  if (!balance_init(&d.balance, 1)) fault("there is no memory");
  d.look_interval = dispatch_look_interval(0);
  d.last_tick = world.now;
  struct work *work = work_new(&d.queue.store, FIRST_EXTRA + 1, FIRST_EXTRA + 5, NULL, ATTEMPT);
  if (!work || !work_reserve(&d.queue.store, 1)) fault("there is no memory");
  work->reached = FIRST_EXTRA + 2;
  work->aborted = work->last;
  dispatch_hand_out_again(&d, work);
  if (queue_take_again(&d.queue, 0) != work) fault("tasks before one that was cancelled are not handed out again");
  expect_number("the first of them", work->first, FIRST_EXTRA + 3);
  expect_number("the last, which was cancelled", work->last, FIRST_EXTRA + 5);

  work->reached = work->last - 1;
  to_give_back = work;
  dispatch_place(&d, &lane, 0);
  dispatch_note(&d, &lane);
  dispatch_next(&d, &event, 1);
  expect_number("a task that was cancelled is told before the run ends: the event", event.kind, EVENT_LOST);
  expect_number("its cause", event.cause, LOST_CANCELLED);
  expect_number("its task", event.first, FIRST_EXTRA + 5);
  dispatch_next(&d, &event, 1);
  expect_number("then the run ends: the event", event.kind, EVENT_DONE);
  queue_free(&d.queue);
  balance_free(&d.balance);
  hub_close(&engine.hub);
}

static bool keeps_work(struct lane *lane, struct work *work)
{
  (void)lane, (void)work;
  return false;
}

static double ends_as_asked(struct lane *lane, struct work *work, double last)
{
  (void)lane, (void)work;
  return last;
}

static bool is_not_seen(const struct lane *lane, struct lane_view *view)
{
  (void)lane, (void)view;
  return false;
}

static bool gives_nothing(struct lane *lane, struct outcome *outcome)
{
  (void)lane;
  *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK};
  return true;
}

static const struct lane_kind lane_that_is_cut = {.bytes = sizeof(struct lane),
                                                  .view = is_not_seen,
                                                  .ask_back = gives_nothing,
                                                  .wants = wants_nothing,
                                                  .left = has_nothing_left,
                                                  .take_back = keeps_work,
                                                  .shorten = ends_as_asked};

/* The worker is in task 1 of 1 to 4, as a later one is cancelled: that is told at once and does not run, those behind
 * it are handed out again. */
static void check_cut_off(double task)
{
  enum { LAST = 4, RESERVES = 1 };
  static bool unwatched[1];
  struct engine_kind kind = {.can = {.kill = true}};
  struct engine engine = {.kind = &kind, .unwatched = unwatched};
  struct dispatch d = {.engine = &engine, .crew.total = INFINITY, .crew.may_cut = true};
  struct lane lane = {.kind = &lane_that_is_cut, .state = LANE_READY, .width = 1};
  struct link *const lists[] = {&d.empty,   &d.idle,          &d.hungry,  &d.full,   &d.news,
                                &d.looking, &d.looking_ranks, &d.aborted, &lane.held};
  struct event event = {0};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
  queue_init(&d.queue, LAST);
  if (!balance_init(&d.balance, 1)) fault("there is no memory");
  d.look_interval = dispatch_look_interval(0);
  struct work *work = work_new(&d.queue.store, 1, LAST, NULL, ATTEMPT);
  reserve(&d.queue, RESERVES); /* the lane's */
  lane_hold(&lane, work);
  dispatch_place(&d, &lane, 0);
  if (!dispatch_abort(&d, task)) fault("task %g, which has not begun, could not be cancelled", task);
  expect_number("the chunk ends before the task that was cancelled", work->last, task - 1);
  if (!dispatch_tell_aborted(&d, &event)) fault("task %g was cancelled, and is not told", task);
  expect_number("the task that was cancelled", event.first, task);
  struct work *rest = queue_take_again(&d.queue, 0);
  if ((rest != NULL) != (task < LAST)) fault("what lies behind task %g is lost, or was made up", task);
  if (rest) {
    expect_number("the first behind it", rest->first, task + 1);
    work_free(&d.queue.store, rest);
  }
  expect_number("reserves that are left", d.queue.store.reserved, RESERVES);
  lane_let_go(&lane, work);
  work_free(&d.queue.store, work);
  dispatch_give_back(&d);
  queue_free(&d.queue);
  balance_free(&d.balance);
}

/* ---- tasks that are tried again, where all lanes are ranks that have enough ---- */

static bool is_never_idle(const struct lane *lane)
{
  (void)lane;
  return false;
}

static double has_no_room(const struct lane *lane)
{
  (void)lane;
  return 0;
}

static bool takes_one(const struct lane *lane)
{
  return lane->count == 0;
}

static void hold(struct lane *lane, struct work *work)
{
  lane_hold(lane, work);
}

static const struct lane_kind full_rank = {.bytes = sizeof(struct lane),
                                           .is_rank = true,
                                           .is_idle = is_never_idle,
                                           .room = has_no_room,
                                           .takes_retry = takes_one,
                                           .wants = wants_nothing,
                                           .give = hold,
                                           .left = has_nothing_left};

enum { RANKS = 2, RETRIES = 3, DUE = 5 };

static void check_retries(void)
{
  static bool unwatched[RANKS];
  struct engine_kind kind = {0};
  struct engine engine = {.kind = &kind, .unwatched = unwatched};
  struct dispatch d = {.engine = &engine};
  struct lane ranks[RANKS];
  struct link *const lists[] = {&d.empty, &d.idle, &d.hungry, &d.full, &d.news, &d.looking, &d.looking_ranks};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
  queue_init(&d.queue, 99);
  if (!balance_init(&d.balance, RANKS)) fault("there is no memory");
  for (uint32_t r = 0; r < RANKS; r++) {
    ranks[r] = (struct lane){.kind = &full_rank, .state = LANE_READY, .number = r, .width = 1};
    list_init(&ranks[r].held);
    dispatch_place(&d, &ranks[r], 0);
  }
  for (int task = 1; task <= RETRIES; task++)
    if (queue_redo(&d.queue, task, ATTEMPT, DUE, NULL)) fault("there is no memory");

  dispatch_feed(&d, &(struct event){0}, DUE - 1);
  expect_number("none is handed out before its time", ranks[0].count + ranks[1].count, 0);
  dispatch_feed(&d, &(struct event){0}, DUE);
  expect_number("ranks that have enough get one each", ranks[0].count, 1);
  expect_number("ranks that have enough get one each", ranks[1].count, 1);
  expect_number("and nothing that was never handed out", d.queue.next, 1);

  struct work *work = lane_first(&ranks[1]);
  lane_let_go(&ranks[1], work);
  dispatch_left_lane(&d, work);
  work_free(&d.queue.store, work);
  dispatch_place(&d, &ranks[1], DUE);
  dispatch_feed(&d, &(struct event){0}, DUE);
  expect_number("and the next when one has ended", ranks[1].count, 1);
  if (queue_has_retry(&d.queue, DUE)) fault("a task that is tried again was not handed out");
  for (uint32_t r = 0; r < RANKS; r++) {
    work = lane_first(&ranks[r]);
    lane_let_go(&ranks[r], work);
    work_free(&d.queue.store, work);
  }
  queue_free(&d.queue);
  balance_free(&d.balance);
}

/* ---- a rank that wants more than its part ---- */

static double in_reserve;

static double reserve_of(const struct lane *lane)
{
  (void)lane;
  return in_reserve;
}

static double has_much_room(const struct lane *lane)
{
  (void)lane;
  return 1000;
}

static uint32_t wants_more(const struct lane *lane)
{
  return lane->count == 0;
}

static const struct lane_kind greedy_rank = {.bytes = sizeof(struct lane),
                                             .is_rank = true,
                                             .is_idle = is_never_idle,
                                             .room = has_much_room,
                                             .reserve = reserve_of,
                                             .takes_retry = takes_one,
                                             .wants = wants_more,
                                             .give = hold,
                                             .left = has_nothing_left};

static void check_part(void)
{
  static bool unwatched[1];
  struct engine_kind kind = {0};
  struct engine engine = {.kind = &kind, .unwatched = unwatched};
  struct dispatch d = {.engine = &engine, .crew.workers = 4, .crew.total = INFINITY};
  struct lane rank = {.kind = &greedy_rank, .state = LANE_READY, .width = 1};
  struct link *const lists[] = {&d.empty, &d.idle, &d.hungry, &d.full, &d.news, &d.looking, &d.looking_ranks};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
  queue_init(&d.queue, 80);
  if (!balance_init(&d.balance, 1)) fault("there is no memory");
  list_init(&rank.held);
  in_reserve = 21;
  dispatch_place(&d, &rank, 0);
  dispatch_feed(&d, &(struct event){0}, 0);
  expect_number("a rank with more than its part in reserve gets nothing", rank.count, 0);
  in_reserve = 20;
  dispatch_place(&d, &rank, 0);
  dispatch_feed(&d, &(struct event){0}, 0);
  expect_number("until it has told that it has less", rank.count, 1);
  expect_number("then it gets half of its part", lane_first(&rank)->last, 10);
  struct work *work = lane_first(&rank);
  lane_let_go(&rank, work);
  work_free(&d.queue.store, work);
  queue_free(&d.queue);
  balance_free(&d.balance);
}

/* ---- tasks that the script pushes ---- */

static void begin_portion(struct dispatch *d, double first, uint32_t count)
{
  struct intake *intake = dispatch_intake(d, first, BLOCK_BYTES);
  if (!intake) fault("there is no room for tasks of the script");
  intake->block->width = 1;
  for (uint32_t k = 0; k < count; k++) intake->block->word[k] = first + k;
  intake_publish(intake, count);
}

/* Where there is no memory to take what the script has pushed, it stays, and nothing comes in its place. */
static void check_intake(void)
{
  enum { PORTION = 600 }; /* more than share a payload */
  struct engine_kind kind = {.can.reach_hosts = true};
  struct engine engine = {.kind = &kind};
  struct dispatch d = {.engine = &engine};
  queue_init(&d.queue, INFINITY);
  begin_portion(&d, 1, PORTION);
  for (uint64_t at = 1; at <= 4; at++) {
    memory.fail_at = memory.made + at;
    struct intake *intake = dispatch_intake(&d, PORTION + 1, BLOCK_BYTES);
    memory.fail_at = 0;
    if (intake && d.queue.ranged < PORTION) fault("tasks of the script were lost, as there was no memory");
    if (!intake && at == 1 && d.queue.ranged > 0) fault("tasks were taken for which there was no memory");
    if (intake) break;
  }
  begin_portion(&d, PORTION + 1, 1);
  dispatch_take_intake(&d);
  expect_number("tasks of the script that were taken", d.queue.ranged, PORTION + 1);
  expect_number("the last that the script has pushed", dispatch_last_pushed(&d), PORTION + 1);
  payload_drop(&d.queue.store, d.intake_payload);
  queue_free(&d.queue);
}

/* A task that the script pushes is handed out at once where a worker has nothing to do, or none was started yet. */
static void check_hunger(void)
{
  struct engine_kind kind = {.can.reach_hosts = true};
  struct engine engine = {.kind = &kind};
  struct dispatch d = {.engine = &engine};
  struct lane lane = {0};
  struct link *const lists[] = {&d.idle, &d.empty, &d.hungry};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
  queue_init(&d.queue, INFINITY);
  for (uint32_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    list_append(lists[i], &lane.place);
    dispatch_note_hunger(&d);
    link_remove(&lane.place);
    begin_portion(&d, i + 1, 0);
    expect_number("what the script does for a task that it pushes", intake_publish(&d.intake, 1),
                  lists[i] == &d.hungry ? INTAKE_NOTHING : INTAKE_HAND_OUT);
    dispatch_take_intake(&d);
  }
  payload_drop(&d.queue.store, d.intake_payload);
  queue_free(&d.queue);
}

/* ---- the simulation itself ---- */

static void go_on(void *what, uint64_t which)
{
  (void)what, (void)which;
}

static void ring(void *bell, uint64_t which)
{
  (void)which;
  system_ring(bell);
}

/* The coordinator is told of news just behind the end of a sleep. The simulation, which looks meanwhile whether it
 * misses any, takes it for no fault. */
static void check_sleeps(void)
{
  static const double seconds = 1, step = 0.5e-3, before = 4.5e-3, after = 0.25e-3;
  enum { SLEEPS = 200 };
  for (uint64_t seed = 1; seed <= SLEEPS; seed++) {
    struct hub hub;
    world_begin(seed);
    system_begin();
    world.slice = 1;
    world.preempted = 1;
    hub_open(&hub, 1);
    struct bell bell = hub_bell(&hub, 0);
    double end = world.now + seconds;
    for (double at = end - before; at < end; at += step) world_at(at, go_on, NULL, 0);
    world_at(end + after, ring, &bell, 0);
    hub_sleep(&hub, seconds, NULL, 0);
    hub_close(&hub);
  }
}

void parts_check(void)
{
  check_sleeps();
  check_retries();
  check_part();
  check_intake();
  check_hunger();
  check_cancelled();
  for (double task = 2; task <= 4; task++) check_cut_off(task);
}
