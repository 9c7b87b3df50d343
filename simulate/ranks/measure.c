/* measure.c - see measure.h. Each row is one run without trouble. */
#include "measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "engines/mpi/report.h"
#include "ideal.h"
#include "lanes.h"
#include "memory.h"
#include "network.h"
#include "rank.h"
#include "run/dispatch.h"
#include "schedule.h"
#include "system.h"
#include "world.h"

/* What a message costs is measured by `bench/ping.c costs` (docs/MPI.md): Open MPI 4.1 takes 0.04 to 0.07, 0.14 to 0.18
 * and 0.18 to 0.25 us over shared memory. Several times as much is charged, as over a fast network. `round`: what the
 * dispatcher's own code takes an event, measured here. */
static const struct costs charged = {.look = 0.3e-6, .send = 1e-6, .receive = 1e-6, .byte = 2e-10, .round = 0.2e-6};
static const struct network cluster = {.latency = 1e-6, .least = 2e-6, .bytes_per_second = 5e9};

struct row {
  uint32_t ranks, workers, tasks_each;
  enum lengths lengths;
  double length; /* seconds, on average; the least of broad ones */
  uint64_t seed;
  const struct costs *costs; /* NULL: those that are charged elsewhere */
};

static const struct row rows[] = {
    {1, 64, 400, LENGTHS_EXPONENTIAL, 1e-3, 1, NULL},       {10, 640, 400, LENGTHS_EXPONENTIAL, 1e-3, 1, NULL},
    {100, 6400, 1000, LENGTHS_EXPONENTIAL, 1e-3, 1, NULL},  {1000, 64000, 400, LENGTHS_EXPONENTIAL, 1e-3, 1, NULL},
    {1000, 64000, 100, LENGTHS_EXPONENTIAL, 1e-2, 1, NULL}, {10000, 640000, 4, LENGTHS_EXPONENTIAL, 1e-2, 1, NULL},
    {1000, 64000, 50, LENGTHS_BROAD, 0.1, 1, NULL},
};

/* Seconds that rank 0 worked, of a run of so many. */
static double share(const struct simulated_rank *rank, double seconds)
{
  return 100 * rank->worked / seconds;
}

static double most_share(double seconds)
{
  double most = 0;
  for (int r = 1; r < ranks_count(); r++) most = fmax(most, share(rank_of(r), seconds));
  return most;
}

/* What the dispatcher's code takes in rank 0, by this machine's processor. */
void __real_dispatch_next(struct dispatch *d, struct event *event, double wait);
void __wrap_dispatch_next(struct dispatch *d, struct event *event, double wait);

void __wrap_dispatch_next(struct dispatch *d, struct event *event, double wait)
{
  double began = processor_seconds(), aside = spent.aside;
  __real_dispatch_next(d, event, wait);
  spent.seconds += processor_seconds() - began - (spent.aside - aside);
}

static void measure_row(const struct row *row)
{
  static const char *const lengths[] = {"none", "same", "exponential", "heavy-tailed", "rarely long", "", "1 to 1,000"};
  struct plan plan = {.kind = PLAN_LANES, .seed = row->seed, .engine = ENGINE_KEPT, .workers = row->workers, .runs = 1};
  struct outcome_of_run outcome = {0};
  struct engine engine;
  plan.tasks = row->workers * row->tasks_each;
  plan.lengths = row->lengths;
  plan.length = row->length;
  plan.depth = 2;
  plan.ranks = row->ranks;
  plan.ranks_a_host = 1;
  plan.fan = 256;
  plan.latency = cluster.latency;
  world_begin(row->seed);
  world.patience = 1e9;
  system_begin();
  lanes_begin();
  system_faults = (struct system_faults){.slow = 5e-6};
  network = cluster;
  ranks_begin(&plan, row->costs ? row->costs : &charged);
  if (engine_open(&engine, &engine_mpi, plan.workers)) fault("the engine could not be opened");
  double began = world.now;
  drive(&plan, &engine, 1, &outcome);
  double seconds = world.now - began, longest = 0, ideal = ideal_seconds(&plan, &longest);
  printf("%6u %8u %10u  %-12s %6.4g  %9.3f  %6.1f  %6.1f  %6.1f  %10.0f %8.2f %6.1f  %6.2f\n", (unsigned)row->ranks,
         (unsigned)row->workers, (unsigned)plan.tasks, lengths[row->lengths], row->length * 1e3, outcome.seconds,
         100 * ideal / outcome.seconds, share(rank_of(0), seconds), most_share(seconds),
         (double)network.messages / seconds, (double)network.bytes / 1e6, (double)memory.most_own / 1e6,
         1e6 * spent.seconds / (double)outcome.events);
  printf("        reports %llu: records of results %llu, given back %llu; ranges %llu, asked %llu, room %llu\n",
         (unsigned long long)network.notes[NOTE_REPORT], (unsigned long long)network.records[RECORD_RESULTS],
         (unsigned long long)network.records[RECORD_GIVEN], (unsigned long long)network.notes[NOTE_GIVE],
         (unsigned long long)network.notes[NOTE_ASK], (unsigned long long)network.notes[NOTE_USED]);
  engine_close(&engine);
  mpi_leave(0, false);
  ranks_end();
  fibers_clear();
}

/* A row of the command line: ranks, workers of each, tasks for each of these, their mean in ms; or, before "broad", the
 * length of the shortest. Behind it, or behind "exponential", the seed: a short job depends on it by some percent.
 * Behind that, what a look in vain costs, a message sent, and one received, in us. */
static struct row row_of(int count, char **arguments)
{
  static struct costs costs;
  uint32_t ranks = (uint32_t)atoi(arguments[0]);
  costs = charged;
  if (count > 8) {
    costs.look = 1e-6 * atof(arguments[6]);
    costs.send = 1e-6 * atof(arguments[7]);
    costs.receive = 1e-6 * atof(arguments[8]);
  }
  return (struct row){.ranks = ranks,
                      .workers = ranks * (uint32_t)atoi(arguments[1]),
                      .tasks_each = (uint32_t)atoi(arguments[2]),
                      .lengths = count > 4 && strcmp(arguments[4], "broad") == 0 ? LENGTHS_BROAD : LENGTHS_EXPONENTIAL,
                      .length = 1e-3 * atof(arguments[3]),
                      .seed = count > 5 ? strtoull(arguments[5], NULL, 10) : 1,
                      .costs = &costs};
}

bool measure(int count, char **arguments)
{
  if (count < 1 || strcmp(arguments[0], "measure") != 0) return false;
  printf(" ranks  workers      tasks  lengths     mean ms    seconds  %% of   rank 0  other   messages   MB at  MB of  "
         "us an\n"
         "                                                            ideal   busy %%  busy %%  a second   rank 0 rank "
         "0\n");
  if (count >= 5) {
    struct row row = row_of(count - 1, arguments + 1);
    measure_row(&row);
    return true;
  }
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (count < 2 || (size_t)atoi(arguments[1]) == i + 1) measure_row(&rows[i]);
  return true;
}
