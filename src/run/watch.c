/* watch.c - dispatch: each worker that has work is looked at from time to time, for time limits, for results that wait
 * in an open block, and for news that was not told. */
#include <math.h>

#include "run/state.h"
#include "sys/clock.h"
#include "sys/signals.h"

/* How often the worker of a lane that has work is looked at. */
static const double look_seconds = 0.05;
/* Time limits are met to within this share of the limit, looked at no more often than the least. */
static const double timeout_share = 0.04, timeout_look_least = 0.25e-3, timeout_look_most = 0.02;
/* A worker's set-up may take so long, or as long as one task, whichever is more; where tasks have a time limit. */
static const double setup_seconds = 10;

enum { VISIT_EVERY = 8 }; /* of the looks at a worker that is still in the same task */

/* Where tasks have no time limit, so many lanes are looked at in a second, at the most. */
static const double looks_a_second = 1e4;

/* There, looks are put off to one of so many moments between two looks at a lane. Each time that the coordinator is
 * woken for looks costs it as much as ten of them. */
static const double moments = 8;

static double look_delay(const struct dispatch *d, const struct lane *lane)
{
  if (lane->kind->is_rank) return look_seconds;
  return d->options.timeout > 0 ? d->look_interval : fmax(d->look_interval, d->busy / looks_a_second);
}

void dispatch_look_later(struct dispatch *d, struct lane *lane, double now)
{
  double apart = d->look_interval / moments;
  lane->look_at = now + look_delay(d, lane);
  if (d->options.timeout <= 0) lane->look_at = ceil(lane->look_at / apart) * apart;
  list_append(lane->kind->is_rank ? &d->looking_ranks : &d->looking, &lane->looking);
}

/* The lane of the list that is to be looked at next; NULL: there is none. */
static struct lane *next_of(const struct link *list)
{
  return list_is_empty(list) ? NULL : LIST_OF(list->next, struct lane, looking);
}

double dispatch_next_look(const struct dispatch *d)
{
  const struct lane *lane = next_of(&d->looking), *rank = next_of(&d->looking_ranks);
  return fmin(lane ? lane->look_at : INFINITY, rank ? rank->look_at : INFINITY);
}

double dispatch_look_interval(double timeout)
{
  if (timeout <= 0) return look_seconds;
  return fmin(fmax(timeout * timeout_share, timeout_look_least), timeout_look_most);
}

void dispatch_look_each(struct dispatch *d, double interval, double now)
{
  d->look_interval = interval;
  for (struct link *link = d->looking.next; link != &d->looking; link = link->next) {
    struct lane *lane = LIST_OF(link, struct lane, looking);
    lane->look_at = fmin(lane->look_at, now + interval);
  }
}

/* Notes what the worker is in. Returns for how long it has been in it, as far as that counts against a time limit.
 * `now`, at which a round begins, may be long before the look, where this process was kept from going on meanwhile:
 * what was seen first in such a round is timed from its end. */
static double note_present(struct dispatch *d, struct lane *lane, const struct lane_view *view, double now)
{
  const struct present *present = &view->present, *seen = &lane->seen;
  bool is_same = present->task == seen->task && present->chunk == seen->chunk && present->inner == seen->inner;
  bool is_waiting = view->blocked == BLOCKED_BY_RESULTS, has_waited = is_waiting || lane->was_waiting;
  lane->was_waiting = is_waiting;
  if (!is_same || present->task == 0 || has_waited) { /* it may have waited until now: a wake-up takes its time */
    const struct work *first = lane_first(lane);
    bool begins = first && present->task == first->first && present->inner == 0 && present->chunk == first->number;
    lane->seen = *present;
    lane->since = begins && !has_waited && view->started > 0 && view->started <= now ? view->started : now;
    lane->is_new = true;
  } else {
    if (lane->is_new && lane->since == d->slow_round) lane->since = d->slow_until;
    lane->is_new = false;
  }
  /* nobody took its text before; it may go on with the task for a while after that */
  if (view->blocked == BLOCKED_BY_TEXT) lane->since = fmax(lane->since, d->returned_at);
  return now - fmax(lane->since, d->continued_at);
}

