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

#include "schedule.h"
#include "world.h"

/* One schedule may take so many seconds of the processor, and so many of the clock, on a machine that is busy. */
enum { MESSAGE = 512, LONGEST = 60, LONGEST_ASLEEP = 1800 };

struct total {
  uint64_t schedules, tasks, events;
  double seconds; /* of this machine's processor */
};

/* What the process that runs schedules tells the one that waits for it. */
struct shared {
  uint64_t seed; /* of the schedule that runs */
  struct total total[PLAN_KINDS];
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

double processor_seconds(void)
{
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---- one schedule ---- */

static void note_schedule(const struct plan *plan, const struct outcome_of_run *outcome, double seconds)
{
  struct total *total = &shared->total[plan->kind];
  total->schedules++;
  total->tasks += outcome->tasks;
  total->events += world.events + outcome->events;
  total->seconds += seconds;
}

static void note_efficiency(double efficiency)
{
  if (efficiency <= 0) return;
  shared->efficiency += efficiency;
  shared->efficiency_least = shared->efficiency_count ? fmin(shared->efficiency_least, efficiency) : efficiency;
  shared->efficiency_count++;
}

static double run_schedule(const struct plan *plan)
{
  struct outcome_of_run outcome = {0};
  double began = processor_seconds();
  struct itimerval timer = {.it_value.tv_sec = LONGEST};
  setitimer(ITIMER_PROF, &timer, NULL);
  alarm(LONGEST_ASLEEP);
  world_begin(plan->seed);
  schedule_run(plan, &outcome);
  double seconds = processor_seconds() - began;
  note_efficiency(outcome.efficiency);
  note_schedule(plan, &outcome, seconds);
  return seconds;
}

/* ---- many ---- */

static void draw(struct plan *plan, uint64_t seed)
{
  world_begin(seed);
  schedule_draw(plan, seed);
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

/* On average, over the runs since this was asked last. */
static double take_efficiency(void)
{
  double efficiency = shared->efficiency / (double)shared->efficiency_count;
  shared->efficiency = 0;
  shared->efficiency_count = 0;
  return efficiency;
}

static _Noreturn void run_many(double seconds, uint64_t first)
{
  time_t end = time(NULL) + (time_t)seconds;
  if (seconds > 0) {
    schedule_check(run_schedule, take_efficiency);
  }
  memset(shared->total, 0, sizeof shared->total);
  for (uint64_t seed = first; seed == first || time(NULL) < end; seed++) {
    struct plan plan;
    shared->seed = seed;
    draw(&plan, seed);
    if (!schedule_is_apart(&plan))
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
  printf("simulate: schedule %llu shows a fault: %s\n", (unsigned long long)seed, shared->message);
  if (seed == 0) return 1; /* of the costs */
  draw(&plan, seed);
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
  uint64_t all = 0;
  for (int i = 0; i < PLAN_KINDS; i++) {
    const struct total *total = &shared->total[i];
    all += total->schedules;
    if (total->schedules == 0) continue;
    printf("%-32s %8llu schedules %10llu tasks %11llu events %7.0f schedules a second\n", schedule_kinds[i],
           (unsigned long long)total->schedules, (unsigned long long)total->tasks, (unsigned long long)total->events,
           (double)total->schedules / total->seconds);
  }
  if (shared->efficiency_count)
    printf("uneven tasks without trouble: %.1f %% of list scheduling (%llu schedules, the least %.1f %%)\n",
           100 * shared->efficiency / (double)shared->efficiency_count, (unsigned long long)shared->efficiency_count,
           100 * shared->efficiency_least);
  printf("simulate: %llu schedules, no fault\n", (unsigned long long)all);
}

int main(int argc, char **argv)
{
  if (argc > 1 && schedule_measure(argc - 1, argv + 1)) return 0;
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
