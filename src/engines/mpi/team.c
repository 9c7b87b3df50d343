/* team.c - see team.h. */
#include "engines/mpi/team.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engines/mpi/mpi.h"
#include "run/chunks.h"
#include "run/dispatch.h"
#include "run/queue.h"
#include "sys/clock.h"

enum {
  MOST_EVENTS = 512, /* of one run, before others have their turn */
  MOST_RANGES = 256  /* given back at once */
};

/* So many seconds of work are to lie ready: some round trips to the parent; more where it has many children, so that
 * what each costs it (docs/MPI.md) stays a small part of its time. */
static const double horizon_least = 5e-3, horizon_child = 40e-6, horizon_chunks = 4;
/* Where nobody sees a result before all have come, so that the parent need not be woken often. */
static const double horizon_gathered = 50e-3, gather_gathered = 10e-3;
/* No more bytes of arguments than that, for each rank that is served: memory that nobody has used for a while costs
 * more than what is done with it (docs/MPI.md). */
static const double horizon_bytes = 16 << 20;
/* Reports are gathered for so long, unless somebody waits for an answer; longer where ranks share a processor. */
static const double gather_child = 10e-6, gather_least = 100e-6, gather_most = 20e-3;
/* Bytes of reports that the parent has not used: of all its children together, and of each. */
static const double unused_bytes = 256 << 20, unused_least = 512 << 10, unused_most = 8 << 20;
/* Plain results wait for those beside them where there are so many workers: until some chunks have ended, and longer
 * where the parent has many children. So many are reported as one, at the most: rank 0 decodes them in one go. */
enum { JOIN_WORKERS = 100, MOST_JOINED = 1 << 14 };
/* Those that wait to be joined become far fewer bytes: a rank that heads others keeps megabytes. */
static const uint64_t joined_bytes = 16 << 20;
static const double join_least = 10e-3, join_child = 160e-6, join_most = 50e-3, join_longest = 0.25;
/* Results of a reduction wait so long for those beside them; or for so many chunks, if that is more. So much work is to
 * lie ready then, and one group of blocks at the least: whole groups come at once. */
static const double fold_seconds = 100e-3, fold_chunks = 4, fold_horizon = 200e-3;
/* But no more than so many tasks, or so many times what would lie ready otherwise: what is measured may change. */
static const double fold_least = 256, fold_times = 4;
/* How often it is looked how many records are reported. */
static const double pace_seconds = 20e-3;

/* ---- reports ---- */

static bool has_room(const struct team *team)
{
  return team->report.sent + team->report.used - team->used < team->most;
}

/* Has rows of the journal prepared, where that was not done in a rank below; they go along. */
static void add_rows(struct team *team, struct event *event)
{
  if (!team->rows || event->length > 0 || folding_is_merge(&team->folding, event->last)) return;
  if (!team->maker->make(team->rows, event, &event->bytes, &event->length)) event->length = 0;
}

/* Nothing will come of these tasks here. */
static void return_ranges(struct team *team, struct range *ranges, uint32_t count)
{
  count = folding_return(&team->folding, ranges, count);
  for (uint32_t i = 0; i < count; i++) team->held -= ranges[i].last - ranges[i].first + 1;
  report_ranges(&team->report, ranges, count);
}

/* The last that is told of a run. */
static void forward_end(struct team *team, enum record_kind kind, int status, int ended)
{
  folding_flush(&team->folding);
  report_status(&team->report, kind, status, ended);
  team->is_done = true;
}

/* Does a worker say instead of results that it can't do the job (lua/parlua/worker/init.lua)? */
static bool is_refusal(const struct event *event)
{
  return event->want == 0 && event->count == 1 && event->block->kind == BLOCK_SPARSE &&
         event->block->word[2 * event->from] == 0;
}

