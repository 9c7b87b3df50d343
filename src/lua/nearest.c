/* nearest.c - the nearest of some points to each of many: see array.h. */
#include <string.h>

#include "lua/array.h"

enum { TOGETHER = 16 }; /* so many points are compared at once: their distances stay in registers */

/* The same sums in the same order on every machine; wider registers where there are some. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

/* `turned` has the first coordinate of all points, then the second, and so on. */
#define DEFINE_NEAREST(name, type, integer)                                                                   \
  WIDE static void name##_of_some(const type *restrict turned, const type *restrict centres, uint64_t count,  \
                                  uint64_t width, type *restrict least, integer *restrict best)               \
  {                                                                                                           \
    for (uint64_t c = 0; c < count; c++, centres += width) {                                                  \
      type sums[TOGETHER] = {0};                                                                              \
      for (uint64_t d = 0; d < width; d++) {                                                                  \
        type at = centres[d];                                                                                 \
        const type *points = turned + d * TOGETHER;                                                           \
        for (int k = 0; k < TOGETHER; k++) sums[k] += (points[k] - at) * (points[k] - at);                    \
      }                                                                                                       \
      if (c == 0) {                                                                                           \
        memcpy(least, sums, sizeof sums);                                                                     \
        memset(best, 0, TOGETHER * sizeof *best);                                                             \
        continue;                                                                                             \
      }                                                                                                       \
      for (int k = 0; k < TOGETHER; k++) {                                                                    \
        best[k] = sums[k] < least[k] ? (integer)c : best[k];                                                  \
        least[k] = sums[k] < least[k] ? sums[k] : least[k];                                                   \
      }                                                                                                       \
    }                                                                                                         \
  }                                                                                                           \
                                                                                                              \
  static void name(const void *points_bytes, uint64_t n, const void *centres, uint64_t count, uint64_t width, \
                   void *turned_bytes, int32_t *numbers, void *distances_bytes)                               \
  {                                                                                                           \
    const type *points = points_bytes;                                                                        \
    type *turned = turned_bytes, *distances = distances_bytes, least[TOGETHER];                               \
    integer best[TOGETHER];                                                                                   \
    for (uint64_t first = 0; first < n; first += TOGETHER) {                                                  \
      uint64_t some = n - first < TOGETHER ? n - first : TOGETHER;                                            \
      if (some < TOGETHER) memset(turned, 0, width *TOGETHER * sizeof *turned);                               \
      for (uint64_t k = 0; k < some; k++)                                                                     \
        for (uint64_t d = 0; d < width; d++) turned[d * TOGETHER + k] = points[(first + k) * width + d];      \
      name##_of_some(turned, centres, count, width, least, best);                                             \
      for (uint64_t k = 0; k < some; k++) {                                                                   \
        numbers[first + k] = (int32_t)best[k] + 1;                                                            \
        distances[first + k] = least[k];                                                                      \
      }                                                                                                       \
    }                                                                                                         \
  }

DEFINE_NEAREST(nearest_float, float, int32_t)
DEFINE_NEAREST(nearest_double, double, int64_t)

uint64_t array_nearest_room(uint64_t width)
{
  return width * TOGETHER;
}

void array_nearest(bool is_double, const void *points, uint64_t n, const void *centres, uint64_t count, uint64_t width,
                   void *room, int32_t *numbers, void *distances)
{
  (is_double ? nearest_double : nearest_float)(points, n, centres, count, width, room, numbers, distances);
}
