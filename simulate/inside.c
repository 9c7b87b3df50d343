/* inside.c - see inside.h. */
#include "inside.h"

#include <stdbool.h>

#include "run/state.h"
#include "system.h"
#include "world.h"

/* What a lane wants. One without a worker has nothing to do, and stays in its list when it has got a worker until it
 * has got work.
 */
enum wanting { WANTS_NOTHING, WANTS_ALL, WANTS_MORE, WANTINGS };

static const char *const list_names[WANTINGS] = {"", "with nothing to do", "with less than they want"};

static enum wanting wanting_of(const struct lane *lane)
{
  if (lane->state == LANE_EMPTY) return WANTS_ALL;
  if (lane->state != LANE_READY) return WANTS_NOTHING;
  if (lane->count == 0) return WANTS_ALL;
  return lane->kind->wants(lane) > 0 ? WANTS_MORE : WANTS_NOTHING;
}

/* What a rank wants comes in its messages, and counts from its lane's next turn on. */
static bool is_known(const struct lane *lane)
{
  return !lane->kind->is_rank;
}

/* The members of a list all belong there; returns how many they are. */
static uint32_t members(const struct link *list, enum wanting wanting)
{
  uint32_t count = 0;
  for (const struct link *link = list->next; link != list; link = link->next) {
    const struct lane *lane = LIST_OF(link, const struct lane, place);
    if (!is_known(lane)) continue;
    count++;
    if (wanting_of(lane) != wanting) fault("lane %u is among those %s", (unsigned)lane->number, list_names[wanting]);
  }
  return count;
}

/* A worker with a slot has one chunk that runs and one behind it, so that it need not wait for the next; where the
 * script has made chunks very short, more. */
static void check_depth(const struct lane *lane)
{
  enum { DEPTH = 2 };
  if (lane->kind != &lane_over_slot) return;
  uint32_t most = lane->crew->options->chunk > 0 ? CHANNEL_BLOCKS : DEPTH;
  bool wants_more = lane->kind->wants(lane) > 0;
  if ((lane->count < DEPTH && !wants_more) || (lane->count >= most && wants_more))
    fault("lane %u holds %u chunks and wants %u more", (unsigned)lane->number, (unsigned)lane->count,
          (unsigned)lane->kind->wants(lane));
}

/* A lane that had nothing to give back is asked again after 16 ms at the latest (ending.c). */
static void check_asked_again(const struct lane *lane)
{
  static const double longest = 0.02;
  double waits = lane->ask_at - world.now - system_ahead();
  if (waits > longest) fault("lane %u is not asked for work for %.3g s", (unsigned)lane->number, waits);
}

/* The lane that will be done last stands on top, and so on downward. */
static void check_heap(const struct balance *balance)
{
  for (uint32_t i = 1; i <= balance->count; i++) {
    const struct lane *lane = balance->heap[i];
    if (lane->heap_at != i)
      fault("lane %u is not where it says in the heap of lanes with work", (unsigned)lane->number);
    if (i > 1 && balance->heap[i / 2]->ends_at < lane->ends_at)
      fault("lane %u has more work than the one above it in the heap", (unsigned)lane->number);
  }
}

void inside_check(const struct dispatch *d)
{
  uint32_t wanting[WANTINGS] = {0}, busy = 0, asked = 0, needed = 0, closed = 0, works = 0;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    const struct lane *lane = dispatch_lane(d, w);
    if (is_known(lane)) wanting[wanting_of(lane)]++;
    if (lane->state == LANE_READY) check_depth(lane);
    check_asked_again(lane);
    busy += dispatch_is_busy(lane);
    asked += lane->is_asked;
    closed += lane->state == LANE_CLOSED;
    uint32_t held = 0;
    for (const struct link *link = lane->held.next; link != &lane->held; link = link->next, held++)
      needed += LIST_OF(link, const struct work, link)->is_needed;
    works += held;
    if (held != lane->count)
      fault("lane %u holds %u works and counts %u", (unsigned)w, (unsigned)held, (unsigned)lane->count);
  }
  uint32_t listed[WANTINGS] = {0};
  listed[WANTS_ALL] = members(&d->empty, WANTS_ALL) + members(&d->idle, WANTS_ALL);
  listed[WANTS_MORE] = members(&d->hungry, WANTS_MORE);
  for (enum wanting i = WANTS_ALL; i < WANTINGS; i++)
    if (wanting[i] != listed[i])
      fault("%u lanes are %s, %u are listed as such", (unsigned)wanting[i], list_names[i], (unsigned)listed[i]);
  if (busy != d->busy) fault("%u lanes are busy, %u are counted", (unsigned)busy, (unsigned)d->busy);
  if (asked != d->wishes) fault("%u lanes were asked for work, %u are counted", (unsigned)asked, (unsigned)d->wishes);
  if (needed != d->needed) fault("%u works are needed, %u are counted", (unsigned)needed, (unsigned)d->needed);
  if (closed != d->closed) fault("%u lanes are closed, %u are counted", (unsigned)closed, (unsigned)d->closed);
  works += d->asked ? 2 : 0; /* one that is about to be made; each has another that stands ready */
  if (works != d->queue.store.reserved)
    fault("%u works stand ready, %u are needed", (unsigned)d->queue.store.reserved, (unsigned)works);
  check_heap(&d->balance);
}

void inside_rise(struct dispatch *d)
{
  d->chunks.rises = UINT32_MAX / 2;
}
