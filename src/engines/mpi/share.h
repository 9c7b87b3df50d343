/* share.h - large messages that every node gets once. Rank 0 puts one into a file in memory and sends it to the other
 * nodes along a binary tree, in pieces that each node passes on as they come. The ranks of a node share one file: its
 * first rank (the leader) receives it, the others open it through /proc. Where they can't, as in containers, each rank
 * counts as a node. A leader without memory for a message passes it on, and its node does without. Workers map the file
 * from their own rank's process (BLOCK_ELSEWHERE in ../shared.h).
 *
 * All that concerns the shared messages goes along the tree, from leader to leader and from each to the ranks of its
 * node: so it stays in order. */
#ifndef PARLUA_MPI_SHARE_H
#define PARLUA_MPI_SHARE_H
#include "engines/mpi/tree.h"

enum { MOST_CHILDREN = 2 };

struct sheet; /* one message */

/* What a rank knows of the tree and of the messages that are here. */
struct share {
  struct transport *transport;
  int children[MOST_CHILDREN]; /* leaders that this one passes on to */
  int children_count;
  int *mates; /* the other ranks of its node, when this is the leader */
  int mates_count;
  size_t piece; /* bytes sent at once */
  struct sheet *sheets;
  uint32_t last_id;
  uint32_t retired;         /* how many */
  double tidied;            /* when */
  char *scrap;              /* leaders: room for a piece of a message for which there is no memory, */
  struct sheet *scrap_user; /* and whose that is; NULL: nobody's */
  bool is_over;             /* the end of the job was passed on: nothing is told behind it */
};

/* The leader of this rank's node. All ranks of `host`, those of this rank's host, call it together. */
int share_leader(const struct transport *transport, MPI_Comm host);
/* Finds to whom this rank passes messages on, the ranks being known. Returns 0 or an errno. */
int share_place(struct share *share, struct transport *transport, const struct rank *ranks);
/* Rank 0: begins to send a copy of `message` to all nodes. Returns its number, or 0 with errno set. */
uint32_t share_send(struct share *share, const struct block *message);
/* The message is needed no more, but by workers that have yet to read it. */
void share_retire(struct share *share, uint32_t id);
/* Forgets retired messages that are not needed here, now and then or `always`; rank 0 tells the others to retire them.
 */
void share_tidy(struct share *share, bool (*is_needed)(uint32_t id), bool always);
/* Passes a note on to all ranks behind this one. */
void share_pass(struct share *share, const struct note *note);
/* Takes in a note that a shared message comes (NOTE_SHARE, NOTE_WHOLE), which was just received. */
void share_obey(struct share *share, const struct note *note);
/* Moves pieces. */
void share_progress(struct share *share);
/* Is no piece under way, nor still to come? */
bool share_settled(const struct share *share);
/* The file of message `id` in this process; -1: it is not whole yet. */
int share_file(const struct share *share, uint32_t id);
/* An errno: message `id` can't be had in this process. */
int share_error(const struct share *share, uint32_t id);
/* Fills a block that stands for message `id` of `bytes` bytes; the worker that gets it must be one of this process's
 * rank. */
void share_refer(const struct share *share, uint32_t id, uint64_t bytes, struct block *block);
#endif
