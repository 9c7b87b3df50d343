/* dispatch.c - see dispatch.h. */
#include "run/dispatch.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* A chunk is to take about this long: a round trip of 10 to 50 us between sleeping sides is then at most some percent, and hidden
 * by the queued chunk anyway. */
static const double chunk_seconds = 1e-3;
/* And so long for each distant worker: a chunk there costs the coordinator about 12 us (docs/MPI.md), which is then at most a
 * quarter of its time however many there are. */
static const double distant_seconds = 48e-6;
/* A chunk is at most so many times as large as the last one that was measured. */
static const double chunk_growth = 16;
/* A chunk is at most 1 / (share * workers) of what is left. */
static const double chunk_share = 2;
/* Running chunks are cut when an idle worker could take over at least this much work. */
static const double cut_seconds = 60e-6;
/* A distant worker that had nothing to give back is asked again after this long, then after ever longer times. */
static const double ask_seconds = 0.5e-3, ask_seconds_most = 16e-3;
/* How often cells are sampled while the coordinator has nothing else to do, and events of kind EVENT_TICK. */
static const double sample_seconds = 0.05, tick_seconds = 0.1;
/* Time limits are met to within this share of the limit, sampled no more often than the least. */
static const double timeout_share = 0.04, timeout_sample_least = 0.002, timeout_sample_most = 0.02;
/* The coordinator looks again for this long before it sleeps, if its last wait was as short, or nothing is known of the tasks: it
 * may share a processor with a worker, who needs it more. */
static const double spin_seconds = 20e-6;
/* So long a worker that is awake needs at the most to answer; after that, one may wait for the coordinator's processor. */
static const double yield_seconds = 4e-6;
/* After a cancellation a thread has so long to end its task before it is abandoned. */
static const double cancel_grace = 0.3;

enum {
  LANE_DEPTH = 2,         /* chunks at a worker: one that runs, one queued */
  MOST_STILLBORN = 3,     /* of one place, one after another, before it has given anything: then it is left empty */
  MOST_WISHES = 8,        /* distant workers asked at the same time */
  LARGEST_CHUNK = 1 << 30 /* tasks */
};

/* What was supplied for some tasks; shared by the chunks cut from it. */
struct payload {
  int users;
  uint64_t capacity;
  struct block block;
};

/* A run of tasks: to be handed out (again), or at a worker. */
struct work {
  struct work *next;
  double first, last;
  double bound;   /* last task that the worker may do: behind `last` where the rest is of no use any more */
  double reached; /* last task whose end was reported */
  double not_before;
  struct payload *payload;
  uint32_t attempt;
  uint32_t number; /* of the chunk, in its message */
  uint32_t place;
  uint64_t sent;
  int complete; /* all of its message is in the channel */
};

struct lane {
  struct work *works[LANE_DEPTH];
  int count;
  uint64_t job_sent;   /* bytes of the job's message in the channel */
  uint32_t from;       /* words or pairs of the oldest block that were reported */
  struct block *whole; /* results that come in pieces */
  uint64_t whole_have, whole_size;
  int delivered;         /* what to give back before the next event: see enum delivered */
  enum lost_cause cause; /* why it is being ended; 0: it is not */
  int dying, dead;
  int begun; /* its worker was started in this run */
  int status;
  double seen, since; /* sampled task, and when it was first seen */
  double seen_inner;  /* likewise, in a block of tasks */
  int asked;          /* distant: it was asked to give back what it can, and has not answered */
  double ask_at;      /* distant: not to be asked again before */
  double patience;    /* distant: seconds until then after the last time it had nothing to give */
  int stillborn;      /* workers in a row that ended before they gave anything */
};

/* What becomes of a worker. */
enum dying {
  ENDING = 1, /* it was told to end (or given up), and that is waited for */
  ENDED       /* nothing stands behind its slot any more */
};

enum delivered { NOTHING, CLOSED_BLOCK, WHOLE_BLOCK };

/* Tasks that are not to be handed out. */
struct range {
  double first, last;
};

struct dispatch {
  struct engine *engine;
  struct dispatch_options options;
  struct lane *lanes;
  uint32_t lanes_count, turn;
  double next, ceiling, total; /* total: INFINITY until the supply is exhausted */
  double size, per_task;       /* tasks a chunk; seconds a task, measured */
  double chunk_seconds;        /* that a chunk is to take */
  uint32_t chunks;
  struct range *skips; /* ascending; those before skips_at are passed */
  size_t skips_at, skips_count, skips_room;
  struct work *again_head, **again_tail; /* to be handed out before anything new */
  struct payload *staged, *spare, *reported;
  struct lane *reporting;
  double last_tick, last_sample, cancelled_at, continued_at;
  int cancelled, can_cut, asked;
  int wishes;    /* distant workers that were asked to give back and have not answered */
  int shortened; /* tasks behind `total` were given up, though they may run */
  int trouble;   /* errno of the last start that failed */
  int lacking;   /* likewise, for dispatch_lacking */
  char *text;    /* what a task has printed, TEXT_BYTES large; made when the first does */
};

/* ---- payloads and works ---- */

static struct payload *payload_new(struct dispatch *d, uint64_t bytes)
{
  struct payload *payload = NULL;
  if (bytes <= BLOCK_BYTES) {
    bytes = BLOCK_BYTES;
    payload = d->spare;
    d->spare = NULL;
  }
  if (!payload) payload = malloc(offsetof(struct payload, block) + bytes);
  if (!payload) return NULL;
  memset(&payload->block, 0, BLOCK_HEAD);
  payload->users = 1;
  payload->capacity = bytes;
  payload->block.size = payload->block.floor = bytes;
  return payload;
}

static void payload_drop(struct dispatch *d, struct payload *payload)
{
  if (!payload || --payload->users > 0) return;
  if (!d->spare && payload->capacity == BLOCK_BYTES)
    d->spare = payload;
  else
    free(payload);
}

static struct work *work_new(double first, double last, struct payload *payload, uint32_t attempt)
{
  struct work *work = calloc(1, sizeof *work);
  if (!work) return NULL;
  work->first = first;
  work->last = last;
  work->reached = first - 1;
  work->payload = payload;
  work->attempt = attempt;
  if (payload) payload->users++;
  return work;
}

static void work_free(struct dispatch *d, struct work *work)
{
  payload_drop(d, work->payload);
  free(work);
}

/* Queues tasks first..last to be handed out before anything new; takes over nothing. */
static int again(struct dispatch *d, double first, double last, const struct work *like, uint32_t attempt, double not_before)
{
  if (last > d->total) last = d->total;
  if (first > last || d->cancelled) return 0;
  struct work *work = work_new(first, last, like->payload, attempt);
  if (!work) return ENOMEM;
  work->not_before = not_before;
  *d->again_tail = work;
  d->again_tail = &work->next;
  return 0;
}

