/* folds.c - see folds.h. The result of a task is its number. In some scenes results are joined. In others they are
 * merged: whoever does so adds them up, so what is reported for several tasks is their sum. */
#include "folds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engines/mpi/folding.h"
#include "run/state.h"
#include "world.h"

enum {
  ROUNDS = 300,
  MOST_TASKS = 250, /* what is reported of so many fits one message: none is sent */
  MOST_RANGE = 120,
  MOST_MERGES = 64, /* under way */
  GROUP = 4
};

static const double step_seconds = 20e-3, patience = 0.1;

/* What has become of a task. */
enum stage { STAGE_BACK, STAGE_RUNS, STAGE_ENDED, STAGE_TOLD };

static struct {
  struct dispatch dispatch;
  struct transport transport;
  struct report report;
  struct folding folding;
  enum stage stages[MOST_TASKS + 2];
  uint32_t ranges[MOST_TASKS + 2]; /* by task: number of the range with which it was given last */
  uint32_t given;
  struct work *merges[MOST_MERGES];
  uint32_t merges_count;
  double now;
} scene;

static union {
  struct block block;
  char bytes[BLOCK_HEAD + 8 * (MOST_TASKS + 1)];
} results;

static double sum_of(double first, double last)
{
  return (first + last) * (last - first + 1) / 2;
}

/* ---- what is reported ---- */

/* The word that stands for tasks first..last; of a failure, it is no number. */
static void check_word(double first, double last, double word)
{
  double expected = sum_of(first, last);
  if (word != expected && !isnan(word)) fault("tasks %g to %g: %g is reported, not %g", first, last, word, expected);
}

/* Tasks first..last are reported by one record. */
static void check_told(double first, double last)
{
  for (uint32_t i = (uint32_t)first; i <= (uint32_t)last; i++) {
    if (scene.stages[i] != STAGE_ENDED) fault("task %u is reported in stage %d", (unsigned)i, (int)scene.stages[i]);
    if (scene.ranges[i] != scene.ranges[(uint32_t)first])
      fault("a record reaches beyond a range, at task %u", (unsigned)i);
    scene.stages[i] = STAGE_TOLD;
  }
}

static void take_record(const struct record *record, const struct block *block)
{
  double first = record->last - record->fresh + 1;
  if (record->kind != RECORD_RESULTS) fault("a record of kind %u", (unsigned)record->kind);
  if (block->first != first) fault("results begin with task %g, not %g", block->first, first);
  check_told(first, record->last);
  if (block->kind == BLOCK_FOLDED) {
    if (block->count != 1) fault("%u words for merged results", (unsigned)block->count);
    check_word(first, record->last, block->word[0]);
    return;
  }
  if (block->count != record->fresh) fault("%u results of %g tasks", (unsigned)block->count, record->fresh);
  const double *word = block->word;
  for (uint32_t k = 0; k < block->count; k++) check_word(first + k, first + k, word[k]);
}

/* Takes what was reported. */
static void collect(void)
{
  struct report *report = &scene.report;
  if (report->sent > 0) fault("a message was sent: too many tasks for this check");
  for (size_t at = 0; at < report->used;) {
    const struct record *record = (const struct record *)(void *)(parcel_bytes(report->parcel) + at);
    take_record(record, (const struct block *)(const void *)(record + 1));
    at += sizeof *record + record->bytes;
  }
  free(report->parcel);
  report->parcel = NULL;
  report->used = report->room = 0;
}

/* ---- what happens ---- */

static void give(double first, double last)
{
  scene.given++;
  for (uint32_t i = (uint32_t)first; i <= (uint32_t)last; i++) {
    scene.stages[i] = STAGE_RUNS;
    scene.ranges[i] = scene.given;
  }
  folding_give(&scene.folding, first, last);
}

/* Some tasks side by side in a stage, of one range: stores the first and returns the last; 0: none was met. */
static uint32_t draw_tasks(enum stage stage, uint32_t most, uint32_t *first)
{
  uint32_t i = 1 + random_below(MOST_TASKS), count = 1 + random_below(most);
  if (scene.stages[i] != stage) return 0;
  *first = i;
  while (i < MOST_TASKS && i - *first + 1 < count && scene.stages[i + 1] == stage &&
         scene.ranges[i + 1] == scene.ranges[*first])
    i++;
  return i;
}

static void set_tag(uint32_t k, int32_t tag)
{
  uint64_t word = (uint64_t)(uint32_t)tag << 32;
  memcpy((double *)results.block.word + k, &word, sizeof word);
}

