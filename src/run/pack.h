/* pack.h - a block's words and values in a block that is no larger than they need. */
#ifndef PARLUA_PACK_H
#define PARLUA_PACK_H
#include <stdbool.h>

#include "slot/layout.h"

/* Does word `k` stand for a value elsewhere in the block? Then *offset is where, in bytes. */
bool pack_has_value(const struct block *block, uint64_t k, uint64_t *offset);
void pack_set_offset(struct block *block, uint64_t k, uint64_t offset);
/* Is one of `words` words from word `from` on a record? Records name places among the values of those before them. */
bool pack_has_record(const struct block *block, uint64_t from, uint64_t words);
/* The lowest byte of the values of `words` words from word `from` on, which are all below byte `end`; `end`: they have
 * none. */
uint64_t pack_lowest(const struct block *block, uint64_t from, uint64_t words, uint64_t end);
/* Copies `words` words from word `from` on to the beginning of `to`, whose header is filled in, and their values, which
 * lie between bytes `low` and `end`, to its end. */
void pack_copy(struct block *to, const struct block *block, uint64_t from, uint64_t words, uint64_t low, uint64_t end);

#endif
