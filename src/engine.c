/* engine.c - what all engines share; see engine.h. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster.h"

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

int engine_start(struct engine *engine, uint32_t w, lua_State *L, int job)
{
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
