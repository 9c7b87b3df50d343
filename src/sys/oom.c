/* oom.c - see oom.h. */
#include "sys/oom.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* The highest score that there is: a worker goes before everything else, whatever its size. Raising one's own needs no
 * privilege.
 */
static const char highest_score[] = "1000";

void oom_volunteer(void)
{
  int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  ssize_t ignored = write(file, highest_score, sizeof highest_score - 1);
  (void)ignored; /* no /proc, or a sandbox: then the kernel chooses by size */
  close(file);
}

/* The number on the line "oom_kill N" of a file; false when it has none. */
static bool read_count(const char *path, uint64_t *count)
{
  char line[256];
  unsigned long long number;
  bool found = false;
  FILE *file = fopen(path, "re");
  if (!file) return false;
  while (!found && fgets(line, sizeof line, file)) found = sscanf(line, "oom_kill %llu", &number) == 1;
  fclose(file);
  if (found) *count = number;
  return found;
}

/* Looks for a count of the cgroup `path` or, where its directory is not to be seen from inside a container, of one
 * above it. */
static bool read_cgroup(bool is_second, char *path, uint64_t *count)
{
  char name[PATH_BYTES + 64];
  for (;;) {
    snprintf(name, sizeof name,
             is_second ? "/sys/fs/cgroup%s/memory.events" : "/sys/fs/cgroup/memory%s/memory.oom_control",
             strcmp(path, "/") == 0 ? "" : path);
    if (read_count(name, count)) return true;
    char *slash = strrchr(path, '/');
    if (!slash) return false;
    *slash = '\0';
  }
}

uint64_t oom_kills(void)
{
  char line[PATH_BYTES];
  uint64_t count = 0;
  bool found = false;
  FILE *file = fopen("/proc/self/cgroup", "re");
  while (file && !found && fgets(line, sizeof line, file)) { /* number:controllers:path */
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) continue;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    bool is_second = controllers[1] == '\0';
    if (is_second || strcmp(controllers + 1, "memory") == 0) found = read_cgroup(is_second, path, &count);
  }
  if (file) fclose(file);
  if (!found) read_count("/proc/vmstat", &count);
  return count;
}

bool oom_was_it(int status, uint64_t *seen)
{
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) return false;
  if (oom_kills() <= *seen) return false;
  ++*seen;
  return true;
}
