/* loop.c - dispatch: lists of lanes, opening and closing, and the loop. */
#include "run/dispatch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "run/state.h"
#include "sys/barrier.h"
#include "sys/clock.h"
#include "sys/signals.h"

/* How often there is an event of kind EVENT_TICK. */
static const double tick_seconds = 0.1;
/* A script that did not come back for so long was elsewhere: a task that waited for room to print meanwhile is not to
 * blame. */
static const double away_seconds = 0.1;
/* Where news come without end, work is balanced so often. */
static const double balance_seconds = 1e-3;
/* Somebody may wait for the result of one call, behind which another runs in the same chunk. */
static const double pushed_look_seconds = 2e-3;
/* Somebody waits for many results, of which each is to be there soon. */
static const double patient_look_seconds = 20e-3;
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

void dispatch_place(struct dispatch *d, struct lane *lane, double now)
{
  bool busy = dispatch_is_busy(lane), has_worker = lane->state == LANE_READY || lane->state == LANE_ENDING;
  link_remove(&lane->place);
  if (lane->state == LANE_EMPTY)
    list_append(&d->empty, &lane->place);
  else if (lane->state == LANE_READY && lane_is_idle(lane))
    list_prepend(&d->idle, &lane->place); /* the last to have worked is the warmest */
  else if (lane->state == LANE_READY && lane->kind->wants(lane) > 0)
    list_append(&d->hungry, &lane->place);
  else if (lane->state == LANE_READY && lane->kind->is_rank && lane->kind->takes_retry(lane))
    list_prepend(&d->full, &lane->place);
  if (busy != lane->is_counted) d->busy += busy ? 1 : (uint32_t)-1;
  lane->is_counted = busy;
  bool is_looked_at = (busy && has_worker) || (has_worker && d->engine->unwatched[lane->number]);
  if (!is_looked_at) {
    link_remove(&lane->looking);
  } else if (!link_is_linked(&lane->looking)) {
    dispatch_look_later(d, lane, now);
  }
  balance_note(&d->balance, lane);
}

/* ---- opening and closing ---- */

static const struct lane_kind *kind_of(const struct dispatch *d, uint32_t w)
{
  const struct engine *engine = d->engine;
  if (engine->rank_lanes && w >= engine->ranks_from) return engine->rank_lanes;
  return engine->lanes ? engine->lanes : &lane_over_slot;
}

/* How many of the run's workers are behind lane `w`. */
static uint32_t width_of(const struct dispatch *d, uint32_t w)
{
  if (d->engine->kind->width) return d->engine->kind->width(d->engine, w, d->options.workers);
  return w < d->options.workers;
}

static bool make_lanes(struct dispatch *d)
{
  while (d->lanes_count < d->engine->workers && width_of(d, d->lanes_count) > 0) {
    const struct lane_kind *kind = kind_of(d, d->lanes_count);
    if (d->lane_bytes < kind->bytes) d->lane_bytes = kind->bytes;
    d->crew.workers += width_of(d, d->lanes_count++);
  }
  d->lanes = calloc(d->lanes_count, d->lane_bytes);
  if (!d->lanes || !balance_init(&d->balance, d->lanes_count)) return false;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = dispatch_lane(d, w);
    lane->kind = kind_of(d, w);
    lane->width = width_of(d, w);
    lane->crew = &d->crew;
    lane->number = w;
    lane->state = d->engine->alive[w] ? LANE_READY : LANE_EMPTY;
    list_init(&lane->held);
    list_append(lane->state == LANE_EMPTY ? &d->empty : &d->idle, &lane->place);
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
  list_init(&d->empty);
  list_init(&d->idle);
  list_init(&d->hungry);
  list_init(&d->full);
  list_init(&d->news);
  list_init(&d->looking);
  list_init(&d->looking_ranks);
  list_init(&d->aborted);
  queue_init(&d->queue, options->total >= 0 ? options->total : INFINITY);
  d->queue.is_fed = options->is_fed;
  d->queue.store.lends = engine->kind->can.map && engine->kind->can.kill;
  if (options->is_pushed) d->queue.ceiling = 0; /* its source gives nothing */
  d->crew = (struct crew){.engine = engine, .store = &d->queue.store, .options = &d->options, .total = INFINITY};
  d->crew.may_cut = options->chunk <= 0 && barrier_works();
  if (!make_lanes(d)) {
    balance_free(&d->balance);
    free(d->lanes);
    free(d);
    return NULL;
  }
  /* what can't be cut is short; where results are joined on their way, nobody hears of all chunks */
  bool is_joined = options->is_fed && options->group == GROUP_JOINED;
  chunks_init(&d->chunks, options->is_pushed && !barrier_works() ? 1 : options->chunk,
              is_joined ? d->crew.workers : engine->all);
  if (options->is_gathered) d->chunks.seconds = chunks_patient_seconds(engine->all);
  d->look_interval = dispatch_look_interval(options->timeout);
  if (options->is_pushed) d->look_interval = fmin(d->look_interval, pushed_look_seconds);
  d->last_tick = d->left_at = d->round_at = clock_seconds();
  if (!options->is_fed) signals_begin(engine->hub.bell_fd, options->timeout > 0);
  return d;
}

