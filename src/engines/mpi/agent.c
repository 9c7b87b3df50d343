/* agent.c - see agent.h. */
#include "engines/mpi/agent.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/mpi/helper.h"
#include "sys/barrier.h"
#include "sys/clock.h"
#include "sys/hub.h"

enum {
  MOST_TEXT = TEXT_BYTES / 2, /* bytes of one record of a text ring: see worker_text */
  TELL_BLOCKS = 2,            /* the counter of a channel is told when it has moved so far */
  SMALL_OPEN = 32768          /* unfinished blocks up to so many bytes are sent at every look */
};

/* A running chunk is cut when this much is left of it: some round trips to rank 0 and on to an idle worker. */
static const double cut_seconds = 300e-6;
static const double large_open_seconds = 0.5; /* unfinished blocks beyond SMALL_OPEN are sent so rarely */

/* A seat for a worker of this rank. */
struct seat {
  struct slot *slot;
  int file;
  uint32_t life, id;
  bool alive, ended;
  bool damaged; /* the worker wrote where it should not: nothing more of it is forwarded */
  int status;
  uint32_t arrived;             /* blocks for the in channel; those behind its tail wait for a shared message */
  double limit[CHANNEL_BLOCKS]; /* of such a block, by place */
  uint32_t in_told;
  uint32_t out_sent, out_room;   /* blocks sent; blocks that rank 0 has done with */
  uint32_t text_sent, text_room; /* likewise, bytes */
  double current_told, inner_told, open_told, open_at;
  uint32_t blocked_told;
  double seen, since; /* the task that it was in as rank 0 last asked for work back, and when that was first seen */
};

struct agent {
  struct transport *transport;
  struct share *share;
  struct nursery *nursery;
  struct hub hub; /* where it naps */
  struct helper_watch helper;
  double sample, sampled;
  double beaten; /* the last beat */
  struct seat *seats;
  uint32_t seats_count;
  bool ending, interrupted;
};

/* The seat that a note is for, or NULL when the worker that it was for is gone. */
static struct seat *seat_of(struct agent *agent, const struct note *note)
{
  struct seat *seat = note->seat < agent->seats_count ? &agent->seats[note->seat] : NULL;
  return seat && seat->alive && seat->life == note->life ? seat : NULL;
}

/* That a message was given back is told behind the last of the results that the worker published before. */
static struct note cells(const struct agent *agent, const struct seat *seat, uint32_t kind)
{
  const struct slot *slot = seat->slot;
  struct note note = {.kind = kind, .seat = (uint32_t)(seat - agent->seats), .life = seat->life};
  note.in_head = __atomic_load_n(&slot->in.head, __ATOMIC_SEQ_CST);
  if (channel_filled(&slot->out) > (kind == NOTE_RESULTS)) note.in_head = seat->in_told;
  if (seat->damaged) note.in_head = seat->arrived + 1; /* which can't be: by that rank 0 sees the damage too */
  struct present present = slot_present(slot);
  note.inner = present.inner;
  note.in_chunk = present.chunk;
  note.begun = slot->begun;
  note.running = clock_seconds() - slot_started(slot);
  note.blocked = __atomic_load_n(&slot->blocked, __ATOMIC_RELAXED);
  note.starved = slot->starved;
  note.current = present.task;
  return note;
}

static void tell(struct seat *seat, const struct note *note)
{
  seat->in_told = note->in_head;
  seat->current_told = note->current;
  seat->inner_told = note->inner;
  seat->blocked_told = note->blocked;
}

