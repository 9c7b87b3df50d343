/* cold LINES PAUSE TIMES: what memory costs that was used a while ago. Reads cache lines, each on a page of its own and
 * each known only from the one before, after pauses of PAUSE milliseconds in which this program computes and touches
 * nothing else: it keeps its processor. Prints the median of the seconds that reading them all took. Where others share
 * the processor's caches (a virtual machine), that is what a call after a pause pays besides being woken. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PAGE = 4096, LINE = 64 };

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The lines in one circle, in random order. Returns the first; NULL: no memory. */
static void **make_circle(size_t lines)
{
  char *memory = malloc((lines + 1) * PAGE);
  size_t *order = malloc(lines * sizeof *order);
  if (!memory || !order) return NULL;
  for (size_t i = 0; i < lines; i++) order[i] = i;
  for (size_t i = lines - 1; i > 0; i--) {
    size_t k = (size_t)rand() % i, kept = order[i];
    order[i] = order[k];
    order[k] = kept;
  }
#define AT(i) ((void **)(memory + (i)*PAGE + (i)*LINE % PAGE))
  for (size_t i = 0; i < lines; i++) *AT(i) = AT(order[i]);
  return AT((size_t)0);
}

int main(int argc, char **argv)
{
  if (argc < 4) return 2;
  size_t lines = strtoul(argv[1], NULL, 10), times = strtoul(argv[3], NULL, 10);
  double pause = strtod(argv[2], NULL) / 1e3, *took = malloc(times * sizeof *took);
  void **line = lines > 1 ? make_circle(lines) : NULL;
  if (!line || !took || times == 0) return 2;
  for (size_t k = 0; k < times; k++) {
    for (double until = now() + pause; now() < until;) continue;
    double began = now();
    for (size_t i = 0; i < lines; i++) line = *line;
    took[k] = now() - began;
    if (!line) return 1; /* so that the reading is not left out */
  }
  qsort(took, times, sizeof *took, compare);
  printf("%.9f\n", took[times / 2]);
  return 0;
}
