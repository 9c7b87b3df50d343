/* guard.h - programs that tasks have started end with the script, however that ends.
 *
 * A worker that is a process puts a mark into its environment, which all programs inherit that its tasks start. When
 * the script exits, all processes with its mark are killed. It may also be killed itself: so the first worker that
 * starts a program starts the guard as well, a process that waits for the end of the script's process and then does the
 * same. Whoever starts no program has no guard. */
#ifndef PARLUA_GUARD_H
#define PARLUA_GUARD_H
#include <stdbool.h>

#define GUARD_VARIABLE "PARLUA_FAMILY" /* the mark's name in the environment */

/* In the process with whose end programs are to end, before it forks workers or whoever forks them. Cheap when called
 * again. Where there is no memory nothing is guarded. */
void guard_open(void);
/* In a worker, after the fork. */
void guard_enter_worker(void);
/* A program is about to be started by this process. Outside of workers nothing happens. In a script that is ending it
 * does not return. */
void guard_program(void);
/* In the script's process, for a program that a task there is about to start: the value of GUARD_VARIABLE that the
 * program is to have in its environment, as those of workers have by themselves. NULL where there is no memory. */
const char *guard_mark(void);

/* Was this program started to be a guard? Then guard_main is all that it is to do; it returns the exit status. */
bool guard_is_meant(int argc, char **argv);
int guard_main(char **argv);
#endif
