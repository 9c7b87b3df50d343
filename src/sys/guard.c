/* guard.c - see guard.h. */
#include "sys/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char variable[] = GUARD_VARIABLE, guard_name[] = "parlua-guard", guard_word[] = "--guard-programs-of";
enum { ID_BYTES = 48, WATCHED = 3 /* descriptor of what the guard waits for */ };

/* What the script's process and its workers share. */
struct family {
  uint32_t has_programs; /* a worker has started one, and the guard */
  uint32_t is_ending;    /* the script's process exits: no more are to be started */
  pid_t owner;           /* the script's process */
  struct timespec since; /* monotonic */
  char id[ID_BYTES];
};

static struct family *family; /* this process's, or NULL */
static pid_t parent;          /* in a worker: who has forked it */

/* ---- killing ---- */

/* Has the process this entry (name, value, a zero byte) in the environment that it was started with? */
static bool has_entry(const char *pid, const char *entry, size_t length)
{
  static char bytes[1 << 16];
  char path[64];
  size_t have = 0;
  bool found = false, at_begin = true;
  snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  for (ssize_t n; !found && (n = read(file, bytes + have, sizeof bytes - have)) > 0;) {
    have += (size_t)n;
    for (char *p = bytes; !found && (p = memmem(p, have - (size_t)(p - bytes), entry, length)); p++)
      found = p == bytes ? at_begin : p[-1] == '\0';
    if (have <= length) continue;
    memmove(bytes, bytes + have - length, length); /* it may lie across two pieces */
    have = length;
    at_begin = false;
  }
  close(file);
  return found;
}

/* The number behind which those of all processes lie that have come into being since `owner` did, at monotonic time
 * `since`; 0: not known. Numbers rise until they begin anew, after 32768 at the earliest: not within this time. */
static pid_t oldest_number(pid_t owner, const struct timespec *since)
{
  static const time_t most_seconds = 2;
  struct timespec now;
  int last = 0;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (now.tv_sec - since->tv_sec > most_seconds) return 0;
  FILE *file = fopen("/proc/loadavg", "re");
  if (!file) return 0;
  if (fscanf(file, "%*s %*s %*s %*s %d", &last) != 1) last = 0;
  fclose(file);
  return last > owner ? owner : 0;
}

/* Kills all processes with the mark whose number is above `oldest`, but this one. Returns how many there were. */
static int kill_marked(const char *id, pid_t oldest)
{
  char entry[sizeof variable + ID_BYTES + 1], self[24];
  int count = 0;
  size_t length = (size_t)snprintf(entry, sizeof entry, "%s=%s", variable, id) + 1;
  snprintf(self, sizeof self, "%d", (int)getpid());
  DIR *processes = opendir("/proc");
  if (!processes) return 0;
  for (struct dirent *process; (process = readdir(processes));) {
    if (!isdigit((unsigned char)process->d_name[0]) || strcmp(process->d_name, self) == 0) continue;
    if (atoi(process->d_name) <= oldest) continue;
    if (!has_entry(process->d_name, entry, length)) continue;
    if (kill((pid_t)atoi(process->d_name), SIGKILL) == 0) count++;
  }
  closedir(processes);
  return count;
}

/* Goes on until `still` times in a row none is found: one that is about to be killed may have started another. */
static void kill_family(const char *id, pid_t oldest, int still)
{
  const struct timespec pause = {.tv_nsec = 4000000};
  for (int round = 0, quiet = 0; round < 1000 && quiet < still; round++) {
    if (round > 0) nanosleep(&pause, NULL);
    quiet = kill_marked(id, oldest) > 0 ? 0 : quiet + 1;
  }
}

/* ---- the script's process ---- */

/* Called by exit(3). The workers die with this process; until then they are not to start anything. Where there is none,
 * nothing but what tasks have left in the background can be running: that is left to the guard, as to look at each
 * process of the machine takes some milliseconds. */
static void end_family(void)
{
  siginfo_t ignored;
  struct family *own = __atomic_load_n(&family, __ATOMIC_ACQUIRE); /* a thread of ours may have made it */
  if (!own || own->owner != getpid()) return;
  __atomic_store_n(&own->is_ending, 1, __ATOMIC_SEQ_CST);
  if (!__atomic_load_n(&own->has_programs, __ATOMIC_SEQ_CST)) return;
  bool has_children = waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
  if (has_children) kill_family(own->id, oldest_number(own->owner, &own->since), 1);
}

