/* network.c - see network.h. */
#include "network.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/mpi/report.h"
#include "memory.h"
#include "rank.h"
#include "world.h"

struct network network;

/* A message under way, or come. */
struct packet {
  struct packet *next;
  int from, to, tag;
  size_t bytes;
  char content[];
};

struct request {
  double done_at; /* of one that sends, or receives what was found */
  bool is_receive;
  struct packet *found; /* what was; else NULL */
  int from, tag;
  size_t room;
  void *into;
};

static struct packet **find(struct simulated_rank *rank, int from, int tag)
{
  for (struct packet **link = &rank->first; *link; link = &(*link)->next)
    if ((*link)->tag == tag && (from == MPI_ANY_SOURCE || (*link)->from == from)) return link;
  return NULL;
}

static struct packet *take(struct simulated_rank *rank, struct packet **link)
{
  struct packet *packet = *link;
  *link = packet->next;
  if (rank->end == &packet->next) rank->end = link;
  return packet;
}

int network_first_from(const struct simulated_rank *rank)
{
  return rank->first->from;
}

void network_drop(struct simulated_rank *rank)
{
  while (rank->first) memory_own_free(take(rank, &rank->first));
}

static void arrive(void *what, uint64_t which)
{
  struct packet *packet = what;
  struct simulated_rank *rank = rank_of(packet->to);
  (void)which;
  packet->next = NULL;
  if (rank->is_lost || rank->has_left) {
    if (!rank->is_lost) rank_left_unread(rank, packet->from);
    memory_own_free(packet);
    return;
  }
  *rank->end = packet;
  rank->end = &packet->next;
}

static double *last_at(struct simulated_rank *rank, int to)
{
  size_t bytes = (size_t)ranks_count() * sizeof *rank->last_at;
  if (!rank->last_at) {
    rank->last_at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (rank->last_at == MAP_FAILED) fault("no memory for a simulated rank");
  }
  return &rank->last_at[to];
}

/* What a message says that begins here, unless it is a piece of one. */
static void count_kinds(const char *content, size_t size)
{
  const struct note *note = (const struct note *)(const void *)content;
  if (size < sizeof *note || note->kind > NOTE_BYE) return;
  network.notes[note->kind]++;
  if (note->kind != NOTE_REPORT || note->whole) return;
  for (size_t at = sizeof *note; at < size;) {
    const struct record *record = (const struct record *)(const void *)(content + at);
    network.records[record->kind]++;
    at += sizeof *record + record->bytes;
  }
}

static void count(int rank, const char *content, size_t bytes)
{
  if (rank != 0) return;
  network.messages++;
  network.bytes += bytes;
  count_kinds(content, bytes);
}

int MPI_Isend(const void *bytes, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
  size_t size = (size_t)n * (size_t)type;
  struct packet *packet = memory_own(NULL, sizeof *packet + size);
  double *last = last_at(here, to), began = world.now + here->debt;
  (void)comm;
  *packet = (struct packet){.from = here->number, .to = to, .tag = tag, .bytes = size};
  memcpy(packet->content, bytes, size);
  *last = fmax(*last, began + network.least + random_about(network.latency) + (double)size / network.bytes_per_second);
  world_at(*last, arrive, packet, 0);
  here->debt += ranks_costs()->send + ranks_costs()->byte * (double)size;
  count(to, bytes, size);
  count(here->number, bytes, size);
  *request = memory_own(NULL, sizeof **request);
  **request = (struct request){.done_at = *last};
  return 0;
}

int MPI_Irecv(void *bytes, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request)
{
  (void)comm;
  *request = memory_own(NULL, sizeof **request);
  **request =
      (struct request){.is_receive = true, .from = from, .tag = tag, .room = (size_t)n * (size_t)type, .into = bytes};
  return 0;
}

static void receive_packet(struct packet *packet, void *into)
{
  memcpy(into, packet->content, packet->bytes);
  here->debt += ranks_costs()->receive + ranks_costs()->byte * (double)packet->bytes;
  memory_own_free(packet);
}

/* The sender has a hand in what is large: when it is lost, the rest never comes. */
static bool receive_found(const struct request *request)
{
  if (world.now + here->debt < request->done_at || rank_of(request->found->from)->is_lost) return false;
  receive_packet(request->found, request->into);
  return true;
}

static bool receive(const struct request *request)
{
  if (request->found) return receive_found(request);
  struct packet **link = find(here, request->from, request->tag);
  if (!link) return false;
  struct packet *packet = take(here, link);
  if (packet->bytes > request->room)
    fault("a piece of %zu bytes came where %zu were due", packet->bytes, request->room);
  receive_packet(packet, request->into);
  return true;
}

int MPI_Test(MPI_Request *request, int *is_done, MPI_Status *status)
{
  (void)status;
  *is_done = 1;
  if (*request == MPI_REQUEST_NULL) return 0;
  const struct request *r = *request;
  *is_done = r->is_receive ? receive(r) : world.now + here->debt >= r->done_at;
  if (!*is_done) return 0;
  memory_own_free(*request);
  *request = MPI_REQUEST_NULL;
  return 0;
}

int MPI_Improbe(int from, int tag, MPI_Comm comm, int *is_there, MPI_Message *message, MPI_Status *status)
{
  struct packet **link = find(here, from, tag);
  (void)comm;
  *is_there = link != NULL;
  if (!link) {
    here->debt += ranks_costs()->look;
    return 0;
  }
  *message = take(here, link);
  here->yield = 0;
  *status = (MPI_Status){.MPI_SOURCE = (*message)->from, .bytes = (int)(*message)->bytes};
  return 0;
}

int MPI_Get_count(const MPI_Status *status, MPI_Datatype type, int *n)
{
  *n = status->bytes / type;
  return 0;
}

int MPI_Imrecv(void *bytes, int n, MPI_Datatype type, MPI_Message *message, MPI_Request *request)
{
  enum { EAGER_BYTES = 4096 };
  struct packet *packet = *message;
  (void)n, (void)type;
  *request = MPI_REQUEST_NULL;
  if (packet->bytes <= EAGER_BYTES) {
    receive_packet(packet, bytes);
    return 0;
  }
  *request = memory_own(NULL, sizeof **request);
  **request = (struct request){.is_receive = true, .found = packet, .into = bytes};
  (*request)->done_at = world.now + here->debt + network.latency;
  return 0;
}

int MPI_Comm_rank(MPI_Comm comm, int *rank)
{
  (void)comm;
  *rank = here->number;
  return 0;
}

int MPI_Comm_size(MPI_Comm comm, int *size)
{
  (void)comm;
  *size = ranks_count();
  return 0;
}

int MPI_Abort(MPI_Comm comm, int status)
{
  (void)comm;
  fault("rank %d has ended the job with status %d", here->number, status);
}

static int meets(void)
{
  fault("rank %d meets others, which is not simulated", here->number);
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *part)
{
  (void)comm, (void)type, (void)key, (void)info, (void)part;
  return meets();
}

int MPI_Comm_free(MPI_Comm *comm)
{
  (void)comm;
  return meets();
}

int MPI_Bcast(void *bytes, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
  (void)bytes, (void)n, (void)type, (void)root, (void)comm;
  return meets();
}

int MPI_Barrier(MPI_Comm comm)
{
  (void)comm;
  return meets();
}

int MPI_Allgather(const void *own, int own_n, MPI_Datatype own_type, void *all, int n, MPI_Datatype type, MPI_Comm comm)
{
  (void)own, (void)own_n, (void)own_type, (void)all, (void)n, (void)type, (void)comm;
  return meets();
}
