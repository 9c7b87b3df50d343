/* dispatch.c - see dispatch.h. */
#include "run/dispatch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/balance.h"
#include "run/chunks.h"
#include "run/inbox.h"
#include "run/queue.h"
#include "sys/barrier.h"
#include "sys/clock.h"
#include "sys/signals.h"

/* How often the worker of a lane that has work is looked at, and events of kind EVENT_TICK. */
static const double look_seconds = 0.05, tick_seconds = 0.1;
/* Time limits are met to within this share of the limit, looked at no more often than the least. */
static const double timeout_share = 0.04, timeout_look_least = 0.25e-3, timeout_look_most = 0.02;
/* A script that did not come back for so long was elsewhere: a task that waited for room to print meanwhile is not to blame. */
static const double away_seconds = 0.1;
/* After a cancellation a thread has so long to end its task before it is abandoned. */
static const double cancel_grace = 0.3;
/* A distant worker that had nothing to give back is asked again after this long, then after ever longer times. */
static const double ask_seconds = 0.5e-3, ask_seconds_most = 16e-3;
/* A worker's set-up may take so long, or as long as one task, whichever is more; where tasks have a time limit. */
static const double setup_seconds = 10;
/* What waits for memory is tried again so often. */
static const double memory_seconds = 1e-3;

enum {
  MOST_STILLBORN = 3,        /* workers of one lane that end before they can run a task, where none ever could; */
  MOST_STILLBORN_LATER = 30, /* and where some could: then somebody kills them */
  MOST_WISHES = 8,           /* lanes asked for work at the same time */
  MOST_ENDS = 64
};

struct dispatch {
  struct engine *engine;
  struct dispatch_options options;
  struct crew crew;
  struct queue queue;
  struct chunks chunks;
  struct balance balance;
  char *lanes; /* of options.lanes->bytes each */
  uint32_t lanes_count;
  struct link empty, idle, hungry; /* lanes that want work: without a worker; with nothing to do; with less than they want */
  struct link news;                /* lanes with news, in their order */
  struct link looking;             /* lanes to be looked at, the first due first */
  uint32_t busy;                   /* lanes that hold work, or whose worker is being ended */
  uint32_t closed;
  uint32_t needed; /* works at lanes with tasks that count for the run's end */
  uint32_t wishes; /* lanes that were asked for work and have not answered */
  double look_interval, last_tick, cancelled_at, continued_at, left_at, returned_at;
  bool is_cancelled, is_shortened, any_begun;
  bool is_short;      /* of memory: what could be handed out waits */
  struct lane *asked; /* for whom arguments are to be supplied */
  struct payload *staged, *reported;
  struct lane *reporting; /* whose results were reported */
  struct link aborted;    /* works of one task that will not be run, to be told */
  int trouble;            /* errno of what keeps the run from going on */
  int lacking;            /* of the last start that failed, for dispatch_lacking */
};

static struct lane *lane_at(const struct dispatch *d, uint32_t w)
{
  return (struct lane *)(void *)(d->lanes + w * d->options.lanes->bytes);
}

/* ---- lists of lanes ---- */

static void note(struct dispatch *d, struct lane *lane)
{
  if (!link_is_linked(&lane->news)) list_append(&d->news, &lane->news);
}

static bool is_busy(const struct lane *lane)
{
  return lane->count > 0 || lane->state == LANE_ENDING || lane->state == LANE_ENDED;
}

/* Puts the lane into the lists where it belongs now, and counts it. To be called whenever its state, or what it holds, has changed.
 */
static void place(struct dispatch *d, struct lane *lane, double now)
{
  bool busy = is_busy(lane), has_worker = lane->state == LANE_READY || lane->state == LANE_ENDING;
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
    lane->look_at = now + d->look_interval;
    list_append(&d->looking, &lane->looking);
  }
  balance_update(&d->balance, lane, now);
}

/* ---- opening and closing ---- */

static double look_interval(double timeout)
{
  if (timeout <= 0) return look_seconds;
  return fmin(fmax(timeout * timeout_share, timeout_look_least), timeout_look_most);
}

