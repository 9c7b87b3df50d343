/* wake WORKERS RINGS: what a process pays that is only woken. So many processes sleep, and ring an eventfd after each
 * sleep, RINGS in all; this one sleeps in epoll until one rings. Prints its seconds of processor time a ring. A
 * coordinator that sleeps between two chunks can't cost less. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void ring(int bell, int rings, useconds_t pause)
{
  static const uint64_t one = 1;
  for (int i = 0; i < rings; i++) {
    usleep(pause);
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
  int bell = eventfd(0, EFD_NONBLOCK), waiting = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  if (bell < 0 || waiting < 0 || epoll_ctl(waiting, EPOLL_CTL_ADD, bell, &event) < 0) return 1;
  for (int k = 0; k < workers; k++)
    if (fork() == 0) ring(bell, each, (useconds_t)(workers * 500)); /* as bench/dispatch.lua: 2,000 a second in all */
  double began = processor_seconds();
  uint64_t rung = 0;
  for (uint64_t n; rung < (uint64_t)(workers * each); rung += n) {
    if (epoll_wait(waiting, &event, 1, -1) < 1 || read(bell, &n, sizeof n) < 0) n = 0;
  }
  printf("%.9f\n", (processor_seconds() - began) / (double)rung);
  while (wait(NULL) > 0) continue;
  return 0;
}