static struct work *take_again(struct dispatch *d, double now)
{
  for (struct work **link = &d->again_head; *link; link = &(*link)->next) {
    struct work *work = *link;
    if (work->not_before > now) continue;
    *link = work->next;
    if (d->again_tail == &work->next) d->again_tail = link;
    work->next = NULL;
    return work;
  }
  return NULL;
}

/* When the first of the tasks that are to be handed out again is due; INFINITY: there are none. */
static double next_due(const struct dispatch *d)
{
  double due = INFINITY;
  for (const struct work *work = d->again_head; work; work = work->next)
    if (work->not_before < due) due = work->not_before;
  return due;
}

/* ---- opening and closing ---- */

/* How often workers' cells are looked at. */
static double sample_interval(const struct dispatch *d)
{
  double interval = sample_seconds;
  if (d->options.timeout > 0) {
    double wanted = d->options.timeout * timeout_share;
    if (wanted < timeout_sample_least) wanted = timeout_sample_least;
    if (wanted > timeout_sample_most) wanted = timeout_sample_most;
    interval = wanted;
  }
  return interval;
}

/* Does what is at worker `w` lie on another host, so that its slot here only mirrors it? */
static bool is_distant(const struct dispatch *d, uint32_t w)
{
  return d->engine->distant && d->engine->distant[w];
}

struct dispatch *dispatch_open(struct engine *engine, const struct dispatch_options *options)
{
  struct dispatch *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  d->lanes_count = options->workers < engine->workers ? options->workers : engine->workers;
  d->lanes = calloc(d->lanes_count, sizeof *d->lanes);
  if (!d->lanes) {
    free(d);
    return NULL;
  }
  d->engine = engine;
  d->options = *options;
  d->next = 1;
  d->ceiling = INFINITY;
  d->total = options->total >= 0 ? options->total : INFINITY;
  d->size = options->chunk > 0 ? options->chunk : 1;
  d->again_tail = &d->again_head;
  d->can_cut = membarrier_works();
  signals_begin(&engine->hub.bell, options->timeout > 0);
  double distant = 0;
  for (uint32_t w = 0; w < d->lanes_count; w++) distant += is_distant(d, w);
  d->chunk_seconds = fmax(chunk_seconds, distant * distant_seconds);
  d->last_tick = d->last_sample = clock_seconds();
  engine->sample = sample_interval(d);
  for (uint32_t w = 0; engine->given_back && w < d->lanes_count; w++) engine->given_back[w].answered = false;
  return d;
}

static void lane_clear(struct dispatch *d, struct lane *lane)
{
  for (int i = 0; i < lane->count; i++) work_free(d, lane->works[i]);
  free(lane->whole);
  d->wishes -= lane->asked;
  memset(lane, 0, sizeof *lane);
}

/* Throws away what worker `w` has sent. */
static void lane_drain(struct dispatch *d, uint32_t w)
{
  struct slot *slot = d->engine->slots[w];
  while (slot_results(slot)) slot_release_results(slot);
  slot_drop_text(slot);
}

/* Lets a worker of an engine that is kept come to rest, its results thrown away; false when it does not within the grace. */
static bool lane_quiet(struct dispatch *d, uint32_t w, double deadline)
{
  struct slot *slot = d->engine->slots[w];
  uint32_t ended[1];
  for (;;) {
    lane_drain(d, w);
    if (channel_filled(&slot->in) == 0) return true;
    hub_asleep(&d->engine->hub);
    if (slot_results(slot) || channel_filled(&slot->in) == 0) {
      hub_awake(&d->engine->hub);
      continue;
    }
    double left = deadline - clock_seconds();
    if (left <= 0) return false;
    hub_wait(&d->engine->hub, left < 0.01 ? left : 0.01, ended, 1);
  }
}

/* Takes back what worker `w` has not begun, and lets it begin no further task. */
static void lane_stop_tasks(struct dispatch *d, uint32_t w)
{
  struct lane *lane = &d->lanes[w];
  struct slot *slot = d->engine->slots[w];
  if (!slot || !d->engine->alive[w]) return;
  for (int i = lane->count - 1; i >= 0; i--) {
    struct work *work = lane->works[i];
    if (work->sent == 0 || (work->complete && slot_revoke(slot, work->place))) {
      /* it is never begun: nothing will be heard of it; but one behind it may be half sent */
      memmove(lane->works + i, lane->works + i + 1, (size_t)(--lane->count - i) * sizeof *lane->works);
      work_free(d, work);
    } else {
      slot_set_limit(slot, work->place, -1);
    }
  }
}

void dispatch_close(struct dispatch *d)
{
  struct engine *engine = d->engine;
  double deadline = clock_seconds() + cancel_grace;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    if (d->lanes[w].dying == ENDED) engine->alive[w] = false; /* it was not yet buried */
    lane_stop_tasks(d, w);
  }
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    if (!engine->alive[w]) continue;
    if (engine->ops->flags & CAN_KILL) {
      bool begins = d->cancelled && engine->ops->flags & INHERITS && channel_filled(&engine->slots[w]->in) > 0; /* it runs `init` */
      if (d->lanes[w].count > 0 || begins) engine->ops->kill(engine, w);
    } else if ((d->lanes[w].count > 0 && d->lanes[w].works[0]->sent && !d->lanes[w].works[d->lanes[w].count - 1]->complete) ||
               !lane_quiet(d, w, deadline)) {
      engine->ops->kill(engine, w);
    }
  }
  if ((engine->ops->flags & (CAN_KILL | INHERITS)) ==
      CAN_KILL) { /* workers are kept: those just killed must be gone before the next run */
    for (uint32_t w = 0; w < d->lanes_count; w++) {
      if (!engine->alive[w]) continue;
      lane_drain(d, w);
      if (d->lanes[w].count == 0 && !d->lanes[w].dying) continue;
      if (d->lanes[w].dying < ENDED) engine->ops->join(engine, w, 0);
      engine->alive[w] = false;
    }
  }
  for (uint32_t w = 0; w < d->lanes_count; w++) lane_clear(d, &d->lanes[w]);
  for (struct work *work = d->again_head, *next; work; work = next) {
    next = work->next;
    work_free(d, work);
  }
  payload_drop(d, d->reported);
  payload_drop(d, d->staged);
  free(d->skips);
  free(d->spare);
  free(d->text);
  free(d->lanes);
  signals_end(&engine->hub.bell);
  free(d);
}

/* ---- handing out ---- */