static bool make_lanes(struct dispatch *d)
{
  d->lanes = calloc(d->lanes_count, d->options.lanes->bytes);
  if (!d->lanes || !balance_init(&d->balance, d->lanes_count)) return false;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = lane_at(d, w);
    lane->kind = d->options.lanes;
    lane->crew = &d->crew;
    lane->number = w;
    lane->state = d->engine->alive[w] ? LANE_READY : LANE_EMPTY;
    list_init(&lane->held);
    list_append(lane->state == LANE_EMPTY ? &d->empty : &d->idle, &lane->place);
    if (d->engine->given_back) d->engine->given_back[w].answered = false;
    if (d->engine->alive[w]) note(d, lane); /* it may have ended since the last run */
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
  d->look_interval = engine->sample = look_interval(options->timeout);
  d->last_tick = d->left_at = clock_seconds();
  signals_begin(engine->hub.bell_fd, options->timeout > 0);
  return d;
}

/* Gives back what the last event pointed to. */
static void give_back(struct dispatch *d)
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
  give_back(d);
  drop_request(d);
  for (uint32_t w = 0; w < d->lanes_count; w++) lane_at(d, w)->kind->quiet(lane_at(d, w), d->is_cancelled);
  for (uint32_t w = 0; w < d->lanes_count; w++) lane_at(d, w)->kind->close(lane_at(d, w), deadline);
  for (struct link *link; (link = list_take(&d->aborted));) work_free(&d->queue.store, LIST_OF(link, struct work, link));
  payload_drop(&d->queue.store, d->staged);
  queue_free(&d->queue);
  balance_free(&d->balance);
  signals_end(d->engine->hub.bell_fd);
  free(d->crew.text);
  free(d->lanes);
  free(d);
}

/* ---- handing out ---- */

/* Has the work tasks that count for the run's end, and have not ended? */
static bool is_needed(const struct dispatch *d, const struct work *work)
{
  double last = fmin(work->last, d->crew.total);
  return work->first <= last && work->reached < last;
}

static void update_needed(struct dispatch *d, struct work *work)
{
  bool needed = is_needed(d, work);
  if (needed != work->is_needed) d->needed += needed ? 1 : (uint32_t)-1;
  work->is_needed = needed;
}

/* The work has left its lane: nothing is kept ready for it any more. */
static void left_lane(struct dispatch *d, struct work *work)
{
  if (work->is_needed) d->needed--;
  work->is_needed = false;
  work_unreserve(&d->queue.store);
}

/* Gives a work, for which one more stands ready, to a lane. */
static void give(struct dispatch *d, struct lane *lane, struct work *work, double now)
{
  lane->ask_at = lane->patience = 0;
  lane->kind->give(lane, work);
  update_needed(d, work);
  place(d, lane, now);
}

/* The lane that gets the next work: one with the least; NULL when all have enough. */
static struct lane *hungriest(const struct dispatch *d)
{
  const struct link *lists[] = {&d->idle, &d->empty, &d->hungry};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    if (!list_is_empty(lists[i])) return LIST_OF(lists[i]->next, struct lane, place);
  return NULL;
}

static void close_lane(struct dispatch *d, struct lane *lane, int error)
{
  lane->state = LANE_CLOSED;
  link_remove(&lane->place);
  d->lacking = error;
  if (++d->closed == d->lanes_count) d->trouble = error;
}

/* Makes sure that a worker stands behind the lane. */
static bool has_worker(struct dispatch *d, struct lane *lane)
{
  if (lane->state == LANE_READY) return true;
  int error = lane->kind->start(lane);
  if (error) {
    close_lane(d, lane, error);
    return false;
  }
  lane->state = LANE_READY;
  lane->cause = 0;
  lane->doomed = lane->seen = (struct present){0};
  lane->since = 0;
  lane->started_at = clock_seconds();
  lane->is_started = true;
  return true;
}

/* There is no memory for what is to be handed out. It waits until something has ended. */
static void lacks_memory(struct dispatch *d)
{
  d->is_short = true;
  if (d->busy == 0) d->trouble = ENOMEM;
}

/* What is handed out needs a second work to stand ready (work.h). False: there is no memory. */
static bool ready_second(struct dispatch *d)
{
  if (work_reserve(&d->queue.store)) return true;
  lacks_memory(d);
  return false;
}

