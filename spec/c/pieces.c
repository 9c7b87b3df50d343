/* pieces.c - run by spec/pieces_spec.lua: what a rank's lane holds (run/pieces.h), ranges in the queue (run/queue.h)
 * and packed blocks (run/pack.h), each beside the plain way to do the same. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "run/pack.h"
#include "run/pieces.h"
#include "run/queue.h"

enum { TASKS = 2000, ROUNDS = 20000 };

/* What was drawn for a work is no more than what was drawn for the one above it: this keeps the tree flat. */
static void check_order(const struct work *work)
{
  for (; work; work = work->sibling) {
    const struct work *below_it[] = {work->child, work->sibling};
    for (int i = 0; i < 2; i++)
      if (below_it[i] && below_it[i]->due > work->due) fail("the tree is not in the order of what was drawn");
    check_order(work->child);
  }
}

/* Works of some tasks each come and go; each task is found in the work that has it, others are not found. */
static void check_pieces(void)
{
  static struct work *owner[TASKS];
  struct pieces pieces = {0};
  for (int round = 0; round < ROUNDS; round++) {
    uint32_t task = below(TASKS);
    if (round % 100 == 0) check_order(pieces.root);
    if (pieces_find(&pieces, task) != owner[task]) fail("a task is not where it should be");
    if (owner[task]) {
      struct work *work = owner[task];
      for (uint32_t t = (uint32_t)work->first; t <= (uint32_t)work->last; t++) owner[t] = NULL;
      pieces_remove(&pieces, work);
      free(work);
      continue;
    }
    struct work *work = calloc(1, sizeof *work);
    uint32_t last = task;
    while (last + 1 < TASKS && !owner[last + 1] && below(8) > 0) last++;
    work->first = task;
    work->last = last;
    for (uint32_t t = task; t <= last; t++) owner[t] = work;
    pieces_add(&pieces, work);
  }
  for (uint32_t t = 0; t < TASKS; t++)
    if (pieces_find(&pieces, t) != owner[t]) fail("a task is not where it should be at the end");
}

/* Marks the tasks of a work as taken, and gives it back. */
static void take(struct queue *queue, char *seen, struct work *work)
{
  for (uint32_t t = (uint32_t)work->first; t <= (uint32_t)work->last; t++)
    if (seen[t]++) fail("a task was taken twice");
  work_free(&queue->store, work);
}

/* Ranges are taken from both ends, single tasks out of their midst, and cut off behind the total: each task once. */
static void check_ranges(void)
{
  for (int round = 0; round < 200; round++) {
    static char seen[TASKS + 1];
    struct queue queue;
    uint32_t next = 1, total = 1 + below(TASKS);
    memset(seen, 0, sizeof seen);
    queue_init(&queue, INFINITY);
    queue.is_fed = true;
    while (next <= TASKS) {
      uint32_t last = next + below(60);
      if (last > TASKS) last = TASKS;
      queue_add_range(&queue, work_new(&queue.store, next, last, NULL, 1));
      next = last + 1;
    }
    if (queue.ranged != TASKS) fail("ranges are not counted right");
    queue_shorten(&queue, total);
    while (queue_has_range(&queue)) {
      uint32_t kind = below(3), task = 1 + below(total);
      work_reserve(&queue.store, 1);
      struct work *work = NULL;
      if (kind == 0) {
        work = queue_take_new(&queue, queue_room(&queue, 1 + below(20)), NULL);
        work_unreserve(&queue.store, 1);
      } else if (kind == 1) {
        work = queue_take_back(&queue, 1 + below(20), 1);
      } else {
        work_reserve(&queue.store, 1);
        work = queue_take_task(&queue, task);
        if (!work != (seen[task] != 0)) fail("a single task is not where it should be");
      }
      if (work) take(&queue, seen, work);
    }
    if (queue.ranged != 0 || queue.store.reserved != 0) fail("something is left in the queue");
    for (uint32_t t = 1; t <= TASKS; t++)
      if (seen[t] != (t <= total)) fail("a task was not taken, or is behind the total");
    queue_free(&queue);
  }
}

/* A block of numbers, strings and all else that is copied as it is, sent in parts: each word of a part leads to what it
 * led to before. */
