/* nursery.c - see nursery.h. */
#include "engines/nursery.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engines/cluster.h"
#include "engines/engine.h"
#include "sys/family.h"
#include "sys/guard.h"
#include "sys/oom.h"
#include "sys/signals.h"

/* What both sides see: the number of reports sent, on a line of its own, then the beacon. */
enum { BEACON_AT = 64 };

enum order_kind { ORDER_START, ORDER_KILL };

struct order {
  uint32_t kind, worker, life;
  uint64_t memory;
};

struct child {
  pid_t pid; /* 0: none */
  uint32_t life;
  bool killed; /* by us */
};

struct helper {
  struct nursery *nursery;
  struct child *children; /* by number of the worker */
  uint32_t count;
  bool has_told;      /* that it can't fork: once is enough */
  int signals;        /* signalfd */
  uint64_t oom_kills; /* see oom.h: as counted when that was last asked */
  sigset_t before;    /* the signals blocked before the helper's own */
};

/* ---- the helper ---- */

static void tell(struct helper *helper, uint32_t worker, uint32_t life, int status, bool starved)
{
  struct nursery *nursery = helper->nursery;
  struct nursery_report report = {worker, life, status, starved};
  while (send(nursery->socket, &report, sizeof report, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) _exit(1); /* nobody is there to hear it */
  struct bell bell = {nursery->beacon, nursery->bell_fd, NURSERY_NUMBERS};
  __atomic_fetch_add(nursery->reports, 1, __ATOMIC_SEQ_CST);
  bell_ring(&bell);
}

static _Noreturn void run_worker(struct helper *helper, uint32_t worker, int slot_file, uint64_t memory)
{
  struct bell bell = {helper->nursery->beacon, helper->nursery->bell_fd, worker};
  struct slot *slot = slot_map_file(slot_file);
  if (!slot) _exit(1);
  close(slot_file);
  close(helper->nursery->socket);
  prctl(PR_SET_NAME, "parlua-worker");
  close(helper->signals);
  free(helper->children);
  sigprocmask(SIG_SETMASK, &helper->before, NULL);
  worker_bodies.process(slot, &bell, memory);
}

static bool room_for(struct helper *helper, uint32_t worker)
{
  if (worker < helper->count) return true;
  uint32_t count = worker + 16;
  struct child *children = realloc(helper->children, count * sizeof *children);
  if (!children) return false;
  memset(children + helper->count, 0, (count - helper->count) * sizeof *children);
  helper->children = children;
  helper->count = count;
  return true;
}

static void start(struct helper *helper, const struct order *order, int slot_file)
{
  pid_t helper_pid = getpid(), pid = -1;
  if (room_for(helper, order->worker)) pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != helper_pid) _exit(1);
    run_worker(helper, order->worker, slot_file, order->memory);
  }
  close(slot_file);
  if (pid < 0) {
    if (!helper->has_told) fprintf(stderr, "parlua: cannot fork a worker: %s\n", strerror(errno));
    helper->has_told = true;
    tell(helper, order->worker, order->life, 1 << 8, false);
    return;
  }
  helper->children[order->worker] = (struct child){pid, order->life, false};
}

/* Takes one order; false when the other side is gone. */
static bool obey(struct helper *helper)
{
  struct order order;
  char control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {&order, sizeof order};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(helper->nursery->socket, &message, MSG_CMSG_CLOEXEC);
  if (n < 0 && errno == EINTR) return true;
  if (n != sizeof order) return false;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (order.kind == ORDER_START && header) {
    int slot_file;
    memcpy(&slot_file, CMSG_DATA(header), sizeof slot_file);
    start(helper, &order, slot_file);
  } else if (order.kind == ORDER_KILL && order.worker < helper->count) {
    struct child *child = &helper->children[order.worker];
    if (!child->pid || child->life != order.life) return true;
    child->killed = true;
    family_kill(child->pid);
  }
  return true;
}

static void reap(struct helper *helper)
{
  struct signalfd_siginfo ignored;
  int status;
  pid_t pid;
  if (read(helper->signals, &ignored, sizeof ignored) < 0) return;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (uint32_t w = 0; w < helper->count; w++) {
      struct child *child = &helper->children[w];
      if (child->pid != pid) continue;
      child->pid = 0;
      tell(helper, w, child->life, status, !child->killed && oom_was_it(status, &helper->oom_kills));
      break;
    }
  }
}

