/* spawn.c - see spawn.h. vfork, not posix_spawn: the child is to be killed with the thread that waits for it, and is
 * given its directory before its program is looked for. */
#include "sys/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/capture.h"
#include "sys/guard.h"

enum { INPUT, OUTPUT, ERROR, STREAMS };

/* Signals with handlers do in the child what they do in any program; what is ignored stays so. */
static void forget_handlers(void)
{
  struct sigaction action, normal = {.sa_handler = SIG_DFL};
  for (int number = 1; number < NSIG; number++)
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
      sigaction(number, &normal, NULL);
}

/* Where the program of that name is, as execvp would find it; NULL: leave it to that. A PATH of ten directories costs a
 * tenth of the time of a small program, so what was found last is kept. */
static const char *find_program(const char *name)
{
  static _Thread_local char last_name[NAME_MAX + 1], last_search[PATH_MAX], found[PATH_MAX];
  const char *search = getenv("PATH");
  if (!search || strchr(name, '/') || strlen(name) >= sizeof last_name || strlen(search) >= sizeof last_search)
    return NULL;
  if (strcmp(name, last_name) == 0 && strcmp(search, last_search) == 0) return *found ? found : NULL;
  strcpy(last_name, name);
  strcpy(last_search, search);
  for (const char *at = search; *at == '/'; at++) { /* from a directory below the present one on, nothing is known */
    size_t length = strcspn(at, ":");
    int written = snprintf(found, sizeof found, "%.*s/%s", (int)length, at, name);
    struct stat about;
    bool is_there = written < (int)sizeof found && access(found, X_OK) == 0 && stat(found, &about) == 0;
    if (is_there && S_ISREG(about.st_mode)) return found;
    at += length;
    if (!*at) break;
  }
  *found = '\0';
  return NULL;
}

/* What a child says that can't become its program. */
struct told {
  int error; /* an errno; 0: nothing */
  const char *wrong;
};

/* How it is told: in memory that the child shares until it has become the program, or has ended, which is when vfork
 * returns. TSan makes vfork a fork: there a pipe tells, and its end is awaited. */
#ifdef __SANITIZE_THREAD__
static _Thread_local int told_pipe[2];

static int prepare_told(void)
{
  return pipe2(told_pipe, O_CLOEXEC) < 0 ? errno : 0;
}

static void tell(volatile struct told *told, int error, const char *wrong)
{
  (void)told;
  struct told message = {error, wrong};
  if (write(told_pipe[1], &message, sizeof message) < 0) abort();
}

static void await_told(volatile struct told *told)
{
  struct told message;
  close(told_pipe[1]);
  if (read(told_pipe[0], &message, sizeof message) == sizeof message) *told = message;
  close(told_pipe[0]);
}
#else
static int prepare_told(void)
{
  return 0;
}

static void tell(volatile struct told *told, int error, const char *wrong)
{
  told->error = error;
  told->wrong = wrong;
}

static void await_told(volatile struct told *told)
{
  (void)told;
}
#endif

/* In the child, which shares memory with its parent until it has become the program, or has ended. `theirs`: the
 * descriptors of its streams, all above 2; -1: it keeps this process's. `path`: where the program is, if that is known.
 */
static __attribute__((noreturn, noinline)) void become_program(struct spawn *spawn, const char *path, const int *theirs,
                                                               const sigset_t *mask, pid_t parent,
                                                               volatile struct told *told)
{
  forget_handlers();
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  for (int stream = INPUT; stream < STREAMS; stream++)
    if (theirs[stream] >= 0) dup2(theirs[stream], stream);
  if (spawn->streams[ERROR].kind == SPAWN_OUTPUT) dup2(OUTPUT, ERROR);
  if (spawn->directory && chdir(spawn->directory) < 0) {
    tell(told, errno, spawn->directory);
    _exit(127);
  }
  sigprocmask(SIG_SETMASK, mask, NULL);
  if (path) execve(path, spawn->words, spawn->environment);
  execvpe(spawn->words[0], spawn->words, spawn->environment);
  tell(told, errno, spawn->words[0]);
  _exit(127);
}

