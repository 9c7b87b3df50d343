/* ideal.h - how long a plan takes at best. */
#ifndef SIMULATE_IDEAL_H
#define SIMULATE_IDEAL_H
#include "plan.h"

/* Seconds that list scheduling needs: each task goes to the worker that is free first. *longest: of the tasks. */
double ideal_seconds(const struct plan *plan, double *longest);

#endif
