/* edges.h - bounds of slots, and orders of a worker's end, to which schedules come too seldom. */
#ifndef SIMULATE_EDGES_H
#define SIMULATE_EDGES_H

void edges_check(void);

#endif
