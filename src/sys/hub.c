/* hub.c - see hub.h. */
#include "sys/hub.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/clock.h"

static const uint32_t bell_mark = 0xffffffff; /* in place of a worker's number */

enum { LOOKS = 16, MOST_EVENTS = 64 };

static int watch_bell(struct hub *hub)
{
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = bell_mark}; /* nobody reads the counter */
  hub->poll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (hub->bell_fd >= 0 && hub->poll_fd >= 0 && epoll_ctl(hub->poll_fd, EPOLL_CTL_ADD, hub->bell_fd, &event) == 0)
    return 0;
  int error = errno;
  hub_close(hub);
  return error;
}

int hub_open(struct hub *hub, uint32_t numbers)
{
  size_t bytes = beacon_bytes(numbers);
  memset(hub, 0, sizeof *hub);
  hub->bell_fd = hub->poll_fd = -1;
  if (numbers > BEACON_MOST_NUMBERS) return E2BIG;
  hub->beacon = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (hub->beacon == MAP_FAILED) {
    hub->beacon = NULL;
    return errno;
  }
  hub->bytes = bytes;
  hub->reader = beacon_reader(numbers);
  hub->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return watch_bell(hub);
}

int hub_open_on(struct hub *hub, struct beacon *beacon, uint32_t numbers, int bell_fd)
{
  *hub = (struct hub){.beacon = beacon, .reader = beacon_reader(numbers), .bell_fd = bell_fd, .poll_fd = -1};
  return watch_bell(hub);
}

void hub_close(struct hub *hub)
{
  if (hub->poll_fd >= 0) close(hub->poll_fd);
  if (hub->bytes) {
    if (hub->bell_fd >= 0) close(hub->bell_fd);
    munmap(hub->beacon, hub->bytes);
  }
  *hub = (struct hub){.bell_fd = -1, .poll_fd = -1};
}

struct bell hub_bell(const struct hub *hub, uint32_t number)
{
  return (struct bell){hub->beacon, hub->bell_fd, number};
}

int hub_watch(struct hub *hub, int pid_fd, uint32_t number)
{
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = number};
  return epoll_ctl(hub->poll_fd, EPOLL_CTL_ADD, pid_fd, &event) < 0 ? errno : 0;
}

void hub_unwatch(struct hub *hub, int pid_fd)
{
  epoll_ctl(hub->poll_fd, EPOLL_CTL_DEL, pid_fd, NULL);
}

bool hub_next_ready(struct hub *hub, uint32_t *number)
{
  return beacon_next(hub->beacon, &hub->reader, number);
}

void hub_ring(const struct hub *hub)
{
  static const uint64_t one = 1;
  ssize_t ignored = write(hub->bell_fd, &one, sizeof one);
  (void)ignored; /* full counter: it is awake anyway */
}

void hub_expect_long(struct hub *hub)
{
  hub->last_wait = 1;
  hub->has_woken = false;
}

void hub_expect_wake(struct hub *hub)
{
  hub->has_woken = true;
}

/* Waits to the nanosecond where the kernel can (Linux 5.11 and later; valgrind can't), else to the next millisecond. */
static int wait_for_events(int poll_fd, struct epoll_event *events, int most, double seconds)
{
  static bool is_coarse;
  if (seconds > 1e9) seconds = 1e9;
  if (!is_coarse) {
    struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    int n = epoll_pwait2(poll_fd, events, most, &time, NULL);
    if (n >= 0 || errno != ENOSYS) return n;
    is_coarse = true;
  }
  if (seconds > 1e6) seconds = 1e6; /* milliseconds in an int */
  return epoll_wait(poll_fd, events, most, (int)(seconds * 1e3) + (seconds > 0));
}

/* How long it pays to look again before sleeping. */
static double patience(const struct hub *hub)
{
  if (hub->has_woken) return wake_seconds;
  return hub->last_wait < spin_seconds ? spin_seconds : 0;
}

/* Looks again for news for a while, until `most` seconds after `began`; true: there is some. */
static bool look_again(const struct hub *hub, double began, double most)
{
  for (double waited = 0; waited < most; waited = clock_seconds() - began) {
    for (int i = 0; i < LOOKS; i++)
      if (beacon_has_news(hub->beacon, &hub->reader)) return true;
    if (waited > yield_seconds) sched_yield();
  }
  return false;
}

int hub_sleep(struct hub *hub, double seconds, uint32_t *ended, int most)
{
  struct epoll_event events[MOST_EVENTS];
  double began = clock_seconds();
  int count = 0, n = 0;
  bool found = beacon_has_news(hub->beacon, &hub->reader);
  if (!found) found = look_again(hub, began, fmin(patience(hub), seconds));
  hub->has_woken = false;
  if (!found) {
    __atomic_store_n(&hub->beacon->asleep, 1, __ATOMIC_SEQ_CST);
    if (seconds > 0 && !beacon_has_news(hub->beacon, &hub->reader))
      n = wait_for_events(hub->poll_fd, events, MOST_EVENTS, seconds);
    __atomic_store_n(&hub->beacon->asleep, 0, __ATOMIC_SEQ_CST);
  }
  for (int i = 0; i < n; i++)
    if (events[i].data.u32 != bell_mark && count < most) ended[count++] = events[i].data.u32;
  hub->last_wait = clock_seconds() - began;
  return count;
}
