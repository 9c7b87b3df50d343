/* queue.h - the tasks that are to be handed out: those that were given back, those that wait for their next try, and
 * those that were never handed out. Tasks are numbers from 1. */
#ifndef PARLUA_QUEUE_H
#define PARLUA_QUEUE_H
#include "run/work.h"

struct queue {
  struct work_store store;
  struct link again; /* to be handed out before anything new, each as one */
  struct link
      ranges;    /* of tasks that are handed out as new ones are: offered by a parent, or given back by a whole rank */
  double ranged; /* tasks in them */
  struct work *due;    /* heap of those that wait, the first due on top */
  double next;         /* first task that was never handed out */
  double ceiling;      /* last that may be handed out for the time being */
  double total;        /* INFINITY until the supply is exhausted */
  double end;          /* last task that was never handed out; INFINITY: the total, */
  bool is_turned;      /* or else new tasks are handed out from there downward (queue_turn) */
  bool is_shortened;   /* what lies behind the total is not wanted, whosever it is */
  bool is_closed;      /* the run was cancelled: nothing is handed out any more */
  bool is_fed;         /* tasks come as ranges only, and more may come at any time */
  struct range *skips; /* ascending; those before skips_at are passed */
  size_t skips_at, skips_count, skips_room;
};

/* Tasks from this number on are none of the source's: they were pushed (dispatch_push), and count whatever its total
 * is, unless the run is shortened. */
#define FIRST_EXTRA 4503599627370496.0

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
/* Is there nothing left, now and later? */
bool queue_is_empty(const struct queue *queue);
/* When the first of those that wait is due; INFINITY: none waits. */
double queue_next_due(const struct queue *queue);

/* From here on new tasks are handed out from the end, task `total`, where the queue knows of no skips and no ceiling,
 * and there are any. */
void queue_turn(struct queue *queue, double total);
/* Tasks that were never handed out, or are in ranges; INFINITY where that is not known. */
double queue_left(const struct queue *queue);
/* The next task that was never handed out, or is in a range; there is one. */
double queue_first(const struct queue *queue);
/* The first of the next `count` tasks that were never handed out (queue_room). */
double queue_first_new(const struct queue *queue, double count);
/* Has the next new task's work its arguments already? */
bool queue_has_range(const struct queue *queue);
/* Adds a work whose tasks are to be handed out as new ones are, in chunks; what lies behind the total is dropped. */
void queue_add_range(struct queue *queue, struct work *work);
/* Takes tasks from the end of the ranges out, at most `most`, a multiple of `unit` where a range is split: one work of
 * them, as large as the last range allows. There is a reserve for it (work_reserve). NULL: there are none. */
struct work *queue_take_back(struct queue *queue, double most, double unit);
/* Takes the work of `task` alone out of what was given back and of the ranges; there are two reserves for it, and both
 * are used up or given back. NULL: it is not there. */
struct work *queue_take_task(struct queue *queue, double task);
/* Is what queue_take_again takes a task that is tried again? */
bool queue_has_retry(const struct queue *queue, double now);
/* Takes a work that was given back, or is due; NULL: there is none. */
struct work *queue_take_again(struct queue *queue, double now);
/* Up to `most` tasks that were never handed out, at least one; fewer where a range to be skipped begins or the ceiling
 * is reached.
 */
double queue_room(const struct queue *queue, double most);
/* The source has given its last task. */
void queue_exhausted(struct queue *queue);
/* Makes a work of the next `count` tasks (queue_room); `payload`: what was supplied for them, where they are not of a
 * range. NULL: out of memory, and nothing has changed. */
struct work *queue_take_new(struct queue *queue, double count, struct payload *payload);

/* Takes back a work: what it has not reached is to be handed out again, before anything new; behind the total it is
 * dropped. In front: before all others. */
void queue_put_back(struct queue *queue, struct work *work, bool in_front);
/* Has `task` tried again, as try number `attempt`, when `due`. Takes over the caller's use of `payload`. Returns 0 or
 * an errno. */
int queue_redo(struct queue *queue, double task, uint32_t attempt, double due, struct payload *payload);

#endif
