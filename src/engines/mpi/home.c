/* home.c - see home.h. */
#include "engines/mpi/home.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/clock.h"

static const double helper_seconds = 0.05; /* how often the helper's life is looked at */

/* Where a worker sits: its number at the helper. */
struct seat {
  struct engine *engine; /* NULL: it is free */
  uint32_t w, life;      /* how many sat there */
};

/* A worker: the engine's own memory for it. */
struct member {
  uint32_t seat, life;
  int file; /* the slot's; 0: none */
  bool ended;
  int status;
};
_Static_assert(sizeof(struct member) <= HOME_BYTES, "an engine has that much for each worker");

/* There is one helper in a process. */
static struct {
  struct nursery *nursery;
  int rank;
  struct seat *seats;
  uint32_t count;
  bool is_helper_lost;
  double looked;
} home;

static struct member *member(struct engine *engine, uint32_t w)
{
  return engine_own(engine, w);
}

void home_open(struct nursery *nursery, int rank)
{
  home.nursery = nursery;
  home.rank = rank;
}

int home_open_hub(struct engine *engine)
{
  struct nursery *nursery = home.nursery;
  if (!nursery) return hub_open(&engine->hub, engine->workers);
  return hub_open_on(&engine->hub, nursery->beacon, NURSERY_NUMBERS, nursery->bell_fd);
}

int home_take_seat(struct engine *engine, uint32_t w)
{
  uint32_t seat = 0;
  while (seat < home.count && home.seats[seat].engine) seat++;
  if (seat >= NURSERY_NUMBERS) return EAGAIN;
  if (seat == home.count) {
    struct seat *seats = realloc(home.seats, (seat + 1) * sizeof *seats);
    if (!seats) return ENOMEM;
    home.seats = seats;
    home.seats[home.count++] = (struct seat){0};
  }
  home.seats[seat].engine = engine;
  home.seats[seat].w = w;
  member(engine, w)->seat = seat;
  return 0;
}

void home_leave(struct engine *engine)
{
  for (uint32_t s = 0; s < home.count; s++) {
    if (home.seats[s].engine != engine) continue;
    struct member *m = member(engine, home.seats[s].w);
    if (m->file > 0) close(m->file);
    m->file = 0;
    home.seats[s].engine = NULL;
  }
}

struct slot *home_map(struct engine *engine, uint32_t w, uint32_t id)
{
  struct member *m = member(engine, w);
  m->file = slot_file();
  if (m->file > engine->most_files) { /* the rest is for messages, and in rank 0 for the script */
    close(m->file);
    m->file = -1;
    errno = EMFILE;
  }
  if (m->file < 0) {
    m->file = 0;
    return NULL;
  }
  struct slot *slot = slot_map_file(m->file);
  if (slot) slot->id = id;
  return slot;
}

int home_start(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  if (home.is_helper_lost) return ECHILD;
  beacon_mend(engine->hub.beacon, m->seat);
  m->life = ++home.seats[m->seat].life;
  m->ended = false;
  return nursery_start(home.nursery, m->seat, m->life, m->file, engine->memory);
}

int home_end(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  return m->ended ? 0 : nursery_kill(home.nursery, m->seat, m->life);
}

bool home_ended(struct engine *engine, uint32_t w, int *status)
{
  struct member *m = member(engine, w);
  if (m->ended) *status = m->status;
  return m->ended;
}

static void note_end(const struct seat *seat, int status)
{
  struct member *m = member(seat->engine, seat->w);
  m->ended = true;
  m->status = status;
  engine_note(seat->engine, seat->w);
}

/* Is the helper gone, which somebody has killed? Its workers are killed with it, and nobody reports them. */
static void look_for_helper(void)
{
  double now = clock_seconds();
  if (home.is_helper_lost || now - home.looked < helper_seconds) return;
  home.looked = now;
  if (nursery_alive(home.nursery)) return;
  home.is_helper_lost = true;
  fprintf(stderr, "parlua: rank %d has lost its helper: it can start no more workers\n", home.rank);
  for (uint32_t s = 0; s < home.count; s++)
    if (home.seats[s].engine && home.seats[s].life > 0) note_end(&home.seats[s], SIGKILL);
}

bool home_progress(struct hub *hub)
{
  bool has_news = false;
  struct nursery_report report;
  uint32_t s;
  if (!home.nursery) return false;
  while (hub_next_ready(hub, &s)) {
    if (s < home.count && home.seats[s].engine) engine_note(home.seats[s].engine, home.seats[s].w);
    has_news = true;
  }
  while (nursery_next(home.nursery, &report)) {
    struct seat *seat = report.worker < home.count ? &home.seats[report.worker] : NULL;
    if (!seat || !seat->engine || seat->life != report.life) continue;
    if (report.starved) seat->engine->slots[seat->w]->starved = 1;
    note_end(seat, report.status);
    has_news = true;
  }
  look_for_helper();
  return has_news;
}
