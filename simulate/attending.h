/* attending.h - the attendant (src/run/attendant.h) without its thread: it goes on with a run where the driver says so,
 * until its script is back, and keeps what it is told. */
#ifndef SIMULATE_ATTENDING_H
#define SIMULATE_ATTENDING_H
#include "run/dispatch.h"

/* Checks that the attendant serves a script that leaves, whenever that does so, and is not called for each of many
 * short absences. */
void attending_check(void);

void attending_begin(struct dispatch *d);
/* The script is away for so many seconds; so many tasks have not ended, as far as it was told. */
void attending_serve(double seconds, double outstanding);
/* The next event for the script, which is there. */
void attending_next(struct event *event, double wait);
/* What was kept is given back. Before the run is closed. */
void attending_end(void);

#endif
