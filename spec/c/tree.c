/* tree.c - which ranks count as lost (src/engines/mpi/tree.h), by a clock of its own; who hears of whom; where workers
 * are. */
#include "engines/mpi/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "sys/clock.h"
#include "sys/signals.h"

static double now;
static int signals;

double clock_seconds(void)
{
  return now;
}

int signals_count(void)
{
  return signals;
}

int MPI_Allgather(const void *own, int own_count, MPI_Datatype own_type, void *all, int count, MPI_Datatype type,
                  MPI_Comm comm)
{
  (void)own, (void)own_count, (void)own_type, (void)all, (void)count, (void)type, (void)comm;
  fail("ranks were asked for what they know");
  return 0;
}

enum { RANKS = 3 };

static struct peer peers[RANKS];

/* Rank 1 has a parent and a child, which it can't see. */
static struct tree chain(struct transport *transport)
{
  static const struct rank ranks[RANKS] = {
      {.host = "a", .crowd = 1}, {.host = "b", .crowd = 1}, {.host = "c", .crowd = 1}};
  static const uint64_t before[RANKS + 1] = {0, 1, 2, 3};
  struct tree tree = {.transport = transport, .ranks = ranks, .before = before};
  *transport = (struct transport){.rank = 1, .count = RANKS, .peers = peers};
  memset(peers, 0, sizeof peers);
  now = 1000;
  signals = 0;
  setenv("PARLUA_MPI_FAN", "1", 1);
  if (tree_place(&tree)) fail("there is no memory");
  if (tree.children_count != 1 || tree.children[0].rank != 2 || tree.parent != 0) fail("a chain is no chain");
  tree.parent = 0;
  tree.checked = now;
  tree.children[0].heard = now;
  return tree;
}

/* Looks twenty times a second, for so long; returns after how long the child was lost. */
static double look(struct tree *tree, double seconds)
{
  static const double step = 0.051;
  for (double began = now; now - began < seconds; now += step)
    if (tree_next_lost(tree)) return now - began;
  return INFINITY;
}

static void check_child(void)
{
  struct transport transport;
  struct tree tree = chain(&transport);
  tree.children[0].awaited = 1;
  if (look(&tree, 29) < INFINITY) fail("a rank is lost that was silent for less than 30 seconds");
  peers[2].heard = now;
  if (look(&tree, 29) < INFINITY) fail("a rank is lost that has just said something");
  now += 100; /* this process did something else */
  if (look(&tree, 29) < INFINITY) fail("a rank is lost that could not be heard");
  double lost = look(&tree, 10);
  if (!(lost < 2)) fail("a rank is not lost that was silent for more than 30 seconds");
  if (!tree.any_lost || !tree.children[0].is_lost) fail("a lost rank is not noted as such");
  if (look(&tree, 60) < INFINITY) fail("a rank is lost twice");
  free(tree.children);

  tree = chain(&transport);
  if (look(&tree, 100) < INFINITY) fail("a rank is lost of which nothing was expected");
  tree.children[0].awaited = 1;
  if (look(&tree, 29) < INFINITY) fail("a rank is lost of which nothing was expected until now");
  free(tree.children);

  tree = chain(&transport); /* after an interruption it has to answer soon */
  tree.children[0].awaited = 1;
  tree.children[0].asked = now + 0.01;
  if (look(&tree, 1) < INFINITY) fail("a rank is lost that was asked something, without an interruption");
  signals = 1;
  tree.children[0].asked = now;
  now += 3; /* the script has done something else */
  if (look(&tree, 0.2) < INFINITY) fail("a rank is lost that could not be heard after an interruption");
  if (!(look(&tree, 1) < INFINITY)) fail("a rank does not answer after an interruption, and is not lost");
  free(tree.children);
}

static double look_up(struct tree *tree, double seconds)
{
  static const double step = 0.051;
  for (double began = now; now - began < seconds; now += step)
    if (tree_has_lost_parent(tree, now)) return now - began;
  return INFINITY;
}

static void check_parent(void)
{
  struct transport transport;
  struct tree tree = chain(&transport);
  if (look_up(&tree, 100) < INFINITY) fail("rank 0 is lost, though it may be silent");
  tree.parent = 2; /* as if it were one that beats */
  peers[2].heard = now;
  if (look_up(&tree, 29) < INFINITY) fail("a parent is lost that was silent for less than 30 seconds");
  now += 100;
  if (look_up(&tree, 29) < INFINITY) fail("a parent is lost that could not be heard");
  if (!(look_up(&tree, 10) < 2)) fail("a parent is not lost that was silent for more than 30 seconds");
  free(tree.children);
}

/* Each of so many workers is in one rank, and these have about as many; spawned ranks but rank 0. */
static void check_places(void)
{
  enum { MOST = 12 };
  for (int count = 1; count <= MOST; count++)
    for (int is_spawned = 0; is_spawned <= (count > 1); is_spawned++)
      for (uint32_t all = 1; all < 40; all++) {
        uint64_t before[MOST + 1] = {0};
        struct transport transport = {.count = count};
        struct tree tree = {.transport = &transport, .before = before, .is_spawned = is_spawned};
        uint32_t least = all / (uint32_t)(count - is_spawned), w = 0;
        for (int rank = 0; rank < count; rank++) {
          uint32_t end = rank + 1 < count ? tree_before(&tree, all, rank + 1) : all, own = end - w;
          if (tree_before(&tree, all, rank) != w) fail("workers are in no rank, or in two");
          if (is_spawned && rank == 0 && own > 0) fail("a spawning rank has workers");
          if (!(is_spawned && rank == 0) && (own < least || own > least + 1)) fail("a rank has too many workers");
          for (; w < end; w++)
            if (tree_rank_of(&tree, all, w) != rank) fail("a worker is looked for in another rank");
        }
      }
}

/* Each rank but the first is the child of one rank, which it knows as its parent, and heads those that follow it. */
static void check_shape(void)
{
  enum { MOST = 30 };
  static const struct rank ranks[MOST];
  for (int fan = 1; fan <= 6; fan++)
    for (int count = 1; count <= MOST; count++) {
      int parents[MOST], found[MOST] = {0};
      char text[12];
      snprintf(text, sizeof text, "%d", fan);
      setenv("PARLUA_MPI_FAN", text, 1);
      for (int pass = 0; pass < 2; pass++) /* who its parent is, then by whom it is found */
        for (int rank = 0; rank < count; rank++) {
          struct transport transport = {.rank = rank, .count = count};
          struct tree tree = {.transport = &transport, .ranks = ranks};
          if (tree_place(&tree)) fail("there is no memory");
          if (pass == 0) parents[rank] = tree.parent;
          if (tree.parent >= rank) fail("a rank is headed by one behind it");
          if (tree.children_count > fan) fail("a rank has too many children");
          for (int k = 0, at = rank + 1; pass == 1 && k < tree.children_count; at = tree.children[k++].end) {
            if (tree.children[k].rank != at || tree.children[k].end <= at) fail("a rank is headed by none, or by two");
            if (parents[at] != rank) fail("a rank has a child that takes another for its parent");
            found[at]++;
          }
          free(tree.children);
        }
      for (int rank = 0; rank < count; rank++)
        if (found[rank] != (rank > 0)) fail("a rank is the child of none, or of two");
    }
}

int main(void)
{
  alarm(60); /* a rank that is never placed */
  check_shape();
  check_child();
  check_parent();
  check_places();
  puts("all holds");
  return 0;
}
