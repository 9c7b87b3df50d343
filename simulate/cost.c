/* cost.c - see cost.h. Each run is made several times and the least counts: others may have the processor meanwhile. */
#include "cost.h"

#include <math.h>

#include "world.h"

enum { SOME_TASKS = 3000, TASKS = 20000, FEW = 10, MANY = 1000, TIMES = 3 };

/* Loops over all lanes, or over all that waits, show as factors of ten and more. */
static const double most_ratio = 5;

static double least_seconds(double (*run)(const struct plan *plan), const struct plan *plan)
{
  double least = INFINITY;
  for (int i = 0; i < TIMES; i++) least = fmin(least, run(plan));
  return least;
}

static void check_lanes(double (*run)(const struct plan *plan), struct plan plan)
{
  double few = least_seconds(run, &plan);
  plan.workers = MANY;
  double many = least_seconds(run, &plan);
  if (many > most_ratio * few)
    fault("a task costs the dispatcher %.1f times as much at %d lanes as at %d", many / few, MANY, FEW);
}

static void check_retries(double (*run)(const struct plan *plan), struct plan plan)
{
  plan.troubles = (uint32_t)1 << TROUBLE_ERRORS;
  plan.error_share = plan.retries = 1;
  double at_once = least_seconds(run, &plan);
  plan.troubles |= (uint32_t)1 << TROUBLE_BACKOFF;
  plan.backoff = 30;
  double later = least_seconds(run, &plan);
  if (later > most_ratio * at_once)
    fault("a task costs the dispatcher %.1f times as much when others wait for their next try", later / at_once);
}

/* First with few tasks: where the cost grows with their number, many would take minutes. */
void cost_check(double (*run)(const struct plan *plan))
{
  struct plan plan = {
      .kind = PLAN_LANES, .seed = 1, .engine = ENGINE_KEPT, .workers = FEW, .tasks = SOME_TASKS, .runs = 1, .chunk = 1};
  plan.lengths = LENGTHS_EXPONENTIAL;
  plan.length = 1e-3;
  plan.tick = 1e-7;
  plan.latency = 1e-6;
  plan.depth = 2;
  check_retries(run, plan);
  plan.tasks = TASKS;
  check_lanes(run, plan);
  check_retries(run, plan);
}

void balance_check(double (*run)(const struct plan *plan), double (*efficiency)(void))
{
  enum { SCHEDULES = 40, LANES = 4 };
  static const struct {
    enum plan_kind kind;
    enum lengths lengths;
    double length, least;
    uint32_t tasks;
    const char *name;
  } cases[] = {
      {PLAN_LANES, LENGTHS_HEAVY, 1e-3, 0.975, 30, "heavy-tailed tasks"}, /* it is 99 %; where no lane is asked, 95 */
      {PLAN_SLOTS, LENGTHS_RARE, 3e-3, 0.975, 200, "tasks of which few are long"}, /* likewise */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct plan plan = {
        .kind = cases[i].kind, .engine = ENGINE_KEPT, .workers = LANES, .tasks = LANES * cases[i].tasks};
    plan.runs = 1;
    plan.lengths = cases[i].lengths;
    plan.length = cases[i].length;
    plan.tick = 1e-7;
    plan.latency = 1e-6;
    plan.depth = 2;
    plan.slice = 20;
    plan.drains = 0.1;
    for (plan.seed = 1; plan.seed <= SCHEDULES; plan.seed++) run(&plan);
    double share = efficiency();
    if (share < cases[i].least) fault("%s take %.1f %% of the time of list scheduling", cases[i].name, 100 / share);
  }
}
