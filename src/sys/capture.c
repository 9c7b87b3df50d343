/* capture.c - see capture.h. */
#include "sys/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sys/thread.h"

enum {
  MOST_CHANNELS = 64,        /* programs beyond these write where the worker would */
  BUFFER_BYTES = 256 << 10,  /* the longest line that is surely whole */
  STACK_BYTES = 128 << 10,   /* of the reader */
  FIRST_FREE = 3,            /* above the standard streams */
  HELD_MILLISECONDS = 2,     /* until the reader looks again for room */
  UNWOKEN_MILLISECONDS = 50, /* between two looks, where the task has closed what wakes the reader */
  MOST_AT_ONCE = 1 << 20,    /* that the reader takes from one pipe before it lets others have the lock */
};

/* One pipe, read by us. */
struct channel {
  bool is_used;
  int fd, stream; /* fd -1: nobody writes to it any more */
  ino_t inode;    /* a task may close what it has not opened, and open something in its place */
  double task;
  char *bytes;                 /* mapped when first used, and kept */
  size_t begin, whole, length; /* bytes[begin .. whole) are lines to be put, [whole .. length) the beginning of one */
};

/* What descriptor 1 or 2 is when the worker begins, and where it is kept while a pipe is in its place. */
struct own {
  dev_t device;
  ino_t inode;
  bool is_open;
  int kept; /* -1: it is in its place */
};

static const struct capture_sink *sink; /* NULL: this process is no worker */
static pthread_t task_thread;
static struct own own[3];
static struct channel channels[MOST_CHANNELS];
static struct channel *in_line; /* the line of which a part has been put: nothing may come between; or NULL */
static bool has_reader, is_waiting, is_held;
static int wake = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static bool is_task(void)
{
  return sink && pthread_equal(pthread_self(), task_thread);
}

void capture_unlock(void)
{
  if (has_reader) pthread_mutex_unlock(&mutex);
}

/* ---- reading ---- */

static bool is_pipe(const struct channel *channel)
{
  struct stat info;
  return fstat(channel->fd, &info) == 0 && info.st_ino == channel->inode && S_ISFIFO(info.st_mode);
}

/* As far as there is room. Where that ends within a line, it is this channel's turn until the line's end. */
static void put_lines(struct channel *channel, bool may_wait)
{
  if (in_line && in_line != channel) {
    if (!may_wait) return;
    put_lines(in_line, true);
  }
  while (channel->begin < channel->whole) {
    const char *bytes = channel->bytes + channel->begin;
    size_t n = channel->whole - channel->begin, room = may_wait ? n : sink->room(sink->to);
    if (room < n) {
      const char *end = memrchr(bytes, '\n', room);
      n = end ? (size_t)(end + 1 - bytes) : room;
    }
    if (n == 0) return;
    sink->put(sink->to, channel->stream, channel->task, bytes, n);
    channel->begin += n;
    in_line = channel->begin < channel->whole && bytes[n - 1] != '\n' ? channel : NULL;
  }
  memmove(channel->bytes, channel->bytes + channel->begin, channel->length - channel->begin);
  channel->length -= channel->begin;
  channel->begin = channel->whole = 0;
}

void capture_lock(void)
{
  if (!has_reader) return;
  pthread_mutex_lock(&mutex);
  if (in_line && is_task()) put_lines(in_line, true); /* what the task prints stands behind that line */
}

/* Nobody can write to it any more: the beginning of a line is all that there will be. */
static void end_channel(struct channel *channel, bool is_ours)
{
  if (is_ours) close(channel->fd);
  channel->fd = -1;
  channel->whole = channel->length;
}

/* Reads up to `most` bytes behind those that are there. Returns how many. */
static size_t read_more(struct channel *channel, size_t most)
{
  size_t space = BUFFER_BYTES - channel->length;
  char *from = channel->bytes + channel->length;
  ssize_t n = read(channel->fd, from, space < most ? space : most);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) {
    end_channel(channel, true);
    return 0;
  }
  channel->length += (size_t)n;
  const char *end = memrchr(from, '\n', (size_t)n);
  if (end) channel->whole = (size_t)(end + 1 - channel->bytes);
  if (channel->length == BUFFER_BYTES) channel->whole = channel->length;
  return (size_t)n;
}

/* Brings lines on, as far as there is room, or, where it may wait for room, those that have been written by now. */
static void move_lines(struct channel *channel, bool may_wait)
{
  int there = 0;
  put_lines(channel, may_wait);
  if (channel->fd >= 0 && !is_pipe(channel)) end_channel(channel, false);
  if (may_wait && channel->fd >= 0 && ioctl(channel->fd, FIONREAD, &there) < 0) there = 0;
  for (size_t left = may_wait ? (size_t)there : MOST_AT_ONCE; channel->begin == channel->whole && channel->fd >= 0;) {
    size_t n = left > 0 ? read_more(channel, left) : 0;
    if (n == 0 && channel->fd >= 0) break;
    left -= n;
    put_lines(channel, may_wait);
  }
  if (may_wait && channel->fd >= 0) {
    struct pollfd polled = {.fd = channel->fd, .events = POLLIN};
    if (poll(&polled, 1, 0) == 1 && !(polled.revents & POLLIN)) end_channel(channel, true);
  }
  put_lines(channel, may_wait);
  channel->is_used = channel->fd >= 0 || channel->length > 0;
}

