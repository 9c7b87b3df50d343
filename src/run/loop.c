/* loop.c - dispatch: lists of lanes, opening and closing, and the loop. */
#include "run/dispatch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/state.h"
#include "sys/barrier.h"
#include "sys/clock.h"
#include "sys/signals.h"

/* How often there is an event of kind EVENT_TICK. */
static const double tick_seconds = 0.1;
/* A script that did not come back for so long was elsewhere: a task that waited for room to print meanwhile is not to
 * blame. */
static const double away_seconds = 0.1;
/* What waits for memory is tried again so often. */
static const double memory_seconds = 1e-3;

enum {
  MOST_WISHES = 8, /* lanes asked for work at the same time */
  MOST_ENDS = 64,
};

/* ---- lists of lanes ---- */

void dispatch_note(struct dispatch *d, struct lane *lane)
{
  if (!link_is_linked(&lane->news)) list_append(&d->news, &lane->news);
}

bool dispatch_is_busy(const struct lane *lane)
{
  return lane->count > 0 || lane->state == LANE_ENDING || lane->state == LANE_ENDED;
}

/* Puts the lane into the lists where it belongs now, and counts it. To be called whenever its state, or what it holds,
 * has changed.
 */
void dispatch_place(struct dispatch *d, struct lane *lane, double now)
{
  bool busy = dispatch_is_busy(lane), has_worker = lane->state == LANE_READY || lane->state == LANE_ENDING;
  link_remove(&lane->place);
  if (lane->state == LANE_EMPTY)
    list_append(&d->empty, &lane->place);
  else if (lane->state == LANE_READY && lane->count == 0)
    list_prepend(&d->idle, &lane->place); /* the last to have worked is the warmest */
  else if (lane->state == LANE_READY && lane->kind->wants(lane) > 0)
    list_append(&d->hungry, &lane->place);
  if (busy != lane->is_counted) d->busy += busy ? 1 : (uint32_t)-1;
  lane->is_counted = busy;
  bool is_looked_at = (busy && has_worker) || (has_worker && d->engine->unwatched[lane->number]);
  if (!is_looked_at) {
    link_remove(&lane->looking);
  } else if (!link_is_linked(&lane->looking)) {
    lane->look_at = now + dispatch_look_delay(d);
    list_append(&d->looking, &lane->looking);
  }
  balance_update(&d->balance, lane, now);
}

/* ---- opening and closing ---- */

static bool make_lanes(struct dispatch *d)
{
  d->lanes = calloc(d->lanes_count, d->options.lanes->bytes);
  if (!d->lanes || !balance_init(&d->balance, d->lanes_count)) return false;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = dispatch_lane(d, w);
    lane->kind = d->options.lanes;
    lane->crew = &d->crew;
    lane->number = w;
    lane->state = d->engine->alive[w] ? LANE_READY : LANE_EMPTY;
    list_init(&lane->held);
    list_append(lane->state == LANE_EMPTY ? &d->empty : &d->idle, &lane->place);
    if (d->engine->given_back) d->engine->given_back[w].answered = false;
    if (lane->state == LANE_EMPTY) continue;
    dispatch_note(d, lane);
    dispatch_check_end(d, lane, clock_seconds()); /* while the last run ended, nobody listened to whose end was told */
  }
  return true;
}

struct dispatch *dispatch_open(struct engine *engine, const struct dispatch_options *options)
{
  struct dispatch *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  d->engine = engine;
  d->options = *options;
  if (!options->lanes) d->options.lanes = &lane_over_slot;
  d->lanes_count = options->workers < engine->workers ? options->workers : engine->workers;
  list_init(&d->empty);
  list_init(&d->idle);
  list_init(&d->hungry);
  list_init(&d->news);
  list_init(&d->looking);
  list_init(&d->aborted);
  queue_init(&d->queue, options->total >= 0 ? options->total : INFINITY);
  d->crew = (struct crew){.engine = engine, .store = &d->queue.store, .message = options->message, .job = options->job};
  d->crew.is_sparse = options->sparse;
  d->crew.key = options->key;
  d->crew.may_cut = options->chunk <= 0 && barrier_works();
  d->crew.total = INFINITY;
  if (!make_lanes(d)) {
    balance_free(&d->balance);
    free(d->lanes);
    free(d);
    return NULL;
  }
  double distant = 0;
  for (uint32_t w = 0; w < d->lanes_count; w++) distant += engine_is_distant(engine, w);
  chunks_init(&d->chunks, options->chunk, distant);
  d->look_interval = engine->sample = dispatch_look_interval(options->timeout);
  d->last_tick = d->left_at = clock_seconds();
  signals_begin(engine->hub.bell_fd, options->timeout > 0);
  return d;
}

/* Gives back what the last event pointed to. */
void dispatch_give_back(struct dispatch *d)
{
  struct lane *lane = d->reporting;
  payload_drop(&d->queue.store, d->reported);
  d->reported = NULL;
  d->reporting = NULL;
  if (lane) lane->kind->release(lane);
}

/* Arguments were asked for, but not supplied. */
static void drop_request(struct dispatch *d)
{
  if (!d->asked) return;
  work_unreserve(&d->queue.store);
  work_unreserve(&d->queue.store);
  d->asked = NULL;
}

