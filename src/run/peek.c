/* peek.c - see peek.h. */
#include "run/peek.h"

#include <math.h>
#include <string.h>

#include "run/inbox.h"
#include "run/state.h"

enum { SPAWNED_STREAM = 0 }; /* of the text that tells what tasks have spawned: lua/parlua/worker/spawn.lua */

uint32_t dispatch_lanes(const struct dispatch *d)
{
  return d->lanes_count;
}

static const struct work *work_of_chunk(const struct lane *lane, uint32_t chunk)
{
  for (const struct link *link = lane->held.next; link != &lane->held; link = link->next) {
    const struct work *work = LIST_OF(link, struct work, link);
    if (work->number == chunk) return work;
  }
  return NULL;
}

/* How many words or pairs of a block may be read, of tasks up to `last`; -1: what stands there can't be. A closed block
 * has its bounds checked, as in inbox.c; of an open one, what has its place there. */
static int64_t readable(const struct lane *lane, const struct block *block, bool is_open, double last)
{
  static const double most_words = (BLOCK_BYTES - BLOCK_HEAD) / 8;
  bool is_sparse = block->kind == BLOCK_SPARSE;
  if (is_sparse != lane->crew->options->sparse || block->first < 1) return -1;
  if (!is_open && (!block_is_sound(block) || (!is_sparse && block->count != last - block->first + 1))) return -1;
  double count = is_sparse ? (double)__atomic_load_n(&block->count, __ATOMIC_ACQUIRE) : last - block->first + 1;
  return count >= 0 && count * (is_sparse ? 2 : 1) <= most_words ? (int64_t)count : -1;
}

/* Puts a large block together whose pieces lie in the slot from the k-th block on. Returns how many pieces it has; 0:
 * they are not all there, because there was no room for them or the script has taken some. */
static uint32_t join_pieces(struct slot *slot, uint32_t k, struct buffer *whole)
{
  bool is_open;
  const struct block *piece = slot_look_at_results(slot, k, &is_open);
  uint64_t size = piece->whole;
  uint32_t pieces = 0;
  if (size <= BLOCK_HEAD + 8 || size > (uint64_t)CHANNEL_BLOCKS * BLOCK_BYTES) return 0;
  whole->length = 0;
  if (buffer_reserve(whole, size) != 0) return 0;
  while (whole->length < size) {
    piece = slot_look_at_results(slot, k + pieces, &is_open);
    if (!piece || is_open || piece->kind != BLOCK_PIECE || !block_is_sound(piece)) return 0;
    if ((pieces > 0 && piece->whole) || piece->count > size - whole->length) return 0;
    memcpy(whole->bytes + whole->length, (const char *)piece + BLOCK_HEAD, piece->count);
    whole->length += piece->count;
    pieces++;
  }
  return pieces;
}

/* What is new in one block. `whole`: bytes of a large one; else 0. `present`: what the worker was in before it was
 * looked which block is open. False: nothing, or nothing that can be shown. */
static bool show(const struct lane *lane, struct block *block, bool is_open, uint64_t whole,
                 const struct present *present, const struct peeked *peeked, struct glimpse *glimpse)
{
  uint32_t chunk = block->chunk;
  const struct work *work = work_of_chunk(lane, chunk);
  if (!work || (block->kind != BLOCK_DENSE && block->kind != BLOCK_SPARSE)) return false;
  if (is_open && present->chunk != chunk) return false;
  if (peeked->chunk && (int32_t)(chunk - peeked->chunk) < 0) return false; /* a lane's chunks have ascending numbers */
  double last = is_open ? present->task - 1 : block->last;
  double seen = fmax(work->reached, peeked->chunk == chunk ? peeked->task : 0);
  if (!(last > seen && last <= work->bound) || last != floor(last) || block->first > seen + 1) return false;
  int64_t count = !whole ? readable(lane, block, is_open, last) : inbox_is_whole(lane, block, whole) ? 1 : -1;
  if (count < 0) return false;
  *glimpse = (struct glimpse){.block = block, .first = seen + 1, .last = last, .count = (uint32_t)count};
  glimpse->chunk = chunk;
  glimpse->attempt = work->attempt;
  glimpse->worker = lane->crew->options->base + lane->number + 1;
  return true;
}

bool dispatch_peek(const struct dispatch *d, uint32_t number, const struct peeked *peeked, struct buffer *whole,
                   struct glimpse *glimpse)
{
  const struct lane *lane = dispatch_lane(d, number);
  struct block *block;
  bool is_open;
  if (lane->kind != &lane_over_slot || lane->state == LANE_EMPTY || lane->state == LANE_CLOSED) return false;
  struct slot *slot = d->engine->slots[lane->number];
  if (!slot || lane->cause == LOST_DAMAGED) return false;
  struct present present = slot_present(slot); /* by then a later one may have its result in a later block */
  for (uint32_t k = 0; (block = slot_look_at_results(slot, k, &is_open)); k++) {
    uint32_t pieces = !is_open && block->kind == BLOCK_PIECE ? join_pieces(slot, k, whole) : 0;
    if (pieces == 0 && block->kind == BLOCK_PIECE) return false; /* what lies behind waits, too */
    if (pieces > 0) {
      block = (struct block *)(void *)whole->bytes;
      k += pieces - 1;
    }
    /* what a task has spawned is there before its result */
    if (show(lane, block, is_open, pieces > 0 ? whole->length : 0, &present, peeked, glimpse))
      return !slot_has_text_of(slot, SPAWNED_STREAM);
  }
  return false;
}
