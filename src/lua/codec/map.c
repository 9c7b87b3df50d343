/* map.c - see map.h. */
#include "lua/codec/map.h"

#include <stdlib.h>

enum {
  SMALLEST_BITS = 8,
  LARGEST_KEPT = 1 << 16 /* entries: larger maps (1.5 MB) are given back when they are emptied */
};

unsigned map_next_bits(const struct map *map)
{
  return map->entries ? map->bits + 1 : SMALLEST_BITS;
}

void map_move(struct map *map, struct map_entry *entries, bool is_lent)
{
  struct map bigger = {.generation = 1, .bits = map_next_bits(map), .entries = entries, .is_lent = is_lent};
  for (size_t at = 0; map->entries && at < (size_t)1 << map->bits; at++) {
    if (map->entries[at].generation == map->generation) {
      *map_find(&bigger, map->entries[at].key) =
          (struct map_entry){map->entries[at].key, map->entries[at].value, bigger.generation};
      bigger.count++;
    }
  }
  map_free(map);
  *map = bigger;
}

int map_grow(struct map *map)
{
  struct map_entry *entries = calloc((size_t)1 << map_next_bits(map), sizeof *entries);
  if (entries == NULL) return -1;
  map_move(map, entries, false);
  return 0;
}

void map_free(struct map *map)
{
  if (!map->is_lent) free(map->entries);
  *map = (struct map){0};
}

void map_clear(struct map *map)
{
  if (map->entries && (size_t)1 << map->bits > LARGEST_KEPT) map_free(map);
  map->generation++;
  map->count = 0;
}
