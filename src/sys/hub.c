/* hub.c - see hub.h. */
#include "sys/hub.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { HUB_BYTES = 4096 };
static const uint32_t bell_mark = 0xffffffff; /* in place of a worker's number */

int hub_open(struct hub *hub, const struct bell *bell)
{
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = bell_mark};
  memset(hub, 0, sizeof *hub);
  hub->bell.fd = hub->poll_fd = -1;
  hub->shared = bell != NULL;
  if (bell) {
    hub->bell = *bell;
  } else {
    hub->bell.asleep = mmap(NULL, HUB_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (hub->bell.asleep == MAP_FAILED) {
      hub->bell.asleep = NULL;
      return errno;
    }
    hub->bell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  }
  hub->poll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (hub->bell.fd < 0 || hub->poll_fd < 0 || epoll_ctl(hub->poll_fd, EPOLL_CTL_ADD, hub->bell.fd, &event) < 0) {
    int error = errno;
    hub_close(hub);
    return error;
  }
  return 0;
}

void hub_close(struct hub *hub)
{
  if (hub->bell.fd >= 0 && !hub->shared) close(hub->bell.fd);
  if (hub->poll_fd >= 0) close(hub->poll_fd);
  if (hub->bell.asleep && !hub->shared) munmap(hub->bell.asleep, HUB_BYTES);
  hub->bell.fd = hub->poll_fd = -1;
  hub->bell.asleep = NULL;
}

int hub_watch(struct hub *hub, int pid_fd, uint32_t w)
{
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = w};
  return epoll_ctl(hub->poll_fd, EPOLL_CTL_ADD, pid_fd, &event) < 0 ? errno : 0;
}

void hub_unwatch(struct hub *hub, int pid_fd)
{
  epoll_ctl(hub->poll_fd, EPOLL_CTL_DEL, pid_fd, NULL);
}

void hub_asleep(struct hub *hub)
{
  __atomic_store_n(hub->bell.asleep, 1, __ATOMIC_SEQ_CST);
}

void hub_awake(struct hub *hub)
{
  __atomic_store_n(hub->bell.asleep, 0, __ATOMIC_SEQ_CST);
}

/* Waits to the nanosecond where the kernel can (Linux 5.11 and later; valgrind can't), else to the next millisecond. */
static int wait_for_events(int poll_fd, struct epoll_event *events, int most, double seconds)
{
  static bool coarse;
  if (!coarse) {
    struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    int n = epoll_pwait2(poll_fd, events, most, &time, NULL);
    if (n >= 0 || errno != ENOSYS) return n;
    coarse = true;
  }
  return epoll_wait(poll_fd, events, most, (int)(seconds * 1e3) + (seconds > 0));
}

int hub_wait(struct hub *hub, double seconds, uint32_t *ended, int most)
{
  struct epoll_event events[64];
  int n = wait_for_events(hub->poll_fd, events, 64, seconds), count = 0;
  hub_awake(hub);
  for (int i = 0; i < n; i++) {
    uint64_t rung;
    if (events[i].data.u32 != bell_mark) {
      if (count < most) ended[count++] = events[i].data.u32;
    } else if (read(hub->bell.fd, &rung, sizeof rung) < 0) {
      continue; /* another reader was first: nothing to take */
    }
  }
  return count;
}

/* One event often comes as several signals: timeout(1) sends SIGTERM to the program and then to its group, a terminal that goes
 * away sends SIGHUP for itself and by its shell. Within this many seconds of the first they are taken for one. Ctrl-C is a
 * person's. */
static const double same_event_seconds = 1;

/* A signal that comes while a loop over a stream is in its body is noted for the stream. A script that does not come back to the
 * stream within this time has left it, or computes: then the signal does what it does in any program. */
static const long grace_nanoseconds = 300000000;

/* The one piece of global state: signals are delivered to the process. Of the runs that are open, those whose script does something
 * else meanwhile are away; those of a loop, to which the script comes back, are counted in signal_loops too. */
static volatile sig_atomic_t signal_number, signal_total, signal_depth, signal_away, signal_loops, signal_continued, signal_first;
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
/* Whoever sets handlers of his own between two runs finds them replaced by the next; but short runs that follow each other so
 * closely do not look. */
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

/* No run is at work: the signal does what it did before the first. The handlers stay, as setting them anew for each run costs a
 * short one much of its time. */
static void pass_on(int number)
{
  for (int i = 0; i < CAUGHT; i++)
    if (caught[i] == number) sigaction(number, &old_actions[i], NULL);
  set_at = 0;
  raise(number); /* comes when the handler has returned */
}

bool signals_pass_to_main(int number)
{
  if ((pid_t)syscall(SYS_gettid) == getpid()) return false;
  syscall(SYS_tgkill, getpid(), getpid(), number);
  return true;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
  const uint64_t one = 1;
  int error = errno;
  bool is_away = signal_depth == signal_away;
  (void)context;
  if (signals_pass_to_main(number)) return;
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
  if (++signal_total > 1 && (!signal_observer || number != SIGINT)) { /* the second ends the program; its workers die with it */
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

/* No run is at work any more: what follows as part of the same event must not end the program. */
static void keep_signals(void)
{
  if (signal_depth == signal_away) signals_kept = signal_total > 0 && signal_first != SIGINT;
}

void signals_begin(const struct bell *bell, bool is_timed)
{
  if (is_timed) watch_continue();
  if (signal_depth++ == 0) {
    signal_fd = bell ? bell->fd : -1;
    signal_number = signal_total = 0;
    signals_kept = false;
  }
  if (signal_depth - signal_away == 1) catch_signals();
}

void signals_end(const struct bell *bell)
{
  if (bell && signal_fd == bell->fd) signal_fd = -1; /* it may be closed from here on */
  if (signal_depth == 0) return;
  signal_depth--;
  keep_signals();
}

void signals_pause(int is_loop)
{
  if (is_loop) {
    signals_prepare();
    signal_loops++;
  }
  signal_away++;
  keep_signals();
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
    signals_begin(NULL, false);
  else
    signals_end(NULL);
}

int signals_count(void)
{
  return signal_total;
}

void signals_observe(void (*observer)(int number))
{
  signal_observer = observer;
}

void signals_forget(void)
{
  signal_number = signal_total = 0;
}

bool signals_continue(void)
{
  bool continued = signal_continued != 0;
  if (continued) signal_continued = 0;
  return continued;
}