static void forward_results(struct team *team, struct event *event)
{
  const struct family *family = team->engine.context;
  uint32_t w = event->worker - 1 - family->base;
  uint64_t end = event->block->size, *kept = w < family->own ? &team->ends[w] : &end;
  if (event->from == 0) *kept = end;
  if (is_refusal(event)) { /* a file or module is missing on its host, say: others do its tasks */
    report_results(&team->report, event, kept);
    if (w < family->own) forward_end(team, RECORD_TROUBLE, ENOEXEC, 0);
    return;
  }
  add_rows(team, event);
  if (!folding_is_merge(&team->folding, event->last)) {
    team->ended += event->want;
    team->held -= event->want;
  }
  if (!folding_take(&team->folding, event, kept, clock_seconds())) report_results(&team->report, event, kept);
}

static void forward_loss(struct team *team, struct event *event)
{
  if (folding_lose(&team->folding, event->first)) event->first = 0;
  if (event->first > 0) team->held--;
  report_lost(&team->report, event);
}

static void forward(struct team *team, struct event *event)
{
  switch (event->kind) {
  case EVENT_RESULTS: forward_results(team, event); break;
  case EVENT_LOST: forward_loss(team, event); break;
  case EVENT_TEXT: report_text(&team->report, event); break;
  case EVENT_DONE: forward_end(team, RECORD_DONE, 0, 0); break;
  case EVENT_TROUBLE: forward_end(team, RECORD_TROUBLE, event->status, event->ended); break;
  default: break;
  }
}

/* Tasks of a reduction that are to lie ready, where `tasks` would be without merges: whole groups, so that what is sent
 * to the parent goes by time, and not by tasks. Results of long tasks are told at once. */
static double fold_demand(const struct team *team, const struct demand *demand)
{
  uint32_t group = team->folding.group;
  bool is_kept = demand->per_task > 0 && demand->per_task <= team->folding.patience;
  if (group <= GROUP_JOINED || !is_kept) return demand->tasks;
  const struct family *family = team->engine.context;
  double tasks = fold_horizon / demand->per_task * family->own;
  tasks = fmin(tasks, fmax(fold_least, fold_times * demand->tasks));
  return fmax(demand->tasks, fmax(floor(tasks / group), 1) * group);
}

/* How many more tasks the parent may give: whole groups, where one is to lie ready. */
static double wanted(const struct team *team, const struct demand *demand)
{
  uint32_t group = team->folding.group;
  double more = demand->tasks - demand->unassigned;
  return group > GROUP_JOINED && demand->tasks >= group ? ceil(more / group) * group : more;
}

/* Workers of this rank and of those that it heads. */
static double workers_of(const struct team *team)
{
  const struct tree *tree = &mpi.tree;
  int rank = mpi.transport->rank, count = tree->children_count;
  int end = count > 0 ? tree->children[count - 1].end : rank + 1;
  return tree_before(tree, team->engine.all, end) - tree_before(tree, team->engine.all, rank);
}

/* Tasks that the parent was asked for, and may be about to give: it waits for room for a whole group. When half of what
 * is to lie ready has been done meanwhile it is asked again: it may have had none, or have held back what was this
 * rank's part. */
static double coming(const struct team *team, const struct demand *demand, double now)
{
  double seconds = demand->tasks * demand->per_task / workers_of(team);
  if (2 * (now - team->wanted_at) > seconds) return 0;
  uint32_t group = team->folding.group;
  double tasks = fmax(team->report.note.allowed - team->received, 0);
  return group > GROUP_JOINED ? floor(tasks / group) * group : tasks;
}

/* Seconds of work that are as many bytes of arguments as may lie ready. */
static double bytes_horizon(const struct team *team)
{
  const struct family *family = team->engine.context;
  double tasks = horizon_bytes * (1 + mpi.tree.children_count) * team->received / team->given;
  return team->given > 0 ? tasks * team->report.note.per_task / family->own : INFINITY;
}

/* Seconds of work that are to lie ready. Nobody knows how long the run is to be: no more than it has taken yet, where
 * that is enough for the way to the parent. Else the ranks that ask first would have all of a short one. */
static double horizon(const struct team *team, double now)
{
  double most = fmax(team->horizon, horizon_chunks * dispatch_chunk_seconds(team->run));
  return fmin(fmax(fmin(most, (now - team->began) / 2), team->horizon_least), bytes_horizon(team));
}

enum worth { WORTH_NOTHING, WORTH_SENDING, WORTH_SENDING_NOW };

