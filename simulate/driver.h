/* driver.h - drives runs of the dispatcher as the Lua side does (lua/parlua/run), and compares what it is told with the
 * ledger. */
#ifndef SIMULATE_DRIVER_H
#define SIMULATE_DRIVER_H
#include "plan.h"
#include "run/lane.h"

/* What a run has come to. */
struct outcome_of_run {
  double seconds; /* of virtual time, to the end of the last task */
  uint64_t tasks, events;
};

/* One run on an engine, as job number `job`; lanes: NULL: over slots. False: the engine can't go on. */
bool drive(const struct plan *plan, struct engine *engine, const struct lane_kind *lanes, uint32_t job,
           struct outcome_of_run *outcome);
/* The supplied argument of a task, as it stands in a worker's chunk: is it the right one? */
bool argument_is_right(const struct block *chunk, double task);
/* The word that stands for a failed task's result. */
double failed_word(double task);

#endif
