/* hub.h - where a coordinator sleeps: until a worker rings, a worker process ends, a signal comes, or time is up. */
#ifndef PARLUA_HUB_H
#define PARLUA_HUB_H
#include "sys/bell.h"

/* A coordinator looks again for this long before it sleeps, if its last wait was as short: it may share a processor
 * with a worker, who needs it more. A round trip between two that look takes 0.3 us, between two that sleep 10 us
 * (measured). */
static const double spin_seconds = 20e-6;
/* A worker that sleeps on an idle processor takes some 40 us to wake, and a coordinator that sleeps meanwhile as long
 * again (bench/awake.c): after a worker was woken, it looks again for this long. */
static const double wake_seconds = 100e-6;
/* Who looks again offers the processor to others after this: the worker that is to answer may wait for it. The kernel
 * often puts the two on one processor, as one wakes the other; there a call with its answer took 12 us with 4 us here,
 * and takes 6 us (bench/futures.lua). */
static const double yield_seconds = 0.5e-6;

struct hub {
  struct beacon *beacon;
  struct beacon_reader reader;
  int bell_fd;      /* eventfd: what rings */
  int poll_fd;      /* epoll over it and the ends of worker processes */
  size_t bytes;     /* of the beacon; 0: it is somebody else's, and so is the eventfd */
  double last_wait; /* seconds: decides whether looking again before sleeping pays */
  bool has_woken;   /* a worker that slept was woken since the last sleep: see hub_expect_wake */
};

/* A hub for workers numbered below `numbers`. Returns 0, or an errno. */
int hub_open(struct hub *hub, uint32_t numbers);
/* A hub that sleeps on a beacon which exists already, and on which others may sleep as well. Returns 0, or an errno. */
int hub_open_on(struct hub *hub, struct beacon *beacon, uint32_t numbers, int bell_fd);
void hub_close(struct hub *hub);
/* The bell of worker `number`: to be handed to it. */
struct bell hub_bell(const struct hub *hub, uint32_t number);

/* Reports the end of process `pid` (descriptor from pidfd_open) as worker `number`; see hub_sleep. Returns 0 or an
 * errno. */
int hub_watch(struct hub *hub, int pid_fd, uint32_t number);
/* Before the descriptor is closed: closing alone would not do, as workers that were forked meanwhile hold it too. */
void hub_unwatch(struct hub *hub, int pid_fd);

/* The next worker that has rung; false: none has. */
bool hub_next_ready(struct hub *hub, uint32_t *number);
/* Sleeps until a worker rings or ends, a signal comes, or `seconds` are over; where that paid lately, it looks again
 * for a while before it sleeps. Returns at once when there is news. Stores the numbers of up to `most` workers whose
 * process ended; returns how many. */
int hub_sleep(struct hub *hub, double seconds, uint32_t *ended, int most);
/* Ends the sleep of another thread on this hub. */
void hub_ring(const struct hub *hub);
/* The next sleep may be long: it is not worth looking again before it. */
void hub_expect_long(struct hub *hub);
/* A worker that slept has got something to do, and is expected to have done with it soon. */
void hub_expect_wake(struct hub *hub);

#endif
