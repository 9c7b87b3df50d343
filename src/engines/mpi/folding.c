/* folding.c - see folding.h. */
#include "engines/mpi/folding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/dispatch.h"
#include "run/pack.h"
#include "run/pieces.h"
#include "run/queue.h"

/* A merge is a message to a worker and back. It is begun as soon as it saves `MANY` values, and later, or while a
 * worker has nothing to do, if it saves `FEW`. */
enum { MANY = 64, FEW = 8 };

/* Numbers of tasks that merge, in each rank: those of one are never another's, as such a task may be given to a rank
 * below. */
static const double numbers_each = 1 << 28;

/* Results of tasks that stand side by side. */
struct stretch {
  struct work tasks; /* whose results they are: in the lists and sets of works */
  double since;      /* the oldest of them came */
  uint32_t values;   /* how many they are */
  uint64_t bytes;
  struct kept *kept, **end;
};

/* Tasks that the parent has given at once: it knows them as one work, and so results must not reach beyond. */
struct lot {
  struct lot *next;
  double first, last;
  double left; /* tasks that have not ended */
  double due;  /* when the first of its results have waited long enough */
  uint32_t merges;
  bool is_new; /* something has come since the last look */
  struct link stretches;
  struct pieces pieces; /* the same, found by a task: a rank that heads others has thousands of them */
};

struct merge {
  struct merge *next;
  double task, begun;
  struct lot *lot;
  struct stretch *stretch;
};

/* Are values merged? Else they are joined, or told at once. */
static bool is_merged(const struct folding *folding)
{
  return folding->group > GROUP_JOINED;
}

/* Seconds that results wait for those beside them, and for a merge. A machine that is full may take several times as
 * long to run a group of blocks, and values that are not merged are rank 0's to merge. */
static double wait_of(const struct folding *folding)
{
  static const double merge_patience = 5;
  return is_merged(folding) ? merge_patience * folding->patience : folding->patience;
}

/* Tasks of the largest whole group that begins with `first` and ends with `last` at most. */
static double part(const struct folding *folding, double first, double last)
{
  double size = 1;
  for (double next; next = size * folding->group, fmod(first - 1, next) == 0 && first + next - 1 <= last;) size = next;
  return size;
}

/* How few values tasks first..last can be merged to. */
static uint32_t parts(const struct folding *folding, double first, double last)
{
  uint32_t count = 0;
  for (; first <= last; count++) first += part(folding, first, last);
  return count;
}

/* ---- what stands beside what ---- */

static struct stretch *stretch_of(struct work *tasks)
{
  return (struct stretch *)(void *)tasks;
}

static void put_in(struct lot *lot, struct stretch *stretch)
{
  list_append(&lot->stretches, &stretch->tasks.link);
  pieces_add(&lot->pieces, &stretch->tasks);
}

static void take_out(struct lot *lot, struct stretch *stretch)
{
  link_remove(&stretch->tasks.link);
  pieces_remove(&lot->pieces, &stretch->tasks);
}

/* ---- reporting ---- */

static void free_kept(struct kept *kept)
{
  for (struct kept *next; kept; kept = next) {
    next = kept->next;
    free(kept);
  }
}

static void free_stretch(struct folding *folding, struct stretch *stretch)
{
  folding->bytes -= stretch->bytes;
  free_kept(stretch->kept);
  free(stretch);
}

/* The words of several blocks as one. False: there is no memory. */
static bool report_joined(struct folding *folding, const struct stretch *stretch)
{
  const struct kept *first = stretch->kept;
  uint64_t size = BLOCK_HEAD + 8 * (uint64_t)stretch->values;
  struct record record = first->record;
  double seconds = 0;
  record.length = 0;
  for (const struct kept *kept = first; kept; kept = kept->next) {
    seconds += kept->record.seconds * kept->record.fresh;
    record.length += kept->record.length;
  }
  record.last = stretch->tasks.last;
  record.fresh = stretch->values;
  record.seconds = seconds / stretch->values;
  struct block *to = (struct block *)(void *)report_add(folding->report, &record, report_bytes(&record, size));
  if (!to) return false;
  memcpy(to, &first->block, BLOCK_HEAD);
  to->size = to->floor = size;
  to->count = stretch->values;
  double *word = to->word;
  char *rows = report_rows(to);
  for (const struct kept *kept = first; kept; kept = kept->next) {
    memcpy(word, kept->block.word, 8 * (size_t)kept->block.count);
    memcpy(rows, report_rows(&kept->block), kept->record.length);
    word += kept->block.count;
    rows += kept->record.length;
  }
  return true;
}

