/* coordinator.c - see coordinator.h. */
#include "engines/mpi/coordinator.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engines/mpi/helper.h"
#include "sys/clock.h"
#include "sys/list.h"
#include "sys/signals.h"

enum {
  TELL_BLOCKS = 2, /* the counter of a channel is told when it has moved so far */
  TELL_TEXT = TEXT_BYTES / 4,
  /* A job up to so many bytes goes with the first chunk of each worker: less than a message of its own would cost. */
  SMALL_JOB = 4096
};

/* A rank that was expected to say something, but did not for so long, is lost: killed, or cut off. Six beats; beyond
 * what a busy host or a network that loses packets makes one wait. */
static const double silence_seconds = 30;
/* The same after an interruption, for the answer to a kill: mpirun leaves rank 0 a second to write out what is done. */
static const double last_silence_seconds = 0.3;

/* What rank 0 knows of a seat (agent.c). */
struct ticket {
  struct engine *engine; /* NULL: free */
  uint32_t w, life;
};

/* A worker: the engine's own memory for it. */
struct member {
  int rank;
  uint32_t seat, life;
  int file; /* rank 0's: the slot's */
  bool killed, ended;
  int status;
  struct link changed; /* among those of its engine with something to be sent */
  bool is_awaited;     /* counted in its rank's and its engine's: something must be heard of it */
  bool is_patient;     /* counted in its engine's: it has its next chunk already */
  uint32_t in_sent, out_told, text_told;
  double limit_told[CHANNEL_BLOCKS];
  uint32_t wish; /* number of the last that it was sent */
};

/* An engine's context: distant workers with something to be sent, how many workers are awaited and have their next
 * chunk already; and the job that was shared (share.h). */
struct shared {
  struct link changed;
  uint32_t awaited, patient;
  double looked;      /* when it was last looked whether old jobs were read */
  uint32_t id;        /* 0: none, as it is small */
  struct block refer; /* what workers are sent */
  uint32_t *old;      /* those before it that some worker may still have to read */
  uint32_t old_count;
};

/* There is one MPI job in a process, so there is one of this; all engines share it. */
static struct {
  struct transport *transport;
  struct nursery *nursery;
  struct share *share;
  struct rank *ranks;
  struct ticket **tickets; /* by rank */
  uint32_t *tickets_count;
  double sample_told;
  double checked; /* when it was last looked for silent ranks */
  struct helper_watch helper;
  int byes; /* ranks that will not speak again */
} rank0;

static struct member *member(struct engine *engine, uint32_t w)
{
  return engine_own(engine, w);
}

/* Takes a free seat at `rank`. Returns 0 or an errno. */
static int take_seat(struct engine *engine, uint32_t w, int rank)
{
  uint32_t seat = 0, count = rank0.tickets_count[rank];
  while (seat < count && rank0.tickets[rank][seat].engine) seat++;
  if (seat == count) {
    struct ticket *tickets = realloc(rank0.tickets[rank], (count + 1) * sizeof *tickets);
    if (!tickets) return ENOMEM;
    memset(&tickets[count], 0, sizeof *tickets);
    rank0.tickets[rank] = tickets;
    rank0.tickets_count[rank] = count + 1;
  }
  struct ticket *ticket = &rank0.tickets[rank][seat];
  ticket->engine = engine;
  ticket->w = w;
  member(engine, w)->rank = rank;
  member(engine, w)->seat = seat;
  engine->distant[w] = rank > 0;
  return 0;
}

uint32_t coordinator_cores(void)
{
  uint32_t sum = 0;
  for (int r = 0; r < rank0.transport->count; r++) sum += rank0.ranks[r].cores;
  return sum;
}

static void mpi_close(struct engine *engine)
{
  struct shared *shared = engine->context;
  for (uint32_t i = 0; shared && i < shared->old_count; i++) share_forget(rank0.share, shared->old[i]);
  if (shared && shared->id) share_forget(rank0.share, shared->id);
  if (shared) free(shared->old);
  free(shared);
  engine->context = NULL;
  for (uint32_t w = 0; w < engine->workers; w++) {
    struct member *m = member(engine, w);
    if (m->file > 0) close(m->file);
    m->file = 0;
  }
  for (int r = 0; r < rank0.transport->count; r++)
    for (uint32_t s = 0; s < rank0.tickets_count[r]; s++)
      if (rank0.tickets[r][s].engine == engine) rank0.tickets[r][s].engine = NULL;
}

