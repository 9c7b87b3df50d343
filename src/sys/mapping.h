/* mapping.h - files that are mapped into memory, and may be cut short by others while they are read. To read a page
 * that is no longer there raises SIGBUS: from then on the rest of the mapping is zeros, and is known not to be the
 * file's. */
#ifndef PARLUA_MAPPING_H
#define PARLUA_MAPPING_H
#include <stddef.h>
#include <stdint.h>

struct mapping;

/* How often something was found to be no longer there, in this process. */
extern volatile uint32_t mapping_cuts;

/* From here on the `length` bytes at `bytes`, a mapping of a file from its beginning, can be read without harm, by all
 * threads and by forked copies of this process. NULL: there is no memory. Other SIGBUS go where they went before. */
struct mapping *mapping_watch(const void *bytes, size_t length);
/* The same for a thread that has not called mapping_watch, or where others may have set the signal's handler since. */
void mapping_prepare(void);
/* Before it is unmapped. */
void mapping_forget(struct mapping *mapping);
/* How many bytes from its beginning on are the file's own, as far as reading has shown. */
size_t mapping_whole(const struct mapping *mapping);

/* A loop that reads a mapping, and ends when its cell is below what it is about to do. lua/parlua/worker/init.lua has
 * the same lines. */
struct mapping_loop {
  const struct mapping *mapping; /* NULL: any */
  volatile double *cell;
  double replaced; /* what the cell held before it was set to stop the loop; infinite: it was not */
  struct mapping_loop *outer;
};

/* From here to mapping_leave, -1 is put into the loop's cell when this thread reads what is no longer the file's: what
 * follows would be done with zeros. Loops may stand inside each other. */
void mapping_enter(struct mapping_loop *loop);
void mapping_leave(struct mapping_loop *loop);
#endif