/* Starts a worker; rank 0 hears of one that can't be started as of one that has ended. */
static void start_worker(struct agent *agent, const struct note *note)
{
  if (note->seat >= agent->seats_count) {
    uint32_t count = note->seat + 1;
    struct seat *seats = realloc(agent->seats, count * sizeof *seats);
    if (seats) {
      memset(seats + agent->seats_count, 0, (count - agent->seats_count) * sizeof *seats);
      agent->seats = seats;
      agent->seats_count = count;
    }
  }
  struct seat *seat = note->seat < agent->seats_count ? &agent->seats[note->seat] : NULL;
  int error = seat ? 0 : ENOMEM;
  if (seat && !seat->slot) {
    seat->file = slot_file();
    seat->slot = seat->file >= 0 ? slot_map_file(seat->file) : NULL;
    if (!seat->slot) error = errno;
  }
  if (!error) {
    struct seat fresh = {.slot = seat->slot, .file = seat->file, .life = note->life, .id = note->id, .alive = true};
    *seat = fresh;
    slot_reset(seat->slot);
    seat->slot->id = note->id;
    error = nursery_start(agent->nursery, note->seat, note->life, seat->file, note->memory);
    seat->alive = error == 0;
  }
  if (error) {
    struct note ended = {.kind = NOTE_ENDED, .seat = note->seat, .life = note->life, .status = 1 << 8};
    fprintf(stderr, "parlua: rank %d cannot start a worker: %s\n", agent->transport->rank, strerror(error));
    transport_send(agent->transport, 0, &ended);
  }
}

/* Hands blocks that have arrived on to the worker, up to one that stands for a shared message which is not here yet. */
static void publish(const struct agent *agent, struct seat *seat)
{
  struct slot *slot = seat->slot;
  while (seat->arrived - slot->in.tail - 1 <
         CHANNEL_BLOCKS) { /* not for ever, if the worker has overwritten the counter */
    struct block *block = slot_in_block(slot, slot->in.tail);
    if (block->kind == BLOCK_ELSEWHERE && block->claim == CLAIM_QUEUED) {
      if (share_file(agent->share, block->chunk) < 0) return;
      share_refer(agent->share, block->chunk, block->whole, block);
    }
    slot_publish_in(slot, block->claim, seat->limit[slot->in.tail % CHANNEL_BLOCKS]);
  }
}

/* Puts a block that was received behind those that have arrived. */
static void take_block(struct agent *agent, struct seat *seat, enum claim claim)
{
  struct block *block = slot_in_block(seat->slot, seat->arrived);
  if (claim == CLAIM_QUEUED) transport_unpack(agent->transport, block);
  block->claim = claim;
  seat->limit[seat->arrived % CHANNEL_BLOCKS] = agent->transport->note.last;
  seat->arrived++;
  publish(agent, seat);
}

static void set_limit(struct seat *seat, uint32_t place, double last)
{
  struct slot *slot = seat->slot;
  if (last >= seat->limit[place % CHANNEL_BLOCKS]) return; /* it was cut meanwhile */
  if (place - slot->in.head < channel_filled(&slot->in)) slot_set_limit(slot, place, last);
  seat->limit[place % CHANNEL_BLOCKS] = last;
}

/* Takes back the newest block, a chunk that the worker has not begun and behind which it has others. Returns its
 * number, or 0. */
static uint32_t take_queued(struct seat *seat)
{
  struct slot *slot = seat->slot;
  uint32_t newest = seat->arrived - 1, head = __atomic_load_n(&slot->in.head, __ATOMIC_SEQ_CST);
  struct block *block = slot_in_block(slot, newest);
  if (seat->arrived - head < 2 || block->kind != BLOCK_CHUNK) return 0;
  if (newest - head < slot->in.tail - head) return slot_revoke(slot, newest) ? block->chunk : 0;
  if (block->claim != CLAIM_QUEUED) return 0; /* not handed on yet, but taken back already */
  block->claim = CLAIM_REVOKED;
  return block->chunk;
}

/* Cuts the running chunk in two, where enough is left of it. Returns its number, or 0; *last: the task with which it
 * ends now. */
