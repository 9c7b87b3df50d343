/* lane_slot.c - lanes whose worker has a slot: threads, processes, workers of this process's rank. Two chunks deep: one
 * runs, one is queued. Where chunks are very short, as many as the slot has room for. */
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "run/dispatch.h"
#include "run/inbox.h"
#include "sys/barrier.h"
#include "sys/clock.h"
#include "sys/lent.h"

enum {
  DEPTH = 2,                    /* works that a lane wants; */
  DEPTH_SHORT = CHANNEL_BLOCKS, /* and of very short ones */
  MOST_DEATHS = 3 /* workers that may end in a chunk with no task to blame; then its first task that has not ended is */
};

/* A running chunk is cut when at least this much work is left of it. */
static const double cut_seconds = 60e-6;

struct slot_lane {
  struct lane lane;
  struct inbox inbox;
  uint64_t job_sent; /* bytes of the job's message in the channel */
  bool is_quick;     /* its last chunk was a very short one */
  bool has_told;     /* of the program that the worker's task was waiting for: which one it is; */
  uint32_t kept;     /* enum kept_part: what comes next */
  uint64_t kept_at;  /* and from which byte on */
};

static struct slot_lane *own(struct lane *lane)
{
  return (struct slot_lane *)lane;
}

static struct slot *slot_of(const struct lane *lane)
{
  return lane->crew->engine->slots[lane->number];
}

/* Nothing of its program was told. */
static void clear_kept(struct slot_lane *lane)
{
  lane->kept = KEPT_OUTPUT;
  lane->kept_at = 0;
  lane->has_told = false;
}

/* ---- giving ---- */

/* What is sent to the worker: the message, or, where the worker can map it, a block that stands for it. Others may
 * share what lies there: so what concerns this work alone stands in the block. */
static const struct block *message_for(const struct lane *lane, const struct work *work, struct block *own)
{
  const struct dispatch_options *options = lane->crew->options;
  struct payload *payload = work->payload;
  bool is_mapped = payload && payload->is_lent;
  struct block *message = payload && !is_mapped ? &payload->block : own;
  message->kind = is_mapped ? BLOCK_LENT : BLOCK_CHUNK;
  message->first = work->first;
  message->last = work->last;
  message->chunk = work->number;
  message->job = options->job;
  message->attempt = work->attempt;
  message->key = options->key;
  if (!is_mapped) return message;
  struct lender lender = lent_by(&payload->block);
  message->whole = payload->block.size;
  message->pid = (uint64_t)lender.pid;
  message->file = (uint64_t)lender.file;
  return message;
}

/* Moves what is on its way to the worker into its channel, as far as there is room. */
static void pump(struct lane *lane)
{
  const struct dispatch_options *options = lane->crew->options;
  struct engine *engine = lane->crew->engine;
  struct slot *slot = slot_of(lane);
  uint32_t place;
  if (lane->state != LANE_READY) return;
  if (options->message && engine->has_job[lane->number] != options->job) {
    if (!slot_send(slot, options->message, &own(lane)->job_sent, &place)) return;
    engine->has_job[lane->number] = options->job;
  }
  for (struct link *link = lane->held.next; link != &lane->held; link = link->next) {
    struct work *work = LIST_OF(link, struct work, link);
    if (work->is_complete) continue;
    struct block plain = {.size = BLOCK_HEAD, .floor = BLOCK_HEAD};
    work->is_complete = slot_send(slot, message_for(lane, work, &plain), &work->sent, &work->place);
    if (!work->is_complete) return;
  }
}

static int lane_start(struct lane *lane)
{
  int error = engine_start(lane->crew->engine, lane->number);
  if (error) return error;
  inbox_clear(&own(lane)->inbox);
  own(lane)->job_sent = 0;
  own(lane)->is_quick = false;
  clear_kept(own(lane));
  hub_expect_long(&lane->crew->engine->hub); /* it takes a while to come up: nothing to look for again and again */
  return 0;
}

static void lane_give(struct lane *lane, struct work *work)
{
  work->number = ++lane->crew->engine->chunks;
  work->bound = work->last;
  work->sent = 0;
  work->is_complete = false;
  lane_hold(lane, work);
  if (slot_is_asleep(slot_of(lane))) hub_expect_wake(&lane->crew->engine->hub);
  pump(lane);
}

