/* attendant.c - see attendant.h. */
#include "run/attendant.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run/state.h"
#include "sys/list.h"
#include "sys/thread.h"

/* A script that was here so lately may be back at once: the attendant looks again later. While the script stays, it
 * looks ever less often: on a machine whose processors all compute, each look is time that a task could have. */
static const double short_absence = 1e-3, longest_pause = 8e-3; /* seconds */
/* How long it sleeps in the dispatcher at a time. */
static const double longest_sleep = 0.5;

enum {
  MOST_KEPT = 64 << 20, /* bytes of events: then workers wait until the script takes them */
  QUIET_LOOKS = 50,     /* in vain, one after each short absence: then it sleeps until the script leaves again */
};

/* An event that the script has not taken. `block`: results, a copy; `bytes`: text. */
struct kept {
  struct kept *next;
  struct event event;
  struct payload *payload; /* of the event's tasks, in use */
  void *copy;
  size_t size;
};

struct attendant {
  struct link link; /* in `present` */
  struct dispatch *dispatch;
  pthread_t thread;
  pthread_mutex_t lock; /* of the dispatcher, and of what follows */
  sem_t call;           /* ends the attendant's rest */
  bool rests_long;      /* it is to be called when the script leaves */
  bool is_home;         /* the script is there, and holds the lock */
  bool is_ending;
  bool is_stuck; /* nothing can be done without the script */
  double outstanding;
  double pushed;           /* the last task that was put into the intake when the script left */
  uint64_t visits;         /* how often the script was there */
  volatile bool is_wanted; /* by the script: the attendant is to let go */
  struct kept *first, **end, *taken;
  struct event late; /* an event for which there was no memory: told behind those that were kept */
  struct payload *late_payload;
  bool has_late;
  size_t bytes;
};

/* ---- keeping ---- */

static void free_kept(struct attendant *attendant, struct kept *kept)
{
  if (!kept) return;
  payload_drop(&attendant->dispatch->queue.store, kept->payload);
  free(kept->copy);
  free(kept);
}

/* Copies what the event points to. False: there is no memory. */
static bool copy_content(struct kept *kept, const struct event *event)
{
  if (event->kind == EVENT_RESULTS) {
    uint64_t words = event->from + event->count;
    kept->copy = block_copy(event->block, event->block->kind == BLOCK_SPARSE ? 2 * words : words, &kept->size);
    return kept->copy != NULL;
  }
  if (event->kind != EVENT_TEXT) return true;
  kept->copy = malloc(kept->size = event->length + 1);
  if (kept->copy) memcpy(kept->copy, event->bytes, event->length);
  return kept->copy != NULL;
}

/* Keeps the event. False: there is no memory; then the dispatcher still has what it points to. */
static bool keep(struct attendant *attendant, const struct event *event)
{
  struct kept *kept = calloc(1, sizeof *kept);
  if (!kept || !copy_content(kept, event)) {
    free(kept);
    return false;
  }
  kept->event = *event;
  kept->payload = dispatch_keep_payload(attendant->dispatch);
  if (event->kind == EVENT_RESULTS) kept->event.block = kept->copy;
  if (event->kind == EVENT_TEXT) kept->event.bytes = kept->copy;
  *attendant->end = kept;
  attendant->end = &kept->next;
  attendant->bytes += sizeof *kept + kept->size;
  return true;
}

/* ---- the thread ---- */

/* How many tasks have ended by this event. */
static double ended_by(const struct event *event)
{
  if (event->kind == EVENT_RESULTS) return event->want;
  return event->kind == EVENT_LOST && event->first > 0;
}

/* Are there tasks that have not ended, as far as is known? Also such as the script has put into the intake since. */
static bool has_work(const struct attendant *attendant)
{
  return attendant->outstanding + dispatch_last_pushed(attendant->dispatch) - attendant->pushed > 0;
}