static void report_stretch(struct folding *folding, struct stretch *stretch)
{
  bool is_joined = !is_merged(folding) && stretch->kept->next && report_joined(folding, stretch);
  for (const struct kept *kept = stretch->kept; kept && !is_joined; kept = kept->next)
    report_kept(folding->report, kept);
  free_stretch(folding, stretch);
}

/* Takes the merge that is task `task` out of those under way; NULL: there is none. */
static struct merge *take_merge(struct folding *folding, double task)
{
  struct merge **link = &folding->merges, *merge;
  while (*link && (*link)->task != task) link = &(*link)->next;
  merge = *link;
  if (!merge) return NULL;
  *link = merge->next;
  merge->lot->merges--;
  merge->lot->is_new = folding->is_new = true;
  return merge;
}

/* Nothing has come of a merge. */
static void report_merge(struct folding *folding, struct merge *merge)
{
  if (!merge) return;
  report_stretch(folding, merge->stretch);
  free(merge);
}

bool folding_is_merge(const struct folding *folding, double task)
{
  return task >= folding->first_number && task < folding->first_number + numbers_each;
}

/* Takes the first stretch of the lot out; NULL: there is none. */
static struct stretch *take_stretch(struct lot *lot)
{
  if (list_is_empty(&lot->stretches)) return NULL;
  struct stretch *stretch = LIST_OF(lot->stretches.next, struct stretch, tasks.link);
  take_out(lot, stretch);
  return stretch;
}

void folding_flush(struct folding *folding)
{
  while (folding->merges) report_merge(folding, take_merge(folding, folding->merges->task));
  for (struct lot *lot = folding->lots; lot; lot = lot->next)
    for (struct stretch *stretch; (stretch = take_stretch(lot));) report_stretch(folding, stretch);
}

/* ---- what waits ---- */

void folding_begin(struct folding *folding, struct dispatch *run, struct report *report, int rank)
{
  folding->run = run;
  folding->report = report;
  folding->first_number = folding->next_number = FIRST_EXTRA + rank * numbers_each;
}

void folding_give(struct folding *folding, double first, double last)
{
  if (!folding->group) return;
  struct lot *lot = calloc(1, sizeof *lot);
  if (!lot) { /* from now on it is not known what belongs together */
    folding_flush(folding);
    folding->group = 0;
    return;
  }
  lot->first = first;
  lot->last = last;
  lot->left = last - first + 1;
  lot->due = INFINITY;
  list_init(&lot->stretches);
  lot->next = folding->lots;
  folding->lots = lot;
}

/* Whose task this is: the last to whom it was given. */
static struct lot *lot_of(const struct folding *folding, double task)
{
  struct lot *lot = folding->lots;
  while (lot && !(task >= lot->first && task <= lot->last)) lot = lot->next;
  return lot;
}

static void count_ended(struct folding *folding, double first, double last)
{
  struct lot *lot = lot_of(folding, first);
  if (!lot) return;
  lot->left -= last - first + 1;
  lot->is_new = folding->is_new = true;
}

static struct stretch *new_stretch(const struct folding *folding, struct kept *kept, double since)
{
  const struct block *block = &kept->block;
  double last = kept->record.last, first = last - kept->record.fresh + 1;
  struct stretch *stretch = malloc(sizeof *stretch);
  if (!stretch) return NULL;
  *stretch =
      (struct stretch){.tasks = {.first = first, .last = last}, .since = since, .kept = kept, .end = &kept->next};
  stretch->values = block->kind == BLOCK_FOLDED ? parts(folding, first, last) : block->count;
  stretch->bytes = kept->record.bytes;
  return stretch;
}

/* Do two stretches of a lot stand side by side, and may they be one? */
static bool fit_together(const struct folding *folding, const struct stretch *before, const struct stretch *behind)
{
  if (!before || !behind) return false;
  return is_merged(folding) || before->values + behind->values <= folding->joined;
}

/* Makes two stretches one, which is the first of them. */
static void join(struct lot *lot, struct stretch *before, struct stretch *behind)
{
  take_out(lot, behind);
  *before->end = behind->kept;
  before->end = behind->end;
  before->tasks.last = behind->tasks.last;
  before->since = fmin(before->since, behind->since);
  before->values += behind->values;
  before->bytes += behind->bytes;
  free(behind);
}

