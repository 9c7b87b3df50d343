/* family.c - see family.h. */
#include "sys/family.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_DEPTH = 100, NAME_BYTES = 64 };

/* What is done with each child of a process; `depth` is how far it stands below the first one. Returns a number, of
 * which the sum counts. */
struct visit {
  int (*child)(const struct visit *visit, pid_t pid, int depth);
  const char *path;
};

/* The children that the thread `name` of the process has started. */
static int visit_thread(const struct visit *visit, pid_t pid, const char *name, int depth)
{
  char path[NAME_BYTES];
  int child, sum = 0;
  snprintf(path, sizeof path, "/proc/%d/task/%.16s/children", (int)pid, name);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  while (fscanf(file, "%d", &child) == 1) sum += visit->child(visit, child, depth);
  fclose(file);
  return sum;
}

static int visit_children(const struct visit *visit, pid_t pid, int depth)
{
  char path[NAME_BYTES];
  int sum = 0;
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *threads = opendir(path);
  if (!threads) return 0;
  for (struct dirent *entry; (entry = readdir(threads));)
    if (entry->d_name[0] != '.') sum += visit_thread(visit, pid, entry->d_name, depth);
  closedir(threads);
  return sum;
}

/* Stops a process, so that it starts nothing more, kills its children, then itself. Returns 0 or an errno. */
static int kill_with_children(const struct visit *visit, pid_t pid, int depth)
{
  if (kill(pid, SIGSTOP) == 0 && depth < MOST_DEPTH) visit_children(visit, pid, depth + 1);
  return kill(pid, SIGKILL) < 0 ? errno : 0;
}

int family_kill(pid_t pid)
{
  const struct visit visit = {.child = kill_with_children};
  return pid > 0 ? kill_with_children(&visit, pid, 0) : ESRCH; /* 0 would be all of our own group */
}

static int count_grandchildren(const struct visit *visit, pid_t pid, int depth)
{
  char path[NAME_BYTES], program[PATH_MAX];
  if (depth == 0) return visit_children(visit, pid, 1);
  snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
  ssize_t length = readlink(path, program, sizeof program);
  return length == (ssize_t)strlen(visit->path) && memcmp(program, visit->path, (size_t)length) == 0;
}

int family_count(pid_t pid, const char *path)
{
  const struct visit visit = {.child = count_grandchildren, .path = path};
  return visit_children(&visit, pid, 0);
}
