/* lane_rank.c - the lane of another rank, and of the ranks below it. Its agent (agent.c) runs a dispatcher over its own
 * workers, and takes ranges of tasks. It says how many tasks it wants in all (`allowed`), apart from what becomes of
 * those that it has. Tasks end there in any order: what is held here is cut into pieces as they do. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engines/mpi/mpi.h"
#include "engines/mpi/report.h"
#include "run/dispatch.h"
#include "run/pack.h"
#include "run/pieces.h"
#include "sys/clock.h"
#include "sys/signals.h"

enum {
  ALLOWED_FIRST = 2, /* tasks for each worker, before the rank has said anything */
  MOST_LOSSES = 2,   /* ranks that may be lost in a task; then it fails */
  MOST_RESERVES = 4, /* for tasks that are cut out of the midst of a work */
  MOST_GAP = 8       /* a part of so many of a block may be neither words nor values, if it is sent as it is */
};

/* How long is waited for a rank to end a run, when something runs there; and after an interruption. */
static const double close_seconds = 30, close_seconds_soon = 0.3;

struct rank_lane {
  struct lane lane;
  struct family *family;
  uint32_t child, run;
  struct pieces pieces;
  struct link reports; /* that came; of the first, what lies before `at` was taken */
  size_t at;
  struct note told;         /* with the last of them: what is wanted there */
  double given;             /* tasks */
  double outstanding;       /* tasks that have not ended */
  uint32_t retries;         /* of them tried again */
  uint32_t reserves;        /* of works, while a record is taken */
  double lowered;           /* the last total that it was told */
  uint32_t ranges_at;       /* of the ranges that the record at `at` gives back, those that were taken */
  uint64_t used, used_told; /* bytes of reports */
  int ended;                /* of that: how workers ended that could not begin */
  int trouble;              /* errno: it can have no workers; 0: it can */
  bool is_done;             /* nothing runs there any more, after a cancellation */
  bool is_asked;            /* for tasks: its answer is waited for */
  bool is_closed_there;
  enum pace pace; /* as which it is counted */
};

static struct rank_lane *own(const struct lane *lane)
{
  return (struct rank_lane *)(void *)(uintptr_t)lane;
}

static struct child *child_of(const struct rank_lane *rank)
{
  return &mpi.tree.children[rank->child];
}

static void send(const struct rank_lane *rank, struct note *note)
{
  note->engine = rank->family->number;
  note->run = rank->run;
  mpi_tell(child_of(rank), note);
}

/* So many seconds of work lie there, until a worker has nothing to do. */
static double seconds_left(const struct rank_lane *rank)
{
  const struct lane *lane = &rank->lane;
  double per_task = rank->told.per_task > 0 ? rank->told.per_task : lane->crew->per_task;
  double behind = rank->outstanding - lane->width;
  return behind > 0 ? behind * fmax(per_task, 1e-9) / lane->width : 0;
}

/* How soon something must be heard of the lane, which has tasks: later where it has enough to do, and much later where
 * it has very much, and nobody waits for one result. */
static enum pace pace_of(const struct rank_lane *rank)
{
  static const double enough_seconds = 5e-3, long_seconds = 5 * gathered_nap;
  const struct dispatch_options *options = rank->lane.crew->options;
  double left = seconds_left(rank);
  bool is_enough = rank->outstanding > 2.0 * rank->lane.width || left > enough_seconds;
  if (!is_enough || rank->told.idle > 0 || rank->is_asked) return PACE_AWAITED;
  return options->is_gathered && left > long_seconds ? PACE_GATHERED : PACE_PATIENT;
}

/* Counts the lane among those of which something must be heard. */
static void count(struct rank_lane *rank, bool is_awaited)
{
  enum pace before = rank->pace, pace = is_awaited ? pace_of(rank) : PACE_NONE;
  if (before) mpi.paces[before]--;
  if (pace) mpi.paces[pace]++;
  child_of(rank)->awaited += (pace != PACE_NONE) - (before != PACE_NONE);
  rank->pace = pace;
}

static void count_held(struct rank_lane *rank)
{
  count(rank, rank->lane.count > 0);
}

/* ---- giving ---- */

