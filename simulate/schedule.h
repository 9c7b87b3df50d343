/* schedule.h - what the schedules of a program are (main.c): over lanes, slots and the whole stack (schedule.c), or
 * over the ranks of an MPI job (ranks/schedule.c). */
#ifndef SIMULATE_SCHEDULE_H
#define SIMULATE_SCHEDULE_H
#include "driver.h"

/* What the kinds are, for people; NULL: the program has none of this number. */
extern const char *const schedule_kinds[PLAN_KINDS];

/* The plan that belongs to a seed. */
void schedule_draw(struct plan *plan, uint64_t seed);
/* Is it to run in a process of its own? */
bool schedule_is_apart(const struct plan *plan);
/* Runs it, the world being new. Tells a fault where something is not right. */
void schedule_run(const struct plan *plan, struct outcome_of_run *outcome);
/* What is looked at once, before all: what things cost. `run` runs a plan and returns the seconds of processor time;
 * `efficiency`: on average over the runs so far. */
void schedule_check(double (*run)(const struct plan *plan), double (*efficiency)(void));
/* Seconds that this process has had the processor. */
double processor_seconds(void);
/* Measures instead of schedules, for `argument`; false: there are none of this name. */
bool schedule_measure(int count, char **arguments);

#endif
