/* attending.c - see attending.h. src/run/attendant.c is part of this file, with names of its own: its lock, its rest
 * and its look for work are followed by what the script does meanwhile. */
#define attendant_open      attending_open
#define attendant_leave     attending_leave
#define attendant_rouse     attending_rouse
#define attendant_come_back attending_come_back
#define attendant_close     attending_close
#define attendant_next      attending_take

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdlib.h>
#include <time.h>

#include "run/dispatch.h"

static int lock_now(pthread_mutex_t *lock);
static int unlock(pthread_mutex_t *lock);
static int wait_call(sem_t *call);
static int wait_call_until(sem_t *call);
static void attend(struct dispatch *d, struct event *event, double wait, const volatile bool *is_wanted);
static void *calloc_now_and_then(size_t count, size_t size);
#define calloc                          calloc_now_and_then
#define pthread_mutex_lock              lock_now
#define pthread_mutex_unlock            unlock
#define sem_wait                        wait_call
#define sem_clockwait(call, clock, end) wait_call_until(call)
#define dispatch_attend                 attend
#include "../src/run/attendant.c"
#undef calloc
#undef pthread_mutex_lock
#undef pthread_mutex_unlock
#undef sem_wait
#undef dispatch_attend

#include "attending.h"
#include "system.h"
#include "world.h"

static struct attendant attending;

/* Now and then there is no memory to keep an event. */
static void *calloc_now_and_then(size_t count, size_t size)
{
  static const double share = 0.1;
  return random_chance(share) ? NULL : calloc(count, size);
}

/* ---- whenever the script comes and leaves ---- */

static struct {
  bool is_on, is_script;
  uint32_t unlocked, visit_at; /* the script comes when the attendant has let the lock go so often */
  jmp_buf served;
} check;

/* The script comes, leaves work, and goes. */
static void visit(void)
{
  check.is_script = true;
  attendant_come_back(&attending);
  attendant_leave(&attending, 1);
  check.is_script = false;
}

static int unlock(pthread_mutex_t *lock)
{
  int error = pthread_mutex_unlock(lock);
  if (check.is_on && !check.is_script && ++check.unlocked == check.visit_at) visit();
  return error;
}

/* A script that leaves and is back before the attendant has woken, again and again. */
static struct {
  bool is_on, was_called;
  int looks;
  jmp_buf done;
} restless;

/* Ends a rest of the attendant. Returns 0 where it was called. */
static int wait_call_until(sem_t *call)
{
  enum { MOST_LOOKS = 100 };
  if (!restless.is_on) return sem_trywait(call);
  if (restless.looks++ == MOST_LOOKS) longjmp(restless.done, 1);
  attendant_leave(&attending, 1);
  attendant_come_back(&attending);
  int error = sem_trywait(call);
  if (error == 0 && restless.was_called) fault("the attendant is called for each absence of the script");
  restless.was_called = error == 0;
  return error;
}

static int wait_call(sem_t *call)
{
  if (sem_trywait(call) != 0)
    fault("the attendant rests without end, though the script has left work (after its look %u)",
          (unsigned)check.visit_at);
  return 0;
}

static void attend(struct dispatch *d, struct event *event, double wait, const volatile bool *is_wanted)
{
  if (check.is_on) longjmp(check.served, 1);
  dispatch_attend(d, event, wait, is_wanted);
}

/* Is the lock of an attendant whose script is away held while the process is copied, and free behind that? */
static void check_fork(struct dispatch *d)
{
  attending_begin(d);
  attendant_leave(&attending, 0);
  before_fork();
  bool is_out = pthread_mutex_trylock(&attending.lock) != 0;
  if (!is_out) pthread_mutex_unlock(&attending.lock);
  if (is_out) after_fork();
  bool is_back = pthread_mutex_trylock(&attending.lock) == 0;
  if (!is_out) fault("the attendant may be at work while the process is copied");
  if (!is_back) fault("the attendant can't go on behind a copy of the process");
  pthread_mutex_unlock(&attending.lock);
  sem_destroy(&attending.call);
}

/* What the script has pushed since it left is work. */
static void check_pushed(void)
{
  static struct payload payload;
  static struct dispatch d;
  d.intake = (struct intake){.block = &payload.block, .first = 1};
  attending_begin(&d);
  attendant_leave(&attending, 0);
  if (has_work(&attending)) fault("the attendant has work, though nothing was pushed");
  intake_publish(&d.intake, 1);
  if (!has_work(&attending)) fault("the attendant does not see what the script has pushed since it left");
  sem_destroy(&attending.call);
}

