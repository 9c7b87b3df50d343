/* transport.c - see transport.h. */
#include "engines/mpi/transport.h"

#include "sys/clock.h"
#include "sys/signals.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAG = 1, PIECE_BYTES = 1 << 19 /* is moved in some 100 us */ };

/* Naps between two looks, by how long nothing has moved: a look costs up to 16 us with Open MPI (measured), so that the
 * longest costs less than 1% of a core, while what comes in quick succession is not kept waiting. The shortest leaves
 * the processor to a worker of this machine, whose answer is what is waited for: it halves the time of a short call
 * where ranks and workers are more than processors. Where several ranks share a processor, each look takes it from
 * another rank, which then takes longer to have something to say: naps are so many times as long. */
struct nap {
  double idle, seconds;
};
static const double longest_nap = 2.5e-3;
static const struct nap naps[] = {{5e-6, 0},      {40e-6, 10e-6}, {1e-3, 50e-6},
                                  {5e-3, 200e-6}, {30e-3, 1e-3},  {INFINITY, longest_nap}};

/* A large message is moved by MPI in many small steps, each at a look at either side: while one is under way, no nap as
 * long as something moves now and then, and short ones after that. */
static const struct nap under_way = {5e-3, 50e-6};

/* While every worker has its next chunk queued, nobody waits for a message: so long a nap is hidden by the queue. */
static const double patient_nap = 500e-6;

/* How long a rank waits for memory that it can't do without: what is under way may have to arrive first. */
static const double patience_seconds = 10;

/* A message under way. */
struct parcel {
  struct parcel *next;
  MPI_Request request;
  int to;
  uint32_t users;            /* itself, and pieces of it that are under way */
  struct parcel *whole;      /* NULL: it is no piece */
  struct payload *body;      /* where the last of its bytes lie; NULL: here */
  _Alignas(16) char bytes[]; /* the note, and what stands behind it */
};

/* Something that MPI has found here and that has not come in full: a message, or a piece of one. */
struct arrival {
  struct arrival *next;
  int from;
  size_t bytes;
  MPI_Message there;       /* to be received, or */
  struct message *message; /* being received as this message, or as a piece of it; else NULL */
  MPI_Request request;
};

bool transport_open(struct transport *t, MPI_Comm comm)
{
  *t = (struct transport){.comm = comm, .moved = clock_seconds()};
  MPI_Comm_rank(comm, &t->rank);
  MPI_Comm_size(comm, &t->count);
  t->end = &t->first;
  t->arrivals_end = &t->arrivals;
  t->peers = calloc((size_t)t->count, sizeof *t->peers);
  return t->peers;
}

void *transport_need(struct transport *t, size_t bytes)
{
  double since = clock_seconds();
  for (void *memory;; sched_yield()) {
    if ((memory = malloc(bytes))) return memory;
    transport_settle(t);
    if (clock_seconds() - since > patience_seconds) break;
  }
  fprintf(stderr, "parlua: rank %d ends: it has no memory for messages\n", t->rank);
  if (t->rank > 0) _exit(1);
  MPI_Abort(t->comm, 1);
  abort();
}

struct parcel *transport_begin(struct transport *t, const struct note *note, size_t room)
{
  size_t bytes = sizeof(struct parcel) + sizeof *note + room;
  struct parcel *parcel = room > SMALL_ROOM ? malloc(bytes) : transport_need(t, bytes);
  if (!parcel) return NULL;
  memcpy(parcel->bytes, note, sizeof *note);
  parcel->next = NULL;
  parcel->users = 1;
  parcel->whole = NULL;
  parcel->body = NULL;
  return parcel;
}

struct note *parcel_note(struct parcel *parcel)
{
  return (struct note *)(void *)parcel->bytes;
}

char *parcel_bytes(struct parcel *parcel)
{
  return parcel->bytes + sizeof(struct note);
}

void transport_count(struct transport *t, size_t bytes)
{
  t->messages_sent++;
  t->bytes_sent += bytes;
}

