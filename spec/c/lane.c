/* lane.c - run by spec/lane_spec.lua: lanes over slots (run/lane_slot.c, run/inbox.c). What stands in a slot is written
 * here, as a worker would. */
#include "run/dispatch.h"

#include <stdlib.h>

#include "check.h"

static struct engine engine;
static struct work_store store;
static struct crew crew;
static struct dispatch_options options;
static struct lane *lane;
static struct slot *slot;
static bool is_gone; /* the worker */
static int given_up; /* workers */

static int start(struct engine *of, uint32_t w)
{
  (void)of, (void)w;
  is_gone = false;
  return 0;
}

static int end(struct engine *of, uint32_t w)
{
  (void)of, (void)w;
  given_up++;
  return 0;
}

static bool ended(struct engine *of, uint32_t w, int *status)
{
  (void)of, (void)w;
  *status = 9;
  return is_gone;
}

static const struct engine_kind killed = {
    .name = "killed", .can = {.kill = true}, .start = start, .end = end, .ended = ended};
static const struct engine_kind abandoned = {
    .name = "abandoned", .can = {.abandon = true}, .start = start, .end = end, .ended = ended};

static void start_worker(void)
{
  if (lane_over_slot.start(lane)) fail("no worker starts");
  lane->state = LANE_READY;
  lane->cause = 0;
  slot = engine.slots[0];
}

static void begin(const struct engine_kind *kind, bool is_sparse)
{
  if (engine_open(&engine, kind, 1)) fail("there is no memory");
  work_store_init(&store);
  options = (struct dispatch_options){.sparse = is_sparse};
  crew = (struct crew){.engine = &engine, .store = &store, .options = &options};
  lane = calloc(1, lane_over_slot.bytes);
  if (!lane) fail("there is no memory");
  lane->kind = &lane_over_slot;
  lane->crew = &crew;
  list_init(&lane->held);
  given_up = 0;
  start_worker();
}

static void finish(void)
{
  lane->state = LANE_ENDED;
  lane_over_slot.close(lane, 0);
  free(crew.text);
  free(lane);
  work_store_clear(&store);
  engine.alive[0] = false;
  engine_close(&engine);
}

static struct work *tasks(double first, double last)
{
  struct work *work = work_new(&store, first, last, NULL, 1);
  if (!work) fail("there is no memory");
  return work;
}

/* Gives the work to the worker, which claims its message, and is in none of its tasks yet. */
static void give(struct work *work)
{
  lane_over_slot.give(lane, work);
  slot_in_block(slot, slot->in.head)->claim = CLAIM_TAKEN;
  slot->begun = 1;
  slot->chunk = work->number;
}

/* The block of results that the worker fills. */
static struct block *results(const struct work *work, enum block_kind kind)
{
  struct block *block = slot_out_block(slot, slot->out.tail);
  *block = (struct block){.kind = kind, .chunk = work->number, .first = work->first};
  block->size = block->floor = BLOCK_BYTES;
  return block;
}

/* Nobody knows in which task workers died that were in none. The third time it is the first that has not ended. */
static void check_deaths(void)
{
  struct outcome outcome;
  begin(&killed, false);
  struct work *work = tasks(4, 10);
  for (int deaths = 1; deaths <= 3; deaths++) {
    if (deaths > 1) start_worker();
    give(work);
    is_gone = true;
    lane_over_slot.check_end(lane);
    if (!lane_over_slot.next(lane, &outcome, false) || outcome.kind != OUTCOME_ENDED)
      fail("a worker's end is not told");
    if (deaths < 3 && outcome.work) fail("a task is to blame in which no worker was seen");
    if (deaths == 3 && (outcome.work != work || outcome.task != 4)) fail("a chunk in which workers die has no end");
    lane_let_go(lane, work);
  }
  work_free(&store, work);
  finish();
}

