/* barrier.c - see barrier.h. */
#include "sys/barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

bool barrier_join(void)
{
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

bool barrier_works(void)
{
  static _Atomic long commands = -1;
  if (commands < 0) {
    long known = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    commands = known < 0 ? 0 : known;
  }
  return commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED;
}

bool barrier_all(void)
{
  return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}
