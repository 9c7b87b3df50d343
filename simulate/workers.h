/* workers.h - an engine whose workers are fibers: each runs the worker's side of a slot as it ships
 * (src/slot/mailbox.c), and over it the loop of lua/parlua/worker/init.lua, store by store, with tasks of the
 * schedule's kind. */
#ifndef SIMULATE_WORKERS_H
#define SIMULATE_WORKERS_H
#include "engines/engine.h"

/* Workers that inherit and can be killed; that can be killed and are kept; that can only be abandoned. */
extern const struct engine_kind workers_forked, workers_kept, workers_abandoned;

void workers_begin(void);
/* All that workers have stored becomes visible. */
void workers_all_store(void);
/* The running worker ends itself. */
_Noreturn void worker_exits(int status);
/* All workers die at once, at this time. */
void workers_plan_massacre(double at);
/* Slots that are mapped and were not given back. */
int64_t workers_slots_mapped(void);
/* Notes whose results stand unread; some of these still do? *number: whose. */
void workers_note_unread(void);
bool workers_still_unread(uint32_t *number);
/* What workers print: records of this form. */
struct printed {
  uint32_t life, number, stream;
};

#endif
