/* schedule.c - schedules of an MPI job of two and three levels: ranks that are lost, stall, answer late, beside all
 * that goes wrong with their workers. See schedule.h. */
#include "schedule.h"

#include <math.h>
#include <stdio.h>

#include "folds.h"
#include "ideal.h"
#include "inside.h"
#include "lanes.h"
#include "measure.h"
#include "memory.h"
#include "network.h"
#include "rank.h"
#include "system.h"
#include "world.h"

const char *const schedule_kinds[PLAN_KINDS] = {"ranks over simulated lanes"};

static uint32_t bit(enum trouble trouble)
{
  return (uint32_t)1 << trouble;
}

/* What has no meaning here: memory that is short ends a rank; nobody attends to a run in the script's absence. */
static void settle(struct plan *plan)
{
  static const enum trouble none[] = {TROUBLE_MEMORY, TROUBLE_DISTANT, TROUBLE_PUSH};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) plan_drop(plan, none[i]);
  plan->engine = ENGINE_KEPT;
}

void schedule_draw(struct plan *plan, uint64_t seed)
{
  static const double loss_share = 0.2, stall_share = 0.2, large_share = 0.2, calm_share = 0.2, most_stalled = 0.2,
                      short_stall = 0.01, merged_share = 0.3;
  plan_draw(plan, PLAN_LANES, seed);
  settle(plan);
  plan->workers = 2 + (uint32_t)random_spread(1, 100);
  plan->ranks = 2 + random_below(random_chance(0.1) ? 60 : 8);
  if (plan->ranks > plan->workers) plan->ranks = plan->workers;
  plan->ranks_a_host = 1 + random_below(plan->ranks);
  plan->fan = random_chance(0.4) ? 256 : 1 + random_below(4);
  plan->chunk = random_chance(0.3) ? floor(random_spread(1, 40)) : 0;
  double whole = plan->length * plan->tasks / plan->workers + 5e-3;
  plan->loss_rate = random_spread(0.05, 1) / whole / plan->ranks;
  plan->stall_rate = random_spread(0.1, 3) / whole;
  plan->stall_seconds = random_spread(1e-3, 2);
  plan->stall_rate = fmin(plan->stall_rate, most_stalled / plan->stall_seconds);
  if (random_chance(calm_share)) plan->troubles = 0;
  if (random_chance(loss_share)) plan->troubles |= bit(TROUBLE_RANKS);
  if (random_chance(stall_share)) plan->troubles |= bit(TROUBLE_STALLS);
  if (random_chance(large_share)) plan->troubles |= bit(TROUBLE_LARGE);
  if (plan_is_interrupted(plan))
    plan->stall_seconds = fmin(plan->stall_seconds, short_stall); /* longer: it counts as lost */
  if (random_chance(merged_share) && !plan_has(plan, TROUBLE_SPARSE))
    plan->group = 16; /* as lua/parlua/worker/merging.lua */
}

bool schedule_is_apart(const struct plan *plan)
{
  (void)plan;
  return false;
}

/* Runs so many schedules of a plan, in which the script and the network are quick. */
static void run_all(double (*run)(const struct plan *plan), struct plan plan, uint64_t schedules)
{
  plan.tick = 1e-7;
  plan.latency = 1e-6;
  plan.depth = 2;
  for (plan.seed = 1; plan.seed <= schedules; plan.seed++) run(&plan);
}

/* Ranks in a chain, each of which hears of the one behind it alone: whatever a rank asks for beyond its share piles up
 * there, and has to come back all the way. */
static void check_chain(double (*run)(const struct plan *plan), double (*efficiency)(void))
{
  enum { SCHEDULES = 12, RANKS = 16, WORKERS = 48 };
  static const double length = 0.02, least = 0.75; /* it is 83 %; where a rank goes by its last chunk alone, 40 */
  struct plan plan = {.engine = ENGINE_KEPT, .workers = WORKERS, .tasks = 30 * WORKERS, .runs = 1, .fan = 1};
  plan.ranks = plan.ranks_a_host = RANKS;
  plan.lengths = LENGTHS_EXPONENTIAL;
  plan.length = length;
  run_all(run, plan, SCHEDULES);
  double share = efficiency();
  if (share < least) fault("tasks of different lengths take %.0f %% of the time of list scheduling", 100 / share);
}

/* Chunks as large as can be that lie in the midst of a run which is shortened: what is behind its new end by one task
 * is not begun either. */
static void check_shorter(double (*run)(const struct plan *plan))
{
  enum { SCHEDULES = 40 };
  struct plan plan = {.engine = ENGINE_KEPT, .workers = 3, .tasks = 90, .runs = 1, .fan = 256, .chunk = 30};
  plan.ranks = plan.ranks_a_host = 3;
  plan.troubles = bit(TROUBLE_SHORTEN);
  plan.lengths = LENGTHS_SAME;
  plan.length = 0.02;
  plan.shorten_at = 0.01;
  run_all(run, plan, SCHEDULES);
}

/* Ranks that get no processor for a minute, and come back, are not lost where their processes can be seen. */
static void check_stalled(double (*run)(const struct plan *plan))
{
  enum { SCHEDULES = 20 };
  struct plan plan = {.engine = ENGINE_KEPT, .workers = 8, .tasks = 400, .runs = 1, .fan = 2};
  plan.ranks = plan.ranks_a_host = 4;
  plan.troubles = bit(TROUBLE_STALLS);
  plan.lengths = LENGTHS_SAME;
  plan.length = 1;
  plan.stall_seconds = 40;
  plan.stall_rate = 0.004;
  run_all(run, plan, SCHEDULES);
}

