/* inside.h - what must hold inside the dispatcher between two events: its lists, its counts and its heap say what its
 * lanes say. */
#ifndef SIMULATE_INSIDE_H
#define SIMULATE_INSIDE_H
#include "run/dispatch.h"

/* Tells a fault where something does not hold. */
void inside_check(const struct dispatch *d);
/* Has the dispatcher believe, until it learns better, that tasks take longer and longer. */
void inside_rise(struct dispatch *d);

#endif
