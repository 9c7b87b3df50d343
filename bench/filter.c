/* filter.c - the convolutions of bench/arrays.lua with nothing around them: the kernel of a:convolve itself
 * (src/lua/convolve.c), called from so many workers, each of which takes the next image: `filter IMAGES HEIGHT WIDTH
 * SIGMA WORKERS threads|fork`. Workers are threads, or processes that are forked in each run. Prints the median of five
 * runs, in seconds. */
#pragma GCC optimize("O3") /* as it is built into parlua */
#include "lua/convolve.c"
#include "sys/huge.c"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { MOST = 64, RUNS = 5 };

static float *stack, *filtered;
static double kernel[1024];
static uint64_t length, images, height, width, *taken;

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static float *memory(uint64_t count)
{
  size_t bytes = (size_t)count * sizeof(float);
  float *at = huge_map(huge_length(bytes), -1); /* shared, as the memory of arrays is */
  if (at == MAP_FAILED) exit(1);
  huge_fill(at, huge_length(bytes));
  memset(at, 0, bytes);
  return at;
}

static void *filter(void *unused)
{
  const uint64_t shape[3] = {1, height, width};
  for (;;) {
    uint64_t k = __atomic_fetch_add(taken, 1, __ATOMIC_RELAXED);
    if (k >= images) return unused;
    size_t at = (size_t)(k * height * width);
    array_convolve(false, stack + at, filtered + at, shape, true, kernel, length, EDGE_REFLECT);
  }
}

static int by_threads(int workers)
{
  pthread_t others[MOST];
  for (int t = 1; t < workers; t++)
    if (pthread_create(&others[t], NULL, filter, NULL)) return 1;
  filter(NULL);
  for (int t = 1; t < workers; t++) pthread_join(others[t], NULL);
  return 0;
}

static int by_forks(int workers)
{
  for (int t = 0; t < workers; t++) {
    pid_t child = fork();
    if (child < 0) return 1;
    if (child > 0) continue;
    filter(NULL);
    _exit(0);
  }
  for (int t = 0; t < workers; t++)
    if (wait(NULL) < 0) return 1;
  return 0;
}

static int compare(const void *a, const void *b)
{
  return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

int main(int argc, char **argv)
{
  if (argc < 7) return 2;
  images = (uint64_t)atol(argv[1]);
  height = (uint64_t)atol(argv[2]);
  width = (uint64_t)atol(argv[3]);
  double sigma = atof(argv[4]), sum = 0, seconds[RUNS];
  int workers = atoi(argv[5]), radius = (int)(4 * sigma + 0.5);
  if (workers < 1 || workers > MOST || 2 * radius + 1 > (int)(sizeof kernel / sizeof *kernel)) return 2;
  for (int k = -radius; k <= radius; k++) sum += kernel[length++] = exp(-k * k / (2 * sigma * sigma));
  for (uint64_t k = 0; k < length; k++) kernel[k] /= sum;
  taken = (uint64_t *)memory(sizeof *taken / sizeof(float));
  stack = memory(images * height * width);
  filtered = memory(images * height * width);
  for (uint64_t k = 0; k < images * height * width; k++) stack[k] = (float)(k % 251);
  for (int run = 0; run < RUNS; run++) {
    *taken = 0;
    double began = now();
    if (strcmp(argv[6], "fork") == 0 ? by_forks(workers) : by_threads(workers)) return 1;
    seconds[run] = now() - began;
  }
  qsort(seconds, RUNS, sizeof *seconds, compare);
  printf("%.9f\n", seconds[RUNS / 2]);
  return 0;
}
