/* slot.c - see slot.h. */
#include "slot/slot.h"

#include <errno.h>
#include <linux/futex.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/barrier.h"

enum { PAGE = 4096, SLOT_HEAD = PAGE, PIECE_BYTES = BLOCK_BYTES - BLOCK_HEAD };

/* Each side writes lines of its own, so that the cells that are read often stay in the caches of both. */
enum { LINE = 64 };
_Static_assert(sizeof(struct slot) <= SLOT_HEAD, "the cells fit their page");
_Static_assert(offsetof(struct slot, limit) == LINE, "the worker's cells are one line");
_Static_assert(offsetof(struct slot, in) == 2 * LINE, "the coordinator's cells are one line");
_Static_assert(offsetof(struct channel, head) == LINE, "the two ends of a channel are a line each");
_Static_assert(offsetof(struct slot, text_tail) % LINE == 0 && offsetof(struct slot, text_head) % LINE == 0,
               "likewise");
_Static_assert(offsetof(struct block, word) == BLOCK_HEAD, "words begin behind the header");

enum { TEXT_AT = SLOT_HEAD + 2 * CHANNEL_BLOCKS * BLOCK_BYTES, KEPT_AT = TEXT_AT + TEXT_BYTES };
static const size_t slot_bytes = KEPT_AT + 2 * (size_t)KEPT_BYTES;

uint64_t value_bytes(uint64_t length)
{
  return 8 + ((length + 7) & ~(uint64_t)7);
}

