/* work.c - see work.h. */
#include "run/work.h"

#include "run/pack.h"
#include "sys/large.h"
#include "sys/lent.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A payload is copied into a smaller one when that takes less than 1 / SAVING of the memory. */
enum { SAVING = 4, MOST_SPARE = 64 };

/* ---- works ---- */

void work_store_init(struct work_store *store)
{
  memset(store, 0, sizeof *store);
  list_init(&store->free);
}

void work_store_clear(struct work_store *store)
{
  for (struct link *link; (link = list_take(&store->free));) free(LIST_OF(link, struct work, link));
  free(store->large);
  work_store_init(store);
}

bool work_reserve(struct work_store *store, uint32_t count)
{
  while (store->spare < store->reserved + count) {
    struct work *work = calloc(1, sizeof *work);
    if (!work) return false;
    list_append(&store->free, &work->link);
    store->spare++;
  }
  store->reserved += count;
  return true;
}

void work_unreserve(struct work_store *store, uint32_t count)
{
  store->reserved -= count;
}

/* A work out of those that stand ready. */
static struct work *take_spare(struct work_store *store)
{
  struct work *work = LIST_OF(list_take(&store->free), struct work, link);
  store->spare--;
  memset(work, 0, sizeof *work);
  return work;
}

static void fill_in(struct work *work, double first, double last, struct payload *payload, uint32_t attempt)
{
  work->first = first;
  work->last = work->bound = last;
  work->reached = first - 1;
  work->payload = payload;
  work->attempt = attempt;
  if (payload) payload->users++;
}

struct work *work_new(struct work_store *store, double first, double last, struct payload *payload, uint32_t attempt)
{
  struct work *work = store->spare > store->reserved ? take_spare(store) : calloc(1, sizeof *work);
  if (work) fill_in(work, first, last, payload, attempt);
  return work;
}

void work_free(struct work_store *store, struct work *work)
{
  payload_drop(store, work->payload);
  if (store->spare >= store->reserved + MOST_SPARE) {
    free(work);
    return;
  }
  work->link = (struct link){0};
  list_prepend(&store->free, &work->link);
  store->spare++;
}

void work_free_all(struct work_store *store, struct link *works)
{
  for (struct link *link; (link = list_take(works));) work_free(store, LIST_OF(link, struct work, link));
}

struct work *work_split(struct work_store *store, struct work *work, double first)
{
  struct work *rest = take_spare(store);
  store->reserved--;
  fill_in(rest, first, work->last, work->payload, work->attempt);
  rest->losses = work->losses;
  if (work->aborted >= first) {
    rest->aborted = work->aborted;
    work->aborted = 0;
  }
  work->last = work->bound = first - 1;
  return rest;
}

/* ---- payloads ---- */

struct payload *payload_of(uint64_t bytes)
{
  uint64_t all = offsetof(struct payload, block) + bytes;
  struct payload *payload = all < LARGE_BYTES ? malloc(all) : large_new(all);
  if (!payload) return NULL;
  payload->users = 1;
  payload->is_lent = false;
  payload->capacity = bytes;
  return payload;
}

_Static_assert(offsetof(struct payload, block) <= LENT_HEAD, "a payload's head stands in front of its block");

/* Of memory that lent_free takes. */
static struct payload *payload_at(char *memory, uint64_t bytes)
{
  struct payload *payload = (struct payload *)(void *)(memory - offsetof(struct payload, block));
  payload->users = 1;
  payload->is_lent = true;
  payload->capacity = bytes;
  return payload;
}

struct payload *payload_lent(uint64_t bytes)
{
  char *memory = bytes < LARGE_BYTES ? NULL : lent_new(bytes);
  return memory ? payload_at(memory, bytes) : payload_of(bytes);
}

struct payload *payload_borrowed(struct lender lender, uint64_t bytes)
{
  char *memory = lent_borrow(lender, bytes);
  return memory ? payload_at(memory, bytes) : NULL;
}

static void free_payload(struct payload *payload)
{
  uint64_t all = offsetof(struct payload, block) + payload->capacity;
  if (payload->is_lent)
    lent_free(&payload->block);
  else if (all < LARGE_BYTES)
    free(payload);
  else
    large_free(payload, all);
}

struct payload *payload_new(struct work_store *store, uint64_t bytes)
{
  struct payload *payload = NULL;
  if (bytes <= BLOCK_BYTES) {
    bytes = BLOCK_BYTES;
    payload = store->large;
    store->large = NULL;
  }
  if (!payload) payload = store->lends ? payload_lent(bytes) : payload_of(bytes);
  if (!payload) return NULL;
  memset(&payload->block, 0, BLOCK_HEAD);
  payload->users = 1;
  payload->block.size = payload->block.floor = bytes;
  return payload;
}

void payload_drop(struct work_store *store, struct payload *payload)
{
  if (!payload || --payload->users > 0) return;
  if (store && !store->large && payload->capacity == BLOCK_BYTES)
    store->large = payload;
  else
    free_payload(payload);
}