static uint32_t cut_running(struct seat *seat, double *last)
{
  struct slot *slot = seat->slot;
  uint32_t place = __atomic_load_n(&slot->in.head, __ATOMIC_SEQ_CST);
  const struct block *block = slot_in_block(slot, place);
  double *limit = &seat->limit[place % CHANNEL_BLOCKS], current = 0;
  if (channel_filled(&slot->in) == 0 || block->kind != BLOCK_CHUNK || !barrier_works()) return 0;
  struct present present = slot_present(slot);
  current = present.chunk == block->chunk ? fmax(present.task, block->first) : block->first;
  if (current >= *limit) return 0;
  double now = clock_seconds(), per_task = (now - slot_started(slot)) / (current - block->first + 1);
  if (current != seat->seen) {
    seat->seen = current;
    seat->since = now;
  }
  if (per_task < now - seat->since) per_task = now - seat->since; /* those to come may be like the present one */
  if (per_task * (*limit - current) < cut_seconds) return 0;
  *last = slot_cut(slot, block->chunk, place, block->first, *limit, current + floor((*limit - current) / 2));
  if (*last >= *limit) return 0;
  *limit = *last;
  return block->chunk;
}

/* Answers rank 0, which has an idle worker somewhere. */
static void give_back(struct agent *agent, struct seat *seat, uint32_t wish, bool may_cut)
{
  struct note note = {.kind = NOTE_BACK, .seat = (uint32_t)(seat - agent->seats), .life = seat->life, .id = wish};
  note.chunk = take_queued(seat);
  if (note.chunk)
    note.last = slot_in_block(seat->slot, seat->arrived - 1)->first - 1;
  else if (may_cut)
    note.chunk = cut_running(seat, &note.last);
  transport_send(agent->transport, 0, &note);
}

/* Takes in a note that is for a worker. */
static void obey_for(struct agent *agent, struct seat *seat, const struct note *note)
{
  switch (note->kind) {
  case NOTE_KILL: nursery_kill(agent->nursery, note->seat, note->life); break;
  case NOTE_BLOCK: take_block(agent, seat, CLAIM_QUEUED); break;
  case NOTE_SKIP: take_block(agent, seat, CLAIM_REVOKED); break;
  case NOTE_LIMIT: set_limit(seat, note->place, note->last); break;
  case NOTE_BACK: give_back(agent, seat, note->id, note->last != 0); break;
  case NOTE_ROOM:
    seat->out_room = note->out_head;
    seat->text_room = note->text_head;
    break;
  default: break;
  }
}

/* A shared message is here: hands on what has waited for it. */
static void publish_all(struct agent *agent)
{
  for (uint32_t i = 0; i < agent->seats_count; i++)
    if (agent->seats[i].alive) publish(agent, &agent->seats[i]);
}

static void obey(struct agent *agent)
{
  const struct note note = agent->transport->note;
  struct seat *seat;
  switch (note.kind) {
  case NOTE_START: start_worker(agent, &note); break;
  case NOTE_SAMPLE: agent->sample = note.last; break;
  case NOTE_SHARE:
  case NOTE_FORGET: share_obey(agent->share, &note); break;
  case NOTE_WHOLE:
    share_obey(agent->share, &note);
    publish_all(agent);
    break;
  case NOTE_END:
    share_pass(agent->share, &note);
    agent->ending = true;
    agent->interrupted = note.last != 0;
    break;
  default:
    seat = seat_of(agent, &note);
    if (seat) obey_for(agent, seat, &note);
  }
}

/* The worker has overwritten what it shares with this agent, which can't go by it any more. */
static void note_damage(struct agent *agent, struct seat *seat)
{
  if (seat->damaged) return;
  seat->damaged = true;
  if (!seat->ended) nursery_kill(agent->nursery, (uint32_t)(seat - agent->seats), seat->life);
}

/* Sends what the worker has printed, as far as rank 0 has room. */
static void forward_text(struct agent *agent, struct seat *seat)
{
  char text[TEXT_BYTES];
  while (slot_has_text(seat->slot) && seat->text_sent - seat->text_room + MOST_TEXT + 4 <= TEXT_BYTES) {
    int stream;
    struct note note = cells(agent, seat, NOTE_TEXT);
    size_t length = slot_take_text(seat->slot, text, MOST_TEXT, &stream);
    note.stream = (uint32_t)stream;
    tell(seat, &note);
    transport_send_bytes(agent->transport, 0, &note, text, length);
    seat->text_sent += (uint32_t)length + 4;
  }
}

/* Sends closed blocks, each behind what was printed before, as far as rank 0 has room. Returns true when nothing is
 * left. */
