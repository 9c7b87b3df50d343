/* check.h - what the programs of this folder share. */
#ifndef PARLUA_SPEC_CHECK_H
#define PARLUA_SPEC_CHECK_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline void fail(const char *what)
{
  fprintf(stderr, "%s\n", what);
  exit(1);
}

/* A number below n, the same ones in each run. */
static inline uint32_t below(uint32_t n)
{
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 33) % n;
}

#endif
