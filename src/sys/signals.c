/* signals.c - see signals.h. */
#include "sys/signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sys/clock.h"

/* One event often comes as several signals: timeout(1) sends SIGTERM to the program and then to its group, a terminal
 * that goes away sends SIGHUP for itself and by its shell. Within this many seconds of the first they are taken for
 * one. Ctrl-C is a person's. */
static const double same_event_seconds = 1;

/* A signal that comes while a loop over a stream is in its body is noted for the stream. A script that does not come
 * back to the stream within this time has left it, or computes: then the signal does what it does in any program. */
static const long grace_nanoseconds = 300000000;

/* The one piece of global state: signals are delivered to the process. It is the main thread's; others only ask for the
 * total. Of the runs that are open, those whose script does something else meanwhile are away; those of a loop, to
 * which the script comes back, are counted in signal_loops too. */
static volatile sig_atomic_t signal_number, signal_total, signal_depth, signal_away, signal_loops, signal_continued,
    signal_first;
static double signal_time; /* of the first */
static volatile double *volatile signal_cell;
static int signal_fd = -1;
static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
enum { CAUGHT = sizeof caught / sizeof *caught };
static struct sigaction old_actions[CAUGHT], old_continue;
static void (*volatile signal_observer)(int number);
static bool signals_kept; /* between runs, signals go on being noted: see signals_end */
static timer_t grace_timers[CAUGHT];
static pid_t grace_owner; /* whose timers they are: a fork has none */

static double set_at; /* when the handlers were set last */
/* Each run sets its own handlers: what was set between two runs is lost. Runs that follow each other within this time
 * do not look.
 */
static const double set_seconds = 1e-3;

void signals_prepare(void)
{
  if (grace_owner == getpid()) return;
  for (int i = 0; i < CAUGHT; i++) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = caught[i]};
    if (timer_create(CLOCK_MONOTONIC, &event, &grace_timers[i]) < 0) return;
  }
  grace_owner = getpid();
}

static void set_grace(int number, long nanoseconds)
{
  struct itimerspec time = {.it_value.tv_nsec = nanoseconds};
  if (grace_owner != getpid()) return;
  for (int i = 0; i < CAUGHT; i++)
    if (caught[i] == number) timer_settime(grace_timers[i], 0, &time, NULL);
}

void signals_grace(int number, bool begin)
{
  set_grace(number, begin ? grace_nanoseconds : 0);
}

/* No run is at work: the signal does what it did before the first. The handlers stay, as setting them anew for each run
 * costs a short one much of its time. */
static void pass_on(int number)
{
  for (int i = 0; i < CAUGHT; i++)
    if (caught[i] == number) sigaction(number, &old_actions[i], NULL);
  set_at = 0;
  raise(number); /* comes when the handler has returned */
}

static bool is_main_thread(void)
{
  return (pid_t)syscall(SYS_gettid) == getpid();
}

bool signals_pass_to_main(int number)
{
  if (is_main_thread()) return false;
  syscall(SYS_tgkill, getpid(), getpid(), number);
  return true;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
  const uint64_t one = 1;
  int error = errno;
  (void)context;
  if (info->si_code == SI_TKILL && info->si_pid == getpid() && !is_main_thread())
    return; /* a task has raised it in itself */
  if (signals_pass_to_main(number)) return;
  bool is_away = signal_depth == signal_away;
  if (info->si_code == SI_TIMER) {
    if (is_away && signal_number) pass_on(number);
    return;
  }
  if (is_away && !signals_kept && signal_loops == 0) {
    pass_on(number);
    return;
  }
  if (signal_total > 0 && number != SIGINT && clock_seconds() - signal_time < same_event_seconds) return;
  if (signal_total == 0) {
    signal_time = clock_seconds();
    signal_first = number;
  }
  signal_number = number;
  if (signal_observer) signal_observer(number);
  if (__atomic_add_fetch(&signal_total, 1, __ATOMIC_RELAXED) > 1 &&
      (!signal_observer || number != SIGINT)) { /* the second ends the program; its workers die with it */
    signal(number, SIG_DFL);
    raise(number);
  }
  if (is_away) signals_grace(number, true);
  if (signal_cell) *signal_cell = -1;
  ssize_t ignored = signal_fd >= 0 ? write(signal_fd, &one, sizeof one) : 0;
  (void)ignored;
  errno = error;
}

static void on_continue(int number)
{
  signal_continued = number;
  if (old_continue.sa_handler != SIG_DFL && old_continue.sa_handler != SIG_IGN) old_continue.sa_handler(number);
}

void signals_changed(void)
{
  set_at = 0;
}

static void watch_continue(void)
{
  struct sigaction action = {.sa_handler = on_continue, .sa_flags = SA_RESTART}, before;
  sigaction(SIGCONT, &action, &before);
  if (before.sa_handler != on_continue) old_continue = before;
}

/* A run is at work, where none was. */
static void catch_signals(void)
{
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_RESTART | SA_SIGINFO}, before;
  double now = clock_seconds();
  if (now - set_at < set_seconds) return;
  set_at = now;
  for (int i = 0; i < CAUGHT; i++) sigaddset(&action.sa_mask, caught[i]);
  for (int i = 0; i < CAUGHT; i++) {
    sigaction(caught[i], &action, &before);
    if (before.sa_sigaction == on_signal) continue;
    old_actions[i] = before;
    if (before.sa_handler == SIG_IGN) sigaction(caught[i], &before, NULL); /* nohup: it stays so */
  }
}

