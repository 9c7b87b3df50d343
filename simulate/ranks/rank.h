/* rank.h - the ranks of a simulated MPI job. Rank 0 is the coordinator, driven as in the other schedules (driver.h);
 * each other rank is a fiber that runs agent.c as it ships, over lanes without slots (lanes.h). What src/engines/mpi
 * keeps in variables of the process is exchanged when another rank has its turn. A rank's work takes time of its own:
 * what it costs is summed up, and paid when the rank sleeps or finds nothing to do. */
#ifndef SIMULATE_RANK_H
#define SIMULATE_RANK_H
#include "engines/mpi/agent.h"
#include "engines/mpi/mpi.h"
#include "plan.h"

/* Seconds of a rank's processor time. */
struct costs {
  double look;    /* for a message, in vain */
  double send;    /* a message */
  double receive; /* one */
  double byte;    /* of either, each */
  double round;   /* of the dispatcher: an event, or a look at its lanes */
};

struct packet;

struct simulated_rank {
  int number, parent;
  struct mpi mpi; /* while others have their turn */
  struct agent agent;
  struct transport transport;
  struct share share;
  struct nursery nursery;
  struct engine *engine;       /* the one that is open; NULL: none is */
  struct fiber *fiber;         /* rank 0: NULL */
  struct packet *first, **end; /* messages that have come */
  double *last_at;             /* by receiver: when the last message that was sent will have come; NULL: none was */
  double debt;                 /* seconds of work that are still to be paid */
  double worked;               /* that were */
  double stalled_until;
  double yield; /* seconds for which it gave the processor away last, having done nothing else since; 0: it has */
  bool is_rung, is_lost, has_left;
  bool is_orphan; /* its parent is lost, or is one */
};

/* The rank that has its turn. */
extern struct simulated_rank *here;

/* Makes the ranks of a plan, which know each other; the agents run from the next turn on. */
void ranks_begin(const struct plan *plan, const struct costs *costs);
struct simulated_rank *rank_of(int number);
int ranks_count(void);
const struct costs *ranks_costs(void);
/* Pays what the present rank owes, and is kept from going on while it is stalled. */
void rank_pay(void);
/* The rank's process is killed, with its workers; or gets no processor for a while. */
void rank_kill(struct simulated_rank *rank);
void rank_stall(struct simulated_rank *rank, double seconds);
/* Seconds of this machine's processor that rank 0's dispatcher has taken so far, and looks at the clock meanwhile; and
 * that others have, in its place, while it slept. */
struct spent {
  double seconds, aside;
  uint64_t rounds;
};
extern struct spent spent;
/* The rank ended, and has not received a message: a fault, unless ranks are lost or stand still in this schedule. MPI
 * may complain of it. */
void rank_left_unread(const struct simulated_rank *rank, int from);
/* Gives back what the ranks have. False: some have not given back all of theirs: they were lost, or were told that the
 * job ends before they were told that the engine is closed, which comes another way. */
bool ranks_end(void);

#endif
