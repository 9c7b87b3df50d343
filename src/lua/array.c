/* array.c - see array.h. */
#include "lua/array.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums, least and largest ---- */

/* Elements of a block: its sum is of LANES sums, and the whole is the sum of the blocks' sums, so that the error grows
 * with the logarithm of the count. */
enum { BLOCK = 8192, LANES = 8, MOST_THREADS = 64 };

/* One block; with optimisation for vectors the lanes are registers. */
#define DEFINE_MOMENTS(name, type)                                                                          \
  static struct array_moments name(const void *elements, uint64_t count, bool extremes)                     \
  {                                                                                                         \
    const type *at = elements;                                                                              \
    double sums[LANES] = {0};                                                                               \
    type least = at[0], largest = at[0];                                                                    \
    bool is_odd = false;                                                                                    \
    uint64_t k = 0;                                                                                         \
    for (; k + LANES <= count; k += LANES) {                                                                \
      for (int lane = 0; lane < LANES; lane++) sums[lane] += (double)at[k + (uint64_t)lane];                \
    }                                                                                                       \
    for (; k < count; k++) sums[0] += (double)at[k];                                                        \
    double sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7])); \
    if (!extremes) return (struct array_moments){sum, 0, 0};                                                \
    for (k = 0; k < count; k++) {                                                                           \
      type value = at[k];                                                                                   \
      least = value < least ? value : least;                                                                \
      largest = value > largest ? value : largest;                                                          \
    }                                                                                                       \
    if (sum != sum)                                                                                         \
      for (k = 0; k < count; k++) is_odd |= at[k] != at[k];                                                 \
    return (struct array_moments){sum, is_odd ? NAN : (double)least, is_odd ? NAN : (double)largest};       \
  }

DEFINE_MOMENTS(moments_float, float)
DEFINE_MOMENTS(moments_double, double)
DEFINE_MOMENTS(moments_int8, int8_t)
DEFINE_MOMENTS(moments_int16, int16_t)
DEFINE_MOMENTS(moments_int32, int32_t)
DEFINE_MOMENTS(moments_int64, int64_t)
DEFINE_MOMENTS(moments_uint8, uint8_t)
DEFINE_MOMENTS(moments_uint16, uint16_t)
DEFINE_MOMENTS(moments_uint32, uint32_t)
DEFINE_MOMENTS(moments_uint64, uint64_t)

static const struct {
  struct array_moments (*of_block)(const void *elements, uint64_t count, bool extremes);
  size_t size;
} kinds[] = {
    [ARRAY_FLOAT] = {moments_float, 4},   [ARRAY_DOUBLE] = {moments_double, 8}, [ARRAY_INT8] = {moments_int8, 1},
    [ARRAY_INT16] = {moments_int16, 2},   [ARRAY_INT32] = {moments_int32, 4},   [ARRAY_INT64] = {moments_int64, 8},
    [ARRAY_UINT8] = {moments_uint8, 1},   [ARRAY_UINT16] = {moments_uint16, 2}, [ARRAY_UINT32] = {moments_uint32, 4},
    [ARRAY_UINT64] = {moments_uint64, 8},
};

/* What threads work on together: each takes the next block until none is left. */
struct work {
  int kind;
  bool extremes;
  const char *elements;
  uint64_t count, blocks, next;
  struct array_moments *of_blocks;
};

static void *take_blocks(void *argument)
{
  struct work *work = argument;
  size_t bytes = kinds[work->kind].size * (size_t)BLOCK;
  for (;;) {
    uint64_t block = __atomic_fetch_add(&work->next, 1, __ATOMIC_RELAXED);
    if (block >= work->blocks) return NULL;
    uint64_t left = work->count - block * BLOCK;
    work->of_blocks[block] =
        kinds[work->kind].of_block(work->elements + block * bytes, left < BLOCK ? left : BLOCK, work->extremes);
  }
}

/* The sum of so many blocks, by halves. */
static double sum_of(const struct array_moments *of_blocks, uint64_t count)
{
  if (count == 1) return of_blocks->sum;
  return sum_of(of_blocks, count / 2) + sum_of(of_blocks + count / 2, count - count / 2);
}

int array_moments(int kind, const void *elements, uint64_t count, int threads, bool extremes,
                  struct array_moments *result)
{
  pthread_t others[MOST_THREADS];
  int started = 0;
  if (kind < ARRAY_FLOAT || kind > ARRAY_UINT64 || count == 0) return -1;
  struct work work = {
      .kind = kind, .extremes = extremes, .elements = elements, .count = count, .blocks = (count + BLOCK - 1) / BLOCK};
  work.of_blocks = calloc(work.blocks, sizeof *work.of_blocks);
  if (!work.of_blocks) return -1;
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  while (started < threads - 1 && pthread_create(&others[started], NULL, take_blocks, &work) == 0) started++;
  take_blocks(&work);
  for (int i = 0; i < started; i++) pthread_join(others[i], NULL);
  *result = work.of_blocks[0];
  result->sum = sum_of(work.of_blocks, work.blocks);
  for (uint64_t block = 1; block < work.blocks; block++) {
    const struct array_moments *of = &work.of_blocks[block];
    if (of->least < result->least || of->least != of->least) result->least = of->least;
    if (of->largest > result->largest || of->largest != of->largest) result->largest = of->largest;
  }
  free(work.of_blocks);
  return 0;
}

/* ---- NaNs that Lua would take for something else ---- */

static const uint32_t plain_float = 0xffc00000, least_float = 0xff800000; /* the latter: minus infinity */
static const uint64_t plain_double = 0xfff8000000000000, least_double = 0xfff0000000000000;

static bool is_odd_float(uint32_t bits)
{
  return bits > least_float && bits != plain_float;
}

static bool is_odd_double(uint64_t bits)
{
  return bits > least_double && bits != plain_double;
}

bool array_has_odd_nans(bool is_double, const void *elements, uint64_t count)
{
  for (uint64_t begin = 0; begin < count; begin += BLOCK) {
    uint64_t n = count - begin < BLOCK ? count - begin : BLOCK;
    uint64_t found = 0;
    if (is_double) {
      const uint64_t *at = (const uint64_t *)elements + begin;
      for (uint64_t k = 0; k < n; k++) found |= is_odd_double(at[k]);
    } else {
      const uint32_t *at = (const uint32_t *)elements + begin;
      for (uint64_t k = 0; k < n; k++) found |= is_odd_float(at[k]);
    }
    if (found) return true;
  }
  return false;
}

void array_mend_nans(bool is_double, void *elements, uint64_t count)
{
  uint64_t *doubles = elements;
  uint32_t *floats = elements;
  for (uint64_t k = 0; k < count; k++) {
    if (is_double && is_odd_double(doubles[k])) doubles[k] = plain_double;
    if (!is_double && is_odd_float(floats[k])) floats[k] = plain_float;
  }
}
