/* wide.h - loops of vectors that use the widest registers of the machine that they run on. A function that is marked
 * WIDE is compiled several times, and the loader picks one. Sums are made in the same order by all of them. */
#ifndef PARLUA_WIDE_H
#define PARLUA_WIDE_H

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

enum { PACK_BYTES = 64 }; /* of a vector: a register of AVX-512, two of AVX2 */
#endif
