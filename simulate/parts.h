/* parts.h - what schedules seldom show of the dispatcher's small parts: how works are cut, in what portions ranges are
 * given back, how large chunks are. A fault there costs order, balance or a try's number, and no task. */
#ifndef SIMULATE_PARTS_H
#define SIMULATE_PARTS_H

/* Tells a fault where one does not do what its header says. */
void parts_check(void);

#endif
