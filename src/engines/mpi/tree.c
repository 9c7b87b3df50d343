/* tree.c - see tree.h. */
#include "engines/mpi/tree.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/clock.h"
#include "sys/signals.h"

/* So many children a rank has before they form a tree (docs/MPI.md has what a child costs); PARLUA_MPI_FAN sets it, for
 * tests. */
enum { MOST_CHILDREN_DIRECT = 256 };

/* A rank on another host that was expected to say something, but did not for so long, is lost: killed, or cut off. Six
 * beats; beyond what a busy host or a network that loses packets makes one wait. Where several ranks share a processor,
 * it is so many times as long, up to a limit. */
static const double silence_seconds = 30, most_crowd = 10;
/* The same after an interruption, for the answer to what it was told: mpirun leaves rank 0 a second to write out what
 * is done. */
static const double last_silence_seconds = 0.3;
/* How often it is looked for silent ranks. */
static const double check_seconds = 0.05;

static int fan_out(void)
{
  const char *value = getenv("PARLUA_MPI_FAN");
  return value && atoi(value) > 0 ? atoi(value) : MOST_CHILDREN_DIRECT;
}

/* Sets where the k-th of the groups begins into which the ranks behind `head` and before `end` fall. */
static int group_begin(int head, int end, int k)
{
  int behind = end - head - 1, fan = fan_out();
  int groups = behind < fan ? behind : fan;
  return k >= groups ? end : head + 1 + (int)((long)behind * k / groups);
}

int tree_open(struct tree *tree, struct transport *transport, const struct rank *own, bool is_spawned)
{
  size_t count = (size_t)transport->count;
  struct rank *ranks = calloc(count, sizeof *ranks);
  uint64_t *before = calloc(count + 1, sizeof *before);
  if (!ranks || !before) return ENOMEM;
  MPI_Allgather(own, sizeof *own, MPI_BYTE, ranks, sizeof *own, MPI_BYTE, transport->comm);
  for (size_t r = 0; r < count; r++) before[r + 1] = before[r] + ranks[r].cores;
  *tree = (struct tree){.transport = transport, .ranks = ranks, .before = before, .is_spawned = is_spawned};
  return tree_place(tree);
}

bool tree_is_near(const struct tree *tree, int rank)
{
  return tree->ranks[rank].leader == tree->ranks[tree->transport->rank].leader;
}

double tree_crowd(const struct tree *tree)
{
  return tree->ranks[tree->transport->rank].crowd;
}

/* Can the process of a rank be seen from here? */
static bool is_seen(const struct tree *tree, int rank)
{
  const struct rank *own = &tree->ranks[tree->transport->rank], *other = &tree->ranks[rank];
  return strcmp(other->host, own->host) == 0 && other->space == own->space && own->space && kill(other->pid, 0) == 0;
}

/* Is this a process that has ended, and that nobody has waited for? */
static bool is_zombie(int pid)
{
  char path[40], text[512] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "re");
  if (!file) return false;
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = '\0';
  const char *state = strrchr(text, ')'); /* behind the program's name */
  return state && strncmp(state, ") Z", 3) == 0;
}

/* Has the process of such a rank ended? */
static bool has_ended(const struct tree *tree, int rank, bool is_silent)
{
  int pid = tree->ranks[rank].pid;
  return (kill(pid, 0) < 0 && errno == ESRCH) || (is_silent && is_zombie(pid));
}

/* For so long a rank may be silent. */
static double patience_with(const struct tree *tree, int rank)
{
  return silence_seconds * fmin(tree->ranks[rank].crowd, most_crowd);
}

int tree_place(struct tree *tree)
{
  const struct transport *transport = tree->transport;
  int head = 0, end = transport->count;
  tree->parent = -1;
  while (head != transport->rank) { /* down to this rank */
    int k = 0;
    while (group_begin(head, end, k + 1) <= transport->rank) k++;
    int next = group_begin(head, end, k);
    end = group_begin(head, end, k + 1);
    tree->parent = head;
    head = next;
  }
  while (group_begin(head, end, tree->children_count) < end) tree->children_count++;
  tree->children = calloc((size_t)tree->children_count + 1, sizeof *tree->children);
  if (!tree->children) return ENOMEM;
  for (int k = 0; k < tree->children_count; k++) {
    struct child *child = &tree->children[k];
    child->rank = group_begin(head, end, k);
    child->end = group_begin(head, end, k + 1);
    child->is_watched = is_seen(tree, child->rank);
  }
  tree->is_parent_watched = tree->parent >= 0 && is_seen(tree, tree->parent);
  tree->parent_heard = tree->parent_checked = clock_seconds();
  return 0;
}

