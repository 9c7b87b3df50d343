/* small.c - see small.h. */
#include "sys/small.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "sys/large.h"

enum {
  REGION_BYTES = LARGE_BYTES,
  PAGE_BYTES = 32 << 10,
  PAGES = REGION_BYTES / PAGE_BYTES,
  HEAD_BYTES = 4096, /* of a region's first page: its struct region */
  PLAIN_REGIONS = 2, /* the first ones that a process makes have small pages */
  MOST_EMPTY = 1     /* regions without an object that are kept, until the heap's end */
};

enum state { UNUSED, CURRENT, PARTIAL, FULL };

struct small_page {
  void *free;          /* objects that were given back; each leads to the next */
  uint32_t fresh, end; /* bytes of the region: where objects begin that nobody has had, and where they end */
  uint32_t used;       /* objects that are in use */
  uint16_t size;       /* of its objects */
  uint8_t kind, state;
  struct link link; /* in the list of its kind's partial pages, or of unused ones */
};

struct region {
  struct small_page pages[PAGES];
  unsigned used; /* pages */
  bool is_huge;
};
_Static_assert(sizeof(struct region) <= HEAD_BYTES, "the head of a region has its room");

/* Steps of 8 bytes up to 64, of 16 up to 256, of 32 up to 512, of 64 up to 1024. */
static uint8_t kinds[SMALL_STEPS]; /* by size / 8, rounded up */
static uint16_t sizes[SMALL_KINDS];
static atomic_uint forks; /* of which this process is the outcome */

static void count_fork(void)
{
  atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static void prepare(void)
{
  unsigned kind = 0, size = 16;
  for (unsigned step = 0; step < SMALL_STEPS; step++) {
    if (8 * step > size) {
      size += size < 64 ? 8 : size < 256 ? 16 : size < 512 ? 32 : 64;
      kind++;
    }
    kinds[step] = (uint8_t)kind;
    sizes[kind] = (uint16_t)size;
  }
  pthread_atfork(NULL, NULL, count_fork);
}

void small_prepare(struct small_heap *heap)
{
  static pthread_once_t prepared = PTHREAD_ONCE_INIT;
  pthread_once(&prepared, prepare);
  *heap = (struct small_heap){.most_empty = MOST_EMPTY, .forks = atomic_load_explicit(&forks, memory_order_relaxed)};
  list_init(&heap->unused);
  for (unsigned kind = 0; kind < SMALL_KINDS; kind++) list_init(&heap->partial[kind]);
}

static unsigned kind_of(size_t size)
{
  return kinds[(size + 7) / 8];
}

bool small_is_same(size_t size, size_t other)
{
  return kind_of(size) == kind_of(other);
}

bool small_is_empty(const struct small_heap *heap)
{
  return heap->regions == 0;
}

static struct region *region_of(const void *object)
{
  return (struct region *)((uintptr_t)object & ~(uintptr_t)(REGION_BYTES - 1));
}

/* The first page of a list; NULL: it is empty. */
static struct small_page *first_of(const struct link *pages)
{
  return list_is_empty(pages) ? NULL : LIST_OF(pages->next, struct small_page, link);
}

/* ---- regions ---- */

/* Memory of a region that begins at a multiple of its size; otherwise, as a limit left no more, it is given back. */
static struct region *aligned(void *memory)
{
  if (memory == MAP_FAILED || !memory) return NULL;
  if ((uintptr_t)memory % REGION_BYTES == 0) return memory;
  munmap(memory, REGION_BYTES);
  return NULL;
}

static bool add_region(struct small_heap *heap)
{
  unsigned present = atomic_load_explicit(&forks, memory_order_relaxed);
  if (heap->forks != present) heap->forks = present, heap->fresh = 0;
  bool is_huge = heap->fresh >= PLAIN_REGIONS;
  struct region *region = is_huge ? aligned(large_new(REGION_BYTES)) : NULL;
  if (!region) {
    is_huge = false;
    region = aligned(large_map(REGION_BYTES));
  }
  if (!region) return false;
  heap->fresh++;
  heap->regions++;
  heap->empty++;
  region->is_huge = is_huge;
  region->used = 0;
  for (unsigned i = PAGES; i-- > 0;) {
    struct small_page *page = &region->pages[i];
    page->state = UNUSED;
    list_prepend(&heap->unused, &page->link);
  }
  return true;
}

static void drop_region(struct small_heap *heap, struct region *region)
{
  for (unsigned i = 0; i < PAGES; i++) link_remove(&region->pages[i].link);
  heap->regions--;
  heap->empty--;
  if (region->is_huge)
    large_free(region, REGION_BYTES);
  else
    munmap(region, REGION_BYTES);
}

void small_end(struct small_heap *heap)
{
  heap->most_empty = 0;
  for (struct link *page = heap->unused.next, *next; page != &heap->unused; page = next) {
    struct region *region = region_of(page);
    for (next = page->next; next != &heap->unused && region->used == 0 && region_of(next) == region;) next = next->next;
    if (region->used == 0) drop_region(heap, region);
  }
}

/* ---- pages ---- */

/* Gives objects of a kind another page; false: there is no memory. */
static bool turn_page(struct small_heap *heap, unsigned kind)
{
  struct small_page *page = heap->current[kind];
  if (page) page->state = FULL;
  heap->current[kind] = NULL;
  page = first_of(&heap->partial[kind]);
  if (page) {
    link_remove(&page->link);
  } else {
    if (list_is_empty(&heap->unused) && !add_region(heap)) return false;
    page = first_of(&heap->unused);
    link_remove(&page->link);
    struct region *region = region_of(page);
    if (region->used++ == 0) heap->empty--;
    uint32_t number = (uint32_t)(page - region->pages), first = number * PAGE_BYTES;
    page->free = NULL;
    page->fresh = first ? first : HEAD_BYTES;
    page->end = first + PAGE_BYTES - sizes[kind];
    page->used = 0;
    page->size = sizes[kind];
    page->kind = (uint8_t)kind;
  }
  page->state = CURRENT;
  heap->current[kind] = page;
  return true;
}

/* A page has no object any more, or one again. */
static void turn_free(struct small_heap *heap, struct small_page *page)
{
  if (page->used > 0) {
    page->state = PARTIAL;
    list_append(&heap->partial[page->kind], &page->link);
    return;
  }
  link_remove(&page->link);
  if (page->state == CURRENT) heap->current[page->kind] = NULL;
  page->state = UNUSED;
  list_prepend(&heap->unused, &page->link);
  struct region *region = region_of(page);
  if (--region->used == 0 && ++heap->empty > heap->most_empty) drop_region(heap, region);
}

/* ---- objects ---- */

void *small_new(struct small_heap *heap, size_t size)
{
  unsigned kind = kind_of(size);
  for (;;) {
    struct small_page *page = heap->current[kind];
    if (page) {
      void *object = page->free;
      if (object) {
        page->free = *(void **)object;
        page->used++;
        return object;
      }
      if (page->fresh <= page->end) {
        object = (char *)region_of(page) + page->fresh;
        page->fresh += page->size;
        page->used++;
        return object;
      }
    }
    if (!turn_page(heap, kind)) return NULL;
  }
}

void small_free(struct small_heap *heap, void *object)
{
  struct region *region = region_of(object);
  struct small_page *page = &region->pages[((uintptr_t)object & (REGION_BYTES - 1)) / PAGE_BYTES];
  *(void **)object = page->free;
  page->free = object;
  if (--page->used == 0 || page->state == FULL) turn_free(heap, page);
}
