/* mailbox.c - see mailbox.h. */
#include "slot/mailbox.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/clock.h"
#include "sys/large.h"
#include "sys/lent.h"
#include "sys/shared.h"
#include "sys/streams.h"

/* A worker that has nothing to do looks again for this long before it sleeps: a round trip between two spinning cores
 * takes 0.3 us, between two sleeping ones 10 us (measured). Each wait is given as much, whatever the last took: one
 * long wait would otherwise make all that follow long, as waking takes longer than this. */
static const double awake_seconds = 50e-6;

/* Memory kept for the next large message; larger buffers are given back after use, and most of it when another job
 * begins: of workers that live from call to call, each would keep the most that it ever needed. */
enum { KEEP_BYTES = 64 << 20, KEEP_BETWEEN_JOBS = 1 << 20 };

enum { PIECE_BYTES = BLOCK_BYTES - BLOCK_HEAD, MOST_TEXT = TEXT_BYTES / 2 };

void worker_open_mailbox(struct worker *worker, struct slot *slot, const struct bell *bell)
{
  worker->slot = slot;
  worker->bell = *bell;
}

void worker_close_mailbox(struct worker *worker)
{
  free(worker->whole);
  if (worker->elsewhere) munmap(worker->elsewhere, worker->elsewhere_bytes);
}

/* ---- waiting ---- */

typedef bool ready_function(const struct slot *slot);

static bool is_abandoned(const struct slot *slot)
{
  return __atomic_load_n(&slot->abandoned, __ATOMIC_SEQ_CST) != 0;
}

static bool has_message(const struct slot *slot)
{
  return channel_filled(&slot->in) > 0 || is_abandoned(slot);
}

static bool has_room(const struct slot *slot)
{
  return channel_filled(&slot->out) < CHANNEL_BLOCKS || is_abandoned(slot);
}

