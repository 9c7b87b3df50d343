/* pack.c - see pack.h. */
#include "run/pack.h"

#include <string.h>

bool pack_has_value(const struct block *block, uint64_t k, uint64_t *offset)
{
  uint64_t word;
  memcpy(&word, &block->word[k], sizeof word);
  int32_t tag = (int32_t)(word >> 32);
  *offset = (uint64_t)(uint32_t)word * 8;
  return tag <= TAG_STRING && tag > TAG_LOWEST && *offset + 8 <= block->size;
}

void pack_set_offset(struct block *block, uint64_t k, uint64_t offset)
{
  uint64_t word;
  memcpy(&word, &block->word[k], sizeof word);
  word = (word & ~(uint64_t)UINT32_MAX) | (uint32_t)(offset / 8);
  memcpy(&block->word[k], &word, sizeof word);
}

/* The word's tag. */
static int32_t tag_of(const struct block *block, uint64_t k)
{
  uint64_t word;
  memcpy(&word, &block->word[k], sizeof word);
  return (int32_t)(word >> 32);
}

bool pack_has_record(const struct block *block, uint64_t from, uint64_t words)
{
  for (uint64_t k = from; k < from + words; k++)
    if (tag_of(block, k) == TAG_RECORD) return true;
  return false;
}

uint64_t pack_lowest(const struct block *block, uint64_t from, uint64_t words, uint64_t end)
{
  uint64_t low = end, offset;
  if (pack_has_record(block, from, words)) return block->floor < end ? block->floor : end;
  for (uint64_t k = from; end > block->floor && k < from + words; k++)
    if (pack_has_value(block, k, &offset) && offset >= block->floor && offset < low) low = offset;
  return low;
}

/* A record, at byte `at`, names places in the block by itself (lua/parlua/wire/shape.lua): they have moved by `moved`
 * bytes. */
static void move_record(struct block *block, uint64_t at, uint64_t moved)
{
  uint32_t head[2];
  if (at < block->floor || at + sizeof head > block->size) return; /* it can't be one: reading finds that out */
  memcpy(head, (const char *)block + at, sizeof head);
  if (head[1] > (block->size - at) / 8 - 1) return;
  if (head[0] > 0) head[0] -= (uint32_t)(moved / 8);
  memcpy((char *)block + at, head, sizeof head);
  for (uint32_t field = 1; field <= head[1]; field++) {
    uint64_t word;
    char *place = (char *)block + at + 8 * (uint64_t)field;
    memcpy(&word, place, sizeof word);
    if ((int32_t)(word >> 32) != TAG_STRING) continue;
    word = (word & ~(uint64_t)UINT32_MAX) | (uint32_t)((uint32_t)word - (uint32_t)(moved / 8));
    memcpy(place, &word, sizeof word);
  }
}

void pack_copy(struct block *to, const struct block *block, uint64_t from, uint64_t words, uint64_t low, uint64_t end)
{
  uint64_t offset, moved = end - to->size;
  memcpy(to->word, block->word + from, words * 8);
  memcpy((char *)to + to->floor, (const char *)block + low, end - low);
  for (uint64_t k = 0; end > low && k < words; k++) {
    if (!pack_has_value(block, from + k, &offset)) continue;
    pack_set_offset(to, k, offset - moved);
    if (tag_of(block, from + k) == TAG_RECORD) move_record(to, offset - moved, moved);
  }
}