void dispatch_close(struct dispatch *d)
{
  double deadline = clock_seconds() + cancel_grace;
  dispatch_give_back(d);
  drop_request(d);
  for (uint32_t w = 0; w < d->lanes_count; w++) dispatch_lane(d, w)->kind->quiet(dispatch_lane(d, w), d->is_cancelled);
  for (uint32_t w = 0; w < d->lanes_count; w++) dispatch_lane(d, w)->kind->close(dispatch_lane(d, w), deadline);
  for (struct link *link; (link = list_take(&d->aborted));)
    work_free(&d->queue.store, LIST_OF(link, struct work, link));
  payload_drop(&d->queue.store, d->staged);
  queue_free(&d->queue);
  balance_free(&d->balance);
  signals_end(d->engine->hub.bell_fd);
  free(d->crew.text);
  free(d->lanes);
  free(d);
}

/* ---- balance ---- */

/* There is a lane with nothing to do, and nothing to be handed out: takes work from one that has much. Returns true
 * when there is some now. */
static bool balance(struct dispatch *d, double now)
{
  if (d->is_cancelled || (list_is_empty(&d->idle) && list_is_empty(&d->empty))) return false;
  while (d->wishes < MOST_WISHES) {
    struct lane *lane = balance_take(&d->balance, now);
    if (!lane) return false;
    if (dispatch_ask_back(d, lane, now)) return true;
  }
  return false;
}

/* ---- the loop ---- */

static bool is_finished(const struct dispatch *d)
{
  if (!queue_is_empty(&d->queue)) return false;
  return d->is_shortened ? d->needed == 0 : d->busy == 0;
}

/* Notes the lanes of workers with news. */
static void gather_news(struct dispatch *d)
{
  uint32_t w;
  engine_progress(d->engine);
  while (engine_next_news(d->engine, &w))
    if (w < d->lanes_count) dispatch_note(d, dispatch_lane(d, w));
}

/* Until when nothing is to be done, unless there is news. */
static double next_time(const struct dispatch *d, double deadline)
{
  double at = fmin(d->last_tick + tick_seconds, deadline);
  if (!list_is_empty(&d->looking)) at = fmin(at, LIST_OF(d->looking.next, struct lane, looking)->look_at);
  if (dispatch_hungriest(d)) at = fmin(at, queue_next_due(&d->queue)); /* else a lane's news wake us */
  return at;
}

static void rest(struct dispatch *d, double seconds)
{
  uint32_t ended[MOST_ENDS];
  int count = engine_sleep(d->engine, seconds, ended, MOST_ENDS);
  for (int i = 0; i < count; i++) {
    if (ended[i] >= d->lanes_count) continue;
    struct lane *lane = dispatch_lane(d, ended[i]);
    dispatch_check_end(d, lane, clock_seconds()); /* the descriptor may speak of a worker that was replaced meanwhile */
    dispatch_note(d, lane);
  }
}

/* One round: true when *event was filled. */
static bool step(struct dispatch *d, struct event *event, double deadline)
{
  double now = clock_seconds();
  int number = d->is_away ? 0 : signals_pending();
  if (d->is_wanted && __atomic_load_n(d->is_wanted, __ATOMIC_SEQ_CST)) {
    event->kind = EVENT_TICK;
    return true;
  }
  if (number) {
    event->kind = EVENT_SIGNAL;
    event->status = number;
    return true;
  }
  if (dispatch_tell_aborted(d, event)) return true;
  gather_news(d);
  d->is_short = false;
  if (dispatch_feed(d, event, now) || dispatch_look(d, event, now))
    return true; /* before news, which may come without end */
  if (now - d->last_tick >= tick_seconds) {
    d->last_tick = now;
    event->kind = EVENT_TICK;
    return true;
  }
  if (dispatch_take_news(d, event, now)) return true;
  if (d->trouble == 0 && is_finished(d)) {
    event->kind = EVENT_DONE;
    return true;
  }
  if (d->trouble) {
    event->kind = EVENT_TROUBLE;
    event->status = d->trouble;
    event->ended = d->stillborn_status;
    d->trouble = 0;
    return true;
  }
  if (now >= deadline) {
    event->kind = EVENT_TICK;
    return true;
  }
  if (!queue_has_work(&d->queue, now) && balance(d, now)) return false;
  bool can_go_on =
      !list_is_empty(&d->news) || (queue_has_work(&d->queue, now) && dispatch_hungriest(d) && !d->is_short);
  if (!can_go_on) rest(d, fmin(next_time(d, deadline) - now, d->is_short ? memory_seconds : INFINITY));
  return false;
}

void dispatch_next(struct dispatch *d, struct event *event, double wait)
{
  double now = clock_seconds(), deadline = wait < 1e9 ? now + wait : INFINITY;
  if (now - d->left_at > away_seconds) d->returned_at = now;
  if (d->reporting) dispatch_note_waiting(d, d->reporting, now);
  dispatch_give_back(d);
  drop_request(d);
  memset(event, 0, sizeof *event);
  while (!step(d, event, deadline)) continue;
  d->left_at = clock_seconds();
}

void dispatch_attend(struct dispatch *d, struct event *event, double wait, const volatile bool *is_wanted)
{
  d->is_away = true;
  d->is_wanted = is_wanted;
  dispatch_next(d, event, wait);
  d->is_away = false;
  d->is_wanted = NULL;
}

void dispatch_wake(const struct dispatch *d)
{
  hub_ring(&d->engine->hub);
}

struct payload *dispatch_keep_payload(struct dispatch *d)
{
  struct payload *payload = d->reported;
  d->reported = NULL;
  return payload;
}

void dispatch_report_again(struct dispatch *d, struct event *event, struct payload *payload)
{
  dispatch_give_back(d);
  d->reported = payload;
  event->payload = payload ? &payload->block : NULL;
}

uint32_t dispatch_lacking(const struct dispatch *d, int *error)
{
  *error = d->lacking;
  return d->closed;
}
