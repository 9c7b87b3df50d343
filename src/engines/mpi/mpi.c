/* mpi.c - see mpi.h. */
#include "engines/mpi/mpi.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/mpi/home.h"
#include "sys/clock.h"
#include "sys/cores.h"
#include "sys/signals.h"

/* A job up to so many bytes goes along when a run begins: less than a message of its own would cost. */
enum { SMALL_JOB = 4096 };

/* So many messages are received before what they say is done: from many ranks they may come as fast as that. */
enum { MOST_MESSAGES = 64 };

/* When nobody has taken leave for so long, those that have not are told of the end once more, and not to wait. */
static const double remind_seconds = 5;

/* How long a rank waits for others to take leave, or to take what was sent; and after an interruption, or when one is
 * lost. */
static const double leave_seconds = 30, leave_seconds_soon = 0.3;

struct mpi mpi;

void mpi_tell(const struct child *child, const struct note *note)
{
  if (!child->is_lost && !child->has_left) transport_send(mpi.transport, child->rank, note);
}

static void tell_children(const struct note *note)
{
  for (int k = 0; k < mpi.tree.children_count; k++) mpi_tell(&mpi.tree.children[k], note);
}

/* ---- engines ---- */

struct family *mpi_family(uint32_t number)
{
  struct family *family = mpi.families;
  while (family && family->number != number) family = family->next;
  return family;
}

uint32_t mpi_cores(void)
{
  return (uint32_t)mpi.tree.before[mpi.transport->count];
}

static uint32_t workers_before(uint32_t all, int rank)
{
  return tree_before(&mpi.tree, all, rank);
}

static uint32_t own_workers(uint32_t all)
{
  int rank = mpi.transport->rank;
  return workers_before(all, rank + 1) - workers_before(all, rank);
}

static uint32_t mpi_places(uint32_t workers)
{
  return own_workers(workers) + (uint32_t)mpi.tree.children_count;
}

/* How many of the first `most` numbers are in begin..end - 1. */
static uint32_t overlap(uint32_t begin, uint32_t end, uint32_t most)
{
  if (end > most) end = most;
  return begin < end ? end - begin : 0;
}

static uint32_t mpi_width(const struct engine *engine, uint32_t w, uint32_t workers)
{
  const struct family *family = engine->context;
  if (w < family->own) return overlap(family->base + w, family->base + w + 1, workers);
  const struct child *child = &mpi.tree.children[w - family->own];
  return overlap(workers_before(engine->all, child->rank), workers_before(engine->all, child->end), workers);
}

static void free_family(struct family *family)
{
  struct family **link = &mpi.families;
  while (*link && *link != family) link = &(*link)->next;
  if (*link) *link = family->next;
  free(family->lanes);
  free(family);
}

static struct family *new_family(struct engine *engine)
{
  struct family *family = calloc(1, sizeof *family);
  if (!family) return NULL;
  family->engine = engine;
  family->number = mpi.transport->rank == 0 ? ++mpi.numbers : mpi.opening;
  family->own = own_workers(engine->all);
  family->base = workers_before(engine->all, mpi.transport->rank);
  family->lanes = calloc((size_t)mpi.tree.children_count + 1, sizeof *family->lanes);
  family->next = mpi.families;
  mpi.families = family;
  if (family->lanes) return family;
  free_family(family);
  return NULL;
}

static void mpi_close(struct engine *engine)
{
  struct family *family = engine->context;
  tell_children(&(struct note){.kind = NOTE_LEAVE, .engine = family->number});
  if (family->job) share_retire(mpi.share, family->job);
  home_leave(engine);
  free_family(family);
  engine->context = NULL;
  if (!mpi.is_agent) share_tidy(mpi.share, mpi_is_unread, true);
}

static int mpi_open(struct engine *engine)
{
  int error = home_open_hub(engine);
  if (error) return error;
  struct family *family = new_family(engine);
  if (!family) error = ENOMEM;
  for (uint32_t w = 0; !error && w < family->own; w++) error = home_take_seat(engine, w);
  if (!error) {
    engine->most_files = engine_want_files(family->own);
    engine->context = family;
    engine->rank_lanes = &lane_over_rank;
    engine->ranks_from = family->own;
    return 0;
  }
  if (family) {
    home_leave(engine);
    free_family(family);
  }
  hub_close(&engine->hub);
  return error;
}

static struct slot *mpi_map(struct engine *engine, uint32_t w)
{
  const struct family *family = engine->context;
  return home_map(engine, w, family->base + w + 1);
}

static const char *mpi_host(struct engine *engine, uint32_t w, int *rank)
{
  *rank = tree_rank_of(&mpi.tree, engine->all, w);
  return mpi.tree.ranks[*rank].host;
}

/* ---- jobs ---- */

