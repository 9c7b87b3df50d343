/* lent.h - memory that workers which are no relatives can map, and other ranks of this host: a file in memory, which
 * they open by this process's descriptor in /proc. A page in front of it is this process's own. What is given back is
 * kept for the next who asks, as new memory costs more than what is done with it. */
#ifndef PARLUA_LENT_H
#define PARLUA_LENT_H
#include <stdbool.h>
#include <stddef.h>

enum { LENT_HEAD = 2048 /* bytes in front of it that the caller may use, at the most */ };

/* Where memory can be had: behind a descriptor of a process. */
struct lender {
  int pid, file;
};

/* Memory of `size` bytes, with anything in it, at the beginning of a page. NULL: there is none, or nobody could map it.
 */
void *lent_new(size_t size);
/* What another process has lent, to be read, and to be passed on to workers: a page in front of it is this process's
 * own too. NULL with errno set. */
void *lent_borrow(struct lender lender, size_t size);
/* Who has it. */
struct lender lent_by(const void *memory);
/* Gives it back. Nobody reads it any more. */
void lent_free(void *memory);
/* Opens it, to be read. -1 with errno set. */
int lent_open(struct lender lender);
/* Maps it: to be read only, or as a copy of this process's own (`is_own`), in which what was not written is what stands
 * there. MAP_FAILED with errno set; to be given back by munmap. */
void *lent_map(struct lender lender, size_t size, bool is_own);
#endif
