/* engine.c - what all engines share; see engine.h. */
#include "engines/engine.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sys/barrier.h"
#include "sys/clock.h"

/* Bytes of address space that starting a worker must leave: for the coordinator's results; and a thread's stack and Lua
 * heap. */
enum { ROOM = 16 << 20, ROOM_WITH_THREAD = ROOM + (24 << 20) };

/* Descriptors that are left to the script. */
enum { SCRIPTS_FILES = 256 };

static const uint32_t not_noted = UINT32_MAX; /* in news.next */

static void free_tables(struct engine *engine)
{
  free(engine->slots);
  free(engine->own);
  free(engine->alive);
  free(engine->has_job);
  free(engine->news.next);
  free(engine->unwatched);
  memset(engine, 0, sizeof *engine);
}

static bool make_tables(struct engine *engine)
{
  uint32_t workers = engine->workers;
  engine->slots = calloc(workers, sizeof *engine->slots);
  engine->own = calloc(workers, engine->kind->own_bytes ? engine->kind->own_bytes : 1);
  engine->alive = calloc(workers, sizeof *engine->alive);
  engine->has_job = calloc(workers, sizeof *engine->has_job);
  engine->unwatched = calloc(workers, sizeof *engine->unwatched);
  engine->news.next = malloc(workers * sizeof *engine->news.next);
  engine->remains = calloc(1, sizeof *engine->remains);
  if (engine->news.next) memset(engine->news.next, 0xff, workers * sizeof *engine->news.next);
  engine->news.first = not_noted;
  return engine->slots && engine->own && engine->alive && engine->has_job && engine->unwatched && engine->news.next &&
         engine->remains;
}

int engine_open(struct engine *engine, const struct engine_kind *kind, uint32_t workers)
{
  memset(engine, 0, sizeof *engine);
  engine->kind = kind;
  engine->all = workers;
  engine->workers = kind->places ? kind->places(workers) : workers;
  engine->owner = getpid();
  int error = ENOMEM;
  if (make_tables(engine)) {
    engine->remains->users = 1;
    barrier_join();
    error = kind->open ? kind->open(engine) : hub_open(&engine->hub, workers);
    if (!error) return 0;
  }
  free(engine->remains);
  free_tables(engine);
  return error;
}

void remains_leave(struct remains *remains)
{
  if (__atomic_sub_fetch(&remains->users, 1, __ATOMIC_SEQ_CST) > 0) return;
  hub_close(&remains->hub);
  free(remains);
}

void *engine_own(struct engine *engine, uint32_t w)
{
  return engine->own + w * engine->kind->own_bytes;
}

/* Where address space is limited (ulimit -v): is there some left for the coordinator's own needs and the worker's, if
 * it is a thread? */
static bool has_room(const struct engine *engine)
{
  size_t needed = engine->kind->can.share_memory ? ROOM_WITH_THREAD : ROOM;
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return true;
  void *room = mmap(NULL, needed, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return false;
  munmap(room, needed);
  return true;
}

int engine_start(struct engine *engine, uint32_t w)
{
  if (w > 0 && !has_room(engine)) return ENOMEM;
  if (!engine->slots[w]) {
    engine->slots[w] = engine->kind->map ? engine->kind->map(engine, w) : slot_map(w + 1);
    if (!engine->slots[w]) return errno;
  } else {
    slot_reset(engine->slots[w]);
  }
  beacon_mend(engine->hub.beacon, w);
  engine->has_job[w] = 0;
  int error = engine->kind->start(engine, w);
  if (!error) engine->alive[w] = true;
  return error;
}

int engine_want_files(uint32_t count)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return INT_MAX;
  rlim_t wanted = (rlim_t)count + SCRIPTS_FILES;
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) limit.rlim_cur = before;
  }
  rlim_t left = limit.rlim_cur > SCRIPTS_FILES ? limit.rlim_cur - SCRIPTS_FILES : limit.rlim_cur / 2;
  return left > INT_MAX ? INT_MAX : (int)left;
}

int engine_refuses(struct engine *engine, const char **why)
{
  return engine->kind->refuses ? engine->kind->refuses(engine, why) : 0;
}

/* ---- news ---- */