/* Moves what is on its way to worker `w` into its channel, as far as there is room. */
static void lane_pump(struct dispatch *d, uint32_t w)
{
  struct lane *lane = &d->lanes[w];
  struct slot *slot = d->engine->slots[w];
  uint32_t place;
  if (lane->dying || lane->dead) return;
  if (d->options.message && d->engine->has_job[w] != d->options.job) {
    if (!slot_send(slot, d->options.message, &lane->job_sent, &place)) return;
    d->engine->has_job[w] = d->options.job;
  }
  for (int i = 0; i < lane->count; i++) {
    struct work *work = lane->works[i];
    if (work->complete) continue;
    struct block plain = {.size = BLOCK_HEAD, .floor = BLOCK_HEAD};
    struct block *message = work->payload ? &work->payload->block : &plain;
    message->kind = BLOCK_CHUNK;
    message->first = work->first;
    message->last = work->last;
    message->chunk = work->number;
    message->job = d->options.job;
    message->attempt = work->attempt;
    message->key = d->options.key;
    if (!slot_send(slot, message, &work->sent, &work->place)) return;
    work->complete = 1;
  }
}

static void lane_give(struct dispatch *d, uint32_t w, struct work *work)
{
  struct lane *lane = &d->lanes[w];
  work->number = ++d->chunks;
  work->bound = work->last;
  work->sent = 0;
  work->complete = 0;
  lane->works[lane->count++] = work;
  lane->ask_at = lane->patience = 0;
  lane_pump(d, w);
}

/* Tasks for the next chunk. */
static double chunk_size(const struct dispatch *d)
{
  double n = d->size, left = (d->total < d->ceiling ? d->total : d->ceiling) - d->next + 1;
  if (d->options.chunk <= 0 && isfinite(d->total)) {
    double share = ceil((d->total - d->next + 1) / (chunk_share * d->lanes_count));
    if (n > share) n = share;
  }
  if (n > left) n = left;
  if (d->skips_at < d->skips_count && n > d->skips[d->skips_at].first - d->next) n = d->skips[d->skips_at].first - d->next;
  if (n > LARGEST_CHUNK) n = LARGEST_CHUNK;
  return n < 1 ? 1 : floor(n);
}

/* Moves on to the next task that is to be handed out. */
static void pass_skipped(struct dispatch *d)
{
  for (; d->skips_at < d->skips_count && d->skips[d->skips_at].first <= d->next; d->skips_at++)
    if (d->skips[d->skips_at].last >= d->next) d->next = d->skips[d->skips_at].last + 1;
}

int dispatch_skip(struct dispatch *d, double first, double last)
{
  if (d->skips_count == d->skips_room) {
    size_t room = d->skips_room ? 2 * d->skips_room : 16;
    struct range *skips = realloc(d->skips, room * sizeof *skips);
    if (!skips) return ENOMEM;
    d->skips = skips;
    d->skips_room = room;
  }
  d->skips[d->skips_count++] = (struct range){first, last};
  pass_skipped(d);
  return 0;
}

static bool more_to_hand_out(const struct dispatch *d)
{
  return !d->cancelled && d->next <= d->total && d->next <= d->ceiling;
}

/* Makes sure that a worker stands behind lane `w`. */
static bool lane_ready(struct dispatch *d, uint32_t w, lua_State *L, int job)
{
  struct engine *engine = d->engine;
  struct lane *lane = &d->lanes[w];
  if (lane->dying || lane->dead) return false;
  if (engine->alive[w]) return true;
  int error = engine_start(engine, w, L, job);
  if (error) {
    d->trouble = d->lacking = error;
    lane->dead = 1;
    return false;
  }
  lane->from = 0;
  lane->job_sent = 0;
  lane->begun = 1;
  engine->hub.last_wait = 1; /* it takes a while to come up: nothing to look for again and again */
  return true;
}

/* The lane that gets the next chunk: the one with the fewest; -1 when all have enough. */
static int hungriest(const struct dispatch *d)
{
  int best = -1, least = LANE_DEPTH;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    const struct lane *lane = &d->lanes[w];
    if (lane->dying || lane->dead || lane->count >= least) continue;
    best = (int)w;
    least = lane->count;
    if (least == 0) break;
  }
  return best;
}

/* Hands out work until every worker has enough. Returns true when arguments are to be supplied first: *event asks for them. */
static bool feed(struct dispatch *d, struct event *event, lua_State *L, int job)
{
  double now = d->again_head ? clock_seconds() : 0;
  d->asked = 0;
  if (d->cancelled) return false;
  while (d->again_head || more_to_hand_out(d)) {
    int w = hungriest(d);
    if (w < 0) break;
    struct work *work = d->again_head ? take_again(d, now) : NULL;
    if (!work && !more_to_hand_out(d)) break;
    if (!lane_ready(d, (uint32_t)w, L, job)) {
      if (work) {
        work->next = d->again_head;
        if (!d->again_head) d->again_tail = &work->next;
        d->again_head = work;
      }
      continue;
    }
    if (!work) {
      double n = chunk_size(d);
      if (d->options.total < 0) {
        event->kind = EVENT_SUPPLY;
        event->want = n;
        d->asked = w + 1;
        return true;
      }
      work = work_new(d->next, d->next + n - 1, NULL, 1);
      if (!work) break;
      d->next += n;
      pass_skipped(d);
    }
    lane_give(d, (uint32_t)w, work);
  }
  return false;
}

static void lane_end(struct dispatch *d, uint32_t w, enum lost_cause cause);
static bool any_usable(const struct dispatch *d);

struct block *dispatch_stage(struct dispatch *d, uint64_t bytes)
{
  payload_drop(d, d->staged);
  d->staged = payload_new(d, bytes);
  return d->staged ? &d->staged->block : NULL;
}

int dispatch_supply(struct dispatch *d, double count)
{
  struct payload *payload = d->staged;
  d->staged = NULL;
  payload->block.origin = d->next;
  struct work *work = work_new(d->next, d->next + count - 1, payload, 1);
  payload_drop(d, payload); /* the work's now */
  if (!work) return ENOMEM;
  d->next += count;
  lane_give(d, (uint32_t)d->asked - 1, work);
  return 0;
}

void dispatch_exhausted(struct dispatch *d)
{
  d->total = d->next - 1;
}

void dispatch_ceiling(struct dispatch *d, double last)
{
  d->ceiling = last;
}

int dispatch_redo(struct dispatch *d, double task, uint32_t attempt, double delay)
{
  struct work like = {.payload = d->reported};
  return again(d, task, task, &like, attempt, clock_seconds() + delay);
}