static bool has_text_room(const struct slot *slot)
{
  return slot->text_tail == __atomic_load_n(&slot->text_head, __ATOMIC_SEQ_CST) || is_abandoned(slot);
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Looks again for a while. False: still not ready. */
static bool look_again(const struct slot *slot, ready_function *ready)
{
  double began = clock_seconds();
  do {
    for (int i = 0; i < 16; i++) {
      if (ready(slot)) return true;
      pause_briefly();
    }
    sched_yield(); /* to the coordinator, where it has been put on the same processor */
  } while (clock_seconds() - began < awake_seconds);
  return false;
}

/* Sleeps until it is woken, unless it is ready. */
static void sleep_unless(struct slot *slot, ready_function *ready)
{
  uint32_t bell = __atomic_load_n(&slot->bell, __ATOMIC_SEQ_CST);
  __atomic_store_n(&slot->asleep, 1, __ATOMIC_SEQ_CST);
  if (!ready(slot)) syscall(SYS_futex, &slot->bell, FUTEX_WAIT, bell, NULL, NULL, 0);
  __atomic_store_n(&slot->asleep, 0, __ATOMIC_SEQ_CST);
}

/* Waits until `ready`: by looking again for a while, then asleep. A coordinator that is about to send something wakes
 * its worker before (dispatch_rouse): then it is looked for again. */
static void wait_until(struct slot *slot, ready_function *ready)
{
  if (ready(slot)) return;
  while (!look_again(slot, ready)) sleep_unless(slot, ready);
}

/* As wait_until, within a chunk: the coordinator is told why, and the time is not the tasks'. */
static void wait_for_room(struct worker *worker, ready_function *ready, enum blocked why)
{
  struct slot *slot = worker->slot;
  if (ready(slot)) return;
  double began = clock_seconds();
  __atomic_store_n(&slot->blocked, why, __ATOMIC_SEQ_CST);
  wait_until(slot, ready);
  __atomic_store_n(&slot->blocked, NOT_BLOCKED, __ATOMIC_SEQ_CST);
  double waited = clock_seconds() - began;
  worker->lap += waited;
  if (slot->current > 0) {
    worker->waited += waited;
    return;
  }
  worker->began += waited;
}

/* The first task of a chunk is timed from here, see note_present in watch.c. */
static void note_started(struct slot *slot)
{
  double now = clock_seconds();
  __atomic_store((double *)&slot->started, &now, __ATOMIC_RELAXED);
}

/* ---- messages ---- */

static void ring(struct worker *worker)
{
  if (!bell_ring(&worker->bell)) worker->has_no_bell = true;
}

static void release_message(struct worker *worker)
{
  struct channel *in = &worker->slot->in;
  if (!worker->holding) return;
  worker->holding = false;
  __atomic_store_n(&in->head, in->head + 1, __ATOMIC_SEQ_CST);
  ring(worker);
}

static _Noreturn void die(const struct worker *worker, const char *what)
{
  fprintf(stderr, "parlua: worker %u: %s\n", (unsigned)worker->slot->id, what);
  _exit(1);
}

/* Puts pieces together; returns the whole block once the last piece is there, NULL before. The last piece
 * stays held. */
static struct block *join_pieces(struct worker *worker, const struct block *piece, uint64_t *have)
{
  if (piece->whole) {
    *have = 0;
    if (worker->whole_capacity < piece->whole) {
      free(worker->whole);
      worker->whole = malloc(piece->whole);
      worker->whole_capacity = worker->whole ? piece->whole : 0;
      if (worker->whole) large_expect(worker->whole, piece->whole);
    }
  }
  if (!worker->whole) die(worker, "not enough memory for a message");
  memcpy((char *)worker->whole + *have, (const char *)piece + BLOCK_HEAD, piece->count);
  *have += piece->count;
  return *have >= worker->whole->size && *have > BLOCK_HEAD ? worker->whole : NULL;
}

/* Maps the message that `block` stands for. */
static struct block *map_elsewhere(struct worker *worker, const struct block *block)
{
  char message[128];
  bool is_lent = block->kind == BLOCK_LENT;
  struct block *whole = lent_map((struct lender){(int)block->pid, (int)block->file}, block->whole, is_lent);
  if (whole == MAP_FAILED) {
    snprintf(message, sizeof message, "cannot map a message of %.0f bytes: %s", (double)block->whole, strerror(errno));
    die(worker, message);
  }
  worker->elsewhere = whole;
  worker->elsewhere_bytes = block->whole;
  if (!is_lent) {
    shared_note_message(whole, block->whole);
    return whole;
  }
  whole->kind = BLOCK_CHUNK;
  whole->first = block->first;
  whole->last = block->last;
  whole->chunk = block->chunk;
  whole->job = block->job;
  whole->attempt = block->attempt;
  whole->key = block->key;
  return whole;
}

static void clear_whole(struct worker *worker, size_t keep)
{
  if (worker->whole_capacity <= keep) return;
  free(worker->whole);
  worker->whole = NULL;
  worker->whole_capacity = 0;
}

/* What was kept of the message before is not needed any more. */
static void forget_message(struct worker *worker)
{
  clear_whole(worker, worker->whole && worker->whole->kind == BLOCK_JOB ? KEEP_BETWEEN_JOBS : KEEP_BYTES);
  if (!worker->elsewhere) return;
  shared_note_message(NULL, 0);
  munmap(worker->elsewhere, worker->elsewhere_bytes);
  worker->elsewhere = NULL;
}

/* A message is whole: what runs from here on is this. */
static void begin_message(struct worker *worker, const struct block *message)
{
  struct slot *slot = worker->slot;
  worker->chunk = message->chunk;
  worker->job = message->job;
  worker->waited = 0;
  worker->lap = worker->began = clock_seconds();
  if (message->kind == BLOCK_JOB && message != worker->whole) clear_whole(worker, KEEP_BETWEEN_JOBS);
  if (message->kind == BLOCK_JOB && worker->value) buffer_clear(worker->value, KEEP_BETWEEN_JOBS);
  if (message->kind == BLOCK_JOB) __atomic_store_n(&slot->begun, 0, __ATOMIC_RELAXED);
  if (message->kind == BLOCK_CHUNK) {
    __atomic_store_n(&slot->begun, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->chunk, message->chunk, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* `current` is stored behind it, by compiled Lua code */
  }
}

/* Waits for the oldest message and claims it; NULL: the worker was given up. */
static struct block *claim_message(struct worker *worker)
{
  struct slot *slot = worker->slot;
  for (;;) {
    release_message(worker);
    __atomic_store_n(&slot->parked, 1, __ATOMIC_SEQ_CST);
    wait_until(slot, has_message);
    __atomic_store_n(&slot->parked, 0, __ATOMIC_SEQ_CST);
    if (is_abandoned(slot)) return NULL;
    struct block *block = slot_in_block(slot, slot->in.head);
    uint32_t expected = CLAIM_QUEUED;
    worker->holding = true;
    if (__atomic_compare_exchange_n(&block->claim, &expected, CLAIM_TAKEN, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
      return block;
  }
}

struct block *worker_receive(struct worker *worker)
{
  static struct block stop = {.kind = BLOCK_STOP};
  uint64_t have = 0;
  if (worker->is_copy) _exit(0);
  if (worker->has_no_bell && worker->is_process) { /* all that it did is handed in; its replacement has one */
    streams_flush();
    _exit(0);
  }
  forget_message(worker);
  for (;;) {
    struct block *block = claim_message(worker);
    if (!block) return &stop;
    if (block->kind == BLOCK_PIECE) block = join_pieces(worker, block, &have);
    if (!block) continue;
    if (block->kind == BLOCK_ELSEWHERE || block->kind == BLOCK_LENT) block = map_elsewhere(worker, block);
    begin_message(worker, block);
    return block;
  }
}

volatile double *worker_limit(struct worker *worker)
{
  return &worker->slot->limit[worker->slot->in.head % CHANNEL_BLOCKS];
}

struct slot *worker_slot(struct worker *worker)
{
  return worker->slot;
}

/* ---- results ---- */

static void publish(struct worker *worker)
{
  slot_publish_out(worker->slot);
  ring(worker);
}

struct block *worker_open(struct worker *worker, double first, int kind)
{
  struct channel *out = &worker->slot->out;
  wait_for_room(worker, has_room, BLOCKED_BY_RESULTS);
  struct block *block = slot_out_block(worker->slot, out->tail);
  memset(block, 0, BLOCK_HEAD);
  block->first = first;
  block->last = first - 1;
  block->size = block->floor = BLOCK_BYTES;
  block->kind = (uint32_t)kind;
  block->chunk = worker->chunk;
  block->job = worker->job;
  worker->out = block;
  __atomic_store_n(&out->open, out->tail + 1, __ATOMIC_RELEASE);
  if (worker->slot->current == 0) note_started(worker->slot); /* what precedes the loop may take a while */
  return block;
}

struct block *worker_current(struct worker *worker)
{
  return worker->out;
}

void worker_close(struct worker *worker, double last, uint32_t count, int final)
{
  double none = 0;
  struct block *block = worker->out;
  if (final && worker->before_final) worker->before_final(worker->context);
  block->last = last;
  __atomic_store_n(&block->count, count, __ATOMIC_RELAXED); /* the coordinator may be looking at the open block */
  block->final = (uint32_t) final;
  if (!final) {
    publish(worker);
    return;
  }
  block->seconds = clock_seconds() - worker->began - worker->waited;
  __atomic_store_n(&worker->slot->done, worker->chunk, __ATOMIC_RELAXED); /* before `current` says that it is in none */
  slot_publish_out(worker->slot); /* the message is released next, with a ring that tells of both */
  __atomic_store((double *)&worker->slot->current, &none, __ATOMIC_RELEASE);
}

double worker_lap(struct worker *worker)
{
  double now = clock_seconds(), lap = now - worker->lap;
  worker->lap = now;
  return lap;
}

static void set_tag(struct block *block, uint64_t word, int tag, uint64_t offset)
{
  uint64_t bits = (uint64_t)(uint32_t)tag << 32 | (uint32_t)(offset / 8);
  memcpy(&block->word[word], &bits, 8);
}

bool worker_place(const struct buffer *value, struct block *block, double task, uint64_t k, int tag)
{
  uint64_t length = value->length - VALUE_OFFSET, need = value_bytes(length);
  bool is_sparse = block->kind == BLOCK_SPARSE;
  uint64_t words = BLOCK_HEAD + (k + 1) * (is_sparse ? 16 : 8);
  if (words + need > block->floor) return false;
  uint64_t floor = block->floor - need;
  memcpy((char *)block + floor, &length, 8);
  memcpy((char *)block + floor + 8, value->bytes + VALUE_OFFSET, length);
  block->floor = floor;
  if (!is_sparse) {
    set_tag(block, k, tag, floor);
    return true;
  }
  block->word[2 * k] = task;
  set_tag(block, 2 * k + 1, tag, floor);
  __atomic_store_n(&block->count, (uint32_t)k + 1, __ATOMIC_RELEASE);
  return true;
}

double worker_room(const struct block *block)
{
  return (double)((block->floor - BLOCK_HEAD) / (block->kind == BLOCK_SPARSE ? 16 : 8));
}

/* Copies `n` of the bytes in `first`, behind which those at `rest` belong, from byte `at` on. */
static void copy_piece(void *to, const struct buffer *first, const char *rest, uint64_t at, uint64_t n)
{
  uint64_t before = at >= first->length ? 0 : first->length - at < n ? first->length - at : n;
  if (before) memcpy(to, first->bytes + at, before);
  if (n > before) memcpy((char *)to + before, rest + (at + before - first->length), n - before);
}

void worker_send_whole(struct worker *worker, struct buffer *value, const void *rest, size_t more, double task,
                       int kind, int tag)
{
  uint64_t all = value->length + more, length = all - VALUE_OFFSET;
  struct block *whole = (struct block *)(void *)value->bytes;
  memset(whole, 0, BLOCK_HEAD);
  whole->first = whole->last = task;
  whole->kind = (uint32_t)kind;
  whole->chunk = worker->chunk;
  whole->job = worker->job;
  whole->size = all;
  whole->floor = VALUE_OFFSET - 8;
  whole->count = 1;
  memcpy(value->bytes + VALUE_OFFSET - 8, &length, 8);
  if (kind == BLOCK_SPARSE) whole->word[0] = task;
  set_tag(whole, kind == BLOCK_SPARSE, tag, VALUE_OFFSET - 8);
  for (uint64_t sent = 0; sent < all;) {
    uint64_t left = all - sent, n = left < PIECE_BYTES ? left : PIECE_BYTES;
    wait_for_room(worker, has_room, BLOCKED_BY_RESULTS);
    if (is_abandoned(worker->slot)) return;
    struct block *piece = slot_out_block(worker->slot, worker->slot->out.tail);
    piece->kind = BLOCK_PIECE;
    piece->whole = sent ? 0 : all;
    piece->chunk = worker->chunk;
    piece->count = (uint32_t)n;
    piece->final = 0;
    copy_piece((char *)piece + BLOCK_HEAD, value, rest, sent, n);
    sent += n;
    publish(worker);
  }
  if (value->capacity > KEEP_BYTES) buffer_free(value);
}

/* ---- text ---- */

void worker_print(struct worker *worker, int stream, const char *bytes, size_t length)
{
  struct slot *slot = worker->slot;
  while (length > 0) {
    size_t n = length < MOST_TEXT ? length : MOST_TEXT;
    uint32_t tail = slot->text_tail, mark = (uint32_t)n << 2 | (uint32_t)stream;
    while (TEXT_BYTES - (tail - __atomic_load_n(&slot->text_head, __ATOMIC_SEQ_CST)) < n + 4) {
      if (is_abandoned(slot)) return;
      ring(worker);
      wait_for_room(worker, has_text_room, BLOCKED_BY_TEXT);
    }
    slot_put_text(slot, tail, &mark, sizeof mark);
    slot_put_text(slot, tail + (uint32_t)sizeof mark, bytes, n);
    __atomic_store_n(&slot->text_tail, tail + 4 + (uint32_t)n, __ATOMIC_SEQ_CST);
    ring(worker);
    bytes += n;
    length -= n;
  }
}

size_t worker_text_room(const struct worker *worker)
{
  const struct slot *slot = worker->slot;
  return TEXT_BYTES - (slot->text_tail - __atomic_load_n(&slot->text_head, __ATOMIC_SEQ_CST));
}

void worker_keep_program(struct worker *worker, const char *name)
{
  struct slot *slot = worker->slot;
  size_t length = name ? strnlen(name, KEPT_NAME - 1) : 0;
  __atomic_store_n(&slot->kept_program[0], '\0', __ATOMIC_RELEASE);
  __atomic_store_n(&slot->kept[0], 0, __ATOMIC_RELEASE);
  __atomic_store_n(&slot->kept[1], 0, __ATOMIC_RELEASE);
  if (length == 0) return;
  /* who reads it may have given this thread up meanwhile: byte by byte, and the first one last */
  for (size_t i = 1; i < KEPT_NAME; i++)
    __atomic_store_n(&slot->kept_program[i], i < length ? name[i] : '\0', __ATOMIC_RELAXED);
  __atomic_store_n(&slot->kept_program[0], name[0], __ATOMIC_RELEASE);
}

void worker_keep(struct worker *worker, int stream, const void *bytes, size_t length)
{
  enum kept_part part = stream == 1 ? KEPT_OUTPUT : KEPT_ERRORS;
  volatile uint64_t *kept = &worker->slot->kept[part];
  char *ring_bytes = slot_kept_ring(worker->slot, part);
  const char *next = bytes;
  while (length > 0) {
    size_t to = (size_t)(*kept % KEPT_BYTES), n = length < KEPT_BYTES - to ? length : KEPT_BYTES - to;
    memcpy(ring_bytes + to, next, n);
    __atomic_store_n(kept, *kept + n, __ATOMIC_RELEASE);
    next += n;
    length -= n;
  }
}

void worker_hold(struct worker *worker, bool is_held)
{
  if (is_held) ring(worker);
  __atomic_store_n(&worker->slot->blocked, is_held ? BLOCKED_BY_TEXT : NOT_BLOCKED, __ATOMIC_SEQ_CST);
}
