/* state.h - what the files that make up the dispatcher share (dispatch.h): loop.c, handout.c, ending.c, outcomes.c,
 * watch.c. Nobody else includes it. */
#ifndef PARLUA_STATE_OF_DISPATCH_H
#define PARLUA_STATE_OF_DISPATCH_H
#include "run/balance.h"
#include "run/chunks.h"
#include "run/dispatch.h"
#include "run/queue.h"

/* After a cancellation a thread has so long to end its task before it is abandoned. */
static const double cancel_grace = 0.3;

struct dispatch {
  struct engine *engine;
  struct dispatch_options options;
  struct crew crew;
  struct queue queue;
  struct chunks chunks;
  struct balance balance;
  char *lanes; /* of lane_bytes each */
  size_t lane_bytes;
  uint32_t lanes_count;
  struct link empty, idle,
      hungry;       /* lanes that want work: without a worker; with nothing to do; with less than they want */
  struct link full; /* ranks that want none, and would take a task that is tried again: the last of which there was news
                       first, those that were given one last */
  struct link news; /* lanes with news, in their order */
  struct link looking, looking_ranks; /* lanes to be looked at, of workers and of ranks, the first due first: each kind
                                         is looked at as often */
  uint32_t busy;                      /* lanes that hold work, or whose worker is being ended */
  uint32_t closed;
  uint32_t needed; /* works at lanes with tasks that count for the run's end */
  uint32_t wishes; /* lanes that were asked for work and have not answered */
  double look_interval, last_tick, last_balance, cancelled_at, continued_at, left_at, returned_at;
  double round_at;               /* when the last round of looks began */
  double slow_round, slow_until; /* the last that took longer than the time between two: when it began, and ended */
  bool is_cancelled, is_shortened, any_begun;
  bool is_patient;                /* see dispatch_be_patient */
  bool is_away;                   /* the script is: no worker is started, signals are left alone, */
  const volatile bool *is_wanted; /* and it says here that it is back */
  bool is_short;                  /* of memory: what could be handed out waits */
  struct intake intake;
  struct payload *intake_payload; /* its block; NULL: none */
  struct lane *asked;             /* for whom arguments are to be supplied */
  struct payload *staged, *reported;
  struct lane *reporting; /* whose results were reported */
  struct link aborted;    /* works of one task that will not be run, to be told */
  int trouble;            /* errno of what keeps the run from going on */
  int lacking;            /* of the last start that failed, for dispatch_lacking */
  int stillborn_status;   /* of the last worker that ended before it could run a task */
};

/* The lane has news, or may have. */
void dispatch_note(struct dispatch *d, struct lane *lane);
/* Does the lane hold work, or is its worker being ended? */
bool dispatch_is_busy(const struct lane *lane);
/* Puts the lane into the lists where it belongs now, and counts it. To be called whenever its state, or what it holds,
 * has changed.
 */
void dispatch_place(struct dispatch *d, struct lane *lane, double now);
/* Gives back what the last event pointed to. */
void dispatch_give_back(struct dispatch *d);
/* What the work has reached, or the run's total, has changed: does it still count for the run's end? */
void dispatch_update_needed(struct dispatch *d, struct work *work);
/* The work has left its lane: nothing is kept ready for it any more. */
void dispatch_left_lane(struct dispatch *d, struct work *work);
/* The lane that gets the next work: one with the least; NULL when all have enough. */
struct lane *dispatch_hungriest(const struct dispatch *d);
/* The lane that gets what is to be handed out next: that, or a rank that has enough, for a task whose next try is due.
 * NULL: none. */
struct lane *dispatch_next_lane(const struct dispatch *d, double now);
void dispatch_close_lane(struct dispatch *d, struct lane *lane, int error);
/* Hands out work until every lane has enough. Returns true when arguments are to be supplied first: *event asks for
 * them. */
bool dispatch_feed(struct dispatch *d, struct event *event, double now);
/* Copies what was put into the intake, as works of the queue. */
void dispatch_take_intake(struct dispatch *d);
/* The dispatcher is left: notes for the script whether a worker waits for something to do. */
void dispatch_note_hunger(struct dispatch *d);
/* Ends the lane's worker. `present`: the task that this concerns, NULL: whatever it is in. */
void dispatch_end_worker(struct dispatch *d, struct lane *lane, enum lost_cause cause, const struct present *present,
                         double now);
/* The present task is over its time limit. */
void dispatch_end_late(struct dispatch *d, struct lane *lane, const struct present *present, double now);
/* Has what a work has not reached handed out again; what was aborted is told instead. */
void dispatch_hand_out_again(struct dispatch *d, struct work *work);
/* A rank's lane has cut off works that it holds apart from now on. */
void dispatch_count_apart(struct dispatch *d, const struct outcome *outcome);
/* An answer to ask_back. Returns true when there is work to hand out. */
bool dispatch_take_given(struct dispatch *d, struct lane *lane, const struct outcome *outcome, double now);
/* Asks the lane for work. Returns true when there is some to hand out at once. */
bool dispatch_ask_back(struct dispatch *d, struct lane *lane, double now);
/* Tells of a task that was not begun. */
bool dispatch_tell_aborted(struct dispatch *d, struct event *event);
/* Has the lane's worker ended? Then nothing more is handed out to it. */
void dispatch_check_end(struct dispatch *d, struct lane *lane, double now);
/* Takes outcomes of the lane up to one that is to be told. Returns true when *event was filled. */
bool dispatch_visit(struct dispatch *d, struct lane *lane, struct event *event, bool partial, double now);
/* Visits lanes with news, one event of each in turn. Returns true when *event was filled. */
bool dispatch_take_news(struct dispatch *d, struct event *event, double now);
/* Seconds between two looks at a worker, by the time limit of a task (0: none). */
double dispatch_look_interval(double timeout);
/* Workers are looked at so often from now on. */
void dispatch_look_each(struct dispatch *d, double interval, double now);
/* The lane is to be looked at when its time has come. */
void dispatch_look_later(struct dispatch *d, struct lane *lane, double now);
/* When the next look is due, by the clock; INFINITY: none is. */
double dispatch_next_look(const struct dispatch *d);
/* The lane's worker may wait for room that it is about to get: then what it is in is timed from now. */
void dispatch_note_waiting(struct dispatch *d, struct lane *lane, double now);
/* Looks at the lanes whose turn it is. */
bool dispatch_look(struct dispatch *d, struct event *event, double now);

/* The lane of worker `w`. */
static inline struct lane *dispatch_lane(const struct dispatch *d, uint32_t w)
{
  return (struct lane *)(void *)(d->lanes + w * d->lane_bytes);
}

#endif