bool dispatch_longest(struct dispatch *d, struct longest *found)
{
  double now = clock_seconds();
  *found = (struct longest){0};
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = dispatch_lane(d, w);
    struct lane_view view;
    if (lane->state != LANE_READY || lane->count == 0 || !lane->kind->view(lane, &view) || view.present.task <= 0)
      continue;
    double seconds = note_present(d, lane, &view, now);
    if (found->worker > 0 && seconds <= found->seconds) continue;
    *found =
        (struct longest){.task = view.present.task, .inner = view.present.inner, .seconds = seconds, .worker = w + 1};
  }
  return found->worker > 0;
}

void dispatch_note_waiting(struct dispatch *d, struct lane *lane, double now)
{
  struct lane_view view;
  if (d->options.timeout <= 0 || lane->state != LANE_READY || !lane->kind->view(lane, &view)) return;
  if (view.blocked) note_present(d, lane, &view, now);
}

static bool is_over(const struct dispatch *d, double seconds)
{
  return d->options.timeout > 0 && seconds > d->options.timeout;
}

/* Has the worker not become able to run a task for too long? */
static bool is_setup_over(const struct dispatch *d, const struct lane *lane, const struct lane_view *view, double now)
{
  return d->options.timeout > 0 && !view->has_begun && lane->count > 0 &&
         now - lane->given_at > fmax(d->options.timeout, setup_seconds);
}

/* Is the worker in a task that was aborted? */
static bool is_in_aborted(const struct lane *lane, const struct present *present)
{
  const struct work *first = lane_first(lane);
  return first && first->aborted > 0 && first->aborted == present->task && first->number == present->chunk;
}

/* Ends the worker if what it is in has come to its end. */
static void judge(struct dispatch *d, struct lane *lane, double now)
{
  struct lane_view view;
  if (lane->state != LANE_READY || !lane->kind->view(lane, &view)) return;
  double seconds = note_present(d, lane, &view, now);
  if (d->is_cancelled && lane->count > 0 && now - d->cancelled_at > cancel_grace)
    dispatch_end_worker(d, lane, LOST_CANCELLED, NULL, now);
  else if (is_in_aborted(lane, &view.present))
    dispatch_end_worker(d, lane, LOST_CANCELLED, &view.present, now);
  else if (view.present.task > 0 && is_over(d, seconds))
    dispatch_end_late(d, lane, &view.present, now);
  else if (is_setup_over(d, lane, &view, now))
    dispatch_end_worker(d, lane, LOST_TIMEOUT, NULL, now);
}

/* Looks at one lane: time limits, results that wait in an open block. Returns true when *event was filled. Where the
 * worker is still in the same task there are none, nothing about the lane has changed but how long what it has will
 * take (which is looked at when it is asked for work), and most visits are left out: with a thousand workers they would
 * be most of what a chunk costs. */
static bool look(struct dispatch *d, struct lane *lane, struct event *event, double now)
{
  struct present before = lane->seen;
  link_remove(&lane->looking);
  if (d->engine->unwatched[lane->number]) dispatch_check_end(d, lane, now);
  judge(d, lane, now);
  bool is_still = lane->state == LANE_READY && before.task > 0 && before.task == lane->seen.task &&
                  before.chunk == lane->seen.chunk;
  lane->still_looks = is_still ? lane->still_looks + 1 : 0;
  if (lane->still_looks % VISIT_EVERY == 0) {
    dispatch_place(d, lane, now);
    return dispatch_visit(d, lane, event, true, now);
  }
  dispatch_look_later(d, lane, now);
  return false;
}

static bool look_at_some(struct dispatch *d, const struct link *list, struct event *event, double now)
{
  for (struct lane *lane; (lane = next_of(list)) && lane->look_at <= now;) {
    if (!look(d, lane, event, now)) continue;
    dispatch_note(d, lane);
    return true;
  }
  return false;
}

bool dispatch_look(struct dispatch *d, struct event *event, double now)
{
  double ended = d->left_at > d->round_at ? d->left_at : now;
  if (ended - d->round_at > d->look_interval) {
    d->slow_round = d->round_at;
    d->slow_until = ended;
  }
  d->round_at = now;
  if (signals_continue())
    d->continued_at = now; /* Ctrl-Z, fg: the workers stood still too, so each task is given its time anew */
  return look_at_some(d, &d->looking, event, now) || look_at_some(d, &d->looking_ranks, event, now);
}
