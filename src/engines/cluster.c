/* cluster.c - see cluster.h. */
#include "engines/cluster.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct cluster *cluster; /* not NULL from cluster_begin to cluster_end, in rank 0 */
static pid_t owner;                   /* a forked copy must not take leave in its place */
static bool is_launched;              /* by mpirun or srun: the ranks were not spawned */

/* The rank as the launcher's environment tells it, or -1: not started by one. */
static int launched_rank(void)
{
  static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", NULL};
  for (int i = 0; names[i]; i++) {
    const char *value = getenv(names[i]);
    if (value && *value) return atoi(value);
  }
  return -1;
}

/* dlopen; but what crashes goes on to end as it always did: libraries of networks set handlers for that as they are
 * loaded. */
static void *load(const char *path)
{
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  enum { COUNT = sizeof signals / sizeof *signals };
  struct sigaction before[COUNT];
  for (int i = 0; i < COUNT; i++) sigaction(signals[i], NULL, &before[i]);
  void *object = dlopen(path, RTLD_NOW | RTLD_GLOBAL); /* global: MPI opens plugins that need its symbols */
  for (int i = 0; i < COUNT; i++) sigaction(signals[i], &before[i], NULL);
  return object;
}

/* Opens the shared object; NULL: *message tells why not. */
static const struct cluster *open_object(char *message, size_t size)
{
  static const char *const places[] = {"parlua_mpi.so", "../lib/parlua/parlua_mpi.so"};
  char path[PATH_MAX + 64], self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length < 0) return NULL;
  self[length] = '\0';
  const char *directory = dirname(self);
  snprintf(message, size,
           "there is no parlua_mpi.so beside the program: where mpicc is (in Debian: packages openmpi-bin and "
           "libopenmpi-dev), make "
           "builds it");
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    snprintf(path, sizeof path, "%s/%s", directory, places[i]);
    if (access(path, R_OK) != 0) continue;
    void *object = load(path);
    const struct cluster *found = object ? dlsym(object, "parlua_cluster") : NULL;
    if (found) return found;
    snprintf(message, size, "%s (is the MPI library installed? in Debian: package openmpi-bin)", dlerror());
  }
  return NULL;
}

/* What configures MPI stays. */
void cluster_forget_launch(void)
{
  static const char *const beginnings[] = {
      "OMPI_COMM_WORLD_",
      "OMPI_UNIVERSE_SIZE",
      "PMIX_",
      "PMI_",
      "OMPI_MCA_ess",
      "OMPI_MCA_pmix=",
      "OMPI_MCA_orte_ess_",
      "OMPI_MCA_orte_hnp_uri",
      "OMPI_MCA_orte_local_daemon_uri",
      "OMPI_MCA_orte_launch",
      "OMPI_MCA_orte_jobfam_session_dir",
      "OMPI_MCA_orte_top_session_dir",
      "SLURM_STEP_NUM_TASKS",
      NULL,
  };
  extern char **environ;
  char name[256];
  for (char **variable = environ; *variable;) {
    size_t length = strcspn(*variable, "=");
    bool is_launch = false;
    for (int i = 0; beginnings[i]; i++) is_launch |= strncmp(*variable, beginnings[i], strlen(beginnings[i])) == 0;
    if (!is_launch || length >= sizeof name) {
      variable++;
      continue;
    }
    memcpy(name, *variable, length);
    name[length] = '\0';
    unsetenv(name); /* the next variable takes its place */
  }
}

static void end_at_exit(int status, void *ignored)
{
  (void)ignored;
  cluster_end(status);
}

/* Goes on as rank 0 of `found`. */
static void coordinate(const struct cluster *found)
{
  cluster = found;
  owner = getpid();
  on_exit(end_at_exit, NULL);
}

/* MPICH's mpiexec leaves its ranks the ends of pipes by which it sees that they have ended: programs that run on when
 * the rank has ended don't get these. */
static void keep_pipes(void)
{
  if (getenv("HYDI_CONTROL_FD")) syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
}

bool cluster_begin(int argc, char **argv, const struct row_maker *maker, int *status)
{
  char message[2 * PATH_MAX];
  bool is_spawned = argc == 2 && strcmp(argv[1], "--mpi-agent") == 0;
  int rank = launched_rank();
  *status = 0;
  if (rank < 0 && !is_spawned) return true;
  const struct cluster *found = open_object(message, sizeof message);
  if (!found) {
    if (rank <= 0)
      fprintf(stderr, "parlua: started by mpirun or srun, but the mpi engine cannot be opened: %s\n", message);
    *status = 2;
    return false;
  }
  keep_pipes();
  rank = found->begin(is_spawned);
  if (rank < 0) {
    *status = 1;
    return false;
  }
  cluster_forget_launch();
  if (rank > 0) {
    found->serve(maker);
    return false;
  }
  is_launched = true;
  coordinate(found);
  return true;
}

bool cluster_spawn(uint32_t count, char *message, size_t size)
{
  static bool tried;
  if (cluster) return true;
  if (tried) {
    snprintf(message, size, "its processes could not be started before, or have ended: start the program anew");
    return false;
  }
  const struct cluster *found = open_object(message, size);
  if (!found) return false;
  tried = true;
  if (!found->spawn(count, message, size)) return false;
  cluster_forget_launch();
  coordinate(found);
  return true;
}

void cluster_end(int status)
{
  const struct cluster *leaving = cluster;
  if (!leaving || owner != getpid()) return;
  cluster = NULL;
  leaving->end(status);
}

const struct engine_kind *cluster_engine(void)
{
  return cluster ? cluster->kind : NULL;
}

int cluster_ranks(void)
{
  return cluster && is_launched ? cluster->ranks() : 0;
}

uint32_t cluster_cores(void)
{
  return cluster && is_launched ? cluster->cores() : 0;
}
