/* looks.h - looks at a worker by which its task is ended: at a time limit, or as it was aborted. Schedules show seldom
 * whose time counts, and when. */
#ifndef SIMULATE_LOOKS_H
#define SIMULATE_LOOKS_H

/* Tells a fault where a worker is ended too early, too late, or for a task that nobody wants to end. */
void looks_check(void);

#endif
