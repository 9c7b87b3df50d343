/* stack.h - whole calls of the library in virtual time: the coordinator's Lua, the dispatcher, slots, and workers that
 * are real Lua workers (src/lua/worker.c) on fibers, each with a state of its own. simulate/stack.lua makes the calls
 * and knows what is right.
 */
#ifndef SIMULATE_STACK_H
#define SIMULATE_STACK_H
#include "plan.h"

/* Makes the calls of a plan; tells a fault where something is not right. To be called in a process of its own: states
 * of workers that died are left. */
void stack_run(const struct plan *plan);

#endif
