/* engine.h - how workers are started, reached and ended. An engine moves bytes: it owns slots and whatever runs behind
 * them (threads, processes), and knows nothing of Lua values, retries or order. The dispatcher (run/dispatch.h) stands
 * above it.
 *
 * One kind of engine is one file, which exports a struct engine_kind, and one line in the table of engines.c.
 * docs/NEW_ENGINE.md adds one step by step. */
#ifndef PARLUA_ENGINE_H
#define PARLUA_ENGINE_H
#include "slot/slot.h"
#include "sys/hub.h"

/* An abandoned worker costs a processor until its task ends: after so many at a time, a run with a time limit must
 * stop. */
enum { MOST_ABANDONED = 8 };

/* What workers run: defined where Lua is known (lua/worker.c). Each runs the worker on its slot until it is told to
 * stop. */
struct worker_bodies {
  /* In this thread, in a Lua state of its own; returns at its end. */
  void (*thread)(struct slot *slot, const struct bell *bell);
  /* To the end of this process, in a Lua state of its own, with at most `memory` bytes beyond what it has (0: no
   * limit). */
  void (*process)(struct slot *slot, const struct bell *bell, uint64_t memory) __attribute__((noreturn));
  /* Likewise in a process that was just forked: goes on with what `context` says of the state that it is a copy of. */
  void (*forked)(void *context, struct slot *slot, const struct bell *bell, uint64_t memory) __attribute__((noreturn));
};
extern const struct worker_bodies worker_bodies;

/* What an engine can do. */
struct engine_can {
  bool kill;           /* a worker can be ended at any moment, without harm to others */
  bool abandon;        /* a worker that does not answer can be left alone and replaced */
  bool inherit;        /* workers see the coordinator's Lua state: the job crosses without being encoded */
  bool map;            /* workers can map memory of the coordinator by its descriptor */
  bool share_memory;   /* pointers are valid in workers */
  bool limit_memory;   /* the memory of each worker can be limited */
  bool reach_hosts;    /* workers may be on other hosts */
  bool end_waiting;    /* a task that waits can be ended; one that computes can't */
  bool run_in_program; /* there are no workers: tasks run in the coordinator's own state; all else here is empty */
};

struct engine;
struct lane_kind;

/* One kind of engine. All calls are the coordinator's. Those behind the empty line may be NULL. */
struct engine_kind {
  const char *name;
  struct engine_can can;
  bool rings_at_end; /* news of a worker may be its end, and `ended` costs no system call; else descriptors tell
                        (hub_watch) */
  size_t own_bytes;  /* an engine's memory for each worker */
  /* Starts worker `w` on its slot. Returns 0 or an errno. */
  int (*start)(struct engine *engine, uint32_t w);
  /* Ends worker `w`: begins to, where it can be killed (`ended` says when it has), or gives it up at once, where it can
   * be abandoned: then its slot is its own. Returns 0, or an errno when it can't be done. */
  int (*end)(struct engine *engine, uint32_t w);
  /* Has worker `w` ended? Then *status is as from wait(2), or -1 where that is not known. */
  bool (*ended)(struct engine *engine, uint32_t w, int *status);

  /* Opens what is the engine's own, the hub too (else it is opened for it). Returns 0 or an errno. */
  int (*open)(struct engine *engine);
  /* Gives it back; no worker is alive. */
  void (*close)(struct engine *engine);
  /* Maps the slot of worker `w`; NULL with errno set. */
  struct slot *(*map)(struct engine *engine, uint32_t w);
  /* May no worker be started now, though there is room? An errno, with *why for people; 0: it may. */
  int (*refuses)(struct engine *engine, const char **why);
  /* Moves what is on its way to and from other ranks, and notes workers and ranks with news (engine_note). Returns how
   * long the coordinator may sleep before the next time, in seconds. */
  double (*progress)(struct engine *engine);
  /* Instead of a worker for each: how many workers `engine_open` is to have places for, when it is to have so many in
   * all; what its other numbers stand for is the engine's. */
  uint32_t (*places)(uint32_t workers);
  /* How many of the engine's first `workers` workers are behind number `w`. */
  uint32_t (*width)(const struct engine *engine, uint32_t w, uint32_t workers);
  /* Brings a message (a job) to where all workers reach it. Returns what is to be sent to each worker for it, valid up
   * to the next call: the message itself when it is small; NULL with errno set. The message before it is not sent to
   * any worker any more. */
  const struct block *(*share)(struct engine *engine, const struct block *message);
  /* Name of the host of the engine's worker `w`, of all, from 0, and its rank. */
  const char *(*host)(struct engine *engine, uint32_t w, int *rank);
};

