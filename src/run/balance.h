/* balance.h - which lane has the most work that others could do: a heap of lanes by when, as far as is known, they will
 * have done what they have. The keys may be old; a lane is asked for a fresh one before it is chosen. So finding it
 * does not cost more the more lanes there are. */
#ifndef PARLUA_BALANCE_H
#define PARLUA_BALANCE_H
#include "run/lane.h"

struct balance {
  struct lane **heap; /* from 1; the last to end on top */
  uint32_t count;
};

/* For up to `lanes` lanes. False: out of memory. */
bool balance_init(struct balance *balance, uint32_t lanes);
void balance_free(struct balance *balance);
/* What the lane has, has changed: gives it its place, or takes it out when it has nothing to give back. */
void balance_update(struct balance *balance, struct lane *lane, double now);
void balance_remove(struct balance *balance, struct lane *lane);
/* The lane with the most work to give back, or NULL. It is taken out until it is updated again. */
struct lane *balance_take(struct balance *balance, double now);

#endif
