/* main.c - make simulate: draws schedules, runs each in virtual time, and prints what came of them. A schedule that
 * shows a fault is made simpler as long as it still does. Schedules run in a process of their own, so that one which
 * ends it is found too.
 *
 *     simulate SECONDS [SEED]   0 seconds: the schedule SEED alone */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cost.h"
#include "driver.h"
#include "lanes.h"
#include "memory.h"
#include "stack.h"
#include "system.h"
#include "workers.h"
#include "world.h"

/* One schedule may take so many seconds of the processor, and so many of the clock, on a machine that is busy. */
enum { MESSAGE = 512, KINDS = 3, LONGEST = 8, LONGEST_ASLEEP = 120 };

struct total {
  uint64_t schedules, tasks, events;
  double seconds; /* of this machine's processor */
};

/* What the process that runs schedules tells the one that waits for it. */
struct shared {
  uint64_t seed; /* of the schedule that runs */
  enum plan_kind kind;
  struct total total[KINDS];
  double efficiency, efficiency_least;
  uint64_t efficiency_count;
  char message[MESSAGE];
};
static struct shared *shared;

/* That of libc: a worker that calls _exit ends alone (system.c). */
_Noreturn void __real__exit(int status);

void fault(const char *format, ...)
{
  va_list list;
  va_start(list, format);
  vsnprintf(shared->message, MESSAGE, format, list);
  va_end(list);
  __real__exit(1);
}

/* Says how a process has ended that could not say it. */
static void explain(int status)
{
  int number = WTERMSIG(status);
  if (shared->message[0]) return;
  if (number == SIGPROF || number == SIGALRM)
    snprintf(shared->message, MESSAGE,
             "it took too long: a loop without end, or a cost that grows with the number of tasks");
  else
    snprintf(shared->message, MESSAGE, "ended by signal %d (%s)", number, strsignal(number));
}