/* Puts results that came at `since` to those that stand beside them. */
static void put(struct folding *folding, struct lot *lot, struct kept *kept, double since)
{
  struct stretch *stretch = new_stretch(folding, kept, since);
  if (!stretch) {
    report_kept(folding->report, kept);
    free(kept);
    return;
  }
  struct stretch *before = stretch_of(pieces_find(&lot->pieces, stretch->tasks.first - 1)),
                 *behind = stretch_of(pieces_find(&lot->pieces, stretch->tasks.last + 1));
  put_in(lot, stretch);
  folding->bytes += stretch->bytes;
  lot->due = fmin(lot->due, since + wait_of(folding));
  lot->is_new = folding->is_new = true;
  if (fit_together(folding, stretch, behind)) join(lot, stretch, behind);
  if (fit_together(folding, before, stretch)) join(lot, before, stretch);
}

/* ---- merging ---- */

static int32_t tag_of(const struct block *block, uint32_t k)
{
  uint64_t word;
  memcpy(&word, &block->word[k], sizeof word);
  return (int32_t)(word >> 32);
}

/* May they wait: plain words to be joined, or values to be merged, of blocks in which no task has failed? Failures are
 * told at once. */
static bool may_wait(const struct folding *folding, const struct event *event)
{
  const struct block *block = event->block;
  uint64_t offset;
  if (is_merged(folding) && block->kind == BLOCK_FOLDED) return true;
  if (block->kind != BLOCK_DENSE || event->count != event->want) return false;
  for (uint32_t k = event->from; k < event->from + event->count; k++) {
    int32_t tag = tag_of(block, k);
    if (is_merged(folding) ? tag == TAG_FAILURE || tag == TAG_TUPLE : pack_has_value(block, k, &offset)) return false;
  }
  return true;
}

/* What a worker has made of the results of a merge: one word. Returns false when it is none that can stand for them. */
static bool take_answer(struct folding *folding, const struct merge *merge, const struct event *event)
{
  const struct stretch *stretch = merge->stretch;
  uint64_t end = event->block->size;
  if (event->block->kind != BLOCK_DENSE || event->count != 1 || tag_of(event->block, event->from) == TAG_FAILURE)
    return false;
  struct kept *kept = report_keep(event, &end);
  if (!kept) return false;
  kept->block.first = stretch->tasks.first;
  kept->record.last = kept->block.last = stretch->tasks.last;
  kept->record.fresh = stretch->tasks.last - stretch->tasks.first + 1;
  kept->record.seconds = 0; /* of a merge: it says nothing of tasks */
  kept->block.kind = BLOCK_FOLDED;
  put(folding, merge->lot, kept, stretch->since);
  return true;
}

static void end_merge(struct folding *folding, struct merge *merge, const struct event *event)
{
  if (!merge) return;
  if (!take_answer(folding, merge, event)) {
    report_merge(folding, merge);
    return;
  }
  free_stretch(folding, merge->stretch);
  free(merge);
}

bool folding_take(struct folding *folding, const struct event *event, uint64_t *end, double now)
{
  double first = event->last - event->want + 1;
  if (folding_is_merge(folding, event->last)) {
    end_merge(folding, take_merge(folding, event->last), event);
    return true;
  }
  if (!folding->group || event->attempt > 1 || event->want < 1 || event->last >= FIRST_EXTRA) return false;
  struct lot *lot = lot_of(folding, first);
  if (!lot) return false;
  count_ended(folding, first, event->last);
  bool is_long = event->seconds > folding->patience && !folding->takes_long;
  if (is_long || (folding->has_rows && event->length == 0)) return false;
  if (!may_wait(folding, event)) return false;
  struct kept *kept = report_keep(event, end);
  if (kept) put(folding, lot, kept, now);
  return kept != NULL;
}

/* A payload of one argument: the blocks of the results, one behind the other, as a string. */
static struct payload *payload_for(const struct stretch *stretch, double task)
{
  enum { VALUE_AT = BLOCK_HEAD + 8 };
  uint64_t length = stretch->bytes, size = VALUE_AT + sizeof length + length;
  uint64_t word = (uint64_t)(uint32_t)TAG_STRING << 32 | VALUE_AT / 8;
  struct payload *payload = payload_of(size);
  if (!payload) return NULL;
  char *to = (char *)&payload->block + VALUE_AT + sizeof length;
  memset(&payload->block, 0, BLOCK_HEAD);
  payload->block.size = size;
  payload->block.floor = VALUE_AT;
  payload->block.origin = task;
  payload->block.count = payload->block.width = 1;
  memcpy(payload->block.word, &word, sizeof word);
  memcpy((char *)&payload->block + VALUE_AT, &length, sizeof length);
  for (const struct kept *kept = stretch->kept; kept; kept = kept->next) {
    memcpy(to, &kept->block, kept->block.size);
    memset(to + kept->block.size, 0, kept->record.bytes - kept->block.size);
    to += kept->record.bytes;
  }
  return payload;
}