/* Results of `count` tasks from `first` on, of a block of which others were told before. */
static struct event results_of(double first, uint32_t count)
{
  uint32_t from = first < FIRST_EXTRA ? random_below((uint32_t)fmin(first, 4)) : 0, all = from + count;
  memset(&results.block, 0, BLOCK_HEAD);
  results.block.kind = BLOCK_DENSE;
  results.block.first = first - from;
  results.block.count = all;
  results.block.size = results.block.floor = BLOCK_HEAD + 8 * (uint64_t)all;
  double *word = results.block.word;
  for (uint32_t k = 0; k < all; k++) word[k] = first - from + k;
  return (struct event){.kind = EVENT_RESULTS,
                        .block = &results.block,
                        .first = first - from,
                        .from = from,
                        .last = first + count - 1,
                        .want = count,
                        .count = count,
                        .attempt = 1,
                        .worker = 1};
}

static void end_tasks(void)
{
  uint32_t first, last = draw_tasks(STAGE_RUNS, 12, &first);
  if (!last) return;
  struct event event = results_of(first, last - first + 1);
  if (random_chance(0.05)) set_tag(event.from, TAG_FAILURE);
  if (random_chance(0.02)) event.attempt = 2;
  uint64_t end = results.block.size;
  for (uint32_t i = first; i <= last; i++) scene.stages[i] = STAGE_ENDED;
  if (!folding_take(&scene.folding, &event, &end, scene.now)) check_told(first, last);
}

/* Tasks are lost, or given back. They come again as a range of their own. */
static void take_away(void)
{
  bool is_lost = random_chance(0.5);
  uint32_t first, last = draw_tasks(STAGE_RUNS, is_lost ? 1 : 30, &first);
  if (!last) return;
  struct range range = {first, last};
  for (uint32_t i = first; i <= last; i++) scene.stages[i] = STAGE_BACK;
  if (is_lost && folding_lose(&scene.folding, first)) fault("task %u counts as a merge", (unsigned)first);
  if (!is_lost && folding_return(&scene.folding, &range, 1) != 1) fault("tasks are not given back");
}

/* What a worker makes of a merge: the sum of all that is in its argument. */
static double merged(const struct payload *payload)
{
  const char *at = (const char *)&payload->block + payload->block.floor;
  uint64_t length;
  double sum = 0;
  memcpy(&length, at, sizeof length);
  const char *end = at + sizeof length + length;
  for (at += sizeof length; at < end;) {
    const struct block *block = (const struct block *)(const void *)at;
    const double *word = block->word;
    for (uint32_t k = 0; k < block->count; k++) sum += word[k];
    at += (block->size + 15) / 16 * 16;
  }
  return sum;
}

static void end_merge(void)
{
  if (scene.merges_count == 0) return;
  uint32_t at = random_below(scene.merges_count);
  struct work *work = scene.merges[at];
  struct range range = {work->first, work->first};
  struct event event = results_of(work->first, 1);
  uint64_t end = results.block.size;
  results.block.word[0] = merged(work->payload);
  event.attempt = 2;
  switch (random_below(8)) {
  case 0: set_tag(0, TAG_FAILURE); /* fall through */
  default:
    if (!folding_take(&scene.folding, &event, &end, scene.now)) fault("an answer counts as results");
    break;
  case 1:
    if (!folding_lose(&scene.folding, work->first)) fault("a lost merge counts as a task");
    break;
  case 2:
    if (folding_return(&scene.folding, &range, 1) != 0) fault("a merge is given back to the parent");
    break;
  }
  scene.merges[at] = scene.merges[--scene.merges_count];
  work_free(&scene.dispatch.queue.store, work);
}

/* Workers take the merges that wait. */
static void begin_merges(void)
{
  for (struct work *work; scene.merges_count < MOST_MERGES && (work = queue_take_again(&scene.dispatch.queue, 0));) {
    if (work->first != work->last || work->first < FIRST_EXTRA) fault("a merge has number %g", work->first);
    scene.merges[scene.merges_count++] = work;
  }
}

static void serve(bool is_idle)
{
  double number = scene.folding.next_number, due = folding_serve(&scene.folding, is_idle, scene.now);
  if (scene.folding.next_number > number && due > scene.now) fault("a merge is not handed out until there is news");
  if (due < scene.now) fault("it is to be served %g s ago", scene.now - due);
  begin_merges();
}

