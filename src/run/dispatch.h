/* dispatch.h - hands tasks out to lanes in chunks sized by measurement, and reports what comes of them as events:
 * results, lost workers, printed text. Knows nothing of Lua values.
 *
 *     source                                                     events
 *       |  supply                                                  ^
 *       v                                                          |
 *     queue ------- works of some tasks -------> lanes -- outcomes -- dispatch
 *       ^                                          |
 *       `---- given back, cut off, left by dead workers, tried again
 *
 * Tasks are numbers from 1. Either their total is known and workers make the arguments from the index, or the arguments
 * are supplied, a block at a time, when dispatch asks for them (EVENT_SUPPLY). Every task ends exactly once: in an
 * EVENT_RESULTS or an EVENT_LOST. No lane is visited without news of it: what an event costs does not depend on how
 * many lanes there are. */
#ifndef PARLUA_DISPATCH_H
#define PARLUA_DISPATCH_H
#include "run/lane.h"
#include "run/pushed.h"

struct dispatch;

enum { GROUP_JOINED = 1 };

struct dispatch_options {
  double total;       /* tasks, when known; negative: arguments are supplied */
  double any_order;   /* tasks of a source, also where they are supplied, that may be handed out in any order; 0: no */
  double chunk;       /* tasks a chunk; 0: measured */
  double timeout;     /* seconds for one task; 0: none */
  uint64_t key;       /* for chunks: see struct block */
  uint32_t workers;   /* use the engine's first so many */
  uint32_t base;      /* workers are numbered behind this */
  bool sparse;        /* results come as pairs: of most tasks none is kept */
  uint32_t group;     /* may results of tasks side by side be put together (engines/mpi/folding.h)? GROUP_JOINED:
                         plain ones, as if one worker had done them; more: a worker can merge those of so many;
                         0: no */
  bool is_gathered;   /* nobody sees a result before all have come: chunks take longer (chunks_patient_seconds) */
  bool is_pushed;     /* tasks come by dispatch_intake and dispatch_push alone; `total` is negative */
  bool is_fed;        /* tasks come by dispatch_offer, and somebody else looks after signals */
  bool lends_results; /* large ones are put where other processes can map them (sys/lent.h) */
  uint32_t job;       /* the job's number */
  const char *rows;   /* what agents need to prepare rows of a journal (engines/cluster.h); `rows_length` 0: */
  size_t rows_length; /* they don't. Kept by the caller */
  const struct block *message; /* the job, sent to each worker first; NULL: workers inherit it. Kept by the caller */
};

/* Begins a run on `engine`. NULL: out of memory. The engine must stay open until dispatch_close. */
struct dispatch *dispatch_open(struct engine *engine, const struct dispatch_options *options);
/* For runs whose tasks are pushed: does whoever asks for events wait for many results, and for none in particular? Then
 * chunks take longer, and workers are looked at less often. A run begins without. */
void dispatch_be_patient(struct dispatch *d, bool is_patient);
/* Waits for the next event. What the last event pointed to is given back. Waits at most `wait` seconds: EVENT_TICK says
 * that there was nothing. */
void dispatch_next(struct dispatch *d, struct event *event, double wait);
/* As dispatch_next, without waiting and without ticks; the engine's news have been noted. False: there is nothing to
 * tell; *until: when to look again at the latest, by the clock. */
bool dispatch_poll(struct dispatch *d, struct event *event, double *until);
/* A block to fill with supplied arguments, at least `bytes` large: words from width * 0 on, values downward from
 * `floor`. NULL: out of memory. */
struct block *dispatch_stage(struct dispatch *d, uint64_t bytes);
/* Hands out the staged block as the next `count` tasks; answers an EVENT_SUPPLY. */
void dispatch_supply(struct dispatch *d, double count);
/* Tasks first..last are not to be handed out. Ranges come in ascending order, none before what was handed out. Returns
 * 0 or an errno. */
int dispatch_skip(struct dispatch *d, double first, double last);
/* Has the staged block handed out as `count` tasks from `first` on, an index that was not used: FIRST_EXTRA (queue.h)
 * or behind it, where the run has a source. Returns 0 or an errno. */
int dispatch_push(struct dispatch *d, double first, double count);
/* Takes what is in the intake, and begins its block anew, at least `bytes` large, for tasks from `first` on: an index
 * that was not used, as are those behind it. NULL: out of memory. For runs whose tasks are pushed. */
