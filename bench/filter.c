/* filter.c - the convolutions of bench/arrays.lua with nothing around them: the kernel of a:convolve itself
 * (src/lua/array.c), called from so many threads, each of which takes the next image: `filter IMAGES HEIGHT WIDTH SIGMA
 * THREADS`. Prints the seconds of the best of three. */
#pragma GCC optimize("O3") /* as it is built into parlua */
#include "lua/array.c"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

enum { FLOAT = 0, REFLECT = EDGE_REFLECT, MOST = 64 };

static float *stack, *filtered;
static double kernel[1024];
static uint64_t length, images, height, width, taken;

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static float *memory(uint64_t count)
{
  size_t bytes = (size_t)count * sizeof(float);
  float *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) exit(1);
  madvise(at, bytes, MADV_HUGEPAGE);
  memset(at, 0, bytes);
  return at;
}

static void *filter(void *half)
{
  uint64_t down[3] = {1, height, width}, across[3] = {height, width, 1};
  for (;;) {
    uint64_t k = __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
    if (k >= images) return NULL;
    size_t at = (size_t)(k * height * width);
    array_convolve(FLOAT, stack + at, half, down, kernel, length, REFLECT);
    array_convolve(FLOAT, half, filtered + at, across, kernel, length, REFLECT);
  }
}

int main(int argc, char **argv)
{
  if (argc < 6) return 2;
  images = (uint64_t)atol(argv[1]);
  height = (uint64_t)atol(argv[2]);
  width = (uint64_t)atol(argv[3]);
  double sigma = atof(argv[4]), sum = 0, best = 1e9;
  int threads = atoi(argv[5]), radius = (int)(4 * sigma + 0.5);
  if (threads < 1 || threads > MOST || 2 * radius + 1 > (int)(sizeof kernel / sizeof *kernel)) return 2;
  for (int k = -radius; k <= radius; k++) sum += kernel[length++] = exp(-k * k / (2 * sigma * sigma));
  for (uint64_t k = 0; k < length; k++) kernel[k] /= sum;
  stack = memory(images * height * width);
  filtered = memory(images * height * width);
  float *halves[MOST];
  for (int t = 0; t < threads; t++) halves[t] = memory(height * width);
  for (uint64_t k = 0; k < images * height * width; k++) stack[k] = (float)(k % 251);
  for (int run = 0; run < 3; run++) {
    pthread_t others[MOST];
    taken = 0;
    double began = now();
    for (int t = 1; t < threads; t++)
      if (pthread_create(&others[t], NULL, filter, halves[t])) return 1;
    filter(halves[0]);
    for (int t = 1; t < threads; t++) pthread_join(others[t], NULL);
    double seconds = now() - began;
    if (seconds < best) best = seconds;
  }
  printf("%.9f\n", best);
  return 0;
}
