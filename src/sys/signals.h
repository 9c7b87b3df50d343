/* signals.h - what SIGINT, SIGTERM and SIGHUP do. While at least one run is at work, the first of them is noted instead
 * of ending the program; the second ends it. The handlers stay between runs, where a signal does what it did before the
 * first run. */
#ifndef PARLUA_SIGNALS_H
#define PARLUA_SIGNALS_H
#include <signal.h>
#include <stdbool.h>

/* A run begins. wake_fd: an eventfd to be written to when a signal is caught, or -1; is_timed: see signals_continue. */
void signals_begin(int wake_fd, bool is_timed);
/* It has ended; as for signals_begin. */
void signals_end(int wake_fd);
/* Handlers were set elsewhere: the next run sets its own again. */
void signals_changed(void);
/* The signal that was caught since this was last asked, or 0. */
int signals_pending(void);
/* While a source of the script gives tasks: a signal ends the system calls that it waits in (EINTR), as reading from a
 * terminal. */
void signals_break(int is_on);
/* How many were caught since signals_begin of the outermost run. */
int signals_count(void);
/* For a prompt: `observer` is called in the handler for each signal that is caught in a run, and the second Ctrl-C does
 * not end the program. */
void signals_observe(void (*observer)(int number));
/* What was caught is dealt with: the next signal is a first one. */
void signals_forget(void);
/* Has this process been stopped and continued since this was last asked, in a run that is timed? What was measured by
 * the clock then means nothing. */
bool signals_continue(void);
/* A caught signal also sets *cell to -1 (the limit of a serial run); NULL: none. Returns the cell before. */
volatile double *signals_watch(volatile double *cell);
/* The script leaves an open run alone for a while, and comes back to it. While all are left alone, a signal does what
 * it does in any program; but when a loop over a stream is in its body it is noted, and only ends the program where the
 * loop does not go on soon. */
void signals_pause(int is_loop);
void signals_resume(int is_loop);
/* In a handler: signals are the main thread's, which runs the script. In another thread: passes the signal on and
 * returns true. Threads of tasks don't block signals, as the programs that tasks run would inherit that. */
bool signals_pass_to_main(int number);
/* For a program that answers a signal in its own time: it comes once more, from a timer, if `begin` is not followed by
 * its end soon. Prepare before the first. */
void signals_prepare(void);
void signals_grace(int number, bool begin);
/* Of the serial engine: a nested run hands the signal on to the run around it. */
void signals_again(int number);
/* While a worker is forked, the signals of a terminal and of a batch system wait, in the calling thread: `hold` returns
 * what it blocks otherwise. */
sigset_t signals_hold(void);
void signals_release(const sigset_t *usual);
/* In a worker process, or a helper: lets this process pass over the signals of a terminal and of a batch system. */
void signals_pass_over(void);
/* Where nobody has set what a signal does: from here on it does nothing where it is a thread's own (raise in a task, a
 * pipe that nobody reads), or SIGPIPE while the main thread is in a library; else what it does in any program. */
void signals_keep_off(int number);
/* Above 0: the main thread is in a library that writes to other processes, as MPI does. Such a one may have ended: that
 * must not end this one. */
extern volatile sig_atomic_t signals_elsewhere;
/* signals_begin and signals_end of a serial run, which has no hub. */
void signals_serial(int begin);

/* From here on a file that may not become longer (ulimit -f) is an error where it is written, told of with its name,
 * not the end of the program. */
void signals_survive_long_files(void);

#endif