static void move_all(bool may_wait)
{
  for (int i = 0; i < MOST_CHANNELS; i++)
    if (channels[i].is_used) move_lines(&channels[i], may_wait);
}

static void set_held(bool held)
{
  if (held == is_held) return;
  is_held = held;
  sink->hold(sink->to, held);
}

/* What is to be polled; *held: lines wait for room. */
static nfds_t list_polled(struct pollfd *polled, bool *held)
{
  nfds_t count = 1;
  polled[0] = (struct pollfd){.fd = wake, .events = POLLIN};
  *held = false;
  for (int i = 0; i < MOST_CHANNELS; i++) {
    if (!channels[i].is_used) continue;
    if (channels[i].begin < channels[i].whole) *held = true;
    polled[count++] = (struct pollfd){.fd = channels[i].fd, .events = POLLIN};
  }
  return count;
}

static void *read_pipes(void *ignored)
{
  struct pollfd polled[MOST_CHANNELS + 1];
  const struct timespec pause = {.tv_nsec = HELD_MILLISECONDS * 1000000};
  uint64_t count;
  (void)ignored;
  pthread_mutex_lock(&mutex);
  while (has_reader) {
    bool held;
    nfds_t number = list_polled(polled, &held);
    set_held(held && is_waiting);
    pthread_mutex_unlock(&mutex);
    if (held)
      nanosleep(&pause, NULL);
    else if (poll(polled, number, UNWOKEN_MILLISECONDS * (polled[0].fd < 0 ? 1 : -1)) < 0 && errno != EINTR)
      nanosleep(&pause, NULL);
    pthread_mutex_lock(&mutex);
    if (!held && polled[0].revents & POLLIN && read(wake, &count, sizeof count) < 0) wake = -1;
    if (!held && polled[0].revents & POLLNVAL) wake = -1;
    if (has_reader) move_all(false);
  }
  pthread_mutex_unlock(&mutex);
  return NULL;
}

/* ---- starting ---- */

static void lock_for_fork(void)
{
  capture_begin();
  capture_lock();
}

static void unlock_in_parent(void)
{
  capture_unlock();
  capture_end();
}

/* The copy writes to the pipes; it has no part in what is read from them. */
static void unlock_in_copy(void)
{
  capture_unlock();
  has_reader = false;
  sink = NULL;
  for (int stream = 1; stream <= 2; stream++)
    if (own[stream].kept >= 0) close(own[stream].kept);
  for (int i = 0; i < MOST_CHANNELS; i++)
    if (channels[i].is_used && channels[i].fd >= 0 && is_pipe(&channels[i])) close(channels[i].fd);
}

void capture_watch_forks(void)
{
  pthread_atfork(lock_for_fork, unlock_in_parent, unlock_in_copy);
}

void capture_open(const struct capture_sink *to)
{
  for (int stream = 1; stream <= 2; stream++) {
    struct stat info;
    own[stream] = (struct own){.kept = -1, .is_open = fstat(stream, &info) == 0};
    if (!own[stream].is_open) continue;
    own[stream].device = info.st_dev;
    own[stream].inode = info.st_ino;
  }
  sink = to;
  task_thread = pthread_self();
}

/* Is it still what it was when the worker began? */
static bool is_own(int stream)
{
  struct stat info;
  return own[stream].is_open && fstat(stream, &info) == 0 && info.st_dev == own[stream].device &&
         info.st_ino == own[stream].inode;
}

/* Starts the reader, once. */
static bool have_reader(void)
{
  pthread_attr_t attributes;
  pthread_t thread;
  if (has_reader) return true;
  if (wake < 0) wake = fcntl(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), F_DUPFD_CLOEXEC, FIRST_FREE);
  if (wake < 0 || pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  has_reader = true;
  if (thread_start(&thread, &attributes, read_pipes, NULL) != 0) has_reader = false;
  pthread_attr_destroy(&attributes);
  return has_reader;
}

/* A channel that is free, with memory; NULL: there is none. */
static struct channel *free_channel(void)
{
  for (int i = 0; i < MOST_CHANNELS; i++) {
    struct channel *channel = &channels[i];
    if (channel->is_used) continue;
    if (!channel->bytes) {
      void *bytes =
          mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (bytes == MAP_FAILED) return NULL;
      channel->bytes = bytes;
    }
    return channel;
  }
  return NULL;
}

