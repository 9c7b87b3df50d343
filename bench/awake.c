/* awake CALLS PAUSE LOOKS [process]: what a call costs whose worker sleeps. A worker (a thread, or a forked process)
 * waits on a futex. After each pause of PAUSE milliseconds this side asks it for something and waits for the answer: it
 * looks for LOOKS microseconds, then it sleeps in epoll. Prints the median of the calls in seconds. A submitted call
 * after a pause can't cost less: two wake-ups where this side sleeps, else one. */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Both sides see it. The last question ends the worker. */
static struct {
  _Alignas(64) uint32_t asked, sleeps;
  _Alignas(64) uint32_t answered, waits;
} * shared;

static const double worker_looks = 50e-6; /* seconds, as in src/slot/mailbox.c */
static const uint32_t last_question = UINT32_MAX;
static int bell, waiting;

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Looks at a word for a while, until it is (or is not) `value`. */
static void look(const uint32_t *word, uint32_t value, bool is, double seconds)
{
  for (double began = now(); seconds > 0 && now() - began < seconds; sched_yield())
    for (int i = 0; i < 16; i++)
      if ((__atomic_load_n(word, __ATOMIC_SEQ_CST) == value) == is) return;
}

static void *work(void *unused)
{
  static const uint64_t one = 1;
  for (uint32_t seen = 0; seen != last_question;) {
    look(&shared->asked, seen, false, worker_looks);
    while (__atomic_load_n(&shared->asked, __ATOMIC_SEQ_CST) == seen) {
      __atomic_store_n(&shared->sleeps, 1, __ATOMIC_SEQ_CST);
      syscall(SYS_futex, &shared->asked, FUTEX_WAIT, seen, NULL, NULL, 0);
    }
    __atomic_store_n(&shared->sleeps, 0, __ATOMIC_SEQ_CST);
    seen = __atomic_load_n(&shared->asked, __ATOMIC_SEQ_CST);
    __atomic_store_n(&shared->answered, seen, __ATOMIC_SEQ_CST);
    if (__atomic_exchange_n(&shared->waits, 0, __ATOMIC_SEQ_CST) && write(bell, &one, sizeof one) < 0) break;
  }
  return unused;
}

static void ask(uint32_t question)
{
  __atomic_store_n(&shared->asked, question, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&shared->sleeps, __ATOMIC_SEQ_CST))
    syscall(SYS_futex, &shared->asked, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* The seconds of one call. */
static double call(uint32_t question, double looks)
{
  double began = now();
  ask(question);
  look(&shared->answered, question, true, looks);
  while (__atomic_load_n(&shared->answered, __ATOMIC_SEQ_CST) != question) {
    struct epoll_event event;
    uint64_t rung;
    __atomic_store_n(&shared->waits, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&shared->answered, __ATOMIC_SEQ_CST) == question) break;
    if (epoll_wait(waiting, &event, 1, -1) == 1 && read(bell, &rung, sizeof rung) < 0) continue;
  }
  __atomic_store_n(&shared->waits, 0, __ATOMIC_SEQ_CST);
  return now() - began;
}

static int compare(const void *a, const void *b)
{
  const double *one = a, *other = b;
  return (*one > *other) - (*one < *other);
}

int main(int argc, char **argv)
{
  if (argc < 4) return 2;
  int calls = atoi(argv[1]);
  long pause = (long)(atof(argv[2]) * 1e6);
  bool forks = argc > 4 && strcmp(argv[4], "process") == 0;
  struct epoll_event event = {.events = EPOLLIN};
  double *all = malloc((size_t)calls * sizeof *all);
  uint32_t question = 0;
  pthread_t thread;
  pid_t child = 0;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  bell = eventfd(0, EFD_NONBLOCK);
  waiting = epoll_create1(0);
  if (!all || shared == MAP_FAILED || bell < 0 || epoll_ctl(waiting, EPOLL_CTL_ADD, bell, &event) < 0) return 1;
  if (forks && (child = fork()) == 0) return work(NULL) != NULL;
  if (!forks && pthread_create(&thread, NULL, work, NULL) != 0) return 1;
  for (int i = 0; i < calls; i++) {
    struct timespec time = {.tv_sec = pause / 1000000000, .tv_nsec = pause % 1000000000};
    if (pause > 0) nanosleep(&time, NULL);
    all[i] = call(++question, atof(argv[3]) * 1e-6);
  }
  qsort(all, (size_t)calls, sizeof *all, compare);
  printf("%.9f\n", all[calls / 2]);
  ask(last_question);
  if (forks)
    waitpid(child, NULL, 0);
  else
    pthread_join(thread, NULL);
  return 0;
}
