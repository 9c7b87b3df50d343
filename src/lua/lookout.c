/* lookout.c - see lookout.h. */
#include "lua/lookout.h"

#include <lauxlib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lua/notes.h"
#include "lua/state.h"
#include "run/peek.h"
#include "sys/thread.h"

/* The script counts as away when it has made no call of the run for so long, and at the most twice that. */
static const long absence = 50000000; /* nanoseconds */

struct lookout {
  struct lookout *next; /* of those that run */
  const struct dispatch *dispatch;
  struct journal *journal;
  pthread_t thread;
  pthread_mutex_t lock; /* of the dispatcher, and of what follows */
  pthread_cond_t end;
  bool is_running, is_home, is_ending;
  bool is_resting; /* rows wait for the script from now on */
  bool is_wanted;  /* the script waits for the lock */
  bool is_told;    /* the script has said whose rows wait */
  uint64_t visits;
  struct peeked *peeked; /* by lane */
  struct buffer whole;   /* a large result that was looked at */
  lua_State *L;
  char *what;
  size_t what_length;
  struct notes notes;
};

static const char lookout_meta[] = "parlua.lookout";

/* The script's thread's alone. Those of a program that leaves by exit() in the middle of a run end before the journal
 * does. */
static struct lookout *running;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

/* ---- what the script tells ---- */

void lookout_note(struct lookout *lookout, double task, double hash, const char *json, uint32_t length)
{
  notes_add(&lookout->notes, task, hash, json, length);
}

void lookout_forget(struct lookout *lookout, double task)
{
  notes_remove(&lookout->notes, task);
}

int lookout_noted(struct lookout *lookout, double task, double *hash, const char **json, uint32_t *length)
{
  return notes_find(&lookout->notes, task, hash, json, length);
}

static void rest(struct lookout *lookout)
{
  __atomic_store_n(&lookout->is_resting, true, __ATOMIC_SEQ_CST);
}

static bool is_resting(struct lookout *lookout)
{
  return __atomic_load_n(&lookout->is_resting, __ATOMIC_SEQ_CST);
}

void lookout_hold(struct lookout *lookout, double task)
{
  if (!notes_hold(&lookout->notes, task)) rest(lookout);
}

void lookout_release(struct lookout *lookout, double task)
{
  notes_release(&lookout->notes, task);
}

int lookout_holds(struct lookout *lookout, double task)
{
  return notes_is_held(&lookout->notes, task);
}

void lookout_go_on(struct lookout *lookout)
{
  __atomic_store_n(&lookout->is_told, true, __ATOMIC_SEQ_CST);
}

/* ---- the thread ---- */

int lookout_is_wanted(struct lookout *lookout)
{
  return __atomic_load_n(&lookout->is_wanted, __ATOMIC_SEQ_CST);
}

/* Makes the state and leaves in it the function that reads a glimpse; protected. */
static int begin(lua_State *L)
{
  struct lookout *lookout = lua_touserdata(L, 1);
  state_push_from_module(L, "parlua.journal.lookout", "begin");
  lua_pushlightuserdata(L, lookout);
  lua_pushlightuserdata(L, lookout->journal);
  lua_pushlstring(L, lookout->what, lookout->what_length);
  lua_call(L, 3, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, lookout_meta);
  return 0;
}

static bool open_state(struct lookout *lookout)
{
  if (lookout->L) return true;
  lookout->L = state_new();
  if (!lookout->L || lua_cpcall(lookout->L, begin, lookout) != 0) return false;
  free(lookout->what);
  lookout->what = NULL;
  return true;
}

/* Puts rows of what a glimpse shows; the Lua side answers with the last task that it has come to. */
static bool read_glimpse(struct lookout *lookout, struct glimpse *glimpse, struct peeked *peeked)
{
  lua_State *L = lookout->L;
  lua_settop(L, 0);
  lua_getfield(L, LUA_REGISTRYINDEX, lookout_meta);
  lua_pushlightuserdata(L, glimpse);
  if (lua_pcall(L, 1, 1, 0) != 0) return false;
  peeked->chunk = glimpse->chunk;
  peeked->task = lua_tonumber(L, -1);
  return true;
}

/* Reads what is new, until the script wants to come back. False: no rows can be put any more. The lock is held. */
static bool look(struct lookout *lookout)
{
  struct glimpse glimpse;
  for (uint32_t lane = 0; lane < dispatch_lanes(lookout->dispatch); lane++) {
    struct peeked *peeked = &lookout->peeked[lane];
    while (!lookout_is_wanted(lookout) && dispatch_peek(lookout->dispatch, lane, peeked, &lookout->whole, &glimpse))
      if (!open_state(lookout) || !read_glimpse(lookout, &glimpse, peeked)) return false;
  }
  return true;
}

