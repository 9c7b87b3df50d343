/* nursery.h - a helper process that forks workers for a process that must not fork any more: forking is unsafe on some
 * networks once MPI has been initialised. It is forked itself before that, small and without a Lua state, and forks
 * workers on request: each makes a Lua state of its own and works on a slot whose memory comes as a descriptor. Workers
 * die with the helper, the helper with the process that opened it. */
#ifndef PARLUA_NURSERY_H
#define PARLUA_NURSERY_H
#include <sys/types.h>

#include "slot/slot.h"
#include "sys/bell.h"

/* Workers are numbered below this, whatever engine they belong to; the helper rings as this number. */
enum { NURSERY_NUMBERS = 65535 };

struct nursery_report;

struct nursery {
  int socket;            /* to the helper; -1: there is none */
  pid_t pid;             /* the helper */
  uint32_t *reports;     /* shared: reports sent */
  uint32_t taken;        /* reports taken */
  struct beacon *beacon; /* on which workers ring, and the helper when a worker has ended */
  int bell_fd;
  struct nursery_report *kept; /* reports that came while an order waited for room */
  uint32_t kept_count, kept_at;
};

/* The end of a worker. */
struct nursery_report {
  uint32_t worker, life; /* as given to nursery_start */
  int32_t status;        /* as from wait(2) */
  uint32_t starved;      /* the kernel has ended it for lack of memory */
};

/* Forks the helper. Returns 0 or an errno. */
int nursery_open(struct nursery *nursery);
/* Starts a worker numbered `worker` on the slot behind the descriptor `slot_file` (see slot.h), with at most `memory`
 * bytes beyond what it begins with (0: no limit). `life` tells workers of the same number apart. Returns 0 or
 * an errno. */
int nursery_start(struct nursery *nursery, uint32_t worker, uint32_t life, int slot_file, uint64_t memory);
/* Kills the worker if it still lives. Returns 0 or an errno. */
int nursery_kill(struct nursery *nursery, uint32_t worker, uint32_t life);
/* Takes the next report of a worker that has ended; false: there is none. Without a report it costs one load. */
bool nursery_next(struct nursery *nursery, struct nursery_report *report);
/* Does the helper live? Where it does not, killed by somebody, its workers are gone too. One system call. */
bool nursery_alive(const struct nursery *nursery);
/* Kills all workers and the helper, and waits for it. */
void nursery_close(struct nursery *nursery);
#endif
