/* lanes.h - lanes without slots: each obeys run/lane.h in virtual time, at the cost of one timer a task. */
#ifndef SIMULATE_LANES_H
#define SIMULATE_LANES_H
#include "run/lane.h"

/* The engine below them, which has nothing to do. */
extern const struct engine_kind lanes_killed, lanes_abandoned;
extern const struct lane_kind lane_simulated;

void lanes_begin(void);
/* All workers of the engine die at once. */
void lanes_kill_all(const struct engine *engine);
/* What they do concerns nobody any more: for the ledger they have died. */
void lanes_cut_off(const struct engine *engine);
/* Before the engine is closed: no worker is alive. */
void lanes_end(struct engine *engine);

#endif