/* Workers are numbered rank by rank: each rank's cores, where that is what is wanted, else as many at each that has
 * any. */
static int mpi_open(struct engine *engine)
{
  bool by_cores = engine->workers == coordinator_cores();
  uint32_t w = 0;
  struct nursery *nursery = rank0.nursery;
  int error = nursery ? hub_open_on(&engine->hub, nursery->beacon, NURSERY_NUMBERS, nursery->bell_fd)
                      : hub_open(&engine->hub, engine->workers);
  if (error) return error;
  engine_want_files(engine->workers);
  engine->distant = calloc(engine->workers, sizeof *engine->distant);
  engine->context = calloc(1, sizeof(struct shared));
  engine->given_back = calloc(engine->workers, sizeof *engine->given_back);
  if (!engine->distant || !engine->context || !engine->given_back) error = ENOMEM;
  if (engine->context) list_init(&((struct shared *)engine->context)->changed);
  int first = rank0.nursery ? 0 : 1;
  uint32_t ranks = (uint32_t)(rank0.transport->count - first);
  for (int r = first; !error && r < rank0.transport->count; r++) {
    uint32_t n = engine->workers / ranks + ((uint32_t)(r - first) < engine->workers % ranks);
    if (by_cores) n = rank0.ranks[r].cores;
    for (uint32_t i = 0; !error && i < n; i++) error = take_seat(engine, w++, r);
  }
  if (!error) return 0;
  mpi_close(engine);
  hub_close(&engine->hub);
  return error;
}

static struct slot *mpi_map(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  if (m->rank > 0) return slot_map(w + 1);
  m->file = slot_file();
  if (m->file < 0) return NULL;
  struct slot *slot = slot_map_file(m->file);
  if (slot) slot->id = w + 1;
  return slot;
}

/* Counts the worker anew among those of which something must be heard, and those that have their next chunk. */
static void count(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  struct shared *shared = engine->context;
  uint32_t chunks = engine->slots[w] ? channel_filled(&engine->slots[w]->in) : 0;
  bool is_there = m->rank > 0 && m->life > 0 && !m->ended && !rank0.ranks[m->rank].lost;
  bool is_awaited = is_there && (m->killed || chunks > 0), is_patient = is_there && chunks >= 2;
  int change = is_awaited - m->is_awaited;
  shared->awaited += (uint32_t)change;
  rank0.ranks[m->rank].awaited += change;
  shared->patient += (uint32_t)(is_patient - m->is_patient);
  m->is_awaited = is_awaited;
  m->is_patient = is_patient;
}

static int mpi_start(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  if (rank0.ranks[m->rank].lost) return EHOSTDOWN;
  m->life = ++rank0.tickets[m->rank][m->seat].life;
  m->killed = m->ended = false;
  m->in_sent = m->out_told = m->text_told = 0;
  count(engine, w);
  if (m->rank == 0) return nursery_start(rank0.nursery, m->seat, m->life, m->file, engine->memory);
  struct note note = {.kind = NOTE_START, .seat = m->seat, .life = m->life, .id = w + 1, .memory = engine->memory};
  transport_send(rank0.transport, m->rank, &note);
  return 0;
}

static int mpi_end(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  if (m->rank == 0) return nursery_kill(rank0.nursery, m->seat, m->life);
  struct note note = {.kind = NOTE_KILL, .seat = m->seat, .life = m->life};
  m->killed = true;
  count(engine, w);
  rank0.ranks[m->rank].asked = clock_seconds();
  transport_send(rank0.transport, m->rank, &note);
  return 0;
}

static void mpi_ask_back(struct engine *engine, uint32_t w, bool may_cut)
{
  struct member *m = member(engine, w);
  struct note note = {.kind = NOTE_BACK, .seat = m->seat, .life = m->life, .id = ++m->wish, .last = may_cut};
  transport_send(rank0.transport, m->rank, &note);
}

static bool mpi_ended(struct engine *engine, uint32_t w, int *status)
{
  struct member *m = member(engine, w);
  if (m->ended) *status = m->status;
  return m->ended;
}

