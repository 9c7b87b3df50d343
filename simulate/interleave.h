/* interleave.h - included in front of each file of src/run, src/slot, src/engines and src/sys/bell.c when these are
 * built for simulation: before each atomic access the other side may run. The files themselves are those that ship. */
#ifndef PARLUA_INTERLEAVE_H
#define PARLUA_INTERLEAVE_H

/* The running side is about to make an atomic access; a store or a fence also makes what it had stored
 * before visible. */
void interleave(int is_store);

#define __atomic_load_n(p, o)                         (interleave(0), __atomic_load_n(p, o))
#define __atomic_load(p, v, o)                        (interleave(0), __atomic_load(p, v, o))
#define __atomic_store_n(p, v, o)                     (interleave(1), __atomic_store_n(p, v, o))
#define __atomic_store(p, v, o)                       (interleave(1), __atomic_store(p, v, o))
#define __atomic_exchange_n(p, v, o)                  (interleave(1), __atomic_exchange_n(p, v, o))
#define __atomic_fetch_add(p, v, o)                   (interleave(1), __atomic_fetch_add(p, v, o))
#define __atomic_fetch_or(p, v, o)                    (interleave(1), __atomic_fetch_or(p, v, o))
#define __atomic_compare_exchange_n(p, e, v, w, s, f) (interleave(1), __atomic_compare_exchange_n(p, e, v, w, s, f))
#define __atomic_thread_fence(o)                      (interleave(1), __atomic_thread_fence(o))

#endif