int dispatch_redo_staged(struct dispatch *d, double task, uint32_t attempt, double delay)
{
  struct work like = {.payload = d->staged};
  int error = again(d, task, task, &like, attempt, clock_seconds() + delay);
  payload_drop(d, d->staged);
  d->staged = NULL;
  return error;
}

/* Work at place `i` of lane `w` has tasks behind the new total: they are not begun any more. Returns true when it is gone. */
static bool shorten_work(struct dispatch *d, uint32_t w, int i)
{
  struct lane *lane = &d->lanes[w];
  struct slot *slot = d->engine->slots[w];
  struct work *work = lane->works[i];
  bool useless = work->first > d->total;
  if (!work->complete) {
    if (work->sent > 0 || !useless) {
      work->last = useless ? work->first : d->total;
      return false;
    }
  } else if (!useless || !slot_revoke(slot, work->place)) {
    slot_set_limit(slot, work->place, useless ? -1 : d->total);
    if (!d->can_cut || is_distant(d, w)) return false;
    membarrier_all();
    double current = slot_current(slot), keep = useless ? work->first - 1 : d->total;
    if (keep < current) keep = current;
    if (keep < work->last) work->last = keep;
    return false;
  }
  memmove(lane->works + i, lane->works + i + 1, (size_t)(--lane->count - i) * sizeof *lane->works);
  work_free(d, work);
  return true;
}

/* Is all that worker `w` has behind the new total? What is queued there and is not is taken back, if it was not begun. */
static bool only_useless(struct dispatch *d, uint32_t w)
{
  struct lane *lane = &d->lanes[w];
  if (lane->count == 0 || lane->works[0]->first <= d->total) return false;
  while (lane->count > 1) {
    struct work *work = lane->works[lane->count - 1];
    if (work->complete ? !slot_revoke(d->engine->slots[w], work->place) : work->sent > 0) return false;
    lane->count--;
    again(d, work->first, work->last, work, work->attempt, 0);
    work_free(d, work);
  }
  return true;
}

void dispatch_shorten(struct dispatch *d, double last)
{
  if (last >= d->total) return;
  d->total = last;
  d->shortened = 1;
  for (struct work **link = &d->again_head, *work; (work = *link);) {
    if (work->last > last) work->last = last;
    if (work->first <= last) {
      link = &work->next;
      continue;
    }
    *link = work->next;
    if (d->again_tail == &work->next) d->again_tail = link;
    work_free(d, work);
  }
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = &d->lanes[w];
    for (int i = lane->count - 1; i >= 0; i--)
      if (lane->works[i]->last > last) shorten_work(d, w, i);
    if ((d->engine->ops->flags & CAN_KILL) && d->engine->alive[w] && only_useless(d, w)) lane_end(d, w, LOST_CANCELLED);
  }
}

/* ---- results ---- */

/* A duration that a worker's memory tells; 0: it can't be one, as the memory was overwritten. */
static double plausible(double seconds)
{
  return seconds >= 0 && seconds < 1e9 ? seconds : 0;
}

static void measure(struct dispatch *d, double tasks, double seconds)
{
  if (tasks < 1) return;
  d->per_task = seconds / tasks;
  if (d->options.chunk > 0) return;
  double ideal = d->chunk_seconds / (d->per_task > 1e-12 ? d->per_task : 1e-12), most = tasks * chunk_growth;
  if (ideal > d->size && tasks < d->size) return; /* a short chunk says nothing of longer ones */
  d->size = floor(ideal < most ? ideal : most);
  if (d->size < 1) d->size = 1;
}

/* The chunk that ran first at a worker has ended at `last`: what it did not do is handed out again. */
static void finish_work(struct dispatch *d, struct lane *lane, double last, double seconds)
{
  struct work *work = lane->works[0];
  if (last < work->last) again(d, last + 1, work->last, work, work->attempt, 0);
  measure(d, last - work->first + 1, seconds);
  memmove(lane->works, lane->works + 1, (size_t)--lane->count * sizeof *lane->works);
  work_free(d, work);
  lane->since = 0;
  lane->seen = 0;
}

static void give_back(struct dispatch *d)
{
  struct lane *lane = d->reporting;
  payload_drop(d, d->reported);
  d->reported = NULL;
  d->reporting = NULL;
  if (!lane) return;
  if (lane->delivered == CLOSED_BLOCK) {
    slot_release_results(d->engine->slots[lane - d->lanes]);
    lane->from = 0;
  } else if (lane->delivered == WHOLE_BLOCK) {
    free(lane->whole);
    lane->whole = NULL;
  }
  lane->delivered = NOTHING;
}

/* Fills the event for `count` results of `block` from word `from` on. */
static void report(struct dispatch *d, struct lane *lane, struct event *event, struct block *block, uint32_t from, uint32_t count)
{
  struct work *work = lane->works[0];
  event->kind = EVENT_RESULTS;
  event->block = block;
  event->first = block->first;
  event->from = from;
  event->count = count;
  event->worker = (uint32_t)(lane - d->lanes) + 1;
  event->attempt = work->attempt;
  d->reported = work->payload;
  if (d->reported) d->reported->users++;
  event->payload = d->reported ? &d->reported->block : NULL;
  d->reporting = lane;
  lane->stillborn = 0;
}

enum joined { PIECE_ADDED, PIECE_LAST, PIECE_DAMAGED, PIECE_NO_MEMORY };

/* Adds a piece to the lane's large block. */
static enum joined join_piece(struct lane *lane, const struct block *piece)
{
  uint64_t size = piece->whole, count = piece->count;
  if (size) {
    if (size <= BLOCK_HEAD + 8) return PIECE_DAMAGED;
    free(lane->whole);
    lane->whole = malloc(size);
    lane->whole_have = 0;
    lane->whole_size = size;
    if (!lane->whole) return PIECE_NO_MEMORY;
  }
  if (!lane->whole || count > lane->whole_size - lane->whole_have) return PIECE_DAMAGED;
  memcpy((char *)lane->whole + lane->whole_have, (const char *)piece + BLOCK_HEAD, count);
  lane->whole_have += count;
  return lane->whole_have == lane->whole_size ? PIECE_LAST : PIECE_ADDED;
}

/* Is the lane's large block what can follow? One result, that of the next task. */
static bool whole_fits(const struct dispatch *d, const struct lane *lane)
{
  const struct block *block = lane->whole;
  const struct work *work = lane->works[0];
  bool is_kind = d->options.sparse ? block->kind == BLOCK_SPARSE && block->word[0] == block->first : block->kind == BLOCK_DENSE;
  return is_kind && block->size == lane->whole_size && block->count == 1 && block->first == block->last &&
         block->last == work->reached + 1 && block->last <= work->bound;
}

