/* transport.h - messages between the ranks of an MPI job: a note, and perhaps bytes behind it. MPI keeps those between
 * two ranks in their order. Large ones go in pieces. Nobody waits inside MPI: it would spin there. */
#ifndef PARLUA_MPI_TRANSPORT_H
#define PARLUA_MPI_TRANSPORT_H
#include <mpi.h>

#include "run/work.h"

enum note_kind {
  /* To an agent, from its parent. All but the last five are of an engine, most of its run. */
  NOTE_BEGIN = 1, /* a run begins: `workers` of the engine's `all`, job number `job`; behind it the job, or it is shared
                    message `id`; and then `rows` bytes for the rows of a journal (engines/cluster.h) */
  NOTE_GIVE,      /* tasks first..last, as try number `attempt`; behind it, what was supplied for them, or process `pid`
                     has lent `size` bytes with that behind descriptor `id` until they have ended */
  NOTE_ASK,       /* for tasks that were not begun, for `idle` workers elsewhere; 0: of those not handed out alone */
  NOTE_LOWER,     /* tasks behind `last` are of no use */
  NOTE_ABORT,     /* end task `first` */
  NOTE_CANCEL,    /* end all */
  NOTE_USED,      /* so many bytes of reports were used: `size` */
  NOTE_CLOSE,     /* the run ends; `status`: an answer is awaited */
  NOTE_LEAVE,     /* the engine is closed */
  NOTE_FAREWELL,  /* the answer to NOTE_BYE: the last that the parent sends */
  NOTE_END,       /* `status`, `is_soon`: as in mpi_tell_end; passed on along the tree, as the next three
                     (share.h); `id`: 1 when it comes from the parent, past that tree */
  NOTE_SHARE,     /* message `id` of `size` bytes comes, in pieces */
  NOTE_WHOLE,     /* to the ranks of a node: message `id` of `size` bytes is file `status` of process `pid` */
  NOTE_FORGET,    /* message `id` is not needed any more */
  /* To the parent. */
  NOTE_REPORT, /* what became of tasks: records (report.h); and what is wanted. What stands behind the last record may
                  have been lent, as by NOTE_GIVE, until that is used */
  NOTE_CLOSED, /* the run has ended here */
  NOTE_APART,  /* what it lends can't be mapped here: it is to be sent */
  NOTE_BEAT,   /* nothing else */
  NOTE_BYE
};

struct note {
  uint32_t kind;
  uint32_t engine, run; /* numbers */
  uint32_t id;
  uint32_t all, workers, job, is_sparse;
  uint32_t attempt, idle, lacking;
  int32_t status, pid;
  uint32_t group; /* open: as of struct dispatch_options */
  double first, last;
  double chunk, timeout;
  double allowed, seen; /* report: tasks that may be given in all; that had come when this was found */
  double per_task;      /* seconds */
  double unassigned;    /* tasks that are not handed out there */
  double fan;           /* open: of how many ranks the parent hears */
  uint64_t memory, key, size;
  uint64_t rows;
  uint32_t is_soon, is_gathered;
  uint64_t whole; /* bytes behind the note, of which only some come with it; else 0 */
};

/* Says where memory is that was lent. */
static inline void note_lent(struct note *note, const struct payload *payload)
{
  struct lender lender = lent_by(&payload->block);
  note->pid = lender.pid;
  note->id = (uint32_t)lender.file;
  note->size = payload->block.size;
}

static inline struct lender note_lender(const struct note *note)
{
  return (struct lender){note->pid, (int)note->id};
}

/* One that was received. */
struct message {
  struct link link; /* among those that are to be taken */
  int from;
  bool is_cut;          /* there was no memory for it: only what has come with the note is here */
  size_t length, have;  /* bytes behind the note; of them, received */
  char *bytes;          /* they lie in `own` or, in a large message, are the block of `body` */
  struct payload *body; /* NULL: it is not large. Who takes it puts NULL in its place */
  _Alignas(16) struct note note;
  char own[];
};
_Static_assert(sizeof(struct note) % 16 == 0, "what stands behind a note is aligned");

