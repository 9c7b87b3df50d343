/* outcomes.c - dispatch: what comes out of lanes becomes events. */
#include <errno.h>
#include <string.h>

#include "run/state.h"

enum {
  MOST_STILLBORN = 3,        /* workers of one lane that end before they can run a task, where none ever could; */
  MOST_STILLBORN_LATER = 30, /* and where some could: then somebody kills them */
};

/* What the event points to is kept until the next. */
static void keep_payload(struct dispatch *d, struct event *event, struct payload *payload)
{
  d->reported = payload;
  if (!payload) return;
  payload->users++;
  event->payload = &payload->block;
}

/* The lane's first work has ended at outcome->last: what it did not do is handed out again. */
static void finish(struct dispatch *d, struct lane *lane, const struct outcome *outcome)
{
  struct work *work = outcome->work;
  double tasks = outcome->last - work->first + 1;
  bool is_of_old = d->queue.is_turned && work->first < d->queue.next; /* it says nothing of those at the end */
  if (!lane->kind->is_rank && !is_of_old) {
    chunks_measure(&d->chunks, tasks, outcome->seconds);
    d->crew.per_task = d->chunks.per_task;
  }
  lane_let_go(lane, work);
  dispatch_left_lane(d, work);
  if (outcome->last < work->last)
    dispatch_hand_out_again(d, work);
  else
    work_free(&d->queue.store, work);
  lane->since = 0;
  lane->seen.task = 0;
}

void dispatch_count_apart(struct dispatch *d, const struct outcome *outcome)
{
  for (int i = 0; i < 2; i++)
    if (outcome->apart[i]) dispatch_update_needed(d, outcome->apart[i]);
}

static uint32_t worker_of(const struct dispatch *d, const struct lane *lane, const struct outcome *outcome)
{
  return lane->kind->is_rank ? outcome->worker : d->options.base + lane->number + 1;
}

/* Results: false when there is nothing to report, as a chunk has ended without any that is new. */
static bool take_results(struct dispatch *d, struct lane *lane, struct outcome *outcome, struct event *event,
                         double now)
{
  struct work *work = outcome->work;
  double tasks = outcome->last - work->first + 1;
  event->kind = EVENT_RESULTS;
  event->block = outcome->block;
  event->whole = outcome->whole;
  event->first = outcome->block->first;
  event->from = outcome->from;
  event->count = outcome->count;
  event->want = outcome->fresh;
  event->last = outcome->last;
  event->bytes = outcome->bytes;
  event->length = outcome->length;
  event->worker = worker_of(d, lane, outcome);
  event->attempt = work->attempt;
  dispatch_count_apart(d, outcome);
  if (outcome->per_task > 0) chunks_note(&d->chunks, outcome->fresh, outcome->per_task);
  d->crew.per_task = d->chunks.per_task;
  event->seconds = outcome->is_final && tasks > 0 && !lane->kind->is_rank ? outcome->seconds / tasks : d->crew.per_task;
  keep_payload(d, event, work->payload);
  d->reporting = lane;
  d->any_begun = true;
  lane->stillborn = 0;
  if (outcome->is_final)
    finish(d, lane, outcome);
  else
    dispatch_update_needed(d, work);
  dispatch_place(d, lane, now);
  if (outcome->is_final && d->options.total >= 0)
    dispatch_feed(d, &(struct event){0}, now); /* before anybody looks at the results */
  if (outcome->count > 0 || outcome->fresh > 0) return true;
  dispatch_give_back(d);
  return false;
}

/* Is nothing told of this task any more? */
static bool is_cut_off(const struct dispatch *d, double task)
{
  return d->is_shortened && task > d->crew.total;
}

/* The loss of a worker, or of a result. `outcome->work` is of the task to blame; NULL: none is. */
static void tell_loss(struct dispatch *d, const struct lane *lane, const struct outcome *outcome, struct event *event)
{
  const struct work *work = outcome->work;
  event->kind = EVENT_LOST;
  event->worker = worker_of(d, lane, outcome);
  event->status = outcome->status;
  event->cause = outcome->cause;
  event->inner = outcome->inner;
  event->seconds = outcome->task_seconds;
  if (!work) return;
  event->first = is_cut_off(d, outcome->task) ? 0 : outcome->task;
  event->attempt = work->attempt;
  keep_payload(d, event, work->payload);
}

/* There was no memory for the result of a task. Returns whether that is told. */
static bool take_unheld(struct dispatch *d, struct lane *lane, const struct outcome *outcome, struct event *event)
{
  dispatch_update_needed(d, outcome->work);
  if (is_cut_off(d, outcome->task)) return false;
  tell_loss(d, lane, outcome, event);
  event->cause = LOST_MEMORY;
  return true;
}