void attending_check(void)
{
  enum { MOST_LOOKS = 2 * QUIET_LOOKS };
  static struct dispatch d; /* with nothing to do */
  check_fork(&d);
  check.is_on = true;
  for (check.visit_at = 1; check.visit_at <= QUIET_LOOKS + 1; check.visit_at++) {
    attending_begin(&d);
    attendant_leave(&attending, 0);
    check.unlocked = 0;
    if (!setjmp(check.served)) run_thread(&attending);
    if (check.unlocked > MOST_LOOKS) fault("the attendant looks on and on");
    sem_destroy(&attending.call);
  }
  check.is_on = false;
  check_pushed();
  restless.is_on = true;
  attending_begin(&d);
  if (!setjmp(restless.done)) run_thread(&attending);
  restless.is_on = false;
  pthread_mutex_unlock(&attending.lock);
  sem_destroy(&attending.call);
}

/* ---- a run ---- */

/* While the attendant is at work, the script comes back, or copies the process, and is to wait for the lock. */
static struct {
  uint64_t number;
  bool is_coming, is_copying;
  double came_at; /* INFINITY: it did not */
  jmp_buf waits;
} absence;

static int lock_now(pthread_mutex_t *lock)
{
  if (absence.is_coming) longjmp(absence.waits, 1);
  return pthread_mutex_lock(lock);
}

static void come_back(void *what, uint64_t number)
{
  (void)what;
  if (number != absence.number || attending.is_home) return;
  absence.came_at = world.now;
  absence.is_coming = true;
  if (!setjmp(absence.waits)) {
    if (absence.is_copying)
      before_fork();
    else
      attendant_come_back(&attending);
  }
  absence.is_coming = false;
}

/* Tasks that have ended by what is kept. */
static double count_kept(void)
{
  double count = 0;
  for (const struct kept *kept = attending.first; kept; kept = kept->next)
    count += kept->event.kind == EVENT_RESULTS ? kept->event.want : kept->event.kind == EVENT_LOST && kept->event.first;
  return count;
}

/* The attendant lets a script that is back go on at once, and rests only where nothing is left for it. */
static void check_rest(double outstanding)
{
  static const double at_once = 10e-3, quick = 1e-4;
  bool is_quick = system_faults.lost <= 0 && system_faults.slow <= quick && world.preempted <= 0;
  double waits = world.now - absence.came_at;
  if (is_quick && waits > at_once) fault("the script was kept waiting for %.3g s by the attendant", waits);
  if (absence.came_at < INFINITY || attending.is_stuck || attending.bytes >= MOST_KEPT) return;
  if (outstanding > 0) fault("the attendant rests, though %g tasks have not ended", outstanding);
}

void attending_begin(struct dispatch *d)
{
  attending = (struct attendant){.dispatch = d, .is_home = true};
  attending.end = &attending.first;
  script = pthread_self();
  list_init(&present);
  list_append(&present, &attending.link);
  pthread_mutex_init(&attending.lock, NULL);
  pthread_mutex_lock(&attending.lock);
  sem_init(&attending.call, 0, 0);
}

void attending_serve(double seconds, double outstanding)
{
  static const double copies = 0.3;
  double kept = count_kept();
  attendant_leave(&attending, outstanding - kept);
  pthread_mutex_lock(&attending.lock);
  absence.came_at = INFINITY;
  absence.is_copying = random_chance(copies);
  world_at(world.now + seconds, come_back, NULL, ++absence.number);
  serve(&attending);
  check_rest(outstanding - count_kept());
  pthread_mutex_unlock(&attending.lock);
  absence.number++;
  attending.is_wanted = false;
  attendant_come_back(&attending);
}

void attending_next(struct event *event, double wait)
{
  attendant_next(&attending, event, wait);
  if (!attending.first && attending.bytes > 0) fault("%zu bytes count as kept, and nothing is", attending.bytes);
}

void attending_end(void)
{
  for (struct kept *kept = attending.first, *next; kept; kept = next) {
    next = kept->next;
    free_kept(&attending, kept);
  }
  free_kept(&attending, attending.taken);
  payload_drop(&attending.dispatch->queue.store, attending.late_payload);
  sem_destroy(&attending.call);
}
