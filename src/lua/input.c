/* input.c - see input.h. */
#include "lua/input.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lua/state.h"
#include "sys/stdin.h"

extern char **environ;

/* A stream that is empty, for all states of this process: without a descriptor, as there may be a thousand states. */
static FILE *empty_file;

static ssize_t read_nothing(void *cookie, char *bytes, size_t most) /* without it, reading would be an error */
{
  (void)cookie, (void)bytes, (void)most;
  return 0;
}

static void open_empty_file(void)
{
  empty_file = fopencookie(NULL, "r", (cookie_io_functions_t){.read = read_nothing});
}

/* Puts what a state's handle io.stdin reads into its place. LuaJIT's file handles begin with the FILE pointer, as Lua's
 * do. */
static void set_handle(lua_State *L, bool empty)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_empty_file);
  state_push_global(L, "io");
  lua_getfield(L, -1, "stdin");
  if (lua_type(L, -1) == LUA_TUSERDATA && empty_file) *(FILE **)lua_touserdata(L, -1) = empty ? empty_file : stdin;
  lua_pop(L, 2);
}

int input_lua_empty(lua_State *L)
{
  bool empty = lua_toboolean(L, 1);
  if (lua_toboolean(L, 2)) {
    stdin_empty(empty);
  } else {
    set_handle(L, empty);
    stdin_empty_in_thread(empty);
  }
  return 0;
}

int input_start_shell(const char *command, bool empty, pid_t *pid)
{
  char *words[] = {"sh", "-c", (char *)command, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t defaults;
  int error = posix_spawn_file_actions_init(&actions);
  if (error) return error;
  error = posix_spawnattr_init(&attributes);
  if (error) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  if (empty) error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!error) error = posix_spawn(pid, "/bin/sh", &actions, &attributes, words, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

int input_lua_execute(lua_State *L)
{
  pid_t pid;
  int status = -1;
  if (input_start_shell(luaL_checkstring(L, 1), lua_toboolean(L, 2), &pid) == 0)
    while (waitpid(pid, &status, 0) < 0)
      if (errno != EINTR) {
        status = -1; /* somebody else waited for it: SIGCHLD is ignored */
        break;
      }
  lua_pushinteger(L, status);
  return 1;
}
