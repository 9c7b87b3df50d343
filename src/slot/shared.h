/* shared.h - what the coordinator and a worker both see: the layout of the memory that they share, and the functions that
 * the Lua side reaches by FFI. Plain C declarations only: the text is also given to LuaJIT's ffi.cdef as it stands.
 *
 * A message is a `block`: a header, then words (8 bytes, one result or argument each) that grow up from the header, and values
 * that grow down from the end, like a slotted database page. A word is a double as it is, or, where its upper half is one of
 * the tags below (a region of NaNs that LuaJIT never makes for a number), a tag whose lower half says where the value is, in
 * units of 8 bytes from the block's beginning. A value is its length (uint64_t) and then that many bytes.
 * A block larger than a slot's own blocks travels in pieces. */
#ifndef PARLUA_SHARED_H
#define PARLUA_SHARED_H
#include <stdint.h>

enum {
  BLOCK_BYTES = 262144, /* one block in a slot: four of them fit the second-level cache of common processors */
  BLOCK_HEAD = 128,     /* header, words begin behind it */
  CHANNEL_BLOCKS = 4,   /* one running, one queued, one being filled, one spare */
  TEXT_BYTES = 65536    /* ring for what tasks print */
};

/* Upper halves of tagged words (see above). All lie above the canonical NaN, 0xfff80000. */
enum {
  TAG_NIL = -1,
  TAG_FALSE = -2,
  TAG_TRUE = -3,
  TAG_ABSENT = -4,  /* arguments: this task has fewer than the block's width */
  TAG_STRING = -5,  /* value: the string's bytes */
  TAG_VALUE = -6,   /* value: one codec message, one value */
  TAG_TUPLE = -7,   /* value: one codec message, any number of values */
  TAG_FAILURE = -8, /* value: one codec message, the failure's record */
  TAG_LOCAL = -9,   /* serial only: the value stands in the worker's own table */
  TAG_LOWEST = -65536
};

enum block_kind {
  BLOCK_CHUNK = 1, /* tasks first..last to run; with `width`, their arguments */
  BLOCK_JOB,       /* two codec messages: what is needed to decode the second; what to run */
  BLOCK_PIECE,     /* part of a larger block */
  BLOCK_STOP,      /* the worker ends */
  BLOCK_ELSEWHERE, /* stands for a message that lies in a file of another process */
  BLOCK_DENSE,     /* results: word k belongs to task first + k */
  BLOCK_SPARSE     /* results: pairs of words, an index and what belongs to it */
};

struct block {
  double first;     /* chunk: first task; results: task of the first word; sparse: first task covered */
  double last;      /* chunk: last task; results: last task that ended (set when the block is closed) */
  double origin;    /* chunk with arguments: task of the first word (a chunk may be part of what was supplied) */
  double seconds;   /* results, final: what the chunk took */
  uint64_t size;    /* bytes of this block, header included */
  uint64_t floor;   /* lowest byte that values use */
  uint32_t kind;    /* enum block_kind */
  uint32_t chunk;   /* number of the chunk; job: number of the job */
  uint32_t job;     /* chunk: number of the job that it belongs to */
  uint32_t width;   /* chunk: words a task; 0: the worker makes the arguments from the index */
  uint32_t count;   /* words (dense) or pairs (sparse); sparse: kept up to date while the block is open */
  uint32_t final;   /* results: the chunk ends with this block */
  uint32_t claim;   /* chunk: see slot.h */
  uint32_t attempt; /* chunk: which try of its tasks this is, from 1 */
  uint64_t whole;   /* piece: size of the block that it is part of; 0 in its other pieces but the first. elsewhere: likewise */
  uint64_t pid;     /* elsewhere: the process that has the message */
  uint64_t file;    /* elsewhere: its descriptor */
  uint64_t key;     /* chunk: of the run's random numbers, see lua/parlua/worker/task.lua */
  uint64_t reserved[2];
  double word[1];
};

/* One direction between two sides: a ring of blocks, one producer, one consumer. The counters only grow. */
struct channel {
  uint32_t tail; /* blocks published; written by the producer */
  uint32_t open; /* tail + 1 while the next block is being filled and may be read up to `current` */
  uint32_t pad1[14];
  uint32_t head; /* blocks released; written by the consumer */
  uint32_t pad2[15];
};

struct slot {
  /* the worker's line */
  volatile double current; /* task that the worker is in; 0: none. All chunk's tasks before it have their results in place */
  volatile double started; /* monotonic seconds when the running chunk began */
  volatile double inner;   /* where a task of dispatch is a block of tasks: the one that the worker is in; else 0 */
  uint32_t blocked;        /* the worker waits for room to put results: not its task's fault */
  uint32_t asleep;         /* the worker sleeps on `bell` */
  uint32_t starved;        /* the worker ends, or was ended, because memory ran out */
  uint32_t pad1[7];
  /* the coordinator's line */
  volatile double limit[CHANNEL_BLOCKS]; /* last task that may still be begun, by place in the channel */
  uint32_t bell;                         /* futex: rung when `asleep` */
  uint32_t abandoned;                    /* the coordinator has given this worker up: end when you can */
  uint32_t id;                           /* number of the worker, from 1 */
  uint32_t pad2[5];
  struct channel in, out;
  uint32_t text_tail, pad3[15]; /* bytes written by the worker */
  uint32_t text_head, pad4[15]; /* bytes taken by the coordinator */
};