/* Fills in what is wanted. Returns whether it is worth a message of its own, and when: at once, where a worker has
 * nothing to do and the parent does not know that yet. */
static enum worth note_demand(struct team *team, double now)
{
  struct note *note = &team->report.note;
  struct demand demand;
  enum worth worth = WORTH_NOTHING;
  int error;
  dispatch_demand(team->run, horizon(team, now), &demand);
  demand.tasks = fold_demand(team, &demand);
  if (demand.idle == 0)
    demand.tasks = fmin(demand.tasks, team->ended - team->asked); /* what was asked back is not to come again */
  if (2 * (demand.unassigned + coming(team, &demand, now)) <= demand.tasks) {
    double allowed = team->received + wanted(team, &demand);
    if (allowed > note->allowed) {
      worth = WORTH_SENDING;
      team->wanted_at = now;
    }
    note->allowed = allowed;
  }
  if (demand.idle > 0 && (note->idle == 0 || note->seen != team->received)) worth = WORTH_SENDING_NOW;
  note->idle = demand.idle;
  note->seen = team->received;
  note->per_task = demand.per_task;
  note->unassigned = demand.unassigned;
  uint32_t lacking = dispatch_lacking(team->run, &error);
  if (lacking != note->lacking && worth == WORTH_NOTHING) worth = WORTH_SENDING;
  note->lacking = lacking;
  note->status = error;
  return worth;
}

/* Answers the parent's wish. The own workers have been given theirs: else tasks could go to and fro between ranks for
 * ever, each of which asks for them before they were handed out. */
static void give_back(struct team *team)
{
  struct range ranges[MOST_RANGES];
  uint32_t count = dispatch_part(team->run, team->wish, ranges, MOST_RANGES);
  return_ranges(team, ranges, count);
  team->is_asked = false;
  team->asked = team->ended;
  note_demand(team, clock_seconds());
  report_send(&team->report, true);
}

/* Where results are joined, chunks take as long as what can't be joined demands. Results wait for some chunks then. */
static void pace_chunks(struct team *team, double now)
{
  double seconds = now - team->paced;
  if (team->folding.group != GROUP_JOINED || seconds < pace_seconds) return;
  dispatch_pace(team->run, (double)(team->report.records - team->records) / seconds);
  double chunks = fold_chunks * dispatch_chunk_seconds(team->run);
  team->folding.patience = fmax(team->patience, fmin(chunks, join_longest));
  team->records = team->report.records;
  team->paced = now;
}

/* As of team_serve. */
static double serve(struct team *team)
{
  struct event event;
  double until = INFINITY;
  bool is_more = true;
  for (int n = 0; is_more && n < MOST_EVENTS && !team->is_done && has_room(team); n++) {
    is_more = dispatch_poll(team->run, &event, &until);
    if (is_more) forward(team, &event);
  }
  if (team->is_asked && !team->is_done) give_back(team);
  double now = clock_seconds();
  enum worth worth = team->is_done ? WORTH_SENDING_NOW : note_demand(team, now);
  pace_chunks(team, now);
  bool is_over = team->held <= 0; /* nothing more comes that could go along */
  until = fmin(until, folding_serve(&team->folding, team->report.note.idle > 0 || team->is_done, now));
  bool has_any = team->report.parcel || worth;
  double gather = worth ? team->gather : team->gather_results;
  if (has_any && (worth == WORTH_SENDING_NOW || is_over || now - team->reported >= gather)) {
    report_send(&team->report, true);
    team->reported = now;
    has_any = false;
  }
  if (team->is_done) return INFINITY;
  if (is_more && has_room(team)) return 0;
  return has_any ? fmin(until, team->reported + gather) : has_room(team) ? until : INFINITY;
}

double team_serve(struct team *team)
{
  if (!team->run || team->is_done) return INFINITY;
  if (!team->is_told && !engine_has_news(&team->engine) && clock_seconds() < team->until) return team->until;
  team->is_told = false;
  return team->until = serve(team);
}

/* ---- what the parent says ---- */

void team_refuse(const struct message *message, int error)
{
  struct report report;
  report_begin(&report, mpi.transport, mpi.tree.parent, &message->note);
  report_status(&report, RECORD_TROUBLE, error, 0);
  report_send(&report, true);
}

