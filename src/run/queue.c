/* queue.c - see queue.h. What waits lies in a pairing heap (Fredman, Sedgewick, Sleator and Tarjan, 1986): its nodes
 * are in the works, so that putting one in can't fail, and costs the same however many wait. */
#include "run/queue.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* ---- the heap ---- */

static struct work *heap_join(struct work *a, struct work *b)
{
  if (!a || !b) return a ? a : b;
  if (b->due < a->due) {
    struct work *first = b;
    b = a;
    a = first;
  }
  b->sibling = a->child;
  a->child = b;
  return a;
}

/* The heap without its first: its children joined in pairs, then the pairs into one. */
static struct work *heap_rest(struct work *heap)
{
  struct work *pairs = NULL, *rest = NULL;
  for (struct work *work = heap->child, *next; work; work = next) {
    struct work *second = work->sibling;
    next = second ? second->sibling : NULL;
    work->sibling = NULL;
    if (second) second->sibling = NULL;
    struct work *pair = heap_join(work, second);
    pair->sibling = pairs;
    pairs = pair;
  }
  for (struct work *next; pairs; pairs = next) {
    next = pairs->sibling;
    pairs->sibling = NULL;
    rest = heap_join(rest, pairs);
  }
  heap->child = NULL;
  return rest;
}

static struct work *take_due(struct queue *queue)
{
  struct work *first = queue->due;
  queue->due = heap_rest(first);
  return first;
}

/* Takes any of what waits out of a heap that is being taken apart: at the same cost however many there are, as nothing
 * is put in order. */
static struct work *take_any(struct work **heap)
{
  struct work *work = *heap;
  for (struct work *child; (child = work->child); work = child) {
    work->child = child->sibling;
    child->sibling = work;
  }
  *heap = work->sibling;
  work->sibling = NULL;
  return work;
}

/* ---- the queue ---- */

void queue_init(struct queue *queue, double total)
{
  *queue = (struct queue){.next = 1, .ceiling = INFINITY, .total = total, .end = INFINITY};
  work_store_init(&queue->store);
  list_init(&queue->again);
  list_init(&queue->ranges);
}

static void drop_all(struct queue *queue)
{
  work_free_all(&queue->store, &queue->again);
  work_free_all(&queue->store, &queue->ranges);
  queue->ranged = 0;
  while (queue->due) work_free(&queue->store, take_any(&queue->due));
}

void queue_free(struct queue *queue)
{
  drop_all(queue);
  work_store_clear(&queue->store);
  free(queue->skips);
}

void queue_clear(struct queue *queue)
{
  drop_all(queue);
  queue->is_closed = true;
}

/* Moves on to the next task that is to be handed out. */
static void pass_skipped(struct queue *queue)
{
  for (; queue->skips_at < queue->skips_count && queue->skips[queue->skips_at].first <= queue->next; queue->skips_at++)
    if (queue->skips[queue->skips_at].last >= queue->next) queue->next = queue->skips[queue->skips_at].last + 1;
}

int queue_skip(struct queue *queue, double first, double last)
{
  if (queue->skips_count == queue->skips_room) {
    size_t room = queue->skips_room ? 2 * queue->skips_room : 16;
    struct range *skips = realloc(queue->skips, room * sizeof *skips);
    if (!skips) return ENOMEM;
    queue->skips = skips;
    queue->skips_room = room;
  }
  queue->skips[queue->skips_count++] = (struct range){first, last};
  pass_skipped(queue);
  return 0;
}

/* Cuts what lies behind the total off; true: nothing is left, and the work is gone. */
static bool drop_behind_total(struct queue *queue, struct work *work)
{
  if (work->first >= FIRST_EXTRA && !queue->is_shortened) return false;
  if (work->last > queue->total) work->last = work->bound = queue->total;
  if (work->first <= work->last) return false;
  work_free(&queue->store, work);
  return true;
}

/* The same of all works of a list. Returns how many tasks are left. */
static double shorten_list(struct queue *queue, struct link *list)
{
  double left = 0;
  for (struct link *link = list->next, *next; link != list; link = next) {
    struct work *work = LIST_OF(link, struct work, link);
    next = link->next;
    link_remove(link);
    if (drop_behind_total(queue, work)) continue;
    list_insert(next, link);
    left += work->last - work->first + 1;
  }
  return left;
}

