/* host.c - what the Lua side calls: module parlua.host. Engines and runs as userdata, and the small services of the
 * machine. */
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engines/cluster.h"
#include "lua/codec.h"
#include "lua/glob.h"
#include "lua/host.h"
#include "lua/input.h"
#include "lua/job.h"
#include "lua/key.h"
#include "lua/lookout.h"
#include "lua/output.h"
#include "lua/place.h"
#include "lua/stage.h"
#include "lua/state.h"
#include "lua/text.h"
#include "lua/worker.h"
#include "run/attendant.h"
#include "sys/buffer.h"
#include "sys/clock.h"
#include "sys/cores.h"
#include "sys/shared.h"
#include "sys/signals.h"

static const char engine_meta[] = "parlua.engine", run_meta[] = "parlua.run";

/* An engine that may serve several runs, one after another. */
struct host_engine {
  struct engine engine;
  struct buffer job, fresh; /* the last job as a message, from its block's header on; room to make the next */
  const struct block *sent; /* what is sent to workers for it */
};

struct host_run {
  struct dispatch *dispatch;
  struct attendant *attendant; /* NULL: nobody goes on with it while the script is away */
  struct lookout *lookout;     /* NULL: nobody looks at it meanwhile */
  struct host_engine *engine;
  struct worker_heritage heritage; /* what forked workers go on with */
  struct event event;
};

/* ---- engines ---- */

static int engine_gc(lua_State *L)
{
  struct host_engine *engine = luaL_checkudata(L, 1, engine_meta);
  engine_close(&engine->engine);
  buffer_free(&engine->job);
  buffer_free(&engine->fresh);
  engine->sent = NULL;
  return 0;
}

/* host(worker) -> name of the host that it is on, rank. */
static int method_host(lua_State *L)
{
  struct host_engine *engine = luaL_checkudata(L, 1, engine_meta);
  const struct engine_kind *kind = engine->engine.kind;
  uint32_t w = (uint32_t)luaL_checknumber(L, 2) - 1;
  if (!kind || !kind->host || w >= engine->engine.all) return 0;
  int rank;
  lua_pushstring(L, kind->host(&engine->engine, w, &rank));
  lua_pushinteger(L, rank);
  return 2;
}

/* engine(name, workers, memory in bytes or 0) -> engine, or nil and a message. */
static int host_engine_open(lua_State *L)
{
  static const luaL_Reg methods[] = {{"close", engine_gc}, {"host", method_host}, {"__gc", engine_gc}, {NULL, NULL}};
  const struct engine_kind *kind = engine_find(luaL_checkstring(L, 1));
  uint32_t workers = (uint32_t)luaL_checknumber(L, 2);
  if (!kind) return luaL_error(L, "there is no engine '%s'", lua_tostring(L, 1));
  struct host_engine *engine = lua_newuserdata(L, sizeof *engine);
  memset(engine, 0, sizeof *engine);
  int error = engine_open(&engine->engine, kind, workers);
  if (error) {
    lua_pushnil(L);
    lua_pushstring(L, strerror(error));
    return 2;
  }
  engine->engine.memory = (uint64_t)luaL_optnumber(L, 3, 0);
  if (luaL_newmetatable(L, engine_meta)) {
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  lua_newtable(L);
  lua_setfenv(L, -2);
  return 1;
}

enum { KEEP_JOB_BYTES = 1 << 20 };

/* Makes the message of the job at `index`, and of the strings at `before`, what the worker needs before it decodes the
 * job, and `whole`, the script's state; one of the same bytes as the last keeps its number, so that warm workers go on
 * with what they have compiled: then `is_again` is set. Returns 0 or an errno; -1: it can't cross, a message is on the
 * stack. */
static int set_job(lua_State *L, struct host_engine *engine, int index, int before, int whole, int book, bool *is_again)
{
  struct buffer *job = &engine->job, *fresh = &engine->fresh;
  struct job_part head, tail;
  head.bytes = luaL_checklstring(L, before, &head.length);
  tail.bytes = luaL_checklstring(L, whole, &tail.length);
  uint64_t at = job_place(head.length);
  fresh->length = 0;
  if (buffer_reserve(fresh, at + 8)) return ENOMEM;
  fresh->length = at + 8;
  if (codec_encode_book(L, index, 1, "", CODEC_PLAIN_BY_VALUE | CODEC_TO_WORKER | CODEC_TRUST, book, fresh)) return -1;
  int error = job_wrap(fresh, head, tail, at, engine->engine.jobs + 1);
  if (error) return error;
  bool is_same = engine->sent && job->length == fresh->length &&
                 memcmp(job->bytes + BLOCK_HEAD, fresh->bytes + BLOCK_HEAD, job->length - BLOCK_HEAD) == 0;
  if (!is_same) {
    struct buffer last = *job;
    *job = *fresh;
    *fresh = last;
    engine->engine.jobs++;
    const struct block *message = (const struct block *)(const void *)job->bytes;
    engine->sent = engine->engine.kind->share ? engine->engine.kind->share(&engine->engine, message) : message;
  }
  *is_again = is_same;
  buffer_clear(fresh, KEEP_JOB_BYTES);
  return engine->sent ? 0 : errno;
}

/* ---- runs ---- */

/* The run that a method is called on. Its metatable is upvalue 2: luaL_checkudata looks that up by name. */
static struct host_run *check_handle(lua_State *L)
{
  if (!lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(2))) return luaL_checkudata(L, 1, run_meta);
  lua_pop(L, 1);
  return lua_touserdata(L, 1);
}