/* Sends `bytes` bytes from `at` on, which stay the parcel's. */
static void post(struct transport *t, int rank, struct parcel *parcel, const char *at, size_t bytes)
{
  signals_elsewhere++;
  MPI_Isend(at, (int)bytes, MPI_BYTE, rank, TAG, t->comm, &parcel->request);
  signals_elsewhere--;
  parcel->to = rank;
  transport_count(t, bytes);
  *t->end = parcel;
  t->end = &parcel->next;
  t->moved = clock_seconds();
}

void transport_send_on(struct transport *t, int rank, struct parcel *parcel, size_t bytes, struct payload *body,
                       const void *at, size_t more)
{
  const char *next = at;
  parcel_note(parcel)->whole = more > 0 ? bytes + more : 0;
  parcel->body = body;
  post(t, rank, parcel, parcel->bytes, sizeof(struct note) + bytes);
  for (size_t n; more > 0; more -= n, next += n) { /* the rest as it is: the receiver knows that it comes */
    n = more < PIECE_BYTES ? more : PIECE_BYTES;
    struct parcel *piece = transport_begin(t, parcel_note(parcel), 0);
    piece->whole = parcel;
    parcel->users++;
    post(t, rank, piece, next, n);
  }
}

void transport_send_off(struct transport *t, int rank, struct parcel *parcel, size_t bytes)
{
  size_t first = bytes <= LARGE_MESSAGE ? bytes : PIECE_BYTES;
  const char *more = bytes > first ? parcel_bytes(parcel) + first : NULL;
  transport_send_on(t, rank, parcel, first, NULL, more, bytes - first);
}

void transport_send(struct transport *t, int rank, const struct note *note)
{
  transport_send_off(t, rank, transport_begin(t, note, 0), 0);
}

static void leave_parcel(struct parcel *parcel)
{
  struct parcel *whole = parcel->whole;
  if (--parcel->users == 0) {
    payload_drop(NULL, parcel->body);
    free(parcel);
  }
  if (whole) leave_parcel(whole);
}

bool transport_settle(struct transport *t)
{
  bool is_settled = t->waiting == 0;
  for (struct parcel **link = &t->first, *parcel; (parcel = *link);) {
    int done = 0;
    bool is_lost = t->peers[parcel->to].is_lost;
    if (!is_lost) MPI_Test(&parcel->request, &done, MPI_STATUS_IGNORE);
    if (!done) {
      is_settled &= is_lost;
      link = &parcel->next;
      continue;
    }
    *link = parcel->next;
    if (t->end == &parcel->next) t->end = link;
    leave_parcel(parcel);
  }
  return is_settled;
}

static _Noreturn void refuse(const struct transport *t, int from, size_t bytes)
{
  fprintf(stderr, "parlua: a message of %zu bytes from rank %d: the ranks do not run the same version\n", bytes, from);
  MPI_Abort(t->comm, 1);
  abort();
}

/* Begins to receive what was found: where its message has room for it, or as a message of its own. */
static void begin_receiving(struct transport *t, struct arrival *arrival)
{
  struct message *message = t->peers[arrival->from].part;
  size_t bytes = arrival->bytes;
  char *to;
  if (message) {
    if (bytes > message->note.whole - message->have || bytes > PIECE_BYTES) refuse(t, arrival->from, bytes);
    to = message->is_cut ? t->scrap : message->bytes + message->have;
  } else {
    if (bytes < sizeof(struct note)) refuse(t, arrival->from, bytes);
    message = transport_need(t, sizeof *message + bytes - sizeof(struct note));
    *message = (struct message){.from = arrival->from, .bytes = message->own};
    to = (char *)&message->note;
  }
  arrival->message = message;
  MPI_Imrecv(to, (int)bytes, MPI_BYTE, &arrival->there, &arrival->request);
}

static bool has_come(struct transport *t, struct arrival *arrival)
{
  int done;
  if (!arrival->message) begin_receiving(t, arrival);
  MPI_Test(&arrival->request, &done, MPI_STATUS_IGNORE);
  return done;
}