static void check_pack(void)
{
  enum { WORDS = 300, TAGS = 5 };
  static const int32_t tags[TAGS] = {TAG_STRING, TAG_VALUE, TAG_TUPLE, TAG_FAILURE, TAG_LINE};
  struct block *block = calloc(1, BLOCK_BYTES), *to = calloc(1, BLOCK_BYTES);
  char text[100];
  bool is_first = true;
  block->size = block->floor = BLOCK_BYTES;
  for (uint64_t k = 0; k < WORDS; k++) {
    uint64_t length = (uint64_t)snprintf(text, sizeof text, "%u:%.*s", (unsigned)k, (int)below(60),
                                         "all of this is a text of some length, cut where chance has it");
    uint64_t word = (uint64_t)(uint32_t)tags[below(TAGS)] << 32;
    block->word[k] = (double)k;
    if (below(3) == 0) continue;
    if (is_first || below(10) == 0) length = 0; /* also the last bytes of a block may be an empty string's */
    is_first = false;
    block->floor -= 8 + ((length + 7) & ~(uint64_t)7);
    memcpy((char *)block + block->floor, &length, 8);
    memcpy((char *)block + block->floor + 8, text, length);
    word |= block->floor / 8;
    memcpy(&block->word[k], &word, 8);
  }
  uint64_t end = block->size;
  for (uint64_t from = 0, n; from < WORDS; from += n) {
    n = 1 + below(40);
    if (n > WORDS - from) n = WORDS - from;
    uint64_t low = pack_lowest(block, from, n, end);
    memcpy(to, block, BLOCK_HEAD);
    to->size = BLOCK_HEAD + n * 8 + end - low;
    to->floor = BLOCK_HEAD + n * 8;
    pack_copy(to, block, from, n, low, end);
    for (uint64_t k = 0, old, moved, length; k < n; k++) {
      bool had = pack_has_value(block, from + k, &old), has = pack_has_value(to, k, &moved);
      if (had != has || (!had && to->word[k] != (double)(from + k))) fail("a word has changed on its way");
      if (!had) continue;
      memcpy(&length, (char *)block + old, 8);
      if (moved + 8 + length > to->size || memcmp((char *)block + old, (char *)to + moved, 8 + length) != 0)
        fail("a value has changed on its way");
    }
    end = low;
  }
  if (end != block->floor) fail("values are left over");
  free(block);
  free(to);
}

/* Arguments that are one value stay one, in what is sent of some tasks alone; and each task has its own. */
static void check_shared(void)
{
  enum { SHARED = 40, WIDTH = 3, BYTES = 16 };
  struct payload *payload = payload_of(BLOCK_BYTES);
  if (!payload) fail("there is no memory");
  struct block *block = &payload->block;
  *block = (struct block){.size = BLOCK_BYTES, .floor = BLOCK_BYTES, .origin = 1, .width = WIDTH};
  block->count = SHARED * WIDTH;
  for (uint64_t task = 0; task < SHARED; task++) {
    uint64_t length = BYTES - 8, word = (uint64_t)(uint32_t)TAG_TUPLE << 32;
    block->floor -= BYTES;
    memcpy((char *)block + block->floor, &length, 8);
    memset((char *)block + block->floor + 8, (int)task, length);
    word |= block->floor / 8;
    memcpy(&block->word[task * WIDTH], &word, 8);
    memcpy(&block->word[task * WIDTH + 2], &word, 8);
    block->word[task * WIDTH + 1] = (double)task;
  }
  for (int is_part = 0; is_part < 2; is_part++) {
    struct payload *some = is_part ? payload_of_tasks(payload, 11, 15) : payload_copy_tasks(payload, 11, 5);
    if (!some || some == payload) fail("tasks that are sent alone come with the values of all");
    const struct block *to = &some->block;
    if (to->size - to->floor != 5 * BYTES) fail("a value of several arguments is sent several times");
    for (uint64_t k = 0, one, other; k < 5; k++) {
      bool are = pack_has_value(to, k * WIDTH, &one) && pack_has_value(to, k * WIDTH + 2, &other) && one == other;
      if (!are || ((const char *)to)[one + 8] != (char)(10 + k))
        fail("arguments that were one value are two, or another");
    }
    payload_drop(NULL, some);
  }
  payload_drop(NULL, payload);
}

int main(void)
{
  check_shared();
  check_pieces();
  check_ranges();
  check_pack();
  puts("all holds");
  return 0;
}
