/* meet.h - sleep and wake, tried out: a worker and its coordinator, of which one sleeps while the other has something
 * to tell it, meet in every order in which each is interrupted once. Schedules drawn at random seldom come to these
 * orders, and a wake-up that is lost there costs time and no task. So do a coordinator that cuts a chunk, or takes it
 * back, and the worker that runs it. The code is that which ships, src/sys/hub.c too (docs/PROTOCOL.md, Sleep, News,
 * Cut). */
#ifndef SIMULATE_MEET_H
#define SIMULATE_MEET_H

/* Tells a fault where one of them sleeps on, or where a task runs that was cut off. */
void meet_check(void);

#endif