static struct host_run *check_run(lua_State *L)
{
  struct host_run *run = check_handle(L);
  if (!run->dispatch) luaL_error(L, "the run is closed");
  return run;
}

/* Runs on this host's workers that are open: these may offer arrays. */
static uint32_t runs_with_offers;

static bool may_offer(const struct engine_kind *kind)
{
  return kind->can.inherit || kind->can.share_memory;
}

static pid_t own_pid; /* 0: not known yet */

static void note_own_pid(void)
{
  own_pid = getpid();
}

/* Is the run this process's? What a worker was forked with is a copy, of a run whose attendant it has no thread for,
 * and perhaps a lock that this thread held. This is asked several times for each event, and getpid is a system call. */
static bool is_own(const struct host_run *run)
{
  if (own_pid == 0) {
    note_own_pid();
    pthread_atfork(NULL, NULL, note_own_pid);
  }
  return run->engine->engine.owner == own_pid;
}

/* A method of a run, upvalue 1, in which the run's lookout leaves the run to it. */
static int visit(lua_State *L)
{
  lua_CFunction method = lua_tocfunction(L, lua_upvalueindex(1));
  struct host_run *run = check_handle(L);
  if (!run->lookout || !run->dispatch || !is_own(run)) return method(L);
  lookout_enter(run->lookout);
  int count = method(L); /* where it raises, the lookout waits for the next visit */
  if (run->lookout) lookout_leave(run->lookout);
  return count;
}

/* look_out(journal, what) -> lookout, to be kept as long as it is used; nil: there is none. See lookout.h. */
static int run_look_out(lua_State *L)
{
  struct host_run *run = check_run(L);
  struct journal *journal;
  size_t length;
  memcpy(&journal, lua_topointer(L, 2), sizeof journal); /* C data: a pointer */
  const char *what = luaL_checklstring(L, 3, &length);
  run->lookout = lookout_push(L, run->dispatch, journal, what, length);
  lua_getfenv(L, 1);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 2);
  lua_pop(L, 1);
  return 1;
}

/* close() -> was the run this process's to close? A forked copy is not. */
static int run_close(lua_State *L)
{
  struct host_run *run = check_handle(L);
  bool own = run->dispatch && is_own(run);
  uint32_t lacking = 0;
  int error = 0;
  if (own) {
    if (run->lookout) lookout_stop(run->lookout);
    run->lookout = NULL;
    if (run->attendant) attendant_close(run->attendant);
    run->attendant = NULL;
    lacking = dispatch_lacking(run->dispatch, &error);
    dispatch_close(run->dispatch);
    luaL_unref(L, LUA_REGISTRYINDEX, run->heritage.job);
    run->engine->engine.busy = false;
    if (may_offer(run->engine->engine.kind) && --runs_with_offers == 0) shared_forget_offers();
  }
  run->dispatch = NULL;
  lua_pushboolean(L, own);
  if (lacking == 0) return 1;
  lua_pushnumber(L, lacking);
  lua_pushnumber(L, error);
  return 3;
}

