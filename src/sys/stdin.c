/* stdin.c - see stdin.h. */
#include "sys/stdin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_FREE = 3 }; /* above the standard streams */

static int kept = -1; /* what descriptor 0 was, while it is empty */
static pid_t keeper;  /* the process that has put it away: a fork finds it empty and leaves it so */
static int takers;    /* sources of the keeper that read it */

/* This thread runs tasks, and what belongs to the script is not theirs. */
static _Thread_local bool is_empty_here;

/* Puts /dev/null into descriptor 0. False: it could not be opened. */
static bool put_nothing(void)
{
  int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing < 0) return false;
  bool done = nothing == STDIN_FILENO || dup2(nothing, STDIN_FILENO) >= 0;
  if (nothing != STDIN_FILENO) close(nothing);
  return done;
}

/* Keeps what descriptor 0 is, and makes it empty. */
static bool put_away(void)
{
  int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, FIRST_FREE);
  if (fd < 0 || !put_nothing()) {
    if (fd >= 0) close(fd);
    return false;
  }
  kept = fd;
  keeper = getpid();
  takers = 0;
  return true;
}

static void put_back(void)
{
  dup2(kept, STDIN_FILENO);
  close(kept);
  kept = -1;
}

int stdin_open(bool *taken)
{
  if (is_empty_here) {
    *taken = false;
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
  bool takes = kept < 0 ? put_away() : keeper == getpid() && takers > 0;
  int fd = fcntl(takes ? kept : STDIN_FILENO, F_DUPFD_CLOEXEC, FIRST_FREE);
  *taken = fd >= 0 && takes;
  if (*taken) takers++;
  if (fd < 0 && takes && takers == 0) put_back();
  return fd;
}

void stdin_give_back(void)
{
  if (kept >= 0 && keeper == getpid() && --takers == 0) put_back();
}

size_t stdin_take_buffered(char *bytes, size_t most)
{
  size_t count = 0;
#ifdef __GLIBC__
  flockfile(stdin);
  size_t have = (size_t)(stdin->_IO_read_end - stdin->_IO_read_ptr);
  count = have < most ? have : most;
  if (count > 0) memcpy(bytes, stdin->_IO_read_ptr, count); /* else there may be no buffer yet */
  stdin->_IO_read_ptr += count;
  funlockfile(stdin);
#endif
  return count;
}

void stdin_empty(bool empty)
{
  if (empty)
    __fpurge(stdin); /* what the process it was forked from has read ahead; and no seeking in what they share */
  if (empty && kept < 0)
    put_away();
  else if (!empty && kept >= 0 && keeper == getpid())
    put_back();
}

void stdin_empty_in_thread(bool empty)
{
  is_empty_here = empty;
}

void stdin_part(void)
{
  if (!is_empty_here) return;
  put_nothing();
  __fpurge(stdin);
}
