/* hub.c - what both worlds (system.c, ranks/system.c) share of src/sys in virtual time: a hub but for its sleep,
 * signals, and how badly wake-ups may behave. See system.h. */
#include <signal.h>
#include <unistd.h>

#include "memory.h"
#include "plan.h"
#include "sys/hub.h"
#include "system.h"
#include "world.h"

struct system_faults system_faults;

static int signals_seen;

void system_misbehave(const struct plan *plan)
{
  static const double quick = 2e-6;
  bool is_bad = plan_has(plan, TROUBLE_WAKES);
  system_faults =
      (struct system_faults){.slow = is_bad ? plan->slow : quick, .no_barrier = plan_has(plan, TROUBLE_NO_BARRIER)};
  if (is_bad) system_faults.lost = plan->lost;
  if (is_bad) system_faults.spurious = plan->spurious;
  if (plan_is_interrupted(plan)) system_faults.interrupt = world.now + plan->cancel_at;
  signals_seen = 0;
}

int system_signals_seen(void)
{
  return signals_seen;
}

/* ---- hub ---- */

int hub_open_on(struct hub *hub, struct beacon *beacon, uint32_t numbers, int bell_fd)
{
  *hub = (struct hub){.beacon = beacon, .reader = beacon_reader(numbers), .bell_fd = bell_fd, .poll_fd = -1};
  return 0;
}

void hub_close(struct hub *hub)
{
  if (hub->bytes) memory_own_free(hub->beacon);
  *hub = (struct hub){.bell_fd = -1, .poll_fd = -1};
}

struct bell hub_bell(const struct hub *hub, uint32_t number)
{
  return (struct bell){hub->beacon, hub->bell_fd, number};
}

int hub_watch(struct hub *hub, int pid_fd, uint32_t number)
{
  (void)hub, (void)pid_fd, (void)number;
  return 0;
}

void hub_unwatch(struct hub *hub, int pid_fd)
{
  (void)hub, (void)pid_fd;
}

bool hub_next_ready(struct hub *hub, uint32_t *number)
{
  return beacon_next(hub->beacon, &hub->reader, number);
}

void hub_ring(const struct hub *hub)
{
  static const uint64_t one = 1;
  if (write(hub->bell_fd, &one, sizeof one) < 0) fault("the bell can't be rung");
}

void hub_expect_long(struct hub *hub)
{
  hub->last_wait = 1;
}

void hub_expect_wake(struct hub *hub)
{
  hub->has_woken = true;
}

/* ---- signals: none is caught; one comes when the schedule says so ---- */

void __wrap_signals_begin(int wake_fd, bool is_timed);
void __wrap_signals_end(int wake_fd);
int __wrap_signals_pending(void);

void __wrap_signals_begin(int wake_fd, bool is_timed)
{
  (void)wake_fd, (void)is_timed;
}

void __wrap_signals_end(int wake_fd)
{
  (void)wake_fd;
}

int __wrap_signals_pending(void)
{
  if (signals_seen > 0 || system_faults.interrupt <= 0 || world.now < system_faults.interrupt) return 0;
  signals_seen++;
  return SIGINT;
}
