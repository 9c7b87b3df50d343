/* layout.h - the memory that a coordinator and one worker both see. Plain C declarations only: the text is also given
 * to LuaJIT's ffi.cdef as it stands. Who writes what, in which order, and why that is enough: docs/PROTOCOL.md. slot.c
 * asserts the layout.
 *
 * A message is a `block`: a header, then words (8 bytes, one result or argument each) that grow up from the header, and
 * values that grow down from the end, like a slotted database page. A word is a double as it is, or, where its upper
 * half is one of the tags below (a region of NaNs that LuaJIT never makes for a number), a tag whose lower half says
 * where the value is, in units of 8 bytes from the block's beginning. A value is its length (uint64_t) and then that
 * many bytes. A block larger than a slot's own blocks travels in pieces. */
#ifndef PARLUA_LAYOUT_H
#define PARLUA_LAYOUT_H
#include <stdint.h>

enum {
  BLOCK_BYTES = 262144, /* one block in a slot: four of them fit the second-level cache of common processors */
  BLOCK_HEAD = 128,     /* header, words begin behind it */
  CHANNEL_BLOCKS = 4,   /* one running, one queued, one being filled, one spare */
  TEXT_BYTES = 65536,   /* ring for what tasks print */
  KEPT_BYTES = 1 << 20, /* of each of a program's two streams, so much of its end outlives the worker */
  KEPT_NAME = 256       /* of the program's name, with a NUL behind */
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
  TAG_RECORD = -10, /* results: a table of one shape, or several plain values: see lua/parlua/wire/shape.lua */
  TAG_LINE = -11,   /* results: value: the bytes of a line of the job's output, see lua/parlua/worker/line.lua */
  TAG_LOWEST = -65536
};

enum block_kind {
  BLOCK_CHUNK = 1, /* tasks first..last to run; with `width`, their arguments */
  BLOCK_JOB,       /* codec messages: what is needed to decode the second; what to run; the script's state */
  BLOCK_PIECE,     /* part of a larger block */
  BLOCK_STOP,      /* the worker ends */
  BLOCK_ELSEWHERE, /* stands for a message that lies in a file of another process */
  BLOCK_DENSE,     /* results: word k belongs to task first + k */
  BLOCK_SPARSE,    /* results: pairs of words, an index and what belongs to it */
  BLOCK_LENT,      /* stands for a chunk that lies in such a file, but for what concerns this chunk alone */
  BLOCK_FOLDED     /* results: one word, a list of values, for all tasks from first to last (engines/mpi/folding.h) */
};

struct block {
  double first;      /* chunk: first task; results: task of the first word; sparse: first task covered */
  double last;       /* chunk: last task; results: last task that ended (set when the block is closed) */
  double origin;     /* chunk with arguments: task of the first word (a chunk may be part of what was supplied) */
  double seconds;    /* results, final: what the chunk took */
  uint64_t size;     /* bytes of this block, header included */
  uint64_t floor;    /* lowest byte that values use */
  uint32_t kind;     /* enum block_kind */
  uint32_t chunk;    /* number of the chunk, never used twice by an engine; job: number of the job */
  uint32_t job;      /* chunk: number of the job that it belongs to */
  uint32_t width;    /* chunk: words a task; 0: the worker makes the arguments from the index */
  uint32_t count;    /* words (dense) or pairs (sparse); sparse: kept up to date while the block is open */
  uint32_t final;    /* results: the chunk ends with this block */
  uint32_t claim;    /* chunk: see slot.h */
  uint32_t attempt;  /* chunk: which try of its tasks this is, from 1 */
  uint64_t whole;    /* piece: size of the block that it is part of, in the first; else 0. elsewhere, lent: likewise */
  uint64_t pid;      /* elsewhere, lent: the process that has the message */
  uint64_t file;     /* elsewhere, lent: its descriptor */
  uint64_t is_range; /* chunk: its words are of all of its tasks together, not `width` for each */
  uint64_t key;      /* chunk: of the run's random numbers, see lua/parlua/task.lua */
  uint64_t reserved[1];
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
  volatile double
      current; /* task that the worker is in; 0: none. All chunk's tasks before it have their results in place */
  volatile double started; /* monotonic seconds when the running chunk's first task began */
  volatile double inner;   /* where a task of dispatch is a block of tasks: the one that the worker is in; else 0 */
  uint32_t chunk;          /* number of the chunk that `current` belongs to */
  uint32_t blocked;        /* the worker waits for room to put results: not its task's fault */
  uint32_t asleep;         /* the worker sleeps on `bell` */
  uint32_t starved;        /* the worker ends, or was ended, because memory ran out */
  uint32_t begun;          /* the worker has begun a chunk of its job: it is able to */
  uint32_t parked;         /* the worker waits for a message, and is in nothing but its own code */
  uint32_t done;           /* number of the chunk that it has ended last */
  uint32_t pad1[3];
  /* the coordinator's line */
  volatile double limit[CHANNEL_BLOCKS]; /* last task that may still be begun, by place in the channel */
  uint32_t bell;                         /* futex: rung when `asleep` */
  uint32_t abandoned;                    /* the coordinator has given this worker up: end when you can */
  uint32_t id;                           /* number of the worker, from 1 */
  uint32_t pad2[5];
  struct channel in, out;
  uint32_t text_tail, pad3[15]; /* bytes written by the worker */
  uint32_t text_head, pad4[15]; /* bytes taken by the coordinator */
  /* the program that the task waits for and whose output it collects: the worker's */
  volatile uint64_t kept[2];    /* bytes that it has written to its output, its errors */
  char kept_program[KEPT_NAME]; /* empty: there is none */
};

#endif