/* next([seconds[, is_patient]]) -> kind of the event; its fields are behind the pointer that host.run gave. */
static int run_next(lua_State *L)
{
  struct host_run *run = check_run(L);
  double wait = luaL_optnumber(L, 2, 1e300);
  if (!is_own(run)) return luaL_error(L, "the run is of the process that this one is a copy of");
  run->heritage.L = L;
  run->engine->engine.inheritance = &run->heritage;
  dispatch_be_patient(run->dispatch, lua_toboolean(L, 3));
  if (run->attendant)
    attendant_next(run->attendant, &run->event, wait);
  else
    dispatch_next(run->dispatch, &run->event, wait);
  bool has_spawned = run->event.kind == EVENT_TEXT && run->event.stream == 0; /* see lua/parlua/worker/spawn.lua */
  if (run->lookout && has_spawned) lookout_pause(run->lookout);
  lua_pushnumber(L, run->event.kind);
  return 1;
}

/* stage(bytes) -> the block to fill. */
static int run_stage(lua_State *L)
{
  struct block *block = dispatch_stage(check_run(L)->dispatch, (uint64_t)luaL_optnumber(L, 2, 0));
  if (!block) return luaL_error(L, "not enough memory for arguments");
  lua_pushlightuserdata(L, block);
  return 1;
}

static int run_supply(lua_State *L)
{
  dispatch_supply(check_run(L)->dispatch, luaL_checknumber(L, 2));
  return 0;
}

/* skip(first, last) */
static int run_skip(lua_State *L)
{
  int error = dispatch_skip(check_run(L)->dispatch, luaL_checknumber(L, 2), luaL_checknumber(L, 3));
  return error ? luaL_error(L, "cannot skip tasks: %s", strerror(error)) : 0;
}

/* push_range(first, count): the staged block is what tasks from `first` on get, which are none of the source's. */
static int run_push_range(lua_State *L)
{
  int error = dispatch_push(check_run(L)->dispatch, luaL_checknumber(L, 2), luaL_checknumber(L, 3));
  return error ? luaL_error(L, "cannot hand out what a task has spawned: %s", strerror(error)) : 0;
}

/* intake(first, bytes) -> struct intake * (run/pushed.h), whose block is begun anew for tasks from `first` on. */
static int run_intake(lua_State *L)
{
  struct intake *intake =
      dispatch_intake(check_run(L)->dispatch, luaL_checknumber(L, 2), (uint64_t)luaL_optnumber(L, 3, 0));
  if (!intake) return luaL_error(L, "not enough memory for arguments");
  lua_pushlightuserdata(L, intake);
  return 1;
}

/* leave(outstanding): a thread goes on with the run, of which so many pushed tasks have not ended, until come_back. Not
 * on engines that only the main thread may use: there the run waits. */
static int run_leave(lua_State *L)
{
  struct host_run *run = check_run(L);
  double outstanding = luaL_checknumber(L, 2);
  if (run->engine->engine.kind->can.reach_hosts || !is_own(run)) return 0;
  if (!run->attendant && outstanding > 0)
    run->attendant = attendant_open(run->dispatch); /* else the run waits for the script */
  if (run->attendant) attendant_leave(run->attendant, outstanding);
  return 0;
}

static int run_come_back(lua_State *L)
{
  struct host_run *run = check_run(L);
  if (run->attendant && is_own(run)) attendant_come_back(run->attendant);
  return 0;
}