void engine_note(struct engine *engine, uint32_t w)
{
  struct news *news = &engine->news;
  if (w >= engine->workers || news->next[w] != not_noted) return;
  news->next[w] = w;
  if (news->first == not_noted)
    news->first = w;
  else
    news->next[news->last] = w;
  news->last = w;
}

bool engine_has_news(const struct engine *engine)
{
  return engine->news.first != not_noted;
}

bool engine_next_news(struct engine *engine, uint32_t *w)
{
  struct news *news = &engine->news;
  if (news->first == not_noted) return false;
  *w = news->first;
  news->first = *w == news->last ? not_noted : news->next[*w];
  news->next[*w] = not_noted;
  return true;
}

double engine_progress(struct engine *engine)
{
  uint32_t w;
  if (engine->kind->progress) return engine->kind->progress(engine);
  while (hub_next_ready(&engine->hub, &w)) engine_note(engine, w);
  return INFINITY;
}

int engine_sleep(struct engine *engine, double seconds, uint32_t *ended, int most)
{
  if (!engine->kind->progress) return hub_sleep(&engine->hub, seconds, ended, most);
  double began = clock_seconds(), nap, waited = 0;
  do {
    nap = engine_progress(engine);
    if (engine_has_news(engine)) {
      engine->hub.last_wait = waited;
      return 0;
    }
    waited = clock_seconds() - began;
    if (waited > yield_seconds) sched_yield();
  } while (engine->hub.last_wait < spin_seconds && waited < spin_seconds);
  return hub_sleep(&engine->hub, fmin(seconds, nap), ended, most);
}

void engine_nap(struct engine *engine, double seconds)
{
  static const double longest = 0.01;
  uint32_t ended[1];
  double most = engine_progress(engine);
  hub_sleep(&engine->hub, fmin(fmin(seconds, most), longest), ended, 1);
}

/* ---- ends ---- */

/* Throws away what worker `w` has sent, so that it does not wait for room. */
static void drain(struct engine *engine, uint32_t w)
{
  struct slot *slot = engine->slots[w];
  if (!slot) return;
  while (slot_results(slot)) slot_release_results(slot);
  slot_drop_text(slot);
}

/* The same of all. */
static void drain_all(struct engine *engine)
{
  for (uint32_t w = 0; w < engine->workers; w++)
    if (engine->alive[w]) drain(engine, w);
}

/* Waits for the end of worker `w`; see engine_join. `is_last`: the others end as well, and are not to wait for room
 * meanwhile. */
static bool join(struct engine *engine, uint32_t w, double seconds, bool is_last)
{
  double deadline = clock_seconds() + seconds;
  bool told = false;
  int status;
  while (!engine->kind->ended(engine, w, &status)) {
    if (is_last)
      drain_all(engine);
    else
      drain(engine, w);
    if (!told && clock_seconds() >= deadline) {
      if (engine->kind->end(engine, w)) return false;
      if (engine->kind->can.abandon) break;
      told = true;
    }
    engine_nap(engine, INFINITY);
  }
  engine->alive[w] = false;
  return true;
}

bool engine_join(struct engine *engine, uint32_t w, double seconds)
{
  return join(engine, w, seconds, false);
}

/* Tells all workers to stop, and waits for them. */
static void stop_all(struct engine *engine, double seconds)
{
  struct block stop = {.kind = BLOCK_STOP, .size = BLOCK_HEAD, .floor = BLOCK_HEAD};
  double deadline = clock_seconds() + seconds;
  for (uint32_t w = 0; w < engine->workers; w++) {
    uint64_t sent = 0;
    uint32_t place;
    if (!engine->alive[w]) continue;
    drain(engine, w);
    if (!slot_send(engine->slots[w], &stop, &sent, &place)) engine->kind->end(engine, w);
  }
  for (uint32_t w = 0; w < engine->workers; w++)
    if (engine->alive[w] && engine->slots[w]) join(engine, w, fmax(deadline - clock_seconds(), 0), true);
}

void engine_close(struct engine *engine)
{
  if (!engine->kind || engine->owner != getpid()) return;
  stop_all(engine, 1.0);
  if (engine->kind->close) engine->kind->close(engine);
  for (uint32_t w = 0; w < engine->workers; w++) slot_unmap(engine->slots[w]);
  engine->remains->hub = engine->hub; /* abandoned threads may still ring */
  remains_leave(engine->remains);
  free_tables(engine);
}
