/* ask.c - see ask.h. The answer goes through a pipe of the asker's, which the asked process reaches by /proc: so there
 * is no file whose name others could take. */
#include "sys/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/clock.h"

enum { ANSWER_FD = 93 }; /* the pipe's number in a process that waits for an answer */

static volatile sig_atomic_t asker, runs;

/* Between runs nobody looks for who has asked: the handler answers itself. (snprintf of numbers takes no lock and no
 * memory.) */
static int answer_idle(int to)
{
  char text[80];
  int length = snprintf(text, sizeof text, "parlua: process %d runs no tasks just now\n", (int)getpid());
  return ask_answer(to, text, (size_t)length);
}

static void on_ask(int number, siginfo_t *info, void *context)
{
  (void)number;
  (void)context;
  int error = errno, from = info->si_code == SI_USER ? info->si_pid : 0;
  if (runs > 0 || from <= 0 || answer_idle(from) != 0) asker = from > 0 ? from : getpid();
  errno = error;
}

void ask_run(int change)
{
  runs += change;
}

void ask_prepare(void)
{
  struct sigaction before, action = {.sa_sigaction = on_ask, .sa_flags = SA_RESTART | SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGUSR1, NULL, &before) != 0 || (before.sa_flags & SA_SIGINFO) || before.sa_handler != SIG_DFL) return;
  sigaction(SIGUSR1, &action, NULL);
}

void ask_leave(void)
{
  struct sigaction before;
  if (sigaction(SIGUSR1, NULL, &before) == 0 && (before.sa_flags & SA_SIGINFO) && before.sa_sigaction == on_ask)
    signal(SIGUSR1, SIG_DFL);
}

int ask_taken(void)
{
  int from = asker;
  if (from != 0) asker = 0;
  return from;
}

int ask_answer(int to, const char *text, size_t length)
{
  char path[64], target[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", to, ANSWER_FD);
  ssize_t n = readlink(path, target, sizeof target);
  if (to == getpid() || n < 5 || memcmp(target, "pipe:", 5) != 0) return -1;
  int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t written = write(fd, text, length);
  close(fd);
  return written == (ssize_t)length ? 0 : -1;
}

/* Does the process catch SIGUSR1? Else it would be ended by it. */
static int catches(int pid)
{
  char path[64], line[256];
  unsigned long long caught = 0;
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *file = fopen(path, "r");
  if (!file) return -1;
  while (fgets(line, sizeof line, file))
    if (strncmp(line, "SigCgt:", 7) == 0) caught = strtoull(line + 7, NULL, 16);
  fclose(file);
  return (caught >> (SIGUSR1 - 1) & 1) != 0;
}

int ask_wait(int asked, double seconds, char *answer, size_t room)
{
  int ends[2], length = -1, known = catches(asked);
  if (known <= 0) {
    errno = known < 0 ? ESRCH : EINVAL;
    return -1;
  }
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  int end = dup3(ends[1], ANSWER_FD, O_CLOEXEC);
  close(ends[1]);
  if (end >= 0 && kill(asked, SIGUSR1) == 0) {
    struct pollfd poll_fd = {.fd = ends[0], .events = POLLIN};
    double until = clock_seconds() + seconds, left;
    int ready = 0;
    while (ready <= 0 && (left = until - clock_seconds()) > 0) ready = poll(&poll_fd, 1, (int)(left * 1e3) + 1);
    if (ready > 0) length = (int)read(ends[0], answer, room);
    if (ready <= 0) errno = ETIMEDOUT;
  }
  int error = errno;
  close(ends[0]);
  if (end >= 0) close(end);
  errno = error;
  return length;
}
