/* cost.c - see cost.h. Each run is made several times and the least counts: others may have the processor meanwhile. */
#include "cost.h"

#include <math.h>

#include "world.h"

enum { TASKS = 20000, FEW = 10, MANY = 1000, TIMES = 3 };

/* Loops over all lanes, or over all that waits, show as factors of ten and more. */
static const double most_ratio = 5;

static double least_seconds(double (*run)(const struct plan *plan), const struct plan *plan)
{
  double least = INFINITY;
  for (int i = 0; i < TIMES; i++) least = fmin(least, run(plan));
  return least;
}

void cost_check(double (*run)(const struct plan *plan))
{
  struct plan plan = {
      .kind = PLAN_LANES, .seed = 1, .engine = ENGINE_KEPT, .workers = FEW, .tasks = TASKS, .runs = 1, .chunk = 1};
  plan.lengths = LENGTHS_EXPONENTIAL;
  plan.length = 1e-3;
  plan.tick = 1e-7;
  plan.latency = 1e-6;
  plan.depth = 2;
  double few = least_seconds(run, &plan);
  plan.workers = MANY;
  double many = least_seconds(run, &plan);
  if (many > most_ratio * few)
    fault("a task costs the dispatcher %.1f times as much at %d lanes as at %d", many / few, MANY, FEW);
  plan.workers = FEW;
  plan.troubles = (uint32_t)1 << TROUBLE_ERRORS;
  plan.error_share = plan.retries = 1;
  double at_once = least_seconds(run, &plan);
  plan.troubles |= (uint32_t)1 << TROUBLE_BACKOFF;
  plan.backoff = 30;
  double later = least_seconds(run, &plan);
  if (later > most_ratio * at_once)
    fault("a task costs the dispatcher %.1f times as much when others wait for their next try", later / at_once);
}

void balance_check(double (*run)(const struct plan *plan), double (*efficiency)(void))
{
  enum { SCHEDULES = 40, LANES = 4, TASKS_EACH = 30 };
  static const double least = 0.975; /* it is 99 %; where no lane is asked for work, 95 */
  struct plan plan = {
      .kind = PLAN_LANES, .engine = ENGINE_KEPT, .workers = LANES, .tasks = LANES * TASKS_EACH, .runs = 1};
  plan.lengths = LENGTHS_HEAVY;
  plan.length = 1e-3;
  plan.tick = 1e-7;
  plan.latency = 1e-6;
  plan.depth = 2;
  for (plan.seed = 1; plan.seed <= SCHEDULES; plan.seed++) run(&plan);
  if (efficiency() < least) fault("heavy-tailed tasks take %.1f %% of the time of list scheduling", 100 / efficiency());
}
