/* convolve.c - convolution of arrays along one dimension, or the last two: see array.h.
 *
 * Each run of elements of the result is a weighted sum of runs of the source that are as long: of rows above and below
 * along one dimension, of the same row moved by one element and more along the last. So there is one inner loop, over
 * pointers to such runs. It keeps its sums in registers, and takes strips of columns that are narrow enough for all
 * rows of the kernel to stay in the first-level cache. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lua/array.h"
#include "lua/wide.h"

/* The place within 0 .. size - 1 of what stands for place `at` beyond the edge; -1: zeros do. */
static int64_t inside(int64_t at, int64_t size, int edge)
{
  if (at >= 0 && at < size) return at;
  switch (edge) {
  case EDGE_NEAREST: return at < 0 ? 0 : size - 1;
  case EDGE_WRAP: return ((at % size) + size) % size;
  case EDGE_REFLECT: /* d c b a | a b c d | d c b a */
    at = ((at % (2 * size)) + 2 * size) % (2 * size);
    return at < size ? at : 2 * size - 1 - at;
  default: return -1;
  }
}

enum {
  PACKS = 4,               /* vectors whose sums are worked out at once */
  CACHED_BYTES = 32 << 10, /* of the first-level cache, for what a strip reads */
  LEAST_STRIP = 128,       /* columns */
  MOST_STRIP = 512,
  NARROW = 64,     /* up to so many columns all are one run */
  LINE_BYTES = 64, /* of a cache */
  ROWS_AHEAD = 2
};