void queue_shorten(struct queue *queue, double last)
{
  queue->total = last;
  queue->is_shortened = true;
  shorten_list(queue, &queue->again);
  queue->ranged = shorten_list(queue, &queue->ranges);
  struct work *kept = NULL;
  while (queue->due) {
    struct work *work = take_any(&queue->due);
    if (!drop_behind_total(queue, work)) kept = heap_join(kept, work);
  }
  queue->due = kept;
}

bool queue_has_range(const struct queue *queue)
{
  return !list_is_empty(&queue->ranges);
}

double queue_first(const struct queue *queue)
{
  return queue_has_range(queue) ? LIST_OF(queue->ranges.next, const struct work, link)->first : queue->next;
}

/* The last task that was never handed out, as far as is known. */
static double last_new(const struct queue *queue)
{
  return fmin(queue->total, queue->end);
}

static bool has_untouched(const struct queue *queue)
{
  return !queue->is_closed && !queue->is_fed && queue->next <= fmin(last_new(queue), queue->ceiling);
}

double queue_left(const struct queue *queue)
{
  return queue->ranged + (queue->is_closed || queue->is_fed ? 0 : last_new(queue) - queue->next + 1);
}

void queue_turn(struct queue *queue, double total)
{
  if (queue->skips_at < queue->skips_count || isfinite(queue->ceiling) || queue->next >= total) return;
  queue->total = fmin(queue->total, total);
  queue->end = queue->total;
  queue->is_turned = true;
}

double queue_first_new(const struct queue *queue, double count)
{
  return queue->is_turned ? last_new(queue) - count + 1 : queue->next;
}

void queue_exhausted(struct queue *queue)
{
  if (queue->is_turned)
    queue->end = queue->next - 1;
  else
    queue->total = queue->next - 1;
}

/* Makes the last range longer by a work that stands beside it; false: it does not. Not where they come from a parent,
 * which knows them apart. */
static bool join_range(struct queue *queue, struct work *work)
{
  if (list_is_empty(&queue->ranges)) return false;
  struct work *last = LIST_OF(queue->ranges.previous, struct work, link);
  bool is_before = work->last + 1 == last->first, is_behind = last->last + 1 == work->first;
  if (last->payload != work->payload || last->attempt != work->attempt || last->losses != work->losses) return false;
  if (!is_before && !is_behind) return false;
  if (is_before) last->first = work->first;
  if (is_behind) last->last = last->bound = work->last;
  last->reached = last->first - 1;
  work_free(&queue->store, work);
  return true;
}

/* What the work has not reached is to be handed out. False: nothing of it is, and it is gone. */
static bool take_in(struct queue *queue, struct work *work)
{
  work->first = work->reached + 1;
  work->bound = work->last;
  work->is_complete = work->is_needed = false;
  work->sent = 0;
  if (!queue->is_closed) return !drop_behind_total(queue, work);
  work_free(&queue->store, work);
  return false;
}

void queue_add_range(struct queue *queue, struct work *work)
{
  if (!take_in(queue, work)) return;
  queue->ranged += work->last - work->first + 1;
  if (queue->is_fed || !join_range(queue, work)) list_append(&queue->ranges, &work->link);
}

struct work *queue_take_back(struct queue *queue, double most, double unit)
{
  if (list_is_empty(&queue->ranges) || most < 1) return NULL;
  struct work *work = LIST_OF(queue->ranges.previous, struct work, link);
  double count = work->last - work->first + 1, taken = ceil(most / unit) * unit;
  if (taken < count) {
    queue->ranged -= taken;
    return work_split(&queue->store, work, work->last - taken + 1);
  }
  work_unreserve(&queue->store, 1);
  link_remove(&work->link);
  queue->ranged -= count;
  return work;
}

/* The work of the list with this task in it; NULL: there is none. */
static struct work *find(const struct link *list, double task)
{
  for (struct link *link = list->next; link != list; link = link->next) {
    struct work *work = LIST_OF(link, struct work, link);
    if (task >= work->first && task <= work->last) return work;
  }
  return NULL;
}