/* Opens the team's engine, if it is not open. Returns 0 or an errno. */
static int open_engine(struct team *team, const struct note *note)
{
  if (team->engine.kind) return 0;
  mpi.opening = note->engine;
  int error = engine_open(&team->engine, &engine_mpi, note->all);
  if (error) return error;
  const struct family *family = team->engine.context;
  team->engine.memory = note->memory;
  team->ends = calloc((size_t)family->own + 1, sizeof *team->ends);
  return team->ends ? 0 : ENOMEM;
}

static void end_run(struct team *team)
{
  folding_end(&team->folding);
  if (team->rows) team->maker->end(team->rows);
  team->rows = NULL;
  if (team->run) dispatch_close(team->run);
  report_end(&team->report);
  message_free(team->opened);
  team->run = NULL;
  team->opened = NULL;
  team->shared = 0;
}

/* Results of a reduction wait to be merged; plain ones, where there are many workers, to be joined. */
static void begin_folding(struct team *team, const struct note *note, double fan)
{
  bool is_merged = note->group > GROUP_JOINED;
  double chunks = fold_chunks * dispatch_chunk_seconds(team->run);
  uint64_t most = is_merged ? team->most / 2 : joined_bytes;
  team->folding = (struct folding){.most = most, .joined = MOST_JOINED, .has_rows = note->rows > 0};
  team->folding.takes_long = note->is_gathered && !is_merged;
  if (is_merged || note->all >= JOIN_WORKERS) team->folding.group = note->group;
  team->folding.patience = is_merged ? fmax(fold_seconds, chunks) : fmin(fmax(join_least, fan * join_child), join_most);
  team->patience = team->folding.patience;
  folding_begin(&team->folding, team->run, &team->report, mpi.transport->rank);
}

/* Nothing was told of the run so far. */
static void begin_reports(struct team *team, const struct note *note)
{
  double fan = fmax(note->fan, 1);
  report_begin(&team->report, mpi.transport, mpi.tree.parent, note);
  team->report.lends = tree_is_near(&mpi.tree, mpi.tree.parent);
  team->used = 0;
  team->most = (uint64_t)fmin(fmax(unused_bytes / fan, unused_least), unused_most);
  begin_folding(team, note, fan);
  team->received = team->given = team->held = team->ended = 0;
  team->asked = team->wanted_at = -INFINITY;
  team->is_asked = false;
  team->horizon_least = fmax(horizon_least, fan * horizon_child);
  team->horizon = note->is_gathered ? fmax(horizon_gathered, team->horizon_least) : team->horizon_least;
  team->began = clock_seconds();
  double gather = fmax(fan * gather_child, tree_crowd(&mpi.tree) * gather_least);
  team->gather = fmin(gather, gather_most);
  team->gather_results = note->is_gathered ? fmax(team->gather, gather_gathered) : team->gather;
  team->reported = 0;
  team->paced = clock_seconds();
  team->records = 0;
  team->is_done = false;
}

/* What is said of the rows of the run's journal, behind the job. */
static const char *rows_of(const struct message *message)
{
  return message->bytes + message->length - message->note.rows;
}

static void open_run(struct team *team, struct message *message)
{
  const struct note *note = &message->note;
  end_run(team);
  int error = message->is_cut ? ENOMEM : note->id ? share_error(mpi.share, note->id) : 0;
  if (!error) error = open_engine(team, note);
  if (!error) {
    const struct family *family = team->engine.context;
    struct dispatch_options options = {.total = INFINITY,
                                       .chunk = note->chunk,
                                       .timeout = note->timeout,
                                       .key = note->key,
                                       .workers = note->workers,
                                       .base = family->base,
                                       .sparse = note->is_sparse,
                                       .group = note->group,
                                       .is_gathered =
                                           note->is_gathered && note->all < JOIN_WORKERS, /* else: pace_chunks */
                                       .is_fed = true,
                                       .lends_results = tree_is_near(&mpi.tree, mpi.tree.parent),
                                       .job = note->job};
    options.message = (const struct block *)(const void *)message->bytes;
    options.rows = rows_of(message);
    options.rows_length = note->rows;
    if (note->id) {
      share_refer(mpi.share, note->id, note->size, &team->refer);
      options.message = &team->refer;
    }
    team->run = dispatch_open(&team->engine, &options);
    if (!team->run) error = ENOMEM;
  }
  if (error) {
    team_refuse(message, error);
    message_free(message);
    return;
  }
  team->opened = message;
  team->shared = note->id;
  if (note->rows > 0 && team->maker) team->rows = team->maker->begin(rows_of(message), note->rows);
  begin_reports(team, note);
}

