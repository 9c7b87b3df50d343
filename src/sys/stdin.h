/* stdin.h - who reads standard input. It belongs to the script. While a source reads it, and in processes that run
 * tasks, descriptor 0 is /dev/null, so that neither tasks nor the programs that they run take what belongs
 * to others. */
#ifndef PARLUA_STDIN_H
#define PARLUA_STDIN_H
#include <stdbool.h>
#include <stddef.h>

/* Opens standard input for a source: returns a descriptor of the caller's own to read from, or -1 with errno set. Where
 * the source becomes the one that reads it, *taken is true: then descriptor 0 is empty until all who took it have given
 * it back. */
int stdin_open(bool *taken);
void stdin_give_back(void);
/* What stdio has read ahead of standard input and nobody has taken yet: copies up to `most` bytes, which stdio then
 * forgets. */
size_t stdin_take_buffered(char *bytes, size_t most);

/* In a process of tasks: makes descriptor 0 empty, or what it was when the process began. */
void stdin_empty(bool empty);
/* In a thread of tasks, which shares descriptor 0 with the script: is standard input empty for sources that it opens,
 * and for children that it forks? */
void stdin_empty_in_thread(bool empty);
/* In a child, after a thread's fork. */
void stdin_part(void);
#endif
