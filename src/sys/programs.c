/* programs.c - the C library's functions that start programs, wait for them and write, for all that this program and
 * what it loads call: in a worker the guard is told (guard.h), and what programs print is captured (capture.h), before
 * they do what they always do. Calls of fork are seen by pthread_atfork. */
#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/capture.h"
#include "sys/guard.h"

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                           char *const[], char *const[]);

/* The library's own functions, behind ours. Threads and handlers of signals call ours: all are found before there are
 * any. */
static struct {
  int (*system)(const char *);
  FILE *(*popen)(const char *, const char *);
  int (*pclose)(FILE *);
  pid_t (*waitpid)(pid_t, int *, int);
  spawn_function *posix_spawn, *posix_spawnp;
  ssize_t (*write)(int, const void *, size_t);
} own;

#define FIND(name)                                      \
  do {                                                  \
    void *found = dlsym(RTLD_NEXT, #name);              \
    memcpy((void *)&own.name, &found, sizeof own.name); \
  } while (0)

__attribute__((constructor)) static void find_own(void)
{
  FIND(system);
  FIND(popen);
  FIND(pclose);
  FIND(waitpid);
  FIND(posix_spawn);
  FIND(posix_spawnp);
  FIND(write);
}

/* Another library's constructor may come before ours. */
static void need_own(void)
{
  if (!own.write) find_own();
}

int system(const char *command)
{
  need_own();
  if (!command) return own.system(command);
  guard_program();
  capture_begin();
  capture_wait();
  int status = own.system(command);
  capture_end();
  capture_settle();
  return status;
}

FILE *popen(const char *command, const char *mode)
{
  need_own();
  guard_program();
  capture_begin();
  FILE *file = own.popen(command, mode);
  capture_end();
  return file;
}

int pclose(FILE *file)
{
  need_own();
  capture_wait();
  int status = own.pclose(file);
  capture_settle();
  return status;
}

pid_t waitpid(pid_t pid, int *status, int options)
{
  need_own();
  capture_wait();
  pid_t ended = own.waitpid(pid, status, options);
  capture_settle();
  return ended;
}

static int spawn_captured(spawn_function *spawn, pid_t *pid, const char *path,
                          const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                          char *const argv[], char *const envp[])
{
  guard_program();
  capture_begin();
  int error = spawn(pid, path, actions, attributes, argv, envp);
  capture_end();
  return error;
}

int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *restrict actions,
                const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
  need_own();
  return spawn_captured(own.posix_spawn, pid, path, actions, attributes, argv, envp);
}

int posix_spawnp(pid_t *restrict pid, const char *restrict file, const posix_spawn_file_actions_t *restrict actions,
                 const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
  need_own();
  return spawn_captured(own.posix_spawnp, pid, file, actions, attributes, argv, envp);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
  need_own();
  if ((fd == STDOUT_FILENO || fd == STDERR_FILENO) && capture_write(fd, bytes, length)) return (ssize_t)length;
  return own.write(fd, bytes, length);
}
