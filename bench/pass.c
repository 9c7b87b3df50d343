/* pass.c - what a large array as a task's result costs at least: a forked process makes an array of `bytes`, all zero,
 * and passes it through a ring of shared memory to this one, which copies it into memory and from there into a new
 * array. Prints the median of the seconds that this took.
 *
 *   pass BYTES REPETITIONS */
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 << 10, PIECES = 4, HUGE_PAGE = 2 << 20 };

struct ring {
  atomic_size_t sent, taken; /* pieces */
  char piece[PIECES][PIECE];
};

static double seconds(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* New memory, in huge pages where there are any. */
static char *new_memory(size_t bytes)
{
  char *place = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) exit(1);
  place += -(uintptr_t)place & (HUGE_PAGE - 1);
  madvise(place, bytes, MADV_HUGEPAGE);
  return place;
}

static void send(struct ring *ring, const char *array, size_t bytes)
{
  for (size_t at = 0, k = 0; at < bytes; at += PIECE, k++) {
    while (k - atomic_load(&ring->taken) >= PIECES) sched_yield();
    memcpy(ring->piece[k % PIECES], array + at, bytes - at < PIECE ? bytes - at : PIECE);
    atomic_store(&ring->sent, k + 1);
  }
}

static void take(struct ring *ring, char *to, size_t bytes)
{
  for (size_t at = 0, k = 0; at < bytes; at += PIECE, k++) {
    while (atomic_load(&ring->sent) <= k) sched_yield();
    memcpy(to + at, ring->piece[k % PIECES], bytes - at < PIECE ? bytes - at : PIECE);
    atomic_store(&ring->taken, k + 1);
  }
}

static int compare(const void *one, const void *other)
{
  double a = *(const double *)one, b = *(const double *)other;
  return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
  size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
  int repetitions = argc > 2 ? atoi(argv[2]) : 0;
  if (bytes == 0 || repetitions < 1) return 2;
  double *took = calloc((size_t)repetitions, sizeof *took);
  struct ring *ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (!took || ring == MAP_FAILED) return 1;
  memset(ring, 0, sizeof *ring);
  char *whole = new_memory(bytes), *made = new_memory(bytes); /* used again and again, as parlua does */
  madvise(whole, bytes, MADV_DONTFORK);
  madvise(made, bytes, MADV_DONTFORK);
  for (int k = 0; k < repetitions; k++) {
    atomic_store(&ring->sent, 0);
    atomic_store(&ring->taken, 0);
    pid_t child = fork();
    if (child < 0) return 1;
    if (child == 0) {
      while (atomic_load(&ring->taken) == 0) sched_yield(); /* until the clock runs */
      atomic_store(&ring->taken, 0);
      char *array = new_memory(bytes);
      memset(array, 0, bytes);
      send(ring, array, bytes);
      _exit(0);
    }
    double began = seconds();
    atomic_store(&ring->taken, 1);
    while (atomic_load(&ring->taken) == 1) sched_yield();
    take(ring, whole, bytes);
    memset(made, 0, bytes);
    memcpy(made, whole, bytes);
    took[k] = seconds() - began;
    waitpid(child, NULL, 0);
  }
  qsort(took, (size_t)repetitions, sizeof *took, compare);
  printf("%.9f\n", took[repetitions / 2]);
  return 0;
}
