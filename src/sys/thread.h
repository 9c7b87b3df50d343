/* thread.h - threads beside the script's and those of workers. They take no signals: the script's thread does. And
 * conditions for which a thread waits at most for some time, by the clock that only goes forward. */
#ifndef PARLUA_THREAD_H
#define PARLUA_THREAD_H
#include <pthread.h>
#include <signal.h>
#include <time.h>

/* As pthread_create; returns 0 or what is wrong. */
static inline int thread_start(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                               void *argument)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread has its maker's */
  int error = pthread_create(thread, attributes, run, argument);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

/* As pthread_cond_init, for condition_wait. */
static inline void condition_init(pthread_cond_t *condition)
{
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
}

/* As pthread_cond_wait, for less than a second, at most; returns 0, or ETIMEDOUT when it is over. */
static inline int condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, long nanoseconds)
{
  const long second = 1000000000;
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += nanoseconds;
  until.tv_sec += until.tv_nsec / second;
  until.tv_nsec %= second;
  return pthread_cond_timedwait(condition, lock, &until);
}

#endif