static int64_t least_of(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static int64_t largest_of(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

static int64_t strip_of(int64_t length, size_t size)
{
  int64_t columns = (int64_t)(CACHED_BYTES / size) / length;
  return largest_of(LEAST_STRIP, least_of(MOST_STRIP, columns));
}

/* Has the memory that a row takes asked for before it is needed: strips of rows lie in other pages each. */
static void prefetch(const char *bytes, int64_t length)
{
  for (int64_t at = 0; at < length; at += LINE_BYTES) __builtin_prefetch(bytes + at);
}

#define SUM_PACKS(name, type, packs)                                            \
  {                                                                             \
    name##_pack sums[packs];                                                    \
    memcpy(sums, runs[half] + c, sizeof sums);                                  \
    for (int p = 0; p < packs; p++) sums[p] *= kernel[half];                    \
    for (int64_t k = 1; k <= half; k++) {                                       \
      const type *below = runs[half - k] + c, *above = runs[half + k] + c;      \
      type left = kernel[half - k], right = kernel[half + k];                   \
      for (int p = 0; p < packs; p++) {                                         \
        name##_pack one, other;                                                 \
        memcpy(&one, below + p * name##_lanes, sizeof one);                     \
        memcpy(&other, above + p * name##_lanes, sizeof other);                 \
        sums[p] += is_even ? left * (one + other) : left * one + right * other; \
      }                                                                         \
    }                                                                           \
    memcpy(to + c, sums, sizeof sums);                                          \
  }

#define DEFINE_CONVOLVE(name, type)                                                                                 \
  typedef type name##_pack __attribute__((vector_size(PACK_BYTES)));                                                \
  enum { name##_lanes = PACK_BYTES / sizeof(type), name##_together = PACKS * name##_lanes };                        \
                                                                                                                    \
  struct name##_job {                                                                                               \
    const type *from;                                                                                               \
    type *to, *kernel, *padded, *zeros;                                                                             \
    const type **runs; /* for each value of the kernel what it is multiplied with */                                \
    int64_t size, columns, length, half;                                                                            \
    int edge;                                                                                                       \
    bool is_even; /* the kernel is the same both ways: one multiplication does for two runs */                      \
  };                                                                                                                \
                                                                                                                    \
  static inline __attribute__((always_inline)) void name##_sum_of(const type *const *runs, type *to, int64_t count, \
                                                                  const type *kernel, int64_t half, bool is_even)   \
  {                                                                                                                 \
    int64_t c = 0;                                                                                                  \
    for (; c + name##_together <= count; c += name##_together) SUM_PACKS(name, type, PACKS)                         \
    for (; c + name##_lanes <= count; c += name##_lanes) SUM_PACKS(name, type, 1)                                   \
    if (c < count && count >= name##_lanes) {                                                                       \
      c = count - name##_lanes; /* some of them again */                                                            \
      SUM_PACKS(name, type, 1)                                                                                      \
      return;                                                                                                       \
    }                                                                                                               \
    for (; c < count; c++) {                                                                                        \
      type sum = kernel[half] * runs[half][c];                                                                      \
      for (int64_t k = 1; k <= half; k++) {                                                                         \
        type one = runs[half - k][c], other = runs[half + k][c];                                                    \
        sum += is_even ? kernel[half - k] * (one + other) : kernel[half - k] * one + kernel[half + k] * other;      \
      }                                                                                                             \
      to[c] = sum;                                                                                                  \
    }                                                                                                               \
  }                                                                                                                 \
                                                                                                                    \
  WIDE void name##_sum_any(const type *const *runs, type *to, int64_t count, const type *kernel, int64_t half,      \
                           bool is_even)                                                                            \
  {                                                                                                                 \
    if (is_even)                                                                                                    \
      name##_sum_of(runs, to, count, kernel, half, true);                                                           \
    else                                                                                                            \
      name##_sum_of(runs, to, count, kernel, half, false);                                                          \
  }                                                                                                                 \
  WIDE_FUNCTION(name##_sum,                                                                                         \
                (const type *const *runs, type *to, int64_t count, const type *kernel, int64_t half, bool is_even), \
                (runs, to, count, kernel, half, is_even))                                                           \
                                                                                                                    \
  /* Row i of the convolution across rows, from column `begin` on. */                                               \
  static void name##_across(const struct name##_job *job, int64_t i, int64_t begin, int64_t count, type *to)        \
  {                                                                                                                 \
    for (int64_t k = 0; k < job->length; k++) {                                                                     \
      int64_t row = inside(i + k - job->half, job->size, job->edge);                                                \
      job->runs[k] = row < 0 ? job->zeros : job->from + row * job->columns + begin;                                 \
    }                                                                                                               \
    int64_t next = i + job->half + ROWS_AHEAD;                                                                      \
    if (next < job->size)                                                                                           \
      prefetch((const char *)(job->from + next * job->columns + begin), count *(int64_t)sizeof(type));              \
    name##_sum(job->runs, to, count, job->kernel, job->half, job->is_even);                                         \
  }                                                                                                                 \
                                                                                                                    \
  /* The convolution within one run of `size` times `columns` elements, of which `columns` are side by side. At the \
   * ends, what stands beyond them is written out. */                                                               \
  static void name##_along(const struct name##_job *job, const type *from, type *to, int64_t size, int64_t columns) \
  {                                                                                                                 \
    int64_t half = job->half, strip = largest_of(MOST_STRIP / columns, 1);                                          \
    for (int64_t begin = 0; begin < size; begin += strip) {                                                         \
      int64_t n = least_of(size - begin, strip);                                                                    \
      bool is_inner = begin >= half && begin + n + half <= size;                                                    \
      const type *first = is_inner ? from + (begin - half) * columns : job->padded;                                 \
      if (!is_inner) {                                                                                              \
        for (int64_t i = -half; i < n + half; i++) {                                                                \
          int64_t at = inside(begin + i, size, job->edge);                                                          \
          for (int64_t c = 0; c < columns; c++)                                                                     \
            job->padded[(i + half) * columns + c] = at < 0 ? 0 : from[at * columns + c];                            \
        }                                                                                                           \
      }                                                                                                             \
      for (int64_t k = 0; k < job->length; k++) job->runs[k] = first + k * columns;                                 \
      name##_sum(job->runs, to + begin * columns, n * columns, job->kernel, half, job->is_even);                    \
    }                                                                                                               \
  }                                                                                                                 \
                                                                                                                    \
  /* Across rows. */                                                                                                \
  static void name##_one(const struct name##_job *job)                                                              \
  {                                                                                                                 \
    int64_t strip = strip_of(job->length, sizeof(type));                                                            \
    for (int64_t begin = 0; begin < job->columns; begin += strip)                                                   \
      for (int64_t i = 0; i < job->size; i++)                                                                       \
        name##_across(job, i, begin, least_of(strip, job->columns - begin), job->to + i * job->columns + begin);    \
  }                                                                                                                 \
                                                                                                                    \
  /* Across rows, then within each. */                                                                              \
  static void name##_both(const struct name##_job *job)                                                             \
  {                                                                                                                 \
    int64_t columns = job->columns, half = job->half, strip = strip_of(job->length, sizeof(type));                  \
    if (job->edge == EDGE_WRAP || half > strip) strip = columns; /* what is beyond the edge is within the strip */  \
    for (int64_t begin = 0; begin < columns; begin += strip) {                                                      \
      int64_t end = least_of(begin + strip, columns);                                                               \
      int64_t first = largest_of(begin - half, 0), behind = least_of(end + half, columns);                          \
      for (int64_t i = 0; i < job->size; i++) {                                                                     \
        type *row = job->padded + half;                                                                             \
        name##_across(job, i, first, behind - first, row + first);                                                  \
        for (int64_t c = begin - half; c < 0; c++) {                                                                \
          int64_t at = inside(c, columns, job->edge);                                                               \
          row[c] = at < 0 ? 0 : row[at];                                                                            \
        }                                                                                                           \
        for (int64_t c = columns; c < end + half; c++) {                                                            \
          int64_t at = inside(c, columns, job->edge);                                                               \
          row[c] = at < 0 ? 0 : row[at];                                                                            \
        }                                                                                                           \
        for (int64_t k = 0; k < job->length; k++) job->runs[k] = row + begin - half + k;                            \
        name##_sum(job->runs, job->to + i * columns + begin, end - begin, job->kernel, half, job->is_even);         \
      }                                                                                                             \
    }                                                                                                               \
  }                                                                                                                 \
                                                                                                                    \
  static int name(const void *from, void *to, const uint64_t shape[3], bool both, const double *factors,            \
                  uint64_t length, int edge)                                                                        \
  {                                                                                                                 \
    struct name##_job job = {.from = from,                                                                          \
                             .to = to,                                                                              \
                             .size = (int64_t)shape[1],                                                             \
                             .columns = (int64_t)shape[2],                                                          \
                             .length = (int64_t)length,                                                             \
                             .half = (int64_t)length / 2,                                                           \
                             .edge = edge,                                                                          \
                             .is_even = true};                                                                      \
    size_t columns = (size_t)job.columns, run = largest_of(MOST_STRIP, job.columns);                                \
    job.kernel = malloc(length * sizeof(type));                                                                     \
    job.runs = malloc(length * sizeof *job.runs);                                                                   \
    job.zeros = calloc(columns, sizeof(type));                                                                      \
    job.padded = malloc((run + length * (both || columns > NARROW ? 1 : columns)) * sizeof(type));                  \
    int error = job.kernel && job.runs && job.zeros && job.padded ? 0 : ENOMEM;                                     \
    for (uint64_t k = 0; !error && k < length; k++) {                                                               \
      job.kernel[k] = (type)factors[k];                                                                             \
      job.is_even &= factors[k] == factors[length - 1 - k];                                                         \
    }                                                                                                               \
    for (uint64_t outer = 0; !error && outer < shape[0]; outer++) {                                                 \
      if (both)                                                                                                     \
        name##_both(&job);                                                                                          \
      else if (job.columns <= NARROW)                                                                               \
        name##_along(&job, job.from, job.to, job.size, job.columns);                                                \
      else                                                                                                          \
        name##_one(&job);                                                                                           \
      job.from += job.size * job.columns;                                                                           \
      job.to += job.size * job.columns;                                                                             \
    }                                                                                                               \
    free(job.kernel);                                                                                               \
    free(job.runs);                                                                                                 \
    free(job.zeros);                                                                                                \
    free(job.padded);                                                                                               \
    return error;                                                                                                   \
  }

DEFINE_CONVOLVE(convolve_float, float)
DEFINE_CONVOLVE(convolve_double, double)

int array_convolve(bool is_double, const void *from, void *to, const uint64_t shape[3], bool both, const double *kernel,
                   uint64_t length, int edge)
{
  if (length % 2 == 0) return EINVAL;
  return (is_double ? convolve_double : convolve_float)(from, to, shape, both, kernel, length, edge);
}
