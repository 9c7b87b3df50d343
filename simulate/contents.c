/* contents.c - see contents.h. */
#include "contents.h"

#include <string.h>

#include "ledger.h"
#include "slot/slot.h"
#include "world.h"

/* ---- arguments ---- */

/* Bytes of a task's argument, which is a string; 0: it is a number. Large ones travel in pieces. */
static uint64_t string_bytes(const struct plan *plan, double task)
{
  enum { SHORT = 24, LARGE = BLOCK_BYTES / 2, SPREAD = 4 * BLOCK_BYTES };
  uint64_t hash = hash_of(plan->seed + 8, (uint64_t)task);
  if (plan_is_large(plan, task)) return LARGE + hash % SPREAD;
  return hash % 4 == 0 ? SHORT : 0;
}

static unsigned char string_byte(double task)
{
  return (unsigned char)((uint64_t)task % 251);
}

void put_argument(const struct plan *plan, struct block *block, uint64_t k, double task)
{
  uint64_t length = string_bytes(plan, task), bits;
  if (length == 0) {
    block->word[k] = task;
    return;
  }
  block->floor -= value_bytes(length);
  memcpy((char *)block + block->floor, &length, sizeof length);
  memset((char *)block + block->floor + 8, string_byte(task), length);
  bits = (uint64_t)(uint32_t)TAG_STRING << 32 | (uint32_t)(block->floor / 8);
  memcpy(&block->word[k], &bits, sizeof bits);
}

bool argument_is_right(const struct block *chunk, double task)
{
  uint64_t k = (uint64_t)(task - chunk->origin), bits, length, expected = string_bytes(ledger_plan(), task);
  if (chunk->width != 1 || task < chunk->origin || k >= chunk->count) return false;
  if (expected == 0) return chunk->word[k] == task;
  memcpy(&bits, &chunk->word[k], sizeof bits);
  if ((int32_t)(bits >> 32) != TAG_STRING) return false;
  const unsigned char *value = (const unsigned char *)chunk + (uint64_t)(uint32_t)bits * 8;
  memcpy(&length, value, sizeof length);
  return length == expected && value[8] == string_byte(task) && value[8 + length - 1] == string_byte(task);
}

uint64_t arguments_bytes(const struct plan *plan, double first, double count)
{
  uint64_t bytes = BLOCK_HEAD + 8 * (uint64_t)count;
  for (double task = first; task < first + count; task++)
    bytes += string_bytes(plan, task) > 0 ? value_bytes(string_bytes(plan, task)) : 0;
  return bytes;
}

/* ---- results ---- */

double failed_word(double task)
{
  uint64_t bits = (uint64_t)(uint32_t)TAG_FAILURE << 32 | (uint32_t)task;
  double word;
  memcpy(&word, &bits, sizeof word);
  return word;
}

static bool is_failure(double word)
{
  uint64_t bits;
  memcpy(&bits, &word, sizeof bits);
  return (int32_t)(bits >> 32) == TAG_FAILURE;
}

/* The value that a word of the block stands for is all of its task's, and lies in the block. */
static void check_value(const struct block *block, const double *word, double task)
{
  uint64_t bits, length;
  memcpy(&bits, word, sizeof bits);
  uint64_t at = (uint64_t)(uint32_t)bits * 8;
  if (at < BLOCK_HEAD || at + sizeof length > block->size)
    fault("the value of task %g lies outside of its block", task);
  const char *value = (const char *)block + at;
  memcpy(&length, value, sizeof length);
  value += sizeof length;
  if (length == 0 || length > block->size - at - sizeof length)
    fault("the value of task %g is longer than its block", task);
  if (value[0] != (char)task || memcmp(value, value + 1, length - 1) != 0)
    fault("the value of task %g was overwritten", task);
}

void check_result(const struct block *block, const double *word, double task, uint32_t attempt)
{
  const struct plan *plan = ledger_plan();
  enum fate fate = plan_fate(plan, task, attempt);
  bool is_large = plan_is_large(plan, task);
  if (fate != FATE_ERROR && !is_large && *word != plan_value(plan, task, attempt))
    fault("task %g has another's result", task);
  if (fate == FATE_ERROR && !is_failure(*word)) fault("task %g has a result, though it failed", task);
  if (fate == FATE_ERROR || is_large) check_value(block, word, task);
}
