/* mpi.h - the mpi engine at any rank: its own workers (home.h), and the ranks below it in the tree (tree.h), each a
 * lane (lane_rank.c). In rank 0 the script's calls open it; in other ranks the agent does (agent.h), as its parent
 * says. */
#ifndef PARLUA_MPI_MPI_H
#define PARLUA_MPI_MPI_H
#include "engines/cluster.h"
#include "engines/engine.h"
#include "engines/mpi/share.h"
#include "engines/mpi/tree.h"
#include "engines/nursery.h"
#include "run/lane.h"

/* What the mpi engine knows of an engine: its context. */
struct family {
  struct family *next;
  struct engine *engine;
  uint32_t number;          /* the same in all ranks */
  uint32_t own, base;       /* workers of this rank; workers in ranks before it */
  struct rank_lane **lanes; /* by child: of the run that is open; NULL: it has no part in it */
  uint32_t unread;          /* reports that came and were not taken as a whole */
  uint32_t job;             /* number of the shared message that holds the job; 0: none, as it is small */
  struct block refer;       /* what workers are sent for it */
};

/* There is one MPI job in a process, so there is one of this. */
struct mpi {
  struct transport *transport;
  struct share *share;
  struct tree tree;
  struct family *families;
  uint32_t numbers;      /* engines opened in rank 0 */
  uint32_t runs;         /* runs of lanes opened */
  uint32_t opening;      /* agents: number of the engine that is about to be opened */
  struct link messages;  /* agents: from the parent, that are not obeyed yet */
  uint32_t paces[PACES]; /* how many lanes with tasks want to hear of theirs how soon */
  int byes;              /* children that will not speak again */
  double looked, due;    /* when it was last looked for messages; when it is to be again */
  bool is_agent;
  bool is_end_passed; /* agents: the job's end has come along the tree of shared messages, where nothing follows it */
  bool may_go;        /* agents: the parent's last message has come */
  bool is_moving;     /* something is under way, as of the last look */
  bool is_at_ease;    /* agents: all workers have enough to do */
};
extern struct mpi mpi;

/* Joins the other ranks; all call it together. Returns 0 or an errno. */
int mpi_join(struct transport *transport, struct share *share, struct nursery *nursery, bool is_spawned);
/* Moves what is on its way, and passes it on to lanes, workers' engines, or mpi.messages. Returns how long one may
 * sleep before the next time, in seconds. `is_busy`: messages that came are still to be taken. */
double mpi_move(struct hub *hub, bool is_busy);
/* The family of engine number `number`, or NULL. */
struct family *mpi_family(uint32_t number);
/* Is what stands for shared message `id` in the channel of some worker of this rank, unread? */
bool mpi_is_unread(uint32_t id);
/* Sends a note to a child, if it is still there. */
void mpi_tell(const struct child *child, const struct note *note);
/* Tells the ranks behind this one that the job ends. `is_soon`: after an interruption, or when a rank is lost, nobody
 * waits long; then all end with `status`, the script's. */
void mpi_tell_end(int status, bool is_soon);
/* Waits until the ranks below have ended, which rank 0 tells all, as above. Returns false when some don't. */
bool mpi_leave(int status, bool is_soon);
/* Agents, behind that: takes leave of the parent, and waits until nothing is on its way here any more. MPI may complain
 * at its end of what nobody has received. */
void mpi_part(bool is_soon);
/* Workers that all ranks have by default. */
uint32_t mpi_cores(void);

/* The lane of child `k`, which takes a message that came for it; and is told that its rank is lost. */
void lane_rank_take(struct rank_lane *lane, struct message *message);
extern const struct lane_kind lane_over_rank;
extern const struct engine_kind engine_mpi;
#endif
