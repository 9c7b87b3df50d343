/* cores.c - see cores.h. */
#include "sys/cores.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096, MOST_CPUS = 8192 };

static int affinity(void)
{
  cpu_set_t *set = CPU_ALLOC(MOST_CPUS);
  int n = 1;
  if (set && sched_getaffinity(0, CPU_ALLOC_SIZE(MOST_CPUS), set) == 0) n = CPU_COUNT_S(CPU_ALLOC_SIZE(MOST_CPUS), set);
  CPU_FREE(set);
  return n < 1 ? 1 : n;
}

/* Quota / period of one cgroup directory, or 0 when it has none. */
static double quota_of(const char *directory)
{
  char path[PATH_BYTES + 128];
  double quota = 0, period = 0;
  if (snprintf(path, sizeof path, "%s/cpu.max", directory) >= (int)sizeof path)
    return 0; /* version 2; "max" is no number */
  FILE *file = fopen(path, "r");
  if (file) {
    if (fscanf(file, "%lf %lf", &quota, &period) != 2) quota = 0;
    fclose(file);
    return quota > 0 && period > 0 ? quota / period : 0;
  }
  const char *names[] = {"cpu.cfs_quota_us", "cpu.cfs_period_us"};
  double values[2] = {0, 0};
  for (int i = 0; i < 2; i++) {
    if (snprintf(path, sizeof path, "%s/%s", directory, names[i]) >= (int)sizeof path) return 0;
    file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%lf", &values[i]) != 1) values[i] = 0;
    fclose(file);
  }
  return values[0] > 0 && values[1] > 0 ? values[0] / values[1] : 0;
}

/* The least quota of this process's cgroup and those above it; 0: none. */
static double cgroup_quota(void)
{
  char line[PATH_BYTES], directory[PATH_BYTES + 128];
  double least = 0;
  FILE *file = fopen("/proc/self/cgroup", "r");
  if (!file) return 0;
  while (fgets(line, sizeof line, file)) {
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) continue;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    int second = controllers[1] == '\0';
    if (!second && !strstr(controllers, "cpu")) continue;
    for (;;) {
      snprintf(directory, sizeof directory, "/sys/fs/cgroup%s%s", second ? "" : "/cpu",
               strcmp(path, "/") == 0 ? "" : path);
      double quota = quota_of(directory);
      if (quota > 0 && (least == 0 || quota < least)) least = quota;
      char *slash = strrchr(path, '/');
      if (!slash || slash[1] == '\0') break;
      slash[slash == path] = '\0';
    }
  }
  fclose(file);
  return least;
}

static int batch_allotment(void)
{
  static const char *const names[] = {
      "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NCPUS", "NCPUS", "NSLOTS", NULL};
  for (int i = 0; names[i]; i++) {
    const char *value = getenv(names[i]);
    int n = value ? atoi(value) : 0;
    if (n > 0) return n;
  }
  return 0;
}

int cores_available(void)
{
  int n = affinity(), allotted = batch_allotment();
  double quota = cgroup_quota();
  if (quota > 0 && ceil(quota) < n) n = (int)ceil(quota);
  if (allotted > 0 && allotted < n) n = allotted;
  return n;
}