struct intake *dispatch_intake(struct dispatch *d, double first, uint64_t bytes);
/* A task will be handed out soon: the worker that is to get it is woken, if it sleeps. */
void dispatch_rouse(struct dispatch *d);
/* Hands out what can be handed out at once, and takes nothing. */
void dispatch_hand_out(struct dispatch *d);
/* The last task that was put into the intake; 0: none. */
double dispatch_last_pushed(const struct dispatch *d);
/* There is nothing more to supply. */
void dispatch_exhausted(struct dispatch *d);
/* Runs `task` of the event just reported once more, after `delay` seconds. Returns 0 or an errno. */
int dispatch_redo(struct dispatch *d, double task, uint32_t attempt, double delay);
/* As dispatch_redo; the staged block (its `origin` set) takes the place of what was supplied for the task. */
int dispatch_redo_staged(struct dispatch *d, double task, uint32_t attempt, double delay);
/* Tasks behind `last` are given up, those that run too: the run is done when all before have ended. */
void dispatch_shorten(struct dispatch *d, double last);
/* No task behind `last` is handed out until this is raised. */
void dispatch_ceiling(struct dispatch *d, double last);
/* Ends `task`, which was handed out and has not ended: it is not begun, or its worker is ended (where that can be
 * done). An EVENT_LOST follows, unless the task has ended meanwhile. False: it can't be ended, or has. */
bool dispatch_abort(struct dispatch *d, double task);
/* As dispatch_next, in a thread that goes on with the run while the script does other things (attendant.h): starts no
 * worker, leaves signals alone, is patient, and ends soon with EVENT_TICK when *is_wanted is set, and dispatch_wake was
 * called. */
void dispatch_attend(struct dispatch *d, struct event *event, double wait, const volatile bool *is_wanted);
/* Ends the sleep of dispatch_attend in another thread. */
void dispatch_wake(const struct dispatch *d);
/* The caller's from here on: what was supplied for the tasks of the event just reported; NULL: nothing was. */
struct payload *dispatch_keep_payload(struct dispatch *d);
/* *event is one that was reported before, and counts as just reported; `payload` is given back. What the last event of
 * dispatch_next points to stays until the next. */
void dispatch_report_again(struct dispatch *d, struct event *event, struct payload *payload);

/* ---- of a run that is fed (by a parent) ---- */

/* What a run could do with. */
struct demand {
  double tasks;      /* that it would like to have, and has not handed out */
  double unassigned; /* tasks that it has not handed out */
  double per_task;   /* seconds, measured; 0: nothing is known */
  uint32_t idle;     /* workers with nothing to do */
};

/* Hands out tasks first..last, as try number `attempt`, in chunks. Takes over the caller's use of `payload` (NULL:
 * none). Returns 0 or an errno. */
int dispatch_offer(struct dispatch *d, double first, double last, uint32_t attempt, struct payload *payload);
/* `horizon`: seconds of work that are to lie ready. */
void dispatch_demand(const struct dispatch *d, double horizon, struct demand *demand);
/* Gives tasks up that were not begun, for `idle` workers elsewhere; 0: for one that will have nothing to do soon, of
 * what is not handed out alone. Stores what they are; returns how many ranges. */
uint32_t dispatch_part(struct dispatch *d, uint32_t idle, struct range *ranges, uint32_t most);
/* Seconds that a chunk is to take. */
double dispatch_chunk_seconds(const struct dispatch *d);
/* So many records a second are passed on of what the run's workers do: see chunks_pace. */
void dispatch_pace(struct dispatch *d, double records);
/* Has every worker more to do than what it is in? */
bool dispatch_is_patient(const struct dispatch *d);

/* The task that has run for longest, of those that workers on this host are in. */
struct longest {
  double task, inner, seconds; /* inner: of a block of tasks */
  uint32_t worker;             /* from 1 */
};
/* False: no worker is known to be in one. */
bool dispatch_longest(struct dispatch *d, struct longest *found);
/* How many workers the run goes on without, as they could not be started; *error: why, an errno (ECHILD: they end as
 * soon as they begin; ETIMEDOUT: their set-up takes longer than the time limit). */
uint32_t dispatch_lacking(const struct dispatch *d, int *error);
/* Nothing more is handed out; what runs is ended, or left to end within a short grace and then given up. Go on with
 * dispatch_next until EVENT_DONE. */
void dispatch_cancel(struct dispatch *d);
/* Ends the run, whatever its state, quietly. Workers of an engine that is kept are left idle. */
void dispatch_close(struct dispatch *d);
#endif
