/* ahead.h - compressed files, unpacked by threads of their own ahead of who reads them: blocks of bgzip and frames of
 * zstd side by side; anything else from its beginning to its end, by one thread. */
#ifndef PARLUA_AHEAD_H
#define PARLUA_AHEAD_H
#include <stddef.h>
#include <sys/types.h>

struct ahead;

/* Takes an open, regular file that is compressed, from where it is read next; it is closed with what is returned.
 * NULL: *message says why, or is NULL, and errno does; the file stays open. */
struct ahead *ahead_open(int fd, const char **message);
/* Lets so many threads work; one where only one can. */
void ahead_widen(struct ahead *ahead, size_t threads);
/* In a forked copy of the process, which has none of the threads, only closes the file. */
void ahead_close(struct ahead *ahead);
/* The next bytes in their order, valid until the next call. Returns how many; 0: it is at its end; -1: it is not
 * readable: *message, or NULL and errno. */
ssize_t ahead_next(struct ahead *ahead, const char **bytes, const char **message);
#endif
