/* balance.c - see balance.h. */
#include "run/balance.h"

#include <stdlib.h>

/* So many lanes are asked for a fresh key, at the most, before one is chosen. */
enum { MOST_LOOKS = 16 };

bool balance_init(struct balance *balance, uint32_t lanes)
{
  balance->count = 0;
  list_init(&balance->changed);
  balance->heap = calloc((size_t)lanes + 1, sizeof *balance->heap);
  return balance->heap != NULL;
}

void balance_free(struct balance *balance)
{
  free(balance->heap);
}

static void put_at(struct balance *balance, uint32_t at, struct lane *lane)
{
  balance->heap[at] = lane;
  lane->heap_at = at;
}

/* Moves the lane from place `at` to where it belongs. */
static void settle(struct balance *balance, uint32_t at, struct lane *lane)
{
  struct lane **heap = balance->heap;
  for (; at > 1 && heap[at / 2]->ends_at < lane->ends_at; at /= 2) put_at(balance, at, heap[at / 2]);
  for (uint32_t child; (child = 2 * at) <= balance->count; at = child) {
    if (child < balance->count && heap[child + 1]->ends_at > heap[child]->ends_at) child++;
    if (heap[child]->ends_at <= lane->ends_at) break;
    put_at(balance, at, heap[child]);
  }
  put_at(balance, at, lane);
}

static void take_out(struct balance *balance, struct lane *lane)
{
  uint32_t at = lane->heap_at;
  if (!at) return;
  lane->heap_at = 0;
  struct lane *last = balance->heap[balance->count--];
  if (last != lane) settle(balance, at, last);
}

void balance_note(struct balance *balance, struct lane *lane)
{
  if (!link_is_linked(&lane->changed)) list_append(&balance->changed, &lane->changed);
}

void balance_remove(struct balance *balance, struct lane *lane)
{
  link_remove(&lane->changed);
  take_out(balance, lane);
}

/* Gives the lane its place, or takes it out when it has nothing to give back. */
static void update(struct balance *balance, struct lane *lane, double now)
{
  double left = lane->is_asked || lane->ask_at > now ? 0 : lane->kind->left(lane, now);
  if (left <= 0) {
    take_out(balance, lane);
    return;
  }
  lane->ends_at = now + left;
  settle(balance, lane->heap_at ? lane->heap_at : ++balance->count, lane);
}

struct lane *balance_take(struct balance *balance, double now)
{
  struct lane *lane = NULL;
  for (struct link *link; (link = list_take(&balance->changed));)
    update(balance, LIST_OF(link, struct lane, changed), now);
  for (int i = 0; i < MOST_LOOKS && balance->count > 0 && balance->heap[1] != lane; i++) {
    lane = balance->heap[1];
    update(balance, lane, now);
  }
  lane = balance->count > 0 ? balance->heap[1] : NULL;
  if (lane) balance_remove(balance, lane);
  return lane;
}