/* A descriptor above 2 in place of one that may be below. Returns -1 with errno set. */
static int lift(int descriptor)
{
  if (descriptor < 0 || descriptor > ERROR) return descriptor;
  int high = fcntl(descriptor, F_DUPFD_CLOEXEC, STREAMS), error = errno;
  close(descriptor);
  errno = error;
  return high;
}

/* Opens what one stream needs. Returns 0 or an errno. */
static int open_stream(struct spawn *spawn, int stream, int *theirs)
{
  const struct spawn_stream *given = &spawn->streams[stream];
  bool is_input = stream == INPUT;
  int ends[2];
  switch (given->kind) {
  case SPAWN_INHERIT:
  case SPAWN_OUTPUT: return 0;
  case SPAWN_NOTHING: *theirs = lift(open("/dev/null", (is_input ? O_RDONLY : O_WRONLY) | O_CLOEXEC)); break;
  case SPAWN_FILE:
    *theirs = is_input ? open(given->path, O_RDONLY | O_CLOEXEC)
                       : open(given->path, O_WRONLY | O_CREAT | O_CLOEXEC | (given->append ? O_APPEND : O_TRUNC), 0666);
    *theirs = lift(*theirs);
    if (*theirs < 0) spawn->wrong = given->path;
    break;
  case SPAWN_PIPE:
    if (pipe2(ends, O_CLOEXEC) < 0) return errno;
    *theirs = lift(ends[is_input ? 0 : 1]);
    spawn->pipes[stream] = lift(ends[is_input ? 1 : 0]);
    if (spawn->pipes[stream] < 0) return errno;
    fcntl(spawn->pipes[stream], F_SETFL, O_NONBLOCK);
    break;
  }
  return *theirs < 0 ? errno : 0;
}

static void close_all(int *descriptors)
{
  for (int stream = INPUT; stream < STREAMS; stream++) {
    if (descriptors[stream] >= 0) close(descriptors[stream]);
    descriptors[stream] = -1;
  }
}

/* Forks; no handler runs in the child, nor in this thread, before it is a program. Returns 0 or an errno. */
static int start(struct spawn *spawn, const int *theirs)
{
  const char *path = find_program(spawn->words[0]);
  sigset_t all, before;
  volatile struct told told = {0};
  pid_t parent = getpid();
  int error = prepare_told();
  if (error) return error;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid = vfork();
  if (pid == 0) become_program(spawn, path, theirs, &before, parent, &told);
  if (pid < 0) told.error = errno;
  await_told(&told);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!told.error) {
    spawn->pid = pid;
    return 0;
  }
  spawn->wrong = told.wrong;
  while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  return told.error;
}

int spawn_program(struct spawn *spawn)
{
  int theirs[STREAMS] = {-1, -1, -1}, error = 0;
  spawn->pid = 0;
  spawn->descriptor = -1;
  spawn->wrong = NULL;
  for (int stream = INPUT; stream < STREAMS; stream++) spawn->pipes[stream] = spawn->held[stream] = -1;
  for (int stream = INPUT; stream < STREAMS && !error; stream++) error = open_stream(spawn, stream, &theirs[stream]);
  if (!error) {
    bool inherits = spawn->streams[OUTPUT].kind == SPAWN_INHERIT || spawn->streams[ERROR].kind == SPAWN_INHERIT;
    guard_program();
    if (inherits) capture_begin();
    error = start(spawn, theirs);
    if (inherits) capture_end();
  }
  if (!error) spawn->descriptor = (int)syscall(SYS_pidfd_open, spawn->pid, 0);
  for (int stream = OUTPUT; spawn->descriptor >= 0 && stream < STREAMS; stream++) {
    if (spawn->streams[stream].kind != SPAWN_PIPE) continue;
    spawn->held[stream] = theirs[stream];
    theirs[stream] = -1;
  }
  close_all(theirs);
  if (error) close_all(spawn->pipes);
  return error;
}
