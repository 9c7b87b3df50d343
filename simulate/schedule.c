/* schedule.c - schedules of the dispatcher over simulated lanes, over slots, and of the whole stack. See schedule.h. */
#include "schedule.h"

#include <math.h>
#include <stddef.h>

#include "attending.h"
#include "cost.h"
#include "edges.h"
#include "ideal.h"
#include "lanes.h"
#include "looks.h"
#include "meet.h"
#include "memory.h"
#include "parts.h"
#include "queues.h"
#include "stack.h"
#include "system.h"
#include "workers.h"
#include "world.h"

const char *const schedule_kinds[PLAN_KINDS] = {"dispatcher over simulated lanes", "lanes over slots", "the stack"};

/* One in so many schedules makes whole calls of the library, which take longer. */
enum { STACK_EACH = 40 };

static enum plan_kind kind_of(uint64_t seed)
{
  if (seed % STACK_EACH == 0) return PLAN_STACK;
  return seed % 3 ? PLAN_SLOTS : PLAN_LANES;
}

void schedule_draw(struct plan *plan, uint64_t seed)
{
  plan_draw(plan, kind_of(seed), seed);
}

bool schedule_is_apart(const struct plan *plan)
{
  return plan->kind == PLAN_STACK;
}

bool schedule_measure(int count, char **arguments)
{
  (void)count, (void)arguments;
  return false;
}

void schedule_check(double (*run)(const struct plan *plan), double (*efficiency)(void))
{
  meet_check();
  attending_check();
  queues_check();
  parts_check();
  looks_check();
  edges_check();
  cost_check(run);
  balance_check(run, efficiency);
}

static void set_faults(const struct plan *plan)
{
  system_misbehave(plan);
  memory = (struct memory){.live = memory.live};
  if (!plan_has(plan, TROUBLE_MEMORY)) return;
  memory.failing = plan->memory_rate;
  memory.fail_at = plan->memory_at;
}

static const struct engine_kind *engine_of(const struct plan *plan)
{
  if (plan->kind == PLAN_LANES) return plan->engine == ENGINE_ABANDONED ? &lanes_abandoned : &lanes_killed;
  if (plan->engine == ENGINE_ABANDONED) return &workers_abandoned;
  return plan->engine == ENGINE_KEPT ? &workers_kept : &workers_forked;
}

/* Without trouble a run takes about as long as list scheduling: more than that is a wake-up that was missed, or work
 * that nobody was given. Returns the share that list scheduling needs; 0: it says nothing here. */
static double efficiency_of(const struct plan *plan, double seconds)
{
  static const double share = 1.1, start = 0.01, a_task = 40, latencies = 30, of_ticks = 2e4;
  bool is_kept_away = plan->kind == PLAN_SLOTS && plan->preempted > 0;
  if (plan->troubles || plan->chunk > 0 || is_kept_away) return 0;
  double longest = 0, list = ideal_seconds(plan, &longest);
  if (plan->lengths == LENGTHS_RARE) longest *= 3; /* several may lie in one chunk, and it is cut in halves */
  double most = list * share + longest + start + latencies * plan->latency + a_task * plan->tick * plan->tasks;
  if (seconds > most) fault("the run took %.3g s without trouble; list scheduling needs %.3g s", seconds, list);
  bool is_uneven = plan->lengths == LENGTHS_HEAVY || plan->lengths == LENGTHS_RARE;
  bool is_long = plan->length >= (plan->kind == PLAN_LANES ? 1e-4 : of_ticks * plan->tick);
  if (!is_uneven || !is_long || plan->tasks < 4 * plan->workers) return 0;
  return list / seconds;
}

static void run_engine(const struct plan *plan, struct outcome_of_run *outcome)
{
  struct engine engine;
  int error = engine_open(&engine, engine_of(plan), plan->workers);
  if (error) {
    if (!plan_has(plan, TROUBLE_MEMORY)) fault("the engine could not be opened: errno %d", error);
    return;
  }
  uint32_t runs = plan_has(plan, TROUBLE_RUNS) ? plan->runs : 1;
  if (plan_has(plan, TROUBLE_MASSACRE) && plan->kind == PLAN_SLOTS)
    workers_plan_massacre(world.now + plan->massacre_at);
  if (plan->kind == PLAN_LANES) engine.lanes = &lane_simulated;
  for (uint32_t run = 1; run <= runs; run++)
    if (!drive(plan, &engine, run, outcome)) break;
  if (plan->kind == PLAN_LANES) lanes_end(&engine);
  engine_close(&engine);
}

void schedule_run(const struct plan *plan, struct outcome_of_run *outcome)
{
  static const double all_end_within = 100;
  world.tick = plan->tick;
  world.slice = plan->kind == PLAN_LANES ? 0 : plan->slice;
  world.preempted = plan->preempted;
  world.drains = plan->drains;
  system_begin();
  lanes_begin();
  workers_begin();
  set_faults(plan);
  int64_t live = memory.live;
  if (plan->kind == PLAN_STACK) {
    outcome->tasks = plan->tasks;
    stack_run(plan);
    return;
  }
  run_engine(plan, outcome);
  memory.failing = 0;
  world_run_until(world.now + all_end_within); /* abandoned workers come to their end */
  if (fibers_alive() > 0) fault("%u workers are left", (unsigned)fibers_alive());
  if (memory.live != live) fault("%ld allocations were not given back", (long)(memory.live - live));
  if (workers_slots_mapped() != 0) fault("%ld slots were not given back", (long)workers_slots_mapped());
  outcome->efficiency = efficiency_of(plan, outcome->seconds);
}
