/* arrays.c - what bench/arrays.lua has beside it, in C on two threads: `arrays sum MEGABYTES` adds up doubles, `arrays
 * double COUNT MEGABYTES` doubles so many arrays into others. Prints the seconds of the best of three. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double *from, *to;
static size_t count;

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double *memory(size_t bytes)
{
  double *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) exit(1);
  madvise(at, bytes, MADV_HUGEPAGE);
  return at;
}

/* The half of the elements that thread `half` takes; adds up, or doubles. */
static double sums[2];

static void *add(void *half)
{
  size_t k = (size_t)(intptr_t)half * (count / 2), end = k + count / 2;
  double lanes[8] = {0};
  for (; k < end; k += 8)
    for (int lane = 0; lane < 8; lane++) lanes[lane] += from[k + (size_t)lane];
  double sum = 0;
  for (int lane = 0; lane < 8; lane++) sum += lanes[lane];
  sums[(intptr_t)half] = sum;
  return NULL;
}

static void *twice(void *half)
{
  size_t k = (size_t)(intptr_t)half * (count / 2), end = k + count / 2;
  for (; k < end; k++) to[k] = 2 * from[k];
  return NULL;
}

int main(int argc, char **argv)
{
  if (argc < 3) return 2;
  int adds = strcmp(argv[1], "sum") == 0;
  count = (size_t)atol(argv[2]) * 125000 / 16 * 16;
  from = memory(count * sizeof *from);
  to = adds ? NULL : memory(count * sizeof *to);
  for (size_t k = 0; k < count; k++) from[k] = (double)(k % 1000);
  if (to) memset(to, 0, count * sizeof *to);
  double best = 1e9;
  for (int run = 0; run < 3; run++) {
    pthread_t other;
    double began = now();
    if (pthread_create(&other, NULL, adds ? add : twice, (void *)1)) return 1;
    (adds ? add : twice)((void *)0);
    pthread_join(other, NULL);
    double seconds = now() - began;
    if (seconds < best) best = seconds;
  }
  if ((adds ? sums[0] + sums[1] : to[count - 1]) < 0) return 1; /* so that it is computed */
  printf("%.9f\n", best);
  return 0;
}
