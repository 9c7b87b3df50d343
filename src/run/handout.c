/* handout.c - dispatch: works go from the queue to lanes. */
#include <errno.h>
#include <math.h>

#include "run/state.h"
#include "sys/clock.h"

/* A run that is fed has at most so many chunks of each worker lying ready. */
static const double most_ahead = 256;

/* Has the work tasks that count for the run's end, and have not ended? */
static bool is_needed(const struct dispatch *d, const struct work *work)
{
  double last = fmin(work->last, d->crew.total);
  return work->first <= last && work->reached < last;
}

void dispatch_update_needed(struct dispatch *d, struct work *work)
{
  bool needed = is_needed(d, work);
  if (needed != work->is_needed) d->needed += needed ? 1 : (uint32_t)-1;
  work->is_needed = needed;
}

void dispatch_left_lane(struct dispatch *d, struct work *work)
{
  if (work->is_needed) d->needed--;
  work->is_needed = false;
  work_unreserve(&d->queue.store, 1);
}

/* Gives a work, for which one more stands ready, to a lane. */
static void give(struct dispatch *d, struct lane *lane, struct work *work, double now)
{
  lane->ask_at = lane->patience = 0;
  if (lane->given_at == 0) lane->given_at = now;
  lane->kind->give(lane, work);
  dispatch_update_needed(d, work);
  dispatch_place(d, lane, now);
  if (d->full.next != &lane->place) return;
  link_remove(&lane->place);
  list_append(&d->full, &lane->place);
}

struct lane *dispatch_hungriest(const struct dispatch *d)
{
  const struct link *lists[] = {&d->idle, &d->empty, &d->hungry};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    if ((!d->is_away || lists[i] != &d->empty) && !list_is_empty(lists[i]))
      return LIST_OF(lists[i]->next, struct lane, place);
  return NULL;
}

struct lane *dispatch_next_lane(const struct dispatch *d, double now)
{
  struct lane *lane = dispatch_hungriest(d);
  if (lane || list_is_empty(&d->full) || !queue_has_retry(&d->queue, now)) return lane;
  return LIST_OF(d->full.next, struct lane, place);
}

void dispatch_close_lane(struct dispatch *d, struct lane *lane, int error)
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
    dispatch_close_lane(d, lane, error);
    return false;
  }
  lane->state = LANE_READY;
  lane->cause = 0;
  lane->doomed = lane->seen = (struct present){0};
  lane->since = 0;
  lane->was_waiting = false;
  lane->given_at = 0;
  lane->is_started = true;
  return true;
}

/* There is no memory for what is to be handed out. It waits until something has ended. */
static void lacks_memory(struct dispatch *d)
{
  d->is_short = true;
  if (d->busy == 0) d->trouble = ENOMEM;
}

/* Two works stand ready for what is supplied. */
static void ask_for_arguments(struct dispatch *d, struct lane *lane, double count, struct event *event)
{
  event->kind = EVENT_SUPPLY;
  event->want = count;
  event->last = d->queue.is_turned ? queue_first_new(&d->queue, count) + count - 1 : 0;
  event->idle = lane_is_idle(lane);
  event->news = d->engine->kind->can.reach_hosts ? NULL : d->engine->hub.beacon->summary;
  d->asked = lane;
}

/* So many of the next `size` tasks that they end where a group does, if one does. */
static double whole_groups(const struct dispatch *d, double size)
{
  double group = d->options.group, before = queue_first(&d->queue) - 1;
  double count = group > 0 ? floor((before + size) / group) * group - before : 0;
  return count >= 1 ? count : size;
}

static double left_for(const struct dispatch *d)
{
  return d->options.is_pushed ? d->queue.ranged : queue_left(&d->queue);
}

/* How many tasks are to be handed out to the lane. */
static double size_for(const struct dispatch *d, const struct lane *lane)
{
  double left = left_for(d);
  if (!lane->kind->is_rank) return chunks_size(&d->chunks, left, d->crew.workers);
  return whole_groups(d, chunks_range(&d->chunks, left, d->crew.workers, lane->width, lane->kind->room(lane)));
}

/* Has a rank its part already of what was never handed out, which is next? It may want more: it does not know how
 * little is left. */
static bool has_its_part(const struct dispatch *d, const struct lane *lane, double now)
{
  if (!lane->kind->is_rank || lane_is_idle(lane)) return false;
  if (!list_is_empty(&d->queue.again) || queue_next_due(&d->queue) <= now) return false;
  return lane->kind->reserve(lane) > left_for(d) * lane->width / d->crew.workers;
}

/* The longest tasks are to come last, it seems: then one worker may end long after the others, and the rest is better
 * handed out from the end, the longest first. */
static void turn(struct dispatch *d)
{
  if (d->options.any_order <= 0 || d->queue.is_turned || !chunks_rise(&d->chunks)) return;
  queue_turn(&d->queue, d->options.any_order);
  if (d->queue.is_turned) chunks_begin_anew(&d->chunks);
}

