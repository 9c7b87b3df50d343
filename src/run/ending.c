/* ending.c - dispatch: works are taken back from lanes, and workers are ended. */
#include <errno.h>
#include <math.h>

#include "run/state.h"
#include "sys/clock.h"

/* A lane that had nothing to give back is asked again after this long, then after ever longer times. */
static const double ask_seconds = 0.5e-3, ask_seconds_most = 16e-3;

void dispatch_end_worker(struct dispatch *d, struct lane *lane, enum lost_cause cause, const struct present *present,
                         double now)
{
  if (lane->state != LANE_READY || lane->kind->is_rank) return;
  lane->cause = cause;
  lane->doomed = present ? *present : (struct present){0};
  lane->kind->end(lane);
  dispatch_note(d, lane);
  dispatch_place(d, lane, now);
}

void dispatch_end_late(struct dispatch *d, struct lane *lane, const struct present *present, double now)
{
  if (!d->engine->kind->can.kill && __atomic_load_n(&d->engine->remains->abandoned, __ATOMIC_SEQ_CST) >= MOST_ABANDONED)
    d->trouble = EBUSY;
  else
    dispatch_end_worker(d, lane, LOST_TIMEOUT, present, now);
}

/* Takes a work that was not begun away from its lane; false: it was begun. */
static bool take_away(struct dispatch *d, struct lane *lane, struct work *work, double now)
{
  if (lane->state != LANE_READY || !lane->kind->take_back(lane, work)) return false;
  dispatch_left_lane(d, work);
  dispatch_place(d, lane, now);
  return true;
}

/* A work of this lane has tasks behind the new total: they are not begun any more. */
static void shorten_work(struct dispatch *d, struct lane *lane, struct work *work, double now)
{
  if (work->first > d->crew.total && take_away(d, lane, work, now)) {
    work_free(&d->queue.store, work);
    return;
  }
  bool is_useless = work->first > d->crew.total;
  work->last = lane->kind->lower(lane, work, is_useless ? -1 : d->crew.total);
  dispatch_update_needed(d, work);
}

/* Is all that the lane holds behind the new total? What is not, is taken back, if it was not begun. */
static bool only_useless(struct dispatch *d, struct lane *lane, double now)
{
  const struct work *first = lane_first(lane);
  if (!first || first->first <= d->crew.total) return false;
  while (lane->count > 1) {
    struct work *work = lane_last(lane);
    if (!take_away(d, lane, work, now)) return false;
    queue_put_back(&d->queue, work, false);
  }
  return true;
}

void dispatch_shorten(struct dispatch *d, double last)
{
  double now = clock_seconds();
  if (last >= d->queue.total) return;
  d->crew.total = last;
  d->is_shortened = true;
  queue_shorten(&d->queue, last);
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = dispatch_lane(d, w);
    for (struct link *link = lane->held.previous, *previous; link != &lane->held; link = previous) {
      struct work *work = LIST_OF(link, struct work, link);
      previous = link->previous;
      if (work->last > last)
        shorten_work(d, lane, work, now);
      else
        dispatch_update_needed(d, work);
    }
    if (d->engine->kind->can.kill && !lane->kind->is_rank && lane->state == LANE_READY && only_useless(d, lane, now))
      dispatch_end_worker(d, lane, LOST_CANCELLED, NULL, now);
  }
}

void dispatch_cancel(struct dispatch *d)
{
  if (d->is_cancelled) return;
  d->is_cancelled = true;
  d->cancelled_at = clock_seconds();
  queue_clear(&d->queue);
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = dispatch_lane(d, w);
    if (lane->kind->is_rank) {
      if (lane->state == LANE_READY) lane->kind->cancel(lane);
      continue;
    }
    for (struct link *link = lane->held.previous, *previous; link != &lane->held; link = previous) {
      struct work *work = LIST_OF(link, struct work, link);
      previous = link->previous;
      if (take_away(d, lane, work, d->cancelled_at))
        work_free(&d->queue.store, work);
      else if (lane->state == LANE_READY)
        lane->kind->lower(lane, work, -1);
    }
    if (lane->count > 0 && d->engine->kind->can.kill)
      dispatch_end_worker(d, lane, LOST_CANCELLED, NULL, d->cancelled_at);
  }
}

void dispatch_hand_out_again(struct dispatch *d, struct work *work)
{
  if (work->aborted > 0 && work->aborted == work->last && work->reached + 1 == work->last) {
    work->first = work->last; /* the others of it have ended */
    list_append(&d->aborted, &work->link);
  } else {
    queue_put_back(&d->queue, work, false);
  }
}

bool dispatch_take_given(struct dispatch *d, struct lane *lane, const struct outcome *outcome, double now)
{
  struct work *work = outcome->work;
  dispatch_count_apart(d, outcome);
  if (lane->is_asked) d->wishes--;
  lane->is_asked = false;
  if (!work) {
    lane->patience = fmin(lane->patience > 0 ? lane->patience * 2 : ask_seconds, ask_seconds_most);
    lane->ask_at = now + lane->patience;
  } else {
    lane->patience = 0;
  }
  if (work && outcome->keep < work->first) { /* whole: the lane holds it no more */
    dispatch_left_lane(d, work);
    if (lane->kind->is_rank && !work_is_retry(work))
      queue_add_range(&d->queue, work);
    else
      dispatch_hand_out_again(d, work);
  } else if (work && work_reserve(&d->queue.store, 1)) {
    dispatch_hand_out_again(d, work_split(&d->queue.store, work, outcome->keep + 1));
    dispatch_update_needed(d, work);
  } /* else it ends early, and what it does not do comes back then */
  dispatch_place(d, lane, now);
  return work != NULL;
}