static double processor_seconds(void)
{
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---- one schedule ---- */

static void set_faults(const struct plan *plan)
{
  static const double quick = 2e-6;
  bool is_bad = plan_has(plan, TROUBLE_WAKES);
  system_faults =
      (struct system_faults){.slow = is_bad ? plan->slow : quick, .no_barrier = plan_has(plan, TROUBLE_NO_BARRIER)};
  if (is_bad) system_faults.lost = plan->lost;
  if (is_bad) system_faults.spurious = plan->spurious;
  if (plan_is_interrupted(plan)) system_faults.interrupt = world.now + plan->cancel_at;
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

/* What list scheduling needs: each task to the worker that is free first. *longest: of the tasks. */
static double list_seconds(const struct plan *plan, double *longest)
{
  static double *free_at;
  uint32_t n = plan->workers;
  double last = 0;
  free_at = memory_own(free_at, (n + 1) * sizeof *free_at);
  for (uint32_t i = 1; i <= n; i++) free_at[i] = 0;
  for (uint32_t task = 1; task <= plan->tasks; task++) { /* a heap, the first to be free on top */
    double length = plan_length(plan, task, 1), at = free_at[1] + length;
    *longest = fmax(*longest, length);
    uint32_t i = 1;
    last = fmax(last, at);
    for (uint32_t child; (child = 2 * i) <= n; i = child) {
      if (child < n && free_at[child + 1] < free_at[child]) child++;
      if (free_at[child] >= at) break;
      free_at[i] = free_at[child];
    }
    free_at[i] = at;
  }
  return last;
}

/* Without trouble a run takes about as long as list scheduling: more than that is a wake-up that was missed, or work
 * that nobody was given. */
static void note_efficiency(const struct plan *plan, double seconds)
{
  static const double share = 1.1, start = 0.01, a_task = 40, latencies = 30;
  bool is_kept_away = plan->kind == PLAN_SLOTS && plan->preempted > 0;
  if (plan->troubles || plan->chunk > 0 || is_kept_away) return;
  double longest = 0, list = list_seconds(plan, &longest), efficiency = list / seconds;
  double most = list * share + longest + start + latencies * plan->latency + a_task * plan->tick * plan->tasks;
  if (seconds > most) fault("the run took %.3g s without trouble; list scheduling needs %.3g s", seconds, list);
  if (plan->kind != PLAN_LANES || plan->lengths != LENGTHS_HEAVY || plan->length < 1e-4 ||
      plan->tasks < 4 * plan->workers)
    return;
  shared->efficiency += efficiency;
  shared->efficiency_least = shared->efficiency_count ? fmin(shared->efficiency_least, efficiency) : efficiency;
  shared->efficiency_count++;
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
  for (uint32_t run = 1; run <= runs; run++)
    if (!drive(plan, &engine, plan->kind == PLAN_LANES ? &lane_simulated : NULL, run, outcome)) break;
  if (plan->kind == PLAN_LANES) lanes_end(&engine);
  engine_close(&engine);
}

static void note_schedule(const struct plan *plan, const struct outcome_of_run *outcome, double seconds)
{
  struct total *total = &shared->total[plan->kind];
  total->schedules++;
  total->tasks += outcome->tasks;
  total->events += world.events + outcome->events;
  total->seconds += seconds;
}

static double run_schedule(const struct plan *plan)
{
  static const double all_end_within = 100;
  struct outcome_of_run outcome = {0};
  double began = processor_seconds();
  struct itimerval timer = {.it_value.tv_sec = LONGEST};
  setitimer(ITIMER_PROF, &timer, NULL);
  alarm(LONGEST_ASLEEP);
  world_begin(plan->seed);
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
    outcome.tasks = plan->tasks;
    stack_run(plan);
    note_schedule(plan, &outcome, processor_seconds() - began);
    return 0;
  }
  run_engine(plan, &outcome);
  memory.failing = 0;
  world_run_until(world.now + all_end_within); /* abandoned workers come to their end */
  if (fibers_alive() > 0) fault("%u workers are left", (unsigned)fibers_alive());
  if (memory.live != live) fault("%ld allocations were not given back", (long)(memory.live - live));
  if (workers_slots_mapped() != 0) fault("%ld slots were not given back", (long)workers_slots_mapped());
  note_efficiency(plan, outcome.seconds);
  double seconds = processor_seconds() - began;
  note_schedule(plan, &outcome, seconds);
  return seconds;
}

/* ---- many ---- */

static void draw(struct plan *plan, enum plan_kind kind, uint64_t seed)
{
  world_begin(seed);
  plan_draw(plan, kind, seed);
}

/* One in so many schedules makes whole calls of the library, which take longer. */
enum { STACK_EACH = 40 };

static enum plan_kind kind_of(uint64_t seed)
{
  if (seed % STACK_EACH == 0) return PLAN_STACK;
  return seed % 3 ? PLAN_SLOTS : PLAN_LANES;
}

/* Runs the plan in a process of its own. True: it shows a fault, which shared->message tells. */
static bool fails(const struct plan *plan)
{
  int status = 0;
  shared->message[0] = 0;
  pid_t child = fork();
  if (child == 0) {
    run_schedule(plan);
    _exit(0);
  }
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (status == 0) return false;
  explain(status);
  return true;
}

static double efficiency_so_far(void)
{
  return shared->efficiency / (double)shared->efficiency_count;
}

static _Noreturn void run_many(double seconds, uint64_t first)
{
  time_t end = time(NULL) + (time_t)seconds;
  if (seconds > 0) {
    cost_check(run_schedule);
    balance_check(run_schedule, efficiency_so_far);
    shared->efficiency = 0;
    shared->efficiency_count = 0;
  }
  memset(shared->total, 0, sizeof shared->total);
  for (uint64_t seed = first; seed == first || time(NULL) < end; seed++) {
    struct plan plan;
    shared->seed = seed;
    shared->kind = kind_of(seed);
    draw(&plan, shared->kind, seed);
    if (shared->kind != PLAN_STACK)
      run_schedule(&plan);
    else if (fails(&plan))
      _exit(1);
  }
  _exit(0);
}

/* Makes a plan that fails simpler, one step at a time. */
static void simplify(struct plan *plan)
{
  for (bool is_simpler = true; is_simpler;) {
    is_simpler = false;
    for (int i = 0; i < TROUBLES; i++) {
      struct plan with = *plan;
      if (!plan_has(plan, (enum trouble)i)) continue;
      plan_drop(&with, (enum trouble)i);
      if (!fails(&with)) continue;
      *plan = with;
      is_simpler = true;
    }
    static const double shares[] = {0.1, 0.5, 0.8, 0.95};
    for (size_t i = 0; i < 2 * sizeof shares / sizeof *shares; i++) {
      struct plan with = *plan;
      uint32_t *what = i % 2 ? &with.tasks : &with.workers, before = *what;
      *what = (uint32_t)(before * shares[i / 2]);
      if (*what == 0) *what = 1;
      if (*what == before || !fails(&with)) continue;
      *plan = with;
      is_simpler = true;
    }
  }
}

static int report_fault(void)
{
  struct plan plan;
  uint64_t seed = shared->seed;
  enum plan_kind kind = shared->kind;
  printf("simulate: schedule %llu shows a fault: %s\n", (unsigned long long)seed, shared->message);
  if (seed == 0) return 1; /* of the costs */
  draw(&plan, kind, seed);
  plan_print(&plan, stdout);
  if (!fails(&plan)) {
    printf("  alone it shows none: what ran before it matters\n");
    return 1;
  }
  simplify(&plan);
  bool still = fails(&plan);
  printf("simulate: the simplest that shows one: %s\n", still ? shared->message : "none any more");
  plan_print(&plan, stdout);
  printf("  again: make simulate SEED=%llu\n", (unsigned long long)seed);
  return 1;
}

static void print_totals(void)
{
  static const char *const names[KINDS] = {"dispatcher over simulated lanes", "lanes over slots", "the stack"};
  uint64_t all = 0;
  for (int i = 0; i < KINDS; i++) {
    const struct total *total = &shared->total[i];
    all += total->schedules;
    if (total->schedules == 0) continue;
    printf("%-32s %8llu schedules %10llu tasks %11llu events %7.0f schedules a second\n", names[i],
           (unsigned long long)total->schedules, (unsigned long long)total->tasks, (unsigned long long)total->events,
           (double)total->schedules / total->seconds);
  }
  if (shared->efficiency_count)
    printf("heavy-tailed without trouble: %.1f %% of list scheduling (%llu schedules, the least %.1f %%)\n",
           100 * shared->efficiency / (double)shared->efficiency_count, (unsigned long long)shared->efficiency_count,
           100 * shared->efficiency_least);
  printf("simulate: %llu schedules, no fault\n", (unsigned long long)all);
}

int main(int argc, char **argv)
{
  double seconds = argc > 1 ? strtod(argv[1], NULL) : 60;
  uint64_t seed = argc > 2 && argv[2][0] ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000;
  int status = 0;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("simulate: seed %llu\n", (unsigned long long)seed);
  pid_t child = fork();
  if (child == 0) run_many(seconds, seed);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (status) {
    explain(status);
    return report_fault();
  }
  print_totals();
  return 0;
}
