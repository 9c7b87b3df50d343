/* memory.c - see memory.h. */
#include "memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>

#include "world.h"

struct memory memory;

/* The linker's --wrap: what is called malloc elsewhere is __wrap_malloc here. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *before, size_t bytes);
void __real_free(void *bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *before, size_t bytes);
void __wrap_free(void *bytes);

static bool fails(void)
{
  if (fiber_running()) return false;
  memory.made++;
  if (memory.made != memory.fail_at && !random_chance(memory.failing)) return false;
  memory.fail_count++;
  errno = ENOMEM;
  return true;
}

/* The coordinator has so many bytes more. */
static void weigh(int64_t bytes)
{
  if (fiber_running()) return;
  memory.own += bytes;
  if (memory.own > memory.most_own) memory.most_own = memory.own;
}

static void *count(void *bytes)
{
  memory.live += bytes != NULL;
  weigh((int64_t)malloc_usable_size(bytes));
  return bytes;
}

void *__wrap_malloc(size_t bytes)
{
  return fails() ? NULL : count(__real_malloc(bytes));
}

void *__wrap_calloc(size_t n, size_t bytes)
{
  return fails() ? NULL : count(__real_calloc(n, bytes));
}

void *__wrap_realloc(void *before, size_t bytes)
{
  if (fails()) return NULL;
  int64_t had = (int64_t)malloc_usable_size(before);
  void *after = __real_realloc(before, bytes);
  if (!before) return count(after);
  if (after) weigh((int64_t)malloc_usable_size(after) - had);
  return after;
}

void __wrap_free(void *bytes)
{
  memory.live -= bytes != NULL;
  weigh(-(int64_t)malloc_usable_size(bytes));
  __real_free(bytes);
}

void *memory_own(void *before, size_t bytes)
{
  void *after = __real_realloc(before, bytes);
  if (!after) abort();
  return after;
}

void memory_own_free(void *bytes)
{
  __real_free(bytes);
}
