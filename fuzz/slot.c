/* slot.c - fuzz target: what the coordinator reads from a worker's slot, from the counters of its channels to the
 * results that Lua decodes.
 *
 * All of parlua runs as it does, but for the process engine: its workers are played by the input. The first three bytes
 * choose the call (fuzz/slot.lua) and its options, the rest are steps: chunks begun and ended as a worker does it,
 * blocks with any bytes written over them, cells and counters of any value, the beacon overwritten, text, deaths. One
 * step is made each time the coordinator looks for news; at the input's end all workers are dead.
 *
 * What must hold: no access beyond the buffers, an end, and the conditions in slot.lua. Functions are not loaded (see
 * codec.c: code that a worker makes up can't be told from code that it was given). */
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "engines/engine.h"
#include "lua/state.h"

enum {
  MOST_WORKERS = 2,
  MESSAGES = 5,
  MOST_LOOKS = 20000, /* at the input's end a call must end within so many looks for news */
  COLLECT_EVERY = 64
};

static lua_State *L;
static const uint8_t *at, *end;
static uint32_t looks;
static bool is_dead[MOST_WORKERS];
static int statuses[MOST_WORKERS];
static struct {
  const char *bytes;
  size_t length;
} messages[MESSAGES];

static void fail(const char *what)
{
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

int __wrap_luaL_loadbufferx(lua_State *state, const char *code, size_t length, const char *name, const char *mode);
int __wrap_luaL_loadbufferx(lua_State *state, const char *code, size_t length, const char *name, const char *mode)
{
  (void)code, (void)length, (void)name, (void)mode;
  lua_pushliteral(state, "no code is loaded here");
  return LUA_ERRSYNTAX;
}

/* ---- the input ---- */

static uint32_t take(void)
{
  return at < end ? *at++ : 0;
}

/* Copies `length` bytes of the input, or what is left of it. */
static void take_bytes(void *to, size_t length)
{
  size_t left = (size_t)(end - at), n = length < left ? length : left;
  memcpy(to, at, n);
  at += n;
}

/* A number near the running chunk's tasks, or any. */
static double take_number(double first)
{
  uint32_t how = take();
  double any = 0;
  if (how < 200) return first + (double)(how % 50) - 3;
  take_bytes(&any, sizeof any);
  return any;
}

/* ---- workers ---- */

/* The chunk that the worker is in, or begins now as worker_receive does; NULL: there is none. */
static struct block *next_chunk(struct slot *slot)
{
  for (;;) {
    uint32_t filled = channel_filled(&slot->in), expected = CLAIM_QUEUED;
    if (filled == 0 || filled > CHANNEL_BLOCKS) return NULL;
    slot->parked = 0;
    struct block *block = slot_in_block(slot, slot->in.head);
    bool is_begun =
        __atomic_compare_exchange_n(&block->claim, &expected, CLAIM_TAKEN, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    if (expected == CLAIM_REVOKED) {
      slot->in.head++;
      continue;
    }
    if (block->kind != BLOCK_CHUNK) return NULL;
    if (is_begun) {
      slot->begun = 1;
      slot->chunk = block->chunk;
    }
    return block;
  }
}

/* The last task of the chunk that the worker may begin. */
static double last_allowed(const struct slot *slot, const struct block *chunk)
{
  return fmin(chunk->last, slot->limit[slot->in.head % CHANNEL_BLOCKS]);
}

/* The chunk has ended. */
static void release_chunk(struct slot *slot)
{
  slot->current = slot->inner = 0;
  slot->in.head++;
  slot->parked = 1;
}

/* The next block for results, begun as worker_open does; NULL: no room. */
static struct block *open_block(struct slot *slot, const struct block *chunk, uint32_t kind)
{
  if (channel_filled(&slot->out) >= CHANNEL_BLOCKS) return NULL;
  struct block *block = slot_out_block(slot, slot->out.tail);
  memset(block, 0, BLOCK_HEAD);
  block->first = chunk ? chunk->first : 1;
  block->last = block->first - 1;
  block->size = block->floor = BLOCK_BYTES;
  block->kind = kind;
  block->chunk = chunk ? chunk->chunk : take();
  return block;
}

static void set_word(struct block *block, uint64_t word, int tag, uint64_t place)
{
  uint64_t bits = (uint64_t)(uint32_t)tag << 32 | (uint32_t)(place / 8);
  memcpy(&block->word[word], &bits, 8);
}

/* Puts a result into the block as word or pair `k`. */
static void put_result(struct block *block, uint32_t k, double task)
{
  static const int tags[] = {TAG_NIL, TAG_FALSE, TAG_TRUE, TAG_ABSENT, TAG_STRING, TAG_VALUE, TAG_TUPLE, TAG_FAILURE};
  uint32_t how = take(), word = block->kind == BLOCK_SPARSE ? 2 * k + 1 : k;
  if (block->kind == BLOCK_SPARSE) block->word[2 * k] = task;
  if (how < 64) {
    block->word[word] = how;
    return;
  }
  int tag = tags[how % 8];
  uint64_t length = messages[how % MESSAGES].length, need = value_bytes(length);
  if (block->floor < BLOCK_HEAD + 8 * (word + 1) + need) return;
  block->floor -= need;
  memcpy((char *)block + block->floor, &length, 8);
  memcpy((char *)block + block->floor + 8, messages[how % MESSAGES].bytes, length);
  set_word(block, word, tag, block->floor);
}

/* Writes bytes of the input over the block: its header and first words, or its values. */
static void overwrite(struct block *block)
{
  uint32_t where = take(), length = take() % 32;
  size_t place = where < 64 ? where * 4 : BLOCK_BYTES - 4 * (size_t)(where - 63);
  if (place + length > BLOCK_BYTES) length = (uint32_t)(BLOCK_BYTES - place);
  take_bytes((char *)block + place, length);
}

/* A block of results: `how` says of what kind, how many, whether it ends the chunk, whether it is spoilt, and whether
 * the worker goes by the chunk's limit. */
static void send_block(struct slot *slot, uint32_t how)
{
  struct block *chunk = next_chunk(slot), *block = open_block(slot, chunk, how & 1 ? BLOCK_SPARSE : BLOCK_DENSE);
  if (!block) return;
  double tasks = chunk ? (how & 64 ? chunk->last : last_allowed(slot, chunk)) - chunk->first + 1 : take() % 4;
  uint32_t count = (uint32_t)fmin(fmax(tasks, 0), 40);
  if (how & 2) count = take() % (count + 1);
  for (uint32_t k = 0; k < count; k++) put_result(block, k, block->first + k);
  block->count = count;
  block->last = how & 1 ? block->first + fmax(tasks, 1) - 1 : block->first + count - 1;
  block->final = !(how & 4);
  if (how & 8) overwrite(block);
  if (how & 16) overwrite(block);
  if (how & 32) {
    slot->current = take_number(block->first);
    slot->out.open = slot->out.tail + 1;
    return;
  }
  slot_publish_out(slot);
  if (block->final && chunk) release_chunk(slot);
}

/* A result that travels in pieces. */
static void send_piece(struct slot *slot, uint32_t how)
{
  struct block *chunk = next_chunk(slot), *block = open_block(slot, chunk, BLOCK_PIECE);
  if (!block) return;
  uint64_t size = BLOCK_HEAD + 8 + take() * (how & 8 ? 4096 : 8);
  block->whole = how & 1 ? size : 0;
  block->count = how & 2 ? (uint32_t)size : take() * 64;
  struct block *inside = (struct block *)(void *)((char *)block + BLOCK_HEAD);
  memset(inside, 0, BLOCK_HEAD + 512);
  inside->kind = BLOCK_DENSE;
  inside->first = inside->last = take_number(block->first);
  inside->size = size;
  inside->count = 1;
  inside->word[0] = 7;
  if (how & 4) overwrite(inside);
  slot_publish_out(slot);
}

static void write_text(struct slot *slot, uint32_t how)
{
  static const char nothing[UINT8_MAX];
  uint32_t length = take(), mark = how & 1 ? length << 1 : 0;
  if (!(how & 1)) take_bytes(&mark, sizeof mark);
  slot_put_text(slot, slot->text_tail, &mark, sizeof mark);
  slot_put_text(slot, slot->text_tail + 4, nothing, length);
  slot->text_tail += how & 2 ? take() : 4 + length;
}

/* The cells that say where the worker is: a task and a chunk near the right ones, or any. */
static void set_present(struct slot *slot, uint32_t how)
{
  const struct block *chunk = next_chunk(slot);
  slot->current = take_number(chunk ? chunk->first : 1);
  if (how & 1) slot->inner = take_number(1);
  if (how & 2) slot->chunk += take() - 1;
}

/* One step of the input, of a worker that rings behind it. */
static void step(struct engine *engine)
{
  uint32_t op = take(), w = (op >> 7) % MOST_WORKERS, how = take();
  struct slot *slot = w < engine->workers ? engine->slots[w] : NULL;
  if (!slot || is_dead[w]) return;
  struct bell bell = hub_bell(&engine->hub, w);
  engine_note(engine, w); /* the ringing may be lost: see case 7 */
  switch (op & 7) {
  case 0:
  case 1: send_block(slot, how); break;
  case 2: send_piece(slot, how); break;
  case 3: set_present(slot, how); break;
  case 4: take_bytes((char *)slot + how * 4 % (sizeof *slot - 32), take() % 32); break;
  case 5: write_text(slot, how); break;
  case 6:
    is_dead[w] = true;
    statuses[w] = (int)how;
    break;
  default: take_bytes((char *)bell.beacon + how * 8 % (beacon_bytes(engine->workers) - 8), take() % 9); break;
  }
  bell_ring(&bell);
}

/* ---- the engine ---- */

static int fuzz_start(struct engine *engine, uint32_t w)
{
  (void)engine;
  is_dead[w] = at == end;
  statuses[w] = SIGKILL;
  return 0;
}

static int fuzz_end(struct engine *engine, uint32_t w)
{
  (void)engine;
  is_dead[w] = true;
  statuses[w] = SIGKILL;
  return 0;
}

static bool fuzz_ended(struct engine *engine, uint32_t w, int *status)
{
  (void)engine;
  *status = statuses[w];
  return is_dead[w];
}

static double fuzz_progress(struct engine *engine)
{
  uint32_t number;
  if (at < end) {
    step(engine);
    while (hub_next_ready(&engine->hub, &number)) engine_note(engine, number);
    return 0;
  }
  for (uint32_t w = 0; w < MOST_WORKERS; w++) {
    if (!is_dead[w]) fuzz_end(engine, w);
    engine_note(engine, w);
  }
  if (++looks > MOST_LOOKS) fail("the call does not end, though all workers are dead");
  return 0;
}

static const struct engine_kind fuzz_engine = {
    .name = "process",
    .can = {.kill = true, .inherit = true, .limit_memory = true},
    .rings_at_end = true,
    .own_bytes = 1,
    .start = fuzz_start,
    .end = fuzz_end,
    .ended = fuzz_ended,
    .progress = fuzz_progress,
};

/* Stands in for engine_find (--wrap). */
const struct engine_kind *__wrap_engine_find(const char *name);
const struct engine_kind *__wrap_engine_find(const char *name)
{
  (void)name;
  return &fuzz_engine;
}

/* ---- the target ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  (void)argc;
  (void)argv;
  L = state_new();
  if (!L) abort();
  lua_getglobal(L, "require");
  lua_pushliteral(L, "parlua");
  if (lua_pcall(L, 1, 0, 0) || luaL_loadfile(L, "fuzz/slot.lua") || lua_pcall(L, 0, MESSAGES + 1, 0))
    fail(lua_tostring(L, -1));
  for (int i = 0; i < MESSAGES; i++) messages[i].bytes = lua_tolstring(L, i + 2, &messages[i].length);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static unsigned inputs;
  at = bytes;
  end = bytes + length;
  looks = 0;
  lua_settop(L, MESSAGES + 1);
  lua_pushvalue(L, 1);
  for (int i = 0; i < 3; i++) lua_pushnumber(L, take());
  if (lua_pcall(L, 3, 1, 0)) fail(lua_tostring(L, -1));
  if (!lua_isnil(L, -1)) fail(lua_tostring(L, -1));
  lua_settop(L, MESSAGES + 1);
  if (++inputs % COLLECT_EVERY == 0) lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}
