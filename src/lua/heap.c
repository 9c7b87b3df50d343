/* heap.c - see heap.h. */
#include "lua/heap.h"

#include <stdbool.h>
#include <string.h>

#include "sys/large.h"

struct heap {
  lua_Alloc own; /* LuaJIT's allocator, and its context */
  void *context;
  lua_State *L;
  size_t count; /* large objects */
  bool closes;
};

static size_t least(size_t one, size_t other)
{
  return one < other ? one : other;
}

/* LuaJIT gives back all that its allocator has at the state's end, if that is in place then. */
static void restore(struct heap *heap)
{
  if (heap->closes && heap->count == 0) lua_setallocf(heap->L, heap->own, heap->context);
}

/* An object that was large, or is to be. */
static void *resize_large(struct heap *heap, void *object, size_t old, size_t size)
{
  void *fresh;
  if (old >= LARGE_BYTES && size >= LARGE_BYTES) return large_resize(object, old, size);
  if (size >= LARGE_BYTES)
    fresh = large_new(size);
  else
    fresh = size ? heap->own(heap->context, NULL, 0, size) : NULL;
  if (size && !fresh) return NULL;
  if (object && size) memcpy(fresh, object, least(old, size));
  if (size >= LARGE_BYTES) heap->count++;
  if (old >= LARGE_BYTES) {
    large_free(object, old);
    heap->count--;
    restore(heap);
  } else if (object) {
    heap->own(heap->context, object, old, 0);
  }
  return fresh;
}

/* A lua_Alloc. */
static void *allocate(void *context, void *object, size_t old, size_t size)
{
  struct heap *heap = context;
  if (old < LARGE_BYTES && size < LARGE_BYTES) return heap->own(heap->context, object, old, size);
  return resize_large(heap, object, old, size);
}

/* The same at the program's end: frees nothing, and lets finalizers have what they ask for. */
static void *allocate_at_end(void *context, void *object, size_t old, size_t size)
{
  return size > 0 ? allocate(context, object, old, size) : NULL;
}

void heap_install(lua_State *L)
{
  void *context;
  lua_Alloc own = lua_getallocf(L, &context);
  struct heap *heap = own(context, NULL, 0, sizeof *heap); /* goes with all else of the state's */
  if (!heap) return;
  *heap = (struct heap){.L = L, .own = own, .context = context};
  lua_setallocf(L, allocate, heap);
}

void heap_close(lua_State *L, bool leave)
{
  void *context;
  lua_Alloc used = lua_getallocf(L, &context);
  struct heap *heap = used == allocate ? context : NULL;
  if (leave && heap) {
    lua_setallocf(L, allocate_at_end, heap);
  } else if (heap) {
    heap->closes = true;
    restore(heap);
  }
  lua_close(L);
}
