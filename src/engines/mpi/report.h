/* report.h - what an agent tells its parent of a run: records, one behind the other in a message, each perhaps with
 * bytes behind it. */
#ifndef PARLUA_MPI_REPORT_H
#define PARLUA_MPI_REPORT_H
#include "engines/mpi/transport.h"
#include "run/event.h"
#include "run/work.h"

enum record_kind {
  RECORD_RESULTS = 1, /* a block of them (pack.h) */
  RECORD_LOST,        /* a worker has ended: as EVENT_LOST */
  RECORD_TEXT,        /* what was printed */
  RECORD_GIVEN,       /* tasks that are given back: ranges; the answer to NOTE_ASK */
  RECORD_DONE,        /* after a cancellation: nothing runs any more, what was not reported never will be */
  RECORD_TROUBLE      /* `status`, an errno: no worker can be started here; nothing more comes */
};

struct record {
  uint32_t kind, worker;
  uint64_t bytes;     /* behind the record, to a multiple of 16 */
  uint64_t length;    /* text: bytes of it. Results: bytes of their rows, which stand last */
  double last, fresh; /* results: as `last` and `want` of EVENT_RESULTS */
  double task, inner, seconds;
  uint32_t cause, count;
  int32_t status;
  int32_t stream; /* text: of it. Trouble: how workers ended that could not begin, as from wait(2) */
};
_Static_assert(sizeof(struct record) % 16 == 0, "what stands behind a record is aligned");

/* Results that are not reported yet: their record, and behind it their block, and rows of a journal. */
struct kept {
  struct kept *next;
  struct record record;
  _Alignas(16) struct block block;
};

/* Reports of one run on their way to the parent. */
struct report {
  struct transport *transport;
  int parent;
  struct note note;      /* with which messages begin */
  struct parcel *parcel; /* being filled; NULL: none is */
  size_t used, room;
  uint64_t sent;      /* bytes, all in all */
  bool lends;         /* the parent can map large results */
  struct loan *loans; /* those that it has not used */
  uint64_t records;
};

/* Begins reports of the run that `of` concerns. */
void report_begin(struct report *report, struct transport *transport, int parent, const struct note *of);
/* Drops what was not sent, and what was lent: nobody reads it any more. */
void report_end(struct report *report);
/* The parent has used the first so many bytes. */
void report_used(struct report *report, uint64_t bytes);
/* Where the rows of results stand, behind their block; and how many bytes such a record has behind it, with a block of
 * `size` bytes. */
char *report_rows(const struct block *block);
size_t report_bytes(const struct record *record, size_t size);
/* Adds a record, with room for `bytes` behind it, which are to be filled in. NULL: out of memory, where these are many.
 */
char *report_add(struct report *report, struct record *record, size_t bytes);
/* Adds the results of an event; values from byte *end of the block on were sent before. Stores where those begin that
 * are now. Without memory for them their tasks are lost, for that reason. */
void report_results(struct report *report, const struct event *event, uint64_t *end);
/* The same as a record that is kept, to be freed by free(). NULL: out of memory. */
struct kept *report_keep(const struct event *event, uint64_t *end);
/* Adds a record that was kept; without memory, as report_results. */
void report_kept(struct report *report, const struct kept *kept);
void report_lost(struct report *report, const struct event *event);
void report_text(struct report *report, const struct event *event);
void report_ranges(struct report *report, const struct range *ranges, uint32_t count);
void report_status(struct report *report, enum record_kind kind, int status, int ended);
/* Sends what was added; `always`: the note alone too. */
void report_send(struct report *report, bool always);
#endif
