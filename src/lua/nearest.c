/* nearest.c - the nearest of some points to each of many: see array.h. */
#include <string.h>

#include "lua/array.h"
#include "lua/wide.h"

/* Points whose distances are worked out at once stay in registers: PACKS vectors. Written with vectors, as compilers
 * take the loop over coordinates to vectorize, which costs five times as much. */
enum { PACKS = 4 };

/* `turned` has, for each coordinate in turn, that of all points. A comparison of vectors gives -1 where it holds. */
#define DEFINE_NEAREST(name, type, integer)                                                                         \
  typedef type name##_pack __attribute__((vector_size(PACK_BYTES)));                                                \
  typedef integer name##_numbers __attribute__((vector_size(PACK_BYTES)));                                          \
  enum { name##_together = PACKS * PACK_BYTES / sizeof(type) };                                                     \
                                                                                                                    \
  WIDE void name##_of_some_any(const type *turned, const type *centres, uint64_t count, uint64_t width,             \
                               type *distances, integer *numbers)                                                   \
  {                                                                                                                 \
    name##_pack least[PACKS] = {0};                                                                                 \
    name##_numbers best[PACKS] = {0};                                                                               \
    for (uint64_t c = 0; c < count; c++, centres += width) {                                                        \
      name##_pack sums[PACKS] = {0};                                                                                \
      for (uint64_t d = 0; d < width; d++)                                                                          \
        for (int k = 0; k < PACKS; k++) {                                                                           \
          name##_pack points;                                                                                       \
          memcpy(&points, turned + d * name##_together + k * (name##_together / PACKS), sizeof points);             \
          points -= centres[d];                                                                                     \
          sums[k] += points * points;                                                                               \
        }                                                                                                           \
      for (int k = 0; k < PACKS; k++) {                                                                             \
        name##_numbers nearer = c == 0 ? ~(name##_numbers){0} : sums[k] < least[k];                                 \
        least[k] = (name##_pack)(((name##_numbers)sums[k] & nearer) | ((name##_numbers)least[k] & ~nearer));        \
        best[k] = ((integer)c & nearer) | (best[k] & ~nearer);                                                      \
      }                                                                                                             \
    }                                                                                                               \
    memcpy(distances, least, sizeof least);                                                                         \
    memcpy(numbers, best, sizeof best);                                                                             \
  }                                                                                                                 \
  WIDE_FUNCTION(                                                                                                    \
      name##_of_some,                                                                                               \
      (const type *turned, const type *centres, uint64_t count, uint64_t width, type *distances, integer *numbers), \
      (turned, centres, count, width, distances, numbers))                                                          \
                                                                                                                    \
  static void name(const void *points_bytes, uint64_t n, const void *centres, uint64_t count, uint64_t width,       \
                   void *turned_bytes, int32_t *numbers, void *distances_bytes)                                     \
  {                                                                                                                 \
    const type *points = points_bytes;                                                                              \
    type *turned = turned_bytes, *distances = distances_bytes, least[name##_together];                              \
    integer best[name##_together];                                                                                  \
    for (uint64_t first = 0; first < n; first += name##_together) {                                                 \
      uint64_t some = n - first < name##_together ? n - first : name##_together;                                    \
      if (some < name##_together) memset(turned, 0, width *name##_together * sizeof *turned);                       \
      for (uint64_t k = 0; k < some; k++)                                                                           \
        for (uint64_t d = 0; d < width; d++) turned[d * name##_together + k] = points[(first + k) * width + d];     \
      name##_of_some(turned, centres, count, width, least, best);                                                   \
      for (uint64_t k = 0; k < some; k++) {                                                                         \
        numbers[first + k] = (int32_t)best[k] + 1;                                                                  \
        distances[first + k] = least[k];                                                                            \
      }                                                                                                             \
    }                                                                                                               \
  }

DEFINE_NEAREST(nearest_float, float, int32_t)
DEFINE_NEAREST(nearest_double, double, int64_t)

uint64_t array_nearest_room(uint64_t width)
{
  return width * nearest_float_together; /* the larger */
}

void array_nearest(bool is_double, const void *points, uint64_t n, const void *centres, uint64_t count, uint64_t width,
                   void *room, int32_t *numbers, void *distances)
{
  (is_double ? nearest_double : nearest_float)(points, n, centres, count, width, room, numbers, distances);
}