static bool has_unread(const struct family *family, uint32_t id)
{
  const struct engine *engine = family->engine;
  for (uint32_t w = 0; w < family->own; w++) {
    struct slot *slot = engine->slots[w];
    if (!engine->alive[w] || !slot || !slot_is_sound(slot)) continue;
    uint32_t head = __atomic_load_n(&slot->in.head, __ATOMIC_SEQ_CST);
    for (uint32_t place = head; place != slot->in.tail; place++) {
      const struct block *block = slot_in_block(slot, place);
      if (block->kind == BLOCK_ELSEWHERE && block->chunk == id) return true;
    }
  }
  return false;
}

bool mpi_is_unread(uint32_t id)
{
  const struct family *family = mpi.families;
  while (family && !has_unread(family, id)) family = family->next;
  return family;
}

static const struct block *mpi_share(struct engine *engine, const struct block *message)
{
  struct family *family = engine->context;
  if (family->job) share_retire(mpi.share, family->job);
  family->job = 0;
  if (message->size <= SMALL_JOB || mpi.tree.any_lost) /* where a rank is lost, what others have through it is too */
    return message;
  family->job = share_send(mpi.share, message);
  if (!family->job) return NULL;
  share_refer(mpi.share, family->job, message->size, &family->refer);
  return &family->refer;
}

/* ---- messages ---- */

static void note_leave(struct child *child, const struct message *message)
{
  if (message->note.kind != NOTE_BYE) return;
  mpi_tell(child, &(struct note){.kind = NOTE_FAREWELL});
  child->has_left = true;
  mpi.byes++;
}

/* Nothing more comes from whoever has sent this. */
static void note_last(const struct note *note)
{
  mpi.is_end_passed |= note->kind == NOTE_END && !note->id;
  mpi.may_go |= note->kind == NOTE_FAREWELL;
}

/* A message of a child, for the lane of a run. */
static void take_from_child(struct child *child, struct message *message)
{
  struct family *family = mpi_family(message->note.engine);
  struct rank_lane *lane = family ? family->lanes[child - mpi.tree.children] : NULL;
  note_leave(child, message);
  child->is_apart |= message->note.kind == NOTE_APART;
  if (lane && (message->note.kind == NOTE_REPORT || message->note.kind == NOTE_CLOSED))
    lane_rank_take(lane, message);
  else
    message_free(message);
}

static void take_message(struct message *message)
{
  struct child *child = tree_child(&mpi.tree, message->from);
  uint32_t kind = message->note.kind;
  note_last(&message->note);
  if (kind >= NOTE_REPORT && kind <= NOTE_BYE) {
    if (child)
      take_from_child(child, message);
    else
      message_free(message);
    return;
  }
  list_append(&mpi.messages, &message->link);
}

/* The ranks below a child that is lost are lost with it. */
static void lose(const struct child *child)
{
  mpi.byes++;
  transport_lose(mpi.transport, child->rank);
  for (struct family *family = mpi.families; family; family = family->next)
    if (family->lanes[child - mpi.tree.children])
      engine_note(family->engine, family->own + (uint32_t)(child - mpi.tree.children));
}

/* When it is to be looked for messages: as the last look has found, unless something was sent since. Not for a while,
 * where there is other work: a look costs as much as taking several results of workers. */
static double next_look(bool is_busy)
{
  static const double busy_seconds = 50e-6;
  double due = mpi.transport->moved > mpi.looked ? mpi.looked : mpi.due;
  return is_busy && !mpi.is_moving ? fmax(due, mpi.looked + busy_seconds) : due;
}

/* Says that one may sleep for so long before the next look. */
static double look_in(double seconds)
{
  mpi.looked = clock_seconds();
  mpi.due = mpi.looked + seconds;
  return seconds;
}

double mpi_move(struct hub *hub, bool is_busy)
{
  struct transport *t = mpi.transport;
  is_busy |= home_progress(hub);
  if (t->count == 1) return INFINITY;
  double wait = next_look(is_busy) - clock_seconds();
  if (wait > 0) return wait;
  signals_elsewhere++;
  share_progress(mpi.share);
  struct message *message;
  for (int n = 0; n < MOST_MESSAGES && (message = transport_receive(t)); n++) take_message(message);
  for (const struct child *child; mpi.tree.children_count > 0 && (child = tree_next_lost(&mpi.tree));) lose(child);
  mpi.is_moving = !transport_settle(t) || !share_settled(mpi.share);
  signals_elsewhere--;
  enum pace pace = PACE_AWAITED;
  while (pace > PACE_NONE && mpi.paces[pace] == 0) pace--;
  if (mpi.is_agent && pace == PACE_NONE) pace = PACE_PATIENT;
  if (mpi.is_agent && !mpi.is_at_ease) pace = PACE_AWAITED;
  if (mpi.is_moving) pace = PACE_MOVING;
  double nap = look_in(pace ? transport_nap(t, pace, tree_crowd(&mpi.tree)) : 0);
  return pace ? nap : INFINITY; /* whoever asks may wait for something else */
}

