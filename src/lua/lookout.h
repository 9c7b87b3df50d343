/* lookout.h - a thread that has the rows of a journal written while the script is away: in the body of a loop over
 * imap, in a generator that waits, in a function of a reduction. Workers go on meanwhile, and what their tasks return
 * lies in their slots until the script takes it. The lookout reads it there (run/peek.h) and takes nothing; when the
 * script is back it takes the same results and puts the same rows in the place of these.
 *
 *     script    -- leave -->  lookout: reads what is new in the slots, in a Lua state of its own, and puts rows
 *               <- enter ---  (the script waits until the row under way was put)
 *
 * Each call of a run is such a visit: while the script is inside one, it holds the lock, and the lookout does nothing.
 * A script that is away for less than a twentieth of a second costs nothing but an uncontended lock.
 *
 * The Lua state is made when there is something to do for the first time. It decodes plain data only
 * (lua/parlua/journal/lookout.lua); what it can't read waits for the script. It makes the arguments of an indexed
 * source from the index. The hashes of other arguments are noted by the script (notes.h), as it pulls them.
 *
 * Processes are forked inside of visits, hence while the lookout does nothing; a copy has no lookout. */
#ifndef PARLUA_LOOKOUT_H
#define PARLUA_LOOKOUT_H
#include <lua.h>
#include <stdbool.h>

#include "lua/ffi_journal.h"
#include "run/dispatch.h"

/* Pushes a lookout over a run, which the caller keeps alive; its thread runs. `what`: for the Lua side. Pushes nil
 * where there is no thread to be had: then rows wait for the script. */
struct lookout *lookout_push(lua_State *L, const struct dispatch *d, struct journal *journal, const char *what,
                             size_t length);
/* The script is in a call of the run, and nobody else reads; after a second enter nothing happens. */
void lookout_enter(struct lookout *lookout);
/* It has left. */
void lookout_leave(struct lookout *lookout);
/* It is given what tasks have spawned. No rows are put until it has held those of such tasks (lookout_hold) and says so
 * (lookout_go_on). */
void lookout_pause(struct lookout *lookout);
/* Ends the thread. The run and the journal are not used any more. Done twice, it does nothing. */
void lookout_stop(struct lookout *lookout);

/* By FFI (ffi_journal.h). The script notes the arguments of a task that it has pulled, or that was spawned, in
 * ascending order, and forgets them as it puts the row of that task; `json` may be NULL. It holds a task that has
 * spawned others, whose rows come before that of the task, until it has put these; and goes on when all are held of
 * which it was given something. The Lua side of the lookout asks for the arguments (0: none were noted; the bytes are
 * valid until the next time), whether a task is held, and whether the script is waiting to come back. */

#endif
