/* family.h - ending a process together with what it has started; counting what that is. */
#ifndef PARLUA_FAMILY_H
#define PARLUA_FAMILY_H
#include <sys/types.h>

/* Kills `pid`, a child of this process that was not waited for, and all that descends from it: the programs that a task
 * runs by os.execute or io.popen. (One that has made itself independent, as daemons do, is not found.) Returns 0 or an
 * errno. */
int family_kill(pid_t pid);

/* How many children of `pid`'s children run the program at `path`. */
int family_count(pid_t pid, const char *path);
#endif
