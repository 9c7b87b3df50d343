/* terminal_take.c - the terminal that mpirun keeps to itself: rank 0 takes it, and gives it back. See terminal.h. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lua/terminal.h"

/* The group that had the terminal before rank 0 took it. */
static pid_t group_before;

static void give_back(void)
{
  signal(SIGTTOU, SIG_IGN); /* it may not be ours any more */
  if (group_before > 0) tcsetpgrp(STDIN_FILENO, group_before);
  group_before = 0;
}

/* The parent of a process, and its name; 0 when there is none. */
static pid_t parent_of(pid_t pid, char name[32])
{
  char path[64], line[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "re");
  int parent = 0;
  if (!file) return 0;
  if (fgets(line, sizeof line, file)) {
    char *open = strchr(line, '('), *end = strrchr(line, ')');
    if (open && end) {
      snprintf(name, 32, "%.*s", (int)(end - open - 1), open + 1);
      if (sscanf(end + 1, " %*c %d", &parent) != 1) parent = 0;
    }
  }
  fclose(file);
  return parent;
}

/* Whether a descriptor of a process is a terminal. */
static bool has_terminal(pid_t pid, int fd)
{
  char path[64], target[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length < 0) return false;
  target[length] = '\0';
  return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

/* The process above this one that starts MPI programs; 0: there is none. */
static pid_t starter_of_ranks(void)
{
  static const char *const starters[] = {"mpirun", "mpiexec",       "orterun",      "prterun",
                                         "prun",   "mpiexec.hydra", "mpiexec.mpich"};
  char name[32] = "";
  pid_t pid, parent = parent_of(getpid(), name);
  for (int level = 0; parent > 1 && level < 6; level++) {
    pid = parent;
    parent = parent_of(pid, name);
    for (size_t k = 0; k < sizeof starters / sizeof *starters; k++)
      if (strcmp(name, starters[k]) == 0) return pid;
  }
  return 0;
}

bool terminal_take(void)
{
  if (isatty(STDIN_FILENO)) return true;
  pid_t starter = starter_of_ranks();
  bool is_used = starter && has_terminal(starter, STDIN_FILENO) && has_terminal(starter, STDOUT_FILENO);
  int fd = is_used ? open("/dev/tty", O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return is_used; /* MPICH's are in a session of their own: lines come plainly, through it */
  pid_t owner = tcgetpgrp(fd);
  sigset_t output, before;
  sigemptyset(&output);
  sigaddset(&output, SIGTTOU); /* else a group in the background is stopped here */
  sigprocmask(SIG_BLOCK, &output, &before);
  bool ours = owner > 0 && (owner == getpgrp() || tcsetpgrp(fd, getpgrp()) == 0);
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (ours) {
    fflush(stdout);
    for (int standard = STDIN_FILENO; standard <= STDERR_FILENO; standard++)
      if (has_terminal(starter, standard)) dup2(fd, standard);
    if (owner != getpgrp()) {
      group_before = owner;
      atexit(give_back);
    }
  }
  close(fd);
  return true;
}