/* Goes on with the run until the script is back or there is nothing to do. The lock is held. */
static void serve(struct attendant *attendant)
{
  struct event event;
  while (!attendant->is_ending && !attendant->is_stuck && has_work(attendant) && attendant->bytes < MOST_KEPT) {
    dispatch_attend(attendant->dispatch, &event, longest_sleep, &attendant->is_wanted);
    if (__atomic_load_n(&attendant->is_wanted, __ATOMIC_SEQ_CST) && event.kind == EVENT_TICK) return;
    if (event.kind == EVENT_TICK) continue;
    attendant->outstanding -= ended_by(&event);
    attendant->is_stuck = event.kind != EVENT_RESULTS && event.kind != EVENT_LOST && event.kind != EVENT_TEXT;
    if (event.kind == EVENT_DONE) return; /* it comes again */
    if (!keep(attendant, &event)) {
      attendant->late = event;
      attendant->late_payload = dispatch_keep_payload(attendant->dispatch);
      attendant->has_late = attendant->is_stuck = true;
    }
  }
}

/* Says whether it is to be called from its next rest. For a rest without end that is said before the lock is let go: so
 * a script that leaves between the two calls it. */
static void note_rest(struct attendant *attendant, double seconds)
{
  __atomic_store_n(&attendant->rests_long, seconds > short_absence, __ATOMIC_SEQ_CST);
}

/* Rests without the lock, until it is called or so many seconds are over. Returns whether it was called. */
static bool rest(struct attendant *attendant, double seconds)
{
  struct timespec until;
  int error;
  if (isinf(seconds)) {
    while ((error = sem_wait(&attendant->call)) != 0 && errno == EINTR) continue;
    return error == 0;
  }
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long)(seconds * 1e9);
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  while ((error = sem_clockwait(&attendant->call, CLOCK_MONOTONIC, &until)) != 0 && errno == EINTR) continue;
  return error == 0;
}

static void *run_thread(void *argument)
{
  struct attendant *attendant = argument;
  uint64_t seen = 0;
  int quiet = 0;
  bool was_in_vain = false;
  double pause = short_absence;
  for (;;) {
    bool was_called = rest(attendant, pause);
    if (__atomic_load_n(&attendant->is_ending, __ATOMIC_SEQ_CST)) return NULL;
    if (pthread_mutex_trylock(&attendant->lock) != 0) {
      /* Called for an absence that is over already: there may be many of those, and each call costs the script some
       * 10 us. So it is not called again, but looks itself, until it finds the script away. */
      was_in_vain = was_in_vain || was_called;
      pause = was_called ? short_absence : fmin(2 * pause, longest_pause);
      note_rest(attendant, was_in_vain ? 0 : pause);
      continue;
    }
    was_in_vain = false;
    pause = short_absence;
    if (attendant->visits != seen) {
      seen = attendant->visits;
    } else {
      serve(attendant);
      quiet = __atomic_load_n(&attendant->is_wanted, __ATOMIC_SEQ_CST) ? 0 : quiet + 1;
      if (quiet == QUIET_LOOKS) {
        quiet = 0;
        pause = INFINITY;
      }
    }
    note_rest(attendant, pause);
    pthread_mutex_unlock(&attendant->lock);
  }
}

/* ---- the script's side ---- */

/* Has the attendant let go, and takes its lock. */
static void take_lock(struct attendant *attendant)
{
  if (pthread_mutex_trylock(&attendant->lock) == 0) return;
  __atomic_store_n(&attendant->is_wanted, true, __ATOMIC_SEQ_CST);
  dispatch_wake(attendant->dispatch);
  pthread_mutex_lock(&attendant->lock);
  __atomic_store_n(&attendant->is_wanted, false, __ATOMIC_SEQ_CST);
}

/* All attendants of this process, and the thread of their script. A copy of the process has only the thread that made
 * it: of what an attendant holds at that moment, such as a lock of the allocator, the copy would wait for ever. So they
 * do nothing while the script's thread makes one. */
static struct link present = {&present, &present};
static pthread_t script;
static pthread_once_t is_prepared = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
  if (!pthread_equal(pthread_self(), script)) return;
  for (struct link *link = present.next; link != &present; link = link->next) {
    struct attendant *attendant = LIST_OF(link, struct attendant, link);
    if (!attendant->is_home) take_lock(attendant);
  }
}