static int rank_start(struct lane *lane)
{
  struct rank_lane *rank = own(lane);
  const struct crew *crew = lane->crew;
  const struct dispatch_options *options = crew->options;
  rank->family = crew->engine->context;
  rank->child = lane->number - rank->family->own;
  list_init(&rank->reports);
  lane->is_lost = child_of(rank)->is_lost;
  if (lane->is_lost) return EHOSTDOWN;
  rank->run = ++mpi.runs;
  rank->told.allowed = ALLOWED_FIRST * (double)lane->width;
  rank->lowered = INFINITY;
  rank->family->lanes[rank->child] = rank;
  const struct block *job = options->message;
  bool is_shared = job->kind == BLOCK_ELSEWHERE;
  struct note note = {.kind = NOTE_BEGIN,
                      .engine = rank->family->number,
                      .run = rank->run,
                      .id = is_shared ? job->chunk : 0,
                      .all = crew->engine->all,
                      .workers = options->workers,
                      .job = options->job,
                      .is_sparse = options->sparse,
                      .is_gathered = options->is_gathered,
                      .group = options->group,
                      .chunk = options->chunk,
                      .timeout = options->timeout,
                      .fan = mpi.tree.children_count,
                      .memory = crew->engine->memory,
                      .key = options->key,
                      .size = is_shared ? job->whole : job->size,
                      .rows = options->rows_length};
  size_t bytes = is_shared ? 0 : job->size;
  struct parcel *parcel = transport_begin(mpi.transport, &note, bytes + note.rows);
  if (!parcel) return ENOMEM;
  memcpy(parcel_bytes(parcel), job, bytes);
  if (note.rows > 0) memcpy(parcel_bytes(parcel) + bytes, options->rows, note.rows);
  transport_send_off(mpi.transport, child_of(rank)->rank, parcel, bytes + note.rows);
  return 0;
}

/* Sends the tasks, and what was supplied for them: of a payload that several works share, their own part alone. */
static void send_tasks(const struct rank_lane *rank, const struct work *work)
{
  struct payload *payload = work->payload ? payload_of_tasks(work->payload, work->first, work->last) : NULL;
  const struct block *block = payload ? &payload->block : NULL;
  uint64_t words = block ? block->count : 0, values = block ? block->size - block->floor : 0;
  uint64_t size = block ? BLOCK_HEAD + words * 8 + values : 0;
  int to_rank = child_of(rank)->rank;
  struct note note = {.kind = NOTE_GIVE,
                      .engine = rank->family->number,
                      .run = rank->run,
                      .first = work->first,
                      .last = work->last,
                      .attempt = work->attempt};
  if (payload && payload->is_lent && !child_of(rank)->is_apart && tree_is_near(&mpi.tree, to_rank)) {
    note_lent(&note, payload);
    payload_drop(rank->lane.crew->store, payload); /* the work has it until its tasks have ended */
    send(rank, &note);
    return;
  }
  bool is_packed = size <= LARGE_MESSAGE || block->size - size >= block->size / MOST_GAP;
  struct parcel *parcel = is_packed ? transport_begin(mpi.transport, &note, size) : NULL;
  if (!parcel) { /* it is large, or there is no memory for a copy */
    parcel = transport_begin(mpi.transport, &note, 0);
    transport_send_on(mpi.transport, to_rank, parcel, 0, payload, block, block->size);
    return;
  }
  if (block) {
    struct block *to = (struct block *)(void *)parcel_bytes(parcel);
    memcpy(to, block, BLOCK_HEAD);
    to->size = size;
    to->floor = size - values;
    pack_copy(to, block, 0, words, block->floor, block->size);
  }
  payload_drop(rank->lane.crew->store, payload);
  transport_send_off(mpi.transport, to_rank, parcel, size);
}

static void rank_give(struct lane *lane, struct work *work)
{
  struct rank_lane *rank = own(lane);
  work->bound = work->last;
  work->is_complete = true;
  lane_hold(lane, work);
  pieces_add(&rank->pieces, work);
  rank->given += work->last - work->first + 1;
  rank->outstanding += work->last - work->first + 1;
  rank->retries += work_is_retry(work);
  count_held(rank);
  if (!child_of(rank)->is_lost && !child_of(rank)->has_left) send_tasks(rank, work);
}

static double rank_room(const struct lane *lane)
{
  const struct rank_lane *rank = own(lane);
  return lane->state == LANE_EMPTY ? ALLOWED_FIRST * (double)lane->width : rank->told.allowed - rank->given;
}

/* Tasks that it has not handed out, as far as is known. */
static double rank_reserve(const struct lane *lane)
{
  const struct rank_lane *rank = own(lane);
  return rank->told.unassigned + rank->given - rank->told.seen;
}

/* One for each of its workers, so that those that take long can't pile up in one rank. */
static bool rank_takes_retry(const struct lane *lane)
{
  return own(lane)->retries < lane->width;
}

/* As long as it has something to hand out, it waits for whole groups, where there are groups: parts of them that come
 * to several ranks can't be merged there. */
