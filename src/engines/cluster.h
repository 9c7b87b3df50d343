/* cluster.h - whether this process is one of several that mpirun or srun started, and the shared object with the MPI
 * engine, which is opened only then. The shared object is parlua_mpi.so, beside the executable or in ../lib/parlua from
 * there. */
#ifndef PARLUA_CLUSTER_H
#define PARLUA_CLUSTER_H
#include "engines/engine.h"

/* What the mpi engine can do: known also where its shared object is not opened. */
#define MPI_CAN                                                           \
  {                                                                       \
    .kill = true, .map = true, .limit_memory = true, .reach_hosts = true, \
  }

struct event;
struct rows;

/* Prepares rows of a journal in the agents (lua/rows.h). */
struct row_maker {
  /* For one run: `what` is what the script says of it. NULL: no rows can be made. */
  struct rows *(*begin)(const char *what, size_t length);
  /* The rows of an event's results, valid until the next call; failures have none. False: there is a result that can't
   * be read here. */
  bool (*make)(struct rows *rows, const struct event *event, const char **bytes, uint64_t *length);
  void (*end)(struct rows *rows); /* NULL: none were begun */
};

/* What the shared object offers: its symbol `parlua_cluster`. */
struct cluster {
  const struct engine_kind *kind;
  /* Joins the other ranks, or those that have spawned this one; forks the helper before. Returns this process's rank,
   * or -1 when that failed (the message was printed). */
  int (*begin)(bool is_spawned);
  /* Instead of begin, in a program that was not started as an MPI job: spawns `count` other ranks. On failure returns
   * false, with a message; then MPI can't be used any more. */
  bool (*spawn)(uint32_t count, char *message, size_t size);
  /* Ranks other than 0: serves rank 0 until told to end. */
  void (*serve)(const struct row_maker *maker);
  /* Rank 0: tells the others to end and takes leave of MPI. Where that takes too long, the process ends with `status`.
   */
  void (*end)(int status);
  int (*ranks)(void);
  /* Workers that all ranks have by default. */
  uint32_t (*cores)(void);
};

/* To be called first of all by main, with its arguments; `maker` is for a rank that serves. Under mpirun or srun it
 * opens the shared object and joins the other ranks. Returns true when the program goes on as usual (alone, or as rank
 * 0), false when it is to end with *status: as another rank it has served, or joining failed. */
bool cluster_begin(int argc, char **argv, const struct row_maker *maker, int *status);
/* In a program that was not started by mpirun or srun: starts `count` other ranks, unless that was done before. On
 * failure returns false, with a message of what to do. */
bool cluster_spawn(uint32_t count, char *message, size_t size);
/* Takes leave of the other ranks, if there are any: they end. Called at the end of the program, however it ends,
 * with the status that it ends with. */
void cluster_end(int status);
/* Programs that this process starts from here on are not ranks: what would make them believe so goes from the
 * environment. */
void cluster_forget_launch(void);
/* The engine, or NULL when this is not part of a cluster. */
const struct engine_kind *cluster_engine(void);
/* Ranks that mpirun or srun has started, this one too; 0: none. */
int cluster_ranks(void);
/* Workers that all ranks have by default: as many as there are processors for them. */
uint32_t cluster_cores(void);
#endif