/* There was no memory for what was supplied for tasks. */
static void lose_tasks(struct team *team, const struct note *note)
{
  const struct family *family = team->engine.context;
  for (double task = note->first; task <= note->last; task++) {
    struct event event = {.kind = EVENT_LOST, .worker = family->base + 1, .first = task, .cause = LOST_MEMORY};
    forward_loss(team, &event);
  }
}

/* Maps what the parent has lent. Where that can't be, it is asked to send it. */
static struct payload *borrow(const struct note *note)
{
  struct payload *payload = payload_borrowed(note_lender(note), note->size);
  if (!payload) transport_send(mpi.transport, mpi.tree.parent, &(struct note){.kind = NOTE_APART});
  return payload;
}

/* What was supplied for tasks; NULL: nothing was, or it can't be had. */
static struct payload *take_payload(struct message *message)
{
  if (message->note.size > 0) return borrow(&message->note);
  struct payload *payload = message->body;
  message->body = NULL;
  if (payload || message->length == 0) return payload;
  payload = payload_of(message->length);
  if (payload) memcpy(&payload->block, message->bytes, message->length);
  return payload;
}

static void take_tasks(struct team *team, struct message *message)
{
  const struct note *note = &message->note;
  struct range range = {note->first, note->last};
  team->received += note->last - note->first + 1;
  team->given += (double)(message->length + note->size);
  team->held += note->last - note->first + 1;
  if (note->attempt == 1 && note->first < FIRST_EXTRA) folding_give(&team->folding, note->first, note->last);
  if (note->attempt > 1) team->report.note.allowed++; /* it comes beyond what was allowed */
  if (message->is_cut) {
    lose_tasks(team, note);
    return;
  }
  struct payload *payload = take_payload(message);
  bool is_short = (message->length || note->size) && !payload;
  if (is_short || dispatch_offer(team->run, note->first, note->last, note->attempt, payload))
    return_ranges(team, &range, 1);
}

/* Tasks behind the new end are of no use: those that merge results lie behind it too. */
static void lower_end(struct team *team, double last)
{
  folding_flush(&team->folding);
  team->folding.group = 0;
  dispatch_shorten(team->run, last);
}

static void close_run(struct team *team, const struct note *note)
{
  struct note closed = {.kind = NOTE_CLOSED, .engine = note->engine, .run = note->run};
  end_run(team);
  if (note->status) transport_send(mpi.transport, mpi.tree.parent, &closed);
}

void team_close(struct team *team)
{
  end_run(team);
  if (team->engine.kind) engine_close(&team->engine);
  free(team->ends);
}

/* Takes in a message that is for a run which is open. */
static void obey_for_run(struct team *team, struct message *message)
{
  const struct note *note = &message->note;
  if (!team->run || team->report.note.run != note->run) return;
  switch (note->kind) {
  case NOTE_GIVE: take_tasks(team, message); break;
  case NOTE_ASK:
    team->is_asked = true;
    team->wish = note->idle;
    break;
  case NOTE_LOWER: lower_end(team, note->last); break;
  case NOTE_ABORT: dispatch_abort(team->run, note->first); break;
  case NOTE_CANCEL: dispatch_cancel(team->run); break;
  case NOTE_USED:
    team->used = note->size;
    report_used(&team->report, note->size);
    break;
  default: break;
  }
}

void team_obey(struct team *team, struct message *message)
{
  team->is_told = true;
  if (message->note.kind == NOTE_BEGIN) {
    open_run(team, message);
    return;
  }
  if (message->note.kind == NOTE_CLOSE)
    close_run(team, &message->note);
  else
    obey_for_run(team, message);
  message_free(message);
}
