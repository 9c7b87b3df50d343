/* system.c - src/sys in virtual time, for ranks: each has its own time while it works (rank.h). */
#include "system.h"
#include "schedule.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"
#include "rank.h"
#include "sys/clock.h"
#include "sys/hub.h"
#include "world.h"

enum { FIRST_BELL_FD = 1 << 28 };

/* A rank that gives the processor away gets it back after a while, which is longer each time that it does nothing else:
 * one that waits for a rank which will not answer would be looked at millions of times. */
static const double yield_least = 1e-6, yield_most = 1e-3, yield_growth = 1.05;

void system_begin(void)
{
}

int system_bell_of(int rank)
{
  return FIRST_BELL_FD + rank;
}

struct simulated_rank *system_rank_of(int bell_fd)
{
  return rank_of(bell_fd - FIRST_BELL_FD);
}

/* ---- clock ---- */

double clock_seconds(void)
{
  /* So far a rank's time may be ahead of its workers': else a task that has just begun has run for long by its clock.
   */
  static const double most_ahead = 20e-6;
  here->debt += ranks_costs()->round;
  if (here->debt > most_ahead) rank_pay();
  if (!fiber_running()) {
    spent.rounds++;
    world_look();
  }
  return world.now + here->debt;
}

bool system_is_cut_off(const struct engine *engine)
{
  return system_rank_of(engine->hub.bell_fd)->is_orphan;
}

double system_ahead(void)
{
  return here->debt;
}

/* ---- hub ---- */

int hub_open(struct hub *hub, uint32_t numbers)
{
  (void)hub, (void)numbers;
  fault("a hub of its own is opened in rank %d", here->number);
}

int hub_sleep(struct hub *hub, double seconds, uint32_t *ended, int most)
{
  struct simulated_rank *rank = here;
  (void)ended, (void)most;
  rank->yield = 0;
  rank_pay();
  double until = world.now + fmin(seconds, 1e9);
  __atomic_store_n(&hub->beacon->asleep, 1, __ATOMIC_SEQ_CST);
  bool is_awake = beacon_has_news(hub->beacon, &hub->reader) || random_chance(system_faults.spurious);
  double began = fiber_running() ? 0 : processor_seconds();
  while (!is_awake && !rank->is_rung && world.now < until) {
    if (fiber_running())
      fiber_wait(rank, until - world.now);
    else if (!world_step(until))
      world.now = until;
  }
  if (!fiber_running()) spent.aside += processor_seconds() - began;
  hub->beacon->asleep = 0;
  rank->is_rung = false;
  rank_pay(); /* it may be stalled */
  return 0;
}

/* The end of a worker is news of it: engines whose workers ring at their end. */
void system_tell_end(const struct bell *bell)
{
  bell_ring(bell);
}

void system_ring(const struct bell *bell)
{
  if (!random_chance(system_faults.lost)) bell_ring(bell);
}

static void wake(void *what, uint64_t which)
{
  struct simulated_rank *rank = what;
  (void)which;
  rank->is_rung = true;
  if (rank->fiber && !rank->is_lost) fiber_wake_one(rank->fiber, rank);
}

/* ---- signals ---- */

int __wrap_signals_count(void);

int __wrap_signals_count(void)
{
  return here->number == 0 ? system_signals_seen() : 0;
}

/* What an agent does with signals is not for this process. */
typedef void signal_handler(int number);
signal_handler *__wrap_signal(int number, signal_handler *handler);

signal_handler *__wrap_signal(int number, signal_handler *handler)
{
  (void)number;
  return handler;
}

/* ---- system calls, by the linker's --wrap ---- */

int __real_fstat(int fd, struct stat *info);
int __wrap_fstat(int fd, struct stat *info);
ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
int __wrap_sched_yield(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

int __wrap_fstat(int fd, struct stat *info)
{
  if (fd < FIRST_BELL_FD) return __real_fstat(fd, info);
  memset(info, 0, sizeof *info);
  return 0;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
  if (fd < FIRST_BELL_FD) return __real_write(fd, bytes, length);
  if (!random_chance(system_faults.lost))
    world_at(world.now + random_about(system_faults.slow), wake, system_rank_of(fd), 0);
  return (ssize_t)length;
}

_Noreturn void __wrap__exit(int status)
{
  __real__exit(status);
}

static void sleep_for(double seconds)
{
  here->debt += seconds;
  here->worked -= seconds;
  rank_pay();
}

int __wrap_sched_yield(void)
{
  here->yield = fmin(fmax(here->yield * yield_growth, yield_least), yield_most);
  sleep_for(here->yield);
  return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
  (void)left;
  sleep_for((double)time->tv_sec + (double)time->tv_nsec * 1e-9);
  return 0;
}

/* ---- slots' workers (world.c): there are none ---- */

void worker_stores(void);
void worker_may_die(void);

void worker_stores(void)
{
}

void worker_may_die(void)
{
}
