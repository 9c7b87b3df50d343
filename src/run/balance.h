/* balance.h - which lane has the most work that others could do: a heap of lanes by when, as far as is known, they will
 * have done what they have. The keys may be old; a lane is asked for a fresh one before it is chosen. So finding it
 * does not cost more the more lanes there are.
 *
 * As long as there is work for all, nobody asks. So lanes that have changed are only noted, and put into the heap when
 * somebody does: each chunk would otherwise go through the heap, which reads and writes the memory of several lanes. */
#ifndef PARLUA_BALANCE_H
#define PARLUA_BALANCE_H
#include "run/lane.h"

struct balance {
  struct lane **heap; /* from 1; the last to end on top */
  uint32_t count;
  struct link changed; /* lanes that are to be put into the heap, or taken out */
};

/* For up to `lanes` lanes. False: out of memory. */
bool balance_init(struct balance *balance, uint32_t lanes);
void balance_free(struct balance *balance);
/* What the lane has, has changed. */
void balance_note(struct balance *balance, struct lane *lane);
/* Takes it out until it is noted again. */
void balance_remove(struct balance *balance, struct lane *lane);
/* The lane with the most work to give back, or NULL. It is taken out until it is noted again. */
struct lane *balance_take(struct balance *balance, double now);

#endif
