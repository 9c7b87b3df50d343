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
  /* results: `want` tasks up to this one have ended since the last event of their chunk; supply: the last of those that
   * are wanted, 0: the next ones are */
  double last;
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

#endif
