/* engine_process.c - workers are processes forked from the coordinator: each sees everything that the script had at that moment,
 * and one that dies harms nobody. They are killed with their coordinator. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engines/engine.h"
#include "lua/worker.h"
#include "sys/family.h"
#include "sys/oom.h"

struct process {
  pid_t pid;
  int fd;      /* pidfd, or -1 where descriptors ran out: then its end is found by asking */
  bool killed; /* by us */
};

static int process_open(struct engine *engine)
{
  engine->oom_kills = UINT64_MAX;
  engine->most_files = engine_want_files(engine->workers);
  return hub_open(&engine->hub, NULL);
}

static void run_child(struct engine *engine, uint32_t w, lua_State *L)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != engine->owner) _exit(1);
  worker_process_prepare(engine->memory);
  lua_gc(L, LUA_GCRESTART, -1); /* no collection before the heap has doubled: marking what was inherited copies its pages */
  worker_process_run(L, engine->slots[w], &engine->hub.bell);
}

static int process_start(struct engine *engine, uint32_t w, lua_State *L, int job)
{
  struct process *process = engine_own(engine, w);
  fflush(NULL);
  worker_keep_job(L, job);
  pid_t pid = fork();
  int error = errno;
  if (pid == 0) run_child(engine, w, L);
  worker_keep_job(L, 0);
  if (pid < 0) return error;
  process->pid = pid;
  process->killed = false;
  if (engine->oom_kills == UINT64_MAX) engine->oom_kills = oom_kills(); /* while the first worker starts: it takes 15 us */
  process->fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (process->fd > engine->most_files || (process->fd >= 0 && hub_watch(&engine->hub, process->fd, w) != 0)) {
    close(process->fd);
    process->fd = -1;
  }
  return 0;
}

static int process_kill(struct engine *engine, uint32_t w)
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

static void process_join(struct engine *engine, uint32_t w, double seconds)
{
  int status;
  double deadline = clock_seconds() + seconds;
  for (long pause = 50000; !process_ended(engine, w, &status);) {
    struct timespec time = {.tv_nsec = pause};
    struct process *process = engine_own(engine, w);
    if (clock_seconds() > deadline) process_kill(engine, w);
    if (process->fd >= 0) {
      uint32_t ended[1];
      hub_asleep(&engine->hub);
      hub_wait(&engine->hub, 0.02, ended, 1);
    } else {
      nanosleep(&time, NULL);
      if (pause < 10000000) pause *= 2;
    }
  }
}

const struct engine_ops engine_process = {
    .name = "process",
    .flags = CAN_KILL | INHERITS | LIMITS_MEMORY,
    .own_bytes = sizeof(struct process),
    .start = process_start,
    .kill = process_kill,
    .ended = process_ended,
    .join = process_join,
    .open = process_open,
};
