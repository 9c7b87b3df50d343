/* agent.h - the MPI process of a rank other than 0. It runs a dispatcher over its rank's workers, and over the ranks
 * below it in the tree: its parent gives it ranges of tasks, and hears what becomes of them. It runs no user code. */
#ifndef PARLUA_MPI_AGENT_H
#define PARLUA_MPI_AGENT_H
#include "engines/cluster.h"
#include "engines/nursery.h"
#include "sys/hub.h"

struct team;

/* A process has one. */
struct agent {
  struct hub hub;     /* where it naps */
  struct team *teams; /* engines of rank 0, in this rank */
  double beaten;
  const struct row_maker *maker; /* NULL: rank 0 makes all rows of a journal */
  bool is_ending, is_soon;
  int status; /* both at the end, as in mpi_tell_end */
};
extern struct agent agent;

/* Serves the parent until told to end; then the helper is closed too, and the parent has been told. Returns the status
 * with which to end, and stores whether soon. */
int agent_serve(struct nursery *nursery, const struct row_maker *maker, bool *is_soon);
#endif
