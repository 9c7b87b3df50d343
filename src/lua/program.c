/* program.c - the module parlua.program: a program that runs, what it reads and what it writes. lua/parlua/exec.lua
 * makes parlua.exec of it.
 *
 * start(words, options) -> program; nil, message, what it is about. Options: `directory`; `environment`, a table of
 * variables that are changed, by name, false: taken out; `input`, `output`, `error`: true (a pipe), false (nothing),
 * nil (this process's own), the name of a file (`append`: output goes on at its end), for `error` also a table (where
 * output goes); `text`, what is written to its pipe; `collects_output`, `collects_error`: what comes is the task's to
 * have.
 *
 * program:wait(seconds) -> "data", some was read, see take; "ended"; "late", the time is up (nil: there is none);
 * "interrupted" by a signal; "abandoned", the task was given up.
 *
 * program:take(stream) -> the bytes that were read from 1 or 2 since it was last asked.
 *
 * program:remains([most]) -> the program's name; what was collected from 1 and 2, which takes no room any more, `most`:
 * of each the last so many bytes alone; how many bytes it had been of each.
 *
 * program:kill(signal): all of its process group.
 *
 * program:status() -> exit status, or nil and the signal; after "ended".
 *
 * program:close(): kills it if it has not ended.
 *
 * A program whose object is collected, since an error went past it, is killed. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "lua/worker.h"
#include "sys/buffer.h"
#include "sys/clock.h"
#include "sys/guard.h"
#include "sys/signals.h"
#include "sys/spawn.h"

enum { INPUT, OUTPUT, ERROR, STREAMS };

enum {
  READ_BYTES = 65536, /* what a pipe holds */
  TICK_MS = 20,       /* a task of a thread looks so often whether it was given up */
  UNWATCHED_MS = 5,   /* and, where there are no descriptors of processes, so often whether its program has ended */
};

extern char **environ;

static const char type_name[] = "parlua.program";

struct program {
  struct spawn spawn;
  struct buffer read[STREAMS];
  const char *text; /* to be written; kept in the object's environment */
  size_t length, written;
  bool ended; /* it waits to be waited for: until then its number, and its group's, are nobody else's */
  int status; /* exit status, or the signal */
  bool is_signal;
  bool collects[STREAMS]; /* what it writes is the task's to have at the end */
  int hooks, count;       /* what shows that a signal came: hooks of the state, signals of its runs */
};

static struct program *check_program(lua_State *L)
{
  return luaL_checkudata(L, 1, type_name);
}

/* ---- starting ---- */

/* The strings of the list at index 1, with a NULL behind; pushes their memory. */
static char **read_words(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t count = lua_objlen(L, 1);
  char **words = lua_newuserdata(L, (count + 1) * sizeof *words);
  for (size_t k = 0; k < count; k++) {
    lua_rawgeti(L, 1, (int)k + 1);
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "the words of a program must be strings");
    words[k] = (char *)lua_tostring(L, -1); /* kept alive by the list */
    lua_pop(L, 1);
  }
  words[count] = NULL;
  return words;
}

/* Is the variable "name=value" changed by the table on top? */
static bool is_changed(lua_State *L, const char *variable)
{
  lua_pushlstring(L, variable, strcspn(variable, "="));
  lua_rawget(L, -2);
  bool changed = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return changed;
}

/* This process's environment with the changes of the options; pushes what it takes. */
static char **read_environment(lua_State *L)
{
  lua_getfield(L, 2, "environment");
  if (lua_isnil(L, -1)) return environ;
  luaL_checktype(L, -1, LUA_TTABLE);
  size_t count = 0, most = 1;
  for (char **variable = environ; variable && *variable; variable++) most++;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) most++;
  lua_createtable(L, (int)most, 0); /* keeps the new ones alive */
  char **list = lua_newuserdata(L, most * sizeof *list);
  lua_pushvalue(L, -3);
  for (char **variable = environ; variable && *variable && count + 1 < most; variable++)
    if (!is_changed(L, *variable)) list[count++] = *variable;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -1) != LUA_TSTRING) continue;
    lua_pushvalue(L, -2);
    lua_pushliteral(L, "=");
    lua_pushvalue(L, -3);
    lua_concat(L, 3);
    list[count++] = (char *)lua_tostring(L, -1);
    lua_rawseti(L, -6, (int)count);
  }
  list[count] = NULL;
  return list;
}

