/* folding.h - results of a reduction with `merge` on their way through an agent. Its tasks are blocks (lua/parlua/
 * worker/fold.lua). What comes of blocks that stand side by side waits here for a while. Then one of the workers merges
 * it to fewer values, as a task with a number of its own. If the worker is lost, raises, or takes too long, the values
 * are reported as they came. docs/PROTOCOL.md says more. */
#ifndef PARLUA_MPI_FOLDING_H
#define PARLUA_MPI_FOLDING_H
#include "engines/mpi/report.h"

struct dispatch;

struct folding {
  uint32_t group;      /* parts of a group, see lua/parlua/worker/merging.lua; 0: nothing is folded */
  double first_number; /* tasks that merge are numbered from here on */
  double next_number;
  double patience;      /* seconds that results wait, */
  double due;           /* and when the first of them have waited so long */
  uint64_t bytes, most; /* that wait, or are being merged; there may be, about */
  bool is_new;          /* something has come since the last look */
  struct dispatch *run;
  struct report *report;
  struct lot *lots;     /* what the parent has given, the last first */
  struct merge *merges; /* under way */
};

/* A run begins; all but the first four fields is 0. `rank`: this one. */
void folding_begin(struct folding *folding, struct dispatch *run, struct report *report, int rank);
/* The parent has given tasks first..last: results of theirs are not reported together with those of others. */
void folding_give(struct folding *folding, double first, double last);
/* Takes results, as report_results does, or what has become of a merge. False: they are to be reported now. */
bool folding_take(struct folding *folding, const struct event *event, uint64_t *end, double now);
/* A worker was lost in a task. True: that was to merge results, which are reported now. */
bool folding_lose(struct folding *folding, double task);
/* Nothing will come of these tasks here. Returns how many ranges are left without those that were to merge results,
 * which are reported now. */
uint32_t folding_return(struct folding *folding, struct range *ranges, uint32_t count);
/* Has results merged, or reports them, when they have waited long enough; `is_idle`: some worker has nothing to do.
 * Returns when to look again, by the clock. */
double folding_serve(struct folding *folding, bool is_idle, double now);
/* Reports all that waits. What is being merged counts no more. */
void folding_flush(struct folding *folding);
/* Frees all. */
void folding_end(struct folding *folding);
#endif