/* Chunks of a given size may take less time than the switch between a worker and who hands out the next. Where more
 * of them lie ready, there are fewer switches: 64 ranks on two processors hand out twice as many chunks a second. */
static void note_pace(struct slot_lane *lane, const struct outcome *outcome)
{
  static const double short_seconds = 20e-6;
  bool is_given = lane->lane.crew->options->chunk > 0;
  if (outcome->is_final) lane->is_quick = is_given && outcome->seconds > 0 && outcome->seconds < short_seconds;
}

static uint32_t lane_wants(const struct lane *lane)
{
  uint32_t depth = ((const struct slot_lane *)(const void *)lane)->is_quick ? DEPTH_SHORT : DEPTH;
  return lane->count < depth ? depth - lane->count : 0;
}

/* ---- taking back ---- */

/* A message whose rest never comes is forgotten by the worker as the next one begins. */
static bool lane_take_back(struct lane *lane, struct work *work)
{
  if (work->is_complete && !slot_revoke(slot_of(lane), work->place)) return false;
  lane_let_go(lane, work);
  return true;
}

static double lane_lower(struct lane *lane, struct work *work, double last)
{
  if (!work->is_complete) { /* what a message says that is half sent can't be changed any more */
    bool is_fixed = work->sent > 0 || last < work->first;
    return is_fixed ? work->last : fmin(last, work->last);
  }
  slot_set_limit(slot_of(lane), work->place, last); /* a task behind it that has begun is of no use: no need to look */
  return fmin(fmax(last, work->first - 1), work->last);
}

static double lane_shorten(struct lane *lane, struct work *work, double last)
{
  if (!work->is_complete) return lane_lower(lane, work, last);
  return slot_cut(slot_of(lane), work->number, work->place, work->first, work->last, last);
}

/* Seconds of the first work, as far as measured, behind the task that the worker is in; *at: that task. */
static double running_left(const struct lane *lane, double now, double *at)
{
  const struct work *work = lane_first(lane);
  const struct slot *slot = slot_of(lane);
  if (!work || !work->is_complete) return 0;
  struct present present = slot_present(slot);
  bool is_in = present.chunk == work->number && present.task > work->reached;
  *at = is_in ? present.task : work->reached + 1;
  if (*at >= work->last) return 0;
  double per_task = lane->crew->per_task;
  if (is_in) {
    per_task = fmax(per_task, plausible_seconds(now - slot_started(slot)) / (*at - work->first + 1));
    if (present.task == lane->seen.task && present.chunk == lane->seen.chunk)
      per_task = fmax(per_task, now - lane->since); /* those to come may be like this one */
  }
  return per_task * (work->last - *at);
}

static double lane_left(const struct lane *lane, double now)
{
  double at;
  if (lane->state != LANE_READY || lane->count == 0) return 0;
  double left = lane->crew->may_cut ? running_left(lane, now, &at) : 0;
  if (left < cut_seconds) left = 0;
  const struct work *queued = lane->count > 1 ? lane_last(lane) : NULL;
  return queued ? left + fmax(lane->crew->per_task, 1e-9) * (queued->last - queued->first + 1) : left;
}

/* Cuts the running work in two. */
static void cut(struct lane *lane, struct outcome *outcome)
{
  struct work *work = lane_first(lane);
  double at;
  if (running_left(lane, clock_seconds(), &at) < cut_seconds) return;
  double keep =
      slot_cut(slot_of(lane), work->number, work->place, work->first, work->last, at + floor((work->last - at) / 2));
  if (keep >= work->last) return;
  outcome->work = work;
  outcome->keep = fmax(keep, work->reached);
}

static bool lane_ask_back(struct lane *lane, struct outcome *outcome)
{
  *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK};
  struct work *queued = lane->count > 1 ? lane_last(lane) : NULL;
  if (queued && lane_take_back(lane, queued)) {
    outcome->work = queued;
    outcome->keep = queued->first - 1;
  } else if (lane->crew->may_cut && lane->count > 0) {
    cut(lane, outcome);
  }
  return true;
}

/* ---- outcomes ---- */

