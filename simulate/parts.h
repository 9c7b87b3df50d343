/* parts.h - what schedules seldom show of the dispatcher's small parts: tasks that are cancelled, tried again by ranks
 * that have enough, or pushed by the script; and of the simulation itself. */
#ifndef SIMULATE_PARTS_H
#define SIMULATE_PARTS_H

/* Tells a fault where one does not do what its header says. */
void parts_check(void);

#endif