/* Pairs where pairs are expected; elsewhere only the one that says why the job could not be begun. */
static bool kind_fits(const struct dispatch *d, const struct block *block)
{
  return block->kind == (d->options.sparse ? BLOCK_SPARSE : BLOCK_DENSE) || (block->kind == BLOCK_SPARSE && block->first == 0);
}

/* Do the pairs of a block, from `from` on, belong to tasks up to `last` of the chunk, each to one? Task 0 stands for the job. */
static bool pairs_fit(const struct work *work, const struct block *block, uint32_t from, uint32_t count, double last)
{
  double before = work->reached;
  if (block->first == 0) { /* why the job could not be begun */
    uint64_t word;
    memcpy(&word, &block->word[1], sizeof word);
    return count == 1 && block->word[0] == 0 && (int32_t)(word >> 32) == TAG_FAILURE;
  }
  for (uint32_t k = from; k < count; k++) {
    double index = block->word[2 * k];
    if (!(index > before && index <= last) || index != floor(index)) return false;
    before = index;
  }
  return true;
}

/* Does a closed block continue what was reported of the lane's first chunk? */
static bool block_fits(const struct dispatch *d, const struct lane *lane, const struct block *block)
{
  const struct work *work = lane->works[0];
  double last = block->last;
  if (!block_is_sound(block) || !(last >= work->reached && last <= work->bound) || last != floor(last)) return false;
  if (block->count < lane->from || !kind_fits(d, block)) return false;
  if (block->kind == BLOCK_SPARSE) return pairs_fit(work, block, lane->from, block->count, last);
  return block->first + lane->from == work->reached + 1 && block->count == last - block->first + 1;
}

static void lane_end(struct dispatch *d, uint32_t w, enum lost_cause cause);

/* What worker `w` sent can't be what it meant to: it is ended, and nothing more is read from it. */
static void lane_damaged(struct dispatch *d, uint32_t w)
{
  struct lane *lane = &d->lanes[w];
  lane_end(d, w, LOST_DAMAGED);
  lane->cause = LOST_DAMAGED;
  free(lane->whole);
  lane->whole = NULL;
}

/* Reports closed blocks of lane `w`. Returns true when *event was filled. */
static bool lane_results(struct dispatch *d, uint32_t w, struct event *event, lua_State *L, int job)
{
  struct lane *lane = &d->lanes[w];
  struct slot *slot = d->engine->slots[w];
  for (;;) {
    struct block *block = slot_results(slot);
    if (!block) return false;
    if (lane->cause == LOST_DAMAGED || lane->count == 0 ||
        block->chunk != lane->works[0]->number) { /* of a run that was given up, or not to be read */
      slot_release_results(slot);
      continue;
    }
    if (block->kind == BLOCK_PIECE) {
      enum joined joined = block_is_sound(block) ? join_piece(lane, block) : PIECE_DAMAGED;
      slot_release_results(slot);
      if (joined == PIECE_DAMAGED || (joined == PIECE_LAST && !whole_fits(d, lane))) lane_damaged(d, w);
      if (joined == PIECE_NO_MEMORY) d->trouble = ENOMEM;
      if (joined != PIECE_LAST || lane->cause == LOST_DAMAGED) continue;
      report(d, lane, event, lane->whole, 0, 1);
      event->want = lane->whole->last - lane->works[0]->reached;
      event->last = lane->whole->last;
      lane->works[0]->reached = lane->whole->last;
      lane->delivered = WHOLE_BLOCK;
      return true;
    }
    if (!block_fits(d, lane, block)) {
      lane_damaged(d, w);
      return false;
    }
    struct work *work = lane->works[0];
    uint32_t from = lane->from, count = block->count - from;
    bool final = block->final;
    double reached = block->last, fresh = reached - work->reached;
    report(d, lane, event, block, from, count);
    event->want = fresh > 0 ? fresh : 0;
    event->last = reached;
    double seconds = plausible(block->seconds);
    event->seconds = final ? seconds / (reached - work->first + 1) : d->per_task;
    if (reached > work->reached) work->reached = reached;
    lane->delivered = CLOSED_BLOCK;
    if (final) {
      finish_work(d, lane, reached, seconds);
      struct event unused;
      if (d->options.total >= 0) feed(d, &unused, L, job);
    }
    if (count > 0 || event->want > 0) return true;
    give_back(d);
  }
}

/* Reports what lies finished in the block that worker `w` is filling. */
static bool lane_partial(struct dispatch *d, uint32_t w, struct event *event)
{
  struct lane *lane = &d->lanes[w];
  struct slot *slot = d->engine->slots[w];
  struct block *block = slot_open_results(slot);
  if (!block || lane->count == 0 || lane->cause == LOST_DAMAGED) return false;
  struct work *work = lane->works[0];
  double first = block->first, current = slot_current(slot);
  if (block->chunk != work->number || slot_results(slot)) return false;
  if (!(current > first && current <= work->last)) return false;
  if (!kind_fits(d, block) || (block->kind == BLOCK_DENSE && first + lane->from != work->reached + 1)) return false;
  if (current - first > BLOCK_BYTES / 8 && block->kind == BLOCK_DENSE) return false;
  uint32_t count = block->kind == BLOCK_SPARSE ? __atomic_load_n(&block->count, __ATOMIC_ACQUIRE) : (uint32_t)(current - first);
  double fresh = current - 1 - work->reached;
  if (fresh < 1) return false;
  if (count < lane->from || BLOCK_HEAD + (uint64_t)count * (block->kind == BLOCK_SPARSE ? 16 : 8) > BLOCK_BYTES) return false;
  if (block->kind == BLOCK_SPARSE && count > 0 && block->word[2 * (count - 1)] >= current) count--; /* not ended: about to */
  if (block->kind == BLOCK_SPARSE && !pairs_fit(work, block, lane->from, count, current - 1)) return false;
  report(d, lane, event, block, lane->from, count - lane->from);
  event->want = fresh;
  event->last = current - 1;
  event->seconds = d->per_task;
  lane->from = count;
  work->reached = current - 1;
  return true;
}

/* ---- ends of workers ---- */

/* Worker's results are not read any more: puts the chunk that it was in first, though the one before may be finished. */
static void put_current_first(struct lane *lane, double current)
{
  struct work *first = lane->works[0];
  for (int i = 1; i < lane->count; i++) {
    if (!(current >= lane->works[i]->first && current <= lane->works[i]->last)) continue;
    lane->works[0] = lane->works[i];
    lane->works[i] = first;
    return;
  }
}

