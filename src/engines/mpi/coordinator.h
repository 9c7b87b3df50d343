/* coordinator.h - the mpi engine in rank 0. It reaches workers of its own rank through their slots, as other engines
 * do. For each worker of another rank it has a slot in private memory that mirrors the worker's own: what dispatch puts
 * into it is sent on, and what the agent there (agent.h) sends is put into it. Both ends of a mirrored channel count
 * alike: a block that is sent has its place at the other end, which is free because the sender waits for the counters
 * that come back. So nothing piles up, whoever is slow. */
#ifndef PARLUA_MPI_COORDINATOR_H
#define PARLUA_MPI_COORDINATOR_H
#include "engines/cluster.h"
#include "engines/engine.h"
#include "engines/mpi/share.h"
#include "engines/mpi/transport.h"
#include "engines/nursery.h"

enum { HOST_BYTES = 64 };

/* What rank 0 knows of a rank. */
struct rank {
  uint32_t cores; /* workers that it has by default; 0: it has none at all */
  char host[HOST_BYTES];
  int32_t pid;
  bool is_watched; /* its process can be seen from here: that it has ended is known at once */
  double heard;    /* when it last said something, or was not expected to */
  double asked;    /* when it was last told to kill a worker */
  bool lost;
  int32_t awaited; /* workers of which something must be heard */
};

/* Begins to coordinate. `ranks`, of all ranks, stay the caller's; `nursery` has the helper of rank 0, where it has
 * workers: NULL in a program that has spawned the other ranks. Returns 0 or an errno. */
int coordinator_open(struct transport *transport, struct share *share, struct rank *ranks, struct nursery *nursery);
/* Tells the other ranks to end, and waits until they do. Returns false when some don't. */
bool coordinator_close(bool interrupted);
/* Workers that all ranks have by default. */
uint32_t coordinator_cores(void);

extern const struct engine_kind engine_mpi;
#endif