bool dispatch_feed(struct dispatch *d, struct event *event, double now)
{
  struct queue *queue = &d->queue;
  dispatch_take_intake(d);
  turn(d);
  while (queue_has_work(queue, now)) {
    struct lane *lane = dispatch_next_lane(d, now);
    if (!lane) return false;
    if (has_its_part(d, lane, now)) {
      link_remove(&lane->place); /* until it has told something */
      continue;
    }
    /* A source may take its time. By the news it may turn out that some worker has nothing to do. */
    if (d->options.total < 0 && !lane_is_idle(lane) && !list_is_empty(&d->news)) return false;
    if (!has_worker(d, lane)) continue;
    if (!work_reserve(&queue->store, 2)) { /* the work, and a second that stands ready while a lane has it (work.h) */
      lacks_memory(d);
      return false;
    }
    struct work *work = queue_take_again(queue, now);
    double count = work ? 0 : queue_room(queue, size_for(d, lane));
    if (!work && d->options.total < 0 && !queue_has_range(queue)) {
      ask_for_arguments(d, lane, count, event);
      return true;
    }
    work_unreserve(&queue->store, 1);
    give(d, lane, work ? work : queue_take_new(queue, count, NULL), now);
  }
  return false;
}

/* The staged block, for tasks from `origin` on. */
static struct payload *take_staged(struct dispatch *d, double origin)
{
  struct payload *staged = d->staged;
  d->staged = NULL;
  staged->block.origin = origin;
  return payload_fit(&d->queue.store, staged);
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
  struct payload *payload = take_staged(d, queue_first_new(queue, count));
  d->asked = NULL;
  work_unreserve(&queue->store, 1); /* it was for this work, which therefore can be made */
  struct work *work = queue_take_new(queue, count, payload);
  payload_drop(&queue->store, payload); /* the work's now */
  give(d, lane, work, clock_seconds());
}

int dispatch_push(struct dispatch *d, double first, double count)
{
  return dispatch_offer(d, first, first + count - 1, 1, take_staged(d, first));
}

int dispatch_skip(struct dispatch *d, double first, double last)
{
  return queue_skip(&d->queue, first, last);
}

void dispatch_exhausted(struct dispatch *d)
{
  queue_exhausted(&d->queue);
}

void dispatch_ceiling(struct dispatch *d, double last)
{
  d->queue.ceiling = last;
}

int dispatch_redo(struct dispatch *d, double task, uint32_t attempt, double delay)
{
  struct payload *payload = d->reported ? payload_of_tasks(d->reported, task, task) : NULL;
  return queue_redo(&d->queue, task, attempt, clock_seconds() + delay, payload);
}

int dispatch_redo_staged(struct dispatch *d, double task, uint32_t attempt, double delay)
{
  return queue_redo(&d->queue, task, attempt, clock_seconds() + delay, take_staged(d, d->staged->block.origin));
}

/* ---- a run that is fed ---- */

int dispatch_offer(struct dispatch *d, double first, double last, uint32_t attempt, struct payload *payload)
{
  struct work *work = work_new(&d->queue.store, first, last, payload, attempt);
  payload_drop(&d->queue.store, payload);
  if (!work) return ENOMEM;
  if (work_is_retry(work))
    queue_put_back(&d->queue, work, false); /* it is due: before what was never handed out */
  else
    queue_add_range(&d->queue, work);
  return 0;
}

/* Tasks that the lanes of a list could be given at once. */
static double wanted_by(const struct dispatch *d, const struct link *lanes, uint32_t *idle)
{
  double tasks = 0;
  for (const struct link *link = lanes->next; link != lanes; link = link->next) {
    const struct lane *lane = LIST_OF(link, const struct lane, place);
    tasks += lane->kind->is_rank ? fmax(lane->kind->room(lane), 0) : lane->kind->wants(lane) * fmax(d->chunks.fixed, 1);
    *idle += lane_is_idle(lane) ? 1 : 0;
  }
  return tasks;
}

void dispatch_demand(const struct dispatch *d, double horizon, struct demand *demand)
{
  static const double most_tasks = 1 << 30;
  uint32_t idle = 0, busy = 0;
  double workers = d->crew.workers, per_task = chunks_ahead(&d->chunks);
  demand->unassigned = d->queue.ranged;
  demand->per_task = per_task;
  demand->tasks = wanted_by(d, &d->idle, &idle) + wanted_by(d, &d->empty, &idle) + wanted_by(d, &d->hungry, &busy);
  demand->idle = list_is_empty(&d->queue.again) && demand->unassigned == 0 ? idle : 0;
  if (per_task > 0) /* no more than the chunks have grown to, so that one measurement does not decide it all */
    demand->tasks = fmax(demand->tasks, floor(fmin(horizon / per_task, d->chunks.size * most_ahead) * workers));
  demand->tasks = fmin(demand->tasks, most_tasks);
}

double dispatch_chunk_seconds(const struct dispatch *d)
{
  return d->chunks.seconds;
}

void dispatch_pace(struct dispatch *d, double records)
{
  chunks_pace(&d->chunks, records, d->crew.workers, d->engine->all);
}

bool dispatch_is_patient(const struct dispatch *d)
{
  return list_is_empty(&d->idle) && list_is_empty(&d->empty) && list_is_empty(&d->hungry);
}
