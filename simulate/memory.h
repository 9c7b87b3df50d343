/* memory.h - malloc and its like as the tested code sees them: counted, and failing where the schedule wants it. */
#ifndef SIMULATE_MEMORY_H
#define SIMULATE_MEMORY_H
#include <stddef.h>
#include <stdint.h>

struct memory {
  int64_t live;          /* allocations made by the tested code and not given back */
  uint64_t made;         /* in this schedule */
  double failing;        /* probability that the coordinator's next one fails */
  uint64_t fail_at;      /* the one that fails for certain; 0: none */
  uint64_t fail_count;   /* how many have failed */
  int64_t own, most_own; /* bytes that the coordinator has, and has had at the most */
};
extern struct memory memory;

/* The simulator's own memory: as realloc, never fails, is not counted. */
void *memory_own(void *before, size_t bytes);
void memory_own_free(void *bytes);

#endif
