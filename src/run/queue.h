/* queue.h - the tasks that are to be handed out: those that were given back, those that wait for their next try, and
 * those that were never handed out. Tasks are numbers from 1. */
#ifndef PARLUA_QUEUE_H
#define PARLUA_QUEUE_H
#include "run/work.h"

/* Tasks that are not to be handed out. */
struct range {
  double first, last;
};

struct queue {
  struct work_store store;
  struct link again;   /* to be handed out before anything new */
  struct work *due;    /* heap of those that wait, the first due on top */
  double next;         /* first task that was never handed out */
  double ceiling;      /* last that may be handed out for the time being */
  double total;        /* INFINITY until the supply is exhausted */
  bool is_closed;      /* the run was cancelled: nothing is handed out any more */
  struct range *skips; /* ascending; those before skips_at are passed */
  size_t skips_at, skips_count, skips_room;
};

void queue_init(struct queue *queue, double total);
void queue_free(struct queue *queue);
/* Forgets all that is to be handed out; nothing new is either. */
void queue_clear(struct queue *queue);

/* Tasks first..last are not to be handed out. Ranges come in ascending order, none before what was handed out. Returns
 * 0 or an errno. */
int queue_skip(struct queue *queue, double first, double last);
/* Tasks behind `last` are not to be handed out. */
void queue_shorten(struct queue *queue, double last);

/* Is there a task that may be handed out now? */
bool queue_has_work(const struct queue *queue, double now);
/* Is there a task that was never handed out, and may be? */
bool queue_has_new(const struct queue *queue);
/* Is there nothing left, now and later? */
bool queue_is_empty(const struct queue *queue);
/* When the first of those that wait is due; INFINITY: none waits. */
double queue_next_due(const struct queue *queue);

/* Takes a work that was given back, or is due; NULL: there is none. */
struct work *queue_take_again(struct queue *queue, double now);
/* Up to `most` tasks that were never handed out, at least one; fewer where a range to be skipped begins or the ceiling
 * is reached.
 */
double queue_room(const struct queue *queue, double most);
/* Makes a work of the next `count` tasks. NULL: out of memory, and nothing has changed. */
struct work *queue_take_new(struct queue *queue, double count, struct payload *payload);

/* Takes back a work: what it has not reached is to be handed out again, before anything new; behind the total it is
 * dropped. In front: before all others. */
void queue_put_back(struct queue *queue, struct work *work, bool in_front);
/* Has `task` handed out behind all that waits for it now. Takes over the caller's use of `payload`. Returns 0 or an
 * errno. */
int queue_push(struct queue *queue, double task, struct payload *payload);
/* Takes back a task that was pushed and waits; NULL: there is none. */
struct work *queue_withdraw(struct queue *queue, double task);
/* Has `task` tried again, as try number `attempt`, when `due`. Takes over the caller's use of `payload`. Returns 0 or
 * an errno. */
int queue_redo(struct queue *queue, double task, uint32_t attempt, double due, struct payload *payload);

#endif
