/* lent.c - see lent.h. */
#include "sys/lent.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/huge.h"

enum {
  PAGE = 4096,
  ALIGNED = 2 << 20,      /* so that huge pages fit */
  MOST_LENT = 64,         /* each is a descriptor; beyond that there is none */
  MOST_KEPT = 16,         /* that were given back, */
  MOST_BYTES = 128 << 20, /* all together */
  WASTE = 8               /* one is taken for another size if less than one part of so many is lost */
};

/* At the beginning of the page in front of the memory. */
struct lent {
  size_t length;
  struct lender by; /* a forked copy of the process may not use it */
  bool is_borrowed;
};
_Static_assert(sizeof(struct lent) <= PAGE - LENT_HEAD, "the caller's head stands behind it");

static _Atomic(struct lent *) kept[MOST_KEPT];
static atomic_size_t kept_bytes;
static atomic_int lent_count;

static char *memory_of(struct lent *lent)
{
  return (char *)lent + PAGE;
}

static struct lent *lent_of(const void *memory)
{
  return (struct lent *)(void *)((char *)(uintptr_t)memory - PAGE);
}

static void end(struct lent *lent)
{
  int file = lent->by.file;
  munmap(lent, PAGE + lent->length);
  close(file);
  atomic_fetch_sub(&lent_count, 1);
}

static bool keep(struct lent *lent)
{
  if (atomic_fetch_add(&kept_bytes, lent->length) + lent->length <= MOST_BYTES)
    for (int i = 0; i < MOST_KEPT; i++) {
      struct lent *nothing = NULL;
      if (atomic_compare_exchange_strong(&kept[i], &nothing, lent)) return true;
    }
  atomic_fetch_sub(&kept_bytes, lent->length);
  return false;
}

/* One of about `length` bytes out of those that are kept; NULL: there is none. */
static struct lent *take_kept(size_t length)
{
  for (int i = 0; i < MOST_KEPT; i++) {
    struct lent *lent = atomic_exchange(&kept[i], NULL);
    if (!lent) continue;
    atomic_fetch_sub(&kept_bytes, lent->length);
    if (lent->by.pid != getpid()) continue; /* the other process has it too */
    if (lent->length >= length && lent->length <= length + length / WASTE) return lent;
    if (!keep(lent)) end(lent);
  }
  return NULL;
}

/* Maps the file behind a page of this process's own. */
static struct lent *map(int file, size_t length, int protection)
{
  char *place = mmap(NULL, ALIGNED + length + ALIGNED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return NULL;
  char *memory = place + ALIGNED - (uintptr_t)place % ALIGNED, *end_of = place + ALIGNED + length + ALIGNED;
  if (memory - place < PAGE) memory += ALIGNED;
  const int flags = MAP_FIXED | MAP_NORESERVE;
  char *head = mmap(memory - PAGE, PAGE, PROT_READ | PROT_WRITE, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (head == MAP_FAILED || mmap(memory, length, protection, flags | MAP_SHARED, file, 0) == MAP_FAILED) {
    munmap(place, (size_t)(end_of - place));
    return NULL;
  }
  if (head > place) munmap(place, (size_t)(head - place));
  if (end_of > memory + length) munmap(memory + length, (size_t)(end_of - memory - (ptrdiff_t)length));
  return (struct lent *)(void *)head;
}

static struct lent *make(size_t length)
{
  int file = memfd_create("parlua-lent", MFD_CLOEXEC);
  struct lent *lent =
      file >= 0 && ftruncate(file, (off_t)length) == 0 ? map(file, length, PROT_READ | PROT_WRITE) : NULL;
  if (!lent) {
    if (file >= 0) close(file);
    return NULL;
  }
  *lent = (struct lent){.length = length, .by = {getpid(), file}};
  huge_fill(memory_of(lent), length);
  return lent;
}

void *lent_new(size_t size)
{
  if (size > SIZE_MAX / 4) return NULL;
  size_t length = (huge_length(size) + PAGE - 1) / PAGE * PAGE;
  struct lent *lent = take_kept(length);
  if (lent) return memory_of(lent);
  if (atomic_fetch_add(&lent_count, 1) < MOST_LENT && access("/proc/self/fd", R_OK | X_OK) == 0) lent = make(length);
  if (!lent) atomic_fetch_sub(&lent_count, 1);
  return lent ? memory_of(lent) : NULL;
}

void *lent_borrow(struct lender lender, size_t size)
{
  size_t length = (size + PAGE - 1) / PAGE * PAGE;
  int file = lent_open(lender);
  struct lent *lent = file >= 0 ? map(file, length, PROT_READ) : NULL;
  if (file >= 0) close(file);
  if (!lent) return NULL;
  *lent = (struct lent){.length = length, .by = lender, .is_borrowed = true};
  return memory_of(lent);
}

struct lender lent_by(const void *memory)
{
  return lent_of(memory)->by;
}

void lent_free(void *memory)
{
  struct lent *lent = lent_of(memory);
  if (lent->is_borrowed)
    munmap(lent, PAGE + lent->length);
  else if (!keep(lent))
    end(lent);
}

int lent_open(struct lender lender)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", lender.pid, lender.file);
  return open(path, O_RDONLY | O_CLOEXEC);
}

void *lent_map(struct lender lender, size_t size, bool is_own)
{
  int opened = lent_open(lender), protection = is_own ? PROT_READ | PROT_WRITE : PROT_READ;
  if (opened < 0) return MAP_FAILED;
  void *memory = mmap(NULL, size, protection, is_own ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED, opened, 0);
  close(opened);
  return memory;
}
