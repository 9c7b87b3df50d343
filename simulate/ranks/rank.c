/* rank.c - see rank.h. */
#include "rank.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engines/mpi/home.h"
#include "lanes.h"
#include "ledger.h"
#include "memory.h"
#include "network.h"
#include "schedule.h"
#include "system.h"
#include "world.h"

enum { FIRST_PID = 1 << 24 };

static struct {
  struct simulated_rank *all;
  int count;
  struct costs costs;
  struct rank *ranks; /* what each knows of each */
  uint64_t *before;
} job;

struct simulated_rank *here;

struct simulated_rank *rank_of(int number)
{
  return &job.all[number];
}

int ranks_count(void)
{
  return job.count;
}

const struct costs *ranks_costs(void)
{
  return &job.costs;
}

/* ---- turns ---- */

/* What `here` has in variables of the process goes back to it; those of `rank` take the place. */
static void turn_to(struct simulated_rank *rank)
{
  if (rank == here) return;
  here->mpi = mpi;
  here->agent = agent;
  mpi = rank->mpi;
  agent = rank->agent;
  here = rank;
}

static void turn(void *what)
{
  turn_to(what ? what : &job.all[0]);
}

struct spent spent;

static void pass(double seconds)
{
  if (fiber_running()) {
    fiber_sleep(seconds);
    return;
  }
  double began = processor_seconds();
  world_run_until(world.now + seconds);
  spent.aside += processor_seconds() - began;
}

void rank_pay(void)
{
  struct simulated_rank *rank = here;
  double debt = rank->debt;
  rank->debt = 0;
  rank->worked += debt;
  if (debt > 0) pass(debt);
  while (rank->stalled_until > world.now) pass(rank->stalled_until - world.now);
}

void rank_left_unread(const struct simulated_rank *rank, int from)
{
  static const uint32_t excuses = (uint32_t)1 << TROUBLE_RANKS | (uint32_t)1 << TROUBLE_STALLS;
  if (ledger_plan()->troubles & excuses) return;
  fault("rank %d ended before it had received all that rank %d sent it", rank->number, from);
}

static void serve(void *what)
{
  struct simulated_rank *rank = what;
  bool is_soon;
  agent_serve(&rank->nursery, NULL, &is_soon);
  if (rank->first) rank_left_unread(rank, network_first_from(rank));
  rank->has_left = true;
}

/* Below a rank that is lost all are: what their workers do is done again by others. */
static void orphan(struct simulated_rank *rank)
{
  const struct simulated_rank *parent = rank_of(rank->parent);
  if (rank->is_orphan || rank->is_lost || !(parent->is_lost || parent->is_orphan)) return;
  if (rank->engine) lanes_cut_off(rank->engine);
  rank->is_orphan = true;
}

void rank_kill(struct simulated_rank *rank)
{
  if (rank->is_lost || rank->has_left) return;
  world_progress();
  if (rank->engine) lanes_kill_all(rank->engine);
  rank->is_lost = true;
  for (int r = rank->number + 1; r < job.count; r++) orphan(&job.all[r]);
  fiber_kill(rank->fiber);
  network_drop(rank);
}

void rank_stall(struct simulated_rank *rank, double seconds)
{
  static const double long_stall = 20; /* shorter ones may follow one another without end */
  rank->stalled_until = fmax(rank->stalled_until, world.now + seconds);
  if (seconds > long_stall) world.held_until = fmax(world.held_until, rank->stalled_until);
}

/* ---- the beginning and the end ---- */

static void *zeroed(size_t count, size_t bytes)
{
  void *all = memory_own(NULL, count * bytes);
  memset(all, 0, count * bytes);
  return all;
}

/* A rank's own workers: about as many in each. */
static uint32_t workers_of(const struct plan *plan, uint32_t rank)
{
  return plan->workers / plan->ranks + (rank < plan->workers % plan->ranks);
}

static void meet(const struct plan *plan)
{
  job.ranks = zeroed(plan->ranks, sizeof *job.ranks);
  job.before = zeroed(plan->ranks + 1, sizeof *job.before);
  for (uint32_t r = 0; r < plan->ranks; r++) {
    struct rank *rank = &job.ranks[r];
    uint32_t host = r / plan->ranks_a_host;
    *rank = (struct rank){.cores = workers_of(plan, r), .pid = FIRST_PID + (int32_t)r, .space = 1, .crowd = 1};
    snprintf(rank->host, sizeof rank->host, "host%u", (unsigned)host);
    job.before[r + 1] = job.before[r] + rank->cores;
    job.ranks[r].leader = (int)(host * plan->ranks_a_host);
  }
}

static void open_beacon(struct nursery *nursery, int rank)
{
  *nursery = (struct nursery){.socket = -1, .bell_fd = system_bell_of(rank)};
  nursery->beacon = zeroed(1, beacon_bytes(BEACON_MOST_NUMBERS));
}