/* The first piece of a message: makes room for all of it. */
static void await_rest(struct transport *t, struct message *message)
{
  uint64_t whole = message->note.whole;
  if (!t->scrap) t->scrap = transport_need(t, PIECE_BYTES); /* before memory is short */
  message->body = message->note.kind == NOTE_GIVE ? payload_lent(whole) : payload_of(whole);
  message->is_cut = !message->body;
  if (message->body) {
    message->bytes = (char *)&message->body->block;
    memcpy(message->bytes, message->own, message->length);
    message->length = whole;
  }
  t->peers[message->from].part = message;
}

void message_free(struct message *message)
{
  if (message) payload_drop(NULL, message->body);
  free(message);
}

/* Takes what has come in full; NULL: more is to come of its message. */
static struct message *take(struct transport *t, const struct arrival *arrival)
{
  struct message *message = arrival->message;
  struct peer *peer = &t->peers[arrival->from];
  double now = clock_seconds();
  peer->heard = now;
  if (peer->part) {
    t->moved = now;
    message->have += arrival->bytes;
    if (message->have < message->note.whole) return NULL;
    peer->part = NULL;
    return message;
  }
  t->messages_received++;
  message->length = message->have = arrival->bytes - sizeof(struct note);
  if (message->note.kind != NOTE_BEAT) t->moved = now;
  if (message->note.whole <= message->length) return message;
  await_rest(t, message);
  return NULL;
}

/* Looks whether some of what MPI has found has come in full; what comes from one rank is taken in its order. */
static struct message *receive_on(struct transport *t)
{
  t->rounds++;
  for (struct arrival **link = &t->arrivals, *arrival; (arrival = *link);) {
    struct peer *peer = &t->peers[arrival->from];
    bool is_next = peer->round != t->rounds;
    peer->round = t->rounds;
    if (!is_next || peer->is_lost || !has_come(t, arrival)) {
      link = &arrival->next;
      continue;
    }
    peer->round = 0; /* the next from there has its turn */
    peer->arrivals--;
    t->waiting--;
    *link = arrival->next;
    if (t->arrivals_end == &arrival->next) t->arrivals_end = link;
    struct message *message = take(t, arrival);
    free(arrival);
    if (message) return message;
  }
  return NULL;
}

static void keep_arrival(struct transport *t, const struct arrival *found)
{
  struct arrival *arrival = transport_need(t, sizeof *arrival);
  *arrival = *found;
  t->peers[arrival->from].arrivals++;
  t->waiting++;
  *t->arrivals_end = arrival;
  t->arrivals_end = &arrival->next;
}

struct message *transport_receive(struct transport *t)
{
  MPI_Status status;
  int is_there, bytes;
  struct message *message = t->arrivals ? receive_on(t) : NULL;
  while (!message) {
    struct arrival found = {0};
    MPI_Improbe(MPI_ANY_SOURCE, TAG, t->comm, &is_there, &found.there, &status);
    if (!is_there) return NULL;
    found.from = status.MPI_SOURCE;
    if (t->peers[found.from].is_lost) continue;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    t->bytes_received += found.bytes = (size_t)bytes;
    if (t->peers[found.from].arrivals > 0 || !has_come(t, &found))
      keep_arrival(t, &found);
    else
      message = take(t, &found);
  }
  return message;
}

void transport_lose(struct transport *t, int rank)
{
  t->peers[rank].is_lost = true;
  t->waiting -= t->peers[rank].arrivals;
}

double transport_nap(const struct transport *t, enum pace pace, double crowd)
{
  double idle = clock_seconds() - t->moved;
  int i = 0;
  if (pace == PACE_GATHERED) return gathered_nap;
  if (pace == PACE_MOVING) return idle < under_way.idle ? 0 : under_way.seconds;
  while (idle > naps[i].idle) i++;
  double seconds = fmin(naps[i].seconds * crowd, longest_nap);
  return pace == PACE_PATIENT ? fmax(seconds, patient_nap) : seconds;
}
