/* map.c - see map.h. */
#include "lua/codec/map.h"

#include <stdlib.h>

enum {
  SMALLEST_BITS = 8,
  LARGEST_KEPT = 1 << 16 /* entries: larger maps (1.5 MB) are given back when they are emptied */
};

int map_grow(struct map *map)
{
  struct map bigger = {.generation = 1, .bits = map->entries ? map->bits + 1 : SMALLEST_BITS};
  bigger.entries = calloc((size_t)1 << bigger.bits, sizeof *bigger.entries);
  if (bigger.entries == NULL) return -1;
  for (size_t at = 0; map->entries && at < (size_t)1 << map->bits; at++) {
    if (map->entries[at].generation == map->generation) {
      *map_find(&bigger, map->entries[at].key) =
          (struct map_entry){map->entries[at].key, map->entries[at].value, bigger.generation};
      bigger.count++;
    }
  }
  free(map->entries);
  *map = bigger;
  return 0;
}

void map_free(struct map *map)
{
  free(map->entries);
  *map = (struct map){0};
}

void map_clear(struct map *map)
{
  if (map->entries && (size_t)1 << map->bits > LARGEST_KEPT) map_free(map);
  map->generation++;
  map->count = 0;
}
