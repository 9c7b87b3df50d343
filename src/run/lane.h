/* lane.h - what a dispatcher sees of whatever takes chunks: a worker behind a slot (lane_slot.c), all workers of
 * another rank, whose agent runs a dispatcher of its own (engines/mpi/lane_rank.c), or a simulated one (for tests).
 *
 *     queue -- give --> lane -- next --> outcomes: results, text, given back, ended
 *                        ^
 *                        `-- take_back, lower, ask_back, end
 *
 * A lane holds a list of outstanding works in the order in which they were given, and says itself how many more it
 * wants. Results are reported apart from that. docs/PROTOCOL.md has the states. */
#ifndef PARLUA_LANE_H
#define PARLUA_LANE_H
#include "engines/engine.h"
#include "run/event.h"
#include "run/work.h"

enum lane_state {
  LANE_EMPTY,  /* no worker: one is started when there is work for it */
  LANE_READY,  /* its worker takes work */
  LANE_ENDING, /* its worker was told to end, or given up; what it has left is still read */
  LANE_ENDED,  /* its worker is gone; what it has left is being read */
  LANE_CLOSED  /* no worker can be had for it in this run */
};

enum outcome_kind {
  OUTCOME_RESULTS = 1,
  OUTCOME_UNHELD, /* there was no memory for the result of `task`; its worker goes on */
  OUTCOME_TEXT,
  OUTCOME_GIVEN_BACK,
  OUTCOME_ENDED, /* of the lane's worker */
  /* Of a rank's lane: */
  OUTCOME_LOST,  /* one of its workers has ended; `work`, where there is one, is of the task to blame alone */
  OUTCOME_CLOSED /* no workers any more: `status`, an errno; `stream`, how they ended. It holds nothing */
};

/* What comes out of a lane. */
struct outcome {
  enum outcome_kind kind;
  struct work *work; /* results: whose; given back: which, NULL: nothing; ended: of the task to blame, NULL: none is */
  /* results: `fresh` tasks up to `last` have ended since the last outcome of the work; `count` words or pairs of the
   * block, from `from` on, are new. The block is valid until `release`. */
  struct block *block;
  struct payload *whole; /* results: as in struct event */
  uint32_t from, count;
  double last, fresh;
  bool is_final;  /* the work has ended with task `last`, */
  double seconds; /* in this time; 0: not known */
  /* text: valid until the next outcome; results: rows of a journal, as in struct event */
  const char *bytes;
  uint64_t length;
  int stream;
  /* given back: the work ends with this task now; before its first: it was taken back whole, and the lane holds it no
   * more */
  double keep;
  /* ended */
  double task, inner; /* to blame; 0: none */
  enum lost_cause cause;
  int status;          /* as from wait(2) */
  double task_seconds; /* for how long the task ran */
  bool had_begun;      /* the worker was able to run tasks */
  /* Of a rank's lane: */
  uint32_t worker;       /* whose this is, from 1 */
  double per_task;       /* seconds, as measured there; 0: not known */
  struct work *apart[2]; /* works that were cut off from `work`, and which the lane holds too; NULL: none */
};

/* What a worker is in. */
struct lane_view {
  struct present present;
  enum blocked blocked;
  double started; /* when the first task of the chunk that runs began; 0: not known */
  bool has_begun; /* it has begun a chunk of its job */
};

struct dispatch_options;

/* What all lanes of a run have in common: the dispatcher's. */
struct crew {
  struct engine *engine;
  struct work_store *store;
  const struct dispatch_options *options; /* of the run */
  bool may_cut;                           /* running chunks may be cut */
  double per_task;                        /* seconds, measured */
  double total;                           /* tasks behind it are of no use */
  uint32_t workers;                       /* behind all lanes together */
  uint32_t idle;                          /* of them with nothing to do, about: for ask_back; 0: one soon will have */
  char *text;                             /* what a task has printed, TEXT_BYTES large; made when the first does */
};

struct lane;

