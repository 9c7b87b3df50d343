/* engine.h - how workers are started, reached and stopped. An engine moves bytes: it owns slots and whatever runs behind them
 * (threads, processes), and knows nothing of Lua values, retries or order. dispatch.h stands above it. */
#ifndef PARLUA_ENGINE_H
#define PARLUA_ENGINE_H
#include <lua.h>

#include "sys/hub.h"

/* An abandoned worker costs a processor until its task ends: after so many at a time, a run with a time limit must stop. */
enum { MOST_ABANDONED = 8 };

enum engine_flags {
  CAN_KILL = 1,       /* a worker can be ended at any moment, without harm to others */
  INHERITS = 2,       /* workers see the coordinator's Lua state: the job crosses without being encoded */
  SHARES_MEMORY = 4,  /* pointers are valid in workers */
  CAN_ABANDON = 8,    /* a worker that does not answer can be left alone and replaced */
  LIMITS_MEMORY = 16, /* `memory` can be limited for each worker */
  REMOTE = 32         /* workers may be on other hosts */
};

struct engine;

/* What one kind of engine does. All calls are the coordinator's. */
struct engine_ops {
  const char *name;
  unsigned flags;
  size_t own_bytes; /* an engine's memory for each worker */
  /* Starts worker `w` on its slot. `L` has the job's table at index `job` (used with INHERITS only). Returns 0 or an errno. */
  int (*start)(struct engine *engine, uint32_t w, lua_State *L, int job);
  /* Ends worker `w` at once (CAN_KILL) or gives it up (CAN_ABANDON). Returns 0, or an errno when it can't be done. */
  int (*kill)(struct engine *engine, uint32_t w);
  /* Has worker `w` ended? Then *status is as from wait(2), or -1 where that is not known. */
  bool (*ended)(struct engine *engine, uint32_t w, int *status);
  /* Waits for worker `w`, which was told to stop; ends it after `seconds`. */
  void (*join)(struct engine *engine, uint32_t w, double seconds);
  /* The rest may be NULL. Opens what is the engine's own, the hub too. Returns 0 or an errno. */
  int (*open)(struct engine *engine);
  /* Gives it back; no worker is alive. */
  void (*close)(struct engine *engine);
  /* Maps the slot of worker `w`; NULL with errno set. */
  struct slot *(*map)(struct engine *engine, uint32_t w);
  /* Moves what is on its way to and from distant workers. Returns how long the coordinator may sleep before the next time, in
   * seconds. */
  double (*progress)(struct engine *engine);
  /* Brings a message (a job) to where all workers reach it. Returns what is to be sent to each worker for it, valid up to the next
   * call: the message itself when it is small; NULL with errno set. The message before it is not sent to any worker any more. */
  const struct block *(*share)(struct engine *engine, const struct block *message);
  /* Asks distant worker `w` to give back what it has not begun: a queued chunk, or else (`may_cut`) the second half of what is left
   * of the running one. The answer comes in engine->given_back[w]. */
  void (*ask_back)(struct engine *engine, uint32_t w, bool may_cut);
  /* Name of the host of worker `w`. */
  const char *(*host)(struct engine *engine, uint32_t w);
};

/* What a distant worker gave back: chunk number `chunk` ends with task `last` now, if that is before where it did end. */
struct given_back {
  bool answered;
  uint32_t chunk;
  double last;
};

/* What workers that were given up, and have not ended, share with their engine; it may outlive the engine. */
struct remains {
  uint32_t abandoned; /* how many there are */
  uint32_t users;     /* they, and the engine until it is closed: the last frees this */
  struct hub hub;     /* the engine's, once it is closed */
};

struct engine {
  const struct engine_ops *ops;
  struct hub hub;
  uint32_t workers;    /* how many there may be */
  struct slot **slots; /* mapped when first started */
  char *own;           /* workers * own_bytes */
  bool *alive;         /* a worker stands behind the slot */
  uint32_t *has_job;   /* number of the job that each worker was sent last */
  uint64_t memory;     /* limit for one worker, bytes; 0: none */
  struct remains *remains;
  uint32_t jobs;      /* jobs numbered so far */
  uint64_t oom_kills; /* see oom.h: as counted when that was last asked */
  int most_files;     /* descriptors up to this number are for workers */
  double sample;      /* how often, in seconds, the cells of distant workers are to be looked at */
  bool news;          /* a worker has ended since this was cleared */
  bool *distant;      /* the slot only mirrors the worker's own: cells lag behind, what was sent must be asked for; NULL: none */
  struct given_back *given_back; /* by worker, where some are distant; else NULL */
  void *context;                 /* the engine's own */
  int owner;                     /* process that opened it: a forked copy must leave it alone */
  int busy;                      /* a run uses it */
};

extern const struct engine_ops engine_threads, engine_process;
/* Names of all engines of this build, ended by NULL. */
extern const char *const engine_names[];

/* The engine by name, or NULL. */
const struct engine_ops *engine_find(const char *name);
/* Opens an engine for up to `workers` workers; none is started. Returns 0, or an errno. */
int engine_open(struct engine *engine, const struct engine_ops *ops, uint32_t workers);
/* Stops all workers, waits for them, frees everything. Does nothing in a process that did not open it. */
void engine_close(struct engine *engine);
/* Starts worker `w` (mapping its slot, or making it as new). Returns 0 or an errno. */
int engine_start(struct engine *engine, uint32_t w, lua_State *L, int job);
/* Tells all living workers to stop and waits. */
void engine_stop(struct engine *engine, double seconds);
/* Descriptors for `count` workers are needed: raises the limit for open files if that is too low for them and the script, as far as
 * it may. Returns how many there may be at most, some left for the script. */
int engine_want_files(uint32_t count);
/* One of its users has done with it. */
void remains_leave(struct remains *remains);
/* An engine's own memory for worker `w`. */
void *engine_own(struct engine *engine, uint32_t w);
#endif
