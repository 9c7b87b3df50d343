/* work.h - runs of tasks that are handed out as one, and what was supplied for them. A work item is made once and then
 * relinked, from the queue to a lane and back; what could make two of it has taken care of the second before
 * (work_reserve). So no task is lost for want of memory. */
#ifndef PARLUA_WORK_H
#define PARLUA_WORK_H
#include <stdbool.h>

#include "slot/layout.h"
#include "sys/lent.h"
#include "sys/list.h"

/* What was supplied for some tasks, shared by the works cut from it; or a large result. */
struct payload {
  uint32_t users, is_lent; /* the latter: the block begins a page of memory that workers can map (sys/lent.h) */
  uint64_t capacity;
  struct block block;
};

/* A run of tasks: in the queue, or at a lane. */
struct work {
  struct link link; /* in the queue's list, or among what a lane holds */
  double first, last;
  double bound;   /* last task that the worker may do: behind `last` where the rest is of no use any more */
  double reached; /* last task whose end was reported */
  struct payload *payload;
  uint32_t attempt;
  uint32_t number;  /* of the chunk, in its message */
  uint32_t deaths;  /* workers that ended in it with no task to blame */
  uint32_t losses;  /* ranks that were lost while they had it */
  double aborted;   /* task of it that is not to run, or to be ended when it does, one at most; 0: none */
  bool is_needed;   /* some of its tasks count for the end of the run, and have not ended */
  bool is_complete; /* all of its message is in the channel */
  uint32_t place;
  uint64_t sent;
  /* Of a heap by due time (queue.c), or of a set by first task (pieces.c): */
  double due;
  struct work *child, *sibling;
};

/* Is it a task that is tried again? Such works are of one task each, and stay so. */
static inline bool work_is_retry(const struct work *work)
{
  return work->attempt > 1;
}

/* Tasks first..last. */
struct range {
  double first, last;
};

/* Where works come from. */
struct work_store {
  struct link free; /* works that stand ready */
  uint32_t spare;   /* how many */
  uint32_t reserved;
  struct payload *large; /* a payload of BLOCK_BYTES, kept warm */
  bool lends;            /* workers can map large payloads, and are ended before these are given back */
};

void work_store_init(struct work_store *store);
void work_store_clear(struct work_store *store);
/* A work of tasks first..last, which counts as one more user of `payload` (NULL: none). NULL: out of memory. */
struct work *work_new(struct work_store *store, double first, double last, struct payload *payload, uint32_t attempt);
void work_free(struct work_store *store, struct work *work);
/* Frees all works of a list. */
void work_free_all(struct work_store *store, struct link *works);
/* Sees to it that `count` works more stand ready, until work_unreserve: as many work_split then can't fail. False: out
 * of memory, and nothing has changed. */
bool work_reserve(struct work_store *store, uint32_t count);
void work_unreserve(struct work_store *store, uint32_t count);
/* Cuts tasks from `first` on off, into a work that is returned; there is a reserve for it. */
struct work *work_split(struct work_store *store, struct work *work, double first);

/* An empty payload for a block of `bytes`, or of BLOCK_BYTES, whichever is more; one user. NULL: out of memory. */
struct payload *payload_new(struct work_store *store, uint64_t bytes);
/* One of exactly `bytes`, whose block is to be filled in whole; one user. NULL: out of memory. */
struct payload *payload_of(uint64_t bytes);
/* The same, where it is large in memory that workers can map, if there is such. */
struct payload *payload_lent(uint64_t bytes);
/* What another process has lent, to be read only; one user. NULL with errno set. */
struct payload *payload_borrowed(struct lender lender, uint64_t bytes);
/* One user less. Accepts NULL; `store` may be NULL. */
void payload_drop(struct work_store *store, struct payload *payload);
/* A payload of what `payload` has in fewer bytes where that saves much: as it was filled in. Takes over the caller's
 * use. */
struct payload *payload_fit(struct work_store *store, struct payload *payload);
/* A copy of a block of results with its first `words` words, to be freed by free(); *size: bytes that were copied.
 * NULL: out of memory. */
struct block *block_copy(const struct block *block, uint64_t words, size_t *size);
/* A payload with what was supplied for `count` tasks from `first` on, of a payload with more; one user. NULL: out of
 * memory. */
struct payload *payload_copy_tasks(const struct payload *payload, double first, uint32_t count);
/* A payload with what was supplied for tasks first..last alone, where that saves much; one user, or one more of the
 * same. */
struct payload *payload_of_tasks(struct payload *payload, double first, double last);

#endif
