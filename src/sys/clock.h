/* clock.h - the time. */
#ifndef PARLUA_CLOCK_H
#define PARLUA_CLOCK_H

/* Seconds on a clock that only goes forward (CLOCK_MONOTONIC). */
double clock_seconds(void);

#endif
