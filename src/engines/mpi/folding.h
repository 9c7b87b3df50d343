/* folding.h - results that wait in an agent for those beside them, so that rank 0 hears of fewer. docs/PROTOCOL.md says
 * more.
 *
 * Of a reduction with `merge`, tasks are blocks (lua/parlua/worker/fold.lua). One of the workers merges what comes of
 * blocks that stand side by side to fewer values, as a task with a number of its own. If the worker is lost, raises, or
 * takes too long, the values are reported as they came.
 *
 * Of other runs with many workers, plain results of tasks that stand side by side are reported as one. */
#ifndef PARLUA_MPI_FOLDING_H
#define PARLUA_MPI_FOLDING_H
#include "engines/mpi/report.h"

struct dispatch;

struct folding {
  uint32_t group;      /* as of struct dispatch_options */
  double first_number; /* tasks that merge are numbered from here on */
  double next_number;
  double patience;      /* seconds that results wait; where they are merged, some times as long */
  double due;           /* when the first of them have waited so long */
  uint64_t bytes, most; /* that wait, or are being merged; there may be, about */
  uint32_t joined;      /* plain results that are reported as one, at the most */
  bool takes_long;      /* plain results of long tasks wait too: nobody sees one before all have come */
  bool has_rows;        /* there is a journal: plain results without rows are told at once */
  bool is_new;          /* something has come since the last look */
  struct dispatch *run;
  struct report *report;
  struct lot *lots;     /* what the parent has given, the last first */
  struct merge *merges; /* under way */
};

/* A run begins; what is not set is 0. `rank`: this one. */
void folding_begin(struct folding *folding, struct dispatch *run, struct report *report, int rank);
/* Is this a task that merges results? */
bool folding_is_merge(const struct folding *folding, double task);
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
