/* large.c - see large.h. */
#include "sys/large.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/huge.h"

enum {
  MOST_KEPT = 64,         /* pieces of memory that were given back */
  MOST_BYTES = 128 << 20, /* all together */
  OWN_BYTES = 64 << 20,   /* of these; the others are the system's for the taking */
  WASTE = 8               /* one is taken for another size if less than one part of so many is lost */
};

/* What was given back. Who has put `busy` in the place of `memory` may read and write `length`. */
static struct {
  _Atomic(char *) memory;
  size_t length;
} kept[MOST_KEPT];
static char busy[1];
static atomic_size_t kept_bytes;

/* Bytes that are mapped for memory of `size` bytes; 0: more than there can be. */
static size_t mapped(size_t size)
{
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (size > SIZE_MAX / 2) return 0;
  size = huge_length(size);
  return (size + page - 1) / page * page;
}

/* ---- what is kept ---- */

/* In a forked process, which has none of it. */
static void forget(void)
{
  for (int i = 0; i < MOST_KEPT; i++) atomic_store(&kept[i].memory, NULL);
  atomic_store(&kept_bytes, 0);
}

static void watch_forks(void)
{
  pthread_atfork(NULL, NULL, forget);
}

/* Keeps memory of `length` bytes; false: there is enough. */
static bool keep(char *memory, size_t length)
{
  static pthread_once_t watched = PTHREAD_ONCE_INIT;
  size_t all = atomic_fetch_add(&kept_bytes, length) + length;
  if (all <= MOST_BYTES) {
    pthread_once(&watched, watch_forks);
    for (int i = 0; i < MOST_KEPT; i++) {
      char *nothing = NULL;
      if (!atomic_compare_exchange_strong(&kept[i].memory, &nothing, busy)) continue;
      bool is_kept = madvise(memory, length, MADV_DONTFORK) == 0;
      if (is_kept && all > OWN_BYTES) madvise(memory, length, MADV_FREE);
      kept[i].length = length;
      atomic_store(&kept[i].memory, is_kept ? memory : NULL);
      if (is_kept) return true;
      break;
    }
  }
  atomic_fetch_sub(&kept_bytes, length);
  return false;
}

/* Takes one out of those that are kept, if its length is from `least` to `most`; NULL: it is not. */
static char *take_kept(int i, size_t least, size_t most, size_t *length)
{
  char *memory = atomic_load_explicit(&kept[i].memory, memory_order_relaxed);
  if (!memory || memory == busy || !atomic_compare_exchange_strong(&kept[i].memory, &memory, busy)) return NULL;
  *length = kept[i].length;
  bool fits = *length >= least && *length <= most;
  atomic_store(&kept[i].memory, fits ? NULL : memory);
  if (!fits) return NULL;
  atomic_fetch_sub(&kept_bytes, *length);
  return memory;
}

/* Memory of about `length` bytes out of what is kept; exactly so many are its own then. NULL: there is none. */
static char *take_fitting(size_t length)
{
  for (int i = 0; i < MOST_KEPT; i++) {
    size_t has;
    char *memory = take_kept(i, length, length + length / WASTE, &has);
    if (!memory) continue;
    if (madvise(memory, has, MADV_DOFORK) == 0) {
      if (has > length) munmap(memory + length, has - length);
      return memory;
    }
    munmap(memory, has);
  }
  return NULL;
}

bool large_give_up(void)
{
  bool had = false;
  for (int i = 0; i < MOST_KEPT; i++) {
    size_t length;
    char *memory = take_kept(i, 0, SIZE_MAX, &length);
    if (!memory) continue;
    munmap(memory, length);
    had = true;
  }
  return had;
}

/* ---- new memory ---- */

/* Maps `length` bytes where LuaJIT's values can point to: their addresses have 47 bits. On x86-64 all memory of a
 * program is there. Elsewhere the system is asked for a place. */
static char *map_low(size_t length)
{
  int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef __x86_64__
  return mmap(NULL, length, protection, flags, -1, 0);
#else
  enum { TRIES = 1000 };
  static _Atomic uintptr_t next = (uintptr_t)1 << 40;
  const uintptr_t step = (uintptr_t)1 << 30, end = (uintptr_t)1 << 47;
  for (int i = 0; i < TRIES; i++) {
    uintptr_t wish = atomic_fetch_add(&next, (length + LARGE_BYTES - 1) & ~(size_t)(LARGE_BYTES - 1));
    char *place = mmap((void *)(wish % (end / 2)), length, protection, flags, -1, 0);
    if (place == MAP_FAILED || ((uintptr_t)place < end && length <= end - (uintptr_t)place)) return place;
    munmap(place, length);
    atomic_fetch_add(&next, step);
  }
  return MAP_FAILED;
#endif
}

char *large_map(size_t length)
{
  char *place = map_low(length + LARGE_BYTES);
  if (place == MAP_FAILED) return map_low(length); /* a limit leaves no more */
  size_t before = -(uintptr_t)place & (LARGE_BYTES - 1);
  if (before) munmap(place, before);
  munmap(place + before + length, LARGE_BYTES - before);
  return place + before;
}

/* The same in huge pages. */
static char *map(size_t length)
{
  char *place = large_map(length);
  if (place != MAP_FAILED) madvise(place, length, MADV_HUGEPAGE);
  return place;
}

/* The same; what is kept counts as none. */
static char *map_new(size_t length)
{
  char *memory = map(length);
  return memory == MAP_FAILED && large_give_up() ? map(length) : memory;
}

void *large_new(size_t size)
{
  size_t length = mapped(size);
  if (length == 0) return NULL;
  void *memory = take_fitting(length);
  if (memory) return memory;
  memory = map_new(length);
  return memory == MAP_FAILED ? NULL : memory;
}

/* Moves `length` bytes of pages to a place. Not by mremap: UCX, over which MPI libraries send, puts a function of four
 * parameters in its stead, which forgets the place. */
static bool move(void *memory, size_t length, void *place)
{
  return syscall(SYS_mremap, memory, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, place) == (long)(uintptr_t)place;
}

void *large_resize(void *memory, size_t old, size_t size)
{
  size_t before = mapped(old), length = mapped(size);
  if (length == 0) return NULL;
  if (length <= before) {
    if (length < before) munmap((char *)memory + length, before - length);
    return memory;
  }
  char *place = map_new(length);
  if (place == MAP_FAILED) return NULL;
  if (!move(memory, before, place)) {
    munmap(place, length);
    return NULL;
  }
  return place;
}

void large_free(void *memory, size_t size)
{
  size_t length = mapped(size);
  if (!keep(memory, length)) munmap(memory, length);
}

void large_expect(void *memory, size_t size)
{
  size_t before = -(uintptr_t)memory & (LARGE_BYTES - 1);
  if (size < before + LARGE_BYTES) return;
  madvise((char *)memory + before, (size - before) & ~(size_t)(LARGE_BYTES - 1), MADV_HUGEPAGE);
}
