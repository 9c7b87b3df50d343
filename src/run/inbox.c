/* inbox.c - see inbox.h. */
#include "run/inbox.h"

#include <math.h>
#include <string.h>

#include "run/dispatch.h"

double plausible_seconds(double seconds)
{
  static const double most = 1e9;
  return seconds >= 0 && seconds < most ? seconds : 0;
}

static void free_whole(struct inbox *inbox)
{
  payload_drop(NULL, inbox->whole);
  inbox->whole = NULL;
}

void inbox_clear(struct inbox *inbox)
{
  free_whole(inbox);
  *inbox = (struct inbox){0};
}

void inbox_release(struct inbox *inbox, struct slot *slot)
{
  if (inbox->given == GIVEN_CLOSED) {
    slot_release_results(slot);
    inbox->from = 0;
  } else if (inbox->given == GIVEN_WHOLE) {
    free_whole(inbox);
  }
  inbox->given = GIVEN_NOTHING;
}

/* ---- bounds ---- */

/* Pairs where pairs are expected; elsewhere only the one that says why the job could not be begun. */
static bool kind_fits(const struct lane *lane, const struct block *block)
{
  return block->kind == (lane->crew->options->sparse ? BLOCK_SPARSE : BLOCK_DENSE) ||
         (block->kind == BLOCK_SPARSE && block->first == 0);
}

/* Do the pairs of a block, from `from` on, belong to tasks up to `last` of the chunk, each to one? Task 0 stands for
 * the job. */
static bool pairs_fit(const struct work *work, const struct block *block, uint32_t from, uint32_t count, double last)
{
  double before = work->reached;
  if (block->first == 0) { /* why the job could not be begun */
    uint64_t word;
    memcpy(&word, &block->word[1], sizeof word);
    return count == 1 && block->word[0] == 0 && (int32_t)(word >> 32) == TAG_FAILURE;
  }
  for (uint32_t k = from; k < count; k++) {
    double index = block->word[2 * k];
    if (!(index > before && index <= last) || index != floor(index)) return false;
    before = index;
  }
  return true;
}

/* Does a closed block continue what was reported of the lane's first work? */
static bool block_fits(const struct inbox *inbox, const struct lane *lane, const struct block *block)
{
  const struct work *work = lane_first(lane);
  double last = block->last;
  if (block->chunk != work->number || !block_is_sound(block) || !kind_fits(lane, block) || block->count < inbox->from)
    return false;
  if (!(last >= work->reached && last <= work->bound) || last != floor(last)) return false;
  if (block->kind == BLOCK_SPARSE) return pairs_fit(work, block, inbox->from, block->count, last);
  return block->first + inbox->from == work->reached + 1 && block->count == last - block->first + 1;
}

bool inbox_is_whole(const struct lane *lane, const struct block *block, uint64_t size)
{
  bool is_kind = lane->crew->options->sparse ? block->kind == BLOCK_SPARSE && block->word[0] == block->first
                                             : block->kind == BLOCK_DENSE;
  return is_kind && block->size == size && block->count == 1 && block->first == block->last;
}

/* Is the large block what can follow: the result of the next task? */
static bool whole_fits(const struct inbox *inbox, const struct lane *lane)
{
  const struct block *block = &inbox->whole->block;
  const struct work *work = lane_first(lane);
  return inbox_is_whole(lane, block, inbox->whole_size) && block->last == work->reached + 1 &&
         block->last <= work->bound;
}

bool inbox_lacks_end(const struct lane *lane, const struct slot *slot)
{
  const struct work *work = lane_first(lane);
  return work && work->is_complete && slot_is_released(slot, work->place) && channel_filled(&slot->out) == 0;
}

/* ---- results ---- */

static void report(const struct inbox *inbox, struct work *work, struct outcome *outcome, struct block *block,
                   uint32_t count, double last)
{
  *outcome =
      (struct outcome){.kind = OUTCOME_RESULTS, .work = work, .block = block, .from = inbox->from, .count = count};
  outcome->last = last;
  outcome->fresh = fmax(last - work->reached, 0);
  work->reached = fmax(last, work->reached);
}

