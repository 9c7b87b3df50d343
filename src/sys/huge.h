/* huge.h - shared memory of huge pages, where the system has them. A page of 2 MB is one fault in each process that
 * touches it, where pages of 4 kB are 512: forked workers reach an array of 1 GB in 512 faults, not 262,144, and new
 * memory comes three times as fast (measured).
 *
 * The system gives shared memory huge pages when it is first touched, if /sys/kernel/mm/transparent_hugepage/
 * shmem_enabled says so. Mostly it says "never"; since Linux 6.1 a program can ask for them all the same, for memory
 * that is there (MADV_COLLAPSE): so that is done as memory is made. */
#ifndef PARLUA_HUGE_H
#define PARLUA_HUGE_H
#include <stddef.h>
#include <stdint.h>

/* How many bytes a file in memory is to have for `size` bytes: the next multiple of a huge page, where little is lost.
 */
size_t huge_length(size_t size);
/* Maps all of a file in memory (-1: memory without one), to be read and written, so that huge pages fit. Returns
 * MAP_FAILED with errno set. */
void *huge_map(size_t length, int file);
/* New memory, which nobody has touched yet: makes it of huge pages, if that is possible and much more memory is free;
 * it is there from then on. Otherwise nothing happens: its pages come when they are touched. */
void huge_fill(void *map, size_t length);
#endif
