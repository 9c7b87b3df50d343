/* small.c - run by spec/small_spec.lua: memory for small objects (sys/small.h) and large ones (sys/large.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "sys/large.h"
#include "sys/small.h"

enum { OBJECTS = 200000, ROUNDS = 3000000 };

static struct object {
  unsigned char *bytes;
  uint16_t size;
  unsigned char mark;
} objects[OBJECTS];

/* An object holds what was written to it: its first and its last byte, and some in between. */
static void look(const struct object *object)
{
  for (unsigned at = 0; at < object->size; at += 1 + object->size / 7)
    if (object->bytes[at] != object->mark) fail("an object was written over");
  if (object->bytes[object->size - 1] != object->mark) fail("an object's end was written over");
}

static void make(struct small_heap *heap, struct object *object)
{
  object->size = (uint16_t)(1 + below(below(8) ? 128 : SMALL_BYTES));
  object->mark = (unsigned char)below(256);
  object->bytes = small_new(heap, object->size);
  if (!object->bytes) fail("there is no memory");
  if ((uintptr_t)object->bytes % 8 != 0) fail("an object is not aligned");
  memset(object->bytes, object->mark, object->size);
}

static void discard(struct small_heap *heap, struct object *object)
{
  look(object);
  small_free(heap, object->bytes);
  object->bytes = NULL;
}

static void check_objects(void)
{
  struct small_heap heap;
  small_prepare(&heap);
  for (unsigned round = 0; round < ROUNDS; round++) {
    /* more and more of them, then fewer and fewer */
    uint32_t most = 1 + (uint32_t)((uint64_t)OBJECTS * (round < ROUNDS / 2 ? round : ROUNDS - round) / ROUNDS);
    struct object *object = &objects[below(most)];
    if (object->bytes)
      discard(&heap, object);
    else
      make(&heap, object);
  }
  if (small_is_empty(&heap)) fail("a heap with objects is empty");
  for (unsigned i = 0; i < OBJECTS; i++)
    if (objects[i].bytes) discard(&heap, &objects[i]);
  if (heap.regions > 1) fail("memory without an object was not given back");
  make(&heap, &objects[0]);
  make(&heap, &objects[1]);
  discard(&heap, &objects[0]);
  small_end(&heap);
  if (small_is_empty(&heap)) fail("a heap with an object is empty at its end");
  discard(&heap, &objects[1]);
  if (!small_is_empty(&heap)) fail("the end of a heap leaves memory");
}

static void check_sizes(void)
{
  struct small_heap heap;
  small_prepare(&heap);
  for (unsigned size = 1; size <= SMALL_BYTES; size++) {
    if (!small_is_same(size, size)) fail("a size is not its own");
    unsigned more = size + size / 4 + 8;
    if (size > 64 && more <= SMALL_BYTES && small_is_same(size, more)) fail("an object takes a quarter too much");
    unsigned char *one = small_new(&heap, size), *other = small_new(&heap, size);
    if (!one || !other) fail("there is no memory");
    size_t between = one < other ? (size_t)(other - one) : (size_t)(one - other);
    if (between < size) fail("two objects share memory");
    small_free(&heap, other);
    if (small_new(&heap, size) != other) fail("what was given back is not used again");
  }
}

/* A forked process has its own memory, and does not see what its parent keeps. */
static void check_fork(void)
{
  struct small_heap heap;
  small_prepare(&heap);
  char *kept = large_new(4 << 20);
  unsigned char *object = small_new(&heap, 100);
  if (!kept || !object) fail("there is no memory");
  *object = 1;
  kept[0] = 1;
  large_free(kept, 4 << 20);
  pid_t child = fork();
  if (child == 0) {
    char *fresh = large_new(4 << 20);
    if (!fresh) fail("a forked process has no memory");
    fresh[0] = 2;
    *object = 2;
    for (unsigned i = 0; i < 100000; i++)
      if (!small_new(&heap, 100)) fail("a forked process has no memory for objects");
    exit(0);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) fail("the forked process has failed");
  if (*object != 1) fail("a forked process writes its parent's objects");
  if (large_new(4 << 20) != kept) fail("what is kept is not used again");
}

/* What is kept is taken for about the same size alone, and is given up for other memory. */
static void check_kept(void)
{
  large_give_up();
  char *a = large_new(8 << 20), *b = large_new(2 << 20);
  large_free(a, 8 << 20);
  large_free(b, 2 << 20);
  if (large_new(3 << 20) == a) fail("much more than is needed was taken");
  if (large_new(2 << 20) != b) fail("what fits was not taken");
  if (!large_give_up()) fail("nothing was kept");
  if (large_give_up()) fail("what was given up is still there");
}

int main(void)
{
  check_sizes();
  check_objects();
  check_kept();
  check_fork();
  puts("all holds");
}