static bool lane_view(const struct lane *lane, struct lane_view *view)
{
  const struct slot *slot = slot_of(lane);
  if (!slot) return false;
  view->present = slot_present(slot);
  view->blocked = (enum blocked)__atomic_load_n(&slot->blocked, __ATOMIC_RELAXED);
  view->started = slot_started(slot);
  view->has_begun = __atomic_load_n(&slot->begun, __ATOMIC_RELAXED) != 0;
  return true;
}

static int lane_end(struct lane *lane)
{
  struct engine *engine = lane->crew->engine;
  lane->state = LANE_ENDING;
  return engine->kind->can.kill ? engine->kind->end(engine, lane->number) : 0; /* else: give_up */
}

static bool lane_take_text(struct lane *lane, struct slot *slot, struct outcome *outcome)
{
  struct crew *crew = lane->crew;
  if (!slot_has_text(slot)) return false;
  if (!crew->text) crew->text = malloc(TEXT_BYTES);
  if (!crew->text) return false; /* without memory, what was printed waits */
  *outcome = (struct outcome){.kind = OUTCOME_TEXT, .bytes = crew->text};
  outcome->length = slot_take_text(slot, crew->text, TEXT_BYTES, &outcome->stream);
  return outcome->length > 0;
}

/* What the program had written that the worker's task was waiting for, as the worker ends. */
static bool lane_take_kept(struct lane *lane, struct slot *slot, struct outcome *outcome)
{
  struct crew *crew = lane->crew;
  struct slot_lane *of = own(lane);
  if (lane->cause == LOST_DAMAGED || !slot_has_kept(slot)) return false;
  if (!crew->text) crew->text = malloc(TEXT_BYTES);
  if (!crew->text) return false;
  *outcome = (struct outcome){.kind = OUTCOME_TEXT, .bytes = crew->text, .stream = STREAM_PROGRAM};
  if (!of->has_told) {
    outcome->length = slot_kept_program(slot, crew->text, TEXT_BYTES);
    of->has_told = outcome->length > 0;
    if (!of->has_told) return false; /* a thread that was given up is not waiting for it any more */
  }
  for (; outcome->length == 0 && of->kept < KEPT_PARTS; of->kept++, of->kept_at = 0) {
    outcome->length = slot_kept(slot, (enum kept_part)of->kept, &of->kept_at, crew->text, TEXT_BYTES);
    outcome->stream = of->kept == KEPT_OUTPUT ? STREAM_OUTPUT : STREAM_ERRORS;
    if (outcome->length > 0) break;
  }
  return outcome->length > 0;
}

/* The work that the worker was in, by what its slot says; NULL: in none. */
static struct work *work_of(const struct lane *lane, const struct present *present)
{
  for (struct link *link = lane->held.next; link != &lane->held; link = link->next) {
    struct work *work = LIST_OF(link, struct work, link);
    if (work->number == present->chunk && present->task > work->reached && present->task <= work->last) return work;
  }
  return NULL;
}

static bool is_same_task(const struct present *a, const struct present *b)
{
  bool is_none = a->task == 0 && b->task == 0; /* whatever chunk was the last */
  return is_none || (a->task == b->task && a->chunk == b->chunk && a->inner == b->inner);
}

/* What a worker's slot says at its end: a thread that is given up takes its slot along. */
struct last_view {
  struct present present;
  double started;
  bool has_begun, is_starved;
  bool has_claimed; /* the message of the first work that its lane holds */
};

static struct last_view view_last(const struct lane *lane, struct slot *slot)
{
  const struct work *first = lane_first(lane);
  struct last_view view = {.present = slot_present(slot), .started = slot_started(slot)};
  view.has_begun = __atomic_load_n(&slot->begun, __ATOMIC_RELAXED) != 0;
  view.is_starved = __atomic_load_n(&slot->starved, __ATOMIC_RELAXED) != 0;
  view.has_claimed = view.has_begun && first && first->is_complete && !slot_is_queued(slot, first->place);
  return view;
}

