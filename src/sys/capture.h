/* capture.h - what programs that tasks start, and copies that they fork, write to descriptors 1 and 2.
 *
 * In a worker that is a process these go through pipes, so that lines arrive whole and where those of print do. A
 * worker that starts no program has neither pipes nor thread. Each start has pipes of its own: its lines belong to its
 * task, however long it runs. The worker's own descriptors are the pipes only while something is being started, or
 * waited for by system(3): what the C library says when it aborts goes where it always goes.
 *
 * A thread of the worker reads the pipes. It never waits for the coordinator: it takes as much as there is room for,
 * and looks again 2 ms later where there is none (within a line, nothing else comes between); meanwhile the program
 * waits for room in its pipe. Once a program has ended that was waited for (system, pclose, waitpid), its last lines
 * are taken before the task goes on, so that what the task prints next stands behind them. What others have written by
 * the end of a chunk is taken before that is told: after a run nobody reads on. When the worker ends before
 * a program, a process stays that brings its lines to the script's own streams, up to the program's end. */
#ifndef PARLUA_CAPTURE_H
#define PARLUA_CAPTURE_H
#include <stdbool.h>
#include <stddef.h>

/* Where it goes. All are called under the lock. */
struct capture_sink {
  void *to;
  /* How many bytes can be put without waiting. */
  size_t (*room)(void *to);
  /* Takes what a program of the task (as `task` told at its start) wrote to stream 1 or 2. */
  void (*put)(void *to, int stream, double task, const char *bytes, size_t length);
  /* The task that runs; 0 where nobody wants to know. */
  double (*task)(void *to);
  /* The task waits for a program that waits for room; or does so no more. */
  void (*hold)(void *to, bool is_held);
};

/* In a process that is to be a worker, before others watch its forks who may start programs then (guard.h). */
void capture_watch_forks(void);
/* In a worker that owns its process. `sink` stays as long as the process. */
void capture_open(const struct capture_sink *sink);
/* The worker ends: takes what is there, and leaves the rest to a process of its own. */
void capture_close(void);

/* Around the start of a program: what it inherits as 1 and 2 are pipes. Does nothing outside of workers; not where a
 * task has put something else there, nor where a person is at the other end who may be asked. */
void capture_begin(void);
void capture_end(void);
/* Before a wait for programs. */
void capture_wait(void);
/* After it, and before it is told that tasks have ended: takes what programs have written by now. */
void capture_settle(void);

/* The task itself writes to a descriptor. True: it was taken. */
bool capture_write(int fd, const char *bytes, size_t length);

/* Around all that may be called by the task's thread and by the reader; nothing where there is no reader. */
void capture_lock(void);
void capture_unlock(void);
#endif
