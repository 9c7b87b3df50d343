/* world.h - virtual time, chance, and what happens when: timers, and fibers (the workers) that take turns with the
 * coordinator. All of it is decided by the seed. */
#ifndef SIMULATE_WORLD_H
#define SIMULATE_WORLD_H
#include <stdbool.h>
#include <stdint.h>

struct fiber;

struct world {
  double now;         /* seconds */
  double tick;        /* that each look at the clock takes */
  uint64_t events;    /* timers that came due, and turns of fibers, in this schedule */
  uint64_t idle;      /* looks at the clock since something last went on, in this second */
  double progress_at; /* when that was, */
  double patience;    /* and for how long nothing may go on, seconds, */
  double held_until;  /* beginning from here: somebody for whom others wait is held up until then */
  double idle_since;  /* when that second began */
  double preempted; /* probability that the coordinator is kept from going on for a while when others have had a turn */
  double drains;    /* that what a worker has stored becomes visible by itself at its next access */
  void (*turn)(void *what); /* called with a fiber's `what` before its turn, and with NULL after it; NULL: nobody is */
  void (*access)(void);     /* called before each atomic access, in place of all chance; NULL: nobody is */
  uint32_t slice; /* the coordinator makes up to so many atomic accesses before others have a turn; 0: they have none */
};
extern struct world world;

void world_begin(uint64_t seed);
/* Something goes on: a task began or ended, a worker started or ended, an event was told. */
void world_progress(void);
/* The coordinator looks at the clock: a fault, where nothing has gone on for too long. */
void world_look(void);

/* Chance. */
uint64_t random_word(void);
double random_unit(void);                        /* 0 <= x < 1 */
uint32_t random_below(uint32_t most);            /* 0 <= x < most */
bool random_chance(double probability);          /* asks for nothing where that is 0 */
double random_spread(double least, double most); /* its logarithm is spread evenly */
double random_about(double mean);                /* exponentially distributed */
/* A number made of two: the same each time. */
uint64_t hash_of(uint64_t a, uint64_t b);
double unit_of(uint64_t hash);

/* Calls `call` at a time. */
typedef void timer_function(void *what, uint64_t which);
void world_at(double at, timer_function *call, void *what, uint64_t which);
/* Lets one thing happen: a fiber's turn, or the next timer, if it is due by `limit`. False: nothing happens before. */
bool world_step(double limit);
/* Lets everything happen up to a time. */
void world_run_until(double until);

/* A fiber runs `body`, which never waits but by the calls below. It ends when its body returns or fiber_kill
 * ends it. */
typedef void fiber_function(void *what);
struct fiber *fiber_start(fiber_function *body, void *what);
void fiber_kill(struct fiber *fiber);
/* Of the fiber that runs; NULL: the coordinator does. */
struct fiber *fiber_running(void);
void *fiber_what(const struct fiber *fiber);
void fiber_yield(void);
void fiber_sleep(double seconds);
/* Sleeps until fiber_wake, or, if `most` is not 0, for that many seconds. */
void fiber_wait(const void *on, double most);
void fiber_wake(const void *on);
/* As fiber_wake, of one alone. */
void fiber_wake_one(struct fiber *fiber, const void *on);
/* Does not come back: the fiber is left where it is. */
_Noreturn void fiber_end(void);
/* Forgets all fibers: a schedule is over. */
void fibers_clear(void);
uint32_t fibers_alive(void);

/* The schedule has shown a fault: tells it and ends the process. */
_Noreturn void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