void schedule_check(double (*run)(const struct plan *plan), double (*efficiency)(void))
{
  folds_check();
  check_chain(run, efficiency);
  check_shorter(run);
  check_stalled(run);
}

bool schedule_measure(int count, char **arguments)
{
  return measure(count, arguments);
}

/* ---- what befalls ranks ---- */

static void lose(void *what, uint64_t number)
{
  (void)what;
  rank_kill(rank_of((int)number));
}

static void stall(void *what, uint64_t number)
{
  const struct plan *plan = what;
  rank_stall(rank_of((int)number), random_about(plan->stall_seconds));
  world_at(world.now + random_about(1 / plan->stall_rate), stall, what, number);
}

static void plan_ranks(const struct plan *plan)
{
  static const double soon = 100;
  for (uint32_t r = 0; r < plan->ranks; r++) {
    double at = random_about(1 / plan->loss_rate);
    if (r > 0 && plan_has(plan, TROUBLE_RANKS) && at < soon) world_at(world.now + at, lose, NULL, r);
    if (plan_has(plan, TROUBLE_STALLS))
      world_at(world.now + random_about(1 / plan->stall_rate), stall, (void *)(uintptr_t)plan, r);
  }
}

/* ---- one schedule ---- */

/* How long it may take until what is decided is known to all: messages down the tree, and naps. */
static double reach_of(const struct plan *plan)
{
  static const double nap = 5e-3, latencies = 12;
  double levels = 1;
  for (double reached = plan->fan; reached < plan->ranks - 1 && levels < plan->ranks; levels++)
    reached += plan->fan > 1 ? pow(plan->fan, levels + 1) : 1;
  double reach = levels * (nap + latencies * plan->latency);
  return plan_has(plan, TROUBLE_STALLS) || plan_has(plan, TROUBLE_RANKS) ? INFINITY : reach;
}

static void draw_costs(const struct plan *plan, struct costs *costs)
{
  *costs = (struct costs){
      .look = random_spread(1e-7, 16e-6), .send = random_spread(1e-7, 3e-6), .receive = random_spread(1e-7, 3e-6)};
  costs->byte = random_spread(1e-12, 1e-9);
  costs->round = plan->tick;
  network = (struct network){.latency = plan->latency, .least = 1e-7, .bytes_per_second = random_spread(1e8, 1e10)};
}

/* Without trouble a job takes about as long as list scheduling, and what messages and naps cost. */
static double efficiency_of(const struct plan *plan, double seconds, const struct costs *costs)
{
  static const double share = 1.15, begin = 0.05, a_task = 40;
  if (plan->troubles || plan->chunk > 0) return 0;
  double longest = 0, list = ideal_seconds(plan, &longest);
  double work = (costs->look + costs->send + costs->receive + 4 * costs->round) * a_task * plan->tasks;
  double most = list * share + 2 * longest + begin + 4 * plan->reach + work;
  if (seconds > most) fault("the job took %.3g s without trouble; list scheduling needs %.3g s", seconds, list);
  return plan->lengths >= LENGTHS_EXPONENTIAL && plan->length > 1e-3 && plan->tasks >= 4 * plan->workers
             ? list / seconds
             : 0;
}

static void run_job(const struct plan *plan, struct outcome_of_run *outcome)
{
  struct engine engine;
  int error = engine_open(&engine, &engine_mpi, plan->workers);
  if (error) fault("the engine could not be opened: errno %d", error);
  uint32_t runs = plan_has(plan, TROUBLE_RUNS) ? plan->runs : 1;
  for (uint32_t run = 1; run <= runs; run++)
    if (!drive(plan, &engine, run, outcome)) break;
  engine_close(&engine);
  double began = world.now; /* it is not waited for one that is held up for longer than that */
  if (!mpi_leave(0, false) && !plan_has(plan, TROUBLE_RANKS) && world.held_until < began)
    fault("not all ranks have taken leave");
}

void schedule_run(const struct plan *given, struct outcome_of_run *outcome)
{
  static const double all_end_within = 100;
  static struct plan drawn;
  struct plan *plan = &drawn;
  struct costs costs;
  static bool is_quiet;
  if (!is_quiet) is_quiet = freopen("/dev/null", "w", stderr) != NULL; /* lost ranks are told there */
  drawn = *given;
  plan->reach = reach_of(plan);
  world.patience = 200; /* a rank on another host is known to be lost after 30 s */
  system_begin();
  lanes_begin();
  system_misbehave(plan);
  draw_costs(plan, &costs);
  int64_t live = memory.live;
  ranks_begin(plan, &costs);
  plan_ranks(plan);
  run_job(plan, outcome);
  do {
    world_run_until(fmax(world.now, world.held_until) + all_end_within);
  } while (world.held_until + all_end_within > world.now);
  for (int r = 1; r < ranks_count(); r++)
    if (!rank_of(r)->has_left && !rank_of(r)->is_lost) fault("rank %d has not ended", r);
  if (ranks_end() && memory.live != live) fault("%ld allocations were not given back", (long)(memory.live - live));
  outcome->efficiency = efficiency_of(plan, outcome->seconds, &costs);
}