struct work *queue_take_task(struct queue *queue, double task)
{
  uint32_t reserves = 2;
  struct work *work = find(&queue->again, task), *range = work ? NULL : find(&queue->ranges, task);
  if (range) queue->ranged--;
  if (range) work = range;
  if (work && task < work->last) {
    struct work *rest = work_split(&queue->store, work, task + 1);
    list_insert(work->link.next, &rest->link);
    reserves--;
  }
  if (work && task > work->first) {
    work = work_split(&queue->store, work, task);
    reserves--;
  } else if (work) {
    link_remove(&work->link);
  }
  work_unreserve(&queue->store, reserves);
  return work;
}

bool queue_has_work(const struct queue *queue, double now)
{
  return !list_is_empty(&queue->again) || queue_has_range(queue) || has_untouched(queue) ||
         (queue->due && queue->due->due <= now);
}

bool queue_is_empty(const struct queue *queue)
{
  return queue->is_closed || (list_is_empty(&queue->again) && list_is_empty(&queue->ranges) && !queue->due &&
                              !queue->is_fed && queue->next > last_new(queue));
}

double queue_next_due(const struct queue *queue)
{
  return queue->due ? queue->due->due : INFINITY;
}

bool queue_has_retry(const struct queue *queue, double now)
{
  const struct work *work = queue->due;
  if (!work || work->due > now)
    work = list_is_empty(&queue->again) ? NULL : LIST_OF(queue->again.next, const struct work, link);
  return work && work_is_retry(work);
}

struct work *queue_take_again(struct queue *queue, double now)
{
  if (queue->due && queue->due->due <= now) return take_due(queue);
  struct link *link = list_take(&queue->again);
  return link ? LIST_OF(link, struct work, link) : NULL;
}

double queue_room(const struct queue *queue, double most)
{
  if (queue_has_range(queue)) {
    const struct work *range = LIST_OF(queue->ranges.next, const struct work, link);
    return range->losses > 0 ? 1 : fmax(floor(fmin(most, range->last - range->first + 1)), 1);
  }
  double left = fmin(last_new(queue), queue->ceiling) - queue->next + 1;
  if (queue->skips_at < queue->skips_count) left = fmin(left, queue->skips[queue->skips_at].first - queue->next);
  return fmax(floor(fmin(most, left)), 1);
}

/* Takes the first `count` tasks of the first range. */
static struct work *take_from_range(struct queue *queue, double count)
{
  struct work *work = LIST_OF(queue->ranges.next, struct work, link);
  if (count <= work->last - work->first) {
    if (!work_reserve(&queue->store, 1)) return NULL;
    struct work *rest = work_split(&queue->store, work, work->first + count);
    list_insert(work->link.next, &rest->link);
  }
  link_remove(&work->link);
  queue->ranged -= work->last - work->first + 1;
  return work;
}

struct work *queue_take_new(struct queue *queue, double count, struct payload *payload)
{
  if (queue_has_range(queue)) return take_from_range(queue, count);
  double first = queue_first_new(queue, count);
  struct work *work = work_new(&queue->store, first, first + count - 1, payload, 1);
  if (!work) return NULL;
  if (queue->is_turned) {
    queue->end = first - 1;
    return work;
  }
  queue->next += count;
  pass_skipped(queue);
  return work;
}

void queue_put_back(struct queue *queue, struct work *work, bool in_front)
{
  if (take_in(queue, work)) list_insert(in_front ? queue->again.next : &queue->again, &work->link);
}

int queue_redo(struct queue *queue, double task, uint32_t attempt, double due, struct payload *payload)
{
  struct work *work = NULL;
  int error = 0;
  bool is_wanted = task <= queue->total || (task >= FIRST_EXTRA && !queue->is_shortened);
  if (is_wanted && !queue->is_closed) {
    work = work_new(&queue->store, task, task, payload, attempt);
    if (!work) error = ENOMEM;
  }
  payload_drop(&queue->store, payload);
  if (work) {
    work->due = due;
    work->child = work->sibling = NULL;
    queue->due = heap_join(queue->due, work);
  }
  return error;
}
