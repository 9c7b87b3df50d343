/* mailbox.h - a slot from the worker's side: receiving messages, filling blocks with results, printing. Knows nothing
 * of Lua; a worker that writes its results by FFI calls some of these itself (src/lua/ffi.h). */
#ifndef PARLUA_MAILBOX_H
#define PARLUA_MAILBOX_H
#include "slot/slot.h"
#include "sys/bell.h"
#include "sys/buffer.h"

struct worker {
  struct slot *slot;
  struct bell bell;
  void (*before_final)(
      void *);         /* called before a chunk's last block is published: what was printed must stand before it */
  void *context;       /* its argument */
  struct block *out;   /* block being filled */
  struct block *whole; /* a message that came in pieces */
  size_t whole_capacity;
  struct buffer *value;    /* its owner's, in which results are made; NULL: there is none */
  struct block *elsewhere; /* a message that lies in a file, mapped */
  size_t elsewhere_bytes;
  bool holding;        /* the oldest block of the in channel is in use */
  uint32_t chunk, job; /* numbers of what runs */
  double lap;
  double began;     /* when the running chunk was claimed */
  double waited;    /* seconds of the running chunk in which it waited for the coordinator */
  bool is_copy;     /* a task has forked, and this is the child */
  bool is_process;  /* no thread: it may end */
  bool has_no_bell; /* a task has closed its descriptor */
};

/* In front of an encoded value: a block's header, its words (at most a pair) and the value's length, so that a value
 * which is too large for a slot's block becomes a block of its own without another copy. */
enum { VALUE_OFFSET = BLOCK_HEAD + 16 + 8 };

/* Makes a worker on a slot, in memory that is all zero but for what the caller has set. */
void worker_open_mailbox(struct worker *worker, struct slot *slot, const struct bell *bell);
/* Gives back what it holds. */
void worker_close_mailbox(struct worker *worker);

/* The next message: a chunk, a job, or a block of kind BLOCK_STOP; waits for it. Ends the message before. */
struct block *worker_receive(struct worker *worker);
/* Cell of the last task of the received chunk that may be begun. */
volatile double *worker_limit(struct worker *worker);

/* Opens a block for results from task `first` on, of a block kind; waits for room. */
struct block *worker_open(struct worker *worker, double first, int kind);
/* The open block. */
struct block *worker_current(struct worker *worker);
/* Publishes the open block: tasks up to `last` have ended, it holds `count` words or pairs; `final`: the chunk ends
 * with it. */
void worker_close(struct worker *worker, double last, uint32_t count, int final);
/* Seconds since the last lap or the chunk's beginning. */
double worker_lap(struct worker *worker);
struct slot *worker_slot(struct worker *worker);

/* Puts an encoded value, which stands in `value` from VALUE_OFFSET on, into `block` as what belongs to `task`, word or
 * pair `k`. False: it does not fit. */
bool worker_place(const struct buffer *value, struct block *block, double task, uint64_t k, int tag);
/* Words or pairs that still fit the block, counted from its beginning. */
double worker_room(const struct block *block);
/* Sends the encoded value, and `more` bytes at `rest` which belong behind it, as a block of its own, in pieces. */
void worker_send_whole(struct worker *worker, struct buffer *value, const void *rest, size_t more, double task,
                       int kind, int tag);
/* Prints on stream 1 or 2, or into the log (3): into the ring of text; waits for room. */
void worker_print(struct worker *worker, int stream, const char *bytes, size_t length);
/* Bytes that are free in the ring of text. Each call of worker_print with up to half of the ring takes 4 more. */
size_t worker_text_room(const struct worker *worker);
/* The task waits for a program whose output it collects: what that writes from now on is kept for the case that the
 * worker ends. NULL: it waits no more. */
void worker_keep_program(struct worker *worker, const char *name);
/* The program has written to stream 1 or 2. */
void worker_keep(struct worker *worker, int stream, const void *bytes, size_t length);
/* The task waits for something that waits for room in the ring of text; or does so no more. */
void worker_hold(struct worker *worker, bool is_held);

#endif
