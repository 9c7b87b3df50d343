/* map.h - a map from addresses to numbers: open addressing, emptied by moving on to the next generation. All zero is an
 * empty map.
 */
#ifndef PARLUA_CODEC_MAP_H
#define PARLUA_CODEC_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_entry {
  const void *key;
  size_t value;
  size_t generation;
};

struct map {
  struct map_entry *entries;
  size_t generation;
  size_t count;
  unsigned bits;
  bool is_lent; /* the entries' memory is somebody else's */
};

/* Makes room for one more key. Returns 0, or -1 when memory is out. */
int map_grow(struct map *map);
/* The same with memory of the caller's, which stays the caller's: 2 ^ map_next_bits() entries, all zero. */
void map_move(struct map *map, struct map_entry *entries, bool is_lent);
unsigned map_next_bits(const struct map *map);
/* Empties the map, at no cost unless it has become large. */
void map_clear(struct map *map);
void map_free(struct map *map);

/* The entry of `key`, or the empty entry where it belongs. The map has at least one empty entry. */
static inline struct map_entry *map_find(const struct map *map, const void *key)
{
  size_t mask = ((size_t)1 << map->bits) - 1;
  /* the upper bits of the product are the well mixed ones */
  size_t at = (size_t)(((uint64_t)(uintptr_t)key * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - map->bits));
  while (map->entries[at].generation == map->generation && map->entries[at].key != key) at = (at + 1) & mask;
  return &map->entries[at];
}

/* Is there room for one more key? The load is kept under three quarters. */
static inline bool map_has_room(const struct map *map)
{
  return map->entries && map->count < ((size_t)3 << map->bits) / 4;
}

/* Makes room for one more key. Returns 0, or -1 when memory is out. */
static inline int map_reserve(struct map *map)
{
  return map_has_room(map) ? 0 : map_grow(map);
}

/* Turns an entry that map_find returned as empty into one for `key`. */
static inline void map_put(struct map *map, struct map_entry *entry, const void *key, size_t value)
{
  *entry = (struct map_entry){key, value, map->generation};
  map->count++;
}

/* The entry of a key that is there, or NULL. */
static inline struct map_entry *map_get(const struct map *map, const void *key)
{
  if (map->count == 0) return NULL;
  struct map_entry *entry = map_find(map, key);
  return entry->generation == map->generation ? entry : NULL;
}

#endif