static bool forward_results(struct agent *agent, struct seat *seat)
{
  struct slot *slot = seat->slot;
  for (;;) {
    if (!slot_is_sound(slot)) note_damage(agent, seat);
    if (seat->damaged) return true;
    struct block *block = slot_results(slot);
    forward_text(agent, seat);
    if (!block) return !slot_has_text(slot);
    if (!block_is_sound(block)) {
      note_damage(agent, seat);
      return true;
    }
    if (slot_has_text(slot) || seat->out_sent - seat->out_room >= CHANNEL_BLOCKS) return false;
    struct note note = cells(agent, seat, NOTE_RESULTS);
    tell(seat, &note);
    if (!transport_send_block(agent->transport, 0, &note, block, block->count)) {
      note_damage(agent, seat);
      return true;
    }
    slot_release_results(slot);
    seat->out_sent++;
  }
}

/* Sends the block that is being filled, up to the task that the worker is in. False: there is nothing in it. */
static bool forward_open(struct agent *agent, struct seat *seat, size_t most)
{
  struct slot *slot = seat->slot;
  struct block *block = slot_open_results(slot);
  struct note note = cells(agent, seat, NOTE_OPEN);
  if (seat->damaged || !block || slot_results(slot) || seat->out_sent - seat->out_room >= CHANNEL_BLOCKS) return false;
  bool is_sparse = block->kind == BLOCK_SPARSE;
  double tasks = note.current - block->first;
  if (tasks < 1 || tasks > BLOCK_BYTES) return false;
  uint32_t count = is_sparse ? __atomic_load_n(&block->count, __ATOMIC_ACQUIRE) : (uint32_t)tasks;
  size_t head, bytes = transport_block_bytes(block, count, &head);
  if (bytes > most || block->size != BLOCK_BYTES || block->floor > BLOCK_BYTES || head > block->floor) return false;
  if (!transport_send_block(agent->transport, 0, &note, block, count)) return false;
  tell(seat, &note);
  seat->open_told = note.current;
  return true;
}

/* Tells what has changed in the worker's cells since they were told. */
static void forward_cells(struct agent *agent, struct seat *seat, double now)
{
  struct note note = cells(agent, seat, NOTE_CELLS);
  bool is_late = now - seat->open_at > large_open_seconds;
  if (note.current == seat->current_told && note.inner == seat->inner_told && note.in_head == seat->in_told &&
      note.blocked == seat->blocked_told && note.current == seat->open_told)
    return;
  if (note.current != seat->open_told && forward_open(agent, seat, is_late ? BLOCK_BYTES : SMALL_OPEN)) {
    seat->open_at = now;
    return;
  }
  if (note.current == seat->current_told && note.inner == seat->inner_told && note.in_head == seat->in_told &&
      note.blocked == seat->blocked_told)
    return;
  tell(seat, &note);
  transport_send(agent->transport, 0, &note);
}

/* The worker has ended: once all it left has been sent, says so. */
static void forward_end(struct agent *agent, struct seat *seat)
{
  if (!forward_results(agent, seat) || seat->out_sent - seat->out_room >= CHANNEL_BLOCKS) return;
  forward_open(agent, seat, SIZE_MAX);
  struct note note = cells(agent, seat, NOTE_ENDED);
  note.status = seat->status;
  transport_send(agent->transport, 0, &note);
  seat->alive = false;
}

static void forward(struct agent *agent)
{
  double now = clock_seconds();
  bool look = now - agent->sampled >= agent->sample;
  if (look) agent->sampled = now;
  for (uint32_t i = 0; i < agent->seats_count; i++) {
    struct seat *seat = &agent->seats[i];
    if (!seat->alive) continue;
    if (seat->ended) {
      forward_end(agent, seat);
      continue;
    }
    forward_results(agent, seat);
    if (look) {
      forward_cells(agent, seat, now);
    } else if (__atomic_load_n(&seat->slot->in.head, __ATOMIC_RELAXED) - seat->in_told >= TELL_BLOCKS &&
               !slot_results(seat->slot)) {
      struct note note = cells(agent, seat, NOTE_CELLS);
      tell(seat, &note);
      transport_send(agent->transport, 0, &note);
    }
  }
}

