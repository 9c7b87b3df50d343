/* engine.c - what all engines share; see engine.h. */
#include "engines/engine.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engines/cluster.h"

/* Bytes of address space that starting a worker must leave: for the coordinator's results; and a thread's stack and Lua heap. */
enum { ROOM = 16 << 20, ROOM_WITH_THREAD = ROOM + (24 << 20) };

/* Descriptors that are left to the script. */
enum { SCRIPTS_FILES = 256 };

const char *const engine_names[] = {"serial", "threads", "process", "mpi", NULL};

const struct engine_ops *engine_find(const char *name)
{
  static const struct engine_ops *const all[] = {&engine_threads, &engine_process};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(all[i]->name, name) == 0) return all[i];
  return strcmp(name, "mpi") == 0 ? cluster_engine() : NULL;
}

static void free_tables(struct engine *engine)
{
  free(engine->slots);
  free(engine->own);
  free(engine->alive);
  free(engine->has_job);
  free(engine->distant);
  free(engine->given_back);
  memset(engine, 0, sizeof *engine);
}

int engine_open(struct engine *engine, const struct engine_ops *ops, uint32_t workers)
{
  memset(engine, 0, sizeof *engine);
  engine->ops = ops;
  engine->workers = workers;
  engine->owner = getpid();
  engine->slots = calloc(workers, sizeof *engine->slots);
  engine->own = calloc(workers, ops->own_bytes);
  engine->alive = calloc(workers, sizeof *engine->alive);
  engine->has_job = calloc(workers, sizeof *engine->has_job);
  engine->remains = calloc(1, sizeof *engine->remains);
  int error = ENOMEM;
  if (engine->slots && engine->own && engine->alive && engine->has_job && engine->remains) {
    engine->remains->users = 1;
    membarrier_join();
    error = ops->open ? ops->open(engine) : hub_open(&engine->hub, NULL);
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
  return engine->own + w * engine->ops->own_bytes;
}

/* Where address space is limited (ulimit -v): is there some left for the coordinator's own needs and the worker's, if it is a
 * thread? */
static bool has_room(const struct engine *engine)
{
  size_t needed = engine->ops->flags & SHARES_MEMORY ? ROOM_WITH_THREAD : ROOM;
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return true;
  void *room = mmap(NULL, needed, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return false;
  munmap(room, needed);
  return true;
}

int engine_start(struct engine *engine, uint32_t w, lua_State *L, int job)
{
  if (w > 0 && !has_room(engine)) return ENOMEM;
  if (!engine->slots[w]) {
    engine->slots[w] = engine->ops->map ? engine->ops->map(engine, w) : slot_map(w + 1);
    if (!engine->slots[w]) return errno;
  } else {
    slot_reset(engine->slots[w]);
  }
  engine->has_job[w] = 0;
  int error = engine->ops->start(engine, w, L, job);
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

void engine_stop(struct engine *engine, double seconds)
{
  struct block stop = {.kind = BLOCK_STOP, .size = BLOCK_HEAD, .floor = BLOCK_HEAD};
  for (uint32_t w = 0; w < engine->workers; w++) {
    uint64_t sent = 0;
    uint32_t place;
    if (engine->alive[w] && !slot_send(engine->slots[w], &stop, &sent, &place)) engine->ops->kill(engine, w);
  }
  for (uint32_t w = 0; w < engine->workers; w++) {
    if (engine->alive[w]) engine->ops->join(engine, w, seconds);
    engine->alive[w] = false;
  }
}

void engine_close(struct engine *engine)
{
  if (!engine->ops || engine->owner != getpid()) return;
  if (engine->alive) engine_stop(engine, 1.0);
  if (engine->ops->close) engine->ops->close(engine);
  for (uint32_t w = 0; engine->slots && w < engine->workers; w++) slot_unmap(engine->slots[w]);
  engine->remains->hub = engine->hub; /* abandoned threads may still ring */
  remains_leave(engine->remains);
  free_tables(engine);
}