static void read_stream(lua_State *L, const char *name, struct spawn_stream *stream)
{
  lua_getfield(L, 2, name);
  switch (lua_type(L, -1)) {
  case LUA_TNIL: stream->kind = SPAWN_INHERIT; break;
  case LUA_TBOOLEAN: stream->kind = lua_toboolean(L, -1) ? SPAWN_PIPE : SPAWN_NOTHING; break;
  case LUA_TTABLE: stream->kind = SPAWN_OUTPUT; break;
  default: stream->kind = SPAWN_FILE; stream->path = luaL_checkstring(L, -1); /* kept alive by the options */
  }
  lua_pop(L, 1);
}

static int start(lua_State *L)
{
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  struct program *program = lua_newuserdata(L, sizeof *program);
  *program = (struct program){.spawn = {.descriptor = -1, .pipes = {-1, -1, -1}, .held = {-1, -1, -1}}};
  luaL_getmetatable(L, type_name);
  lua_setmetatable(L, 3);
  program->spawn.words = read_words(L);
  program->spawn.environment = read_environment(L);
  lua_getfield(L, 2, "directory");
  program->spawn.directory = lua_tostring(L, -1);
  static const char *const names[] = {"input", "output", "error"};
  for (int stream = INPUT; stream < STREAMS; stream++) read_stream(L, names[stream], &program->spawn.streams[stream]);
  lua_getfield(L, 2, "append");
  program->spawn.streams[OUTPUT].append = program->spawn.streams[ERROR].append = lua_toboolean(L, -1);
  lua_newtable(L);
  lua_getfield(L, 2, "text");
  program->text = lua_tolstring(L, -1, &program->length);
  lua_rawseti(L, -2, 1);
  lua_pushstring(L, program->spawn.words[0]);
  lua_rawseti(L, -2, 2);
  lua_setfenv(L, 3);
  lua_getfield(L, 2, "collects_output");
  program->collects[OUTPUT] = lua_toboolean(L, -1);
  lua_getfield(L, 2, "collects_error");
  program->collects[ERROR] = lua_toboolean(L, -1);
  program->hooks = lua_gethookmask(L);
  program->count = signals_count();
  int error = spawn_program(&program->spawn);
  if (error) {
    lua_pushnil(L);
    lua_pushstring(L, strerror(error));
    lua_pushstring(L, program->spawn.wrong);
    return 3;
  }
  if (program->collects[OUTPUT] || program->collects[ERROR]) worker_begin_program(program, program->spawn.words[0]);
  if (program->length == 0 && program->spawn.pipes[INPUT] >= 0) {
    close(program->spawn.pipes[INPUT]);
    program->spawn.pipes[INPUT] = -1;
  }
  lua_pushvalue(L, 3);
  return 1;
}

/* ---- running ---- */

static void close_pipe(struct program *program, int stream)
{
  close(program->spawn.pipes[stream]);
  program->spawn.pipes[stream] = -1;
  if (program->spawn.held[stream] >= 0) close(program->spawn.held[stream]);
  program->spawn.held[stream] = -1;
}

/* Writes to the pipe what it takes. A program that reads no more has no need of the rest; that is no SIGPIPE. */
static void write_some(struct program *program)
{
  sigset_t pipe_signal, before, pending;
  const struct timespec now = {0};
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  ssize_t n = write(program->spawn.pipes[INPUT], program->text + program->written, program->length - program->written);
  int error = errno;
  if (n < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE)) sigtimedwait(&pipe_signal, NULL, &now);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (n > 0) program->written += (size_t)n;
  bool is_over = program->written == program->length || (n < 0 && error != EAGAIN && error != EINTR);
  if (is_over) close_pipe(program, INPUT);
}

/* Reads from a pipe what is there, up to one load. Returns true when there may be more; closes a pipe that has ended.
 * Raises where there is no memory. */
static bool read_some(lua_State *L, struct program *program, int stream)
{
  struct buffer *buffer = &program->read[stream];
  if (buffer_reserve(buffer, READ_BYTES)) luaL_error(L, "not enough memory");
  ssize_t n = read(program->spawn.pipes[stream], buffer->bytes + buffer->length, READ_BYTES);
  if (n > 0 && program->collects[stream])
    worker_note_written(program, stream, buffer->bytes + buffer->length, (size_t)n);
  if (n > 0) buffer->length += (size_t)n;
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) close_pipe(program, stream);
  return n > 0;
}

