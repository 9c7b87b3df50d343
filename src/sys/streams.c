/* streams.c - see streams.h. */
#include "sys/streams.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void (*flush_own)(void); /* set once, at the beginning of a process */

int streams_why_unwritable(int fd)
{
  struct pollfd poll_fd = {.fd = fd};
  struct statvfs system;
  if (write(fd, "", 0) < 0) return errno; /* devices answer */
  if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLERR)) return EPIPE;
  return fstatvfs(fd, &system) == 0 && system.f_blocks > 0 && system.f_bavail == 0 ? ENOSPC : 0;
}

#ifdef __GLIBC__
/* All open streams, linked by `_chain`: glibc has no other way to go over them. Weak: a later one may keep it to
 * itself. */
extern FILE *_IO_list_all __attribute__((weak));

void streams_flush(void)
{
  if (!&_IO_list_all) {
    fflush(NULL);
    return;
  }
  for (FILE *file = _IO_list_all; file; file = file->_chain)
    if (__fpending(file) > 0) fflush(file);
}

static void end_now(int status, void *ignored)
{
  (void)ignored;
  flush_own();
  streams_flush();
  _exit(status);
}

void streams_end_quietly(void (*flush)(void))
{
  flush_own = flush;
  on_exit(end_now, NULL);
}
#else
void streams_flush(void)
{
  fflush(NULL);
}

static void end_now(void)
{
  flush_own();
  streams_flush();
  _exit(EXIT_FAILURE); /* the status can't be asked for */
}

void streams_end_quietly(void (*flush)(void))
{
  flush_own = flush;
  atexit(end_now);
}
#endif