void dispatch_be_patient(struct dispatch *d, bool is_patient)
{
  double interval = dispatch_look_interval(d->options.timeout);
  if (!d->options.is_pushed || d->is_patient == is_patient) return;
  d->is_patient = is_patient;
  d->chunks.seconds = is_patient ? chunks_patient_seconds(d->engine->all) : chunks_seconds(d->engine->all);
  dispatch_look_each(d, fmin(interval, is_patient ? patient_look_seconds : pushed_look_seconds), clock_seconds());
}

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
  work_unreserve(&d->queue.store, 2);
  d->asked = NULL;
}

void dispatch_close(struct dispatch *d)
{
  double deadline = clock_seconds() + cancel_grace;
  dispatch_give_back(d);
  drop_request(d);
  for (uint32_t w = 0; w < d->lanes_count; w++) dispatch_lane(d, w)->kind->quiet(dispatch_lane(d, w), d->is_cancelled);
  for (uint32_t w = 0; w < d->lanes_count; w++) dispatch_lane(d, w)->kind->close(dispatch_lane(d, w), deadline);
  work_free_all(&d->queue.store, &d->aborted);
  payload_drop(&d->queue.store, d->staged);
  payload_drop(&d->queue.store, d->intake_payload);
  queue_free(&d->queue);
  balance_free(&d->balance);
  if (!d->options.is_fed) signals_end(d->engine->hub.bell_fd);
  free(d->crew.text);
  free(d->lanes);
  free(d);
}

/* ---- balance ---- */

/* Workers with nothing to do, counted up to some. */
static uint32_t idle_workers(const struct dispatch *d)
{
  enum { MOST_LOOKS = 64 };
  const struct link *lists[] = {&d->idle, &d->empty};
  uint32_t count = 0, looks = 0;
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    for (const struct link *link = lists[i]->next; link != lists[i] && looks++ < MOST_LOOKS; link = link->next)
      count += LIST_OF(link, const struct lane, place)->width;
  return count;
}

/* Is there a lane with nothing to do that can be given work? While the script is away, no worker is started. */
static bool has_idle(const struct dispatch *d)
{
  return !list_is_empty(&d->idle) || (!d->is_away && !list_is_empty(&d->empty));
}

/* Has each worker of this process its last chunk? (Of many, some soon have another to give.) */
static bool have_last_chunks(const struct dispatch *d)
{
  enum { MOST_WORKERS = 16 };
  uint32_t own = d->engine->rank_lanes ? d->engine->ranks_from : 0, count = 0, looks = 0;
  if (own == 0 || own > MOST_WORKERS) return false;
  for (const struct link *link = d->hungry.next; link != &d->hungry && looks++ < 2 * MOST_WORKERS; link = link->next)
    count += !LIST_OF(link, const struct lane, place)->kind->is_rank;
  return count >= own;
}

/* A rank takes its time to answer: where the workers of this process will soon have nothing to do, the rank with the
 * most work is asked for some of what it has not handed out. */
static void ask_ahead(struct dispatch *d, double now)
{
  static const double least = 2; /* tasks: a last one it keeps */
  struct lane *lane = d->wishes == 0 && have_last_chunks(d) ? balance_take(&d->balance, now) : NULL;
  if (!lane) return;
  d->crew.idle = 0;
  if (lane->kind->is_rank && lane->kind->reserve(lane) >= least)
    dispatch_ask_back(d, lane, now);
  else
    balance_note(&d->balance, lane);
}

