/* streams.h - the C library's streams (FILE) at the end of a process that shares its open files with others. */
#ifndef PARLUA_STREAMS_H
#define PARLUA_STREAMS_H

/* Writes out what stands in streams that were written to. A stream that was read is left alone: exit(3), and
 * fflush(NULL) from glibc 2.41 on, move the offset of such a file back to where the program had read to, and a forked
 * process has that offset in common with its parent, who would read what comes next twice. */
void streams_flush(void);

/* Why an earlier write to this file failed, as far as the file still tells: an errno, or 0. Nothing is written. */
int streams_why_unwritable(int fd);

/* From here on exit(3), whoever calls it, ends this process by `flush`, streams_flush and _exit with its status: what
 * was to be done at the end of the program that this process was forked from is not done twice. Handlers that are added
 * later still run before. */
void streams_end_quietly(void (*flush)(void));
#endif
