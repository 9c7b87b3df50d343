/* stack.c - see stack.h. */
#include "stack.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "ledger.h"
#include "lua/state.h"
#include "memory.h"
#include "workers.h"
#include "world.h"

enum { MOST_TASKS = 4096 };

static uint32_t runs[MOST_TASKS + 1];

/* ---- what tasks call, by FFI ---- */

void simulate_sleep(double seconds);
void simulate_crash(void);
void simulate_ran(double task);
double simulate_runs(double task);

void simulate_sleep(double seconds)
{
  if (fiber_running()) fiber_sleep(seconds);
}

void simulate_crash(void)
{
  if (fiber_running()) worker_exits(1);
}

/* A task is run; how often each was. */
void simulate_ran(double task)
{
  world_progress();
  if (task >= 1 && task <= MOST_TASKS) runs[(uint32_t)task]++;
}

double simulate_runs(double task)
{
  return runs[(uint32_t)task];
}

/* ---- engines by name ---- */

extern const struct engine_kind engine_serial;

const struct engine_kind *const *__wrap_engine_kinds(void);
const struct engine_kind *__wrap_engine_find(const char *name);

const struct engine_kind *const *__wrap_engine_kinds(void)
{
  static const struct engine_kind *const kinds[] = {&engine_serial, &workers_abandoned, &workers_kept, NULL};
  return kinds;
}

const struct engine_kind *__wrap_engine_find(const char *name)
{
  for (const struct engine_kind *const *kind = __wrap_engine_kinds(); *kind; kind++)
    if (strcmp((*kind)->name, name) == 0) return *kind;
  return NULL;
}

/* ---- */

static void set_number(lua_State *L, const char *name, double value)
{
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

/* Pushes what the script needs of the plan. */
static void push_plan(lua_State *L, const struct plan *plan)
{
  lua_newtable(L);
  set_number(L, "seed", (double)plan->seed);
  set_number(L, "workers", plan->workers);
  set_number(L, "tasks", plan->tasks);
  set_number(L, "chunk", plan->chunk);
  set_number(L, "length", plan->length);
  set_number(L, "retries", plan->retries);
  if (plan_has(plan, TROUBLE_LIMIT)) set_number(L, "limit", plan->limit);
  if (plan_has(plan, TROUBLE_BACKOFF)) set_number(L, "backoff", plan->backoff);
  if (plan_has(plan, TROUBLE_ERRORS)) set_number(L, "errors", plan->error_share);
  if (plan_has(plan, TROUBLE_CRASHES)) set_number(L, "crashes", plan->crash_share);
  if (plan_has(plan, TROUBLE_HANGS)) set_number(L, "hangs", plan->hang_share);
  lua_pushstring(L, plan->engine == ENGINE_ABANDONED ? workers_abandoned.name : workers_kept.name);
  lua_setfield(L, -2, "engine");
  lua_pushboolean(L,
                  plan_has(plan, TROUBLE_DEATHS) || plan_has(plan, TROUBLE_MASSACRE) || plan_has(plan, TROUBLE_STARTS));
  lua_setfield(L, -2, "deaths");
  lua_pushboolean(L, plan_has(plan, TROUBLE_SUPPLY));
  lua_setfield(L, -2, "supply");
  lua_pushboolean(L, plan_has(plan, TROUBLE_LARGE));
  lua_setfield(L, -2, "large");
  lua_pushboolean(L, plan_has(plan, TROUBLE_RUNS));
  lua_setfield(L, -2, "resume");
}

/* What a script is told on standard error, of failures above all, is of no interest here. */
static void turn_off_errors(void)
{
  int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nothing >= 0) dup2(nothing, STDERR_FILENO);
}

void stack_run(const struct plan *plan)
{
  turn_off_errors();
  lua_State *L = state_new();
  if (!L) fault("no memory for a Lua state");
  ledger_begin(plan, 0); /* what workers go by; tasks are looked after by the script */
  ledger_close();
  if (luaL_loadfile(L, "simulate/stack.lua")) fault("%s", lua_tostring(L, -1));
  push_plan(L, plan);
  if (lua_pcall(L, 1, 0, 0)) fault("%s", lua_tostring(L, -1));
}
