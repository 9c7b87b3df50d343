/* array.h - loops over the elements of arrays that are worth being C: lua/parlua/array/c.lua has the same declarations.
 */
#ifndef PARLUA_ARRAY_H
#define PARLUA_ARRAY_H
#include <stdbool.h>
#include <stdint.h>

/* As in lua/parlua/array/kinds.lua. */
enum array_kind {
  ARRAY_FLOAT = 1,
  ARRAY_DOUBLE,
  ARRAY_INT8,
  ARRAY_INT16,
  ARRAY_INT32,
  ARRAY_INT64,
  ARRAY_UINT8,
  ARRAY_UINT16,
  ARRAY_UINT32,
  ARRAY_UINT64
};

struct array_moments {
  double sum, least, largest; /* the last two are NaN where an element is */
};

/* The sum and, with `extremes`, the least and the largest of `count` elements of that kind, one behind the other, by up
 * to `threads` threads. Sums are made of blocks that depend on nothing but the count: they are the same to the bit,
 * however many threads there are. Returns 0, or -1: there is no such kind. */
int array_moments(int kind, const void *elements, uint64_t count, int threads, bool extremes,
                  struct array_moments *result);

/* Lua takes NaNs whose sign is set, and more than the highest bit of their fraction, for values of other types; and
 * arithmetic sets that highest bit. So of NaNs with a sign only the plain one may come to it from outside. Are there
 * others among `count` floats, or doubles? */
bool array_has_odd_nans(bool is_double, const void *elements, uint64_t count);
/* Puts a plain NaN in the place of each. */
void array_mend_nans(bool is_double, void *elements, uint64_t count);

/* What stands beyond the edges of what is convolved. */
enum array_edge { EDGE_REFLECT, EDGE_NEAREST, EDGE_ZERO, EDGE_WRAP };

/* Convolves along the middle dimension of three, with a kernel of an odd `length`: to[.., i, ..] is the sum of
 * kernel[k] * from[.., i + k - length / 2, ..]. With `both` then along the last one, too, with the same kernel: what is
 * between is kept a row at a time. Elements are doubles or floats; `to` is other memory. Returns 0 or an errno. */
int array_convolve(bool is_double, const void *from, void *to, const uint64_t shape[3], bool both, const double *kernel,
                   uint64_t length, int edge);

/* For each of n points, of `width` coordinates each, the number (from 1) of the nearest of `count` centres, and the
 * square of its distance; of equally near ones the first. Points, centres and distances are doubles or floats. `room`
 * is for array_nearest_room(width) of them. */
uint64_t array_nearest_room(uint64_t width);
void array_nearest(bool is_double, const void *points, uint64_t n, const void *centres, uint64_t count, uint64_t width,
                   void *room, int32_t *numbers, void *distances);
#endif
