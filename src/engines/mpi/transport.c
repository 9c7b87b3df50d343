/* transport.c - see transport.h. */
#include "engines/mpi/transport.h"

#include "sys/clock.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* A message under way. */
struct parcel {
  struct parcel *next;
  MPI_Request request;
  uint32_t users;            /* itself, and pieces of it that are under way */
  struct parcel *whole;      /* NULL: it is no piece */
  struct payload *body;      /* where the last of its bytes lie; NULL: here */
  _Alignas(16) char bytes[]; /* the note, and what stands behind it */
};

bool transport_open(struct transport *t, MPI_Comm comm)
{
  t->comm = comm;
  MPI_Comm_rank(comm, &t->rank);
  MPI_Comm_size(comm, &t->count);
  t->first = NULL;
  t->end = &t->first;
  t->scrap = NULL;
  t->is_gone = NULL;
  t->moved = clock_seconds();
  t->parts = calloc((size_t)t->count, sizeof(struct message *));
  t->gone = calloc((size_t)t->count, sizeof *t->gone);
  return t->parts && t->gone;
}

static _Noreturn void lack_memory(const struct transport *t)
{
  fprintf(stderr, "parlua: rank %d: not enough memory for a message of another rank\n", t->rank);
  MPI_Abort(t->comm, 1);
  abort();
}

struct parcel *transport_begin(const struct transport *t, const struct note *note, size_t room)
{
  struct parcel *parcel = malloc(sizeof *parcel + sizeof *note + room);
  if (!parcel) lack_memory(t);
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
  MPI_Isend(at, (int)bytes, MPI_BYTE, rank, TAG, t->comm, &parcel->request);
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
  for (struct parcel **link = &t->first, *parcel; (parcel = *link);) {
    int done;
    MPI_Test(&parcel->request, &done, MPI_STATUS_IGNORE);
    if (!done) {
      link = &parcel->next;
      continue;
    }
    *link = parcel->next;
    if (t->end == &parcel->next) t->end = link;
    leave_parcel(parcel);
  }
  return t->first == NULL;
}

static _Noreturn void refuse(const struct transport *t, int from, size_t bytes)
{
  fprintf(stderr, "parlua: a message of %zu bytes from rank %d: the ranks do not run the same version\n", bytes, from);
  MPI_Abort(t->comm, 1);
  abort();
}

/* Receives what was found. The sender has a hand in what is large: false when it has died before it was through. MPI
 * may write there for ever then. */
static bool receive(struct transport *t, int from, void *to, size_t bytes, MPI_Message *there)
{
  static const double check_seconds = 0.05;
  MPI_Request request;
  int done = 0;
  MPI_Imrecv(to, (int)bytes, MPI_BYTE, there, &request);
  MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  for (double checked = done ? 0 : clock_seconds(); !done;) {
    double now = clock_seconds();
    if (now - checked >= check_seconds) {
      if (t->is_gone && t->is_gone(from)) {
        t->gone[from] = true;
        return false;
      }
      checked = now;
    }
    sched_yield();
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  }
  return true;
}

/* Receives a piece of a message into its place; NULL: more are to come. */
static struct message *receive_piece(struct transport *t, int from, MPI_Message *there, size_t bytes)
{
  struct message *message = t->parts[from];
  uint64_t whole = message->note.whole;
  if (bytes > whole - message->have || bytes > PIECE_BYTES) refuse(t, from, bytes);
  char *to = message->is_cut ? t->scrap : message->bytes + message->have;
  if (!receive(t, from, to, bytes, there)) return NULL;
  message->have += bytes;
  t->moved = clock_seconds();
  if (message->have < whole) return NULL;
  t->parts[from] = NULL;
  return message;
}

/* The first piece of a message: makes room for all of it. */
static void await_rest(struct transport *t, struct message *message)
{
  uint64_t whole = message->note.whole;
  if (!t->scrap) t->scrap = malloc(PIECE_BYTES); /* before memory is short */
  if (!t->scrap) lack_memory(t);
  message->body = message->note.kind == NOTE_GIVE ? payload_lent(whole) : payload_of(whole);
  message->is_cut = !message->body;
  if (message->body) {
    message->bytes = (char *)&message->body->block;
    memcpy(message->bytes, message->own, message->length);
    message->length = whole;
  }
  t->parts[message->from] = message;
}

void message_free(struct message *message)
{
  if (message) payload_drop(NULL, message->body);
  free(message);
}

struct message *transport_receive(struct transport *t)
{
  MPI_Message there;
  MPI_Status status;
  int is_there, bytes;
  for (;;) {
    MPI_Improbe(MPI_ANY_SOURCE, TAG, t->comm, &is_there, &there, &status);
    if (!is_there) return NULL;
    if (t->gone[status.MPI_SOURCE]) continue;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    t->bytes_received += (uint64_t)bytes;
    if (t->parts[status.MPI_SOURCE]) {
      struct message *whole = receive_piece(t, status.MPI_SOURCE, &there, (size_t)bytes);
      if (whole) return whole;
      continue;
    }
    if ((size_t)bytes < sizeof(struct note)) refuse(t, status.MPI_SOURCE, (size_t)bytes);
    struct message *message = malloc(sizeof *message + (size_t)bytes - sizeof(struct note));
    if (!message) lack_memory(t);
    if (!receive(t, status.MPI_SOURCE, &message->note, (size_t)bytes, &there)) continue;
    t->messages_received++;
    message->next = NULL;
    message->from = status.MPI_SOURCE;
    message->is_cut = false;
    message->length = message->have = (size_t)bytes - sizeof(struct note);
    message->bytes = message->own;
    message->body = NULL;
    if (message->note.kind != NOTE_BEAT) t->moved = clock_seconds();
    if (message->note.whole <= message->length) return message;
    await_rest(t, message);
  }
}

double transport_nap(const struct transport *t, enum pace pace, double crowd)
{
  double idle = clock_seconds() - t->moved;
  int i = 0;
  if (pace == PACE_MOVING) return idle < under_way.idle ? 0 : under_way.seconds;
  while (idle > naps[i].idle) i++;
  double seconds = fmin(naps[i].seconds * crowd, longest_nap);
  return pace == PACE_PATIENT ? fmax(seconds, patient_nap) : seconds;
}