/* There is a lane with nothing to do, and nothing to be handed out: takes work from one that has much. Returns true
 * when there is some now. */
static bool balance(struct dispatch *d, double now)
{
  d->last_balance = now;
  if (d->is_cancelled || queue_has_work(&d->queue, now)) return false;
  if (!has_idle(d)) {
    ask_ahead(d, now);
    return false;
  }
  if (d->engine->rank_lanes) d->crew.idle = idle_workers(d);
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
  if (!list_is_empty(&d->aborted)) return false; /* news may have brought one that is not told yet */
  if (!queue_is_empty(&d->queue) || (d->options.is_fed && !d->is_cancelled)) return false;
  return d->is_shortened ? d->needed == 0 : d->busy == 0;
}

/* Notes the lanes of workers with news. With many workers this processor's cache has none of their memory: it comes
 * sooner when it is asked for at once. */
static void gather_news(struct dispatch *d)
{
  uint32_t w;
  while (engine_next_news(d->engine, &w)) {
    if (w >= d->lanes_count) continue;
    dispatch_note(d, dispatch_lane(d, w));
    if (d->engine->slots[w]) slot_prefetch(d->engine->slots[w]);
  }
}

/* Until when nothing is to be done, unless there is news. */
static double next_time(const struct dispatch *d, double deadline)
{
  double at = d->options.is_fed ? INFINITY : fmin(d->last_tick + tick_seconds, deadline);
  at = fmin(at, dispatch_next_look(d));
  if (dispatch_hungriest(d) || !list_is_empty(&d->full))
    at = fmin(at, queue_next_due(&d->queue)); /* else a lane's news wake us */
  return at;
}

/* Where all chunks take long, and there is enough to do for each worker, a result waits for some others: each time that
 * the coordinator is woken costs it as much as several results do, and takes the processor from some worker. It waits
 * only where some are to come meanwhile. Workers have another chunk by then, so none waits for the coordinator. */
static double gathering_seconds(const struct dispatch *d, double now, double nap)
{
  static const double share = 0.4, least = 0.5e-3, most = 2e-3, share_of_long = 0.1, most_of_long = 10e-3, few = 2;
  bool is_waited_for = d->options.is_pushed || d->options.is_fed || d->is_away || d->options.timeout > 0;
  if (is_waited_for || nap < least || has_idle(d) || !queue_has_work(&d->queue, now)) return 0;
  double chunk = d->chunks.shortest;
  double seconds = fmin(share * chunk, fmax(most, fmin(share_of_long * chunk, most_of_long)));
  return seconds < least || d->crew.workers * seconds < few * chunk ? 0 : seconds;
}

static void rest(struct dispatch *d, double now, double seconds, double nap)
{
  double gathering = fmin(gathering_seconds(d, now, nap), seconds);
  if (gathering > 0) {
    const struct timespec time = {.tv_nsec = (long)(gathering * 1e9)};
    nanosleep(&time, NULL); /* a signal ends it */
    seconds -= gathering;
  }
  /* who looks again takes the processor from a worker that computes, or leaves it to that one for a whole slice */
  if (d->chunks.per_task > spin_seconds) hub_expect_long(&d->engine->hub);
  uint32_t ended[MOST_ENDS];
  int count = engine_sleep(d->engine, seconds, ended, MOST_ENDS);
  for (int i = 0; i < count; i++) {
    if (ended[i] >= d->lanes_count) continue;
    struct lane *lane = dispatch_lane(d, ended[i]);
    dispatch_check_end(d, lane, clock_seconds()); /* the descriptor may speak of a worker that was replaced meanwhile */
    dispatch_note(d, lane);
  }
}

enum found { FOUND_EVENT, FOUND_MORE, FOUND_NOTHING };

static enum found tell(struct event *event, enum event_kind kind, int status)
{
  event->kind = kind;
  event->status = status;
  return FOUND_EVENT;
}

/* One round, at *at: FOUND_EVENT when *event was filled, FOUND_NOTHING when there is nothing to do until there is
 * news. */
