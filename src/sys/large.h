/* large.h - private memory of many megabytes, in huge pages where the system gives them to those who ask
 * (/sys/kernel/mm/transparent_hugepage/enabled: "always" or "madvise"). New memory in pages of 4 kB costs a fault each:
 * 8 MB are touched for the first time in 3 ms, in huge pages in 1 ms, again in 0.3 ms (measured).
 *
 * So memory that is given back is kept for the next who asks, some 128 MB in all; what is beyond 64 MB of it is the
 * system's, when that lacks memory. A forked process does not get it: pages that two processes have are copied when one
 * writes to them, which costs more than new ones. */
#ifndef PARLUA_LARGE_H
#define PARLUA_LARGE_H
#include <stdbool.h>
#include <stddef.h>

/* Memory of fewer bytes is better asked for elsewhere: it has no huge page in it. */
enum { LARGE_BYTES = 2 << 20 };

/* Memory of `size` bytes (at least LARGE_BYTES), with anything in it; NULL when there is none. */
void *large_new(size_t size);
/* Makes memory of `old` bytes one of `size` bytes, perhaps elsewhere; both are at least LARGE_BYTES. Returns NULL, and
 * changes nothing, when there is none. */
void *large_resize(void *memory, size_t old, size_t size);
/* Gives back memory of `size` bytes. */
void large_free(void *memory, size_t size);
/* Maps new memory of `length` bytes, whole pages, that begins at a multiple of LARGE_BYTES, if a limit allows; in small
 * pages. MAP_FAILED: there is none. */
char *large_map(size_t length);
/* Gives what is kept to the system. Returns whether there was any. */
bool large_give_up(void);
/* Memory of another allocator is about to be filled: what of it nobody has touched yet comes in huge pages. */
void large_expect(void *memory, size_t size);

#endif