static uint32_t rank_wants(const struct lane *lane)
{
  const struct dispatch_options *options = lane->crew->options;
  double least = rank_reserve(lane) > 0 ? fmax(options->group, 1) : 1;
  return rank_room(lane) >= least;
}

static bool rank_is_idle(const struct lane *lane)
{
  const struct rank_lane *rank = own(lane);
  return rank_wants(lane) && (lane->count == 0 || (rank->told.idle > 0 && rank->told.seen == rank->given));
}

/* ---- taking back ---- */

static bool rank_take_back(struct lane *lane, struct work *work)
{
  (void)lane;
  (void)work;
  return false;
}

static double rank_lower(struct lane *lane, struct work *work, double last)
{
  struct rank_lane *rank = own(lane);
  double total = lane->crew->total;
  (void)last;
  if (total < rank->lowered) send(rank, &(struct note){.kind = NOTE_LOWER, .last = total});
  rank->lowered = total;
  return work->last;
}

static void rank_abort(struct lane *lane, double task)
{
  send(own(lane), &(struct note){.kind = NOTE_ABORT, .first = task});
}

static void rank_cancel(struct lane *lane)
{
  child_of(own(lane))->asked = clock_seconds();
  send(own(lane), &(struct note){.kind = NOTE_CANCEL});
}

static bool rank_ask_back(struct lane *lane, struct outcome *outcome)
{
  struct rank_lane *rank = own(lane);
  (void)outcome;
  send(rank, &(struct note){.kind = NOTE_ASK, .idle = lane->crew->idle});
  rank->is_asked = true;
  count_held(rank);
  return false;
}

static double rank_left(const struct lane *lane, double now)
{
  const struct rank_lane *rank = own(lane);
  (void)now;
  if (lane->state != LANE_READY || rank->is_done || rank->trouble) return 0;
  return seconds_left(rank);
}

/* ---- outcomes ---- */

/* Cuts tasks from `first` on off, by two of the reserves: one for the new work, one that stands ready for it. */
static struct work *cut_off(struct rank_lane *rank, struct work *work, double first)
{
  struct work *rest = work_split(rank->lane.crew->store, work, first);
  rank->reserves -= 2;
  lane_hold(&rank->lane, rest);
  pieces_add(&rank->pieces, rest);
  return rest;
}

/* Makes a work of tasks first..last out of the one that has them, which is cut where need be; NULL: there is none. The
 * outcome gets what was cut off. */
static struct work *isolate(struct rank_lane *rank, double first, double last, struct outcome *outcome)
{
  struct work *work = pieces_find(&rank->pieces, first);
  uint32_t n = 0;
  if (!work || first <= work->reached) return NULL;
  work->first = work->reached + 1;
  if (first > work->first) {
    outcome->apart[n++] = work;
    work = cut_off(rank, work, first);
  }
  if (last < work->last) outcome->apart[n++] = cut_off(rank, work, last + 1);
  return work;
}

/* The lane holds the work no more. */
static void let_go(struct rank_lane *rank, struct work *work)
{
  pieces_remove(&rank->pieces, work);
  rank->outstanding -= work->last - work->reached;
  rank->retries -= work_is_retry(work);
}

/* What follows takes a record. False: there is nothing to be told of it. */

static bool take_results(struct rank_lane *rank, const struct record *record, char *bytes, struct outcome *outcome)
{
  struct block *block = (struct block *)(void *)bytes;
  *outcome = (struct outcome){.kind = OUTCOME_RESULTS,
                              .block = block,
                              .count = block->count,
                              .last = record->last,
                              .fresh = record->fresh,
                              .worker = record->worker,
                              .per_task = record->seconds,
                              .bytes = report_rows(block),
                              .length = record->length};
  double first = record->last - record->fresh + 1;
  struct work *work = pieces_find(&rank->pieces, record->fresh > 0 ? first : record->last + 1);
  if (work && record->fresh > 0) work = isolate(rank, first, work->last, outcome);
  if (!work) return false; /* of tasks that are of no use any more */
  outcome->work = work;
  if (record->fresh == 0) return true; /* no task has ended: it tells of one that has not, or of none */
  rank->outstanding -= record->fresh;
  work->reached = record->last;
  outcome->is_final = work->reached >= work->last;
  if (outcome->is_final)
    let_go(rank, work);
  else
    work->first = work->reached + 1; /* those before it may be tried again, here too */
  return true;
}