/* Has it ended? */
static bool look_for_end(struct program *program)
{
  siginfo_t info = {0};
  int failed;
  do failed = waitid(P_PID, (id_t)program->spawn.pid, &info, WEXITED | WNOHANG | WNOWAIT);
  while (failed && errno == EINTR);
  if (!failed && info.si_pid == 0) return false;
  /* a script that waits for all children itself, or ignores SIGCHLD, takes the status away: then it is 0 */
  program->status = failed ? 0 : info.si_status;
  program->is_signal = !failed && info.si_code != CLD_EXITED;
  return program->ended = true;
}

static int push_event(lua_State *L, const char *event)
{
  lua_pushstring(L, event);
  return 1;
}

/* What was written before the end, whoever has the pipes now: children in the background may keep them open. */
static int end_program(lua_State *L, struct program *program)
{
  for (int stream = OUTPUT; stream < STREAMS; stream++) {
    while (program->spawn.pipes[stream] >= 0 && read_some(L, program, stream)) continue;
    if (program->spawn.pipes[stream] >= 0) close_pipe(program, stream);
  }
  if (program->spawn.pipes[INPUT] >= 0) close_pipe(program, INPUT);
  return push_event(L, "ended");
}

static bool was_interrupted(lua_State *L, struct program *program)
{
  int hooks = lua_gethookmask(L), count = signals_count();
  bool is_new = hooks != program->hooks || count != program->count;
  program->hooks = hooks;
  program->count = count;
  return is_new && !worker_is_thread();
}

/* Milliseconds to the moment `until`, rounded up; at most `most`, if that is not negative. */
static int milliseconds_to(double until, int most)
{
  if (until < 0) return most;
  double left = ceil(fmax(0, until - clock_seconds()) * 1000);
  return most >= 0 && most < left ? most : left > 1e9 ? (int)1e9 : (int)left;
}

static int wait_for(lua_State *L)
{
  struct program *program = check_program(L);
  double until = lua_isnumber(L, 2) ? clock_seconds() + lua_tonumber(L, 2) : -1;
  if (program->ended) return end_program(L, program);
  if (program->spawn.pid == 0) return luaL_error(L, "the program was closed");
  for (;;) {
    struct pollfd watched[STREAMS + 1];
    for (int stream = INPUT; stream < STREAMS; stream++)
      watched[stream] =
          (struct pollfd){.fd = program->spawn.pipes[stream], .events = stream == INPUT ? POLLOUT : POLLIN};
    watched[STREAMS] = (struct pollfd){.fd = program->spawn.descriptor, .events = POLLIN};
    int most = program->spawn.descriptor < 0 ? UNWATCHED_MS : worker_is_thread() ? TICK_MS : -1;
    int ready = poll(watched, STREAMS + 1, milliseconds_to(until, most));
    if (was_interrupted(L, program)) return push_event(L, "interrupted");
    if (worker_is_given_up()) return push_event(L, "abandoned");
    bool has_read = false;
    if (ready > 0) {
      if (watched[INPUT].revents) write_some(program);
      for (int stream = OUTPUT; stream < STREAMS; stream++)
        if (watched[stream].revents) has_read = read_some(L, program, stream) || has_read;
    }
    bool may_have_ended = program->spawn.descriptor < 0 || (ready > 0 && watched[STREAMS].revents);
    if (may_have_ended && look_for_end(program)) return end_program(L, program);
    if (has_read) return push_event(L, "data");
    if (until >= 0 && clock_seconds() >= until) return push_event(L, "late");
  }
}

/* descriptors() -> of the pipes for input, output, errors, and what tells of the end; nil: there is none */
static int descriptors(lua_State *L)
{
  const struct program *program = check_program(L);
  const int numbers[] = {program->spawn.pipes[INPUT], program->spawn.pipes[OUTPUT], program->spawn.pipes[ERROR],
                         program->spawn.descriptor};
  for (int i = 0; i < STREAMS + 1; i++) {
    if (numbers[i] >= 0)
      lua_pushinteger(L, numbers[i]);
    else
      lua_pushnil(L);
  }
  return STREAMS + 1;
}

