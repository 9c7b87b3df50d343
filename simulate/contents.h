/* contents.h - what tasks are given and what they give, as it stands in blocks. */
#ifndef SIMULATE_CONTENTS_H
#define SIMULATE_CONTENTS_H
#include "plan.h"
#include "slot/layout.h"

/* Puts the argument of `task` into the block, as its word number k. */
void put_argument(const struct plan *plan, struct block *block, uint64_t k, double task);
/* Bytes of a block with arguments of so many tasks. */
uint64_t arguments_bytes(const struct plan *plan, double first, double count);
/* The supplied argument of a task, as it stands in a worker's chunk: is it the right one? */
bool argument_is_right(const struct block *chunk, double task);
/* A word of a block of results, and what it stands for, are what this try of the task gave. */
void check_result(const struct block *block, const double *word, double task, uint32_t attempt);
/* The word that stands for a failed task's result. */
double failed_word(double task);

#endif