static bool take_lost(struct rank_lane *rank, const struct record *record, struct outcome *outcome)
{
  *outcome = (struct outcome){.kind = OUTCOME_LOST,
                              .worker = record->worker,
                              .task = record->task,
                              .inner = record->inner,
                              .task_seconds = record->seconds,
                              .cause = (enum lost_cause)record->cause,
                              .status = record->status};
  if (record->task > 0) outcome->work = isolate(rank, record->task, record->task, outcome);
  if (outcome->work) let_go(rank, outcome->work);
  return true;
}

/* A result can't be had, by errno. One that large stands alone. Where the rank's process is gone, its task is given up
 * with all that it has. */
static bool take_unheld(struct rank_lane *rank, const struct record *record, struct outcome *outcome)
{
  if (errno == ENOENT) return false;
  const struct record lost = {.worker = record->worker, .task = record->last, .cause = LOST_MEMORY};
  return take_lost(rank, &lost, outcome);
}

/* The next range that was given back. */
static bool take_given(struct rank_lane *rank, const struct record *record, const char *bytes, struct outcome *outcome)
{
  struct range range;
  *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK};
  rank->is_asked = false;
  if (record->count == 0) return true;
  while (rank->ranges_at < record->count) {
    memcpy(&range, bytes + rank->ranges_at * sizeof range, sizeof range);
    struct work *work = pieces_find(&rank->pieces, range.first);
    if (work) work = isolate(rank, range.first, fmin(range.last, work->last), outcome);
    rank->ranges_at++;
    if (!work) continue;
    let_go(rank, work);
    lane_let_go(&rank->lane, work);
    outcome->work = work;
    outcome->keep = work->first - 1;
    return true;
  }
  return rank->lane.is_asked; /* else: of tasks that are of no use any more */
}

/* Gives up all that the lane holds, one by one: its rank is lost, or nothing runs there any more. */
static bool drop(struct rank_lane *rank, struct outcome *outcome)
{
  struct lane *lane = &rank->lane;
  bool is_lost = child_of(rank)->is_lost;
  struct work *work = lane_first(lane);
  if (work) {
    work->first = work->reached + 1;
    let_go(rank, work);
    if (is_lost && ++work->losses >= MOST_LOSSES && work->first == work->last) {
      const struct child *child = child_of(rank);
      uint32_t worker = tree_before(&mpi.tree, rank->family->engine->all, child->rank) + 1;
      *outcome = (struct outcome){
          .kind = OUTCOME_LOST, .work = work, .task = work->first, .cause = LOST_CRASH, .status = 9, .worker = worker};
      return true;
    }
    lane_let_go(lane, work);
    *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK, .work = work, .keep = work->first - 1};
    return true;
  }
  if (lane->is_asked) {
    *outcome = (struct outcome){.kind = OUTCOME_GIVEN_BACK};
    return true;
  }
  rank->outstanding = 0;
  if (!is_lost && !rank->trouble) return false;
  if (lane->state != LANE_READY) return false;
  lane->is_lost = is_lost;
  lane->lacking_error = rank->trouble;
  *outcome =
      (struct outcome){.kind = OUTCOME_CLOSED, .status = is_lost ? EHOSTDOWN : rank->trouble, .stream = rank->ended};
  return true;
}

/* The first report was taken as a whole. */
static void finish_report(struct rank_lane *rank)
{
  static const uint64_t told_bytes = 128 << 10;
  struct message *message = message_take(&rank->reports);
  rank->used += message->length + message->note.size;
  rank->at = 0;
  rank->family->unread--;
  message_free(message);
  if (rank->used - rank->used_told < told_bytes) return;
  rank->used_told = rank->used;
  send(rank, &(struct note){.kind = NOTE_USED, .size = rank->used});
}

static bool take_record(struct rank_lane *rank, struct record *record, char *bytes, struct outcome *outcome)
{
  switch (record->kind) {
  case RECORD_RESULTS: return take_results(rank, record, bytes, outcome);
  case RECORD_LOST: return take_lost(rank, record, outcome);
  case RECORD_GIVEN: return take_given(rank, record, bytes, outcome);
  case RECORD_TEXT:
    *outcome = (struct outcome){.kind = OUTCOME_TEXT,
                                .bytes = bytes,
                                .length = record->length,
                                .stream = record->stream,
                                .worker = record->worker};
    return true;
  case RECORD_DONE: rank->is_done = true; return false;
  case RECORD_TROUBLE:
    rank->trouble = record->status ? record->status : ECHILD;
    rank->ended = record->stream;
    return false;
  default: return false;
  }
}

