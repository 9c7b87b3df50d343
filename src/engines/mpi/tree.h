/* tree.h - the ranks of an MPI job, and who hears of whom. Up to some ranks all are rank 0's children. Beyond that they
 * form a tree: each rank heads the ranks that follow it, up to the next of its parent's children. An agent is the same
 * to its parent, whether its workers are its own or those of ranks below it. */
#ifndef PARLUA_MPI_TREE_H
#define PARLUA_MPI_TREE_H
#include "engines/mpi/transport.h"

enum { HOST_BYTES = 64 };

/* What every rank knows of every rank. */
struct rank {
  uint32_t cores; /* workers that it has by default; 0: it has none at all */
  int32_t pid;
  uint64_t space; /* where its process number counts; 0: not known */
  double crowd;   /* ranks of its host for each processor that it may run on; at least 1 */
  int leader;     /* the rank that receives shared messages for its node (share.h) */
  char host[HOST_BYTES];
};

/* A rank that this one hears of, and which heads those up to `end`. */
struct child {
  int rank, end;
  bool is_watched; /* its process can be seen from here: that it has ended is known at once */
  bool is_lost;
  bool is_apart; /* what this rank lends can't be mapped there */
  bool has_left; /* it has taken leave: it says nothing more, and is told nothing more */
  double heard;  /* when it last said something, or was not expected to */
  double asked;  /* when it was last told to end what runs */
  int awaited;   /* runs of which something must be heard */
};

struct tree {
  struct transport *transport;
  const struct rank *ranks;
  const uint64_t *before; /* by rank: workers that all ranks before it have by default; one more than there are ranks */
  int parent;             /* of this rank; rank 0: -1 */
  bool is_parent_watched; /* as a child's */
  double parent_heard;    /* when it last said something */
  double parent_checked;  /* when it was last looked for it */
  struct child *children;
  int children_count;
  bool is_spawned; /* the ranks were spawned, and rank 0 has no workers */
  bool any_lost;
  double checked; /* when it was last looked for silent ranks */
};

/* Meets the other ranks: all call it together. `own`: this one. Returns 0 or an errno. */
int tree_open(struct tree *tree, struct transport *transport, const struct rank *own, bool is_spawned);
/* Finds this rank's parent and children, the ranks being known. Returns 0 or an errno. */
int tree_place(struct tree *tree);
/* Ranks of this host for each processor that this one may run on; at least 1. */
double tree_crowd(const struct tree *tree);
/* Can this rank and another map what either has in memory? */
bool tree_is_near(const struct tree *tree, int rank);
/* How many of an engine's workers, numbered rank by rank, are in ranks before `rank`, when it has `all`. */
uint32_t tree_before(const struct tree *tree, uint32_t all, int rank);
/* The rank of worker `w` of an engine that has `all`. */
int tree_rank_of(const struct tree *tree, uint32_t all, uint32_t w);
/* The child that a rank is; NULL: it is none. */
struct child *tree_child(const struct tree *tree, int rank);
/* Looks for children that are lost, now and then; returns one, once, having told so. One whose process can be seen is
 * lost when that has ended, however long it is silent: it may get no processor. Others are lost when they are silent
 * though they should not be. After an interruption it is not waited long for either. */
struct child *tree_next_lost(struct tree *tree);
/* Is this rank's parent lost? Looks for it now and then, and tells so. Of rank 0 that is known on its own host alone:
 * it may be silent while the script does other things. */
bool tree_has_lost_parent(struct tree *tree, double now);
#endif
