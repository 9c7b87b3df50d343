/* transport.c - see transport.h. */
#include "engines/mpi/transport.h"

#include "sys/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAG = 1 };

/* Naps between two looks, by how long nothing has moved: a look costs up to 16 us with Open MPI (measured), so that the
 * longest costs less than 1% of a core, while what comes in quick succession is not kept waiting. */
struct nap {
  double idle, seconds;
};
static const struct nap naps[] = {{40e-6, 0}, {1e-3, 50e-6}, {5e-3, 200e-6}, {30e-3, 1e-3}, {INFINITY, 2.5e-3}};

/* A large message is moved by MPI in many small steps, each at a look at either side: while one is under way, no nap as
 * long as something moves now and then, and short ones after that. */
static const struct nap under_way = {5e-3, 50e-6};

/* While every worker has its next chunk queued, nobody waits for a message: so long a nap is hidden by the queue. */
static const double patient_nap = 200e-6;

/* A message under way. */
struct parcel {
  struct parcel *next;
  MPI_Request request;
  _Alignas(16) char bytes[]; /* the note, and what stands behind it */
};

void transport_open(struct transport *t, MPI_Comm comm)
{
  t->comm = comm;
  MPI_Comm_rank(comm, &t->rank);
  MPI_Comm_size(comm, &t->count);
  t->first = NULL;
  t->end = &t->first;
  t->moved = clock_seconds();
}

/* Bytes of a block's beginning (header and words, or header and piece) and of its end (values). False: they do not lie
 * within a block. */
static bool block_parts(const struct block *block, uint32_t count, size_t *head, size_t *values)
{
  *values = 0;
  *head = BLOCK_HEAD + (size_t)count * (block->kind == BLOCK_PIECE ? 1 : block->kind == BLOCK_SPARSE ? 16 : 8);
  if (block->kind != BLOCK_PIECE && block->floor < block->size) *values = block->size - block->floor;
  return *head <= BLOCK_BYTES && (*values == 0 || (block->size <= BLOCK_BYTES && block->floor >= *head));
}

size_t transport_block_bytes(const struct block *block, uint32_t count, size_t *head)
{
  size_t values;
  block_parts(block, count, head, &values);
  return *head + values;
}

/* A message of a note and `bytes` more, which are to be filled in. */
static struct parcel *new_parcel(const struct transport *t, const struct note *note, size_t bytes)
{
  struct parcel *parcel = malloc(sizeof *parcel + sizeof *note + bytes);
  if (!parcel) {
    fprintf(stderr, "parlua: rank %d: not enough memory for a message to another rank\n", t->rank);
    MPI_Abort(t->comm, 1);
    abort();
  }
  memcpy(parcel->bytes, note, sizeof *note);
  parcel->next = NULL;
  return parcel;
}

void transport_count(struct transport *t, size_t bytes)
{
  t->messages_sent++;
  t->bytes_sent += bytes;
}

static void send_off(struct transport *t, int rank, struct parcel *parcel, size_t bytes)
{
  MPI_Isend(parcel->bytes, (int)(sizeof(struct note) + bytes), MPI_BYTE, rank, TAG, t->comm, &parcel->request);
  transport_count(t, sizeof(struct note) + bytes);
  *t->end = parcel;
  t->end = &parcel->next;
  t->moved = clock_seconds();
}

void transport_send(struct transport *t, int rank, const struct note *note)
{
  send_off(t, rank, new_parcel(t, note, 0), 0);
}

void transport_send_bytes(struct transport *t, int rank, const struct note *note, const char *bytes, size_t length)
{
  struct parcel *parcel = new_parcel(t, note, length);
  memcpy(parcel->bytes + sizeof *note, bytes, length);
  send_off(t, rank, parcel, length);
}

bool transport_send_block(struct transport *t, int rank, const struct note *note, const struct block *block,
                          uint32_t count)
{
  struct block header; /* as it is now: the worker may be writing to the block */
  size_t head, values;
  memcpy(&header, block, BLOCK_HEAD);
  header.count = count;
  if (!block_parts(&header, count, &head, &values)) return false;
  struct parcel *parcel = new_parcel(t, note, head + values);
  char *copy = parcel->bytes + sizeof *note;
  memcpy(copy, &header, BLOCK_HEAD);
  memcpy(copy + BLOCK_HEAD, (const char *)block + BLOCK_HEAD, head - BLOCK_HEAD);
  if (values) memcpy(copy + head, (const char *)block + header.floor, values);
  send_off(t, rank, parcel, head + values);
  return true;
}

void transport_unpack(const struct transport *t, struct block *to)
{
  struct block header = {0};
  size_t head, values;
  if (t->length >= BLOCK_HEAD) memcpy(&header, t->bytes, BLOCK_HEAD);
  if (!block_parts(&header, header.count, &head, &values) || head + values != t->length) {
    fprintf(stderr, "parlua: a damaged message of %zu bytes from rank %d: the ranks do not run the same version\n",
            t->length, t->from);
    MPI_Abort(t->comm, 1);
  }
  memcpy(to, t->bytes, head);
  if (values) memcpy((char *)to + header.floor, t->bytes + head, values);
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
    free(parcel);
  }
  return t->first == NULL;
}

bool transport_receive(struct transport *t)
{
  MPI_Message message;
  MPI_Status status;
  int there, bytes;
  MPI_Improbe(MPI_ANY_SOURCE, TAG, t->comm, &there, &message, &status);
  if (!there) return false;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  if ((size_t)bytes < sizeof t->note || (size_t)bytes > sizeof t->note + sizeof t->bytes) {
    fprintf(stderr, "parlua: a message of %d bytes from rank %d: the ranks do not run the same version\n", bytes,
            status.MPI_SOURCE);
    MPI_Abort(t->comm, 1);
  }
  MPI_Mrecv(&t->note, bytes, MPI_BYTE, &message, &status);
  t->from = status.MPI_SOURCE;
  t->length = (size_t)bytes - sizeof t->note;
  if (t->note.kind != NOTE_BEAT) t->moved = clock_seconds();
  return true;
}

double transport_nap(const struct transport *t, enum pace pace)
{
  double idle = clock_seconds() - t->moved;
  int i = 0;
  if (pace == PACE_MOVING) return idle < under_way.idle ? 0 : under_way.seconds;
  while (idle > naps[i].idle) i++;
  return pace == PACE_PATIENT ? fmax(naps[i].seconds, patient_nap) : naps[i].seconds;
}