static int take(lua_State *L)
{
  struct program *program = check_program(L);
  int stream = (int)luaL_checkinteger(L, 2);
  luaL_argcheck(L, stream == OUTPUT || stream == ERROR, 2, "1 or 2");
  struct buffer *buffer = &program->read[stream];
  lua_pushlstring(L, buffer->length ? (const char *)buffer->bytes : "", buffer->length);
  buffer->length = 0;
  return 1;
}

static int remains(lua_State *L)
{
  struct program *program = check_program(L);
  double most = luaL_optnumber(L, 2, HUGE_VAL);
  lua_getfenv(L, 1);
  lua_rawgeti(L, -1, 2);
  double lengths[STREAMS];
  for (int stream = OUTPUT; stream < STREAMS; stream++) lengths[stream] = (double)program->read[stream].length;
  for (int stream = OUTPUT; stream < STREAMS; stream++)
    if (lengths[stream] > most) buffer_keep_end(&program->read[stream], (size_t)most);
  for (int stream = OUTPUT; stream < STREAMS; stream++) {
    struct buffer *buffer = &program->read[stream];
    if (program->collects[stream])
      lua_pushlstring(L, buffer->length ? (const char *)buffer->bytes : "", buffer->length);
    else
      lua_pushnil(L);
    buffer_free(buffer);
  }
  for (int stream = OUTPUT; stream < STREAMS; stream++) lua_pushnumber(L, lengths[stream]);
  return 1 + 2 * (STREAMS - 1);
}

static int kill_group(lua_State *L)
{
  struct program *program = check_program(L);
  int number = (int)luaL_checkinteger(L, 2);
  if (program->spawn.pid > 0) kill(-program->spawn.pid, number);
  return 0;
}

static int status(lua_State *L)
{
  struct program *program = check_program(L);
  if (program->is_signal) lua_pushnil(L);
  lua_pushinteger(L, program->status);
  return program->is_signal ? 2 : 1;
}

/* Why a file can't be run; 0: it can. */
static int look_at_file(const char *path)
{
  struct stat about;
  if (access(path, X_OK) < 0) return errno;
  if (stat(path, &about) < 0) return errno;
  return S_ISREG(about.st_mode) ? 0 : EACCES;
}

/* missing(program) -> why it can't be run, nil: it can. Looks for it as execvp does. */
static int missing(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1), *path = getenv("PATH");
  int error = ENOENT;
  if (strchr(name, '/')) {
    error = look_at_file(name);
  } else {
    for (path = path ? path : "/bin:/usr/bin"; error; path++) {
      size_t length = strcspn(path, ":");
      lua_pushlstring(L, length ? path : ".", length ? length : 1);
      lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), name);
      int here = look_at_file(lua_tostring(L, -1));
      lua_pop(L, 2);
      if (here == 0 || here == EACCES) error = here;
      path += length;
      if (here == 0 || !*path) break;
    }
  }
  if (!error) return 0;
  lua_pushstring(L, strerror(error));
  return 1;
}

/* mark() -> the value of GUARD_VARIABLE that a program of a task in the script's own process is to have; its name. */
static int mark(lua_State *L)
{
  lua_pushstring(L, guard_mark());
  lua_pushliteral(L, GUARD_VARIABLE);
  return 2;
}

static int collect(lua_State *L)
{
  struct program *program = check_program(L);
  if (program->spawn.pid > 0 && !program->ended) kill(-program->spawn.pid, SIGKILL);
  while (program->spawn.pid > 0 && waitpid(program->spawn.pid, NULL, 0) < 0 && errno == EINTR) continue;
  program->spawn.pid = 0;
  worker_end_program(program);
  for (int stream = INPUT; stream < STREAMS; stream++) {
    if (program->spawn.pipes[stream] >= 0) close_pipe(program, stream);
    buffer_free(&program->read[stream]);
  }
  if (program->spawn.descriptor >= 0) close(program->spawn.descriptor);
  program->spawn.descriptor = -1;
  return 0;
}

int luaopen_parlua_program(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"wait", wait_for},           {"take", take},     {"remains", remains}, {"kill", kill_group},
      {"descriptors", descriptors}, {"status", status}, {"close", collect},   {NULL, NULL},
  };
  if (luaL_newmetatable(L, type_name)) {
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
  }
  static const luaL_Reg functions[] = {{"start", start}, {"missing", missing}, {"mark", mark}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