/* All that the worker left was read: whom its end concerns. What was decided about a task concerns that task alone. */
static void bury(struct lane *lane, const struct last_view *view, struct outcome *outcome)
{
  struct present present = view->present;
  struct work *work = work_of(lane, &present), *first = lane_first(lane);
  bool is_decided = lane->cause == LOST_TIMEOUT || lane->cause == LOST_CANCELLED;
  *outcome = (struct outcome){.kind = OUTCOME_ENDED, .status = lane->status, .had_begun = view->has_begun};
  outcome->cause = lane->cause ? lane->cause : view->is_starved ? LOST_MEMORY : LOST_CRASH;
  if (work && is_decided && lane->doomed.task > 0 && !is_same_task(&present, &lane->doomed)) {
    work = NULL; /* it is innocent: it was in a task before, or there when the worker was to be ended */
  } else if (work) {
    outcome->task = present.task;
    outcome->inner = present.inner;
    outcome->task_seconds = plausible_seconds(clock_seconds() - (lane->since > 0 ? lane->since : view->started));
  } else if (first && !is_decided && view->has_claimed) {
    bool is_enough = ++first->deaths >= MOST_DEATHS || lane->cause == LOST_DAMAGED;
    if (is_enough && first->reached < first->last) { /* else this could go on for ever */
      work = first;
      outcome->task = first->reached + 1;
    }
  }
  outcome->work = work;
}

/* From here on the worker has seen what was stored before, or its next task is visible. Without membarrier no more can
 * be done than to wait: a processor holds stores back for microseconds at the most. */
static void settle(void)
{
  const struct timespec pause = {.tv_nsec = 1000000};
  if (barrier_works())
    barrier_all();
  else
    nanosleep(&pause, NULL);
}

/* A worker that can't be killed: lets it begin nothing more, and leaves it alone, unless it has come back after all. */
static bool give_up(struct lane *lane, struct outcome *outcome)
{
  struct engine *engine = lane->crew->engine;
  struct slot *slot = slot_of(lane);
  for (struct link *link = lane->held.next; link != &lane->held; link = link->next) {
    struct work *work = LIST_OF(link, struct work, link);
    if (work->is_complete) slot_set_limit(slot, work->place, -1);
  }
  settle();
  struct last_view view = view_last(lane, slot);
  if (lane->count == 0 || (lane->cause == LOST_TIMEOUT && !is_same_task(&view.present, &lane->doomed))) {
    lane->cause = 0;
    lane->state = LANE_READY;
    clear_kept(own(lane));
    return false;
  }
  engine->kind->end(engine, lane->number);
  lane->state = LANE_ENDED;
  bury(lane, &view, outcome);
  return true;
}

static void lane_damaged(struct lane *lane)
{
  lane->cause = LOST_DAMAGED;
  if (lane->state == LANE_READY) lane_end(lane);
}

/* Results, unless the worker has overwritten what it shares: then it is ended, and nothing more is read of it. */
static bool take_results(struct lane *lane, struct slot *slot, struct outcome *outcome, bool partial)
{
  if (lane->cause == LOST_DAMAGED) return false;
  struct inbox *inbox = &own(lane)->inbox;
  enum inbox_state state = inbox_next(inbox, lane, slot, outcome);
  if (state == INBOX_EMPTY && partial) state = inbox_partial(inbox, lane, slot, outcome);
  if (state == INBOX_DAMAGED) lane_damaged(lane);
  if (state == INBOX_OUTCOME) note_pace(own(lane), outcome);
  return state == INBOX_OUTCOME;
}

static bool lane_next(struct lane *lane, struct outcome *outcome, bool partial)
{
  struct engine *engine = lane->crew->engine;
  struct slot *slot = slot_of(lane);
  bool can_kill = engine->kind->can.kill;
  if (lane->state == LANE_EMPTY || lane->state == LANE_CLOSED || !slot) return false;
  if (lane->state == LANE_ENDING && can_kill) {
    if (engine->kind->ended(engine, lane->number, &lane->status)) lane->state = LANE_ENDED;
    if (lane->state == LANE_ENDING) return false;
  } else if (lane->state == LANE_READY && engine->kind->rings_at_end) {
    if (engine->kind->ended(engine, lane->number, &lane->status)) lane->state = LANE_ENDED;
  }
  if (!slot_is_sound(slot)) lane_damaged(lane);
  if (lane->cause != LOST_DAMAGED && lane_take_text(lane, slot, outcome)) return true;
  if (partial && lane->state == LANE_READY && inbox_lacks_end(lane, slot)) lane_damaged(lane);
  if (take_results(lane, slot, outcome, partial || lane->state == LANE_ENDED)) return true;
  bool is_last = lane->state == LANE_ENDED || (lane->state == LANE_ENDING && !can_kill);
  if (is_last && lane_take_kept(lane, slot, outcome)) return true;
  if (lane->state == LANE_ENDED) {
    struct last_view view = view_last(lane, slot);
    bury(lane, &view, outcome);
    return true;
  }
  if (lane->state == LANE_ENDING && !can_kill) return give_up(lane, outcome);
  pump(lane);
  return false;
}