static void after_fork(void)
{
  if (!pthread_equal(pthread_self(), script)) return;
  for (struct link *link = present.next; link != &present; link = link->next) {
    struct attendant *attendant = LIST_OF(link, struct attendant, link);
    if (!attendant->is_home) pthread_mutex_unlock(&attendant->lock);
  }
}

static void in_copy(void)
{
  list_init(&present);
}

static void prepare(void)
{
  script = pthread_self();
  pthread_atfork(before_fork, after_fork, in_copy);
}

struct attendant *attendant_open(struct dispatch *d)
{
  struct attendant *attendant = calloc(1, sizeof *attendant);
  if (!attendant) return NULL;
  attendant->dispatch = d;
  attendant->end = &attendant->first;
  pthread_mutex_init(&attendant->lock, NULL);
  sem_init(&attendant->call, 0, 0);
  pthread_mutex_lock(&attendant->lock);
  attendant->is_home = true;
  pthread_once(&is_prepared, prepare);
  int error = thread_start(&attendant->thread, NULL, run_thread, attendant);
  if (!error) {
    list_append(&present, &attendant->link);
    return attendant;
  }
  pthread_mutex_unlock(&attendant->lock);
  free(attendant);
  errno = error;
  return NULL;
}

void attendant_leave(struct attendant *attendant, double outstanding)
{
  if (!attendant->is_home) return;
  attendant->is_home = false;
  attendant->outstanding = outstanding;
  attendant->pushed = dispatch_last_pushed(attendant->dispatch);
  attendant->is_stuck = attendant->has_late;
  attendant->visits++;
  pthread_mutex_unlock(&attendant->lock);
  if (outstanding > 0 && __atomic_load_n(&attendant->rests_long, __ATOMIC_SEQ_CST) &&
      __atomic_exchange_n(&attendant->rests_long, false, __ATOMIC_SEQ_CST))
    sem_post(&attendant->call);
}

void attendant_rouse(struct attendant *attendant, struct dispatch *d)
{
  bool is_away = attendant && !attendant->is_home;
  if (is_away && pthread_mutex_trylock(&attendant->lock) != 0) return;
  dispatch_rouse(d);
  if (is_away) pthread_mutex_unlock(&attendant->lock);
}

void attendant_come_back(struct attendant *attendant)
{
  if (attendant->is_home) return;
  take_lock(attendant);
  attendant->is_home = true;
}

/* Takes the first of what was kept; what it points to is valid until the next is taken. */
static bool take(struct attendant *attendant, struct event *event)
{
  struct kept *kept = attendant->first;
  if (!kept) return false;
  attendant->first = kept->next;
  if (!attendant->first) attendant->end = &attendant->first;
  attendant->bytes -= sizeof *kept + kept->size;
  attendant->taken = kept;
  *event = kept->event;
  dispatch_report_again(attendant->dispatch, event, kept->payload);
  kept->payload = NULL; /* the dispatcher's */
  return true;
}

void attendant_next(struct attendant *attendant, struct event *event, double wait)
{
  free_kept(attendant, attendant->taken);
  attendant->taken = NULL;
  if (take(attendant, event)) return;
  if (attendant->has_late) {
    *event = attendant->late;
    attendant->has_late = false;
    dispatch_report_again(attendant->dispatch, event, attendant->late_payload);
    attendant->late_payload = NULL;
    return;
  }
  dispatch_next(attendant->dispatch, event, wait);
}

void attendant_close(struct attendant *attendant)
{
  attendant_come_back(attendant);
  link_remove(&attendant->link);
  __atomic_store_n(&attendant->is_ending, true, __ATOMIC_SEQ_CST);
  sem_post(&attendant->call);
  pthread_mutex_unlock(&attendant->lock);
  pthread_join(attendant->thread, NULL);
  for (struct kept *kept = attendant->first, *next; kept; kept = next) {
    next = kept->next;
    free_kept(attendant, kept);
  }
  free_kept(attendant, attendant->taken);
  payload_drop(&attendant->dispatch->queue.store, attendant->late_payload);
  sem_destroy(&attendant->call);
  pthread_mutex_destroy(&attendant->lock);
  free(attendant);
}
