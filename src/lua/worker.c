/* worker.c - see worker.h. */
#include "lua/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lua/codec.h"
#include "lua/output.h"
#include "lua/state.h"
#include "sys/buffer.h"
#include "sys/oom.h"
#include "sys/stdin.h"
#include "sys/streams.h"

/* A worker that has nothing to do looks again for this long before it sleeps: a round trip between two spinning cores takes 0.3 us,
 * between two sleeping ones 10 us (measured). Each wait is given as much, whatever the last took: one long wait would otherwise
 * make all that follow long, as waking takes longer than this. */
static const double spin_seconds = 50e-6;

/* In front of an encoded value: a block's header, its words (at most a pair) and the value's length, so that a value which is too
 * large for a slot's block becomes a block of its own without another copy. */
enum { VALUE_OFFSET = BLOCK_HEAD + 16 + 8 };

/* Memory kept for the next large message; larger buffers are given back after use, and most of it when another job begins: of
 * workers that live from call to call, each would keep the most that it ever needed. */
enum { KEEP_BYTES = 64 << 20, KEEP_BETWEEN_JOBS = 1 << 20 };

struct worker {
  struct slot *slot;
  struct output *output;
  FILE *files[2]; /* the state's stdout and stderr */
  struct bell bell;
  struct block *out;   /* block being filled */
  struct block *whole; /* a message that came in pieces */
  size_t whole_capacity;
  struct block *elsewhere; /* a message that lies in a file, mapped */
  size_t elsewhere_bytes;
  int holding;         /* the oldest block of the in channel is in use */
  uint32_t chunk, job; /* numbers of what runs */
  double lap;
  double waited;       /* seconds of the running chunk in which it waited for the coordinator */
  struct buffer value; /* an encoded value, from VALUE_OFFSET on */
  int value_tag;       /* it waits for the next block */
  bool is_copy;        /* a task has forked, and this is the child */
  bool is_process;     /* no thread: it may end */
  bool has_no_bell;    /* a task has closed its descriptor */
};

/* Registry: light userdata -> the job that a forked worker inherits. */
static const char job_key = 0;

/* The worker that this thread is: for what a task's own fork must not touch. */
static _Thread_local struct worker *own_worker;

typedef int ready_function(const struct worker *worker);

static int has_message(const struct worker *worker)
{
  return channel_filled(&worker->slot->in) > 0 || __atomic_load_n(&worker->slot->abandoned, __ATOMIC_SEQ_CST);
}

static int has_room(const struct worker *worker)
{
  return channel_filled(&worker->slot->out) < CHANNEL_BLOCKS || __atomic_load_n(&worker->slot->abandoned, __ATOMIC_SEQ_CST);
}