/* What stands behind a record. NULL with errno set: it can't be had. */
static char *behind(const struct rank_lane *rank, struct message *message, struct record *record)
{
  const struct note *note = &message->note;
  bool is_here = rank->at + sizeof *record + record->bytes <= message->length;
  if (is_here || (!message->is_cut && note->size == 0)) return (char *)(record + 1);
  errno = ENOMEM;
  if (note->size == 0) return NULL;
  if (!message->body) message->body = payload_borrowed(note_lender(note), note->size);
  return message->body ? (char *)&message->body->block : NULL;
}

static bool rank_next(struct lane *lane, struct outcome *outcome, bool partial)
{
  struct rank_lane *rank = own(lane);
  struct work_store *store = lane->crew->store;
  (void)partial;
  if (lane->state != LANE_READY) return false;
  for (struct message *message; (message = message_first(&rank->reports));) {
    if (rank->at + sizeof(struct record) > message->length) {
      finish_report(rank);
      continue;
    }
    struct record *record = (struct record *)(void *)(message->bytes + rank->at);
    if (!work_reserve(store, MOST_RESERVES)) return false;
    rank->reserves = MOST_RESERVES;
    char *bytes = behind(rank, message, record);
    bool is_taken = bytes ? take_record(rank, record, bytes, outcome) : take_unheld(rank, record, outcome);
    work_unreserve(store, rank->reserves);
    bool is_more = is_taken && record->kind == RECORD_GIVEN && rank->ranges_at < record->count;
    if (!is_more) {
      rank->at += sizeof *record + record->bytes;
      rank->ranges_at = 0;
    }
    count_held(rank);
    if (is_taken) return true;
  }
  bool is_dropping = rank->is_done || rank->trouble || child_of(rank)->is_lost;
  bool is_dropped = is_dropping && drop(rank, outcome);
  count_held(rank);
  return is_dropped;
}

void lane_rank_take(struct rank_lane *rank, struct message *message)
{
  const struct note *note = &message->note;
  if (note->run != rank->run) {
    message_free(message);
    return;
  }
  if (note->kind == NOTE_CLOSED) {
    rank->is_closed_there = true;
    message_free(message);
    return;
  }
  rank->told = *note;
  rank->lane.lacking = note->lacking;
  rank->lane.lacking_error = note->status;
  list_append(&rank->reports, &message->link);
  rank->family->unread++;
  engine_note(rank->family->engine, rank->lane.number);
}

/* ---- the rest ---- */

static bool rank_view(const struct lane *lane, struct lane_view *view)
{
  (void)lane;
  (void)view;
  return false;
}

static void rank_nothing(struct lane *lane)
{
  (void)lane;
}

static void rank_quiet(struct lane *lane, bool is_cancelled)
{
  struct rank_lane *rank = own(lane);
  (void)is_cancelled;
  if (!rank->family) return;
  bool is_awaited = lane->count > 0;
  if (is_awaited) child_of(rank)->asked = clock_seconds();
  send(rank, &(struct note){.kind = NOTE_CLOSE, .status = is_awaited});
  count(rank, is_awaited);
}

static void rank_close(struct lane *lane, double deadline)
{
  struct rank_lane *rank = own(lane);
  double began = clock_seconds();
  (void)deadline;
  if (!rank->family) return;
  /* The end of the whole job comes by another way, and may have come there before the end of the run. */
  while (lane->count > 0 && !rank->is_closed_there && !child_of(rank)->is_lost && !child_of(rank)->has_left) {
    if (clock_seconds() - began > (signals_count() > 0 ? close_seconds_soon : close_seconds)) break;
    engine_nap(lane->crew->engine, INFINITY);
  }
  work_free_all(lane->crew->store, &lane->held);
  lane->count = 0;
  count(rank, false);
  for (struct message *message; (message = message_take(&rank->reports)); message_free(message)) rank->family->unread--;
  rank->family->lanes[rank->child] = NULL;
}

const struct lane_kind lane_over_rank = {
    .bytes = sizeof(struct rank_lane),
    .is_rank = true,
    .is_idle = rank_is_idle,
    .room = rank_room,
    .reserve = rank_reserve,
    .takes_retry = rank_takes_retry,
    .abort = rank_abort,
    .cancel = rank_cancel,
    .start = rank_start,
    .give = rank_give,
    .wants = rank_wants,
    .take_back = rank_take_back,
    .lower = rank_lower,
    .ask_back = rank_ask_back,
    .left = rank_left,
    .view = rank_view,
    .next = rank_next,
    .release = rank_nothing,
    .check_end = rank_nothing,
    .quiet = rank_quiet,
    .close = rank_close,
};