static void join(struct simulated_rank *rank)
{
  mpi = (struct mpi){.transport = &rank->transport, .share = &rank->share};
  list_init(&mpi.messages);
  agent = (struct agent){0};
  here = rank;
  mpi.is_agent = rank->number > 0;
  mpi.tree = (struct tree){.transport = &rank->transport, .ranks = job.ranks, .before = job.before};
  open_beacon(&rank->nursery, rank->number);
  if (!transport_open(&rank->transport, 0) || tree_place(&mpi.tree) ||
      share_place(&rank->share, &rank->transport, job.ranks))
    fault("rank %d can't join", rank->number);
  rank->end = &rank->first;
  rank->parent = mpi.tree.parent;
  rank->mpi = mpi;
  rank->agent = agent;
}

void ranks_begin(const struct plan *plan, const struct costs *costs)
{
  char fan[16];
  snprintf(fan, sizeof fan, "%u", (unsigned)plan->fan);
  setenv("PARLUA_MPI_FAN", fan, 1);
  meet(plan);
  job.costs = *costs;
  job.count = (int)plan->ranks;
  job.all = zeroed(plan->ranks, sizeof *job.all);
  for (int r = job.count - 1; r >= 0; r--) {
    struct simulated_rank *rank = &job.all[r];
    rank->number = r;
    if (r == 0) memory.own = memory.most_own = (int64_t)(plan->ranks * (sizeof *job.ranks + sizeof *job.before));
    join(rank); /* before it, others have joined, whose memory is theirs */
    if (r > 0) rank->fiber = fiber_start(serve, rank);
  }
  world.turn = turn;
}

/* What the system does with the shared messages of a process that has ended. Their memory is the leader's. */
static void close_files(const struct share *share, uint32_t last, bool is_leader)
{
  for (uint32_t id = 1; share->sheets && id <= last; id++) {
    int file = share_file(share, id);
    if (file < 0) continue;
    if (is_leader && ftruncate(file, 0) < 0) fault("a shared message can't be given back");
    close(file);
  }
}

bool ranks_end(void)
{
  bool is_whole = true;
  uint32_t messages = job.all[0].share.last_id;
  for (int r = 0; r < job.count; r++) {
    struct simulated_rank *rank = &job.all[r];
    turn_to(rank);
    is_whole = is_whole && !rank->is_lost && !agent.teams && !rank->share.sheets;
    for (struct message *message; (message = message_take(&mpi.messages));) message_free(message);
    free(mpi.tree.children);
    close_files(&rank->share, messages, job.ranks[r].leader == r);
    free(rank->share.mates);
    free(rank->share.scrap);
    free(rank->transport.scrap);
    free(rank->transport.peers);
    network_drop(rank);
    memory_own_free(rank->nursery.beacon);
  }
  memory_own_free(job.ranks);
  memory_own_free(job.before);
  memory_own_free(job.all);
  here = NULL;
  job.all = NULL;
  world.turn = NULL;
  return is_whole;
}

/* ---- what home.c and nursery.c are elsewhere: the rank's own workers are lanes without slots ---- */

void home_open(struct nursery *nursery, int rank)
{
  (void)nursery, (void)rank;
}

int home_open_hub(struct engine *engine)
{
  if (here->engine) fault("rank %d has two engines", here->number);
  here->engine = engine;
  engine->lanes = &lane_simulated;
  return hub_open_on(&engine->hub, here->nursery.beacon, BEACON_MOST_NUMBERS, here->nursery.bell_fd);
}

int home_take_seat(struct engine *engine, uint32_t w)
{
  (void)engine, (void)w;
  return 0;
}

void home_leave(struct engine *engine)
{
  (void)engine;
  here->engine = NULL;
}

struct slot *home_map(struct engine *engine, uint32_t w, uint32_t id)
{
  (void)engine, (void)w, (void)id;
  fault("a slot is mapped where there are none");
}

int home_start(struct engine *engine, uint32_t w)
{
  (void)engine, (void)w;
  return ENOSYS;
}

int home_end(struct engine *engine, uint32_t w)
{
  (void)engine, (void)w;
  return ENOSYS;
}

bool home_ended(struct engine *engine, uint32_t w, int *status)
{
  (void)engine, (void)w, (void)status;
  return false;
}

bool home_progress(struct hub *hub)
{
  bool has_news = false;
  for (uint32_t w; hub_next_ready(hub, &w); has_news = true)
    if (here->engine) engine_note(here->engine, w);
  if (has_news) here->yield = 0;
  return has_news;
}

void nursery_close(struct nursery *nursery)
{
  (void)nursery;
  if (here->engine) lanes_kill_all(here->engine);
}

/* Is a rank's process there? */
int __wrap_kill(pid_t pid, int number);

int __wrap_kill(pid_t pid, int number)
{
  if (number != 0 || pid < FIRST_PID || pid >= FIRST_PID + job.count)
    fault("signal %d to process %d", number, (int)pid);
  if (!job.all[pid - FIRST_PID].is_lost) return 0;
  errno = ESRCH;
  return -1;
}
