/* ledger.h - what really happened to each task, as the simulated workers know it, and what the run has told; the two
 * are compared at each entry. */
#ifndef SIMULATE_LEDGER_H
#define SIMULATE_LEDGER_H
#include <stdbool.h>
#include <stdint.h>

#include "plan.h"
#include "run/event.h"

/* A run of `tasks` tasks begins, as job number `job`; each run has another. */
void ledger_begin(const struct plan *plan, uint32_t job);
/* The run is about to be closed: nobody keeps time limits any more. */
void ledger_closes(void);
bool ledger_is_closing(void);
bool ledger_is_cancelled(void);
void ledger_close(void);
uint32_t ledger_job(void);
const struct plan *ledger_plan(void);

/* ---- what happens, told by workers ---- */

/* A worker begins a task; it found at `allowed` that it may. */
void ledger_task_begins(uint32_t job, double task, uint32_t attempt, double allowed);
void ledger_task_finishes(uint32_t job, double task, uint32_t attempt);
/* A worker is started. */
void ledger_worker_starts(void);
/* A worker has died by itself; task 0: in none. */
void ledger_worker_dies(uint32_t job, double task, uint32_t attempt);
/* It has died in none, with a chunk of these tasks that it had taken. */
void ledger_chunk_is_orphaned(uint32_t job, double first, double last);
/* A worker has ended, and these tasks' results, of this try, lie ready in its slot. */
void ledger_results_remain(uint32_t job, double first, double last, uint32_t attempt);
/* A worker is ended from outside; it has been in the task for so long. */
void ledger_worker_is_ended(uint32_t job, double task, uint32_t attempt, double seconds);

/* The run ends a worker now, which may take a while. */
void ledger_end_is_decided(uint32_t job, double task, uint32_t attempt);

/* ---- what the run is asked and tells ---- */

void ledger_skip(double first, double last);
void ledger_abort(double task);
void ledger_cancel(void);
/* Tasks behind this one are not handed out for the time being. */
void ledger_ceiling(double last);
void ledger_shorten(double last);
/* It has been: from here on no task behind that is begun. */
void ledger_has_shortened(void);
/* Memory was short: what follows from that is no fault. */
void ledger_lacks_memory(void);
void ledger_result(double task, uint32_t attempt);
/* Its result lies ready, and was not told. */
void ledger_glimpse(double task, uint32_t attempt);
void ledger_lost(const struct event *event);
/* It will be tried again when due. */
void ledger_again(double task, uint32_t attempt, double due);
/* The run says that all has ended: tasks up to `last`. */
void ledger_done(double last);
/* A task that was begun and has not ended, drawn at random; 0: none was found. */
double ledger_some_task(void);
bool ledger_has_ended(double task);
double ledger_count_ended(void);
/* Up to this task all have ended. */
double ledger_reached(void);
double ledger_last_finish(void);
/* Workers that were started in this run. */
uint32_t ledger_starts(void);
/* Has any worker begun a task? */
bool ledger_any_begun(void);

#endif
