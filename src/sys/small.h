/* small.h - memory for many small objects, such as the tables and strings of a Lua state. An object has no header.
 * Memory comes in regions of a huge page, cut into pages; each page has objects of one size. So what is made one after
 * the other lies side by side, and making or freeing an object takes a few instructions. A region without objects goes
 * back to the system.
 *
 * The first regions have small pages, as most states stay small; the others have huge pages (sys/large.h). A process
 * that was forked begins anew with small pages.
 *
 * Each heap is used by one thread at a time. */
#ifndef PARLUA_SMALL_H
#define PARLUA_SMALL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys/list.h"

/* What is larger is better asked for elsewhere. */
enum { SMALL_BYTES = 1024, SMALL_STEPS = SMALL_BYTES / 8 + 1, SMALL_KINDS = 36 };

struct small_page;

/* One heap, after small_prepare; it stays where it is. */
struct small_heap {
  struct small_page *current[SMALL_KINDS]; /* where objects of a kind of size come from now; NULL: none */
  struct link partial[SMALL_KINDS];        /* other pages with room for some */
  struct link unused;                      /* pages that are of no kind yet */
  size_t regions, empty;                   /* how many there are; those without an object */
  size_t most_empty;                       /* as many regions without an object are kept */
  size_t fresh;                            /* made since the process was forked */
  unsigned forks;                          /* how often it had been forked then */
};

/* Sets up a heap. */
void small_prepare(struct small_heap *heap);
/* Memory for an object of 1 to SMALL_BYTES bytes, at a multiple of 8; NULL: there is none. */
void *small_new(struct small_heap *heap, size_t size);
/* Gives back an object. */
void small_free(struct small_heap *heap, void *object);
/* Do objects of both sizes take the same memory? */
bool small_is_same(size_t size, size_t other);
/* From here on nothing is kept for objects to come: when the last object is given back, the heap is empty. */
void small_end(struct small_heap *heap);
/* Has the heap no memory of the system's? */
bool small_is_empty(const struct small_heap *heap);
#endif