/* Puts a new pipe into the place of a stream, and reads it from now on. */
static void put_pipe(int stream)
{
  int ends[2];
  struct stat info;
  struct channel *channel = free_channel();
  if (!channel || !is_own(stream) || pipe2(ends, O_CLOEXEC) < 0) return;
  int kept = fcntl(stream, F_DUPFD_CLOEXEC, FIRST_FREE), from = fcntl(ends[0], F_DUPFD_CLOEXEC, FIRST_FREE);
  if (kept >= 0 && from >= 0 && fstat(from, &info) == 0 && dup2(ends[1], stream) >= 0) {
    fcntl(from, F_SETFL, O_NONBLOCK);
    own[stream].kept = kept;
    *channel = (struct channel){.is_used = true,
                                .fd = from,
                                .stream = stream,
                                .inode = info.st_ino,
                                .task = sink->task(sink->to),
                                .bytes = channel->bytes};
  } else {
    if (kept >= 0) close(kept);
    if (from >= 0) close(from);
  }
  close(ends[0]);
  close(ends[1]);
}

void capture_begin(void)
{
  static const uint64_t one = 1;
  int error = errno;
  if (!is_task() || own[1].kept >= 0 || own[2].kept >= 0 || isatty(STDIN_FILENO) || !have_reader()) {
    errno = error;
    return;
  }
  capture_lock();
  put_pipe(1);
  put_pipe(2);
  capture_unlock();
  if (wake >= 0 && write(wake, &one, sizeof one) < 0) wake = -1;
  errno = error;
}

void capture_end(void)
{
  int error = errno;
  for (int stream = 1; is_task() && stream <= 2; stream++) {
    if (own[stream].kept < 0) continue;
    dup2(own[stream].kept, stream);
    close(own[stream].kept);
    own[stream].kept = -1;
  }
  errno = error;
}

void capture_wait(void)
{
  if (!is_task() || !has_reader) return;
  capture_lock();
  is_waiting = true;
  capture_unlock();
}

void capture_settle(void)
{
  int error = errno;
  if (!is_task() || !has_reader) return;
  capture_lock();
  is_waiting = false;
  set_held(false);
  move_all(true);
  capture_unlock();
  errno = error;
}

bool capture_write(int fd, const char *bytes, size_t length)
{
  if (!is_task() || own[fd].kept >= 0 || !is_own(fd)) return false;
  capture_lock();
  sink->put(sink->to, fd, sink->task(sink->to), bytes, length);
  capture_unlock();
  return true;
}

/* ---- what outlives the worker ---- */

static void write_all(int fd, const char *bytes, size_t length)
{
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    bytes += n;
    length -= (size_t)n;
  }
}

static size_t room_for_all(void *to)
{
  (void)to;
  return BUFFER_BYTES;
}

/* Whole lines: those of others may come next. */
static void put_out(void *to, int stream, double task, const char *bytes, size_t length)
{
  (void)to;
  (void)task;
  write_all(stream, bytes, length);
  if (bytes[length - 1] != '\n' && length < BUFFER_BYTES) write_all(stream, "\n", 1);
}

/* A process that goes on with the pipes up to their ends, and has nothing else of the worker. */
static _Noreturn void carry_on(void)
{
  static const struct capture_sink out = {.room = room_for_all, .put = put_out};
  struct pollfd polled[MOST_CHANNELS + 1];
  prctl(PR_SET_PDEATHSIG, 0);
  prctl(PR_SET_NAME, "parlua-output");
  signal(SIGPIPE, SIG_DFL);
  sink = &out;
  own[1].is_open = own[2].is_open = false; /* what is written to them now is not to be captured again */
  wake = -1;
  for (int fd = FIRST_FREE, next = FIRST_FREE; fd >= 0; next = fd + 1) { /* all but the pipes */
    fd = -1;
    for (int i = 0; i < MOST_CHANNELS; i++)
      if (channels[i].is_used && channels[i].fd >= next && (fd < 0 || channels[i].fd < fd)) fd = channels[i].fd;
    if (fd != next) close_range((unsigned)next, fd < 0 ? ~0U : (unsigned)fd - 1, 0);
  }
  for (;;) {
    bool held;
    nfds_t count = list_polled(polled, &held);
    if (count == 1) _exit(0);
    if (poll(polled, count, -1) < 0 && errno != EINTR) _exit(1);
    move_all(false);
  }
}

void capture_close(void)
{
  if (!is_task()) return;
  capture_end();
  capture_lock();
  if (has_reader) move_all(true);
  bool is_left = false;
  for (int i = 0; i < MOST_CHANNELS; i++) is_left |= channels[i].is_used;
  if (is_left && syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0) carry_on();
  bool had_reader = has_reader;
  has_reader = false;
  sink = NULL;
  if (had_reader) pthread_mutex_unlock(&mutex);
}
