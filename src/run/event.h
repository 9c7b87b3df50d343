/* event.h - what a run is told by the dispatcher. Plain C declarations only: the text is also given to LuaJIT's
 * ffi.cdef as it stands. */
#ifndef PARLUA_EVENT_H
#define PARLUA_EVENT_H
#include <stdint.h>

struct block;
struct payload;

enum event_kind {
  EVENT_DONE = 0, /* every task has ended, or the run was cancelled and nothing is left running */
  EVENT_RESULTS,  /* `block` has `count` results for tasks from `first` on, from word `from` on (sparse: pairs) */
  EVENT_SUPPLY,   /* about `want` tasks from the source are wanted: call supply or exhausted */
  EVENT_LOST,   /* worker ended: task `first` is its failure (0: no task was to blame), `status` and `cause` tell why */
  EVENT_TEXT,   /* `bytes`, `length`: what tasks printed on `stream` (1 or 2; 3: the log), cut anywhere; see below */
  EVENT_TICK,   /* a tenth of a second or more has passed since the last */
  EVENT_SIGNAL, /* `status`: SIGINT, SIGTERM, SIGHUP */
  EVENT_TROUBLE /* `status`: errno; no worker can be started. `ended`: how the last one ended that could not begin */
};

/* Streams of texts that come before the loss of a worker whose task was waiting for a program: which one, as
 * slot_kept_program has it; what it had written to its output, its errors. */
enum kept_stream { STREAM_PROGRAM = 4, STREAM_OUTPUT, STREAM_ERRORS };

enum lost_cause {
  LOST_CRASH = 1,
  LOST_TIMEOUT,
  LOST_CANCELLED,
  LOST_MEMORY,
  LOST_DAMAGED /* a crash: what it left in the memory that it shares can't be */
};

struct event {
  double first;
  double last; /* results: `want` tasks up to this one have ended since the last event of their chunk */
  double want;
  double seconds;
  double inner; /* lost: `inner` of the worker's slot */
  struct block *block;
  struct block *payload; /* what was supplied for these tasks, or NULL: valid until the next event */
  struct payload *whole; /* results: `block` is this one's, and all of it; NULL: it is part of other memory */
  /* supply: a word that is not 0 while some worker has news; NULL: that is not known. `idle`: some worker has nothing
   * to do. Then what was pulled is to be handed out soon, however little it is. */
  const volatile uint64_t *news;
  const char *bytes; /* text; results: rows of a journal that were prepared of them (journal_append) */
  uint64_t length;
  uint32_t kind;
  uint32_t from, count;
  uint32_t worker;
  uint32_t cause;
  uint32_t attempt;
  uint32_t idle;
  int32_t status;
  int32_t stream;
  int32_t ended; /* as from wait(2) */
};

/* Results of one block that were not reported (peek.h): tasks first..last, which have ended. The block is the worker's:
 * it is to be read before the script's next call of the run. */
struct glimpse {
  struct block *block;
  double first, last;
  uint32_t count; /* words, or pairs, that may be read */
  uint32_t chunk, attempt, worker;
};

/* Where a script puts tasks of its own making (submitted calls) while it does not hold the dispatcher: it writes them
 * into a block, one behind the other, and says how many there are. Whoever holds the dispatcher copies them out. The
 * block is begun anew by dispatch_intake alone. */
struct intake {
  struct block *block;           /* NULL: none was begun */
  double first;                  /* task of its first word; they are numbered on from there */
  uint32_t count;                /* tasks in it: the script's, see intake_publish */
  uint32_t taken;                /* of these, copied out: the dispatcher's */
  uint32_t hungry;               /* a worker had nothing to do when the dispatcher was left: the dispatcher's */
  const volatile uint64_t *news; /* words that are not 0 while some worker has news */
  double left_at;                /* by the clock, when the script or the attendant was last with the workers */
};

/* What the script is to do behind a task that it has put there. */
enum intake_wish {
  INTAKE_NOTHING,
  INTAKE_HAND_OUT, /* a worker has nothing to do */
  INTAKE_VISIT     /* and results wait to be taken, or the tasks are many */
};

/* There are `count` tasks in the block now. */
int intake_publish(struct intake *intake, uint32_t count);

#endif