static _Noreturn void run_helper(struct nursery *nursery, pid_t parent)
{
  struct helper helper = {.nursery = nursery};
  sigset_t child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  prctl(PR_SET_NAME, "parlua-helper");
  cluster_forget_launch();
  signals_pass_over(); /* those of the terminal and the batch system: what follows is decided elsewhere */
  signal(SIGUSR1,
         SIG_IGN); /* a question to the script (sys/ask.h), which mpirun forwards to all, programs of tasks too */
  helper.oom_kills = oom_kills();
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  signal(SIGCHLD, SIG_DFL);
  sigprocmask(SIG_BLOCK, &child, &helper.before);
  helper.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (helper.signals < 0) _exit(1);
  struct pollfd polled[2] = {{.fd = nursery->socket, .events = POLLIN}, {.fd = helper.signals, .events = POLLIN}};
  for (;;) {
    if (poll(polled, 2, -1) < 0 && errno != EINTR) break;
    if (polled[1].revents) reap(&helper);
    if (polled[0].revents && !obey(&helper)) break;
  }
  for (uint32_t w = 0; w < helper.count; w++)
    if (helper.children[w].pid) family_kill(helper.children[w].pid);
  while (waitpid(-1, NULL, 0) > 0) continue;
  _exit(0);
}

/* ---- the process that opened it ---- */

static size_t page_bytes(void)
{
  return BEACON_AT + beacon_bytes(NURSERY_NUMBERS);
}

int nursery_open(struct nursery *nursery)
{
  int sockets[2];
  pid_t parent = getpid();
  memset(nursery, 0, sizeof *nursery);
  nursery->socket = -1;
  nursery->reports =
      mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (nursery->reports == MAP_FAILED) return errno;
  nursery->beacon = (struct beacon *)(void *)((char *)nursery->reports + BEACON_AT);
  nursery->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (nursery->bell_fd < 0) return errno;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) return errno;
  guard_open();
  fflush(NULL);
  nursery->pid = fork();
  if (nursery->pid < 0) return errno;
  if (nursery->pid == 0) {
    close(sockets[0]);
    nursery->socket = sockets[1];
    run_helper(nursery, parent);
  }
  close(sockets[1]);
  nursery->socket = sockets[0];
  return 0;
}

/* Keeps the reports that have come. Returns 0 or an errno. */
static int keep_reports(struct nursery *nursery)
{
  struct nursery_report report;
  while (recv(nursery->socket, &report, sizeof report, MSG_DONTWAIT) == sizeof report) {
    if (nursery->kept_at == nursery->kept_count) nursery->kept_at = nursery->kept_count = 0;
    struct nursery_report *kept = realloc(nursery->kept, (nursery->kept_count + 1) * sizeof *kept);
    if (!kept) return ENOMEM;
    kept[nursery->kept_count++] = report;
    nursery->kept = kept;
  }
  return 0;
}

/* The helper has more orders than it has taken. It may itself wait for room for a report: so those are taken meanwhile.
 * Returns 0 or an errno. */
static int wait_for_room(struct nursery *nursery)
{
  struct pollfd polled = {.fd = nursery->socket, .events = POLLIN | POLLOUT};
  if (poll(&polled, 1, -1) < 0) return errno;
  return keep_reports(nursery);
}

static int give_order(struct nursery *nursery, const struct order *order, int slot_file)
{
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {(void *)order, sizeof *order};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (slot_file >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &slot_file, sizeof slot_file);
  }
  while (sendmsg(nursery->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    int error = errno == EAGAIN ? wait_for_room(nursery) : errno;
    if (error && error != EINTR) return error;
  }
  return 0;
}

int nursery_start(struct nursery *nursery, uint32_t worker, uint32_t life, int slot_file, uint64_t memory)
{
  struct order order = {.kind = ORDER_START, .worker = worker, .life = life, .memory = memory};
  return give_order(nursery, &order, slot_file);
}

int nursery_kill(struct nursery *nursery, uint32_t worker, uint32_t life)
{
  struct order order = {.kind = ORDER_KILL, .worker = worker, .life = life};
  return give_order(nursery, &order, -1);
}

bool nursery_next(struct nursery *nursery, struct nursery_report *report)
{
  if (nursery->kept_at < nursery->kept_count) {
    *report = nursery->kept[nursery->kept_at++];
    nursery->taken++;
    return true;
  }
  if (__atomic_load_n(nursery->reports, __ATOMIC_SEQ_CST) == nursery->taken) return false;
  if (recv(nursery->socket, report, sizeof *report, MSG_DONTWAIT) != sizeof *report) return false;
  nursery->taken++;
  return true;
}

bool nursery_alive(const struct nursery *nursery)
{
  char byte;
  return recv(nursery->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) != 0;
}

void nursery_close(struct nursery *nursery)
{
  if (nursery->socket < 0) return;
  close(nursery->socket);
  nursery->socket = -1;
  free(nursery->kept);
  while (waitpid(nursery->pid, NULL, 0) < 0 && errno == EINTR) continue;
  close(nursery->bell_fd);
  munmap(nursery->reports, page_bytes());
}