/* Everything that a dead worker left was reported: settles what it had not done. Always fills *event. */
static void lane_bury(struct dispatch *d, uint32_t w, struct event *event)
{
  struct lane *lane = &d->lanes[w];
  struct slot *slot = d->engine->slots[w];
  double current = slot_current(slot);
  memset(event, 0, sizeof *event);
  event->kind = EVENT_LOST;
  event->worker = w + 1;
  event->status = lane->status;
  event->cause = lane->cause ? lane->cause : slot->starved ? LOST_MEMORY : LOST_CRASH;
  if (lane->cause == LOST_DAMAGED) put_current_first(lane, current);
  if (lane->count > 0) {
    struct work *work = lane->works[0];
    event->attempt = work->attempt;
    d->reported = work->payload;
    if (d->reported) d->reported->users++;
    event->payload = d->reported ? &d->reported->block : NULL;
    if (lane->cause == LOST_DAMAGED && !(current > work->reached && current <= work->last) && work->complete &&
        work->reached < work->last && !(d->engine->ops->flags & CAN_KILL && slot_is_queued(slot, work->place)))
      current = work->reached + 1; /* not known to be to blame; but if none were, this could go on for ever */
    if (current > work->reached && current <= work->last) {
      event->first = d->shortened && current > d->total ? 0 : current;
      event->inner = slot->inner;
      event->seconds = plausible(clock_seconds() - (lane->since > 0 ? lane->since : slot_started(slot)));
      again(d, work->reached + 1, current - 1, work, work->attempt, 0);
      work->reached = current;
    }
    for (int i = 0; i < lane->count; i++)
      again(d, lane->works[i]->reached + 1, lane->works[i]->last, lane->works[i], lane->works[i]->attempt, 0);
  }
  d->engine->alive[w] = false;
  bool has_reason = event->first > 0 || (lane->cause && lane->cause != LOST_DAMAGED);
  int stillborn =
      has_reason ? 0 : lane->stillborn + lane->begun; /* one that was kept from an earlier run may have ended before this */
  lane_clear(d, lane);
  lane->stillborn = stillborn;
  if (stillborn >= MOST_STILLBORN) {
    lane->dead = 1;
    d->lacking = ECHILD;
    if (!any_usable(d)) d->trouble = ECHILD;
  }
}

/* Lane `w` is being ended: goes on with it. Returns true when *event was filled. */
static bool lane_dying(struct dispatch *d, uint32_t w, struct event *event, lua_State *L, int job)
{
  struct lane *lane = &d->lanes[w];
  struct engine *engine = d->engine;
  bool kills = engine->ops->flags & CAN_KILL;
  if (kills && lane->dying == ENDING) {
    if (!engine->ops->ended(engine, w, &lane->status)) /* a distant end is told behind all results, for which there must be room */
      return is_distant(d, w) && lane_results(d, w, event, L, job);
    lane->dying = ENDED;
    if (slot_is_sound(engine->slots[w]) && slot_has_text(engine->slots[w])) return false; /* its last words first */
  }
  if (lane_results(d, w, event, L, job)) return true;
  if (lane_partial(d, w, event)) return true;
  if (!kills && lane->dying == ENDING) {
    struct slot *slot = engine->slots[w];
    for (int i = 0; i < lane->count; i++) /* if it comes back later, it is to begin no further task */
      if (lane->works[i]->complete) slot_set_limit(slot, lane->works[i]->place, -1);
    if (d->can_cut) membarrier_all(); /* from here on it has seen the limit, or its next task is visible */
    if (lane->cause != LOST_CANCELLED && lane->cause != LOST_DAMAGED &&
        (slot_current(slot) != lane->seen || slot->inner != lane->seen_inner)) { /* it came back after all */
      lane->dying = 0;
      lane->cause = 0;
      return false;
    }
    struct slot frozen = {.current = slot_current(slot), .inner = slot->inner, .started = slot_started(slot)};
    bool too_many = lane->cause == LOST_TIMEOUT && __atomic_load_n(&engine->remains->abandoned, __ATOMIC_SEQ_CST) >= MOST_ABANDONED;
    int error = too_many ? EBUSY : engine->ops->kill(engine, w);
    if (error) {
      d->trouble = error;
      dispatch_cancel(d);
    }
    engine->slots[w] = &frozen; /* for lane_bury: the cells as they were */
    lane_bury(d, w, event);
    engine->slots[w] = error ? slot : NULL;
    if (error) { /* it stays with its slot: dispatch_close leaves both alone */
      lane->dead = 1;
      engine->alive[w] = true;
    }
    return true;
  }
  lane_bury(d, w, event);
  return true;
}

static void lane_end(struct dispatch *d, uint32_t w, enum lost_cause cause)
{
  struct lane *lane = &d->lanes[w];
  if (lane->dying) return;
  lane->cause = cause;
  lane->dying = ENDING;
  if (d->engine->ops->flags & CAN_KILL) d->engine->ops->kill(d->engine, w);
}

/* Has worker `w` given back the message of its first chunk, which it does behind all results, though their end was not seen? */
static bool lane_lacks_end(const struct dispatch *d, uint32_t w)
{
  const struct work *work = d->lanes[w].works[0];
  struct slot *slot = d->engine->slots[w];
  uint32_t head = __atomic_load_n(&slot->in.head, __ATOMIC_SEQ_CST);
  return work->complete && (int32_t)(head - work->place) > 0 && !slot_results(slot);
}

/* Looks at what each worker is in: time limits, and results that wait in open blocks. Returns true when *event was filled. */
static bool sample(struct dispatch *d, struct event *event, double now)
{
  double limit = d->options.timeout;
  if (signals_continue()) d->continued_at = now; /* Ctrl-Z, fg: the workers stood still too, so each task is given its time anew */
  for (uint32_t i = 0; i < d->lanes_count; i++) {
    uint32_t w = (d->turn + i) % d->lanes_count;
    struct lane *lane = &d->lanes[w];
    if (!d->engine->alive[w] || lane->dying || lane->count == 0) continue;
    if (lane_lacks_end(d, w)) {
      lane_damaged(d, w);
      continue;
    }
    struct slot *slot = d->engine->slots[w];
    double current = slot_current(slot), inner = slot->inner;
    if (current == 0 || current != lane->seen || inner != lane->seen_inner || __atomic_load_n(&slot->blocked, __ATOMIC_RELAXED)) {
      lane->seen = current;
      lane->seen_inner = inner;
      lane->since = now;
      double started = slot_started(slot);
      if (current != 0 && inner == 0 && current == lane->works[0]->first && started > now - 3600 && started <= now)
        lane->since = started;
    } else if (limit > 0 && now - fmax(lane->since, d->continued_at) > limit + (is_distant(d, w) ? d->engine->sample : 0)) {
      lane_end(d, w, LOST_TIMEOUT);
      continue;
    }
    if (d->cancelled && now - d->cancelled_at > cancel_grace) {
      lane_end(d, w, LOST_CANCELLED);
      continue;
    }
    if (!slot_results(slot) && lane_partial(d, w, event)) {
      d->turn = w + 1;
      return true;
    }
  }
  d->last_sample = now;
  return false;
}

