/* outfile.c - see outfile.h. */
#include "lua/outfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/signals.h"

static const char outfile_meta[] = "parlua.outfile";

struct outfile {
  int fd;        /* -1: closed */
  bool is_own;   /* to be closed: it is not standard output */
  bool is_pipe;  /* may have no room: written in pieces that never block */
  bool is_named; /* `temporary` is its name just now */
  bool has_file; /* it gets a name at the end */
  char *target;  /* the path, symbolic links resolved */
  char *temporary;
};

enum { NEW_MODE = 0666 }; /* of which the umask takes away */

/* ---- paths ---- */

/* The path with symbolic links resolved, also of a file that does not exist in a folder that does. The caller
 * frees it. */
static char *resolve(const char *path)
{
  char *real = realpath(path, NULL), *copy = NULL;
  if (real) return real;
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
  char *real_folder = folder ? realpath(folder, NULL) : NULL;
  if (real_folder && asprintf(&copy, "%s/%s", strcmp(real_folder, "/") == 0 ? "" : real_folder, name) < 0) copy = NULL;
  free(folder);
  free(real_folder);
  return copy ? copy : strdup(path);
}

static int outfile_same(lua_State *L)
{
  const char *first = luaL_checkstring(L, 1), *second = luaL_checkstring(L, 2);
  struct stat a, b;
  bool same;
  if (stat(first, &a) == 0 && stat(second, &b) == 0) {
    same = a.st_dev == b.st_dev && a.st_ino == b.st_ino;
  } else {
    char *one = resolve(first), *two = resolve(second);
    same = one && two && strcmp(one, two) == 0;
    free(one);
    free(two);
  }
  lua_pushboolean(L, same);
  return 1;
}

/* Is this the name of a temporary file for `name` of a thread on this host that has ended? Threads of a process may
 * write files of the same name. */
static bool is_stale(const char *entry, const char *name, const char *host)
{
  size_t length = strlen(name);
  char *end;
  if (strncmp(entry, name, length) != 0 || entry[length] != '.') return false;
  long pid = strtol(entry + length + 1, &end, 10);
  if (pid <= 0 || *end != '.' || strncmp(end + 1, host, strlen(host)) != 0) return false;
  return strcmp(end + 1 + strlen(host), ".tmp") == 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* Removes temporary files that killed processes left beside the target. */
static void remove_stale(const char *target, const char *host)
{
  const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target;
  char *folder = slash ? strndup(target, slash == target ? 1 : (size_t)(slash - target)) : strdup(".");
  DIR *listing = folder ? opendir(folder) : NULL;
  for (struct dirent *entry; listing && (entry = readdir(listing));)
    if (is_stale(entry->d_name, name, host)) unlinkat(dirfd(listing), entry->d_name, 0);
  if (listing) closedir(listing);
  free(folder);
}

/* ---- opening ---- */

static struct outfile *new_outfile(lua_State *L)
{
  struct outfile *file = lua_newuserdata(L, sizeof *file);
  memset(file, 0, sizeof *file);
  file->fd = -1;
  luaL_getmetatable(L, outfile_meta);
  lua_setmetatable(L, -2);
  return file;
}

/* Opens a file that has no name yet, or where the file system can't do that, one with a temporary name. Returns 0 or an
 * errno. */
static int open_new(struct outfile *file)
{
  const char *slash = strrchr(file->target, '/');
  char *folder =
      slash ? strndup(file->target, slash == file->target ? 1 : (size_t)(slash - file->target)) : strdup(".");
  if (!folder) return ENOMEM;
  file->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, NEW_MODE);
  free(folder);
  char proc[64];
  struct stat found;
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", file->fd);
  if (file->fd >= 0 && stat(proc, &found) == 0) return 0;
  if (file->fd >= 0) close(file->fd);
  file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, NEW_MODE);
  if (file->fd < 0) return errno;
  file->is_named = true;
  return 0;
}

static int open_target(struct outfile *file, const char *path, const struct stat *found)
{
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  file->target = resolve(path);
  if (!file->target || asprintf(&file->temporary, "%s.%ld.%s.tmp", file->target, (long)gettid(), host) < 0) {
    file->temporary = NULL;
    return ENOMEM;
  }
  remove_stale(file->target, host);
  int error = open_new(file);
  if (error) return error;
  if (found) fchmod(file->fd, found->st_mode & 0777);
  file->has_file = true;
  return 0;
}

static int outfile_open(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  struct outfile *file = new_outfile(L);
  struct stat found;
  bool exists = stat(path, &found) == 0;
  int error = 0;
  if (exists && S_ISDIR(found.st_mode)) {
    error = EISDIR;
  } else if (exists && !S_ISREG(found.st_mode)) {
    file->fd = open(path, O_WRONLY | O_CLOEXEC);
    if (file->fd < 0) error = errno;
    file->is_pipe = true;
  } else {
    error = open_target(file, path, exists ? &found : NULL);
  }
  file->is_own = true;
  if (!error) return 1;
  const char *why = error == EISDIR ? "it is a directory" : strerror(error);
  lua_pushnil(L);
  lua_pushfstring(L, "cannot write the results to '%s': %s", path, why);
  lua_pushstring(L, why);
  return 3;
}