struct lane_kind {
  size_t bytes; /* of a lane, which begins with a struct lane */
  /* It stands for several workers. It is never ended for a task's sake: whoever is behind it sees to time limits,
   * deaths and balance there. It takes ranges, cuts them as it likes, and reports tasks in any order. Nothing is known
   * at once: take_back and view say so. */
  bool is_rank;
  /* Of such a lane: has it nothing to hand out, and a worker with nothing to do? How many tasks it wants. How
   * many it has not handed out, as far as is known. May it be given a task that is tried again, although it wants none?
   * The next of its workers that is free takes it. Ends one task; nothing more is handed out there, and what runs is
   * ended. */
  bool (*is_idle)(const struct lane *lane);
  double (*room)(const struct lane *lane);
  double (*reserve)(const struct lane *lane);
  bool (*takes_retry)(const struct lane *lane);
  void (*abort)(struct lane *lane, double task);
  void (*cancel)(struct lane *lane);
  /* Has a worker stand behind it. Returns 0 or an errno. */
  int (*start)(struct lane *lane);
  /* Gives it a work, which it holds from here on. */
  void (*give)(struct lane *lane, struct work *work);
  /* How many more works it wants. */
  uint32_t (*wants)(const struct lane *lane);
  /* Takes a work back that was not begun; the lane holds it no more. False: it is too late, or can't be known yet. */
  bool (*take_back)(struct lane *lane, struct work *work);
  /* Lets a work begin no task behind `last`. Returns the task with which it ends, as far as is known. */
  double (*lower)(struct lane *lane, struct work *work, double last);
  /* The same where tasks that have begun are wanted: they stay in the work. Not for ranks. */
  double (*shorten)(struct lane *lane, struct work *work, double last);
  /* Asks it for work that others could do: one not begun, or else, where that pays, the second half of the one that
   * runs. True: answered in *outcome (given back); false: the answer comes as an outcome. */
  bool (*ask_back)(struct lane *lane, struct outcome *outcome);
  /* Seconds of work, as far as measured, that it could give back. */
  double (*left)(const struct lane *lane, double now);
  /* What its worker is in. False: not known. */
  bool (*view)(const struct lane *lane, struct lane_view *view);
  /* The next outcome; false: there is none. `partial`: also of results in a block that is being filled. */
  bool (*next)(struct lane *lane, struct outcome *outcome, bool partial);
  /* Gives back what the last results pointed to. */
  void (*release)(struct lane *lane);
  /* A descriptor has told, or somebody wants to know, whether its worker has ended. */
  void (*check_end)(struct lane *lane);
  /* Ends its worker, or gives it up. Returns 0 or an errno. Not for ranks. */
  int (*end)(struct lane *lane);
  /* The run ends, or is cancelled. First of all lanes: lets it begin nothing more. */
  void (*quiet)(struct lane *lane, bool is_cancelled);
  /* Then of each: its worker comes to rest, where the engine keeps workers, or ends; waits for that up to `deadline`,
   * after which it is given up. Frees what the lane holds. */
  void (*close)(struct lane *lane, double deadline);
};

struct lane {
  const struct lane_kind *kind;
  struct crew *crew;
  uint32_t number; /* from 0: of the engine's worker */
  uint32_t width;  /* workers behind it: 1, or a rank's */
  enum lane_state state;
  struct link held; /* works, in the order in which they were given */
  uint32_t count;   /* how many */
  /* Of the worker's end: */
  enum lost_cause cause; /* why it is being ended; 0: it is not */
  struct present doomed; /* the task that this concerns; task 0: whatever it is in */
  int status;
  uint32_t stillborn; /* workers in a row that ended before they could run a task */
  uint32_t lacking;   /* workers of a rank that could not be started, */
  int lacking_error;  /* and why */
  bool is_lost;       /* the rank is: this was told */
  bool is_started;    /* its worker was started in this run */
  double given_at;    /* when this worker was first given work in this run; 0: not yet */
  /* The dispatcher's: */
  bool is_counted;     /* among the busy ones */
  struct link place;   /* among lanes that want work */
  struct link news;    /* among lanes with news */
  struct link looking; /* among lanes whose worker is looked at from time to time */
  double look_at;
  struct present seen;  /* what it was in at the last look, */
  double since;         /* and since when, at the latest; 0: not known */
  bool is_new;          /* it was seen there once */
  bool was_waiting;     /* for room for its results, when it was last looked at */
  uint32_t still_looks; /* at it in the same task */
  struct link changed;  /* among lanes that are to be put into the heap anew */
  uint32_t heap_at;     /* its place in the heap of lanes with work to give back, from 1; 0: it is not there */
  double ends_at;       /* by what is known, it will have done what it has then */
  bool is_asked;        /* for work; it has not answered */
  double ask_at;        /* it is not to be asked before */
  double patience;      /* seconds until then after the last time that it had nothing to give */
};

/* The lanes of engines whose workers have slots. */
extern const struct lane_kind lane_over_slot;

/* The work at the head of what the lane holds; NULL: it holds nothing. */
static inline struct work *lane_first(const struct lane *lane)
{
  return lane->count ? LIST_OF(lane->held.next, struct work, link) : NULL;
}

/* The work given last. */
static inline struct work *lane_last(const struct lane *lane)
{
  return lane->count ? LIST_OF(lane->held.previous, struct work, link) : NULL;
}

/* Has it, or one of its workers, nothing to do? */
static inline bool lane_is_idle(const struct lane *lane)
{
  return lane->kind->is_rank ? lane->kind->is_idle(lane) : lane->count == 0;
}

static inline void lane_hold(struct lane *lane, struct work *work)
{
  list_append(&lane->held, &work->link);
  lane->count++;
}

static inline void lane_let_go(struct lane *lane, struct work *work)
{
  link_remove(&work->link);
  lane->count--;
}

#endif