/* What dispatch reports. */
enum event_kind {
  EVENT_DONE = 0, /* every task has ended, or the run was cancelled and nothing is left running */
  EVENT_RESULTS,  /* `block` has `count` results for tasks from `first` on, from word `from` on (sparse: pairs) */
  EVENT_SUPPLY,   /* about `want` tasks from the source are wanted: call supply or exhausted */
  EVENT_LOST,     /* worker ended: task `first` is its failure (0: no task was to blame), `status` and `cause` tell why */
  EVENT_TEXT,     /* `bytes`, `length`: what tasks printed on `stream` (1 or 2), cut anywhere */
  EVENT_TICK,     /* a tenth of a second or more has passed since the last */
  EVENT_SIGNAL,   /* `status`: SIGINT, SIGTERM, SIGHUP */
  EVENT_TROUBLE   /* `status`: errno; no worker can be started */
};

enum lost_cause { LOST_CRASH = 1, LOST_TIMEOUT, LOST_CANCELLED, LOST_MEMORY, LOST_DAMAGED };

struct event {
  double first;
  double last; /* results: `want` tasks up to this one have ended since the last event of their chunk */
  double want;
  double seconds;
  double inner; /* lost: `inner` of the worker's slot */
  struct block *block;
  struct block *payload; /* what was supplied for these tasks, or NULL: valid until the next event */
  const char *bytes;
  uint64_t length;
  uint32_t kind;
  uint32_t from, count;
  uint32_t worker;
  uint32_t cause;
  uint32_t attempt;
  int32_t status;
  int32_t stream;
};

/* The worker's side, for the loop in lua/parlua/worker/init.lua. */
struct worker;
struct block *worker_receive(struct worker *worker);                      /* next chunk, job or stop; sleeps; ends the one before */
struct block *worker_open(struct worker *worker, double first, int kind); /* block for results; waits for room */
struct block *worker_current(struct worker *worker);                      /* the open block */
void worker_close(struct worker *worker, double last, uint32_t count, int final); /* publishes the open block */
double worker_lap(struct worker *worker);             /* seconds since the last lap or the chunk's beginning */
volatile double *worker_limit(struct worker *worker); /* cell of the last task of the received chunk that may be begun */
struct slot *worker_slot(struct worker *worker);

double clock_seconds(void); /* monotonic */

/* A task that ended, for the journal. Strings need not end with a zero byte; NULL: the row has none. */
struct journal_row {
  double run, task;
  double arguments; /* hash */
  double seconds;   /* below 0: not known */
  double number;    /* the result, where its kind is JOURNAL_NUMBER */
  const char *result, *kind, *message, *traceback, *host;
  uint32_t result_bytes, kind_bytes, message_bytes, traceback_bytes, host_bytes;
  uint32_t result_kind; /* enum journal_result */
  uint32_t failed;      /* the task is a failure: else kind, message and traceback are not looked at */
  uint32_t attempts, worker;
};

enum journal_result { JOURNAL_NIL, JOURNAL_NUMBER, JOURNAL_TEXT, JOURNAL_BYTES };

/* The journal's writer: see journal.h. */
struct journal;
/* Opens (or makes) the file and keeps other runs off it. NULL: *error is an errno, EAGAIN when another run has it. */
struct journal *journal_open(const char *path, int *error);
int journal_is_local(const struct journal *journal); /* is its file system known to be this machine's own? */
/* Begins to write: from now on rows are taken. Returns 0 or an errno. */
int journal_begin(struct journal *journal, const char *insert);
/* Takes a row; it is in the file soon after. Returns 0, or -1 when writing failed: then so does every further call. */
int journal_put(struct journal *journal, const struct journal_row *row);
int journal_failed(struct journal *journal);
const char *journal_message(const struct journal *journal); /* why, once writing failed */
/* Writes what is left and ends the thread. Returns 0 or -1, as journal_put. */
int journal_end(struct journal *journal);
/* Lets go of the file; after journal_end. The caller's own use of the library must have ended. */
void journal_close(struct journal *journal);

/* For serial runs: see hub.h. */
void signals_serial(int begin);
volatile double *signals_watch(volatile double *cell);
int signals_pending(void);
/* The script leaves an open run alone for a while, and comes back to it. While all are left alone, a signal does what it does in any
 * program; but when a loop over a stream is in its body it is noted, and only ends the program where the loop does not go on soon. */
void signals_pause(int is_loop);
void signals_resume(int is_loop);
void signals_again(int number); /* of the serial engine: a nested run hands the signal on to the run around it */
#endif
