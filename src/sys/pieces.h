/* pieces.h - what pieces.c and offers.c share: the pieces of memory of this process. Not for others: see shared.h. */
#ifndef PARLUA_PIECES_H
#define PARLUA_PIECES_H
#include "sys/shared.h"

struct piece {
  struct shared_memory shared;
  struct piece *next; /* in its bucket */
  uint32_t holds;
  uint32_t left; /* of these, holds that no one has claimed yet (shared_leave) */
  void *map;
  size_t mapped;          /* bytes to unmap */
  uint32_t forks;         /* of this process, as it was made */
  bool is_known;          /* another process may know it */
  struct mapped_file *of; /* what it is mapped from; NULL: it is no file of the script's */
  size_t used;            /* a slab: bytes that are taken, never given back; else 0 */
};

/* For all that is said of pieces; held by nobody across a fork. */
void pieces_lock(void);
void pieces_unlock(void); /* keeps errno */
/* The piece of that number, with the lock held; NULL: there is none. */
struct piece *piece_find(uint64_t id);
struct piece *piece_of(struct shared_memory *shared);
/* Maps the file of a piece that another process has made, or finds it here; held once more. The descriptor is taken
 * over. NULL with errno set. */
struct piece *piece_map(uint64_t id, int file, uint64_t size);
/* One holder less; `is_left`: one that was to claim it. */
void piece_drop(struct piece *piece, bool is_left);
/* Drops what threads have left and nobody has claimed. */
void pieces_drop_left(void);
/* More files may be open from here on, if the system allows it. */
bool pieces_raise_file_limit(void);
#endif