static int outfile_stdout(lua_State *L)
{
  struct outfile *file = new_outfile(L);
  struct stat found;
  file->fd = STDOUT_FILENO;
  file->is_pipe = fstat(STDOUT_FILENO, &found) != 0 || !S_ISREG(found.st_mode);
  return 1;
}

/* ---- writing ---- */

static struct outfile *check_file(lua_State *L)
{
  struct outfile *file = luaL_checkudata(L, 1, outfile_meta);
  if (file->fd < 0) luaL_error(L, "the file is closed");
  return file;
}

static int answer(lua_State *L, int error)
{
  if (error == 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushnumber(L, error);
  return 2;
}

/* Waits until a pipe has room. Returns 0 or an errno; EINTR: the run is to end. */
static int wait_for_room(const struct outfile *file)
{
  struct pollfd poll_fd = {.fd = file->fd, .events = POLLOUT};
  while (poll(&poll_fd, 1, -1) < 0) {
    if (errno != EINTR) return errno;
    if (signals_count() > 0) return EINTR;
  }
  return 0;
}

/* Writes all bytes; `done` says how many have been. Into a pipe no more at once than has room after poll(2): the
 * process must not sleep in write(2), from which a signal would not wake it. Returns 0 or an errno. */
static int write_all(const struct outfile *file, const char *bytes, size_t length, size_t *done)
{
  while (*done < length) {
    size_t rest = length - *done, piece = file->is_pipe && rest > PIPE_BUF ? PIPE_BUF : rest;
    int error = file->is_pipe ? wait_for_room(file) : 0;
    if (error) return error;
    ssize_t written = write(file->fd, bytes + *done, piece);
    if (written < 0 && errno != EINTR && errno != EAGAIN) return errno;
    if (written > 0) *done += (size_t)written;
  }
  return 0;
}

static int outfile_write(lua_State *L)
{
  struct outfile *file = check_file(L);
  size_t length = (size_t)luaL_checknumber(L, 3);
  const char *bytes;
  if (lua_type(L, 2) == LUA_TSTRING)
    bytes = lua_tostring(L, 2);
  else
    memcpy(&bytes, lua_topointer(L, 2), sizeof bytes); /* a pointer of the FFI */
  size_t done = 0;
  int error = write_all(file, bytes, length, &done);
  if (error == 0) return answer(L, 0);
  lua_pushnil(L);
  lua_pushnumber(L, error);
  lua_pushnumber(L, (lua_Number)done);
  return 3;
}

/* cut(bytes): takes the last ones away again. */
static int outfile_cut(lua_State *L)
{
  struct outfile *file = check_file(L);
  off_t end = lseek(file->fd, -(off_t)luaL_checknumber(L, 2), SEEK_END);
  return answer(L, end < 0 || ftruncate(file->fd, end) != 0 ? errno : 0);
}

/* ---- the end ---- */

/* Gives the file a name in one step. Returns 0 or an errno. */
static int name_file(struct outfile *file, const char *target)
{
  char proc[64];
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", file->fd);
  if (!file->is_named) {
    if (linkat(AT_FDCWD, proc, AT_FDCWD, target, AT_SYMLINK_FOLLOW) == 0) return 0; /* there was none of that name */
    if (errno != EEXIST) return errno;
    unlink(file->temporary);
    if (linkat(AT_FDCWD, proc, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) != 0) return errno;
    file->is_named = true;
  }
  if (rename(file->temporary, target) != 0) return errno;
  file->is_named = false;
  return 0;
}

static int outfile_publish(lua_State *L)
{
  struct outfile *file = check_file(L);
  if (!file->has_file) return answer(L, 0);
  const char *target = lua_pushfstring(L, "%s%s", file->target, luaL_optstring(L, 2, ""));
  bool is_lazy = lua_toboolean(L, 3);
  if (!is_lazy && fdatasync(file->fd) != 0 && errno != EINVAL && errno != EROFS) return answer(L, errno);
  int error = name_file(file, target);
  if (error) return answer(L, error);
  lua_pushboolean(L, 1);
  lua_pushstring(L, target);
  return 2;
}

/* discard(ending): removes what an earlier run left under the name with the ending. */
static int outfile_discard(lua_State *L)
{
  struct outfile *file = check_file(L);
  if (file->has_file) unlink(lua_pushfstring(L, "%s%s", file->target, luaL_checkstring(L, 2)));
  return 0;
}

static int outfile_close(lua_State *L)
{
  struct outfile *file = luaL_checkudata(L, 1, outfile_meta);
  int error = 0;
  if (file->is_own && file->fd >= 0 && close(file->fd) != 0) error = errno;
  file->fd = -1;
  if (file->is_named) unlink(file->temporary);
  file->is_named = false;
  free(file->target);
  free(file->temporary);
  file->target = file->temporary = NULL;
  return answer(L, error);
}

int luaopen_parlua_outfile(lua_State *L)
{
  static const luaL_Reg methods[] = {{"write", outfile_write},
                                     {"cut", outfile_cut},
                                     {"publish", outfile_publish},
                                     {"discard", outfile_discard},
                                     {"close", outfile_close},
                                     {"__gc", outfile_close},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"open", outfile_open}, {"stdout", outfile_stdout}, {"same", outfile_same}, {NULL, NULL}};
  luaL_newmetatable(L, outfile_meta);
  luaL_register(L, NULL, methods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_createtable(L, 0, 3);
  luaL_register(L, NULL, functions);
  return 1;
}
