/* lane_rank.c - run by spec/lane_rank_spec.lua: how many tasks that are tried again a rank's lane
 * (engines/mpi/lane_rank.c) takes. Its rank is lost, so that nothing is sent. */
#include "check.h"
#include "engines/mpi/mpi.h"
#include "run/dispatch.h"
#include "sys/clock.h"
#include "sys/signals.h"

enum { WIDTH = 3 };

struct mpi mpi;

double clock_seconds(void)
{
  return 100;
}

int signals_count(void)
{
  return 0;
}

void mpi_tell(const struct child *child, const struct note *note)
{
  (void)child, (void)note;
}

struct parcel *transport_begin(const struct transport *t, const struct note *note, size_t room)
{
  (void)t, (void)note, (void)room;
  fail("something is sent to a rank that is lost");
  return NULL;
}

char *parcel_bytes(struct parcel *parcel)
{
  return (char *)(void *)parcel;
}

void transport_send_off(struct transport *t, int rank, struct parcel *parcel, size_t bytes)
{
  (void)t, (void)rank, (void)parcel, (void)bytes;
}

void transport_send_on(struct transport *t, int rank, struct parcel *parcel, size_t bytes, struct payload *body,
                       const void *at, size_t more)
{
  (void)t, (void)rank, (void)parcel, (void)bytes, (void)body, (void)at, (void)more;
}

void message_free(struct message *message)
{
  free(message);
}

uint32_t tree_before(const struct tree *tree, uint32_t all, int rank)
{
  (void)tree, (void)all, (void)rank;
  return 0;
}

char *report_rows(const struct block *block)
{
  (void)block;
  return NULL;
}

void engine_note(struct engine *engine, uint32_t w)
{
  (void)engine, (void)w;
}

double engine_progress(struct engine *engine)
{
  (void)engine;
  return 0;
}

int hub_sleep(struct hub *hub, double seconds, uint32_t *ended, int most)
{
  (void)hub, (void)seconds, (void)ended, (void)most;
  return 0;
}

int main(void)
{
  static struct child child = {.rank = 1, .is_lost = true};
  static struct rank_lane *lanes[1];
  static bool is_open_there[1];
  static struct family family = {.number = 1, .lanes = lanes, .is_open_there = is_open_there};
  static struct engine engine = {.context = &family};
  struct dispatch_options options = {.workers = WIDTH};
  struct work_store store;
  work_store_init(&store);
  struct crew crew = {.engine = &engine, .store = &store, .options = &options};
  struct lane *lane = calloc(1, lane_over_rank.bytes);
  if (!lane) fail("there is no memory");
  family.engine = &engine;
  mpi.tree.children = &child;
  lane->kind = &lane_over_rank;
  lane->crew = &crew;
  lane->width = WIDTH;
  list_init(&lane->held);
  if (!lane_over_rank.start(lane)) fail("a run begins in a rank that is lost");
  for (uint32_t task = 1; task <= 1 + WIDTH; task++) {
    if (!lane_over_rank.takes_retry(lane)) fail("a task that is tried again waits, though a worker has none");
    struct work *work = work_new(&store, task, task, NULL, 1 + (task > 1)); /* the first is no retry */
    if (!work) fail("there is no memory");
    lane_over_rank.give(lane, work);
  }
  if (lane_over_rank.takes_retry(lane)) fail("more tasks are tried again in a rank than it has workers");
  lane->state = LANE_READY;
  for (int given_back = 0; given_back < 2; given_back++) { /* the first is no retry */
    struct outcome outcome;
    if (!lane_over_rank.next(lane, &outcome, false) || !outcome.work) fail("what a lost rank had is not given back");
    if (lane_over_rank.takes_retry(lane) != (given_back > 0)) fail("tasks that are given back are miscounted");
    work_free(&store, outcome.work);
  }
  lane_over_rank.close(lane, 0);
  free(lane);
  work_store_clear(&store);
  puts("all holds");
  return 0;
}
