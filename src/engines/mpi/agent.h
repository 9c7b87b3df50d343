/* agent.h - the MPI process of a rank other than 0: it moves chunks and results between rank 0 and the slots of its own
 * workers, which a helper forks (nursery.h). It runs no user code. */
#ifndef PARLUA_MPI_AGENT_H
#define PARLUA_MPI_AGENT_H
#include "engines/mpi/share.h"
#include "engines/mpi/transport.h"
#include "engines/nursery.h"

/* Serves rank 0 until told to end; then the helper is closed too, and rank 0 has been told. Returns whether the job was
 * interrupted. */
bool agent_serve(struct transport *transport, struct share *share, struct nursery *nursery);
#endif