static void *run_thread(void *argument)
{
  struct lookout *lookout = argument;
  pthread_mutex_lock(&lookout->lock);
  while (!lookout->is_ending && !is_resting(lookout)) {
    uint64_t seen = lookout->visits;
    condition_wait(&lookout->end, &lookout->lock, absence);
    bool is_away = lookout->visits == seen && !lookout->is_ending && !is_resting(lookout);
    bool is_told = __atomic_load_n(&lookout->is_told, __ATOMIC_SEQ_CST);
    if (is_away && is_told && !look(lookout)) rest(lookout);
  }
  pthread_mutex_unlock(&lookout->lock);
  if (lookout->L) state_close(lookout->L);
  lookout->L = NULL;
  return NULL;
}

/* ---- the script's side ---- */

void lookout_enter(struct lookout *lookout)
{
  if (lookout->is_home) return;
  if (pthread_mutex_trylock(&lookout->lock) != 0) {
    __atomic_store_n(&lookout->is_wanted, true, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&lookout->lock);
    __atomic_store_n(&lookout->is_wanted, false, __ATOMIC_SEQ_CST);
  }
  lookout->is_home = true;
  lookout->visits++;
}

void lookout_pause(struct lookout *lookout)
{
  __atomic_store_n(&lookout->is_told, false, __ATOMIC_SEQ_CST);
}

void lookout_leave(struct lookout *lookout)
{
  if (!lookout->is_home) return;
  lookout->is_home = false;
  pthread_mutex_unlock(&lookout->lock);
}

void lookout_stop(struct lookout *lookout)
{
  if (!lookout->is_running) return;
  lookout->is_running = false;
  for (struct lookout **link = &running; *link; link = &(*link)->next) {
    if (*link != lookout) continue;
    *link = lookout->next;
    break;
  }
  lookout_enter(lookout);
  lookout->is_ending = true;
  pthread_cond_signal(&lookout->end);
  lookout_leave(lookout);
  pthread_join(lookout->thread, NULL);
}

static void stop_all(void)
{
  while (running) lookout_stop(running);
}

/* A copy of this process has none of the threads. */
static void in_child(void)
{
  for (struct lookout *lookout = running; lookout; lookout = lookout->next) lookout->is_running = false;
  running = NULL;
}

static void prepare(void)
{
  pthread_atfork(NULL, NULL, in_child);
  atexit(stop_all);
}

static int lookout_gc(lua_State *L)
{
  struct lookout *lookout = lua_touserdata(L, 1);
  lookout_stop(lookout);
  notes_free(&lookout->notes);
  buffer_free(&lookout->whole);
  free(lookout->peeked);
  free(lookout->what);
  lookout->peeked = NULL;
  lookout->what = NULL;
  return 0;
}

static int start_thread(struct lookout *lookout)
{
  int error = thread_start(&lookout->thread, NULL, run_thread, lookout);
  if (!error) pthread_setname_np(lookout->thread, "parlua-lookout");
  return error;
}

static void init_locks(struct lookout *lookout)
{
  pthread_mutex_init(&lookout->lock, NULL);
  condition_init(&lookout->end);
}

struct lookout *lookout_push(lua_State *L, const struct dispatch *d, struct journal *journal, const char *what,
                             size_t length)
{
  struct lookout *lookout = lua_newuserdata(L, sizeof *lookout);
  memset(lookout, 0, sizeof *lookout);
  if (luaL_newmetatable(L, lookout_meta)) {
    lua_pushcfunction(L, lookout_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  pthread_once(&prepared, prepare);
  init_locks(lookout);
  notes_init(&lookout->notes);
  lookout->is_told = true;
  lookout->dispatch = d;
  lookout->journal = journal;
  lookout->peeked = calloc(dispatch_lanes(d) + 1, sizeof *lookout->peeked);
  lookout->what = malloc(length + 1);
  lookout->what_length = length;
  if (lookout->what) memcpy(lookout->what, what, length);
  if (lookout->peeked && lookout->what && start_thread(lookout) == 0) {
    lookout->is_running = true;
    lookout->next = running;
    running = lookout;
    return lookout;
  }
  lua_pop(L, 1);
  lua_pushnil(L);
  return NULL;
}