static bool ask_for_arguments(struct dispatch *d, struct lane *lane, double count, struct event *event)
{
  if (!work_reserve(&d->queue.store)) { /* one for the work itself */
    work_unreserve(&d->queue.store);
    lacks_memory(d);
    return false;
  }
  event->kind = EVENT_SUPPLY;
  event->want = count;
  event->idle = lane->count == 0;
  event->news = d->engine->kind->can.reach_hosts ? NULL : d->engine->hub.beacon->summary;
  d->asked = lane;
  return true;
}

/* Hands out work until every lane has enough. Returns true when arguments are to be supplied first: *event asks for them. */
static bool feed(struct dispatch *d, struct event *event, double now)
{
  struct queue *queue = &d->queue;
  while (queue_has_work(queue, now)) {
    struct lane *lane = hungriest(d);
    if (!lane) return false;
    /* A source may take its time. By the news it may turn out that some worker has nothing to do. */
    if (d->options.total < 0 && lane->count > 0 && !list_is_empty(&d->news)) return false;
    if (!has_worker(d, lane)) continue;
    if (!ready_second(d)) return false;
    struct work *work = queue_take_again(queue, now);
    if (!work) {
      double left = queue->total - queue->next + 1;
      double count = queue_room(queue, chunks_size(&d->chunks, left, d->lanes_count));
      if (d->options.total < 0) return ask_for_arguments(d, lane, count, event);
      work = queue_take_new(queue, count, NULL);
    }
    if (!work) {
      work_unreserve(&queue->store);
      lacks_memory(d);
      return false;
    }
    give(d, lane, work, now);
  }
  return false;
}

struct block *dispatch_stage(struct dispatch *d, uint64_t bytes)
{
  payload_drop(&d->queue.store, d->staged);
  d->staged = payload_new(&d->queue.store, bytes);
  return d->staged ? &d->staged->block : NULL;
}

void dispatch_supply(struct dispatch *d, double count)
{
  struct queue *queue = &d->queue;
  struct lane *lane = d->asked;
  d->staged->block.origin = queue->next;
  struct payload *payload = payload_fit(&queue->store, d->staged);
  d->staged = NULL;
  d->asked = NULL;
  work_unreserve(&queue->store); /* it was for this work, which therefore can be made */
  struct work *work = queue_take_new(queue, count, payload);
  payload_drop(&queue->store, payload); /* the work's now */
  give(d, lane, work, clock_seconds());
}

int dispatch_skip(struct dispatch *d, double first, double last)
{
  return queue_skip(&d->queue, first, last);
}

void dispatch_exhausted(struct dispatch *d)
{
  d->queue.total = d->queue.next - 1;
}

void dispatch_ceiling(struct dispatch *d, double last)
{
  d->queue.ceiling = last;
}

int dispatch_redo(struct dispatch *d, double task, uint32_t attempt, double delay)
{
  struct payload *payload = d->reported ? payload_of_task(d->reported, task) : NULL;
  return queue_redo(&d->queue, task, attempt, clock_seconds() + delay, payload);
}

int dispatch_redo_staged(struct dispatch *d, double task, uint32_t attempt, double delay)
{
  struct payload *payload = payload_fit(&d->queue.store, d->staged);
  d->staged = NULL;
  return queue_redo(&d->queue, task, attempt, clock_seconds() + delay, payload);
}

/* ---- ending workers ---- */

/* Ends the lane's worker. `present`: the task that this concerns, NULL: whatever it is in. */
static void end_worker(struct dispatch *d, struct lane *lane, enum lost_cause cause, const struct present *present, double now)
{
  if (lane->state != LANE_READY) return;
  lane->cause = cause;
  lane->doomed = present ? *present : (struct present){0};
  lane->kind->end(lane);
  note(d, lane);
  place(d, lane, now);
}

/* The present task is over its time limit. */
static void end_late(struct dispatch *d, struct lane *lane, const struct present *present, double now)
{
  if (!d->engine->kind->can.kill && __atomic_load_n(&d->engine->remains->abandoned, __ATOMIC_SEQ_CST) >= MOST_ABANDONED)
    d->trouble = EBUSY;
  else
    end_worker(d, lane, LOST_TIMEOUT, present, now);
}