/* The first of a list; NULL: there is none. */
static inline struct message *message_first(const struct link *messages)
{
  return list_is_empty(messages) ? NULL : LIST_OF(messages->next, struct message, link);
}

/* Takes it out. */
static inline struct message *message_take(struct link *messages)
{
  struct message *message = message_first(messages);
  if (message) link_remove(&message->link);
  return message;
}

/* An agent that has a run says something at least so often, so that its parent knows that it is there. */
static const double beat_seconds = 5;

struct parcel;

enum {
  LARGE_MESSAGE = 1 << 20, /* messages from so many bytes on go in pieces */
  SMALL_ROOM = 8192        /* bytes behind a note that a rank can't do without */
};

/* Another rank. */
struct peer {
  struct message *part; /* of which pieces are to come; NULL: none are */
  uint32_t arrivals;    /* that wait */
  bool is_lost;
  uint64_t round; /* in which it had its turn */
  double heard;   /* when something last came in full, if only a piece of a message */
};

struct transport {
  MPI_Comm comm; /* all ranks; rank 0 coordinates */
  int rank, count;
  struct parcel *first, **end;              /* messages under way */
  struct arrival *arrivals, **arrivals_end; /* what MPI has found here, and has not come in full */
  struct peer *peers;                       /* by rank */
  uint32_t waiting;                         /* arrivals from ranks that are not lost */
  uint64_t rounds;                          /* looks at arrivals */
  char *scrap;                              /* where pieces go for which there is no memory; NULL: none has come yet */
  double moved;                             /* when something last did */
  uint64_t messages_sent, bytes_sent, messages_received, bytes_received;
};

/* False: out of memory. */
bool transport_open(struct transport *t, MPI_Comm comm);
/* Memory for what a rank can't do without. Where there is none for long, the rank ends, and others do its tasks; rank 0
 * ends the job, which is its script's. */
void *transport_need(struct transport *t, size_t bytes);
/* A message to be filled in, of a note and at most `room` bytes behind it. NULL: out of memory, where that is more than
 * SMALL_ROOM; less is waited for. */
struct parcel *transport_begin(struct transport *t, const struct note *note, size_t room);
struct note *parcel_note(struct parcel *parcel);
char *parcel_bytes(struct parcel *parcel);
/* Sends it, with so many bytes. */
void transport_send_off(struct transport *t, int rank, struct parcel *parcel, size_t bytes);
/* The same, and behind them `more` bytes at `at`, which lie in `body` and are sent from there: a use of it becomes the
 * transport's. */
void transport_send_on(struct transport *t, int rank, struct parcel *parcel, size_t bytes, struct payload *body,
                       const void *at, size_t more);
void transport_send(struct transport *t, int rank, const struct note *note);
/* Counts a message that was sent without this module. */
void transport_count(struct transport *t, size_t bytes);
/* Receives the next message; NULL: there is none. The caller's, for message_free. */
struct message *transport_receive(struct transport *t);
void message_free(struct message *message);
/* Frees what has arrived at its end. Returns true when nothing is under way, to other ranks or from them. */
bool transport_settle(struct transport *t);
/* The rank is lost: nothing more is received from it, nor waited for. MPI may still read what was under way to it, and
 * write to where something came from it: that stays. */
void transport_lose(struct transport *t, int rank);
/* What a nap may cost: nobody will wait for a message for long; nobody does, as all have enough to do; somebody may; a
 * large message is under way. */
enum pace { PACE_NONE, PACE_GATHERED, PACE_PATIENT, PACE_AWAITED, PACE_MOVING, PACES };
static const double gathered_nap = 5e-3; /* in the first case */

/* Seconds to nap before the next look: the longer nothing has moved, the longer. `crowd`: ranks for each processor. */
double transport_nap(const struct transport *t, enum pace pace, double crowd);
#endif