/* A worker of a rank has ended. */
static void take_loss(struct dispatch *d, struct lane *lane, const struct outcome *outcome, struct event *event,
                      double now)
{
  struct work *work = outcome->work;
  tell_loss(d, lane, outcome, event);
  d->any_begun = true;
  if (!work) return;
  dispatch_count_apart(d, outcome);
  lane_let_go(lane, work);
  dispatch_left_lane(d, work);
  work_free(&d->queue.store, work);
  dispatch_place(d, lane, now);
}

static void take_text(const struct dispatch *d, const struct lane *lane, const struct outcome *outcome,
                      struct event *event)
{
  event->kind = EVENT_TEXT;
  event->bytes = outcome->bytes;
  event->length = outcome->length;
  event->stream = outcome->stream;
  event->worker = worker_of(d, lane, outcome);
}

/* Settles what the worker that has ended had not done. `task`: its failure, of outcome->work; 0: none. */
static void return_works(struct dispatch *d, struct lane *lane, const struct work *blamed, double task)
{
  struct queue *queue = &d->queue;
  for (struct link *link; (link = list_take(&lane->held));) {
    struct work *work = LIST_OF(link, struct work, link);
    lane->count--;
    if (work->is_needed) d->needed--;
    work->is_needed = false;
    if (work == blamed && task < work->last)
      queue_put_back(queue, work_split(&queue->store, work, task + 1), false);
    else
      work_unreserve(&queue->store, 1);
    if (work == blamed) work->last = work->bound = task - 1;
    if (work->reached < work->last)
      dispatch_hand_out_again(d, work);
    else
      work_free(&queue->store, work);
  }
}

/* The lane's worker has ended before it could run a task: is it worth trying again? */
static void count_stillborn(struct dispatch *d, struct lane *lane, const struct outcome *outcome)
{
  bool is_late = outcome->cause == LOST_TIMEOUT && outcome->task == 0;
  if (outcome->had_begun) {
    d->any_begun = true;
    lane->stillborn = 0;
    return;
  }
  d->stillborn_status = outcome->status;
  lane->stillborn += lane->is_started; /* one that was kept from an earlier run may have ended before this */
  uint32_t most = d->any_begun ? MOST_STILLBORN_LATER : MOST_STILLBORN;
  if (lane->stillborn >= most || is_late) dispatch_close_lane(d, lane, is_late ? ETIMEDOUT : ECHILD);
}

static void take_end(struct dispatch *d, struct lane *lane, const struct outcome *outcome, struct event *event,
                     double now)
{
  tell_loss(d, lane, outcome, event);
  return_works(d, lane, outcome->work, outcome->task);
  if (lane->is_asked) d->wishes--;
  lane->is_asked = false;
  lane->ask_at = lane->patience = 0;
  d->engine->alive[lane->number] = false;
  lane->state = LANE_EMPTY;
  lane->cause = 0;
  count_stillborn(d, lane, outcome);
  dispatch_place(d, lane, now);
}

/* The lane was asked something, and what it is in may have changed. `state`: what it was in before. */
static void place_changed(struct dispatch *d, struct lane *lane, enum lane_state state, double now)
{
  if (lane->state != state || dispatch_is_busy(lane) != lane->is_counted) dispatch_place(d, lane, now);
}

void dispatch_check_end(struct dispatch *d, struct lane *lane, double now)
{
  enum lane_state state = lane->state;
  lane->kind->check_end(lane);
  place_changed(d, lane, state, now);
}

bool dispatch_visit(struct dispatch *d, struct lane *lane, struct event *event, bool partial, double now)
{
  struct outcome outcome;
  for (;;) {
    enum lane_state state = lane->state;
    bool has_outcome = lane->kind->next(lane, &outcome, partial);
    place_changed(d, lane, state, now);
    if (lane->kind->is_rank) dispatch_place(d, lane, now); /* what it has told may have changed what it wants */
    if (!has_outcome) return false;
    switch (outcome.kind) {
    case OUTCOME_RESULTS:
      if (take_results(d, lane, &outcome, event, now)) return true;
      memset(event, 0, sizeof *event);
      break;
    case OUTCOME_UNHELD:
      if (take_unheld(d, lane, &outcome, event)) return true;
      break;
    case OUTCOME_TEXT: take_text(d, lane, &outcome, event); return true;
    case OUTCOME_GIVEN_BACK: dispatch_take_given(d, lane, &outcome, now); break;
    case OUTCOME_ENDED: take_end(d, lane, &outcome, event, now); return true;
    case OUTCOME_LOST: take_loss(d, lane, &outcome, event, now); return true;
    case OUTCOME_CLOSED:
      d->stillborn_status = outcome.stream;
      dispatch_close_lane(d, lane, outcome.status);
      dispatch_place(d, lane, now);
      break;
    }
  }
}

bool dispatch_take_news(struct dispatch *d, struct event *event, double now)
{
  for (struct link *link; (link = list_take(&d->news));) {
    struct lane *lane = LIST_OF(link, struct lane, news);
    if (!dispatch_visit(d, lane, event, false, now)) continue;
    dispatch_note(d, lane); /* there may be more */
    return true;
  }
  return false;
}
