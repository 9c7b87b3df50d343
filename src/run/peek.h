/* peek.h - results that lie ready in the slots of workers, and were not reported by the dispatcher. Nothing is taken: a
 * journal's lookout (lua/lookout.h) reads them while the script is away, and the script finds all as it was.
 *
 * The dispatcher must stand still meanwhile: whoever peeks keeps the script out of it. Workers may go on; what is shown
 * they have finished, and its place is not used again before the dispatcher releases it. */
#ifndef PARLUA_PEEK_H
#define PARLUA_PEEK_H
#include "run/dispatch.h"
#include "run/glimpse.h"
#include "sys/buffer.h"

/* What was seen of a lane: the last task, and its chunk. All zero at first. */
struct peeked {
  uint32_t chunk;
  double task;
};

/* How many lanes the run has. */
uint32_t dispatch_lanes(const struct dispatch *d);
/* The next results of the lane, behind those that were seen. False: there are none that can be shown. Of other ranks
 * none can, nor any larger than what fits a slot; nor results of a lane whose tasks have spawned others, as long as
 * these were not reported. A result in several pieces is put together in `whole`, for which the glimpse is valid until
 * the next call. The caller notes in *peeked how far it has come. */
bool dispatch_peek(const struct dispatch *d, uint32_t lane, const struct peeked *peeked, struct buffer *whole,
                   struct glimpse *glimpse);

#endif
