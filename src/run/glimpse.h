/* glimpse.h - what a lookout is shown (peek.h). Plain C declarations only: the text is also given to LuaJIT's ffi.cdef
 * as it stands, behind that of slot/block.h. */
#ifndef PARLUA_GLIMPSE_H
#define PARLUA_GLIMPSE_H
#include <stdint.h>

struct block;

/* Results of one block that were not reported (peek.h): tasks first..last, which have ended. The block is the worker's:
 * it is to be read before the script's next call of the run. */
struct glimpse {
  struct block *block;
  double first, last;
  uint32_t count; /* words, or pairs, that may be read */
  uint32_t chunk, attempt, worker;
};

#endif