/* hand_out(outstanding): comes back, hands out what can be, and leaves. */
static int run_hand_out(lua_State *L)
{
  struct host_run *run = check_run(L);
  if (!is_own(run)) return luaL_error(L, "the run is of the process that this one is a copy of");
  if (run->attendant) attendant_come_back(run->attendant);
  run->heritage.L = L;
  run->engine->engine.inheritance = &run->heritage;
  dispatch_hand_out(run->dispatch);
  return run_leave(L);
}

/* rouse(): a call is about to be handed out. */
static int run_rouse(lua_State *L)
{
  const struct host_run *run = check_run(L);
  if (is_own(run)) attendant_rouse(run->attendant, run->dispatch);
  return 0;
}

static int run_exhausted(lua_State *L)
{
  dispatch_exhausted(check_run(L)->dispatch);
  return 0;
}

/* redo(task, attempt, seconds) */
static int run_redo(lua_State *L)
{
  int error = dispatch_redo(check_run(L)->dispatch, luaL_checknumber(L, 2), (uint32_t)luaL_checknumber(L, 3),
                            luaL_checknumber(L, 4));
  return error ? luaL_error(L, "cannot try the task again: %s", strerror(error)) : 0;
}

/* redo_staged(task, attempt, seconds) */
static int run_redo_staged(lua_State *L)
{
  int error = dispatch_redo_staged(check_run(L)->dispatch, luaL_checknumber(L, 2), (uint32_t)luaL_checknumber(L, 3),
                                   luaL_optnumber(L, 4, 0));
  return error ? luaL_error(L, "cannot try the task again: %s", strerror(error)) : 0;
}

static int run_shorten(lua_State *L)
{
  dispatch_shorten(check_run(L)->dispatch, luaL_checknumber(L, 2));
  return 0;
}

static int run_ceiling(lua_State *L)
{
  dispatch_ceiling(check_run(L)->dispatch, luaL_checknumber(L, 2));
  return 0;
}

static int run_abort(lua_State *L)
{
  lua_pushboolean(L, dispatch_abort(check_run(L)->dispatch, luaL_checknumber(L, 2)));
  return 1;
}

/* longest() -> task, seconds, worker: the task that has run for longest; nothing where none is known to run. */
static int run_longest(lua_State *L)
{
  struct host_run *run = check_run(L);
  struct longest found;
  if (run->attendant || !dispatch_longest(run->dispatch, &found)) return 0;
  lua_pushnumber(L, found.inner > 0 ? found.inner : found.task);
  lua_pushnumber(L, found.seconds);
  lua_pushnumber(L, found.worker);
  return 3;
}

static int run_cancel(lua_State *L)
{
  dispatch_cancel(check_run(L)->dispatch);
  return 0;
}

/* call(f, ...) -> as pcall does; but f can't yield through it. */
static int host_call(lua_State *L)
{
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  lua_pushboolean(L, status == 0);
  lua_insert(L, 1);
  return lua_gettop(L);
}

/* run(engine, job, total, chunk, timeout, workers, sparse, before, key, book, is_pushed, is_sent, group, rows, whole,
 * is_gathered, any_order) -> run, pointer to its events, is the job's message that of the last one; or nil and a
 * message: something of the job's table can't cross. `job`: false if it is the last one (run/again.lua); `before`:
 * codec bytes of what a worker needs before it decodes the job, `whole`: of the script's state; `book`: for the job's
 * objects; `is_sent`: workers get the job as a message, though they are copies of this process; `rows`: false, or what
 * agents need to prepare rows of a journal. */
