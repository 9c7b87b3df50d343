/* bell.c - see bell.h. */
#include "sys/bell.h"

#include <sys/stat.h>
#include <unistd.h>

size_t beacon_bytes(uint32_t numbers)
{
  return sizeof(struct beacon) + ((size_t)numbers / 64 + 1) * sizeof(uint64_t);
}

struct beacon_reader beacon_reader(uint32_t numbers)
{
  return (struct beacon_reader){.words = numbers / 64 + 1};
}

/* Is it still an eventfd? A task may have closed all descriptors, and opened a file that has got the number. What is no
 * file, pipe, socket or device, but made by a call such as eventfd, has no type. */
static bool is_bell(int fd)
{
  struct stat info;
  return fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) == 0;
}

bool bell_ring(const struct bell *bell)
{
  static const uint64_t one = 1;
  struct beacon *beacon = bell->beacon;
  uint32_t word = bell->number / 64;
  uint64_t bit = (uint64_t)1 << bell->number % 64;
  if (!(__atomic_load_n(&beacon->ready[word], __ATOMIC_SEQ_CST) & bit)) {
    __atomic_fetch_or(&beacon->ready[word], bit, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&beacon->summary[word / 64], (uint64_t)1 << word % 64, __ATOMIC_SEQ_CST);
  }
  if (!__atomic_load_n(&beacon->asleep, __ATOMIC_SEQ_CST)) return true;
  if (!__atomic_exchange_n(&beacon->asleep, 0, __ATOMIC_SEQ_CST)) return true;
  if (!is_bell(bell->fd)) return false;
  ssize_t ignored = write(bell->fd, &one, sizeof one);
  (void)ignored; /* full counter: it is awake anyway */
  return true;
}

void beacon_mend(struct beacon *beacon, uint32_t number)
{
  uint32_t word = number / 64;
  __atomic_fetch_or(&beacon->summary[word / 64], (uint64_t)1 << word % 64, __ATOMIC_SEQ_CST);
}

bool beacon_has_news(const struct beacon *beacon, const struct beacon_reader *reader)
{
  if (reader->summary || reader->word) return true;
  for (uint32_t i = 0; i < BEACON_SUMMARIES; i++)
    if (__atomic_load_n(&beacon->summary[i], __ATOMIC_SEQ_CST)) return true;
  return false;
}

bool beacon_next(struct beacon *beacon, struct beacon_reader *reader, uint32_t *number)
{
  while (!reader->word) {
    for (uint32_t i = 0; !reader->summary && i < BEACON_SUMMARIES; i++) {
      if (!__atomic_load_n(&beacon->summary[i], __ATOMIC_RELAXED)) continue;
      reader->summary = __atomic_exchange_n(&beacon->summary[i], 0, __ATOMIC_SEQ_CST);
      reader->summary_at = i;
    }
    if (!reader->summary) return false;
    uint32_t bit = (uint32_t)__builtin_ctzll(reader->summary);
    reader->summary &= reader->summary - 1;
    reader->word_at = reader->summary_at * 64 + bit;
    if (reader->word_at >= reader->words) continue;
    reader->word = __atomic_exchange_n(&beacon->ready[reader->word_at], 0, __ATOMIC_SEQ_CST);
  }
  *number = reader->word_at * 64 + (uint32_t)__builtin_ctzll(reader->word);
  reader->word &= reader->word - 1;
  return true;
}
