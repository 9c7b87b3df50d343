/* family.c - see family.h. */
#include "sys/family.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_DEPTH = 100, NAME_BYTES = 64 };

static void kill_children(pid_t pid, int depth);

/* Stops a process, so that it starts nothing more, kills its children, then itself. */
static int kill_with_children(pid_t pid, int depth)
{
  if (kill(pid, SIGSTOP) == 0 && depth < MOST_DEPTH) kill_children(pid, depth + 1);
  return kill(pid, SIGKILL) < 0 ? errno : 0;
}

/* Kills the children that the thread `name` of the process has started. */
static void kill_children_of_thread(pid_t pid, const char *name, int depth)
{
  char path[NAME_BYTES];
  int child;
  snprintf(path, sizeof path, "/proc/%d/task/%.16s/children", (int)pid, name);
  FILE *file = fopen(path, "re");
  if (!file) return;
  while (fscanf(file, "%d", &child) == 1) kill_with_children(child, depth);
  fclose(file);
}

static void kill_children(pid_t pid, int depth)
{
  char path[NAME_BYTES];
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *threads = opendir(path);
  if (!threads) return;
  for (struct dirent *entry; (entry = readdir(threads));)
    if (entry->d_name[0] != '.') kill_children_of_thread(pid, entry->d_name, depth);
  closedir(threads);
}

int family_kill(pid_t pid)
{
  return pid > 0 ? kill_with_children(pid, 0) : ESRCH; /* 0 would be all of our own group */
}
