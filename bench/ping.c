/* ping trips N BYTES | stream N BYTES | echo N BYTES | costs N BYTES: what two ranks of a bare MPI program pay for
 * messages, with the calls that parlua's ranks use (MPI_Isend, MPI_Improbe, MPI_Mrecv). The mpi engine can't be faster
 * than this:
 *
 *     mpicc -O2 -o ping bench/ping.c && mpirun -n 2 ./ping trips 100000 256
 *
 * trips: N messages go forth and back, one after the other; prints microseconds for each. stream: N messages go one
 * way, as fast as they are taken; prints microseconds for each. echo: N messages go to rank 1 and come back, 8 under
 * way at a time; prints the seconds of all. Large ones go in pieces of half a MB, as parlua's do. With `copy` behind
 * it, both sides also copy each message once, as what is made of it, or what it was made of, lies elsewhere. With `new`
 * in its place, rank 0 copies what comes back into memory that nobody has touched before, twice, as its own workers'
 * half comes too: so much memory a program's first call needs.
 *
 * costs: N messages lie there before rank 0 takes them. Prints microseconds of processor time: of a look in vain, of a
 * message sent, and of one received. The simulation of ranks charges no less (simulate/ranks/measure.c). */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PIECE = 1 << 19, AT_ONCE = 8, TAG = 1 };

static int rank, copies;
static char *elsewhere;
static char *untouched; /* memory for results; NULL: they go elsewhere */

/* Takes the next message, as large as `bytes`, in pieces; waits for it. */
static void take(char *to, long bytes)
{
  for (long at = 0; at < bytes;) {
    int is_there = 0, n;
    MPI_Message message;
    MPI_Status status;
    while (!is_there) MPI_Improbe(1 - rank, TAG, MPI_COMM_WORLD, &is_there, &message, &status);
    MPI_Get_count(&status, MPI_BYTE, &n);
    MPI_Mrecv(to + at, n, MPI_BYTE, &message, MPI_STATUS_IGNORE);
    at += n;
  }
  if (untouched && rank == 0) {
    for (int k = 0; k < 2; k++, untouched += bytes) memcpy(untouched, to, (size_t)bytes);
  } else if (copies) {
    memcpy(elsewhere, to, (size_t)bytes);
  }
}

/* Sends a message in pieces. Returns how many requests there are. */
static int send(const char *from, long bytes, MPI_Request *requests)
{
  int count = 0;
  if (copies) memcpy((char *)(size_t)from, elsewhere, (size_t)bytes);
  for (long at = 0; at < bytes; at += PIECE, count++) {
    int n = (int)(bytes - at < PIECE ? bytes - at : PIECE);
    MPI_Isend(from + at, n, MPI_BYTE, 1 - rank, TAG, MPI_COMM_WORLD, &requests[count]);
  }
  return count;
}

static double trips(int n, long bytes, char *memory)
{
  MPI_Request request[1];
  double began = MPI_Wtime();
  for (int i = 0; i < n; i++) {
    if (rank == 1) take(memory, bytes);
    send(memory, bytes, request);
    MPI_Wait(request, MPI_STATUS_IGNORE);
    if (rank == 0) take(memory, bytes);
  }
  return (MPI_Wtime() - began) / n * 1e6;
}

static double stream(int n, long bytes, char *memory)
{
  MPI_Request request[1];
  double began = MPI_Wtime();
  for (int i = 0; i < n; i++) {
    if (rank == 1) {
      take(memory, bytes);
    } else {
      send(memory, bytes, request);
      MPI_Wait(request, MPI_STATUS_IGNORE);
    }
  }
  MPI_Barrier(MPI_COMM_WORLD);
  return (MPI_Wtime() - began) / n * 1e6;
}

static double echo(int n, long bytes, char *memory)
{
  int pieces = (int)((bytes + PIECE - 1) / PIECE), count;
  MPI_Request *requests = malloc((size_t)pieces * AT_ONCE * sizeof *requests);
  double began = MPI_Wtime();
  for (int i = 0; i < n; i += AT_ONCE) {
    int many = n - i < AT_ONCE ? n - i : AT_ONCE;
    count = 0;
    for (int k = 0; k < many && rank == 0; k++) count += send(memory + k * bytes, bytes, requests + count);
    if (rank == 0) MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
    for (int k = 0; k < many; k++) take(memory + k * bytes, bytes);
    for (int k = 0; k < many && rank == 1; k++) count += send(memory + k * bytes, bytes, requests + count);
    if (rank == 1) MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
  }
  free(requests);
  return MPI_Wtime() - began;
}

static double processor_seconds(void)
{
  struct timespec spent;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return (double)spent.tv_sec + 1e-9 * (double)spent.tv_nsec;
}

/* Processor time of rank 0 for looks in vain. */
static double looks(int n)
{
  double began = processor_seconds();
  for (int i = 0, is_there; i < n; i++) MPI_Iprobe(MPI_ANY_SOURCE, TAG, MPI_COMM_WORLD, &is_there, MPI_STATUS_IGNORE);
  return processor_seconds() - began;
}

/* Prints what messages cost that are not waited for: a few at a time, as many as MPI takes at once. */
static void costs(int n, long bytes, char *memory)
{
  MPI_Request requests[AT_ONCE];
  double sent = 0, taken = 0, began;
  for (int i = 0; i < n; i += AT_ONCE) {
    MPI_Barrier(MPI_COMM_WORLD);
    began = processor_seconds();
    for (int k = 0; k < AT_ONCE && rank == 1; k++) send(memory, bytes, requests + k);
    sent += processor_seconds() - began;
    MPI_Barrier(MPI_COMM_WORLD);
    began = processor_seconds();
    for (int k = 0; k < AT_ONCE && rank == 0; k++) take(memory, bytes);
    taken += processor_seconds() - began;
    if (rank == 1) MPI_Waitall(AT_ONCE, requests, MPI_STATUSES_IGNORE);
  }
  MPI_Bcast(&sent, 1, MPI_DOUBLE, 1, MPI_COMM_WORLD);
  if (rank == 0) printf("look %.3f, send %.3f, receive %.3f us\n", looks(n) / n * 1e6, sent / n * 1e6, taken / n * 1e6);
}

int main(int argc, char **argv)
{
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (argc < 4) return 2;
  int n = atoi(argv[2]);
  long bytes = atol(argv[3]), room = bytes * AT_ONCE;
  char *memory = malloc((size_t)room);
  elsewhere = malloc((size_t)bytes);
  if (!memory || !elsewhere) return 1;
  memset(memory, 1, (size_t)room); /* else most of what follows would be for new pages */
  memset(elsewhere, 1, (size_t)bytes);
  copies = argc > 4;
  if (argv[1][0] == 'c') {
    costs(n, bytes, memory);
    MPI_Finalize();
    return 0;
  }
  double (*call)(int, long, char *) = argv[1][0] == 't' ? trips : argv[1][0] == 's' ? stream : echo;
  call(n < 100 ? 1 : n / 100, bytes, memory);
  if (argc > 4 && strcmp(argv[4], "new") == 0) {
    size_t all = 2 * (size_t)n * (size_t)bytes;
    untouched = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (untouched == MAP_FAILED) return 1;
    madvise(untouched, all, MADV_HUGEPAGE);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  double result = call(n, bytes, memory);
  if (rank == 0) printf("%.6g\n", result);
  MPI_Finalize();
  return 0;
}
