/* oom.h - the kernel's out-of-memory killer: workers offer themselves as its first choice, and whoever waits for a
 * worker learns whether it was the killer's. */
#ifndef PARLUA_OOM_H
#define PARLUA_OOM_H
#include <stdbool.h>
#include <stdint.h>

/* Makes the calling process, and what it starts, the first that the kernel ends when memory runs out. */
void oom_volunteer(void);
/* How many processes the kernel has ended for lack of memory: of this process's cgroup where the kernel counts them
 * there (memory.events of version 2, memory.oom_control of version 1), else of the whole machine. 0 where nothing
 * counts. */
uint64_t oom_kills(void);
/* A child has ended with `status` (as from wait(2)), and nobody of ours has killed it: was it for lack of memory? *seen
 * is what oom_kills() gave when that was last asked; one more is then accounted for. */
bool oom_was_it(int status, uint64_t *seen);
#endif
