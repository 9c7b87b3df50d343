/* system.c - src/sys in virtual time: the clock, the hub's sleep, the barrier, signals, and the system calls by which
 * the two sides wake each other. */
#include "system.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

#include "memory.h"
#include "sys/barrier.h"
#include "sys/clock.h"
#include "sys/hub.h"
#include "workers.h"
#include "world.h"

/* Whoever is woken wakes within this time, where nothing goes wrong; and news that stood there for so long
 * was missed. */
static const double quick = 1e-4, unnoticed = 5e-3;

enum { BELL_FD = 1 << 30 };

static bool is_rung;
static uint32_t *ends, ends_count, ends_room;

void system_begin(void)
{
  is_rung = false;
  ends_count = 0;
}

/* ---- clock ---- */

double clock_seconds(void)
{
  if (!fiber_running()) {
    world.now += world.tick;
    world_look();
  }
  return world.now;
}

bool system_is_cut_off(const struct engine *engine)
{
  (void)engine;
  return false;
}

double system_ahead(void)
{
  return 0;
}

/* ---- hub ---- */

int hub_open(struct hub *hub, uint32_t numbers)
{
  size_t bytes = beacon_bytes(numbers);
  *hub = (struct hub){.bytes = bytes, .bell_fd = BELL_FD, .poll_fd = -1};
  hub->beacon = memory_own(NULL, bytes);
  memset(hub->beacon, 0, bytes);
  hub->reader = beacon_reader(numbers);
  return 0;
}

/* As beacon_has_news, but it is the simulation that looks, not the coordinator: nobody goes on meanwhile. */
static bool has_news(const struct hub *hub)
{
  uint32_t slice = world.slice;
  world.slice = 0;
  bool has = beacon_has_news(hub->beacon, &hub->reader);
  world.slice = slice;
  return has;
}

/* A sleep that nothing has ended but its time: did news stand there all the while? Then only looks from time to time
 * find them. */
static void check_sleep(const struct hub *hub, bool had_news)
{
  uint32_t number;
  if (had_news && has_news(hub)) fault("the coordinator sleeps on, though it was told of news");
  if (workers_still_unread(&number))
    fault("the coordinator sleeps on, though worker %u has results for it", (unsigned)number + 1);
}

int hub_sleep(struct hub *hub, double seconds, uint32_t *ended, int most)
{
  double until = world.now + fmin(seconds, 1e9), noted_at = INFINITY;
  int count = 0;
  bool is_bad = system_faults.lost > 0 || system_faults.slow > quick, had_news = false;
  __atomic_store_n(&hub->beacon->asleep, 1, __ATOMIC_SEQ_CST);
  bool is_awake = beacon_has_news(hub->beacon, &hub->reader) || random_chance(system_faults.spurious);
  bool is_checked = until - world.now > 2 * unnoticed && seconds < 1e9 && !is_bad; /* it may have been kept away */
  double note_at = is_checked ? until - unnoticed : INFINITY;
  while (!is_awake && !is_rung && ends_count == 0 && world.now < until) {
    if (!world_step(fmin(until, note_at))) world.now = fmin(until, note_at);
    if (world.now < note_at) continue;
    had_news = has_news(hub);
    workers_note_unread();
    noted_at = world.now;
    note_at = INFINITY;
  }
  bool is_timed_out = !is_awake && !is_rung && ends_count == 0;
  if (is_timed_out && world.now - noted_at > unnoticed / 2) check_sleep(hub, had_news);
  hub->beacon->asleep = 0;
  is_rung = false;
  for (; ends_count > 0 && count < most; count++) ended[count] = ends[--ends_count];
  clock_seconds();
  return count;
}

bool system_wait_bell(double until)
{
  while (!is_rung && world_step(until)) continue;
  bool was_rung = is_rung;
  is_rung = false;
  return was_rung;
}

static void tell_end(void *what, uint64_t number)
{
  (void)what;
  if (ends_count == ends_room) {
    ends_room = ends_room ? 2 * ends_room : 256;
    ends = memory_own(ends, ends_room * sizeof *ends);
  }
  ends[ends_count++] = (uint32_t)number;
}

void system_tell_end(const struct bell *bell)
{
  world_at(world.now + random_about(system_faults.slow), tell_end, NULL, bell->number);
}

static void set_rung(void *what, uint64_t which)
{
  (void)what, (void)which;
  is_rung = true;
}

void system_ring(const struct bell *bell)
{
  if (!random_chance(system_faults.lost)) bell_ring(bell);
}

/* ---- the barrier ---- */

bool barrier_join(void)
{
  return !system_faults.no_barrier;
}

bool barrier_works(void)
{
  return !system_faults.no_barrier;
}

void interleave(int is_store);

bool barrier_all(void)
{
  interleave(1);
  workers_all_store();
  interleave(0);
  return true;
}

/* ---- system calls, by the linker's --wrap ---- */

int __real_fstat(int fd, struct stat *info);
int __wrap_fstat(int fd, struct stat *info);
ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, ...);
int __real_sched_yield(void);
int __wrap_sched_yield(void);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

int __wrap_fstat(int fd, struct stat *info)
{
  if (fd != BELL_FD) return __real_fstat(fd, info);
  memset(info, 0, sizeof *info);
  return 0;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
  if (fd != BELL_FD) return __real_write(fd, bytes, length);
  if (!random_chance(system_faults.lost)) world_at(world.now + random_about(system_faults.slow), set_rung, NULL, 0);
  return (ssize_t)length;
}

static void wake_sleeper(void *what, uint64_t which)
{
  (void)which;
  fiber_wake(what);
}

static long futex(uint32_t *cell, long operation, uint32_t value)
{
  static const double longest_spurious = 0.05;
  if ((operation & FUTEX_CMD_MASK) == FUTEX_WAKE) {
    world_at(world.now + random_about(system_faults.slow), wake_sleeper, cell, 0);
    return 0;
  }
  if (fiber_running() && *cell == value)
    fiber_wait(cell, random_chance(system_faults.spurious) ? longest_spurious * random_unit() : 0);
  return 0;
}

long __wrap_syscall(long number, ...)
{
  va_list list;
  long a[6];
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_futex) return futex((uint32_t *)a[0], a[1], (uint32_t)a[2]);
  return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __wrap_sched_yield(void)
{
  static const double other_runs = 30e-6;
  if (!fiber_running()) return __real_sched_yield();
  fiber_sleep(other_runs * random_unit() + 1e-7);
  return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
  double seconds = (double)time->tv_sec + (double)time->tv_nsec * 1e-9;
  (void)left;
  if (fiber_running())
    fiber_sleep(seconds);
  else
    world_run_until(world.now + seconds);
  return 0;
}

_Noreturn void __wrap__exit(int status)
{
  if (fiber_running()) worker_exits(status);
  __real__exit(status);
}