/* The worker's cells, as its agent told them. What was known of an unfinished block is overtaken by them, but for that
 * of a worker that has ended. */
static void take_cells(struct slot *slot, const struct note *note)
{
  slot->inner = note->inner;
  slot->started = clock_seconds() - note->running;
  slot->blocked = note->blocked;
  slot->starved = note->starved;
  slot->chunk = note->in_chunk;
  slot->begun = note->begun;
  slot->current = note->current;
  slot->in.head = note->in_head;
  if (note->kind != NOTE_ENDED) slot->out.open = slot->out.tail;
}

static void put_text(struct slot *slot, int stream, const char *bytes, size_t length)
{
  uint32_t tail = slot->text_tail, mark = (uint32_t)length << 2 | (uint32_t)stream;
  slot_put_text(slot, tail, &mark, sizeof mark);
  slot_put_text(slot, tail + (uint32_t)sizeof mark, bytes, length);
  slot->text_tail = tail + (uint32_t)(sizeof mark + length);
}

/* A worker has ended. */
static void note_end(struct ticket *ticket, int status)
{
  struct member *m = member(ticket->engine, ticket->w);
  m->ended = true;
  m->status = status;
  count(ticket->engine, ticket->w);
  engine_note(ticket->engine, ticket->w);
}

/* Takes in the note that was received from an agent. */
static void take_note(const struct transport *t)
{
  const struct note *note = &t->note;
  rank0.ranks[t->from].heard = clock_seconds();
  if (note->kind == NOTE_BEAT) return;
  struct ticket *ticket = note->seat < rank0.tickets_count[t->from] ? &rank0.tickets[t->from][note->seat] : NULL;
  if (!ticket || !ticket->engine || ticket->life != note->life) return;
  struct engine *engine = ticket->engine;
  struct slot *slot = engine->slots[ticket->w];
  if (note->kind != NOTE_BACK) take_cells(slot, note);
  switch (note->kind) {
  case NOTE_RESULTS:
    transport_unpack(t, slot_out_block(slot, slot->out.tail));
    slot_publish_out(slot);
    break;
  case NOTE_OPEN:
    transport_unpack(t, slot_out_block(slot, slot->out.tail));
    slot->out.open = slot->out.tail + 1;
    break;
  case NOTE_BACK: /* not the answer to a wish of the run before, which had nothing to give */
    if (note->id == member(engine, ticket->w)->wish)
      engine->given_back[ticket->w] = (struct given_back){true, note->chunk, note->last};
    break;
  case NOTE_TEXT: put_text(slot, (int)note->stream, t->bytes, t->length); break;
  case NOTE_ENDED: note_end(ticket, note->status); break;
  default: break;
  }
  count(engine, ticket->w);
  engine_note(engine, ticket->w);
}

/* All workers of rank `r` were killed, with their helper or their host. */
static void end_all(int r)
{
  for (uint32_t s = 0; s < rank0.tickets_count[r]; s++) {
    struct ticket *ticket = &rank0.tickets[r][s];
    if (ticket->engine) note_end(ticket, SIGKILL);
  }
}

/* Ends of workers of rank 0's own. */
static void take_own_reports(void)
{
  struct nursery_report report;
  struct ticket *ticket;
  while (nursery_next(rank0.nursery, &report)) {
    ticket = report.worker < rank0.tickets_count[0] ? &rank0.tickets[0][report.worker] : NULL;
    if (!ticket || !ticket->engine || ticket->life != report.life) continue;
    if (report.starved) ticket->engine->slots[ticket->w]->starved = 1;
    note_end(ticket, report.status);
  }
  if (!helper_is_lost(&rank0.helper, rank0.nursery, 0)) return;
  end_all(0);
}

/* Counts the workers of rank `r`, which does not answer any more, as killed. */
static void lose(int r, const char *why)
{
  struct rank *rank = &rank0.ranks[r];
  rank->lost = true;
  rank0.byes++;
  fprintf(stderr, "parlua: rank %d on %s is lost: %s\n", r, rank->host, why);
  end_all(r);
}

/* Looks for ranks that are silent though they should not be. While rank 0 was elsewhere, in the script, it could hear
 * nobody. */