/* What workers that were given up, and have not ended, share with their engine; it may outlive the engine. */
struct remains {
  uint32_t abandoned; /* how many there are */
  uint32_t users;     /* they, and the engine until it is closed: the last frees this */
  struct hub hub;     /* the engine's, once it is closed */
};

/* Workers with news, each once. */
struct news {
  uint32_t *next; /* by worker: the one behind it, itself for the last; NOT_NOTED: it is not in the list */
  uint32_t first, last;
};

struct engine {
  const struct engine_kind *kind;
  struct hub hub;
  uint32_t workers;    /* how many there may be in this process's reach; and other ranks */
  struct slot **slots; /* mapped when first started */
  char *own;           /* workers * own_bytes */
  bool *alive;         /* a worker stands behind the slot */
  uint32_t *has_job;   /* number of the job that each worker was sent last */
  struct news news;
  uint64_t memory;   /* limit for one worker, bytes; 0: none */
  void *inheritance; /* what forked workers go on with (worker_bodies.forked): the caller's */
  struct remains *remains;
  uint32_t jobs;   /* jobs numbered so far */
  uint32_t chunks; /* chunks numbered so far: none is used twice, so that a late result can't be taken for another's */
  uint64_t oom_kills;            /* see oom.h: as counted when that was last asked */
  int most_files;                /* descriptors up to this number are for workers */
  bool *unwatched;               /* no descriptor tells of the end of this worker: it must be asked for */
  const struct lane_kind *lanes; /* of its workers; NULL: over their slots (run/lane.h) */
  /* Numbers from `ranks_from` on stand for other ranks, each with workers of its own, and have lanes of this kind;
   * NULL: there are none. */
  const struct lane_kind *rank_lanes;
  uint32_t ranks_from;
  uint32_t all;  /* workers, those of other ranks too */
  void *context; /* the engine's own */
  int owner;     /* process that opened it: a forked copy must leave it alone */
  bool busy;     /* a run uses it */
};

/* All kinds of this build, ended by NULL; `mpi` is among them where this program is, or can become, part of an
 * MPI job. */
const struct engine_kind *const *engine_kinds(void);
/* The kind by name, or NULL. */
const struct engine_kind *engine_find(const char *name);

/* Opens an engine for up to `workers` workers; none is started. Returns 0, or an errno. */
int engine_open(struct engine *engine, const struct engine_kind *kind, uint32_t workers);
/* Stops all workers, waits for them, frees everything. Does nothing in a process that did not open it. */
void engine_close(struct engine *engine);

/* Starts worker `w` (mapping its slot, or making it as new). Returns 0 or an errno. */
int engine_start(struct engine *engine, uint32_t w);
/* Waits up to `seconds` for worker `w`, which was told to stop or to end; ends it after that. False: it could not be
 * ended. */
bool engine_join(struct engine *engine, uint32_t w, double seconds);
/* May no worker be started now? See engine_kind.refuses. */
int engine_refuses(struct engine *engine, const char **why);

/* Notes that worker `w` has news. */
void engine_note(struct engine *engine, uint32_t w);
/* Takes what has come; returns how long the coordinator may sleep before the next time, in seconds. */
double engine_progress(struct engine *engine);
bool engine_has_news(const struct engine *engine);
/* The next worker with news; false: none has. */
bool engine_next_news(struct engine *engine, uint32_t *w);
/* Sleeps until there is news, a signal comes, or `seconds` are over; see hub_sleep. */
int engine_sleep(struct engine *engine, double seconds, uint32_t *ended, int most);

/* Sleeps for a moment, at most `seconds`, unless something comes: for who waits for workers to come to rest. */
void engine_nap(struct engine *engine, double seconds);

/* Descriptors for `count` workers are needed: raises the limit for open files if that is too low for them and the
 * script, as far as it may. Returns how many there may be at most, some left for the script. */
int engine_want_files(uint32_t count);
/* One of its users has done with it. */
void remains_leave(struct remains *remains);
/* An engine's own memory for worker `w`. */
void *engine_own(struct engine *engine, uint32_t w);

/* Workers that are threads of this program and are, or may be, in a task now: also those that were given up. In a copy
 * of this process what locks they hold would stay held. */
uint32_t threads_in_tasks(void);
/* Those of them that were given up. */
uint32_t threads_given_up(void);

#endif