void signals_break(int is_on)
{
  for (int i = 0; i < CAUGHT; i++) {
    struct sigaction action;
    if (sigaction(caught[i], NULL, &action) != 0 || action.sa_sigaction != on_signal) continue;
    action.sa_flags = is_on ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
    sigaction(caught[i], &action, NULL);
  }
}

/* No run is at work any more: what follows as part of the same event must not end the program. A signal that was noted
 * when the last run had looked for the last time does what it does without a run, at once, or after a while in the body
 * of a loop. */
static void leave_signals(void)
{
  int number = signal_number;
  if (signal_depth != signal_away) return;
  signals_kept = signal_total > 0 && signal_first != SIGINT;
  if (!number) return;
  if (signal_loops > 0) {
    signals_grace(number, true);
    return;
  }
  signal_number = 0;
  pass_on(number);
}

void signals_begin(int wake_fd, bool is_timed)
{
  if (is_timed) watch_continue();
  if (signal_depth == 0) { /* before the run counts: what comes from then on is the run's */
    signal_fd = wake_fd;
    signals_forget();
    signals_kept = false;
  }
  signal_depth++;
  if (signal_depth - signal_away == 1) catch_signals();
}

void signals_end(int wake_fd)
{
  if (signal_fd == wake_fd) signal_fd = -1; /* it may be closed from here on */
  if (signal_depth == 0) return;
  signal_depth--;
  leave_signals();
}

void signals_pause(int is_loop)
{
  if (is_loop) {
    signals_prepare();
    signal_loops++;
  }
  signal_away++;
  leave_signals();
}

void signals_resume(int is_loop)
{
  if (is_loop) signal_loops--;
  signal_away--;
  if (signal_depth - signal_away == 1) catch_signals();
}

volatile double *signals_watch(volatile double *cell)
{
  volatile double *before = signal_cell;
  signal_cell = cell;
  return before;
}

int signals_pending(void)
{
  int number = signal_number;
  if (number) signal_number = 0;
  return number;
}

void signals_again(int number)
{
  signal_number = number;
  if (signal_cell) *signal_cell = -1;
}

void signals_serial(int begin)
{
  if (begin)
    signals_begin(-1, false);
  else
    signals_end(-1);
}

int signals_count(void)
{
  return __atomic_load_n(&signal_total, __ATOMIC_RELAXED);
}

void signals_observe(void (*observer)(int number))
{
  signal_observer = observer;
}

void signals_forget(void)
{
  signal_number = 0;
  __atomic_store_n(&signal_total, 0, __ATOMIC_RELAXED);
}

bool signals_continue(void)
{
  bool continued = signal_continued != 0;
  if (continued) signal_continued = 0;
  return continued;
}

sigset_t signals_hold(void)
{
  sigset_t held, usual;
  sigemptyset(&held);
  for (int i = 0; i < CAUGHT; i++) sigaddset(&held, caught[i]);
  pthread_sigmask(SIG_BLOCK, &held, &usual);
  return usual;
}

void signals_release(const sigset_t *usual)
{
  pthread_sigmask(SIG_SETMASK, usual, NULL);
}

static void ignore_signal(int number)
{
  (void)number;
}

/* A terminal's Ctrl-C or end and a batch system's SIGTERM reach the whole group: only the coordinator decides what
 * follows. Handlers, not SIG_IGN, so that programs that tasks start are not made deaf; but what is ignored, as under
 * nohup, stays so for them. */
void signals_pass_over(void)
{
  struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < CAUGHT; i++) {
    struct sigaction before;
    if (sigaction(caught[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(caught[i], &action, NULL);
  }
  signal(SIGPIPE, SIG_DFL);
  struct sigaction before;
  if (sigaction(SIGXFSZ, NULL, &before) == 0 && before.sa_handler == ignore_signal) signal(SIGXFSZ, SIG_DFL);
}

volatile sig_atomic_t signals_elsewhere;

/* A thread's own signal (raise in a task, a pipe that nobody reads) does nothing, nor does a library's pipe. */
static void on_other_signal(int number, siginfo_t *info, void *context)
{
  (void)context;
  if (number == SIGPIPE && signals_elsewhere > 0) return;
  bool is_raised = number == SIGPIPE || (info->si_code == SI_TKILL && info->si_pid == getpid());
  if (is_raised && !is_main_thread()) return;
  signal(number, SIG_DFL);
  if (info->si_code <= 0)
    syscall(SYS_tgkill, getpid(), getpid(), number); /* else it is a fault: that comes again by itself */
}

void signals_keep_off(int number)
{
  struct sigaction action = {.sa_sigaction = on_other_signal, .sa_flags = SA_RESTART | SA_SIGINFO | SA_NODEFER}, before;
  sigemptyset(&action.sa_mask);
  if (sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(number, &action, NULL);
}

/* A handler, for the same reason. */
void signals_survive_long_files(void)
{
  struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART}, before;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGXFSZ, NULL, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(SIGXFSZ, &action, NULL);
}
