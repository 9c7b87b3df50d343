/* programs.c - the C library's functions that start programs, for all that this program and what it loads call: in a
 * worker the guard is told (guard.h) before they do what they always do. Calls of fork are seen by pthread_atfork. */
#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
  if (command) guard_program();
  return own(command);
}

FILE *popen(const char *command, const char *mode)
{
  static FILE *(*own)(const char *, const char *);
  if (!own) FIND(own, "popen");
  guard_program();
  return own(command, mode);
}

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                           char *const[], char *const[]);

int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *restrict actions,
                const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
  static spawn_function *own;
  if (!own) FIND(own, "posix_spawn");
  guard_program();
  return own(pid, path, actions, attributes, argv, envp);
}

int posix_spawnp(pid_t *restrict pid, const char *restrict file, const posix_spawn_file_actions_t *restrict actions,
                 const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
  static spawn_function *own;
  if (!own) FIND(own, "posix_spawnp");
  guard_program();
  return own(pid, file, actions, attributes, argv, envp);
}
