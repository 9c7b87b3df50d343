/* job.c - see job.h. */
#include "lua/job.h"

#include <errno.h>
#include <string.h>

#include "slot/slot.h"

enum { BEFORE_OFFSET = BLOCK_HEAD + 24 }; /* behind the words */

uint64_t job_place(size_t before_length)
{
  return BEFORE_OFFSET + value_bytes(before_length);
}

/* Fills in word `k` of the message, whose value begins at byte `at` and has `length` bytes. The bytes follow its
 * length. */
static void set_word(struct buffer *job, int k, uint64_t at, uint64_t length)
{
  struct block *message = (struct block *)(void *)job->bytes;
  uint64_t word = (uint64_t)(uint32_t)TAG_VALUE << 32 | (uint32_t)(at / 8);
  memcpy(&message->word[k], &word, 8);
  memcpy(job->bytes + at, &length, 8);
}

int job_wrap(struct buffer *job, struct job_part before, struct job_part whole, uint64_t at, uint32_t number)
{
  uint64_t length = job->length - at - 8, whole_at = at + value_bytes(length);
  uint64_t size = whole_at + value_bytes(whole.length);
  if (buffer_reserve(job, size - job->length)) return ENOMEM;
  memset(job->bytes + job->length, 0, size - job->length);
  job->length = size;
  struct block *message = (struct block *)(void *)job->bytes;
  memset(message, 0, at);
  message->kind = BLOCK_JOB;
  message->chunk = message->job = number;
  message->size = size;
  message->floor = BEFORE_OFFSET;
  message->count = 3;
  set_word(job, 0, BEFORE_OFFSET, before.length);
  memcpy(job->bytes + BEFORE_OFFSET + 8, before.bytes, before.length);
  set_word(job, 1, at, length);
  set_word(job, 2, whole_at, whole.length);
  memcpy(job->bytes + whole_at + 8, whole.bytes, whole.length);
  return 0;
}