/* A payload of exactly `words` words and `values` bytes of values, with the header of `like`; NULL: out of memory. */
static struct payload *exact_payload(const struct block *like, uint64_t words, uint64_t values)
{
  uint64_t size = BLOCK_HEAD + words * 8 + values;
  struct payload *payload = payload_of(size);
  if (!payload) return NULL;
  memcpy(&payload->block, like, BLOCK_HEAD);
  payload->block.size = size;
  payload->block.floor = size - values;
  payload->block.count = (uint32_t)words;
  return payload;
}

struct payload *payload_fit(struct work_store *store, struct payload *payload)
{
  struct block *block = &payload->block;
  uint64_t words = block->count, values = block->size - block->floor;
  if ((BLOCK_HEAD + words * 8 + values) * SAVING > payload->capacity) return payload;
  struct payload *fitting = exact_payload(block, words, values);
  if (!fitting) return payload;
  struct block *to = &fitting->block;
  pack_copy(to, block, 0, words, block->floor, block->size);
  payload_drop(store, payload);
  return fitting;
}

struct block *block_copy(const struct block *block, uint64_t words, size_t *size)
{
  uint64_t end = BLOCK_HEAD + words * 8, whole = block->size, floor = block->floor;
  if (floor < end || floor > whole)
    floor = end; /* a worker has written where it should not: reading checks each value */
  uint64_t values = whole - floor;
  struct block *to = malloc(end + values);
  *size = end + values;
  if (!to) return NULL;
  memcpy(to, block, BLOCK_HEAD);
  to->size = end + values;
  to->floor = end;
  pack_copy(to, block, 0, words, floor, whole);
  return to;
}

/* Bytes of the value at `offset`, its length and padding included; 0: it can't be one. */
static uint64_t bytes_at(const struct block *block, uint64_t offset)
{
  uint64_t length;
  memcpy(&length, (const char *)block + offset, sizeof length);
  uint64_t bytes = 8 + ((length + 7) & ~(uint64_t)7);
  return length <= block->size - offset - 8 ? bytes : 0;
}

/* How many words before word `k`, but not before `from`, the same value is that of one: tables that were sent together
 * are several arguments of a task, and the head of calls is that of the task before. 0: of none. */
static uint64_t same_before(const struct block *block, uint64_t from, uint64_t k, uint64_t offset)
{
  uint64_t before;
  for (uint64_t back = 1; back <= block->width && back <= k - from; back++)
    if (pack_has_value(block, k - back, &before) && before == offset) return back;
  return 0;
}

/* Bytes of the values of `words` words from word `from` on. */
static uint64_t bytes_of_values(const struct block *block, uint64_t from, uint64_t words)
{
  uint64_t offset, bytes = 0;
  for (uint64_t k = from; k < from + words; k++)
    if (pack_has_value(block, k, &offset) && !same_before(block, from, k, offset)) bytes += bytes_at(block, offset);
  return bytes;
}

/* The same words with all values of the block: records name places among those of others. */
static struct payload *copy_with_values(const struct block *block, double first, uint64_t from, uint64_t words)
{
  struct payload *made = exact_payload(block, words, block->size - block->floor);
  if (!made) return NULL;
  made->block.origin = first;
  pack_copy(&made->block, block, from, words, block->floor, block->size);
  return made;
}

/* The same words with their values alone, which are so many bytes. */
static struct payload *copy_words(const struct block *block, double first, uint64_t from, uint64_t words,
                                  uint64_t values)
{
  struct payload *made = exact_payload(block, words, values);
  uint64_t offset, back;
  if (!made) return NULL;
  struct block *to = &made->block;
  to->origin = first;
  memcpy(to->word, block->word + from, words * 8);
  for (uint64_t k = 0, floor = to->floor; k < words; k++) {
    if (!pack_has_value(block, from + k, &offset)) continue;
    if ((back = same_before(block, from, from + k, offset))) {
      to->word[k] = to->word[k - back];
      continue;
    }
    uint64_t bytes = bytes_at(block, offset);
    memcpy((char *)to + floor, (const char *)block + offset, bytes);
    pack_set_offset(to, k, floor);
    floor += bytes;
  }
  return made;
}

struct payload *payload_copy_tasks(const struct payload *payload, double first, uint32_t count)
{
  const struct block *block = &payload->block;
  uint64_t from = (uint64_t)(first - block->origin) * block->width, words = (uint64_t)count * block->width;
  if (pack_has_record(block, from, words)) return copy_with_values(block, first, from, words);
  return copy_words(block, first, from, words, bytes_of_values(block, from, words));
}

struct payload *payload_of_tasks(struct payload *payload, double first, double last)
{
  struct block *block = &payload->block;
  uint64_t width = block->width, at = (uint64_t)(first - block->origin) * width,
           words = (uint64_t)(last - first + 1) * width;
  payload->users++;
  if (width == 0 || block->is_range || at + words > block->count) return payload;
  if ((BLOCK_HEAD + words * 8) * SAVING > payload->capacity) return payload;
  if (pack_has_record(block, at, words)) return payload;
  uint64_t values = bytes_of_values(block, at, words);
  if ((BLOCK_HEAD + words * 8 + values) * SAVING > payload->capacity) return payload;
  struct payload *alone = copy_words(block, first, at, words, values);
  if (!alone) return payload;
  payload->users--;
  return alone;
}
