/* pieces.c - see pieces.h. A work's `child` and `sibling` are what is left and right of it, `due` its priority: at a
 * lane they have no other use. */
#include "run/pieces.h"

static uint32_t draw(struct pieces *pieces)
{
  uint32_t x = pieces->drawn ? pieces->drawn : 2463534242u; /* xorshift (Marsaglia, 2003) */
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return pieces->drawn = x;
}

/* Cuts a tree into works before and from `first` on. */
static void cut(struct work *tree, double first, struct work **before, struct work **behind)
{
  while (tree) {
    if (tree->first < first) {
      *before = tree;
      before = &tree->sibling;
      tree = tree->sibling;
    } else {
      *behind = tree;
      behind = &tree->child;
      tree = tree->child;
    }
  }
  *before = *behind = NULL;
}

void pieces_add(struct pieces *pieces, struct work *work)
{
  struct work **link = &pieces->root;
  work->due = draw(pieces);
  while (*link && (*link)->due >= work->due) link = work->first < (*link)->first ? &(*link)->child : &(*link)->sibling;
  cut(*link, work->first, &work->child, &work->sibling);
  *link = work;
}

void pieces_remove(struct pieces *pieces, struct work *work)
{
  struct work **link = &pieces->root, *left = work->child, *right = work->sibling;
  while (*link && *link != work) link = work->first < (*link)->first ? &(*link)->child : &(*link)->sibling;
  if (!*link) return;
  while (left && right) {
    if (left->due >= right->due) {
      *link = left;
      link = &left->sibling;
      left = left->sibling;
    } else {
      *link = right;
      link = &right->child;
      right = right->child;
    }
  }
  *link = left ? left : right;
  work->child = work->sibling = NULL;
}

struct work *pieces_find(const struct pieces *pieces, double task)
{
  struct work *work = pieces->root;
  while (work && !(task >= work->first && task <= work->last)) work = task < work->first ? work->child : work->sibling;
  return work;
}
