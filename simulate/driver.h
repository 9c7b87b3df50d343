/* driver.h - drives runs of the dispatcher as the Lua side does (lua/parlua/run), and compares what it is told with the
 * ledger. */
#ifndef SIMULATE_DRIVER_H
#define SIMULATE_DRIVER_H
#include "plan.h"
#include "run/lane.h"

/* What a run has come to. */
struct outcome_of_run {
  double seconds;    /* of virtual time, to the end of the last task */
  double efficiency; /* the share of that which list scheduling needs; 0: not measured */
  uint64_t tasks, events;
};

/* One run on an engine, as job number `job`. False: the engine can't go on. */
bool drive(const struct plan *plan, struct engine *engine, uint32_t job, struct outcome_of_run *outcome);

#endif