static int host_run_open(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"next", run_next},
      {"stage", run_stage},
      {"supply", run_supply},
      {"exhausted", run_exhausted},
      {"redo", run_redo},
      {"close", run_close},
      {"raise_ceiling", run_ceiling},
      {"cancel", run_cancel},
      {"longest", run_longest},
      {"abort", run_abort},
      {"__gc", run_close},
      {"redo_staged", run_redo_staged},
      {"shorten", run_shorten},
      {"skip", run_skip},
      {"intake", run_intake},
      {"push_range", run_push_range},
      {"hand_out", run_hand_out},
      {"rouse", run_rouse},
      {"leave", run_leave},
      {"come_back", run_come_back},
      {"look_out", run_look_out},
      {NULL, NULL},
  };
  struct host_engine *engine = luaL_checkudata(L, 1, engine_meta);
  struct dispatch_options options = {0};
  if (!engine->engine.kind) return luaL_error(L, "the engine is closed");
  if (engine->engine.busy) return luaL_error(L, "the engine is busy with another run");
  const char *why;
  if (engine_refuses(&engine->engine, &why)) {
    lua_pushfstring(L, "the %s engine cannot be used now: %s", engine->engine.kind->name, why);
    return lua_error(L);
  }
  options.total = luaL_checknumber(L, 3);
  options.chunk = luaL_checknumber(L, 4);
  options.timeout = luaL_checknumber(L, 5);
  options.workers = (uint32_t)luaL_checknumber(L, 6);
  options.sparse = lua_toboolean(L, 7);
  options.is_pushed = lua_toboolean(L, 11);
  options.is_gathered = lua_toboolean(L, 16);
  options.any_order = lua_tonumber(L, 17);
  options.group = (uint32_t)lua_tonumber(L, 13);
  options.rows = lua_tolstring(L, 14, &options.rows_length);
  size_t key_length;
  const char *key = luaL_checklstring(L, 9, &key_length);
  if (key_length == sizeof options.key) memcpy(&options.key, key, key_length);
  bool is_again = false;
  if (!engine->engine.kind->can.inherit || lua_toboolean(L, 12)) {
    bool has_job = !lua_toboolean(L, 2);
    if (has_job && !engine->sent) return luaL_error(L, "the engine has no job");
    int error = has_job ? 0 : set_job(L, engine, 2, 8, 15, 10, &is_again);
    if (error < 0) {
      lua_pushnil(L);
      lua_insert(L, -2);
      return 2;
    }
    if (error) return luaL_error(L, "cannot send the job: %s", strerror(error));
    options.message = engine->sent;
    options.job = engine->engine.jobs;
  }
  struct host_run *run = lua_newuserdata(L, sizeof *run);
  memset(run, 0, sizeof *run);
  if (luaL_newmetatable(L, run_meta)) {
    for (const luaL_Reg *method = methods; method->name; method++) {
      lua_pushcfunction(L, method->func);
      lua_pushvalue(L, -2);
      lua_pushcclosure(L, visit, 2);
      lua_setfield(L, -2, method->name);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  lua_createtable(L, 3, 0); /* keeps these alive; and the lookout */
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, 14);
  lua_rawseti(L, -2, 3);
  lua_setfenv(L, -2);
  run->engine = engine;
  lua_pushvalue(L, 2);
  run->heritage.job = luaL_ref(L, LUA_REGISTRYINDEX);
  run->dispatch = dispatch_open(&engine->engine, &options);
  if (!run->dispatch) {
    luaL_unref(L, LUA_REGISTRYINDEX, run->heritage.job);
    return luaL_error(L, "not enough memory for a run");
  }
  engine->engine.busy = true;
  runs_with_offers += may_offer(engine->engine.kind);
  if (engine->engine.kind->can.inherit) shared_open_channel(); /* without one, arrays cross by content */
  lua_pushlightuserdata(L, &run->event);
  lua_pushboolean(L, is_again);
  return 3;
}

/* ---- small services ---- */

static int host_now(lua_State *L)
{
  lua_pushnumber(L, clock_seconds());
  return 1;
}

