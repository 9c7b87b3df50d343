/* layout.h - the memory that a coordinator and one worker both see. Plain C declarations only: the text is also given
 * to LuaJIT's ffi.cdef as it stands, behind that of block.h. Who writes what, in which order, and why that is enough:
 * docs/PROTOCOL.md. slot.c asserts the layout. */
#ifndef PARLUA_LAYOUT_H
#define PARLUA_LAYOUT_H
#include <stdint.h>

#include "slot/block.h"

enum {
  CHANNEL_BLOCKS = 4,   /* one running, one queued, one being filled, one spare */
  TEXT_BYTES = 65536,   /* ring for what tasks print */
  KEPT_BYTES = 1 << 20, /* of each of a program's two streams, so much of its end outlives the worker */
  KEPT_NAME = 256       /* of the program's name, with a NUL behind */
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