/* Takes a work that was not begun away from its lane; false: it was begun. */
static bool take_away(struct dispatch *d, struct lane *lane, struct work *work, double now)
{
  if (lane->state != LANE_READY || !lane->kind->take_back(lane, work)) return false;
  left_lane(d, work);
  place(d, lane, now);
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
  update_needed(d, work);
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
    struct lane *lane = lane_at(d, w);
    for (struct link *link = lane->held.previous, *previous; link != &lane->held; link = previous) {
      struct work *work = LIST_OF(link, struct work, link);
      previous = link->previous;
      if (work->last > last)
        shorten_work(d, lane, work, now);
      else
        update_needed(d, work);
    }
    if (d->engine->kind->can.kill && lane->state == LANE_READY && only_useless(d, lane, now))
      end_worker(d, lane, LOST_CANCELLED, NULL, now);
  }
}

void dispatch_cancel(struct dispatch *d)
{
  if (d->is_cancelled) return;
  d->is_cancelled = true;
  d->cancelled_at = clock_seconds();
  queue_clear(&d->queue);
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = lane_at(d, w);
    for (struct link *link = lane->held.previous, *previous; link != &lane->held; link = previous) {
      struct work *work = LIST_OF(link, struct work, link);
      previous = link->previous;
      if (take_away(d, lane, work, d->cancelled_at))
        work_free(&d->queue.store, work);
      else if (lane->state == LANE_READY)
        lane->kind->lower(lane, work, -1);
    }
    if (lane->count > 0 && d->engine->kind->can.kill) end_worker(d, lane, LOST_CANCELLED, NULL, d->cancelled_at);
  }
}

/* Has what a work has not reached handed out again; what was aborted is told instead. */
static void hand_out_again(struct dispatch *d, struct work *work)
{
  if (work->aborted > 0 && work->aborted == work->last && work->reached + 1 == work->last)
    list_append(&d->aborted, &work->link);
  else
    queue_put_back(&d->queue, work, false);
}

/* An answer to ask_back. Returns true when there is work to hand out. */
static bool take_given(struct dispatch *d, struct lane *lane, const struct outcome *outcome, double now)
{
  struct work *work = outcome->work;
  if (lane->is_asked) d->wishes--;
  lane->is_asked = false;
  if (!work) {
    lane->patience = fmin(lane->patience > 0 ? lane->patience * 2 : ask_seconds, ask_seconds_most);
    lane->ask_at = now + lane->patience;
  } else {
    lane->patience = 0;
  }
  if (work && outcome->keep < work->first) { /* whole: the lane holds it no more */
    left_lane(d, work);
    hand_out_again(d, work);
  } else if (work && work_reserve(&d->queue.store)) {
    hand_out_again(d, work_split(&d->queue.store, work, outcome->keep + 1));
    update_needed(d, work);
  } /* else it ends early, and what it does not do comes back then */
  place(d, lane, now);
  return work != NULL;
}

/* Asks the lane for work. Returns true when there is some to hand out at once. */
static bool ask_back(struct dispatch *d, struct lane *lane, double now)
{
  struct outcome outcome;
  if (lane->is_asked) return false;
  if (!lane->kind->ask_back(lane, &outcome)) {
    lane->is_asked = true;
    d->wishes++;
    balance_remove(&d->balance, lane);
    return false;
  }
  if (is_busy(lane) != lane->is_counted) place(d, lane, now);
  return take_given(d, lane, &outcome, now);
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

bool dispatch_abort(struct dispatch *d, double task)
{
  double now = clock_seconds();
  struct lane_view view;
  for (struct link *link = d->looking.next; link != &d->looking; link = link->next) {
    struct lane *lane = LIST_OF(link, struct lane, looking);
    struct work *work = work_with(lane, task);
    if (!work || lane->state != LANE_READY) continue;
    if (work->first == work->last && take_away(d, lane, work, now)) {
      list_append(&d->aborted, &work->link);
      return true;
    }
    if (!d->engine->kind->can.kill) return false;
    work->aborted = task; /* its worker is ended when it is seen in it */
    if (lane->kind->view(lane, &view) && view.present.task == task && view.present.chunk == work->number)
      end_worker(d, lane, LOST_CANCELLED, &view.present, now);
    else
      ask_back(d, lane, now);
    return true;
  }
  return false;
}

/* Tells of a task that was not begun. */
static bool tell_aborted(struct dispatch *d, struct event *event)
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

/* ---- outcomes ---- */

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
  chunks_measure(&d->chunks, tasks, outcome->seconds);
  d->crew.per_task = d->chunks.per_task;
  lane_let_go(lane, work);
  left_lane(d, work);
  if (outcome->last < work->last)
    hand_out_again(d, work);
  else
    work_free(&d->queue.store, work);
  lane->since = 0;
  lane->seen.task = 0;
}

