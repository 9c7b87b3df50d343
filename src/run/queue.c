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

/* ---- the queue ---- */

void queue_init(struct queue *queue, double total)
{
  *queue = (struct queue){.next = 1, .ceiling = INFINITY, .total = total};
  work_store_init(&queue->store);
  list_init(&queue->again);
}

static void drop_all(struct queue *queue)
{
  for (struct link *link; (link = list_take(&queue->again));)
    work_free(&queue->store, LIST_OF(link, struct work, link));
  while (queue->due) work_free(&queue->store, take_due(queue));
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
  if (work->last > queue->total) work->last = work->bound = queue->total;
  if (work->first <= work->last) return false;
  work_free(&queue->store, work);
  return true;
}

void queue_shorten(struct queue *queue, double last)
{
  queue->total = last;
  for (struct link *link = queue->again.next, *next; link != &queue->again; link = next) {
    struct work *work = LIST_OF(link, struct work, link);
    next = link->next;
    if (work->last <= last) continue;
    link_remove(link);
    if (!drop_behind_total(queue, work)) list_insert(next, link);
  }
  struct work *kept = NULL;
  while (queue->due) {
    struct work *work = take_due(queue);
    if (!drop_behind_total(queue, work)) kept = heap_join(kept, work);
  }
  queue->due = kept;
}

bool queue_has_new(const struct queue *queue)
{
  return !queue->is_closed && queue->next <= queue->total && queue->next <= queue->ceiling;
}

bool queue_has_work(const struct queue *queue, double now)
{
  return !list_is_empty(&queue->again) || queue_has_new(queue) || (queue->due && queue->due->due <= now);
}

bool queue_is_empty(const struct queue *queue)
{
  return queue->is_closed || (list_is_empty(&queue->again) && !queue->due && queue->next > queue->total);
}

double queue_next_due(const struct queue *queue)
{
  return queue->due ? queue->due->due : INFINITY;
}

struct work *queue_take_again(struct queue *queue, double now)
{
  if (queue->due && queue->due->due <= now) return take_due(queue);
  struct link *link = list_take(&queue->again);
  return link ? LIST_OF(link, struct work, link) : NULL;
}

double queue_room(const struct queue *queue, double most)
{
  double left = fmin(queue->total, queue->ceiling) - queue->next + 1;
  if (queue->skips_at < queue->skips_count) left = fmin(left, queue->skips[queue->skips_at].first - queue->next);
  return fmax(floor(fmin(most, left)), 1);
}

struct work *queue_take_new(struct queue *queue, double count, struct payload *payload)
{
  struct work *work = work_new(&queue->store, queue->next, queue->next + count - 1, payload, 1);
  if (!work) return NULL;
  queue->next += count;
  pass_skipped(queue);
  return work;
}

void queue_put_back(struct queue *queue, struct work *work, bool in_front)
{
  work->first = work->reached + 1;
  work->bound = work->last;
  work->is_complete = work->is_needed = false;
  work->sent = 0;
  if (drop_behind_total(queue, work)) return;
  if (queue->is_closed)
    work_free(&queue->store, work);
  else if (in_front)
    list_prepend(&queue->again, &work->link);
  else
    list_append(&queue->again, &work->link);
}

int queue_push(struct queue *queue, double task, struct payload *payload)
{
  struct work *work = queue->is_closed ? NULL : work_new(&queue->store, task, task, payload, 1);
  int error = work || queue->is_closed ? 0 : ENOMEM;
  payload_drop(&queue->store, payload);
  if (work) list_append(&queue->again, &work->link);
  return error;
}

struct work *queue_withdraw(struct queue *queue, double task)
{
  for (struct link *link = queue->again.next; link != &queue->again; link = link->next) {
    struct work *work = LIST_OF(link, struct work, link);
    if (work->first != task || work->last != task) continue;
    link_remove(link);
    return work;
  }
  return NULL;
}

int queue_redo(struct queue *queue, double task, uint32_t attempt, double due, struct payload *payload)
{
  struct work *work = NULL;
  int error = 0;
  if (task <= queue->total && !queue->is_closed) {
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
