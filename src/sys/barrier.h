/* barrier.h - membarrier(2): one side of a pair of plain accesses pays for the order of both. A worker stores its task
 * and then loads the end of its chunk, thousands of times for each time that somebody looks; a fence in its loop would
 * cost more than most tasks. So the side that looks makes all others execute one. docs/PROTOCOL.md says where it is
 * needed and why it is enough. */
#ifndef PARLUA_BARRIER_H
#define PARLUA_BARRIER_H
#include <stdbool.h>

/* Has this process take part: to be called once by each process whose threads are looked at, and by the one
 * that looks. */
bool barrier_join(void);
/* Can barrier_all be relied on? False on kernels before 4.16, and under valgrind. */
bool barrier_works(void);
/* Every thread of every process that has joined executes a full barrier before this returns. */
bool barrier_all(void);
/* To be called between two loads whose stores a worker made in this order, as plain stores: on x86-64, where stores are
 * seen in their order, nothing but a fence for the compiler. */
static inline void barrier_between_loads(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __atomic_signal_fence(__ATOMIC_ACQUIRE);
#else
  barrier_all();
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
}

#endif