/* Adds a piece to the large block. Where there is no memory for it, its pieces are passed over. */
static enum inbox_state join_piece(struct inbox *inbox, const struct block *piece, bool lends)
{
  uint64_t size = piece->whole, count = piece->count;
  if (size) {
    if (size <= BLOCK_HEAD + 8) return INBOX_DAMAGED;
    free_whole(inbox);
    inbox->whole = lends ? payload_lent(size) : payload_of(size);
    inbox->is_dropped = !inbox->whole;
    inbox->whole_have = 0;
    inbox->whole_size = size;
  }
  if ((!inbox->whole && !inbox->is_dropped) || count > inbox->whole_size - inbox->whole_have) return INBOX_DAMAGED;
  if (inbox->whole) memcpy((char *)&inbox->whole->block + inbox->whole_have, (const char *)piece + BLOCK_HEAD, count);
  inbox->whole_have += count;
  return inbox->whole_have == inbox->whole_size ? INBOX_OUTCOME : INBOX_EMPTY;
}

static enum inbox_state take_piece(struct inbox *inbox, struct lane *lane, struct slot *slot, const struct block *piece,
                                   struct outcome *outcome)
{
  struct work *work = lane_first(lane);
  bool is_sound = block_is_sound(piece) && piece->chunk == work->number;
  enum inbox_state state = is_sound ? join_piece(inbox, piece, lane->crew->options->lends_results) : INBOX_DAMAGED;
  slot_release_results(slot);
  inbox->from = 0;
  if (state != INBOX_OUTCOME) return state;
  if (inbox->is_dropped) {
    if (work->reached >= work->bound) return INBOX_DAMAGED;
    inbox->is_dropped = false;
    *outcome = (struct outcome){.kind = OUTCOME_UNHELD, .work = work, .task = ++work->reached};
    return INBOX_OUTCOME;
  }
  if (!whole_fits(inbox, lane)) return INBOX_DAMAGED;
  report(inbox, work, outcome, &inbox->whole->block, 1, inbox->whole->block.last);
  outcome->whole = inbox->whole;
  inbox->given = GIVEN_WHOLE;
  return INBOX_OUTCOME;
}

static enum inbox_state take_closed(struct inbox *inbox, struct lane *lane, struct block *block,
                                    struct outcome *outcome)
{
  struct work *work = lane_first(lane);
  if (!block_fits(inbox, lane, block)) return INBOX_DAMAGED;
  report(inbox, work, outcome, block, block->count - inbox->from, block->last);
  outcome->is_final = block->final != 0;
  outcome->seconds = plausible_seconds(block->seconds);
  inbox->given = GIVEN_CLOSED;
  return INBOX_OUTCOME;
}

enum inbox_state inbox_next(struct inbox *inbox, struct lane *lane, struct slot *slot, struct outcome *outcome)
{
  for (struct block *block; (block = slot_results(slot));) {
    if (lane->count == 0) { /* of tasks that were given up */
      slot_release_results(slot);
      inbox->from = 0;
      continue;
    }
    if (block->kind != BLOCK_PIECE) return take_closed(inbox, lane, block, outcome);
    enum inbox_state state = take_piece(inbox, lane, slot, block, outcome);
    if (state != INBOX_EMPTY) return state;
  }
  return INBOX_EMPTY;
}

enum inbox_state inbox_partial(struct inbox *inbox, struct lane *lane, struct slot *slot, struct outcome *outcome)
{
  struct work *work = lane_first(lane);
  struct present present = slot_present(slot);
  bool is_open;
  struct block *block = slot_look_at_results(slot, 0, &is_open);
  if (!block || !is_open || !work || present.chunk != work->number || block->chunk != work->number) return INBOX_EMPTY;
  double first = block->first, current = present.task;
  /* it may have come to the task behind its end, which it does not begin */
  if (!(current > first && current - 1 <= work->bound) || current - 1 <= work->reached) return INBOX_EMPTY;
  if (!kind_fits(lane, block)) return INBOX_EMPTY;
  uint32_t count;
  if (block->kind == BLOCK_SPARSE) {
    count = __atomic_load_n(&block->count, __ATOMIC_ACQUIRE);
    if (count < inbox->from || count > (BLOCK_BYTES - BLOCK_HEAD) / 16) return INBOX_EMPTY;
    if (count > inbox->from && block->word[2 * (count - 1)] == current) count--; /* it is not through with that task */
    if (!pairs_fit(work, block, inbox->from, count, current - 1)) return INBOX_EMPTY;
  } else {
    if (first + inbox->from != work->reached + 1 || current - first > (BLOCK_BYTES - BLOCK_HEAD) / 8)
      return INBOX_EMPTY;
    count = (uint32_t)(current - first);
  }
  report(inbox, work, outcome, block, count - inbox->from, current - 1);
  inbox->from = count;
  return INBOX_OUTCOME;
}
