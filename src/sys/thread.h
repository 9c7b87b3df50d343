/* thread.h - threads beside the script's and those of workers. They take no signals: the script's thread does. */
#ifndef PARLUA_THREAD_H
#define PARLUA_THREAD_H
#include <pthread.h>
#include <signal.h>

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

#endif