/* Results: false when there is nothing to report, as a chunk has ended without any that is new. */
static bool take_results(struct dispatch *d, struct lane *lane, struct outcome *outcome, struct event *event, double now)
{
  struct work *work = outcome->work;
  double tasks = outcome->last - work->first + 1;
  event->kind = EVENT_RESULTS;
  event->block = outcome->block;
  event->first = outcome->block->first;
  event->from = outcome->from;
  event->count = outcome->count;
  event->want = outcome->fresh;
  event->last = outcome->last;
  event->worker = lane->number + 1;
  event->attempt = work->attempt;
  event->seconds = outcome->is_final && tasks > 0 ? outcome->seconds / tasks : d->crew.per_task;
  keep_payload(d, event, work->payload);
  d->reporting = lane;
  d->any_begun = true;
  lane->stillborn = 0;
  if (outcome->is_final)
    finish(d, lane, outcome);
  else
    update_needed(d, work);
  place(d, lane, now);
  if (outcome->is_final && d->options.total >= 0) feed(d, &(struct event){0}, now); /* before anybody looks at the results */
  if (outcome->count > 0 || outcome->fresh > 0) return true;
  give_back(d);
  return false;
}

/* There was no memory for the result of a task. */
static void take_unheld(struct dispatch *d, struct lane *lane, const struct outcome *outcome, struct event *event)
{
  event->kind = EVENT_LOST;
  event->worker = lane->number + 1;
  event->cause = LOST_MEMORY;
  event->first = outcome->task;
  event->attempt = outcome->work->attempt;
  keep_payload(d, event, outcome->work->payload);
  update_needed(d, outcome->work);
}

static void take_text(const struct lane *lane, const struct outcome *outcome, struct event *event)
{
  event->kind = EVENT_TEXT;
  event->bytes = outcome->bytes;
  event->length = outcome->length;
  event->stream = outcome->stream;
  event->worker = lane->number + 1;
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
      work_unreserve(&queue->store);
    if (work == blamed) work->last = work->bound = task - 1;
    if (work->reached < work->last)
      hand_out_again(d, work);
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
  lane->stillborn += lane->is_started; /* one that was kept from an earlier run may have ended before this */
  uint32_t most = d->any_begun ? MOST_STILLBORN_LATER : MOST_STILLBORN;
  if (lane->stillborn >= most || is_late) close_lane(d, lane, is_late ? ETIMEDOUT : ECHILD);
}

static void take_end(struct dispatch *d, struct lane *lane, const struct outcome *outcome, struct event *event, double now)
{
  double task = outcome->work ? outcome->task : 0;
  event->kind = EVENT_LOST;
  event->worker = lane->number + 1;
  event->status = outcome->status;
  event->cause = outcome->cause;
  event->inner = outcome->inner;
  event->seconds = outcome->task_seconds;
  event->first = d->is_shortened && task > d->crew.total ? 0 : task;
  if (outcome->work) {
    event->attempt = outcome->work->attempt;
    keep_payload(d, event, outcome->work->payload);
  }
  return_works(d, lane, outcome->work, task);
  if (lane->is_asked) d->wishes--;
  lane->is_asked = false;
  lane->ask_at = lane->patience = 0;
  d->engine->alive[lane->number] = false;
  lane->state = LANE_EMPTY;
  lane->cause = 0;
  count_stillborn(d, lane, outcome);
  place(d, lane, now);
}

