/* agent.h - the MPI process of a rank other than 0. It runs a dispatcher over its rank's workers, and over the ranks
 * below it in the tree: its parent gives it ranges of tasks, and hears what becomes of them. It runs no user code. */
#ifndef PARLUA_MPI_AGENT_H
#define PARLUA_MPI_AGENT_H
#include "engines/nursery.h"

/* Serves the parent until told to end; then the helper is closed too, and the parent has been told. Returns whether the
 * job was interrupted, or a rank was lost. */
bool agent_serve(struct nursery *nursery);
#endif
