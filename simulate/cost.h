/* cost.h - what an event costs the dispatcher must not depend on how many lanes there are, nor on how many tasks wait
 * for their next try. */
#ifndef SIMULATE_COST_H
#define SIMULATE_COST_H
#include "plan.h"

/* Compares runs by processor time; tells a fault where one costs many times as much. `run` runs a plan and returns its
 * seconds. */
void cost_check(double (*run)(const struct plan *plan));

#endif