struct slot *slot_map(uint32_t id)
{
  struct slot *slot = mmap(NULL, slot_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (slot == MAP_FAILED) return NULL;
  slot->id = id;
  return slot;
}

int slot_file(void)
{
  int file = memfd_create("parlua-slot", MFD_CLOEXEC);
  if (file >= 0 && ftruncate(file, (off_t)slot_bytes) < 0) {
    int error = errno;
    close(file);
    errno = error;
    return -1;
  }
  return file;
}

struct slot *slot_map_file(int file)
{
  struct slot *slot = mmap(NULL, slot_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  return slot == MAP_FAILED ? NULL : slot;
}

void slot_unmap(struct slot *slot)
{
  if (slot) munmap(slot, slot_bytes);
}

void slot_part(struct slot *slot)
{
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  if (mmap(slot, slot_bytes, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) _exit(1);
  slot->abandoned = 1;
}

void slot_reset(struct slot *slot)
{
  uint32_t id = slot->id;
  memset(slot, 0, sizeof *slot);
  slot->id = id;
}

void slot_prefetch(const struct slot *slot)
{
  for (size_t at = 0; at < sizeof *slot; at += LINE) __builtin_prefetch((const char *)slot + at);
}

struct block *slot_in_block(struct slot *slot, uint32_t place)
{
  return (struct block *)((char *)slot + SLOT_HEAD + (size_t)(place % CHANNEL_BLOCKS) * BLOCK_BYTES);
}

struct block *slot_out_block(struct slot *slot, uint32_t place)
{
  return (struct block *)((char *)slot + SLOT_HEAD + (size_t)(CHANNEL_BLOCKS + place % CHANNEL_BLOCKS) * BLOCK_BYTES);
}

static char *text_ring(struct slot *slot)
{
  return (char *)slot + TEXT_AT;
}

void slot_put_text(struct slot *slot, uint32_t at, const void *bytes, size_t length)
{
  size_t from = at % TEXT_BYTES, first = TEXT_BYTES - from < length ? TEXT_BYTES - from : length;
  memcpy(text_ring(slot) + from, bytes, first);
  memcpy(text_ring(slot), (const char *)bytes + first, length - first);
}

/* Copies bytes out of the ring. */
static void get_text(struct slot *slot, uint32_t at, void *bytes, size_t length)
{
  size_t from = at % TEXT_BYTES, first = TEXT_BYTES - from < length ? TEXT_BYTES - from : length;
  memcpy(bytes, text_ring(slot) + from, first);
  memcpy((char *)bytes + first, text_ring(slot), length - first);
}

uint32_t channel_filled(const struct channel *channel)
{
  return __atomic_load_n(&channel->tail, __ATOMIC_SEQ_CST) - __atomic_load_n(&channel->head, __ATOMIC_SEQ_CST);
}

bool slot_is_asleep(const struct slot *slot)
{
  return __atomic_load_n(&slot->asleep, __ATOMIC_SEQ_CST) != 0;
}

void slot_wake(struct slot *slot)
{
  if (!slot_is_asleep(slot)) return;
  __atomic_fetch_add(&slot->bell, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, &slot->bell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Copies a message that fits one block: the words and the values, not the gap between them. */
static void copy_block(struct block *to, const struct block *from)
{
  size_t words = BLOCK_HEAD + (size_t)from->count * 8;
  memcpy(to, from, words);
  if (from->floor < from->size)
    memcpy((char *)to + from->floor, (const char *)from + from->floor, from->size - from->floor);
}

static void store_limit(struct slot *slot, uint32_t place, double last)
{
  __atomic_store((double *)&slot->limit[place % CHANNEL_BLOCKS], &last, __ATOMIC_SEQ_CST);
}

/* Puts the next block, already filled in, into the channel; `last`: the last task that may be begun. */
static void publish_in(struct slot *slot, double last)
{
  uint32_t tail = slot->in.tail;
  __atomic_store_n(&slot_in_block(slot, tail)->claim, CLAIM_QUEUED, __ATOMIC_RELAXED);
  store_limit(slot, tail, last);
  __atomic_store_n(&slot->in.tail, tail + 1, __ATOMIC_SEQ_CST);
  slot_wake(slot);
}

void slot_publish_out(struct slot *slot)
{
  __atomic_store_n(&slot->out.tail, slot->out.tail + 1, __ATOMIC_SEQ_CST);
}

bool slot_send(struct slot *slot, const struct block *message, uint64_t *sent, uint32_t *place)
{
  struct channel *channel = &slot->in;
  while (*sent < message->size) {
    uint32_t tail = channel->tail;
    if (channel_filled(channel) >= CHANNEL_BLOCKS) return false;
    struct block *to = slot_in_block(slot, tail);
    if (message->size <= BLOCK_BYTES) {
      copy_block(to, message);
      *sent = message->size;
    } else {
      uint64_t left = message->size - *sent, n = left < PIECE_BYTES ? left : PIECE_BYTES;
      to->kind = BLOCK_PIECE;
      to->whole = *sent ? 0 : message->size;
      to->count = (uint32_t)n;
      memcpy((char *)to + BLOCK_HEAD, (const char *)message + *sent, n);
      *sent += n;
    }
    *place = tail;
    publish_in(slot, message->last);
  }
  return true;
}

bool slot_revoke(struct slot *slot, uint32_t place)
{
  uint32_t expected = CLAIM_QUEUED;
  if (slot_is_released(slot, place))
    return false; /* what stands there may be part of a later message, which we alone put there */
  return __atomic_compare_exchange_n(&slot_in_block(slot, place)->claim, &expected, CLAIM_REVOKED, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

bool slot_is_queued(struct slot *slot, uint32_t place)
{
  return !slot_is_released(slot, place) &&
         __atomic_load_n(&slot_in_block(slot, place)->claim, __ATOMIC_SEQ_CST) == CLAIM_QUEUED;
}

bool slot_is_released(const struct slot *slot, uint32_t place)
{
  return (int32_t)(__atomic_load_n(&slot->in.head, __ATOMIC_SEQ_CST) - place) > 0;
}

static double load_cell(const volatile double *cell)
{
  double value;
  __atomic_load((const double *)cell, &value, __ATOMIC_ACQUIRE);
  return value;
}

struct present slot_present(const struct slot *slot)
{
  struct present present;
  uint32_t before;
  enum {
    TRIES = 100
  }; /* the worker goes from chunk to chunk meanwhile; one that overwrites the cells must not hold us up */
  for (int i = 0; i < TRIES; i++) {
    before = __atomic_load_n(&slot->chunk, __ATOMIC_ACQUIRE);
    present.task = load_cell(&slot->current);
    present.inner = load_cell(&slot->inner);
    present.chunk = __atomic_load_n(&slot->chunk, __ATOMIC_ACQUIRE);
    if (before == present.chunk) break;
  }
  barrier_between_loads();
  if (present.task != floor(present.task)) present.task = 0; /* no task has such a number: the cell was overwritten */
  return present;
}

double slot_started(const struct slot *slot)
{
  return load_cell(&slot->started);
}

void slot_set_limit(struct slot *slot, uint32_t place, double last)
{
  if (!slot_is_released(slot, place)) store_limit(slot, place, last);
}

double slot_cut(struct slot *slot, uint32_t chunk, uint32_t place, double first, double last, double keep)
{
  if (slot_is_released(slot, place)) return last;
  store_limit(slot, place, keep);
  barrier_all(); /* from here on the worker has seen the limit, or its present task is visible */
  bool is_queued = slot_is_queued(slot, place);
  struct present present = slot_present(slot);
  if (!is_queued && (present.chunk != chunk || present.task < first || present.task > last)) {
    bool is_before = present.task == 0 && __atomic_load_n(&slot->done, __ATOMIC_ACQUIRE) != chunk;
    bool may_be_through = present.chunk == chunk && !is_before;
    if (may_be_through || slot_is_released(slot, place)) { /* it has just ended, perhaps all of it */
      slot_set_limit(slot, place, last);
      return last;
    }
    return keep; /* claimed, but its first task is not begun: it will see the limit */
  }
  if (!is_queued && present.task > keep) keep = present.task;
  return keep < last ? keep : last;
}

struct block *slot_results(struct slot *slot)
{
  uint32_t filled = channel_filled(&slot->out);
  return filled > 0 && filled <= CHANNEL_BLOCKS ? slot_out_block(slot, slot->out.head) : NULL; /* see slot_is_sound */
}

/* Coordinator: wakes the worker if it sleeps until there is room, not if it has nothing to do. */
static void wake_blocked(struct slot *slot)
{
  if (slot_is_asleep(slot) && __atomic_load_n(&slot->blocked, __ATOMIC_SEQ_CST)) slot_wake(slot);
}

void slot_release_results(struct slot *slot)
{
  __atomic_store_n(&slot->out.head, slot->out.head + 1, __ATOMIC_SEQ_CST);
  wake_blocked(slot);
}

struct block *slot_look_at_results(struct slot *slot, uint32_t k, bool *is_open)
{
  uint32_t open = __atomic_load_n(&slot->out.open, __ATOMIC_ACQUIRE), filled = channel_filled(&slot->out);
  *is_open = k == filled;
  if (filled > CHANNEL_BLOCKS || k > filled) return NULL;
  return k < filled || open == slot->out.head + filled + 1 ? slot_out_block(slot, slot->out.head + k) : NULL;
}

bool slot_has_text(const struct slot *slot)
{
  return slot->text_head != __atomic_load_n(&slot->text_tail, __ATOMIC_SEQ_CST);
}

bool slot_has_text_of(struct slot *slot, int stream)
{
  uint32_t head = slot->text_head, tail = __atomic_load_n(&slot->text_tail, __ATOMIC_ACQUIRE), mark;
  if (tail - head > TEXT_BYTES) return false; /* see slot_is_sound */
  while (tail - head >= sizeof mark) {
    get_text(slot, head, &mark, sizeof mark);
    if ((int)(mark & 3) == stream) return true;
    if ((mark >> 2) == 0 || (mark >> 2) > tail - head - sizeof mark) break; /* no such record */
    head += (uint32_t)sizeof mark + (mark >> 2);
  }
  return false;
}

size_t slot_take_text(struct slot *slot, char *into, size_t most, int *stream)
{
  uint32_t head = slot->text_head, tail = __atomic_load_n(&slot->text_tail, __ATOMIC_ACQUIRE), mark;
  size_t taken = 0;
  if (tail - head > TEXT_BYTES) return 0; /* see slot_is_sound */
  while (tail != head) {
    size_t there = tail - head;
    get_text(slot, head, &mark, sizeof mark);
    size_t length = mark >> 2;
    int from = (int)(mark & 3);
    if (taken > 0 && (from != *stream || taken + length > most)) break;
    if (length + sizeof mark > there || length == 0)
      length = there > sizeof mark ? there - sizeof mark : 0; /* no such record */
    *stream = from;
    get_text(slot, head + (uint32_t)sizeof mark, into + taken, length);
    taken += length;
    head += (uint32_t)(sizeof mark + length);
    if (there < sizeof mark) head = tail; /* nor this */
  }
  __atomic_store_n(&slot->text_head, head, __ATOMIC_SEQ_CST);
  wake_blocked(slot);
  return taken;
}

void slot_drop_text(struct slot *slot)
{
  if (!slot_has_text(slot)) return;
  __atomic_store_n(&slot->text_head, __atomic_load_n(&slot->text_tail, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
  wake_blocked(slot);
}

char *slot_kept_ring(struct slot *slot, enum kept_part part)
{
  return (char *)slot + KEPT_AT + (part == KEPT_ERRORS ? KEPT_BYTES : 0);
}

bool slot_has_kept(const struct slot *slot)
{
  return __atomic_load_n(&slot->kept_program[0], __ATOMIC_ACQUIRE) != '\0';
}

size_t slot_kept_program(const struct slot *slot, char *into, size_t most)
{
  char name[KEPT_NAME];
  name[0] = __atomic_load_n(&slot->kept_program[0], __ATOMIC_ACQUIRE);
  if (!name[0]) return 0;
  for (size_t i = 1; i < KEPT_NAME - 1; i++) name[i] = __atomic_load_n(&slot->kept_program[i], __ATOMIC_RELAXED);
  name[KEPT_NAME - 1] = '\0';
  unsigned long long output = __atomic_load_n(&slot->kept[0], __ATOMIC_ACQUIRE),
                     errors = __atomic_load_n(&slot->kept[1], __ATOMIC_ACQUIRE);
  return (size_t)snprintf(into, most, "%llu %llu %s", output, errors, name);
}

size_t slot_kept(struct slot *slot, enum kept_part part, uint64_t *at, char *into, size_t most)
{
  uint64_t end = __atomic_load_n(&slot->kept[part], __ATOMIC_ACQUIRE);
  if (end > *at + KEPT_BYTES) *at = end - KEPT_BYTES;
  if (*at >= end) return 0;
  size_t n = end - *at < most ? (size_t)(end - *at) : most, from = (size_t)(*at % KEPT_BYTES);
  if (n > KEPT_BYTES - from) n = KEPT_BYTES - from;
  memcpy(into, slot_kept_ring(slot, part) + from, n);
  *at += n;
  return n;
}

bool slot_is_sound(const struct slot *slot)
{
  return channel_filled(&slot->in) <= CHANNEL_BLOCKS && channel_filled(&slot->out) <= CHANNEL_BLOCKS &&
         __atomic_load_n(&slot->text_tail, __ATOMIC_SEQ_CST) - slot->text_head <= TEXT_BYTES;
}

bool block_is_sound(const struct block *block)
{
  uint64_t count = block->count;
  if (block->kind == BLOCK_PIECE) return count <= PIECE_BYTES;
  if (block->kind != BLOCK_DENSE && block->kind != BLOCK_SPARSE) return false;
  uint64_t words = BLOCK_HEAD + count * (block->kind == BLOCK_SPARSE ? 16 : 8);
  return block->size == BLOCK_BYTES && words <= block->floor && block->floor <= block->size && block->floor % 8 == 0;
}
