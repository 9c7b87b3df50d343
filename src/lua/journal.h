/* journal.h - the writer of a journal: one file, one thread that puts rows into it. What is in the file, and how it is
 * read, is the business of lua/parlua/journal/init.lua, which calls this by FFI; the structures are in shared.h.
 *
 * A thread of its own writes, so that rows are in the file within a fraction of a second also while the script, or a
 * task of a serial run, is busy, and nobody waits for the disk. It is never inside the library while this process
 * forks: workers may use SQLite themselves. */
#ifndef PARLUA_JOURNAL_H
#define PARLUA_JOURNAL_H
#include "lua/ffi_journal.h"
#include "sys/buffer.h"

/* A journal without a file, in another process than the one that writes: the rows that are put lie in *rows, until the
 * caller empties it. To be closed with journal_close. NULL: there is no memory. */
struct journal *journal_gather(struct buffer **rows);

#endif
