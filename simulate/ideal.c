/* ideal.c - see ideal.h. */
#include "ideal.h"

#include <math.h>

#include "memory.h"

double ideal_seconds(const struct plan *plan, double *longest)
{
  static double *free_at;
  uint32_t n = plan->workers;
  double last = 0;
  free_at = memory_own(free_at, (n + 1) * sizeof *free_at);
  for (uint32_t i = 1; i <= n; i++) free_at[i] = 0;
  for (uint32_t task = 1; task <= plan->tasks; task++) { /* a heap, the first to be free on top */
    double length = plan_length(plan, task, 1), at = free_at[1] + length;
    *longest = fmax(*longest, length);
    uint32_t i = 1;
    last = fmax(last, at);
    for (uint32_t child; (child = 2 * i) <= n; i = child) {
      if (child < n && free_at[child + 1] < free_at[child]) child++;
      if (free_at[child] >= at) break;
      free_at[i] = free_at[child];
    }
    free_at[i] = at;
  }
  return last;
}