/* The lane was asked something, and what it is in may have changed. `state`: what it was in before. */
static void place_changed(struct dispatch *d, struct lane *lane, enum lane_state state, double now)
{
  if (lane->state != state || is_busy(lane) != lane->is_counted) place(d, lane, now);
}

/* Has the lane's worker ended? Then nothing more is handed out to it. */
static void check_end(struct dispatch *d, struct lane *lane, double now)
{
  enum lane_state state = lane->state;
  lane->kind->check_end(lane);
  place_changed(d, lane, state, now);
}

/* Takes outcomes of the lane up to one that is to be told. Returns true when *event was filled. */
static bool visit(struct dispatch *d, struct lane *lane, struct event *event, bool partial, double now)
{
  struct outcome outcome;
  for (;;) {
    enum lane_state state = lane->state;
    bool has_outcome = lane->kind->next(lane, &outcome, partial);
    place_changed(d, lane, state, now);
    if (!has_outcome) return false;
    switch (outcome.kind) {
    case OUTCOME_RESULTS:
      if (take_results(d, lane, &outcome, event, now)) return true;
      memset(event, 0, sizeof *event);
      break;
    case OUTCOME_UNHELD: take_unheld(d, lane, &outcome, event); return true;
    case OUTCOME_TEXT: take_text(lane, &outcome, event); return true;
    case OUTCOME_GIVEN_BACK: take_given(d, lane, &outcome, now); break;
    case OUTCOME_ENDED: take_end(d, lane, &outcome, event, now); return true;
    }
  }
}

/* Visits lanes with news, one event of each in turn. Returns true when *event was filled. */
static bool take_news(struct dispatch *d, struct event *event, double now)
{
  for (struct link *link; (link = list_take(&d->news));) {
    struct lane *lane = LIST_OF(link, struct lane, news);
    if (!visit(d, lane, event, false, now)) continue;
    note(d, lane); /* there may be more */
    return true;
  }
  return false;
}

/* ---- looking at workers from time to time ---- */

/* Notes what the worker is in. Returns for how long it has been in it, as far as that counts against a time limit. */
static double note_present(struct dispatch *d, struct lane *lane, const struct lane_view *view, double now)
{
  const struct present *present = &view->present, *seen = &lane->seen;
  bool is_same = present->task == seen->task && present->chunk == seen->chunk && present->inner == seen->inner;
  if (!is_same || present->task == 0 || view->blocked == BLOCKED_BY_RESULTS) {
    const struct work *first = lane_first(lane);
    bool begins = first && present->task == first->first && present->inner == 0 && present->chunk == first->number;
    lane->seen = *present;
    lane->since = begins && view->started > 0 && view->started <= now ? view->started : now;
    if (view->blocked == BLOCKED_BY_RESULTS) lane->since = now;
  }
  double since = fmax(lane->since, d->continued_at);
  if (view->blocked == BLOCKED_BY_TEXT) since = fmax(since, d->returned_at); /* nobody took its text before */
  return now - since;
}

static bool is_over(const struct dispatch *d, const struct lane *lane, double seconds)
{
  double limit = d->options.timeout + (engine_is_distant(d->engine, lane->number) ? d->engine->sample : 0);
  return d->options.timeout > 0 && seconds > limit;
}

/* Has the worker not become able to run a task for too long? */
static bool is_setup_over(const struct dispatch *d, const struct lane *lane, const struct lane_view *view, double now)
{
  return d->options.timeout > 0 && lane->is_started && !view->has_begun && lane->count > 0 &&
         now - lane->started_at > fmax(d->options.timeout, setup_seconds);
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
    end_worker(d, lane, LOST_CANCELLED, NULL, now);
  else if (is_in_aborted(lane, &view.present))
    end_worker(d, lane, LOST_CANCELLED, &view.present, now);
  else if (view.present.task > 0 && is_over(d, lane, seconds))
    end_late(d, lane, &view.present, now);
  else if (is_setup_over(d, lane, &view, now))
    end_worker(d, lane, LOST_TIMEOUT, NULL, now);
}

