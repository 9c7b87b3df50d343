/* bell.h - how workers tell a coordinator that sleeps, or is busy with others, whom to look at. A beacon is memory that
 * all of them share: a bit for each worker, and whether the coordinator sleeps. Ringing costs a load while the
 * coordinator has not yet looked since the last time, two atomic operations when it has, and a system call only when it
 * sleeps. docs/PROTOCOL.md ("Sleep") says why no ringing is lost. */
#ifndef PARLUA_BELL_H
#define PARLUA_BELL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  BEACON_SUMMARIES = 16,                               /* words, of which each bit stands for a word of `ready` */
  BEACON_MOST_NUMBERS = BEACON_SUMMARIES * 64 * 64 - 1 /* workers of one beacon; the last bit is the spare number */
};

struct beacon {
  uint32_t asleep; /* the coordinator sleeps, or is about to */
  uint32_t pad[15];
  uint64_t summary[BEACON_SUMMARIES]; /* bit k: something may be set in ready[k] */
  uint64_t ready[];                   /* bit by number: that worker has news */
};

/* One worker's way to the coordinator. */
struct bell {
  struct beacon *beacon;
  int fd;          /* eventfd on which the coordinator sleeps */
  uint32_t number; /* of the worker */
};

/* Bytes of a beacon for `numbers` workers. */
size_t beacon_bytes(uint32_t numbers);
/* Marks the worker as one with news, and wakes the coordinator if it sleeps. False: it would have been woken, but the
 * descriptor is not the bell's any more (a task has closed it); nothing was written. */
bool bell_ring(const struct bell *bell);

/* The coordinator's side: what was taken from the beacon, and is handed out one by one. */
struct beacon_reader {
  uint32_t words; /* of `ready`: nothing beyond is looked at, whatever stands in the shared memory */
  uint32_t summary_at, word_at;
  uint64_t summary, word;
};

/* A reader of a beacon for `numbers` workers, to which nothing was handed out yet. */
struct beacon_reader beacon_reader(uint32_t numbers);

/* A worker of this number may have been ended in the midst of ringing, with its bit set and not the summary's: those
 * that follow it would ring in vain. It is looked at once more. */
void beacon_mend(struct beacon *beacon, uint32_t number);
/* Has any worker news that was not handed out? */
bool beacon_has_news(const struct beacon *beacon, const struct beacon_reader *reader);
/* The next worker with news; false: there is none. What it did before it rang is visible afterwards. */
bool beacon_next(struct beacon *beacon, struct beacon_reader *reader, uint32_t *number);

#endif
