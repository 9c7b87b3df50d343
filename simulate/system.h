/* system.h - what stands in for src/sys in virtual time: how badly it may behave. */
#ifndef SIMULATE_SYSTEM_H
#define SIMULATE_SYSTEM_H
#include <stdbool.h>
#include <stdint.h>

struct bell;
struct plan;
struct engine;
struct simulated_rank;

struct system_faults {
  double lost;      /* probability that a wake-up does not come, */
  double spurious;  /* that one comes for nothing, */
  double slow;      /* seconds, on average, that one takes */
  bool no_barrier;  /* there is no membarrier(2) */
  double interrupt; /* when a SIGINT comes; 0: none */
};
extern struct system_faults system_faults;

void system_begin(void);
/* Wake-ups are as bad as the plan wants them, and a signal comes where it wants one; none was seen so far. */
void system_misbehave(const struct plan *plan);
/* How many signals have come. */
int system_signals_seen(void);
/* Lets things happen until the bell of system_begin's hub is rung, and takes that; false: it was not until then. */
bool system_wait_bell(double until);
/* The worker whose bell this is has ended: its descriptor tells the hub that sleeps, after a while. */
void system_tell_end(const struct bell *bell);
/* Rings for worker `number`, as its own code does. */
void system_ring(const struct bell *bell);
/* Seconds by which the caller's own time is ahead of world.now: work that it has yet to pay for (ranks/rank.h). */
double system_ahead(void);
/* Does what the engine's workers do concern nobody any more, as their rank has lost its parent? */
bool system_is_cut_off(const struct engine *engine);
/* Where there are ranks: the descriptor on which one of them sleeps. */
int system_bell_of(int rank);
/* And whose a descriptor is. */
struct simulated_rank *system_rank_of(int bell_fd);

#endif