/* Looks at one lane: time limits, results that wait in an open block. Returns true when *event was filled. */
static bool look(struct dispatch *d, struct lane *lane, struct event *event, double now)
{
  link_remove(&lane->looking);
  if (d->engine->unwatched[lane->number]) check_end(d, lane, now);
  judge(d, lane, now);
  place(d, lane, now);
  return visit(d, lane, event, true, now);
}

/* Looks at the lanes whose turn it is. */
static bool look_at_due(struct dispatch *d, struct event *event, double now)
{
  if (signals_continue()) d->continued_at = now; /* Ctrl-Z, fg: the workers stood still too, so each task is given its time anew */
  while (!list_is_empty(&d->looking)) {
    struct lane *lane = LIST_OF(d->looking.next, struct lane, looking);
    if (lane->look_at > now) return false;
    if (look(d, lane, event, now)) {
      note(d, lane);
      return true;
    }
  }
  return false;
}

/* ---- balance ---- */

/* There is a lane with nothing to do, and nothing to be handed out: takes work from one that has much. Returns true when there is
 * some now. */
static bool balance(struct dispatch *d, double now)
{
  if (d->is_cancelled || (list_is_empty(&d->idle) && list_is_empty(&d->empty))) return false;
  while (d->wishes < MOST_WISHES) {
    struct lane *lane = balance_take(&d->balance, now);
    if (!lane) return false;
    if (ask_back(d, lane, now)) return true;
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
    if (w < d->lanes_count) note(d, lane_at(d, w));
}

/* Until when nothing is to be done, unless there is news. */
static double next_time(const struct dispatch *d, double deadline)
{
  double at = fmin(d->last_tick + tick_seconds, deadline);
  if (!list_is_empty(&d->looking)) at = fmin(at, LIST_OF(d->looking.next, struct lane, looking)->look_at);
  if (hungriest(d)) at = fmin(at, queue_next_due(&d->queue)); /* else a lane's news wake us */
  return at;
}

static void rest(struct dispatch *d, double seconds)
{
  uint32_t ended[MOST_ENDS];
  int count = engine_sleep(d->engine, seconds, ended, MOST_ENDS);
  for (int i = 0; i < count; i++) {
    if (ended[i] >= d->lanes_count) continue;
    struct lane *lane = lane_at(d, ended[i]);
    check_end(d, lane, clock_seconds()); /* the descriptor may speak of a worker that was replaced meanwhile */
    note(d, lane);
  }
}

/* One round: true when *event was filled. */
static bool step(struct dispatch *d, struct event *event, double deadline)
{
  double now = clock_seconds();
  int number = signals_pending();
  if (number) {
    event->kind = EVENT_SIGNAL;
    event->status = number;
    return true;
  }
  if (tell_aborted(d, event)) return true;
  gather_news(d);
  d->is_short = false;
  if (feed(d, event, now) || look_at_due(d, event, now)) return true; /* before news, which may come without end */
  if (now - d->last_tick >= tick_seconds || now >= deadline) {
    d->last_tick = now;
    event->kind = EVENT_TICK;
    return true;
  }
  if (take_news(d, event, now)) return true;
  if (d->trouble == 0 && is_finished(d)) {
    event->kind = EVENT_DONE;
    return true;
  }
  if (d->trouble) {
    event->kind = EVENT_TROUBLE;
    event->status = d->trouble;
    d->trouble = 0;
    return true;
  }
  if (!queue_has_work(&d->queue, now) && balance(d, now)) return false;
  bool can_go_on = !list_is_empty(&d->news) || (queue_has_work(&d->queue, now) && hungriest(d) && !d->is_short);
  if (!can_go_on) rest(d, fmin(next_time(d, deadline) - now, d->is_short ? memory_seconds : INFINITY));
  return false;
}

void dispatch_next(struct dispatch *d, struct event *event, double wait)
{
  double now = clock_seconds(), deadline = wait < 1e9 ? now + wait : INFINITY;
  if (now - d->left_at > away_seconds) d->returned_at = now;
  give_back(d);
  drop_request(d);
  memset(event, 0, sizeof *event);
  while (!step(d, event, deadline)) continue;
  d->left_at = clock_seconds();
}

uint32_t dispatch_lacking(const struct dispatch *d, int *error)
{
  *error = d->lacking;
  return d->closed;
}