static double mpi_progress(struct engine *engine)
{
  struct family *family = engine->context;
  if (!mpi.is_agent) share_tidy(mpi.share, mpi_is_unread, false);
  return mpi_move(&engine->hub, family->unread > 0);
}

/* ---- the job as a whole ---- */

/* Processors for this rank's workers: those that it may run on, shared with the ranks of this host that may run on the
 * same ones. *crowd: how many ranks there are for each. */
static uint32_t own_cores(MPI_Comm host, double *crowd)
{
  uint32_t cores = (uint32_t)cores_available(), share = 0;
  int count;
  cpu_set_t own, *all;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof own, &own);
  MPI_Comm_size(host, &count);
  all = calloc((size_t)count, sizeof *all);
  if (!all) MPI_Abort(host, 1);
  MPI_Allgather(&own, sizeof own, MPI_BYTE, all, sizeof own, MPI_BYTE, host);
  for (int i = 0; i < count; i++) share += CPU_EQUAL(&own, &all[i]) ? 1 : 0;
  free(all);
  *crowd = fmax((double)share / fmax(cores, 1), 1);
  if (!getenv("SLURM_CPUS_PER_TASK")) cores /= share > 0 ? share : 1; /* else the number is this rank's own already */
  return cores > 0 ? cores : 1;
}

int mpi_join(struct transport *transport, struct share *share, struct nursery *nursery, bool is_spawned)
{
  struct rank own = {.pid = getpid()};
  MPI_Comm host;
  MPI_Comm_split_type(transport->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  own.cores = own_cores(host, &own.crowd);
  own.leader = share_leader(transport, host);
  MPI_Comm_free(&host);
  struct stat space;
  if (stat("/proc/self/ns/pid", &space) == 0) own.space = (uint64_t)space.st_ino;
  gethostname(own.host, sizeof own.host - 1);
  bool has_workers = transport->rank > 0 || !is_spawned;
  if (!has_workers) own.cores = 0;
  mpi.transport = transport;
  mpi.share = share;
  list_init(&mpi.messages);
  mpi.is_agent = transport->rank > 0;
  home_open(has_workers ? nursery : NULL, transport->rank);
  int error = tree_open(&mpi.tree, transport, &own, is_spawned);
  return error ? error : share_place(share, transport, mpi.tree.ranks);
}

void mpi_tell_end(int status, bool is_soon)
{
  struct note note = {.kind = NOTE_END, .status = status, .is_soon = is_soon};
  share_pass(mpi.share, &note);
  mpi.share->is_over = true;
  note.id = 1;
  if (is_soon) tell_children(&note); /* whoever would pass it on along that tree may be lost */
}

/* Is something still on its way? Moves it; messages that come are dropped. *silence: seconds in which nothing has
 * moved, `since` then at the most. */
static bool is_settling(double since, double *silence)
{
  struct transport *t = mpi.transport;
  signals_elsewhere++;
  share_progress(mpi.share);
  for (struct message *message; (message = transport_receive(t)); message_free(message)) {
    struct child *child = tree_child(&mpi.tree, message->from);
    if (child) note_leave(child, message);
    note_last(&message->note);
  }
  *silence = clock_seconds() - fmax(since, t->moved);
  sched_yield();
  bool is_moving = !transport_settle(t) || !share_settled(mpi.share);
  signals_elsewhere--;
  return is_moving;
}

bool mpi_leave(int status, bool is_soon)
{
  is_soon |= mpi.tree.any_lost;
  if (!mpi.is_agent) mpi_tell_end(status, is_soon); /* an agent has done so */
  double limit = is_soon ? leave_seconds_soon : leave_seconds, since = clock_seconds(), silence;
  const struct note again = {.kind = NOTE_END, .status = status, .is_soon = true, .id = 1};
  bool is_reminded = is_soon;
  while ((is_settling(since, &silence) || mpi.byes < mpi.tree.children_count) && silence <= limit) {
    if (is_reminded || silence <= remind_seconds) continue;
    tell_children(&again);
    is_reminded = true;
  }
  return !mpi.tree.any_lost && mpi.byes >= mpi.tree.children_count;
}

void mpi_part(bool is_soon)
{
  double since = clock_seconds(), limit = is_soon ? leave_seconds_soon : leave_seconds, silence;
  transport_send(mpi.transport, mpi.tree.parent, &(struct note){.kind = NOTE_BYE});
  /* a rank that is lost takes nothing, and says nothing */
  while ((is_settling(since, &silence) || !mpi.may_go || !mpi.is_end_passed) && silence <= limit) continue;
}

const struct engine_kind engine_mpi = {
    .name = "mpi",
    .can = MPI_CAN,
    .rings_at_end = true,
    .own_bytes = HOME_BYTES,
    .start = home_start,
    .end = home_end,
    .ended = home_ended,
    .open = mpi_open,
    .close = mpi_close,
    .map = mpi_map,
    .progress = mpi_progress,
    .places = mpi_places,
    .width = mpi_width,
    .share = mpi_share,
    .host = mpi_host,
};
