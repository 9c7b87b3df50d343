/* switch.h - from one stack to another. */
#ifndef SIMULATE_SWITCH_H
#define SIMULATE_SWITCH_H

/* A new stack that ends at `top`, on which `entry` begins when it is first switched to. */
void *switch_prepare(void *top, void (*entry)(void));
/* Goes on at `to`; *from: where to come back to. */
void switch_stack(void **from, void *to);

#endif
