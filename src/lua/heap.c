/* heap.c - see heap.h. */
#include "lua/heap.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "sys/large.h"
#include "sys/small.h"

struct heap {
  lua_Alloc own; /* LuaJIT's allocator, and its context */
  void *context;
  lua_State *L;
  struct small_heap small;
  size_t count; /* large objects */
  bool closes;
  const void *newest; /* at the program's end: the object that lua_close frees first; NULL: that is not known */
  jmp_buf left;       /* ... where it goes on then */
};

/* What LuaJIT has made before the heap was installed lies behind its allocator's context, in its first segment. */
enum { FIRST_BYTES = 128 << 10 };

/* Userdata and C data are known by where their content begins (lua_topointer). Where there is none, that is where the
 * object ends: there is to be a gap, as the next object would be known by the same address. */
enum { EMPTY_USERDATA = 48, EMPTY_CDATA = 16 };

static size_t with_gap(size_t size)
{
  return size + (size == EMPTY_USERDATA || size == EMPTY_CDATA);
}

static size_t least(size_t one, size_t other)
{
  return one < other ? one : other;
}

/* LuaJIT gives back all that its allocator has at the state's end, if that is in place then. */
static void restore(struct heap *heap)
{
  if (heap->closes && heap->count == 0 && small_is_empty(&heap->small))
    lua_setallocf(heap->L, heap->own, heap->context);
}

static bool is_first(const struct heap *heap, const void *object)
{
  return (uintptr_t)object - (uintptr_t)heap->context < FIRST_BYTES;
}

static void *make(struct heap *heap, size_t size)
{
  if (size <= SMALL_BYTES) return small_new(&heap->small, with_gap(size));
  if (size < LARGE_BYTES) return heap->own(heap->context, NULL, 0, size);
  void *object = large_new(size);
  if (object) heap->count++;
  return object;
}

static void discard(struct heap *heap, void *object, size_t size)
{
  if (size >= LARGE_BYTES) {
    large_free(object, size);
    heap->count--;
  } else if (size <= SMALL_BYTES && !is_first(heap, object)) {
    small_free(&heap->small, object);
  } else {
    heap->own(heap->context, object, size, 0);
    return;
  }
  if (heap->closes) restore(heap);
}

/* Makes an object of `old` bytes one of `size`, both more than none. */
static void *resize(struct heap *heap, void *object, size_t old, size_t size)
{
  if (old >= LARGE_BYTES && size >= LARGE_BYTES) return large_resize(object, old, size);
  if (old <= SMALL_BYTES && size <= SMALL_BYTES) {
    if (small_is_same(with_gap(old), with_gap(size)) && !is_first(heap, object)) return object;
  } else if (old > SMALL_BYTES && old < LARGE_BYTES && size > SMALL_BYTES && size < LARGE_BYTES) {
    return heap->own(heap->context, object, old, size);
  }
  void *fresh = make(heap, size);
  if (!fresh) return NULL;
  memcpy(fresh, object, least(old, size));
  discard(heap, object, old);
  return fresh;
}

/* A lua_Alloc. */
static void *allocate(void *context, void *object, size_t old, size_t size)
{
  struct heap *heap = context;
  if (!object) return size ? make(heap, size) : NULL;
  if (size) return resize(heap, object, old, size);
  discard(heap, object, old);
  return NULL;
}

/* The same at the program's end: frees nothing, and lets finalizers have what they ask for. */
static void *allocate_at_end(void *context, void *object, size_t old, size_t size)
{
  struct heap *heap = context;
  if (size > 0) return allocate(context, object, old, size);
  if (object && object == heap->newest) longjmp(heap->left, 1);
  return NULL;
}

/* Makes an object that is collected by nobody. */
static int make_newest(lua_State *L)
{
  struct heap *heap = lua_touserdata(L, 1);
  lua_pushlightuserdata(L, heap);
  lua_newtable(L);
  const void *object = lua_topointer(L, -1);
  lua_rawset(L, LUA_REGISTRYINDEX);
  heap->newest = object;
  return 0;
}

/* Calls the finalizers of all that the state has. lua_close does it first; then it would go through all objects, to
 * free each, the newest one first: that takes as long as making half of them took. */
static void finalize(lua_State *L, struct heap *heap)
{
  lua_cpcall(L, make_newest, heap); /* without memory for it, all is gone through */
  lua_setallocf(L, allocate_at_end, heap);
  if (setjmp(heap->left) == 0) lua_close(L);
}

void heap_install(lua_State *L)
{
  void *context;
  lua_Alloc own = lua_getallocf(L, &context);
  struct heap *heap = own(context, NULL, 0, sizeof *heap); /* goes with all else of the state's */
  if (!heap) return;
  *heap = (struct heap){.L = L, .own = own, .context = context};
  small_prepare(&heap->small);
  lua_setallocf(L, allocate, heap);
}

void heap_close(lua_State *L, bool leave)
{
  void *context;
  lua_Alloc used = lua_getallocf(L, &context);
  struct heap *heap = used == allocate ? context : NULL;
  if (leave && heap) {
    finalize(L, heap);
    return;
  }
  if (heap) {
    heap->closes = true;
    small_end(&heap->small);
    restore(heap);
  }
  lua_close(L);
}
