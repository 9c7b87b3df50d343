/* agent.c - run by spec/agent_spec.lua: when an agent looks at its engines again, and in what order it obeys
 * (engines/mpi/agent.h). What it obeys with, and the clock, are made here. */
#include "engines/mpi/agent.h"

#include <math.h>

#include "check.h"
#include "engines/mpi/mpi.h"
#include "engines/mpi/team.h"
#include "run/dispatch.h"
#include "sys/clock.h"

enum { JOB = 7, GIVEN = 3, ROUNDS = 4, TEAMS = 2 };

static struct transport transport = {.moved = 100};
struct mpi mpi = {.transport = &transport};

static int rounds;
static bool is_job_here;
static double due[TEAMS + 1]; /* of each engine, by number */
static double slept;          /* how long it was to sleep last */
static int obeyed[TEAMS + 1]; /* messages, by engine */

double clock_seconds(void)
{
  return 100;
}

/* ---- messages ---- */

static void come(struct note note)
{
  struct message *message = calloc(1, sizeof *message);
  if (!message) fail("there is no memory");
  message->note = note;
  list_append(&mpi.messages, &message->link);
}

/* What has come by each look, and what is checked of the one before. */
double mpi_move(struct hub *hub, bool is_busy)
{
  static const double nap = 5;
  (void)hub, (void)is_busy;
  if (rounds == 0) {
    come((struct note){.kind = NOTE_BEGIN, .engine = 1});
    come((struct note){.kind = NOTE_BEGIN, .engine = 2, .id = JOB});
    for (int n = 1; n < GIVEN; n++) come((struct note){.kind = NOTE_GIVE, .engine = 2, .first = n, .last = n});
    due[1] = 102;
    due[2] = 103;
  } else if (rounds == 1) {
    if (slept != 2) fail("an agent sleeps for longer than until its first engine is due, or not as long");
    if (obeyed[1] != 1 || obeyed[2] != 0) fail("messages are obeyed before the job that they are of is here");
    is_job_here = true;
    due[1] = INFINITY;
  } else if (rounds == 2) {
    if (slept != 3) fail("an agent sleeps for longer than until its second engine is due, or not as long");
    if (obeyed[2] != GIVEN) fail("messages that have waited for a job are not obeyed, though it is here");
    due[2] = INFINITY;
  } else {
    if (slept != nap) fail("an agent does not sleep as long as it may");
    come((struct note){.kind = NOTE_END});
  }
  if (++rounds > ROUNDS) fail("an agent goes on, though the job has ended");
  return nap;
}

void message_free(struct message *message)
{
  free(message);
}

void transport_send(struct transport *t, int rank, const struct note *note)
{
  (void)t, (void)rank, (void)note;
}

void mpi_tell(const struct child *child, const struct note *note)
{
  (void)child, (void)note;
}

void mpi_tell_end(int status, bool is_soon)
{
  (void)status, (void)is_soon;
}

bool mpi_leave(int status, bool is_soon)
{
  (void)status, (void)is_soon;
  return true;
}

void mpi_part(bool is_soon)
{
  (void)is_soon;
}

bool mpi_is_unread(uint32_t id)
{
  (void)id;
  return false;
}

int MPI_Abort(MPI_Comm comm, int status)
{
  (void)comm, (void)status;
  fail("the job was ended");
  return 0;
}

/* ---- engines ---- */

double team_serve(struct team *team)
{
  return due[team->number];
}

/* They come in their order: that of the run, then its tasks. */
void team_obey(struct team *team, struct message *message)
{
  int before = obeyed[team->number]++;
  if ((message->note.kind == NOTE_BEGIN) != (before == 0)) fail("a run does not begin with its beginning");
  if (before > 0 && message->note.first != before) fail("messages are not obeyed in their order");
  free(message);
}

void team_refuse(const struct message *message, int error)
{
  (void)message, (void)error;
  fail("a run is refused");
}

void team_close(struct team *team)
{
  (void)team;
}

bool dispatch_is_patient(const struct dispatch *d)
{
  (void)d;
  return false;
}

/* ---- shared messages, the tree, the hub ---- */

int share_file(const struct share *share, uint32_t id)
{
  (void)share;
  return id == JOB && is_job_here ? 5 : -1;
}

int share_error(const struct share *share, uint32_t id)
{
  (void)share, (void)id;
  return 0;
}

void share_obey(struct share *share, const struct note *note)
{
  (void)share, (void)note;
}

void share_pass(struct share *share, const struct note *note)
{
  (void)share, (void)note;
}

void share_retire(struct share *share, uint32_t id)
{
  (void)share, (void)id;
}

void share_tidy(struct share *share, bool (*is_needed)(uint32_t id), bool always)
{
  (void)share, (void)is_needed, (void)always;
}

bool tree_has_lost_parent(struct tree *tree, double now)
{
  (void)tree, (void)now;
  return false;
}

int hub_open_on(struct hub *hub, struct beacon *beacon, uint32_t numbers, int bell_fd)
{
  (void)hub, (void)beacon, (void)numbers, (void)bell_fd;
  return 0;
}

int hub_sleep(struct hub *hub, double seconds, uint32_t *ended, int most)
{
  (void)hub, (void)ended, (void)most;
  slept = seconds;
  return 0;
}

void nursery_close(struct nursery *nursery)
{
  (void)nursery;
}

int main(void)
{
  struct nursery nursery = {0};
  bool is_soon = true;
  list_init(&mpi.messages);
  if (agent_serve(&nursery, NULL, &is_soon) != 0 || is_soon) fail("an agent does not end as the job does");
  if (rounds != ROUNDS) fail("an agent ends before the job");
  while (agent.teams) {
    struct team *next = agent.teams->next;
    free(agent.teams);
    agent.teams = next;
  }
  puts("all holds");
  return 0;
}
