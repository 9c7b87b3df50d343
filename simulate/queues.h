/* queues.h - what schedules seldom show of queues, works and chunks (run/queue.h, run/work.h, run/chunks.h): how works
 * are cut, in what portions ranges are given back, how large chunks are. A fault there costs order, balance or a try's
 * number, and no task. */
#ifndef SIMULATE_QUEUES_H
#define SIMULATE_QUEUES_H
#include "run/queue.h"

enum { ATTEMPT = 3 }; /* of works, where others are cut off from them */

/* Tells a fault where it is another number; `what` it is. */
void expect_number(const char *what, double got, double wanted);
/* Has so many works stand ready for what is to be cut off. */
void reserve(struct queue *queue, int count);

/* Tells a fault where one does not do what its header says. */
void queues_check(void);

#endif
