/* transport.h - messages between the ranks of an MPI job. Each is one note, perhaps with a block or text behind it: at
 * most some 256 KiB, as larger blocks come in pieces anyway. MPI keeps the notes between two ranks in their order.
 * Nobody waits inside MPI: it would spin there. */
#ifndef PARLUA_MPI_TRANSPORT_H
#define PARLUA_MPI_TRANSPORT_H
#include <mpi.h>

#include "slot/slot.h"

enum note_kind {
  /* from rank 0 */
  NOTE_START, /* a worker for the seat */
  NOTE_KILL,
  NOTE_BLOCK,  /* block for the in channel, at `place`; with `last` */
  NOTE_SKIP,   /* in place of a block that was taken back */
  NOTE_LIMIT,  /* of the block at `place`: `last` */
  NOTE_BACK,   /* give back what was not begun; `last`: 1 to cut the running chunk too, if need be; the answer has the
                  same kind and   `id` */
  NOTE_ROOM,   /* out_head, text_head */
  NOTE_SAMPLE, /* `last`: how often to look at cells, in seconds */
  NOTE_END,    /* `last`: 1 after an interruption, else 0; passed on along the tree, as the next three (share.h) */
  NOTE_SHARE,  /* message `id` of `memory` bytes comes, in pieces */
  NOTE_WHOLE,  /* to the ranks of a node: message `id` of `memory` bytes is file `status` of process `pid` */
  NOTE_FORGET, /* message `id` is not needed any more */
  /* to rank 0; all but NOTE_BYE and NOTE_BACK tell the cells, and in_head */
  NOTE_RESULTS, /* closed block */
  NOTE_OPEN,    /* block that is being filled */
  NOTE_TEXT,    /* text for `stream` */
  NOTE_CELLS,
  NOTE_ENDED, /* `status` */
  NOTE_BEAT,  /* nothing else; of no worker */
  NOTE_BYE
};

struct note {
  uint32_t kind;
  uint32_t seat, life; /* the worker: where it sits, and how many sat there */
  uint32_t place;
  uint32_t id;
  uint32_t in_head, out_head, text_head;
  uint32_t blocked, starved, stream;
  int32_t status;
  double last;
  double current, inner;
  double running; /* seconds since the chunk began: clocks differ */
  uint64_t memory;
  int32_t pid;
  uint32_t chunk;    /* given back: its number, 0: nothing; it ends with task `last` now */
  uint32_t in_chunk; /* number of the chunk that `current` belongs to */
  uint32_t begun;
  uint32_t pad[2];
};

/* An agent whose workers have work says something at least so often, so that rank 0 knows that it is there. */
static const double beat_seconds = 5;

struct parcel;

struct transport {
  MPI_Comm comm; /* all ranks; rank 0 coordinates */
  int rank, count;
  struct parcel *first, **end; /* messages under way */
  double moved;                /* when something last did */
  uint64_t messages_sent, bytes_sent;
  /* What transport_receive received: */
  int from;
  size_t length; /* bytes behind the note */
  _Alignas(16) struct note note;
  char bytes[BLOCK_BYTES];
};
_Static_assert(sizeof(struct note) % 16 == 0, "a block behind a note is aligned");
_Static_assert(offsetof(struct transport, bytes) == offsetof(struct transport, note) + sizeof(struct note),
               "received in one");

void transport_open(struct transport *t, MPI_Comm comm);
/* What is sent is copied. Out of memory ends the job. */
void transport_send(struct transport *t, int rank, const struct note *note);
void transport_send_bytes(struct transport *t, int rank, const struct note *note, const char *bytes, size_t length);
/* Sends the block, as if it had `count` words, pairs or bytes: one that is being filled grows meanwhile. False: what
 * its header says of it can't be. */
bool transport_send_block(struct transport *t, int rank, const struct note *note, const struct block *block,
                          uint32_t count);
/* Bytes that a block takes on its way, when it has `count` words, pairs or bytes; those of its beginning alone in
 * *head. */
size_t transport_block_bytes(const struct block *block, uint32_t count, size_t *head);
/* Counts a message that was sent without this module. */
void transport_count(struct transport *t, size_t bytes);
/* Receives the next message; false: there is none. */
bool transport_receive(struct transport *t);
/* The received block, as it was. */
void transport_unpack(const struct transport *t, struct block *to);
/* Frees what has arrived at its end. Returns true when nothing is under way. */
bool transport_settle(struct transport *t);
/* What a nap may cost: a large message is under way; some worker may wait for a message; none does, as each has its
 * next chunk. */
enum pace { PACE_MOVING, PACE_AWAITED, PACE_PATIENT };

/* Seconds to nap before the next look: the longer nothing has moved, the longer. */
double transport_nap(const struct transport *t, enum pace pace);
#endif