/* time() -> seconds since 1970, with their fraction */
static int host_time(lua_State *L)
{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  lua_pushnumber(L, (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
  return 1;
}

static int host_sleep(lua_State *L)
{
  double seconds = luaL_checknumber(L, 1);
  struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&time, NULL); /* a signal ends it */
  return 0;
}

/* threads_in_tasks() -> how many of this program's threads are in a task, those that were given up too. */
static int host_threads_in_tasks(lua_State *L)
{
  lua_pushnumber(L, threads_in_tasks());
  return 1;
}

static int host_cores(lua_State *L)
{
  lua_pushnumber(L, cores_available());
  return 1;
}

/* ranks() -> how many an MPI job has, or nil outside of one; workers(): those that all its ranks have by default. */
static int host_ranks(lua_State *L)
{
  if (cluster_ranks() == 0) return 0;
  lua_pushnumber(L, cluster_ranks());
  lua_pushnumber(L, cluster_cores());
  return 2;
}

/* spawn(count): makes sure that the mpi engine has ranks, in a program that was not started with them. -> true, or nil
 * and a message. */
static int host_spawn(lua_State *L)
{
  char message[8192];
  if (cluster_spawn((uint32_t)luaL_checknumber(L, 1), message, sizeof message)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, message);
  return 2;
}

static int host_name(lua_State *L)
{
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  lua_pushstring(L, name);
  return 1;
}

static int host_pid(lua_State *L)
{
  lua_pushnumber(L, getpid());
  return 1;
}

static void do_nothing(int number)
{
  (void)number;
}

/* From here on writing to a closed pipe is an error, not the end. A handler, not SIG_IGN: programs that tasks start
 * must not inherit it. */
static int host_ignore_sigpipe(lua_State *L)
{
  struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
  (void)L;
  sigemptyset(&action.sa_mask);
  sigaction(SIGPIPE, &action, NULL);
  return 0;
}

static int host_signals_count(lua_State *L)
{
  lua_pushnumber(L, signals_count());
  return 1;
}

static int host_strerror(lua_State *L)
{
  lua_pushstring(L, strerror((int)luaL_checknumber(L, 1)));
  return 1;
}

/* Pushes {name =, kill =, abandon =, ...}: what an engine can do, by the names of struct engine_can. */
static void push_engine_kind(lua_State *L, const struct engine_kind *kind)
{
  const struct {
    const char *name;
    bool value;
  } abilities[] = {
      {"kill", kind->can.kill},
      {"abandon", kind->can.abandon},
      {"inherit", kind->can.inherit},
      {"share_memory", kind->can.share_memory},
      {"limit_memory", kind->can.limit_memory},
      {"reach_hosts", kind->can.reach_hosts},
      {"end_waiting", kind->can.end_waiting},
      {"run_in_program", kind->can.run_in_program},
  };
  lua_createtable(L, 0, 8);
  lua_pushstring(L, kind->name);
  lua_setfield(L, -2, "name");
  for (size_t i = 0; i < sizeof abilities / sizeof *abilities; i++) {
    lua_pushboolean(L, abilities[i].value);
    lua_setfield(L, -2, abilities[i].name);
  }
}

/* engines() -> a list of what each can do. */
static int host_engines(lua_State *L)
{
  int count = 0;
  lua_newtable(L);
  for (const struct engine_kind *const *kind = engine_kinds(); *kind; kind++) {
    push_engine_kind(L, *kind);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

int luaopen_parlua_host(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"engines", host_engines},
      {"engine", host_engine_open},
      {"run", host_run_open},
      {"call", host_call},
      {"value", worker_value},
      {"now", host_now},
      {"time", host_time},
      {"call_key", key_lua_of_call},
      {"cores", host_cores},
      {"threads_in_tasks", host_threads_in_tasks},
      {"hostname", host_name},
      {"sleep", host_sleep},
      {"empty_stdin", input_lua_empty},
      {"execute", input_lua_execute},
      {"pid", host_pid},
      {"strerror", host_strerror},
      {"ignore_sigpipe", host_ignore_sigpipe},
      {"ranks", host_ranks},
      {"spawn", host_spawn},
      {"map_text", text_lua_open},
      {"glob", glob_lua},
      {"is_file", glob_lua_is_file},
      {"signals_count", host_signals_count},
      {"tag", output_lua_tag},
      {"header", state_lua_header},
      {NULL, NULL},
  };
  lua_createtable(L, 0, 32);
  luaL_register(L, NULL, functions);
  stage_push(L);
  lua_setfield(L, -2, "place");
  place_push(L);
  lua_setfield(L, -2, "place_in_script");
  return 1;
}
