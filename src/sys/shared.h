/* shared.h - memory that arrays lie in: seen by all threads, and by processes that are forked while it is there. The
 * kernel frees it when its last process lets go or ends, however that happens: each piece is a file in memory (memfd),
 * which has no name in any file system, and whose descriptor can be handed to another process. Small arrays lie
 * together in a piece, of which nothing is used twice: what one process lets go of can't become another's.
 *
 * Within one process each piece is counted: who holds it has to drop it. Pieces are known by numbers that no two
 * processes give out, so that a copy of a process knows those that it was forked with. All functions may be called in
 * any thread.
 *
 * How a forked worker gives a new piece to its coordinator: it sends the descriptor through a socket that was there
 * before the fork (shared_offer) and puts the number into its result; the coordinator claims the number (shared_claim).
 * What lies in the socket outlives the worker. The other way, the worker opens the coordinator's descriptor through
 * /proc (shared_open).
 *
 * lua/parlua/array/c.lua has the same declarations. */
#ifndef PARLUA_SHARED_H
#define PARLUA_SHARED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARED_FILE = 2 };

struct shared_memory {
  uint64_t id;
  char *bytes;
  uint64_t size;
  int32_t file;      /* descriptor of all of it; -1: it has none */
  int32_t read_only; /* writing to it is a fault; SHARED_FILE: it is mapped from a file */
};

/* New memory, at *at: zeros, or, where that is not asked for, perhaps what another piece of this process has left.
 * Returns the piece that it lies in, held once more; NULL with errno set. */
struct shared_memory *shared_new(uint64_t size, bool with_zeros, char **at);
/* A file as memory, all of it, to be read only. What others write to the file is seen; what they have cut off reads as
 * zeros, and shared_cut tells. NULL with errno set; ENODATA: it is empty. */
struct shared_memory *shared_map_file(const char *path);
/* Before this thread reads what may be mapped from files: false, at once, where nothing is. */
bool shared_prepare(void);
/* The path of a file that was cut short since it was mapped: that of `shared`, or (NULL) of any that is still held.
 * NULL: none was. */
const char *shared_cut(const struct shared_memory *shared);
/* Memory of another message, at `bytes`, which lies in a mapping that shared_note_message has told of: read only, and
 * kept beyond that. NULL with errno set; ENOENT: it does not lie there. */
struct shared_memory *shared_of_message(const void *bytes, uint64_t size);
void shared_hold(struct shared_memory *shared);
void shared_drop(struct shared_memory *shared);
/* The piece of that number, held once more; NULL: this process does not know it. */
struct shared_memory *shared_find(uint64_t id);
/* Opens the piece through the descriptor of process `pid`, or finds it here; held once more. NULL with errno set. */
struct shared_memory *shared_open(uint64_t id, int pid, int file, uint64_t inode, uint64_t size);
/* The number of its file, for shared_open; from here on another process may know it. */
uint64_t shared_inode(struct shared_memory *shared);
/* Gives back what is kept for the next pieces. */
void shared_trim(void);
/* Bytes of all pieces of this process. */
double shared_total(void);

/* Coordinator: before it forks. Returns 0 or an errno. */
int shared_open_channel(void);
/* Forked worker: gives the piece to the coordinator, which is to claim it once. False: it can't be sent. */
bool shared_offer(struct shared_memory *shared);
/* A thread: the same within the process. */
void shared_leave(struct shared_memory *shared);
/* Coordinator: takes over one offer; the piece is the caller's to drop. NULL: nobody has offered it. */
struct shared_memory *shared_claim(uint64_t id);
/* Coordinator: nobody is left to claim what was offered or left. */
void shared_forget_offers(void);

/* `length` bytes at `bytes` are a message that processes of this host share (NULL: no longer). */
void shared_note_message(const void *bytes, size_t length);
#endif