/* The worker has done the chunk at its lane's head, in so many seconds. */
static void end_chunk(double seconds)
{
  struct outcome outcome;
  struct work *work = lane_first(lane);
  struct block *block = results(work, BLOCK_DENSE);
  block->last = work->last;
  block->count = block->final = 1;
  block->seconds = seconds;
  slot_publish_out(slot);
  slot->in.head++;
  if (!lane_over_slot.next(lane, &outcome, false) || !outcome.is_final) fail("results of a worker are not told");
  lane_let_go(lane, work);
  work_free(&store, work);
  lane_over_slot.release(lane);
}

/* A worker that is to be given up, and has done all that it had meanwhile, stays. */
static void check_come_back(void)
{
  struct outcome outcome;
  for (int done = 0; done < 2; done++) {
    begin(&abandoned, false);
    struct work *work = tasks(1, 1);
    give(work);
    lane->cause = LOST_CANCELLED;
    lane_over_slot.end(lane);
    if (done) end_chunk(1e-3);
    bool is_told = lane_over_slot.next(lane, &outcome, false);
    if (done && (is_told || given_up || lane->state != LANE_READY)) fail("a worker is given up that has done all");
    if (!done && (!is_told || given_up != 1)) fail("a worker is not given up");
    finish();
  }
}

/* Of pairs in a block that the worker fills, the last may be of the task that it is in: those before it are told. */
static void check_open_pairs(void)
{
  struct outcome outcome;
  begin(&killed, true);
  struct work *work = tasks(1, 10);
  give(work);
  struct block *block = results(work, BLOCK_SPARSE);
  block->word[0] = 1;
  block->word[2] = 3;
  block->count = 2;
  slot->current = 3;
  slot->out.open = slot->out.tail + 1;
  if (!lane_over_slot.next(lane, &outcome, true) || outcome.count != 1 || outcome.last != 2)
    fail("results wait for a task that is not through");
  work->reached = outcome.last;
  if (lane_over_slot.next(lane, &outcome, true)) fail("a task is told that is not through");
  slot->current = 4;
  if (!lane_over_slot.next(lane, &outcome, true) || outcome.from != 1 || outcome.count != 1 || outcome.last != 3)
    fail("a task is not told that is through");
  finish();
}

/* A worker that has come behind its chunk's end, which it does not begin, ends before it has closed its block. */
static void check_open_end(void)
{
  struct outcome outcome;
  begin(&killed, false);
  struct work *work = tasks(1, 10);
  give(work);
  results(work, BLOCK_DENSE);
  slot->current = 11;
  slot->out.open = slot->out.tail + 1;
  is_gone = true;
  lane_over_slot.check_end(lane);
  if (!lane_over_slot.next(lane, &outcome, false) || outcome.kind != OUTCOME_RESULTS || outcome.last != 10)
    fail("the results of a worker are lost that ended behind its last task");
  finish();
}

/* Of chunks that are over before the coordinator could hand out the next, more lie ready. */
static void check_depth(void)
{
  struct depth {
    double chunk, seconds;
    uint32_t works;
  };
  static const struct depth depths[] = {{1, 1e-6, CHANNEL_BLOCKS}, {1, 1e-3, 2}, {1, 0, 2}, {0, 1e-6, 2}};
  double task = 1;
  for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
    begin(&killed, false);
    options.chunk = depths[i].chunk;
    for (; lane_over_slot.wants(lane) > 0; task++) lane_over_slot.give(lane, tasks(task, task));
    if (lane->count != 2) fail("a worker has not one chunk and another behind it");
    end_chunk(depths[i].seconds);
    for (; lane_over_slot.wants(lane) > 0; task++) lane_over_slot.give(lane, tasks(task, task));
    if (lane->count != depths[i].works || slot->in.tail - slot->in.head != depths[i].works)
      fail("more chunks lie ready than should, or fewer");
    finish();
  }
}

int main(void)
{
  check_depth();
  check_deaths();
  check_come_back();
  check_open_pairs();
  check_open_end();
  puts("all holds");
  return 0;
}