/* ---- balance ---- */

/* Takes a queued chunk from a worker that is busy with another. */
static bool take_queued(struct dispatch *d)
{
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = &d->lanes[w];
    if (lane->dying || lane->count < 2) continue;
    struct work *work = lane->works[lane->count - 1];
    if (work->complete ? !slot_revoke(d->engine->slots[w], work->place) : work->sent > 0) continue;
    lane->count--;
    again(d, work->first, work->last, work, work->attempt, 0);
    work_free(d, work);
    return true;
  }
  return false;
}

/* Seconds of work, as far as measured, that running worker `w` has before it behind its present task. */
static double lane_left(const struct dispatch *d, uint32_t w, double now, double *current)
{
  const struct lane *lane = &d->lanes[w];
  if (lane->dying || lane->count == 0 || !lane->works[0]->complete || is_distant(d, w)) return 0;
  const struct slot *slot = d->engine->slots[w];
  const struct work *work = lane->works[0];
  *current = slot_current(slot);
  if (*current <= work->reached) *current = work->reached + 1; /* also when the worker has overwritten the cell */
  if (*current >= work->last) return 0;
  double per_task = plausible(now - slot_started(slot)) / (*current - work->first + 1);
  if (per_task < d->per_task) per_task = d->per_task;
  if (*current == lane->seen && per_task < now - lane->since) per_task = now - lane->since; /* those to come may be like this one */
  return per_task * (work->last - *current);
}

/* Cuts the running chunk with the most work left in two; its tail is to be handed out. */
static bool cut(struct dispatch *d)
{
  double now = clock_seconds(), most = cut_seconds, at = 0, current = 0;
  uint32_t best = 0;
  if (!d->can_cut) return false;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    double left = lane_left(d, w, now, &current);
    if (left <= most) continue;
    most = left;
    best = w;
    at = current;
  }
  if (at == 0) return false;
  struct work *work = d->lanes[best].works[0];
  struct slot *slot = d->engine->slots[best];
  double keep = slot_cut(slot, work->place, work->first, work->last, at + floor((work->last - at) / 2));
  if (keep >= work->last) return false;
  again(d, keep + 1, work->last, work, work->attempt, 0);
  work->last = work->bound = keep;
  return true;
}

/* A distant worker has answered what it was asked to give back. */
static void take_returned(struct dispatch *d)
{
  for (uint32_t w = 0; d->wishes > 0 && w < d->lanes_count; w++) {
    struct lane *lane = &d->lanes[w];
    struct given_back *given = &d->engine->given_back[w];
    int i = 0;
    if (!lane->asked || !(given->answered || lane->dying || !d->engine->alive[w])) continue;
    lane->asked = 0;
    d->wishes--;
    if (!given->answered) continue;
    while (i < lane->count && lane->works[i]->number != given->chunk) i++;
    struct work *work = i < lane->count ? lane->works[i] : NULL;
    if (!work || !work->complete || given->last >= work->last) {
      lane->patience = lane->patience > 0 ? lane->patience * 2 : ask_seconds;
      if (lane->patience > ask_seconds_most) lane->patience = ask_seconds_most;
      lane->ask_at = clock_seconds() + lane->patience;
      continue;
    }
    lane->patience = 0;
    double keep = fmax(floor(given->last), work->reached);
    again(d, keep + 1, work->last, work, work->attempt, 0);
    work->last = work->bound = keep;
    if (work->last >= work->first) continue;
    memmove(lane->works + i, lane->works + i + 1, (size_t)(--lane->count - i) * sizeof *lane->works);
    work_free(d, work);
  }
}

/* Asks the distant worker with the most before it for some of that, for each of `idle` workers; answers come later. */
static void ask_back(struct dispatch *d, int idle)
{
  double now = clock_seconds();
  bool may_cut = d->options.chunk <= 0 && d->can_cut;
  if (!d->engine->given_back) return;
  while (d->wishes < idle && d->wishes < MOST_WISHES) {
    struct lane *best = NULL;
    double most = 1; /* the task that it is in, it keeps */
    for (uint32_t w = 0; w < d->lanes_count; w++) {
      struct lane *lane = &d->lanes[w];
      if (!is_distant(d, w) || lane->dying || lane->asked || lane->count == 0 || lane->ask_at > now) continue;
      if (!lane->works[0]->complete || (lane->count < 2 && !may_cut)) continue;
      double tasks = 0;
      for (int i = 0; i < lane->count; i++) tasks += lane->works[i]->last - lane->works[i]->reached;
      if (tasks <= most) continue;
      most = tasks;
      best = lane;
    }
    if (!best) return;
    uint32_t w = (uint32_t)(best - d->lanes);
    best->asked = 1;
    d->wishes++;
    d->engine->given_back[w].answered = false;
    d->engine->ops->ask_back(d->engine, w, may_cut);
  }
}

/* An idle worker with nothing to be handed out: take work from a busy one. */
static bool balance(struct dispatch *d)
{
  int idle = 0, busy = 0;
  if (d->cancelled || d->lanes_count < 2 || next_due(d) <= clock_seconds()) return false;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    if (d->lanes[w].dead || d->lanes[w].dying) continue;
    idle += d->lanes[w].count == 0;
    busy += d->lanes[w].count > 0;
  }
  if (!idle || !busy) return false;
  ask_back(d, idle);
  return take_queued(d) || (d->options.chunk <= 0 && cut(d));
}

/* ---- the loop ---- */

static bool finished(const struct dispatch *d)
{
  if (!d->cancelled && (d->again_head || d->next <= d->total)) return false;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    const struct lane *lane = &d->lanes[w];
    if (!d->shortened && (lane->count > 0 || lane->dying)) return false;
    for (int i = 0; i < lane->count; i++) /* what runs behind the total is not waited for */
      if (lane->works[i]->first <= d->total && lane->works[i]->reached < d->total && lane->works[i]->reached < lane->works[i]->last)
        return false;
  }
  return true;
}

static bool any_usable(const struct dispatch *d)
{
  for (uint32_t w = 0; w < d->lanes_count; w++)
    if (!d->lanes[w].dead) return true;
  return false;
}

/* Without memory, what was printed waits. */
static bool has_text_space(struct dispatch *d)
{
  if (!d->text) d->text = malloc(TEXT_BYTES);
  return d->text != NULL;
}