static int has_text_room(const struct worker *worker)
{
  const struct slot *slot = worker->slot;
  return slot->text_tail == __atomic_load_n(&slot->text_head, __ATOMIC_SEQ_CST) ||
         __atomic_load_n(&slot->abandoned, __ATOMIC_SEQ_CST);
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/* Waits until `ready`: by looking again for a while where that has paid, then asleep. */
static void wait_until(struct worker *worker, ready_function *ready)
{
  struct slot *slot = worker->slot;
  if (ready(worker)) return;
  double began = clock_seconds();
  do {
    for (int i = 0; i < 16; i++) {
      if (ready(worker)) return;
      pause_briefly();
    }
    sched_yield(); /* to the coordinator, where it has been put on the same processor */
  } while (clock_seconds() - began < spin_seconds);
  for (;;) {
    uint32_t bell = __atomic_load_n(&slot->bell, __ATOMIC_SEQ_CST);
    __atomic_store_n(&slot->asleep, 1, __ATOMIC_SEQ_CST);
    if (ready(worker)) break;
    syscall(SYS_futex, &slot->bell, FUTEX_WAIT, bell, NULL, NULL, 0);
  }
  __atomic_store_n(&slot->asleep, 0, __ATOMIC_SEQ_CST);
}

/* As wait_until, while a task waits for the coordinator: that time is not the task's. */
static void wait_for_coordinator(struct worker *worker, ready_function *ready)
{
  if (ready(worker)) return;
  double began = clock_seconds();
  __atomic_store_n(&worker->slot->blocked, 1, __ATOMIC_RELAXED);
  wait_until(worker, ready);
  double waited = clock_seconds() - began;
  worker->waited += waited;
  worker->lap += waited;
  __atomic_store_n(&worker->slot->blocked, 0, __ATOMIC_RELAXED);
}

static void ring_bell(struct worker *worker)
{
  if (!bell_ring(&worker->bell)) worker->has_no_bell = true;
}

static void release_message(struct worker *worker)
{
  struct channel *in = &worker->slot->in;
  if (!worker->holding) return;
  worker->holding = 0;
  __atomic_store_n(&in->head, in->head + 1, __ATOMIC_SEQ_CST);
  ring_bell(worker);
}

/* Puts pieces together; returns the whole block once the last piece is there, NULL before. The last piece stays held. */
static struct block *join_pieces(struct worker *worker, const struct block *piece, uint64_t *have)
{
  if (piece->whole) {
    *have = 0;
    if (worker->whole_capacity < piece->whole) {
      free(worker->whole);
      worker->whole = malloc(piece->whole);
      worker->whole_capacity = worker->whole ? piece->whole : 0;
    }
  }
  if (worker->whole) memcpy((char *)worker->whole + *have, (const char *)piece + BLOCK_HEAD, piece->count);
  *have += piece->count;
  if (!worker->whole) {
    fprintf(stderr, "parlua: worker %u: not enough memory for a message\n", (unsigned)worker->slot->id);
    _exit(1);
  }
  return *have >= worker->whole->size && *have > BLOCK_HEAD ? worker->whole : NULL;
}

/* Maps the message that `block` stands for. */
static struct block *map_elsewhere(struct worker *worker, const struct block *block)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%u/fd/%u", (unsigned)block->pid, (unsigned)block->file);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  void *bytes = file < 0 ? MAP_FAILED : mmap(NULL, block->whole, PROT_READ, MAP_SHARED, file, 0);
  if (bytes == MAP_FAILED) {
    fprintf(stderr, "parlua: worker %u: cannot map the job, %.0f bytes: %s\n", (unsigned)worker->slot->id, (double)block->whole,
            strerror(errno));
    _exit(1);
  }
  close(file);
  worker->elsewhere = bytes;
  worker->elsewhere_bytes = block->whole;
  return bytes;
}

static void clear_whole(struct worker *worker, size_t keep)
{
  if (worker->whole_capacity <= keep) return;
  free(worker->whole);
  worker->whole = NULL;
  worker->whole_capacity = 0;
}

/* A job begins, in the message that was just received. */
static void begin_job(struct worker *worker, const struct block *message)
{
  buffer_clear(&worker->value, KEEP_BETWEEN_JOBS);
  if (message != worker->whole) clear_whole(worker, KEEP_BETWEEN_JOBS);
}

