/* block.h - a message between a coordinator and a worker. Plain C declarations only: the text is also given to LuaJIT's
 * ffi.cdef as it stands. Who writes what, in which order, and why that is enough: docs/PROTOCOL.md. slot.c asserts the
 * layout.
 *
 * A message is a `block`: a header, then words (8 bytes, one result or argument each) that grow up from the header, and
 * values that grow down from the end, like a slotted database page. A word is a double as it is, or, where its upper
 * half is one of the tags below (a region of NaNs that LuaJIT never makes for a number), a tag whose lower half says
 * where the value is, in units of 8 bytes from the block's beginning. A value is its length (uint64_t) and then that
 * many bytes. A block larger than a slot's own blocks travels in pieces. */
#ifndef PARLUA_BLOCK_H
#define PARLUA_BLOCK_H
#include <stdint.h>

enum {
  BLOCK_BYTES = 262144, /* one block in a slot: four of them fit the second-level cache of common processors */
  BLOCK_HEAD = 128      /* header, words begin behind it */
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

#endif
