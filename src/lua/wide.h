/* wide.h - loops of vectors that use the widest registers of the machine that they run on. Sums are made in the same
 * order by all of them.
 *
 * Chosen at each call, of some thousand elements: a choice by the loader (target_clones) asks the processor as each
 * program begins, which in a virtual machine takes longer than all else of an empty script's loading. */
#ifndef PARLUA_WIDE_H
#define PARLUA_WIDE_H

/* Before WIDE_FUNCTION(name, ...): the function itself, as name##_any. */
#define WIDE static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#include <sys/platform/x86.h>
/* Defines `name` as name##_any, compiled several times. `parameters` and `arguments` stand in brackets. */
#define WIDE_FUNCTION(name, parameters, arguments)                        \
  __attribute__((target("avx512f"))) static void name##_avx512 parameters \
  {                                                                       \
    name##_any arguments;                                                 \
  }                                                                       \
  __attribute__((target("avx2"))) static void name##_avx2 parameters      \
  {                                                                       \
    name##_any arguments;                                                 \
  }                                                                       \
  static void name parameters                                             \
  {                                                                       \
    if (CPU_FEATURE_ACTIVE(AVX512F))                                      \
      name##_avx512 arguments;                                            \
    else if (CPU_FEATURE_ACTIVE(AVX2))                                    \
      name##_avx2 arguments;                                              \
    else                                                                  \
      name##_any arguments;                                               \
  }
#else
#define WIDE_FUNCTION(name, parameters, arguments) \
  static void name parameters                      \
  {                                                \
    name##_any arguments;                          \
  }
#endif

enum { PACK_BYTES = 64 }; /* of a vector: a register of AVX-512, two of AVX2 */
#endif
