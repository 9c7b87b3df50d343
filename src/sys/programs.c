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

/* The library's own function of that name, behind ours. */
#define FIND(function, name)                               \
  do {                                                     \
    void *found = dlsym(RTLD_NEXT, name);                  \
    memcpy((void *)&(function), &found, sizeof(function)); \
  } while (0)

int system(const char *command)
{
  static int (*own)(const char *);
  if (!own) FIND(own, "system");
  if (!command) return own(command);
  guard_program();
  capture_begin();
  capture_wait();
  int status = own(command);
  capture_end();
  capture_settle();
  return status;
}

FILE *popen(const char *command, const char *mode)
{
  static FILE *(*own)(const char *, const char *);
  if (!own) FIND(own, "popen");
  guard_program();
  capture_begin();
  FILE *file = own(command, mode);
  capture_end();
  return file;
}

int pclose(FILE *file)
{
  static int (*own)(FILE *);
  if (!own) FIND(own, "pclose");
  capture_wait();
  int status = own(file);
  capture_settle();
  return status;
}

pid_t waitpid(pid_t pid, int *status, int options)
{
  static pid_t (*own)(pid_t, int *, int);
  if (!own) FIND(own, "waitpid");
  capture_wait();
  pid_t ended = own(pid, status, options);
  capture_settle();
  return ended;
}

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                           char *const[], char *const[]);

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
  static spawn_function *own;
  if (!own) FIND(own, "posix_spawn");
  return spawn_captured(own, pid, path, actions, attributes, argv, envp);
}

int posix_spawnp(pid_t *restrict pid, const char *restrict file, const posix_spawn_file_actions_t *restrict actions,
                 const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
  static spawn_function *own;
  if (!own) FIND(own, "posix_spawnp");
  return spawn_captured(own, pid, file, actions, attributes, argv, envp);
}

/* By the time that others may call it, it has been found: handlers of signals write, too. */
static ssize_t (*own_write)(int, const void *, size_t);

__attribute__((constructor)) static void find_write(void)
{
  FIND(own_write, "write");
}

ssize_t write(int fd, const void *bytes, size_t length)
{
  if ((fd == STDOUT_FILENO || fd == STDERR_FILENO) && capture_write(fd, bytes, length)) return (ssize_t)length;
  if (!own_write) find_write();
  return own_write(fd, bytes, length);
}