/* Has a worker merge a stretch, which is in no list. False: there is no memory. */
static bool begin_merge(struct folding *folding, struct lot *lot, struct stretch *stretch, double now)
{
  double task = folding->next_number;
  struct merge *merge = malloc(sizeof *merge);
  struct payload *payload = merge ? payload_for(stretch, task) : NULL;
  /* as a task that is tried again: before all that was never handed out, and each by itself */
  if (!payload || dispatch_offer(folding->run, task, task, 2, payload)) {
    free(merge);
    return false;
  }
  *merge = (struct merge){.next = folding->merges, .task = task, .begun = now, .lot = lot, .stretch = stretch};
  folding->merges = merge;
  folding->next_number++;
  folding->due = now; /* it is to be handed out, though no worker has news */
  lot->merges++;
  return true;
}

static void serve_lot(struct folding *folding, struct lot *lot, bool is_idle, double now)
{
  bool is_all = lot->left <= 0 || folding->bytes > folding->most;
  lot->is_new = false;
  lot->due = INFINITY;
  for (struct link *link = lot->stretches.next, *next; link != &lot->stretches; link = next) {
    struct stretch *stretch = LIST_OF(link, struct stretch, tasks.link);
    const struct work *tasks = &stretch->tasks;
    next = link->next;
    uint32_t saved = is_merged(folding) ? stretch->values - parts(folding, tasks->first, tasks->last) : 0;
    bool is_due = is_all || now - stretch->since >= wait_of(folding);
    if (!is_due && saved < (is_idle ? FEW : MANY)) {
      lot->due = fmin(lot->due, stretch->since + wait_of(folding));
      continue;
    }
    take_out(lot, stretch);
    if (saved < FEW || !begin_merge(folding, lot, stretch, now)) report_stretch(folding, stretch);
  }
}

/* Can something of the lot be reported or merged? */
static bool is_ripe(const struct folding *folding, const struct lot *lot, bool is_idle, double now)
{
  if (lot->left <= 0 || now >= lot->due || folding->bytes > folding->most) return true;
  return is_merged(folding) && (is_idle || lot->is_new);
}

/* Merges behind long tasks are not waited for: those who fold in order wait for the values. */
static void give_up_late(struct folding *folding, double now)
{
  for (struct merge *merge = folding->merges, *next; merge; merge = next) {
    next = merge->next;
    double until = merge->begun + wait_of(folding);
    if (now >= until)
      report_merge(folding, take_merge(folding, merge->task));
    else
      folding->due = fmin(folding->due, until);
  }
}

double folding_serve(struct folding *folding, bool is_idle, double now)
{
  if (!folding->is_new && !is_idle && now < folding->due) return folding->lots ? folding->due : INFINITY;
  folding->due = INFINITY;
  give_up_late(folding, now);
  folding->is_new = false;
  for (struct lot **link = &folding->lots, *lot; (lot = *link);) {
    if (is_ripe(folding, lot, is_idle, now)) serve_lot(folding, lot, is_idle, now);
    folding->due = fmin(folding->due, lot->due);
    if (lot->left <= 0 && lot->merges == 0) {
      *link = lot->next;
      free(lot);
    } else {
      link = &lot->next;
    }
  }
  return folding->due;
}

/* ---- what does not come ---- */

bool folding_lose(struct folding *folding, double task)
{
  if (folding_is_merge(folding, task)) {
    report_merge(folding, take_merge(folding, task));
    return true;
  }
  if (task > 0) count_ended(folding, task, task);
  return false;
}

uint32_t folding_return(struct folding *folding, struct range *ranges, uint32_t count)
{
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (folding_is_merge(folding, ranges[i].first)) {
      report_merge(folding, take_merge(folding, ranges[i].first));
      continue;
    }
    count_ended(folding, ranges[i].first, ranges[i].last);
    ranges[kept++] = ranges[i];
  }
  return kept;
}

void folding_end(struct folding *folding)
{
  for (struct merge *merge; (merge = folding->merges); free(merge)) {
    folding->merges = merge->next;
    free_stretch(folding, merge->stretch);
  }
  for (struct lot *lot; (lot = folding->lots); free(lot)) {
    folding->lots = lot->next;
    for (struct stretch *stretch; (stretch = take_stretch(lot));) free_stretch(folding, stretch);
  }
  *folding = (struct folding){0};
}