bool dispatch_ask_back(struct dispatch *d, struct lane *lane, double now)
{
  struct outcome outcome;
  if (lane->is_asked) return false;
  if (!lane->kind->ask_back(lane, &outcome)) {
    lane->is_asked = true;
    d->wishes++;
    balance_remove(&d->balance, lane);
    return false;
  }
  if (dispatch_is_busy(lane) != lane->is_counted) dispatch_place(d, lane, now);
  return dispatch_take_given(d, lane, &outcome, now);
}

/* The lane's work with this task in it, which has not ended; NULL: it has none. */
static struct work *work_with(const struct lane *lane, double task)
{
  for (struct link *link = lane->held.next; link != &lane->held; link = link->next) {
    struct work *work = LIST_OF(link, struct work, link);
    if (task > work->reached && task <= work->last) return work;
  }
  return NULL;
}

/* The lane of this list that has the task; *work: within which work. NULL: none has. */
static struct lane *lane_with(const struct link *list, double task, struct work **work)
{
  for (struct link *link = list->next; link != list; link = link->next) {
    struct lane *lane = LIST_OF(link, struct lane, looking);
    *work = work_with(lane, task);
    if (*work && lane->state == LANE_READY) return lane;
  }
  return NULL;
}

/* Takes a task that no lane holds out of the queue: it is told as aborted. There are two reserves, which are used up or
 * given back. */
static bool abort_queued(struct dispatch *d, double task)
{
  struct work *work = queue_take_task(&d->queue, task);
  if (work) list_append(&d->aborted, &work->link);
  return work != NULL;
}

/* Takes a task that its lane's worker has not begun away from it. False: it has, or that can't be done. */
static bool abort_held(struct dispatch *d, struct lane *lane, struct work *work, double task, double now)
{
  struct work_store *store = &d->queue.store;
  struct work *rest = NULL;
  double keep = work->reached;
  if (!work_reserve(store, 3)) return false;
  if (take_away(d, lane, work, now)) {
    rest = work;
    work_unreserve(store, 1);
  } else if (d->crew.may_cut && work->first < task) {
    keep = fmax(lane->kind->shorten(lane, work, task - 1), keep);
    if (keep >= work->first && keep < work->last) rest = work_split(store, work, keep + 1);
  }
  if (!rest) {
    work_unreserve(store, 3);
    return false;
  }
  if (rest != work) {
    dispatch_update_needed(d, work);
    dispatch_place(d, lane, now);
  }
  queue_put_back(&d->queue, rest, true);
  if (keep < task) return abort_queued(d, task);
  work_unreserve(store, 2);
  return false;
}

bool dispatch_abort(struct dispatch *d, double task)
{
  double now = clock_seconds();
  struct lane_view view;
  struct work *work;
  dispatch_take_intake(d);
  struct lane *lane = lane_with(&d->looking_ranks, task, &work);
  if (lane) {
    lane->kind->abort(lane, task);
    return true;
  }
  lane = lane_with(&d->looking, task, &work);
  if (!lane) return work_reserve(&d->queue.store, 2) && abort_queued(d, task);
  if (abort_held(d, lane, work, task, now)) return true;
  bool has_another = work->aborted > work->reached && work->aborted != task; /* which is still to be ended */
  if (!d->engine->kind->can.kill || has_another) return false;
  work->aborted = task; /* its worker is ended when it is seen in it */
  if (lane->kind->view(lane, &view) && view.present.task == task && view.present.chunk == work->number)
    dispatch_end_worker(d, lane, LOST_CANCELLED, &view.present, now);
  else
    dispatch_ask_back(d, lane, now);
  return true;
}

bool dispatch_tell_aborted(struct dispatch *d, struct event *event)
{
  struct link *link = list_take(&d->aborted);
  if (!link) return false;
  struct work *work = LIST_OF(link, struct work, link);
  event->kind = EVENT_LOST;
  event->cause = LOST_CANCELLED;
  event->first = work->first;
  event->attempt = work->attempt;
  d->reported = work->payload;
  event->payload = d->reported ? &d->reported->block : NULL;
  work->payload = NULL;
  work_free(&d->queue.store, work);
  return true;
}

/* ---- a run that is fed ---- */

/* The tasks of a work leave this run. */
static struct range give_up(struct dispatch *d, struct work *work)
{
  struct range range = {work->reached + 1, work->last};
  work_free(&d->queue.store, work);
  return range;
}

uint32_t dispatch_part(struct dispatch *d, uint32_t idle, struct range *ranges, uint32_t most)
{
  struct queue *queue = &d->queue;
  uint32_t count = 0;
  double now = clock_seconds(), others = fmax(idle, 1), share = others / (others + d->crew.workers),
         wanted = ceil(queue->ranged * share);
  while (queue_has_range(queue) && wanted >= 1 && count < most && work_reserve(&queue->store, 1)) {
    struct work *work = queue_take_back(queue, wanted, fmax(d->chunks.fixed, 1));
    if (!work) break;
    wanted -= work->last - work->first + 1;
    ranges[count++] = give_up(d, work);
  }
  if (count > 0 || !list_is_empty(&d->idle)) return count;
  d->crew.idle = idle;
  if (idle < most) most = idle;
  for (uint32_t looks = 0; count < most && looks < d->lanes_count; looks++) {
    struct lane *lane = balance_take(&d->balance, now);
    if (!lane) break;
    dispatch_ask_back(d, lane, now); /* a rank answers later: then this is asked again */
    for (struct link *link; count < most && (link = list_take(&queue->again));)
      ranges[count++] = give_up(d, LIST_OF(link, struct work, link));
  }
  return count;
}
