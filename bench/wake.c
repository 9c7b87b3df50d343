/* wake WORKERS RINGS [LINES]: what a process pays that is only woken. So many processes sleep, and ring an eventfd
 * after each sleep, RINGS in all; this one sleeps in epoll until one rings. Prints its seconds of processor time a
 * ring. A coordinator that sleeps between two chunks can't cost less.
 *
 * With LINES, each process has memory of the size of a slot that it shares with this one. It writes so many cache lines
 * of it before it rings, in each of three places (cells, a block of results, a block of arguments), and this one reads
 * and writes them: a coordinator that also takes a result and hands out a task can't cost less than that. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 64, PLACES = 3, SLOT_BYTES = 2166784, APART = SLOT_BYTES / PLACES / 4096 * 4096 };

static char *slots;   /* one after the other */
static uint8_t *rung; /* by worker: it has rung since it was looked at */
static int lines;

static char *line_of(int worker, int place, int line)
{
  return slots + (size_t)worker * SLOT_BYTES + (size_t)place * APART + (size_t)line * LINE;
}

static void touch(int worker)
{
  for (int place = 0; place < PLACES; place++)
    for (int line = 0; line < lines; line++) (*(volatile uint64_t *)(void *)line_of(worker, place, line))++;
}

/* Touches what the workers that have rung have written. */
static void look(int workers)
{
  for (int w = 0; w < workers; w += 8) {
    if (!*(const volatile uint64_t *)(const void *)(rung + w)) continue;
    for (int k = w; k < w + 8; k++)
      if (__atomic_exchange_n(&rung[k], 0, __ATOMIC_SEQ_CST)) touch(k);
  }
}

static void ring(int bell, int worker, int rings, useconds_t pause)
{
  static const uint64_t one = 1;
  for (int i = 0; i < rings; i++) {
    usleep(pause);
    touch(worker);
    __atomic_store_n(&rung[worker], 1, __ATOMIC_SEQ_CST);
    if (write(bell, &one, sizeof one) < 0) _exit(1);
  }
  _exit(0);
}

static double processor_seconds(void)
{
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
  if (argc < 3) return 2;
  int workers = atoi(argv[1]), each = atoi(argv[2]) / workers;
  size_t bytes = (size_t)workers * SLOT_BYTES;
  lines = argc > 3 ? atoi(argv[3]) : 0;
  slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  rung = mmap(NULL, (size_t)workers + 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (slots == MAP_FAILED || rung == MAP_FAILED) return 1;
  int bell = eventfd(0, EFD_NONBLOCK), waiting = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  if (bell < 0 || waiting < 0 || epoll_ctl(waiting, EPOLL_CTL_ADD, bell, &event) < 0) return 1;
  for (int k = 0; k < workers; k++) touch(k); /* else most of what follows would be for new pages */
  for (int k = 0; k < workers; k++)
    if (fork() == 0)
      ring(bell, k, each, (useconds_t)(workers * 500)); /* as bench/dispatch.lua: 2,000 a second in all */
  double began = processor_seconds();
  uint64_t heard = 0;
  for (uint64_t n; heard < (uint64_t)(workers * each); heard += n) {
    if (epoll_wait(waiting, &event, 1, -1) < 1 || read(bell, &n, sizeof n) < 0) n = 0;
    if (lines > 0) look(workers);
  }
  printf("%.9f\n", (processor_seconds() - began) / (double)heard);
  while (wait(NULL) > 0) continue;
  return 0;
}
