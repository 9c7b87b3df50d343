/* pieces.h - works that do not overlap, found by a task: a treap (Seidel and Aragon, 1996) by first task, in the works
 * themselves, so that putting one in can't fail. */
#ifndef PARLUA_PIECES_H
#define PARLUA_PIECES_H
#include "run/work.h"

struct pieces {
  struct work *root;
  uint32_t drawn; /* the state of a small generator: what keeps the tree flat */
};

void pieces_add(struct pieces *pieces, struct work *work);
void pieces_remove(struct pieces *pieces, struct work *work);
/* The work with `task` in it; NULL: there is none. */
struct work *pieces_find(const struct pieces *pieces, double task);

#endif
