/* peeks.c - see peeks.h. */
#include "peeks.h"

#include <string.h>

#include "contents.h"
#include "ledger.h"
#include "memory.h"
#include "run/peek.h"
#include "world.h"

static struct peeked *seen; /* by lane */
static uint32_t room;
static struct buffer whole;

void peeks_begin(void)
{
  memset(seen, 0, room * sizeof *seen);
}

void peeks_end(void)
{
  buffer_free(&whole);
}

static void make_room(uint32_t lanes)
{
  if (lanes <= room) return;
  seen = memory_own(seen, lanes * sizeof *seen);
  memset(seen + room, 0, (lanes - room) * sizeof *seen);
  room = lanes;
}

/* The task's word in a block of pairs; NULL: nothing was kept of it. */
static const double *word_of(const struct glimpse *glimpse, double task)
{
  const double *words = glimpse->block->word;
  for (uint32_t k = 0; k < glimpse->count; k++)
    if (words[2 * k] == task) return &words[2 * k + 1];
  return NULL;
}

static void check(const struct glimpse *glimpse)
{
  const struct block *block = glimpse->block;
  for (double task = glimpse->first; task <= glimpse->last; task++) {
    const double *word =
        block->kind == BLOCK_SPARSE ? word_of(glimpse, task) : &block->word[(uint32_t)(task - block->first)];
    ledger_glimpse(task, glimpse->attempt);
    if (word)
      check_result(block, word, task, glimpse->attempt);
    else if (plan_is_kept(ledger_plan(), task, glimpse->attempt))
      fault("what task %g gave is not to be seen", task);
  }
}

void peeks_look(const struct dispatch *d)
{
  struct glimpse glimpse;
  make_room(dispatch_lanes(d));
  for (uint32_t w = 0; w < dispatch_lanes(d); w++)
    while (dispatch_peek(d, w, &seen[w], &whole, &glimpse)) {
      check(&glimpse);
      seen[w] = (struct peeked){.chunk = glimpse.chunk, .task = glimpse.last};
    }
}