static void look_for_lost(void)
{
  double now = clock_seconds(), gap = now - rank0.checked;
  if (gap < last_silence_seconds / 4) return;
  rank0.checked = now;
  for (int r = 1; r < rank0.transport->count; r++) {
    struct rank *rank = &rank0.ranks[r];
    if (rank->lost) continue;
    if (rank->is_watched && kill(rank->pid, 0) < 0 && errno == ESRCH) {
      lose(r, "its process has ended");
      continue;
    }
    if (gap > beat_seconds || rank->awaited == 0) rank->heard = now;
    double silence = now - rank->heard;
    if (silence > silence_seconds) {
      char why[100];
      snprintf(why, sizeof why, "it was killed, or is cut off (nothing heard for %.0f s)", silence);
      lose(r, why);
    } else if (signals_count() > 0 && rank->asked > rank->heard && now - rank->asked > last_silence_seconds) {
      lose(r, "it does not answer");
    }
  }
}

/* Sends what has changed in the mirror of worker `w`. */
static void send_changes(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  struct slot *slot = engine->slots[w];
  struct note note = {.seat = m->seat, .life = m->life};
  if (!slot_is_sound(slot) || rank0.ranks[m->rank].lost)
    return; /* the worker has overwritten its counters, or is gone */
  for (uint32_t place = slot->in.head; place != m->in_sent; place++) {
    double limit = slot->limit[place % CHANNEL_BLOCKS];
    if (limit == m->limit_told[place % CHANNEL_BLOCKS]) continue;
    note.kind = NOTE_LIMIT;
    note.place = place;
    note.last = m->limit_told[place % CHANNEL_BLOCKS] = limit;
    transport_send(rank0.transport, m->rank, &note);
  }
  for (; m->in_sent != slot->in.tail; m->in_sent++) {
    struct block *block = slot_in_block(slot, m->in_sent);
    note.place = m->in_sent;
    note.last = m->limit_told[m->in_sent % CHANNEL_BLOCKS] = slot->limit[m->in_sent % CHANNEL_BLOCKS];
    if (block->claim == CLAIM_REVOKED) {
      note.kind = NOTE_SKIP;
      transport_send(rank0.transport, m->rank, &note);
    } else {
      block->claim = CLAIM_TAKEN; /* from here on it can't be taken back */
      note.kind = NOTE_BLOCK;
      transport_send_block(rank0.transport, m->rank, &note, block, block->count);
    }
  }
  if (slot->out.head - m->out_told >= TELL_BLOCKS || slot->text_head - m->text_told >= TELL_TEXT) {
    note.kind = NOTE_ROOM;
    note.out_head = m->out_told = slot->out.head;
    note.text_head = m->text_told = slot->text_head;
    transport_send(rank0.transport, m->rank, &note);
  }
}

static void mpi_changed(struct engine *engine, uint32_t w)
{
  struct shared *shared = engine->context;
  if (!link_is_linked(&member(engine, w)->changed)) list_append(&shared->changed, &member(engine, w)->changed);
  count(engine, w);
}

static void send_all_changes(struct engine *engine)
{
  struct shared *shared = engine->context;
  for (struct link *link; (link = list_take(&shared->changed));) {
    size_t at = (size_t)((char *)LIST_OF(link, struct member, changed) - engine->own);
    send_changes(engine, (uint32_t)(at / sizeof(struct member)));
  }
}