uint32_t tree_before(const struct tree *tree, uint32_t all, int rank)
{
  int first = tree->is_spawned ? 1 : 0, count = tree->transport->count;
  uint32_t ranks = (uint32_t)(count - first), at = rank > first ? (uint32_t)(rank - first) : 0;
  if (all == tree->before[count])
    return (uint32_t)tree->before[rank]; /* each rank's cores, where that is what is wanted */
  return all / ranks * at + (at < all % ranks ? at : all % ranks);
}

int tree_rank_of(const struct tree *tree, uint32_t all, uint32_t w)
{
  int low = 0, high = tree->transport->count - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (tree_before(tree, all, middle) <= w)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

struct child *tree_child(const struct tree *tree, int rank)
{
  int low = 0, high = tree->children_count - 1;
  while (low <= high) {
    int middle = (low + high) / 2;
    struct child *child = &tree->children[middle];
    if (child->rank == rank) return child;
    if (child->rank < rank)
      low = middle + 1;
    else
      high = middle - 1;
  }
  return NULL;
}

static double heard_of(const struct tree *tree, int rank)
{
  return tree->transport->peers[rank].heard;
}

/* `why`: NULL, it is not, but nobody waits for it any more. */
static struct child *lose(struct tree *tree, struct child *child, const char *why)
{
  child->is_lost = tree->any_lost = true;
  if (why) fprintf(stderr, "parlua: rank %d on %s is lost: %s\n", child->rank, tree->ranks[child->rank].host, why);
  return child;
}

struct child *tree_next_lost(struct tree *tree)
{
  double now = clock_seconds(), gap = now - tree->checked;
  char why[100];
  if (gap < check_seconds) return NULL;
  for (int k = 0; k < tree->children_count; k++) {
    struct child *child = &tree->children[k];
    if (child->is_lost) continue;
    /* while this process was elsewhere, in the script, it could hear nobody */
    child->heard = gap > beat_seconds || child->awaited == 0 ? now : fmax(child->heard, heard_of(tree, child->rank));
    bool is_answer_due = child->asked > child->heard;
    if (is_answer_due && gap > 2 * check_seconds) child->asked += gap; /* likewise: it may be still to be received */
    double silence = now - child->heard;
    bool is_silent = silence > patience_with(tree, child->rank);
    if (child->is_watched && has_ended(tree, child->rank, is_silent)) return lose(tree, child, "its process has ended");
    if (is_silent && !child->is_watched) {
      snprintf(why, sizeof why, "it was killed, or is cut off (nothing heard for %.0f s)", silence);
      return lose(tree, child, why);
    }
    if (signals_count() > 0 && is_answer_due && now - child->asked > last_silence_seconds)
      return lose(tree, child, child->is_watched ? NULL : "it does not answer");
  }
  tree->checked = now;
  return NULL;
}

bool tree_has_lost_parent(struct tree *tree, double now)
{
  double gap = now - tree->parent_checked;
  if (tree->parent < 0 || gap < check_seconds) return false;
  tree->parent_checked = now;
  /* after a longer gap this process was stopped, and could hear nobody */
  tree->parent_heard = gap > beat_seconds ? now : fmax(tree->parent_heard, heard_of(tree, tree->parent));
  bool is_silent = tree->parent > 0 && now - tree->parent_heard > patience_with(tree, tree->parent);
  if (tree->is_parent_watched ? !has_ended(tree, tree->parent, is_silent) : !is_silent) return false;
  const struct rank *own = &tree->ranks[tree->transport->rank], *parent = &tree->ranks[tree->parent];
  fprintf(stderr, "parlua: rank %d on %s ends: rank %d on %s, from which it gets its tasks, is lost\n",
          tree->transport->rank, own->host, tree->parent, parent->host);
  return true;
}
