/* cost.c - see cost.h. Each run is made several times and the least counts: others may have the processor meanwhile. */
#include "cost.h"

#include <math.h>

#include "world.h"

enum { SOME_TASKS = 5000, TASKS = 20000, FEW = 10, MANY = 1000, TIMES = 3 };

/* Loops over all lanes, or over all that waits, show as factors of ten and more. */
static const double most_ratio = 5;

/* Of what few tasks cost, caches are a larger part. */
static const double most_ratio_of_some = 12;

static double least_seconds(double (*run)(const struct plan *plan), const struct plan *plan)
{
  double least = INFINITY;
  for (int i = 0; i < TIMES; i++) least = fmin(least, run(plan));
  return least;
}

/* How many times as much as `other` the plan costs; where that is more than `most`, by the third time that it is. */
static double ratio_of(double (*run)(const struct plan *plan), const struct plan *plan, const struct plan *other,
                       double most)
{
  double ratio = INFINITY;
  for (int i = 0; i < TIMES && ratio > most; i++) ratio = least_seconds(run, plan) / least_seconds(run, other);
  return ratio;
}

static void check_lanes(double (*run)(const struct plan *plan), struct plan plan)
{
  struct plan more = plan;
  more.workers = MANY;
  double ratio = ratio_of(run, &more, &plan, most_ratio);
  if (ratio > most_ratio)
    fault("a task costs the dispatcher %.1f times as much at %d lanes as at %d", ratio, MANY, FEW);
}

static void check_retries(double (*run)(const struct plan *plan), struct plan plan, double most)
{
  plan.troubles = (uint32_t)1 << TROUBLE_ERRORS;
  plan.error_share = plan.retries = 1;
  struct plan later = plan;
  later.troubles |= (uint32_t)1 << TROUBLE_BACKOFF;
  later.backoff = 30;
  double ratio = ratio_of(run, &later, &plan, most);
  if (ratio > most) fault("a task costs the dispatcher %.1f times as much when others wait for their next try", ratio);
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
  check_retries(run, plan, most_ratio_of_some);
  plan.tasks = TASKS;
  check_lanes(run, plan);
  check_retries(run, plan, most_ratio);
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