static void take_reports(struct agent *agent)
{
  struct nursery_report report;
  while (nursery_next(agent->nursery, &report)) {
    struct seat *seat = report.worker < agent->seats_count ? &agent->seats[report.worker] : NULL;
    if (!seat || !seat->alive || seat->life != report.life) continue;
    seat->ended = true;
    seat->status = report.status;
    if (report.starved) seat->slot->starved = 1;
    agent->transport->moved = clock_seconds();
  }
  if (!helper_is_lost(&agent->helper, agent->nursery, agent->transport->rank)) return;
  for (uint32_t i = 0; i < agent->seats_count; i++) {
    agent->seats[i].ended = agent->seats[i].alive;
    agent->seats[i].status = SIGKILL;
  }
}

/* Has every worker a chunk queued behind the one that it runs? */
static bool all_have_next(const struct agent *agent)
{
  bool any = false;
  for (uint32_t i = 0; i < agent->seats_count; i++) {
    const struct seat *seat = &agent->seats[i];
    if (!seat->alive) continue;
    if (seat->ended || channel_filled(&seat->slot->in) < 2) return false;
    any = true;
  }
  return any;
}

/* Has any worker something to be sent at once? */
static bool anything_local(const struct agent *agent)
{
  for (uint32_t i = 0; i < agent->seats_count; i++) {
    const struct seat *seat = &agent->seats[i];
    if (!seat->alive) continue;
    if (seat->out_sent - seat->out_room < CHANNEL_BLOCKS && slot_results(seat->slot)) return true;
  }
  return false;
}

/* Tells rank 0 that this agent is there, from time to time while it has workers with work. */
static void beat(struct agent *agent)
{
  double now = clock_seconds(), moved = agent->transport->moved;
  bool has_work = false;
  if (now - agent->beaten < beat_seconds) return;
  agent->beaten = now;
  for (uint32_t i = 0; i < agent->seats_count; i++)
    has_work |= agent->seats[i].alive && agent->seats[i].slot->in.head != agent->seats[i].arrived;
  if (has_work) transport_send(agent->transport, 0, &(struct note){.kind = NOTE_BEAT});
  agent->transport->moved = moved; /* it is no traffic: naps stay long */
}

bool agent_serve(struct transport *transport, struct share *share, struct nursery *nursery)
{
  static struct agent whole; /* lasts as long as the process */
  struct agent *agent = &whole;
  uint32_t ended[1];
  agent->transport = transport;
  agent->share = share;
  agent->nursery = nursery;
  agent->sample = 0.05;
  int error = hub_open_on(&agent->hub, nursery->beacon, NURSERY_NUMBERS, nursery->bell_fd);
  if (error) {
    fprintf(stderr, "parlua: rank %d cannot begin: %s\n", transport->rank, strerror(error));
    MPI_Abort(transport->comm, 1);
  }
  signal(SIGINT, SIG_IGN); /* rank 0 decides what follows */
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  while (!agent->ending) {
    bool is_settled = transport_settle(transport);
    while (transport_receive(transport)) obey(agent);
    if (share_progress(share)) publish_all(agent);
    while (hub_next_ready(&agent->hub, ended)) continue; /* all are looked at */
    take_reports(agent);
    forward(agent);
    beat(agent);
    bool is_moving = !is_settled || !share_settled(share);
    double seconds = transport_nap(transport, is_moving              ? PACE_MOVING
                                              : all_have_next(agent) ? PACE_PATIENT
                                                                     : PACE_AWAITED);
    if (seconds <= 0) {
      sched_yield();
      continue;
    }
    if (!anything_local(agent)) hub_sleep(&agent->hub, seconds, ended, 1);
  }
  nursery_close(nursery);
  transport_send(transport, 0, &(struct note){.kind = NOTE_BYE});
  while (!transport_settle(transport) || !share_settled(share)) {
    share_progress(share);
    sched_yield();
  }
  return agent->interrupted;
}
