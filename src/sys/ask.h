/* ask.h - SIGUSR1 asks the program where its run is: the run looks here from time to time, and tells. */
#ifndef PARLUA_ASK_H
#define PARLUA_ASK_H
#include <stddef.h>

/* Has the signal noted from now on, unless the script has a use of its own for it. */
void ask_prepare(void);
/* In a worker: the signal does again what it does in any program. */
void ask_leave(void);
/* A run begins (1) or has ended (-1): while there is none, who asks is told so at once. */
void ask_run(int change);
/* The process that has asked since the last call; 0: none has. */
int ask_taken(void);
/* Gives the answer to `parlua status` (ask_wait), if that is what process `asker` is. Returns 0; -1: it is something
 * else, or gone: tell it on standard error. */
int ask_answer(int asker, const char *text, size_t length);
/* Asks process `asked` and waits for its answer, at most so many seconds. Returns its length; -1: an errno is set,
 * ESRCH: there is no such process, EINVAL: it does not run tasks just now, ETIMEDOUT: it does not answer. */
int ask_wait(int asked, double seconds, char *answer, size_t room);
#endif
