/* agent.c - see agent.h. */
#include "engines/mpi/agent.h"

#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/mpi/home.h"
#include "engines/mpi/mpi.h"
#include "engines/mpi/team.h"
#include "run/dispatch.h"
#include "sys/clock.h"

/* Memory that an agent keeps for messages to come. */
static const int keep_bytes = 32 << 20;

struct agent agent;

/* ---- teams ---- */

static struct team *find_team(uint32_t number)
{
  struct team *team = agent.teams;
  while (team && team->number != number) team = team->next;
  return team;
}

static struct team *new_team(uint32_t number)
{
  struct team *team = calloc(1, sizeof *team);
  if (!team) return NULL;
  team->number = number;
  team->maker = agent.maker;
  list_init(&team->waiting);
  team->next = agent.teams;
  agent.teams = team;
  return team;
}

static void close_team(struct team *team)
{
  struct team **link = &agent.teams;
  while (*link != team) link = &(*link)->next;
  *link = team->next;
  team_close(team);
  free(team);
}

static bool is_here(const struct note *note)
{
  return !note->id || share_file(mpi.share, note->id) >= 0 || share_error(mpi.share, note->id);
}

/* Lets messages wait in their order while the job of a run is not here; what closes the run drops them. */
static bool has_to_wait(struct team *team, struct message *message)
{
  bool is_opening = message->note.kind == NOTE_BEGIN && !is_here(&message->note);
  if (list_is_empty(&team->waiting) && !is_opening) return false;
  if (message->note.kind == NOTE_CLOSE || message->note.kind == NOTE_LEAVE) {
    for (struct message *dropped; (dropped = message_take(&team->waiting));) message_free(dropped);
    return false;
  }
  list_append(&team->waiting, &message->link);
  return true;
}

/* A shared message is here: goes on with what has waited for it. */
static void obey_waiting(void)
{
  for (struct team *team = agent.teams; team; team = team->next) {
    const struct message *first = message_first(&team->waiting);
    if (!first || !is_here(&first->note)) continue;
    for (struct message *message; (message = message_take(&team->waiting));) team_obey(team, message);
  }
}

/* ---- shared messages ---- */

static bool is_needed(uint32_t id)
{
  for (const struct team *team = agent.teams; team; team = team->next) {
    const struct message *first = message_first(&team->waiting);
    if (team->shared == id || (first && first->note.id == id)) return true;
  }
  return mpi_is_unread(id);
}

/* ---- the loop ---- */

static void end(int status, bool is_soon)
{
  if (agent.is_ending) return;
  mpi_tell_end(status, is_soon);
  agent.is_ending = true;
  agent.is_soon = is_soon;
  agent.status = status;
}

static void obey(struct message *message)
{
  const struct note *note = &message->note;
  struct team *team;
  switch (note->kind) {
  case NOTE_SHARE:
  case NOTE_WHOLE: share_obey(mpi.share, note); break;
  case NOTE_FORGET:
    share_pass(mpi.share, note);
    share_retire(mpi.share, note->id);
    break;
  case NOTE_END: end(note->status, note->is_soon); break;
  default:
    team = find_team(note->engine);
    if (!team && note->kind == NOTE_BEGIN) {
      team = new_team(note->engine);
      if (!team) team_refuse(message, ENOMEM);
    }
    if (!team) break;
    if (has_to_wait(team, message)) return;
    if (note->kind == NOTE_LEAVE) {
      close_team(team);
      break;
    }
    team_obey(team, message);
    return;
  }
  message_free(message);
}

/* Tells the parent that this agent is there, from time to time while it has a run; and those that it heads, always. */
static void beat(double now)
{
  double moved = mpi.transport->moved;
  bool has_run = false;
  if (now - agent.beaten < beat_seconds) return;
  agent.beaten = now;
  for (const struct team *team = agent.teams; team; team = team->next) has_run |= team->run != NULL;
  const struct note note = {.kind = NOTE_BEAT};
  if (has_run) transport_send(mpi.transport, mpi.tree.parent, &note);
  for (int k = 0; k < mpi.tree.children_count; k++) mpi_tell(&mpi.tree.children[k], &note);
  mpi.transport->moved = moved; /* it is no traffic: naps stay long */
}

/* Serves all teams. Returns when they are to be served again, by the clock. */
static double serve_all(void)
{
  double until = INFINITY;
  mpi.is_at_ease = agent.teams != NULL;
  for (struct team *team = agent.teams; team; team = team->next) {
    until = fmin(until, team_serve(team));
    mpi.is_at_ease &= team->run && dispatch_is_patient(team->run);
  }
  return until;
}

int agent_serve(struct nursery *nursery, const struct row_maker *maker, bool *is_soon)
{
  uint32_t ended[1];
  int error = hub_open_on(&agent.hub, nursery->beacon, NURSERY_NUMBERS, nursery->bell_fd);
  if (error) {
    fprintf(stderr, "parlua: rank %d cannot begin: %s\n", mpi.transport->rank, strerror(error));
    MPI_Abort(mpi.transport->comm, 1);
  }
  agent.maker = maker;
  mallopt(M_MMAP_THRESHOLD, keep_bytes); /* large messages use the same memory again */
  mallopt(M_TRIM_THRESHOLD, keep_bytes);
  signal(SIGINT, SIG_IGN); /* rank 0 decides what follows */
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  while (!agent.is_ending) {
    double nap = mpi_move(&agent.hub, false);
    for (struct message *message; !agent.is_ending && (message = message_take(&mpi.messages));) obey(message);
    obey_waiting();
    double until = serve_all(), now = clock_seconds();
    beat(now);
    /* the script's status is not known; it goes on, unless its own rank is lost */
    if (tree_has_lost_parent(&mpi.tree, now)) end(mpi.tree.parent == 0, true);
    share_tidy(mpi.share, is_needed, false);
    double seconds = fmin(nap, until - now);
    if (seconds <= 0)
      sched_yield();
    else
      hub_sleep(&agent.hub, seconds, ended, 1);
  }
  nursery_close(nursery);
  mpi_leave(agent.status, agent.is_soon);
  mpi_part(agent.is_soon);
  *is_soon = agent.is_soon;
  return agent.status;
}
