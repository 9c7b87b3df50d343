/* heavy_tail WORKERS FILE: what is left to lose in bench/heavy_tail.lua. Processes take the next task, of the lengths
 * that stand in the file (seconds, one a line), from a counter that they share: list scheduling, with nothing between
 * two tasks but one atomic addition. A task spins on the clock, as there. Prints the seconds from the first fork to the
 * last process's end. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void work(uint32_t *next, const double *lengths, uint32_t count)
{
  for (uint32_t task; (task = __atomic_fetch_add(next, 1, __ATOMIC_SEQ_CST)) < count;)
    for (double stop = now() + lengths[task]; now() < stop;) continue;
  _exit(0);
}

int main(int argc, char **argv)
{
  enum { MOST = 1 << 20 };
  FILE *file = argc > 2 ? fopen(argv[2], "r") : NULL;
  double *lengths = malloc(MOST * sizeof *lengths);
  uint32_t *next = mmap(NULL, sizeof *next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), count = 0;
  if (!file || !lengths || next == MAP_FAILED) return 2;
  while (count < MOST && fscanf(file, "%lf", &lengths[count]) == 1) count++;
  int workers = atoi(argv[1]);
  double began = now();
  for (int w = 0; w < workers; w++)
    if (fork() == 0) work(next, lengths, count);
  while (wait(NULL) > 0) continue;
  printf("%.6f\n", now() - began);
  return 0;
}
