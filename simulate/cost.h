/* cost.h - what an event costs the dispatcher must not depend on how many lanes there are, nor on how many tasks wait
 * for their next try; and lanes with nothing to do get work that others have. */
#ifndef SIMULATE_COST_H
#define SIMULATE_COST_H
#include "plan.h"

/* Compares runs by processor time; tells a fault where one costs many times as much. `run` runs a plan and returns its
 * seconds. */
void cost_check(double (*run)(const struct plan *plan));
/* Runs tasks of uneven lengths; tells a fault where these take much longer than with list scheduling. `efficiency`: the
 * share that list scheduling needs, on average over the runs since it was asked last. */
void balance_check(double (*run)(const struct plan *plan), double (*efficiency)(void));

#endif
