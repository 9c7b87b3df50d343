/* attendant.h - a thread that goes on with a run while its script does other things: it hands out tasks that were
 * pushed, takes results and finds deaths and late tasks, so that workers don't wait for the script. It touches no Lua
 * state: what it is told by the dispatcher it keeps, for the script to take when it comes back.
 *
 *     script   -- leave -->  attendant: dispatch, and keep events
 *              <- come back - (waits until the attendant lets go)
 *              -- next -->   first what was kept, then the dispatcher's own events
 *
 * The dispatcher belongs to whoever holds the attendant's lock: the script while it is there, the attendant while it is
 * not. A script that is away for less than a millisecond costs nothing but an uncontended lock: only then does the
 * attendant take over.
 *
 * While the script's thread forks, it does nothing, whatever the script's other runs do: the copy finds no lock held.
 *
 * What it leaves to the script: starting workers (a copy of the program can be made by the script's thread alone, and
 * other workers inherit the signals of the thread that starts them), trying failed tasks again, signals. */
#ifndef PARLUA_ATTENDANT_H
#define PARLUA_ATTENDANT_H
#include "run/dispatch.h"

struct attendant;

/* For a run whose tasks are pushed (dispatch_intake). The script is there. NULL with errno set. */
struct attendant *attendant_open(struct dispatch *d);
/* The script goes away; `outstanding` tasks have not ended as far as it knows: of 0 there is nothing to attend to. */
void attendant_leave(struct attendant *attendant, double outstanding);
/* The script, away, is about to push a task: see dispatch_rouse. Does nothing while the attendant is at work; there may
 * be none (NULL). */
void attendant_rouse(struct attendant *attendant, struct dispatch *d);
/* It is back, when this returns. Calls may be nested in no way; a second one does nothing. */
void attendant_come_back(struct attendant *attendant);
/* As dispatch_next, behind what was kept. The script is there. */
void attendant_next(struct attendant *attendant, struct event *event, double wait);
/* Ends the thread, and frees what it has kept. The script is there, or not. */
void attendant_close(struct attendant *attendant);
#endif
