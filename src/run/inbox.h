/* inbox.h - results as they come from a worker's slot. All that a worker could have overwritten is checked here, once,
 * before anybody goes by it. */
#ifndef PARLUA_INBOX_H
#define PARLUA_INBOX_H
#include "run/lane.h"

/* What an inbox keeps between blocks. */
struct inbox {
  uint32_t from;         /* words or pairs of the oldest block that were reported */
  struct payload *whole; /* results that come in pieces */
  uint64_t whole_have, whole_size;
  bool is_dropped;                                         /* there was no memory for them */
  enum { GIVEN_NOTHING, GIVEN_CLOSED, GIVEN_WHOLE } given; /* what `release` gives back */
};

enum inbox_state {
  INBOX_EMPTY,
  INBOX_OUTCOME, /* *outcome was filled in */
  INBOX_DAMAGED  /* what stands there can't be */
};

/* The next closed block of results for the first work that the lane holds. */
enum inbox_state inbox_next(struct inbox *inbox, struct lane *lane, struct slot *slot, struct outcome *outcome);
/* What lies finished in the block that is being filled. */
enum inbox_state inbox_partial(struct inbox *inbox, struct lane *lane, struct slot *slot, struct outcome *outcome);
/* The block that was given is not needed any more. */
void inbox_release(struct inbox *inbox, struct slot *slot);
/* Has the worker released the message of its first work, which it does behind all results, though their end was not
 * seen? */
bool inbox_lacks_end(const struct lane *lane, const struct slot *slot);
/* Is this what a large block of `size` bytes can be: one result? */
bool inbox_is_whole(const struct lane *lane, const struct block *block, uint64_t size);
/* A duration that a worker's memory tells; 0: it can't be one. */
double plausible_seconds(double seconds);
void inbox_clear(struct inbox *inbox);

#endif
