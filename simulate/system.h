/* system.h - what stands in for src/sys in virtual time: how badly it may behave. */
#ifndef SIMULATE_SYSTEM_H
#define SIMULATE_SYSTEM_H
#include <stdbool.h>
#include <stdint.h>

struct bell;

struct system_faults {
  double lost;      /* probability that a wake-up does not come, */
  double spurious;  /* that one comes for nothing, */
  double slow;      /* seconds, on average, that one takes */
  bool no_barrier;  /* there is no membarrier(2) */
  double interrupt; /* when a SIGINT comes; 0: none */
};
extern struct system_faults system_faults;

void system_begin(void);
/* Worker `number` has ended: its descriptor tells the hub that sleeps, after a while. */
void system_tell_end(uint32_t number);
/* Rings for worker `number`, as its own code does. */
void system_ring(const struct bell *bell);

#endif