static enum found look_round(struct dispatch *d, struct event *event, double deadline, double *at)
{
  double now = *at = clock_seconds();
  int number = d->is_away || d->options.is_fed ? 0 : signals_pending();
  if (d->is_wanted && __atomic_load_n(d->is_wanted, __ATOMIC_SEQ_CST)) return tell(event, EVENT_TICK, 0);
  if (number) return tell(event, EVENT_SIGNAL, number);
  if (dispatch_tell_aborted(d, event)) return FOUND_EVENT;
  gather_news(d);
  d->is_short = false;
  if (dispatch_feed(d, event, now) || dispatch_look(d, event, now))
    return FOUND_EVENT; /* before news, which may come without end */
  if (now - d->last_tick >= tick_seconds && !d->options.is_fed) {
    d->last_tick = now;
    return tell(event, EVENT_TICK, 0);
  }
  if (now - d->last_balance >= balance_seconds && balance(d, now)) return FOUND_MORE; /* likewise */
  if (dispatch_take_news(d, event, now)) return FOUND_EVENT;
  if (d->trouble) {
    int trouble = d->trouble;
    d->trouble = 0;
    event->ended = d->stillborn_status;
    return tell(event, EVENT_TROUBLE, trouble);
  }
  if (is_finished(d)) return tell(event, EVENT_DONE, 0);
  if (now >= deadline) return tell(event, EVENT_TICK, 0);
  if (balance(d, now)) return FOUND_MORE;
  bool can_go_on = !list_is_empty(&d->news) || !list_is_empty(&d->aborted) ||
                   (queue_has_work(&d->queue, now) && dispatch_next_lane(d, now) && !d->is_short);
  return can_go_on ? FOUND_MORE : FOUND_NOTHING;
}

/* Somebody asks for an event. */
static double come_back(struct dispatch *d, struct event *event)
{
  double now = clock_seconds();
  if (now - d->left_at > away_seconds) d->returned_at = now;
  if (d->reporting) dispatch_note_waiting(d, d->reporting, now);
  dispatch_give_back(d);
  drop_request(d);
  memset(event, 0, sizeof *event);
  return now;
}

void dispatch_next(struct dispatch *d, struct event *event, double wait)
{
  double now = come_back(d, event), deadline = wait < 1e9 ? now + wait : INFINITY;
  for (;;) {
    double nap = engine_progress(d->engine);
    enum found found = look_round(d, event, deadline, &now);
    if (found == FOUND_EVENT) break;
    if (found != FOUND_NOTHING) continue;
    rest(d, now, fmin(next_time(d, deadline) - now, d->is_short ? memory_seconds : INFINITY), nap);
  }
  if (d->options.is_pushed) dispatch_note_hunger(d);
  d->left_at = clock_seconds();
  d->intake.left_at = d->left_at;
}

bool dispatch_poll(struct dispatch *d, struct event *event, double *until)
{
  enum found found = FOUND_MORE;
  double now = come_back(d, event);
  while (found == FOUND_MORE) found = look_round(d, event, INFINITY, &now);
  d->left_at = clock_seconds();
  *until = d->is_short ? d->left_at + memory_seconds : next_time(d, INFINITY);
  return found == FOUND_EVENT;
}

void dispatch_attend(struct dispatch *d, struct event *event, double wait, const volatile bool *is_wanted)
{
  bool was_patient = d->is_patient;
  d->is_away = true;
  d->is_wanted = is_wanted;
  dispatch_be_patient(d, true);
  dispatch_next(d, event, wait);
  dispatch_be_patient(d, was_patient);
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
  payload_drop(&d->queue.store, d->reported);
  d->reported = payload;
  event->payload = payload ? &payload->block : NULL;
}

uint32_t dispatch_lacking(const struct dispatch *d, int *error)
{
  uint32_t lacking = 0;
  bool has_ranks = d->engine->rank_lanes && d->lanes_count > d->engine->ranks_from;
  *error = d->lacking;
  if (d->closed == 0 && !has_ranks) return 0; /* an agent asks often */
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    const struct lane *lane = dispatch_lane(d, w);
    uint32_t count = lane->state != LANE_CLOSED ? lane->lacking : lane->is_lost ? 0 : lane->width;
    if (lane->kind->is_rank && count > 0) *error = lane->lacking_error;
    lacking += count;
  }
  return lacking;
}
