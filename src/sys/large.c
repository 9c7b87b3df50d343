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
  MOST_KEPT = 8,         /* pieces of memory that were given back */
  MOST_BYTES = 64 << 20, /* all together */
  WASTE = 8              /* one is taken for another size if less than one part of so many is lost */
};

/* What was given back; its length stands at its beginning. */
static _Atomic(size_t *) kept[MOST_KEPT];
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
  for (int i = 0; i < MOST_KEPT; i++) atomic_store(&kept[i], NULL);
  atomic_store(&kept_bytes, 0);
}

static void watch_forks(void)
{
  pthread_atfork(NULL, NULL, forget);
}

/* Keeps memory of `length` bytes; false: there is enough. */
static bool keep(size_t *memory, size_t length)
{
  static pthread_once_t watched = PTHREAD_ONCE_INIT;
  if (atomic_fetch_add(&kept_bytes, length) + length <= MOST_BYTES) {
    pthread_once(&watched, watch_forks);
    memory[0] = length;
    if (madvise(memory, length, MADV_DONTFORK) == 0) {
      for (int i = 0; i < MOST_KEPT; i++) {
        size_t *nothing = NULL;
        if (atomic_compare_exchange_strong(&kept[i], &nothing, memory)) return true;
      }
    }
  }
  atomic_fetch_sub(&kept_bytes, length);
  return false;
}

/* Takes one out of those that are kept. */
static size_t *take_kept(int i)
{
  size_t *memory = atomic_exchange(&kept[i], NULL);
  if (memory) atomic_fetch_sub(&kept_bytes, memory[0]);
  return memory;
}

/* Memory of about `length` bytes out of what is kept; exactly so many are its own then. NULL: there is none. */
static size_t *take_fitting(size_t length)
{
  for (int i = 0; i < MOST_KEPT; i++) {
    size_t *memory = take_kept(i);
    if (!memory) continue;
    size_t has = memory[0];
    if (has >= length && has - length <= length / WASTE && madvise(memory, has, MADV_DOFORK) == 0) {
      if (has > length) munmap((char *)memory + length, has - length);
      return memory;
    }
    if (!keep(memory, has)) munmap(memory, has);
  }
  return NULL;
}

/* There is no memory: what is kept is given to the system. Returns whether there was any. */
static bool give_up_kept(void)
{
  bool had = false;
  for (int i = 0; i < MOST_KEPT; i++) {
    size_t *memory = take_kept(i);
    if (!memory) continue;
    munmap(memory, memory[0]);
    had = true;
  }
  return had;
}

/* ---- new memory ---- */

/* Maps `length` bytes that begin with a huge page; MAP_FAILED: there is no memory. */
static char *map(size_t length)
{
  int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
  char *place = mmap(NULL, length + LARGE_BYTES, protection, flags, -1, 0);
  if (place == MAP_FAILED) return mmap(NULL, length, protection, flags, -1, 0); /* a limit leaves no more */
  size_t before = -(uintptr_t)place & (LARGE_BYTES - 1);
  if (before) munmap(place, before);
  munmap(place + before + length, LARGE_BYTES - before);
  madvise(place + before, length, MADV_HUGEPAGE);
  return place + before;
}

/* The same; what is kept counts as none. */
static char *map_new(size_t length)
{
  char *memory = map(length);
  return memory == MAP_FAILED && give_up_kept() ? map(length) : memory;
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