static void happen(void)
{
  scene.now += random_unit() * step_seconds;
  switch (random_below(8)) {
  case 0: {
    uint32_t first, last = draw_tasks(STAGE_BACK, MOST_RANGE, &first);
    if (last) give(first, last);
    break;
  }
  case 1: take_away(); break;
  case 2: end_merge(); break;
  case 3: serve(random_chance(0.1)); break;
  default: end_tasks(); break;
  }
  collect();
}

static bool is_any(enum stage stage)
{
  for (uint32_t i = 1; i <= MOST_TASKS; i++)
    if (scene.stages[i] == stage) return true;
  return false;
}

/* All results are reported at the end: when they have waited, or as the run is cancelled. */
static void finish(void)
{
  if (random_chance(0.3)) {
    folding_flush(&scene.folding);
  } else {
    for (uint32_t n = 0; is_any(STAGE_ENDED); n++) {
      if (n > 2 * MOST_TASKS) fault("results are not reported");
      scene.now += patience / 2;
      serve(false);
      if (random_chance(0.5)) end_merge();
      collect();
    }
  }
  collect();
  if (is_any(STAGE_ENDED)) fault("results are not reported at the end");
}

static void begin_scene(uint32_t group, uint64_t most)
{
  memset(&scene, 0, sizeof scene);
  queue_init(&scene.dispatch.queue, INFINITY);
  scene.dispatch.queue.is_fed = true;
  scene.report.transport = &scene.transport;
  scene.folding = (struct folding){.group = group, .patience = patience, .most = most};
  scene.folding.joined = 12 + random_below(100);
  folding_begin(&scene.folding, &scene.dispatch, &scene.report, 3);
}

static void end_scene(void)
{
  folding_end(&scene.folding);
  while (scene.merges_count > 0) work_free(&scene.dispatch.queue.store, scene.merges[--scene.merges_count]);
  queue_free(&scene.dispatch.queue);
}

/* Whole groups, at the end of what is given, are merged as soon as that saves enough. */
static void check_whole_groups(void)
{
  begin_scene(GROUP, 1 << 20);
  give(1, 3 * GROUP);
  struct event event = results_of(1, 3 * GROUP);
  uint64_t end = results.block.size;
  if (!folding_take(&scene.folding, &event, &end, scene.now)) fault("results of whole groups are not kept");
  for (uint32_t task = 1; task <= 3 * GROUP; task++) scene.stages[task] = STAGE_ENDED;
  serve(false);
  if (scene.merges_count != 1) fault("three whole groups are not merged");
  collect();
  for (int n = 0; n < 2; n++) { /* as one word, which is reported the next time */
    end_merge();
    serve(false);
    collect();
  }
  if (scene.folding.lots) fault("tasks of which all is told are kept");
  end_scene();
}

/* Results wait no longer for those that have come to stand beside them since. */
static void check_since(void)
{
  static const double waits = 5 * patience; /* where they are merged */
  begin_scene(GROUP, 1 << 20);
  give(1, 2 * GROUP);
  for (uint32_t task = 1; task <= 2; task++) {
    struct event event = results_of(task, 1);
    uint64_t end = results.block.size;
    scene.stages[task] = STAGE_ENDED;
    if (!folding_take(&scene.folding, &event, &end, scene.now)) fault("a result that may be merged is told at once");
    scene.now += 0.9 * waits;
    serve(false);
    collect();
    if ((scene.stages[1] == STAGE_TOLD) != (task == 2)) fault("a result waits too long, or not at all");
  }
  end_scene();
}

/* The parent knows a task that is tried again as a range of its own. */
static void check_later_try(void)
{
  begin_scene(GROUP, 1 << 20);
  give(1, GROUP);
  struct event event = results_of(1, 1);
  uint64_t end = results.block.size;
  event.attempt = 2;
  if (folding_take(&scene.folding, &event, &end, scene.now)) fault("a later try waits for the tasks beside it");
  end_scene();
}

static void check_scene(void)
{
  begin_scene(random_chance(0.3) ? GROUP_JOINED : GROUP, 1 << (8 + random_below(12)));
  for (uint32_t n = 20 + random_below(2000); n > 0; n--) happen();
  while (is_any(STAGE_RUNS)) {
    end_tasks();
    collect();
  }
  finish();
  end_scene();
}

void folds_check(void)
{
  world_begin(1);
  check_whole_groups();
  check_since();
  check_later_try();
  for (int n = 0; n < ROUNDS; n++) check_scene();
}