/* Is the message that stands for shared message `id` in the channel of some worker, unread? */
static bool is_unread(const struct engine *engine, uint32_t id)
{
  for (uint32_t w = 0; w < engine->workers; w++) {
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

static void forget_old(struct engine *engine)
{
  struct shared *shared = engine->context;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < shared->old_count; i++)
    if (is_unread(engine, shared->old[i]))
      shared->old[kept++] = shared->old[i];
    else
      share_forget(rank0.share, shared->old[i]);
  shared->old_count = kept;
}

static const struct block *mpi_share(struct engine *engine, const struct block *message)
{
  struct shared *shared = engine->context;
  if (shared->id) {
    uint32_t *old = realloc(shared->old, (shared->old_count + 1) * sizeof *old);
    if (!old) return NULL;
    old[shared->old_count++] = shared->id;
    shared->old = old;
    shared->id = 0;
  }
  if (message->size <= SMALL_JOB) return message;
  shared->id = share_send(rank0.share, message);
  if (!shared->id) return NULL;
  share_refer(rank0.share, shared->id, message->size, &shared->refer);
  return &shared->refer;
}

/* Passes the news of rank 0's own workers on to the engines that they belong to. */
static void take_own_news(struct engine *engine)
{
  uint32_t seat;
  while (hub_next_ready(&engine->hub, &seat)) {
    struct ticket *ticket = seat < rank0.tickets_count[0] ? &rank0.tickets[0][seat] : NULL;
    if (ticket && ticket->engine) engine_note(ticket->engine, ticket->w);
  }
  take_own_reports();
}

static double mpi_progress(struct engine *engine)
{
  static const double look_seconds = 0.05;
  struct transport *t = rank0.transport;
  struct shared *shared = engine->context;
  double now = shared->old_count > 0 ? clock_seconds() : 0;
  if (now - shared->looked > look_seconds) {
    forget_old(engine);
    shared->looked = now;
  }
  if (rank0.nursery) take_own_news(engine);
  share_progress(rank0.share);
  if (t->count == 1) return INFINITY;
  while (transport_receive(t)) take_note(t);
  if (rank0.sample_told != engine->sample) {
    struct note note = {.kind = NOTE_SAMPLE, .last = rank0.sample_told = engine->sample};
    for (int r = 1; r < rank0.transport->count; r++) transport_send(rank0.transport, r, &note);
  }
  send_all_changes(engine);
  look_for_lost();
  bool is_moving = !transport_settle(t) || !share_settled(rank0.share);
  if (shared->awaited == 0 && !is_moving) return INFINITY;
  return transport_nap(t, is_moving ? PACE_MOVING : shared->patient == shared->awaited ? PACE_PATIENT : PACE_AWAITED);
}

static const char *mpi_host(struct engine *engine, uint32_t w)
{
  return rank0.ranks[member(engine, w)->rank].host;
}

const struct engine_kind engine_mpi = {
    .name = "mpi",
    .can = MPI_CAN,
    .rings_at_end = true,
    .own_bytes = sizeof(struct member),
    .start = mpi_start,
    .end = mpi_end,
    .ended = mpi_ended,
    .open = mpi_open,
    .close = mpi_close,
    .map = mpi_map,
    .progress = mpi_progress,
    .changed = mpi_changed,
    .share = mpi_share,
    .ask_back = mpi_ask_back,
    .host = mpi_host,
};

int coordinator_open(struct transport *transport, struct share *share, struct rank *ranks, struct nursery *nursery)
{
  rank0.transport = transport;
  rank0.share = share;
  rank0.ranks = ranks;
  rank0.nursery = nursery;
  for (int r = 1; r < transport->count; r++) /* not under mpirun, where each rank may have process numbers of its own */
    ranks[r].is_watched = !nursery && strcmp(ranks[r].host, ranks[0].host) == 0 && kill(ranks[r].pid, 0) == 0;
  rank0.tickets = calloc((size_t)transport->count, sizeof *rank0.tickets);
  rank0.tickets_count = calloc((size_t)transport->count, sizeof *rank0.tickets_count);
  return rank0.tickets && rank0.tickets_count ? 0 : ENOMEM;
}

bool coordinator_close(bool interrupted)
{
  struct transport *t = rank0.transport;
  struct note note = {.kind = NOTE_END, .last = interrupted};
  bool any_lost = false;
  for (int r = 1; r < t->count; r++) any_lost |= rank0.ranks[r].lost;
  double limit = interrupted || any_lost ? last_silence_seconds : silence_seconds, since = clock_seconds();
  share_pass(rank0.share, &note);
  if (rank0.nursery) nursery_close(rank0.nursery);
  while (rank0.byes < t->count - 1 || !transport_settle(t) ||
         !share_settled(rank0.share)) { /* what still comes is thrown away */
    share_progress(rank0.share);
    while (transport_receive(t)) {
      rank0.byes += t->note.kind == NOTE_BYE;
      since = clock_seconds();
    }
    if (clock_seconds() - since > limit) break;
    sched_yield();
  }
  return !any_lost && rank0.byes >= t->count - 1;
}
