/* helper.c - see helper.h. */
#include "engines/mpi/helper.h"

#include "sys/clock.h"

#include <stdio.h>

static const double helper_seconds = 0.05; /* how often the helper's life is looked at */

bool helper_is_lost(struct helper_watch *watch, struct nursery *nursery, int rank)
{
  double now = clock_seconds();
  if (watch->is_lost || now - watch->seen < helper_seconds) return false;
  watch->seen = now;
  watch->is_lost = !nursery_alive(nursery);
  if (watch->is_lost) fprintf(stderr, "parlua: rank %d has lost its helper: it can start no more workers\n", rank);
  return watch->is_lost;
}