static void lane_release(struct lane *lane)
{
  struct slot *slot = slot_of(lane);
  if (slot) inbox_release(&own(lane)->inbox, slot);
}

static void lane_check_end(struct lane *lane)
{
  struct engine *engine = lane->crew->engine;
  if (lane->state != LANE_READY && lane->state != LANE_ENDING) return;
  if (engine->kind->ended(engine, lane->number, &lane->status)) lane->state = LANE_ENDED;
}

/* ---- the end of a run ---- */

/* Lets the worker begin nothing more: takes back what it has not begun, also what is half sent. Where it can be killed,
 * it is, if it is in anything that nobody waits for: a task, or its set-up. */
static void lane_quiet(struct lane *lane, bool is_cancelled)
{
  const struct engine_can *can = &lane->crew->engine->kind->can;
  struct slot *slot = slot_of(lane);
  if (lane->state != LANE_READY && lane->state != LANE_ENDING) return;
  for (struct link *link = lane->held.previous, *previous; link != &lane->held; link = previous) {
    struct work *work = LIST_OF(link, struct work, link);
    previous = link->previous;
    if (lane_take_back(lane, work))
      work_free(lane->crew->store, work);
    else if (work->is_complete)
      slot_set_limit(slot, work->place, -1);
  }
  bool is_in_setup = is_cancelled && can->inherit && channel_filled(&slot->in) > 0;
  if (can->kill && lane->state == LANE_READY && (lane->count > 0 || is_in_setup)) lane_end(lane);
}

/* Throws away what the worker has sent. */
static void drain(struct lane *lane)
{
  struct slot *slot = slot_of(lane);
  while (slot_results(slot)) slot_release_results(slot);
  slot_drop_text(slot);
}

/* Has the worker come to rest? All its results are published before it releases its last message. */
static bool is_at_rest(struct lane *lane)
{
  bool has_released = channel_filled(&slot_of(lane)->in) == 0;
  drain(lane);
  return has_released;
}

/* Waits until the worker is at rest; false when it is not by then. */
static bool wait_for_rest(struct lane *lane, double deadline)
{
  while (!is_at_rest(lane)) {
    double left = deadline - clock_seconds();
    if (left <= 0) return false;
    engine_nap(lane->crew->engine, left);
  }
  return true;
}

static void lane_close(struct lane *lane, double deadline)
{
  struct engine *engine = lane->crew->engine;
  bool can_kill = engine->kind->can.kill;
  if (lane->state == LANE_ENDED)
    engine->alive[lane->number] = false; /* it was not yet buried */
  else if (can_kill && lane->state == LANE_ENDING)
    engine_join(engine, lane->number, INFINITY);
  else if (can_kill && lane->state == LANE_READY)
    drain(lane);
  else if (lane->state == LANE_READY || lane->state == LANE_ENDING)
    if (!wait_for_rest(lane, deadline)) engine->kind->end(engine, lane->number);
  work_free_all(lane->crew->store, &lane->held);
  lane->count = 0;
  inbox_clear(&own(lane)->inbox);
}

const struct lane_kind lane_over_slot = {
    .bytes = sizeof(struct slot_lane),
    .start = lane_start,
    .give = lane_give,
    .wants = lane_wants,
    .take_back = lane_take_back,
    .lower = lane_lower,
    .shorten = lane_shorten,
    .ask_back = lane_ask_back,
    .left = lane_left,
    .view = lane_view,
    .next = lane_next,
    .release = lane_release,
    .check_end = lane_check_end,
    .end = lane_end,
    .quiet = lane_quiet,
    .close = lane_close,
};
