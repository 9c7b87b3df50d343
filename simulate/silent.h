/* silent.h - verbs of lanes that want nothing and have nothing. */
#ifndef SIMULATE_SILENT_H
#define SIMULATE_SILENT_H
#include "run/lane.h"

static inline uint32_t wants_nothing(const struct lane *lane)
{
  (void)lane;
  return 0;
}

static inline double has_nothing_left(const struct lane *lane, double now)
{
  (void)lane, (void)now;
  return 0;
}

#endif
