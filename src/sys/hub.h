/* hub.h - where the coordinator sleeps: until a worker rings, a worker process ends, a signal comes, or time is up. */
#ifndef PARLUA_HUB_H
#define PARLUA_HUB_H
#include "slot/slot.h"

struct hub {
  struct bell bell;
  int poll_fd;      /* epoll over the bell and the ends of worker processes */
  int shared;       /* the bell is somebody else's */
  double last_wait; /* seconds: decides whether looking again before sleeping pays */
};

/* `bell`: one that exists already, and that others may sleep on as well; NULL: a new one. Returns 0, or an errno. */
int hub_open(struct hub *hub, const struct bell *bell);
void hub_close(struct hub *hub);
/* Reports the end of process `pid` (descriptor from pidfd_open) as worker `w`; see hub_wait. Returns 0 or an errno. */
int hub_watch(struct hub *hub, int pid_fd, uint32_t w);
/* Before the descriptor is closed: closing alone would not do, as workers that were forked meanwhile hold it too. */
void hub_unwatch(struct hub *hub, int pid_fd);
/* Says that the coordinator is about to sleep: look once more for work, then call hub_wait or hub_awake. */
void hub_asleep(struct hub *hub);
void hub_awake(struct hub *hub);
/* Sleeps up to `seconds`. Stores the numbers of up to `most` workers whose process ended; returns how many. */
int hub_wait(struct hub *hub, double seconds, uint32_t *ended, int most);

/* Signals. While at least one run is at work, the first SIGINT, SIGTERM or SIGHUP is noted instead of ending the program; the
 * second ends it. */
void signals_begin(const struct bell *bell, bool is_timed); /* bell: to be rung, or NULL; is_timed: see signals_continue */
void signals_end(const struct bell *bell);                  /* as for signals_begin */
void signals_changed(void);                                 /* handlers were set elsewhere: the next run sets its own again */
/* A caught signal also sets *cell to -1 (the limit of a serial run); NULL: none. Returns the cell before. */
volatile double *signals_watch(volatile double *cell);
/* In a handler: signals are the main thread's, which runs the script. In another thread: passes the signal on and returns true.
 * Threads of tasks don't block signals, as the programs that tasks run would inherit that. */
bool signals_pass_to_main(int number);
/* For a program that answers a signal in its own time: it comes once more, from a timer, if `begin` is not followed by its end
 * soon. Prepare before the first. */
void signals_prepare(void);
void signals_grace(int number, bool begin);
int signals_count(void); /* how many were caught since signals_begin of the outermost run */
/* For a prompt: `observer` is called in the handler for each signal that is caught in a run, and the second Ctrl-C does
 * not end the program. */
void signals_observe(void (*observer)(int number));
void signals_forget(void); /* what was caught is dealt with: the next signal is a first one */
/* Has this process been stopped and continued since this was last asked, in a run that is timed? What was measured by the clock
 * then means nothing. */
bool signals_continue(void);
#endif
