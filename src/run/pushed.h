/* pushed.h - tasks that come from the script while it does not hold the dispatcher. Plain C declarations only: the text
 * is also given to LuaJIT's ffi.cdef as it stands, behind that of slot/block.h. */
#ifndef PARLUA_PUSHED_H
#define PARLUA_PUSHED_H
#include <stdint.h>

struct block;

/* Where a script puts tasks of its own making (submitted calls) while it does not hold the dispatcher: it writes them
 * into a block, one behind the other, and says how many there are. Whoever holds the dispatcher copies them out. The
 * block is begun anew by dispatch_intake alone. */
struct intake {
  struct block *block;           /* NULL: none was begun */
  double first;                  /* task of its first word; they are numbered on from there */
  uint32_t count;                /* tasks in it: the script's, see intake_publish */
  uint32_t taken;                /* of these, copied out: the dispatcher's */
  uint32_t hungry;               /* a worker had nothing to do when the dispatcher was left: the dispatcher's */
  const volatile uint64_t *news; /* words that are not 0 while some worker has news */
  double left_at;                /* by the clock, when the script or the attendant was last with the workers */
};

/* What the script is to do behind a task that it has put there. */
enum intake_wish {
  INTAKE_NOTHING,
  INTAKE_HAND_OUT, /* a worker has nothing to do */
  INTAKE_VISIT     /* and results wait to be taken, or the tasks are many */
};

/* There are `count` tasks in the block now. */
int intake_publish(struct intake *intake, uint32_t count);

#endif