static bool scan(struct dispatch *d, struct event *event, lua_State *L, int job)
{
  for (uint32_t i = 0; i < d->lanes_count; i++) {
    uint32_t w = (d->turn + i) % d->lanes_count;
    struct lane *lane = &d->lanes[w];
    struct slot *slot = d->engine->slots[w];
    if (!d->engine->alive[w] || !slot) continue;
    if (!slot_is_sound(slot) && lane->cause != LOST_DAMAGED) lane_damaged(d, w);
    event->length = slot_has_text(slot) && has_text_space(d) ? slot_take_text(slot, d->text, &event->stream) : 0;
    if (event->length > 0) {
      event->kind = EVENT_TEXT;
      event->bytes = d->text;
      event->worker = w + 1;
      return true;
    }
    bool filled = lane->dying ? lane_dying(d, w, event, L, job) : lane_results(d, w, event, L, job);
    if (filled) {
      d->turn = w + 1;
      return true;
    }
    lane_pump(d, w);
  }
  return false;
}

/* Is there something to report or to do at once? */
static bool something(struct dispatch *d)
{
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct slot *slot = d->engine->slots[w];
    if (!d->engine->alive[w] || !slot) continue;
    if (d->lanes[w].dying == ENDING && (d->engine->ops->flags & CAN_KILL) && !is_distant(d, w))
      continue; /* its end is waited for first */
    if (slot_results(slot) || slot_has_text(slot)) return true;
    if (d->lanes[w].count > 0 && !d->lanes[w].works[d->lanes[w].count - 1]->complete && channel_filled(&slot->in) < CHANNEL_BLOCKS)
      return true;
  }
  return false;
}

/* A descriptor told that these ended; asked again, since one may speak of a worker that was replaced meanwhile. */
static void note_ended(struct dispatch *d, const uint32_t *ended, int n)
{
  for (int i = 0; i < n; i++) {
    uint32_t w = ended[i];
    if (w >= d->lanes_count || !d->engine->alive[w] || d->lanes[w].dying) continue;
    if (d->engine->ops->ended(d->engine, w, &d->lanes[w].status)) d->lanes[w].dying = ENDED;
  }
}

/* Workers whose end no descriptor tells (none was left) are asked now and then. */
static void ask_ended(struct dispatch *d)
{
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = &d->lanes[w];
    if (!d->engine->alive[w] || lane->dying) continue;
    if (d->engine->ops->ended(d->engine, w, &lane->status)) lane->dying = ENDED;
  }
}

/* Moves what is on its way to and from distant workers; returns how long one may sleep before the next time. */
static double progress(struct dispatch *d)
{
  double seconds = d->engine->ops->progress ? d->engine->ops->progress(d->engine) : INFINITY;
  if (d->engine->news) {
    d->engine->news = false;
    ask_ended(d);
  }
  if (d->wishes > 0) take_returned(d);
  return seconds;
}

static void rest(struct dispatch *d, double seconds)
{
  struct hub *hub = &d->engine->hub;
  bool moves = d->engine->ops->progress != NULL;
  uint32_t ended[64];
  double began = clock_seconds(), waited = 0;
  if (hub->last_wait < spin_seconds || d->per_task == 0)
    for (; waited < spin_seconds; waited = clock_seconds() - began) {
      for (int i = 0; i < 8; i++)
        if (something(d)) goto done;
      if (moves) progress(d);
      if (d->per_task == 0 && waited > yield_seconds) sched_yield();
    }
  hub_asleep(hub);
  double most = progress(d);
  if (seconds > most) seconds = most;
  if (something(d) || seconds <= 0)
    hub_awake(hub);
  else
    note_ended(d, ended, hub_wait(hub, seconds, ended, 64));
done:
  hub->last_wait = clock_seconds() - began;
}

void dispatch_next(struct dispatch *d, struct event *event, lua_State *L, int job, double wait)
{
  double deadline = wait < 1e9 ? clock_seconds() + wait : INFINITY;
  give_back(d);
  memset(event, 0, sizeof *event);
  for (;;) {
    int number = signals_pending();
    if (number) {
      event->kind = EVENT_SIGNAL;
      event->status = number;
      return;
    }
    progress(d);
    if (feed(d, event, L, job)) return;
    if (scan(d, event, L, job)) return;
    if (finished(d) && d->trouble != EBUSY) {
      event->kind = EVENT_DONE;
      return;
    }
    if (d->trouble && (!any_usable(d) || d->trouble == EBUSY || d->trouble == ECHILD)) {
      event->kind = EVENT_TROUBLE;
      event->status = d->trouble;
      d->trouble = 0;
      return;
    }
    if (balance(d)) continue;
    double now = clock_seconds(), interval = sample_interval(d);
    if (now - d->last_sample >= interval) {
      if (sample(d, event, now)) return;
      ask_ended(d);
    }
    if (now - d->last_tick >= tick_seconds || now >= deadline) {
      d->last_tick = now;
      event->kind = EVENT_TICK;
      return;
    }
    double pause = d->last_sample + interval - now;
    if (pause > deadline - now) pause = deadline - now;
    double due = next_due(d) - now; /* not before a worker is free for it: then a worker's news wake us */
    if (pause > due && hungriest(d) >= 0) pause = due;
    rest(d, pause > 0 ? pause : 1e-4);
  }
}

uint32_t dispatch_lacking(const struct dispatch *d, int *error)
{
  uint32_t count = 0;
  for (uint32_t w = 0; w < d->lanes_count; w++) count += d->lanes[w].dead != 0;
  *error = d->lacking;
  return count;
}

void dispatch_cancel(struct dispatch *d)
{
  if (d->cancelled) return;
  d->cancelled = 1;
  d->cancelled_at = clock_seconds();
  for (struct work *work = d->again_head, *next; work; work = next) {
    next = work->next;
    work_free(d, work);
  }
  d->again_head = NULL;
  d->again_tail = &d->again_head;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = &d->lanes[w];
    lane_stop_tasks(d, w);
    if (lane->count > 0 && d->engine->alive[w] && (d->engine->ops->flags & CAN_KILL)) lane_end(d, w, LOST_CANCELLED);
  }
}

bool dispatch_abort(struct dispatch *d, double task)
{
  if (!(d->engine->ops->flags & CAN_KILL)) return false;
  for (uint32_t w = 0; w < d->lanes_count; w++) {
    struct lane *lane = &d->lanes[w];
    if (!d->engine->alive[w] || lane->dying || lane->count == 0) continue;
    if (slot_current(d->engine->slots[w]) != task) continue;
    lane_end(d, w, LOST_CANCELLED);
    return true;
  }
  return false;
}