struct block *worker_receive(struct worker *worker)
{
  static struct block stop = {.kind = BLOCK_STOP};
  struct slot *slot = worker->slot;
  uint64_t have = 0;
  if (worker->is_copy) _exit(0);
  if (worker->has_no_bell && worker->is_process) { /* all that it did is handed in; its replacement has one */
    streams_flush();
    _exit(0);
  }
  clear_whole(worker, worker->whole && worker->whole->kind == BLOCK_JOB ? KEEP_BETWEEN_JOBS : KEEP_BYTES);
  if (worker->elsewhere) munmap(worker->elsewhere, worker->elsewhere_bytes);
  worker->elsewhere = NULL;
  for (;;) {
    release_message(worker);
    wait_until(worker, has_message);
    if (__atomic_load_n(&slot->abandoned, __ATOMIC_SEQ_CST)) return &stop;
    struct block *block = slot_in_block(slot, slot->in.head);
    uint32_t expected = CLAIM_QUEUED;
    worker->holding = 1;
    if (!__atomic_compare_exchange_n(&block->claim, &expected, CLAIM_TAKEN, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
      continue; /* taken back */
    if (block->kind == BLOCK_PIECE && !(block = join_pieces(worker, block, &have))) continue;
    if (block->kind == BLOCK_ELSEWHERE) block = map_elsewhere(worker, block);
    worker->chunk = block->chunk;
    worker->job = block->job;
    worker->lap = clock_seconds();
    __atomic_store((double *)&slot->started, &worker->lap, __ATOMIC_RELAXED);
    worker->waited = 0;
    if (block->kind == BLOCK_JOB) begin_job(worker, block);
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

struct block *worker_open(struct worker *worker, double first, int kind)
{
  struct channel *out = &worker->slot->out;
  wait_for_coordinator(worker, has_room);
  struct block *block = slot_out_block(worker->slot, out->tail);
  block->first = first;
  block->last = first - 1;
  block->seconds = 0;
  block->size = BLOCK_BYTES;
  block->floor = BLOCK_BYTES;
  block->kind = (uint32_t)kind;
  block->chunk = worker->chunk;
  block->job = worker->job;
  block->count = 0;
  block->final = 0;
  worker->out = block;
  __atomic_store_n(&out->open, out->tail + 1, __ATOMIC_RELEASE);
  return block;
}

struct block *worker_current(struct worker *worker)
{
  return worker->out;
}

static void publish(struct worker *worker)
{
  struct channel *out = &worker->slot->out;
  __atomic_store_n(&out->tail, out->tail + 1, __ATOMIC_SEQ_CST);
  ring_bell(worker);
}

void worker_close(struct worker *worker, double last, uint32_t count, int final)
{
  struct block *block = worker->out;
  for (int i = 0; final && i < 2; i++)
    if (worker->files[i]) fflush(worker->files[i]); /* text stands before the end of the chunk that it belongs to */
  block->last = last;
  __atomic_store_n(&block->count, count, __ATOMIC_RELAXED); /* the coordinator may be looking at the open block */
  block->final = (uint32_t) final;
  if (final) block->seconds = clock_seconds() - worker->slot->started - worker->waited;
  publish(worker);
  if (final) {
    double none = 0;
    __atomic_store((double *)&worker->slot->current, &none, __ATOMIC_RELEASE);
  }
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

/* Puts the encoded value of `length` bytes into `block` as what belongs to `task`, word or pair `k`. False: it does not fit. */
static int place_value(struct worker *worker, struct block *block, double task, uint64_t k, int tag)
{
  uint64_t length = worker->value.length - VALUE_OFFSET, need = value_bytes(length);
  int sparse = block->kind == BLOCK_SPARSE;
  uint64_t words = BLOCK_HEAD + (k + 1) * (sparse ? 16 : 8);
  if (words + need > block->floor) return 0;
  uint64_t floor = block->floor - need;
  memcpy((char *)block + floor, &length, 8);
  memcpy((char *)block + floor + 8, worker->value.bytes + VALUE_OFFSET, length);
  block->floor = floor;
  if (sparse) {
    block->word[2 * k] = task;
    set_tag(block, 2 * k + 1, tag, floor);
    __atomic_store_n(&block->count, (uint32_t)k + 1, __ATOMIC_RELEASE);
  } else {
    set_tag(block, k, tag, floor);
  }
  return 1;
}

/* Words or pairs that still fit the block, counted from its beginning. */
static double block_room(const struct block *block)
{
  return (double)((block->floor - BLOCK_HEAD) / (block->kind == BLOCK_SPARSE ? 16 : 8));
}

/* put(k, task, tag, value...): encodes the values into the open block as word k. Returns the block's room; or -1 when it does not
 * fit: then close the block and call flush; or nil and a message when it can't cross. */
static int put(lua_State *L)
{
  struct worker *worker = lua_touserdata(L, lua_upvalueindex(1));
  uint64_t k = (uint64_t)lua_tonumber(L, 1);
  double task = lua_tonumber(L, 2);
  int tag = (int)lua_tonumber(L, 3), top = lua_gettop(L);
  worker->value.length = 0;
  if (buffer_reserve(&worker->value, VALUE_OFFSET)) return luaL_error(L, "not enough memory");
  worker->value.length = VALUE_OFFSET;
  if (codec_encode(L, 4, top - 3, "result", 0, &worker->value)) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  if (place_value(worker, worker->out, task, k, tag)) {
    lua_pushnumber(L, block_room(worker->out));
  } else {
    worker->value_tag = tag;
    lua_pushnumber(L, -1);
  }
  return 1;
}

/* Sends the encoded value as a block of its own, in pieces. */
static void send_pieces(struct worker *worker, double task, int kind)
{
  struct buffer *value = &worker->value;
  uint64_t length = value->length - VALUE_OFFSET;
  struct block *whole = (struct block *)(void *)value->bytes;
  memset(whole, 0, BLOCK_HEAD);
  whole->first = whole->last = task;
  whole->kind = (uint32_t)kind;
  whole->chunk = worker->chunk;
  whole->job = worker->job;
  whole->size = value->length;
  whole->floor = VALUE_OFFSET - 8;
  whole->count = 1;
  memcpy(value->bytes + VALUE_OFFSET - 8, &length, 8);
  if (kind == BLOCK_SPARSE) whole->word[0] = task;
  set_tag(whole, kind == BLOCK_SPARSE, worker->value_tag, VALUE_OFFSET - 8);
  for (uint64_t sent = 0; sent < value->length;) {
    uint64_t left = value->length - sent, room = BLOCK_BYTES - BLOCK_HEAD, n = left < room ? left : room;
    wait_for_coordinator(worker, has_room);
    if (__atomic_load_n(&worker->slot->abandoned, __ATOMIC_SEQ_CST)) return;
    struct block *piece = slot_out_block(worker->slot, worker->slot->out.tail);
    piece->kind = BLOCK_PIECE;
    piece->whole = sent ? 0 : value->length;
    piece->chunk = worker->chunk;
    piece->count = (uint32_t)n;
    piece->final = 0;
    memcpy((char *)piece + BLOCK_HEAD, value->bytes + sent, n);
    sent += n;
    publish(worker);
  }
  if (value->capacity > KEEP_BYTES) buffer_free(value);
}

/* flush(task, kind): after the open block was closed, puts the value that did not fit: as the first word of a new block (returns
 * true: that block is open), or as a block of its own (returns false). */
static int flush_value(lua_State *L)
{
  struct worker *worker = lua_touserdata(L, lua_upvalueindex(1));
  double task = lua_tonumber(L, 1);
  int kind = (int)lua_tonumber(L, 2);
  uint64_t least = BLOCK_HEAD + 16 + value_bytes(worker->value.length - VALUE_OFFSET);
  if (least <= BLOCK_BYTES) {
    struct block *block = worker_open(worker, task, kind);
    lua_pushboolean(L, place_value(worker, block, task, 0, worker->value_tag));
  } else {
    send_pieces(worker, task, kind);
    lua_pushboolean(L, 0);
  }
  return 1;
}

/* value(pointer to a block, offset in units of 8 bytes): the values of the codec message there. */
int worker_value(lua_State *L)
{
  const void *cell = lua_topointer(L, 1);
  const struct block *block;
  int64_t offset = (int64_t)lua_tonumber(L, 2) * 8;
  uint64_t length;
  memcpy(&block, cell, sizeof block);
  uint64_t size = block->size, at = (uint64_t)offset;
  if (offset < BLOCK_HEAD || at + 8 > size) return luaL_error(L, "cannot decode: a value lies outside of its message");
  memcpy(&length, (const char *)block + at, 8);
  if (length > size - at - 8) return luaL_error(L, "cannot decode: a value lies outside of its message");
  int n = codec_decode(L, (const char *)block + at + 8, length, 0);
  return n < 0 ? lua_error(L) : n;
}

/* What the state's streams send: into the ring of text. */
static void send_text(void *to, int stream, const char *bytes, size_t length)
{
  struct worker *worker = to;
  struct slot *slot = worker->slot;
  enum { MOST = TEXT_BYTES / 2 };
  char *ring = slot_text(slot);
  while (length > 0) {
    size_t n = length < MOST ? length : MOST;
    uint32_t tail = slot->text_tail, mark = (uint32_t)n << 1 | (stream == 2);
    while (TEXT_BYTES - (tail - __atomic_load_n(&slot->text_head, __ATOMIC_SEQ_CST)) < n + 4) {
      if (__atomic_load_n(&slot->abandoned, __ATOMIC_SEQ_CST)) return;
      ring_bell(worker);
      wait_for_coordinator(worker, has_text_room);
    }
    for (size_t i = 0; i < 4; i++) ring[(tail + i) % TEXT_BYTES] = ((char *)&mark)[i];
    for (size_t i = 0; i < n; i++) ring[(tail + 4 + i) % TEXT_BYTES] = bytes[i];
    __atomic_store_n(&slot->text_tail, tail + 4 + (uint32_t)n, __ATOMIC_SEQ_CST);
    ring_bell(worker);
    bytes += n;
    length -= n;
  }
}

static void push_function(lua_State *L, struct worker *worker, const char *name, lua_CFunction f)
{
  lua_pushlightuserdata(L, worker);
  lua_pushcclosure(L, f, 1);
  lua_setfield(L, -2, name);
}

/* A task has called fork: its child may go on as it likes, but there is one worker. The child's slot becomes memory of its own,
 * where nobody sees what it does, and it ends when the task does. */
static void part_from_parent(void)
{
  if (!own_worker) return;
  own_worker->is_copy = true;
  stdin_part();
  slot_part(own_worker->slot);
}

static void watch_forks(void)
{
  pthread_atfork(NULL, NULL, part_from_parent);
}

/* What the protected part of a worker's life is told. */
struct life {
  struct worker *worker;
  bool owns_process; /* C's own stdout is the worker's too */
};

/* Runs lua/parlua/worker/init.lua up to the worker's end; called protected, with a struct life. */
static int live(lua_State *L)
{
  struct life *life = lua_touserdata(L, 1);
  struct worker *worker = life->worker;
  lua_pushlightuserdata(L, (void *)&job_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  bool inherits = !lua_isnil(L, 2);
  worker->output = output_install(L, send_text, worker, worker->files, life->owns_process);
  if (!inherits) lua_gc(L, LUA_GCSTOP, 0); /* nothing of what is loaded is garbage */
  lua_getglobal(L, "require");
  lua_pushliteral(L, "parlua.worker");
  lua_call(L, 1, 1);
  if (!inherits) state_collect_later(L);
  lua_getfield(L, -1, "main");
  lua_createtable(L, 0, 6);
  lua_pushlightuserdata(L, worker);
  lua_setfield(L, -2, "pointer");
  lua_pushboolean(L, life->owns_process);
  lua_setfield(L, -2, "owns_process");
  push_function(L, worker, "put", put);
  push_function(L, worker, "flush", flush_value);
  lua_pushvalue(L, 2);
  lua_call(L, 2, 0);
  return 0;
}

/* The life of a worker. Whatever a task did to its state, nothing is raised here: in a forked worker an error would go on to the
 * script's own protected calls, and a copy of the script would run on. Returns false when the worker's own code failed. */
static bool run(lua_State *L, struct slot *slot, const struct bell *bell, bool owns_process)
{
  struct worker worker = {.slot = slot, .bell = *bell, .is_process = owns_process};
  struct life life = {&worker, owns_process};
  static pthread_once_t watched = PTHREAD_ONCE_INIT;
  pthread_once(&watched, watch_forks);
  membarrier_join();
  own_worker = &worker;
  int status = lua_cpcall(L, live, &life);
  own_worker = NULL;
  if (status == LUA_ERRMEM && slot->current > 0)
    slot->starved = 1; /* the task's failure says it */
  else if (status)
    fprintf(stderr, "parlua: worker %u: %s\n", (unsigned)slot->id,
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "its own code raised a value that is no string");
  output_close(worker.output);
  free(worker.whole);
  if (worker.elsewhere) munmap(worker.elsewhere, worker.elsewhere_bytes);
  buffer_free(&worker.value);
  return status == 0;
}

void worker_keep_job(lua_State *L, int job)
{
  lua_pushlightuserdata(L, (void *)&job_key);
  if (job)
    lua_pushvalue(L, job);
  else
    lua_pushnil(L);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void worker_main(lua_State *L, struct slot *slot, const struct bell *bell)
{
  run(L, slot, bell, false);
}

/* ---- a worker that is a process ---- */

static void ignore_signal(int number)
{
  (void)number;
}

/* A terminal's Ctrl-C or end and a batch system's SIGTERM reach the whole group: only the coordinator decides what follows.
 * Handlers, not SIG_IGN, so that programs that tasks start are not made deaf; but what is ignored, as under nohup, stays so for
 * them. */
void worker_set_signals(void)
{
  struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction before;
    if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(numbers[i], &action, NULL);
  }
  signal(SIGPIPE, SIG_DFL);
}

static void limit_memory(uint64_t bytes)
{
  struct rlimit limit;
  long pages = 0;
  FILE *statm = fopen("/proc/self/statm", "r");
  if (statm) {
    if (fscanf(statm, "%ld", &pages) != 1) pages = 0;
    fclose(statm);
  }
  limit.rlim_cur = limit.rlim_max = bytes + (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
  setrlimit(RLIMIT_AS, &limit);
}

void worker_process_prepare(uint64_t memory)
{
  worker_set_signals();
  oom_volunteer();
  if (memory) limit_memory(memory);
}

_Noreturn void worker_process_run(lua_State *L, struct slot *slot, const struct bell *bell)
{
  streams_end_quietly();
  bool ran = run(L, slot, bell, true);
  streams_flush();
  _exit(!ran);
}