void guard_open(void)
{
  struct timespec now;
  if (family && family->owner == getpid()) return;
  struct family *own = mmap(NULL, sizeof *own, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (own == MAP_FAILED) return;
  clock_gettime(CLOCK_REALTIME, &now);
  own->owner = getpid();
  clock_gettime(CLOCK_MONOTONIC, &own->since);
  snprintf(own->id, sizeof own->id, "%d.%llx%08lx", (int)own->owner, (long long)now.tv_sec, now.tv_nsec);
  if (!family) atexit(end_family); /* a forked copy has it */
  __atomic_store_n(&family, own, __ATOMIC_RELEASE);
}

/* ---- a worker, or the script's process for a task of its own ---- */

void guard_enter_worker(void)
{
  if (!family) return;
  parent = getppid();
  setenv(variable, family->id, 1);
  pthread_atfork(guard_program, NULL, NULL);
}

/* What the guard begins with: nothing of ours but the descriptor. Returns 0 or an errno. */
static int spawn_guard(int watched, pid_t *pid)
{
  char since[24], *words[] = {(char *)guard_name, (char *)guard_word, family->id, since, NULL}, *nothing[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all, none;
  int error = posix_spawn_file_actions_init(&actions);
  if (error) return error;
  error = posix_spawnattr_init(&attributes);
  if (error) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  snprintf(since, sizeof since, "%lld", (long long)family->since.tv_sec);
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  error = posix_spawn_file_actions_adddup2(&actions, watched, WATCHED);
  for (int fd = STDIN_FILENO; !error && fd <= STDERR_FILENO; fd++)
    error = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, WATCHED + 1);
  if (!error) error = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, words, nothing);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/* Is the script's process, with whose end the guard is to act, still there? */
static bool has_owner(void)
{
  return family->owner == getpid() || getppid() == parent;
}

/* Starts the guard, which leaves this process at once: a task that waits for its children is not to find it. */
static void start_guard(void)
{
  pid_t pid;
  int file = (int)syscall(SYS_pidfd_open, family->owner, 0), high = -1;
  if (file >= 0) high = fcntl(file, F_DUPFD_CLOEXEC, WATCHED + 1); /* not one that is opened anew in the guard */
  if (high >= 0 && has_owner() && spawn_guard(high, &pid) == 0)
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  if (high >= 0) close(high);
  if (file >= 0) close(file);
}

/* Once for all processes of the family. */
static void have_guard(void)
{
  if (!__atomic_load_n(&family->has_programs, __ATOMIC_SEQ_CST) &&
      !__atomic_exchange_n(&family->has_programs, 1, __ATOMIC_SEQ_CST))
    start_guard();
}

void guard_program(void)
{
  if (!parent || !family) return;
  int error = errno;
  while (__atomic_load_n(&family->is_ending, __ATOMIC_SEQ_CST) && getppid() == parent) pause();
  have_guard();
  errno = error;
}

const char *guard_mark(void)
{
  static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER; /* no process is forked while threads are in tasks */
  pthread_mutex_lock(&opening);
  guard_open();
  pthread_mutex_unlock(&opening);
  if (!family || family->owner != getpid()) return NULL;
  have_guard();
  return family->id;
}

/* ---- the guard ---- */

bool guard_is_meant(int argc, char **argv)
{
  return argc == 4 && strcmp(argv[0], guard_name) == 0 && strcmp(argv[1], guard_word) == 0;
}

int guard_main(char **argv)
{
  struct pollfd watched = {.fd = WATCHED, .events = POLLIN};
  struct timespec since = {.tv_sec = (time_t)atoll(argv[3])};
  pid_t pid = fork();
  if (pid != 0) return pid < 0;
  prctl(PR_SET_NAME, guard_name);
  if (chdir("/") < 0) return 1;
  while (poll(&watched, 1, -1) < 0 && errno == EINTR) continue;
  if (!(watched.revents & POLLIN)) return 1;
  kill_family(argv[2], oldest_number(atoi(argv[2]), &since),
              3); /* workers got their signal just before, and may be starting one */
  return 0;
}
