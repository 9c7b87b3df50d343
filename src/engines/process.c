/* process.c - workers are processes forked from the coordinator: each sees everything that the script had at that
 * moment, and one that dies harms nobody. They are killed with their coordinator. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engines/engine.h"
#include "sys/clock.h"
#include "sys/family.h"
#include "sys/guard.h"
#include "sys/oom.h"
#include "sys/signals.h"

struct process {
  pid_t pid;
  int fd;      /* pidfd, or -1 where descriptors ran out: then its end is found by asking */
  bool killed; /* by us */
};

static int process_open(struct engine *engine)
{
  guard_open();
  engine->oom_kills = UINT64_MAX;
  engine->most_files = engine_want_files(engine->workers);
  return hub_open(&engine->hub, engine->workers);
}

#define COULD_WAIT "A process that is forked meanwhile could wait for ever for a lock that it holds. "
#define OR_THREADS "or use engine = \"threads\" for this call too"

/* A copy of this process has only the thread that forked; a lock of the C library that another thread held at that
 * moment (of its time zones, its locales, its streams, of any library's own) stays held in the copy for ever. Threads
 * that begin, or are about to come to rest, are waited for. A helper that was forked early could fork without that
 * danger; but its workers would not have what the script has made since, which is what this engine is for. */
static int process_refuses(struct engine *engine, const char **why)
{
  static const double patience = 1;
  static const char of_a_call[] =
      "a thread of this program is in a task, of a call on threads that has not ended (parlua.submit, a pool, a loop "
      "over "
      "imap). " COULD_WAIT
      "Take that call's results first (future:get(), pool:close(), the loop to its end), " OR_THREADS;
  static const char given_up[] =
      "a thread of this program is still in a task that it was given up in, beyond its time limit or "
      "cancelled. " COULD_WAIT
      "Use the process engine for that call, which kills such tasks; or wait until it has ended, " OR_THREADS;
  const struct timespec pause = {.tv_nsec = 100000};
  double deadline = clock_seconds() + patience;
  (void)engine;
  while (threads_in_tasks() > 0) {
    if (clock_seconds() > deadline) {
      *why = threads_given_up() > 0 ? given_up : of_a_call;
      return EDEADLK;
    }
    nanosleep(&pause, NULL);
  }
  return 0;
}

/* `usual`: the signals that its tasks block. Those of a terminal were held since before the fork: until they are passed
 * over they would do here what they do in the script, which is to interrupt what runs. */
static _Noreturn void run_child(struct engine *engine, uint32_t w, const sigset_t *usual)
{
  struct bell bell = hub_bell(&engine->hub, w);
  signals_pass_over();
  signals_release(usual);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != engine->owner) _exit(1);
  worker_bodies.forked(engine->inheritance, engine->slots[w], &bell, engine->memory);
}

static int process_start(struct engine *engine, uint32_t w)
{
  struct process *process = engine_own(engine, w);
  const char *why;
  int refused = process_refuses(engine, &why);
  if (refused) return refused;
  fflush(NULL);
  sigset_t usual = signals_hold();
  pid_t pid = fork();
  if (pid == 0) run_child(engine, w, &usual);
  int error = errno;
  signals_release(&usual);
  if (pid < 0) return error;
  process->pid = pid;
  process->killed = false;
  if (engine->oom_kills == UINT64_MAX)
    engine->oom_kills = oom_kills(); /* while the first worker starts: it takes 15 us */
  process->fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (process->fd > engine->most_files || (process->fd >= 0 && hub_watch(&engine->hub, process->fd, w) != 0)) {
    close(process->fd);
    process->fd = -1;
  }
  engine->unwatched[w] = process->fd < 0;
  return 0;
}

static int process_end(struct engine *engine, uint32_t w)
{
  struct process *process = engine_own(engine, w);
  if (process->pid == 0) return 0; /* it has ended; to kill(2) a 0 is the whole process group */
  process->killed = true;
  return family_kill(process->pid);
}

static bool process_ended(struct engine *engine, uint32_t w, int *status)
{
  struct process *process = engine_own(engine, w);
  pid_t pid;
  if (process->pid == 0) return true; /* as was told before */
  do pid = waitpid(process->pid, status, WNOHANG);
  while (pid < 0 && errno == EINTR);
  if (pid == 0) return false;
  if (pid < 0) *status = -1; /* somebody else waited for it (SIGCHLD ignored): it is gone, however it ended */
  if (!process->killed && oom_was_it(*status, &engine->oom_kills)) engine->slots[w]->starved = 1;
  if (process->fd >= 0) {
    hub_unwatch(&engine->hub, process->fd);
    close(process->fd);
  }
  process->pid = 0;
  process->fd = -1;
  return true;
}

const struct engine_kind engine_process = {
    .name = "process",
    .can = {.kill = true, .inherit = true, .limit_memory = true},
    .own_bytes = sizeof(struct process),
    .start = process_start,
    .end = process_end,
    .ended = process_ended,
    .open = process_open,
    .refuses = process_refuses,
};
