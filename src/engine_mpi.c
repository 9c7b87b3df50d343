/* engine_mpi.c - the shared object parlua_mpi.so: workers on every rank of an MPI job. Rank 0 coordinates; every rank, 0 too, has a
 * helper (nursery.h) that was forked before MPI_Init and forks the workers, so that no user code runs in an MPI process but the
 * script in rank 0.
 *
 * Rank 0 reaches its own workers through their slots, as other engines do. For each worker of another rank it has a slot in private
 * memory that mirrors the worker's own: what dispatch puts into it is sent on by mpi_progress, and what the agent (the other rank's
 * MPI process) sends is put into it. Both ends of a mirrored channel count alike: a block that is sent has its place at the other
 * end, which is free because the sender waits for the counters that come back. So nothing piles up, whoever is slow.
 *
 * Each message is one note, perhaps with a block or text behind it: at most some 256 KiB. Larger blocks come in pieces anyway. MPI
 * keeps the notes between two ranks in their order. Nobody waits inside MPI: it would spin there. */
#include <errno.h>
#include <math.h>
#include <mpi.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "cluster.h"
#include "cores.h"
#include "nursery.h"

enum {
  TAG = 1,
  MOST_TEXT = TEXT_BYTES / 2, /* bytes of one record of a text ring: see worker_text */
  TELL_BLOCKS = 2,            /* counters of channels are told when they have moved so far */
  TELL_TEXT = TEXT_BYTES / 4,
  SMALL_OPEN = 32768, /* unfinished blocks up to so many bytes are sent at every look */
  HOST_BYTES = 64
};

/* Naps between two looks, by how long nothing has moved: a look costs some microseconds, so that the longest costs less than 1% of
 * a core, while what comes in quick succession is not kept waiting. */
static const struct {
  double idle, nap;
} naps[] = {{40e-6, 0}, {2e-3, 50e-6}, {20e-3, 200e-6}, {INFINITY, 1e-3}};
static const double large_open_seconds = 0.5; /* unfinished blocks beyond SMALL_OPEN are sent so rarely */
/* An agent whose workers have work says something at least so often, so that rank 0 knows that it is there. */
static const double beat_seconds = 5;
/* A rank that was expected to say something, but did not for so long, is lost: killed, or cut off. Six beats; beyond what a busy
 * host or a network that loses packets makes one wait. */
static const double silence_seconds = 30;
/* The same after an interruption, for the answer to a kill: mpirun leaves rank 0 a second to write out what is done. */
static const double last_silence_seconds = 0.3;

enum note_kind {
  /* from rank 0 */
  NOTE_START, /* a worker for the seat */
  NOTE_KILL,
  NOTE_BLOCK,  /* block for the in channel, at `place`; with `last` */
  NOTE_SKIP,   /* in place of a block that was taken back */
  NOTE_LIMIT,  /* of the block at `place`: `last` */
  NOTE_ROOM,   /* out_head, text_head */
  NOTE_SAMPLE, /* `last`: how often to look at cells, in seconds */
  NOTE_END,    /* `last`: 1 after an interruption, else 0 */
  /* to rank 0; all but NOTE_BYE tell the cells, and in_head */
  NOTE_RESULTS, /* closed block */
  NOTE_OPEN,    /* block that is being filled */
  NOTE_TEXT,    /* text for `stream` */
  NOTE_CELLS,
  NOTE_ENDED, /* `status` */
  NOTE_BEAT,  /* nothing else; of no worker */
  NOTE_BYE
};

struct note {
  uint32_t kind;
  uint32_t seat, life; /* the worker: where it sits, and how many sat there */
  uint32_t place;
  uint32_t id;
  uint32_t in_head, out_head, text_head;
  uint32_t blocked, starved, stream;
  int32_t status;
  double last;
  double current, inner;
  double running; /* seconds since the chunk began: clocks differ */
  uint64_t memory;
};

/* A message under way. */
struct parcel {
  struct parcel *next;
  MPI_Request request;
  _Alignas(16) char bytes[];
};

/* A seat for a worker of this rank, in an agent. */
struct seat {
  struct slot *slot;
  int file;
  uint32_t life, id;
  bool alive, ended;
  bool damaged; /* the worker wrote where it should not: nothing more of it is forwarded */
  int status;
  uint32_t in_told;
  uint32_t out_sent, out_room;   /* blocks sent; blocks that rank 0 has done with */
  uint32_t text_sent, text_room; /* likewise, bytes */
  double current_told, inner_told, open_told, open_at;
  uint32_t blocked_told;
};

/* What rank 0 knows of a seat. */
struct ticket {
  struct engine *engine; /* NULL: free */
  uint32_t w, life;
};

/* A worker, in rank 0: the engine's own memory for it. */
struct member {
  int rank;
  uint32_t seat, life;
  int file; /* rank 0's: the slot's */
  bool killed, ended;
  int status;
  uint32_t in_sent, out_told, text_told;
  double limit_told[CHANNEL_BLOCKS];
};

struct rank {
  uint32_t cores;
  char host[HOST_BYTES];
  double heard; /* when it last said something, or was not expected to */
  double asked; /* when it was last told to kill a worker */
  bool lost;
};

/* What a rank knows of the job. */
static struct {
  MPI_Comm comm;
  int rank, count;
  struct nursery nursery;
  struct hub hub;              /* agents: where they nap */
  struct parcel *first, **end; /* under way */
  double moved;                /* when something last did */
  double sample, sampled;      /* agents */
  struct seat *seats;          /* agents */
  uint32_t seats_count;
  struct rank *ranks; /* rank 0, by rank, as the next two */
  struct ticket **tickets;
  uint32_t *tickets_count;
  double sample_told;
  double beaten;  /* agents: the last beat */
  double checked; /* rank 0: when it was last looked for silent ranks */
  int byes;       /* ranks that will not speak again */
  bool ending, interrupted;
  _Alignas(16) char inbox[sizeof(struct note) + BLOCK_BYTES];
} mpi;

/* ---- messages ---- */

/* Bytes of a block's beginning (header and words, or header and piece) and of its end (values). */
static void block_parts(const struct block *block, uint32_t count, size_t *head, size_t *values)
{
  *values = 0;
  *head = BLOCK_HEAD + (size_t)count * (block->kind == BLOCK_PIECE ? 1 : block->kind == BLOCK_SPARSE ? 16 : 8);
  if (block->kind != BLOCK_PIECE && block->floor < block->size) *values = block->size - block->floor;
}

/* A message of a note and `bytes` more, which are to be filled in. */
static struct parcel *new_parcel(const struct note *note, size_t bytes)
{
  struct parcel *parcel = malloc(sizeof *parcel + sizeof *note + bytes);
  if (!parcel) {
    fputs("parlua: not enough memory for a message to another rank\n", stderr);
    MPI_Abort(mpi.comm, 1);
    abort();
  }
  memcpy(parcel->bytes, note, sizeof *note);
  parcel->next = NULL;
  return parcel;
}

static void send_off(int rank, struct parcel *parcel, size_t bytes)
{
  MPI_Isend(parcel->bytes, (int)(sizeof(struct note) + bytes), MPI_BYTE, rank, TAG, mpi.comm, &parcel->request);
  *mpi.end = parcel;
  mpi.end = &parcel->next;
  mpi.moved = clock_seconds();
}

static void send_note(int rank, const struct note *note)
{
  send_off(rank, new_parcel(note, 0), 0);
}

static void send_bytes(int rank, const struct note *note, const char *bytes, size_t length)
{
  struct parcel *parcel = new_parcel(note, length);
  memcpy(parcel->bytes + sizeof *note, bytes, length);
  send_off(rank, parcel, length);
}

/* Sends the block, as if it had `count` words, pairs or bytes: one that is being filled grows meanwhile. */
static void send_block(int rank, const struct note *note, const struct block *block, uint32_t count)
{
  size_t head, values;
  block_parts(block, count, &head, &values);
  struct parcel *parcel = new_parcel(note, head + values);
  struct block *copy = (struct block *)(void *)(parcel->bytes + sizeof *note);
  memcpy(copy, block, head);
  copy->count = count;
  if (values) {
    copy->floor = block->size - values;
    memcpy((char *)copy + head, (const char *)block + copy->floor, values);
  }
  send_off(rank, parcel, head + values);
}

/* `length`: of the bytes. */
static void unpack_block(struct block *to, const char *bytes, size_t length)
{
  struct block header = {0};
  size_t head = SIZE_MAX, values = 0;
  if (length >= BLOCK_HEAD) {
    memcpy(&header, bytes, BLOCK_HEAD);
    block_parts(&header, header.count, &head, &values);
  }
  if (head > BLOCK_BYTES || head + values != length || (values && (header.size > BLOCK_BYTES || header.floor < head))) {
    fprintf(stderr, "parlua: a damaged message of %zu bytes: the ranks do not run the same version\n", length);
    MPI_Abort(mpi.comm, 1);
  }
  memcpy(to, bytes, head);
  if (values) memcpy((char *)to + header.floor, bytes + head, values);
}

/* Frees what has arrived at its end. */
static void forget_sent(void)
{
  for (struct parcel **link = &mpi.first, *parcel; (parcel = *link);) {
    int done;
    MPI_Test(&parcel->request, &done, MPI_STATUS_IGNORE);
    if (!done) {
      link = &parcel->next;
      continue;
    }
    *link = parcel->next;
    if (mpi.end == &parcel->next) mpi.end = link;
    free(parcel);
  }
}

/* Receives the next message into mpi.inbox; false: there is none. */
static bool receive(int *rank, size_t *length)
{
  MPI_Message message;
  MPI_Status status;
  int there, bytes;
  MPI_Improbe(MPI_ANY_SOURCE, TAG, mpi.comm, &there, &message, &status);
  if (!there) return false;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  if ((size_t)bytes > sizeof mpi.inbox) {
    fprintf(stderr, "parlua: a message of %d bytes from rank %d: the ranks do not run the same version\n", bytes,
            status.MPI_SOURCE);
    MPI_Abort(mpi.comm, 1);
  }
  MPI_Mrecv(mpi.inbox, bytes, MPI_BYTE, &message, &status);
  *rank = status.MPI_SOURCE;
  *length = (size_t)bytes;
  double now = clock_seconds();
  if (mpi.ranks) mpi.ranks[*rank].heard = now;
  if (((const struct note *)(const void *)mpi.inbox)->kind != NOTE_BEAT) mpi.moved = now;
  return true;
}

/* How long to nap before the next look. */
static double nap(void)
{
  double idle = clock_seconds() - mpi.moved;
  int i = 0;
  while (idle > naps[i].idle) i++;
  return naps[i].nap;
}

static void leave_at_once(int number)
{
  (void)number;
  _exit(1);
}

/* Takes leave of MPI. After mpirun was told to end the job, it answers nobody any more and kills what is left a second later; and a
 * rank that is lost takes no leave: then there is no waiting. */
static void finalize(bool at_once)
{
  const struct itimerval soon = {.it_value = {.tv_usec = 300000}};
  if (at_once) {
    fflush(NULL);
    signal(SIGALRM, leave_at_once);
    setitimer(ITIMER_REAL, &soon, NULL);
  }
  MPI_Finalize();
}

/* ---- agents ---- */

/* The seat that a note is for, or NULL when the worker that it was for is gone. */
static struct seat *seat_of(const struct note *note)
{
  struct seat *seat = note->seat < mpi.seats_count ? &mpi.seats[note->seat] : NULL;
  return seat && seat->alive && seat->life == note->life ? seat : NULL;
}

static struct note cells(const struct seat *seat, uint32_t kind)
{
  const struct slot *slot = seat->slot;
  struct note note = {.kind = kind, .seat = (uint32_t)(seat - mpi.seats), .life = seat->life};
  note.in_head = __atomic_load_n(&slot->in.head, __ATOMIC_SEQ_CST);
  note.inner = slot->inner;
  note.running = clock_seconds() - slot_started(slot);
  note.blocked = __atomic_load_n(&slot->blocked, __ATOMIC_RELAXED);
  note.starved = slot->starved;
  note.current = slot_current(slot);
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
static void start_worker(const struct note *note)
{
  if (note->seat >= mpi.seats_count) {
    uint32_t count = note->seat + 1;
    struct seat *seats = realloc(mpi.seats, count * sizeof *seats);
    if (seats) {
      memset(seats + mpi.seats_count, 0, (count - mpi.seats_count) * sizeof *seats);
      mpi.seats = seats;
      mpi.seats_count = count;
    }
  }
  struct seat *seat = note->seat < mpi.seats_count ? &mpi.seats[note->seat] : NULL;
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
    error = nursery_start(&mpi.nursery, note->seat, note->life, seat->file, note->memory);
    seat->alive = error == 0;
  }
  if (error) {
    struct note ended = {.kind = NOTE_ENDED, .seat = note->seat, .life = note->life, .status = 1 << 8};
    fprintf(stderr, "parlua: rank %d cannot start a worker: %s\n", mpi.rank, strerror(error));
    send_note(0, &ended);
  }
}

/* Does what the note in mpi.inbox says; `bytes`: all of the message. */
static void obey(size_t bytes)
{
  struct note note;
  memcpy(&note, mpi.inbox, sizeof note);
  struct seat *seat = note.kind == NOTE_START ? NULL : seat_of(&note);
  switch (note.kind) {
  case NOTE_START: start_worker(&note); return;
  case NOTE_SAMPLE: mpi.sample = note.last; return;
  case NOTE_END:
    mpi.ending = true;
    mpi.interrupted = note.last != 0;
    return;
  default: break;
  }
  if (!seat) return;
  struct slot *slot = seat->slot;
  switch (note.kind) {
  case NOTE_KILL: nursery_kill(&mpi.nursery, note.seat, note.life); break;
  case NOTE_BLOCK:
    unpack_block(slot_in_block(slot, slot->in.tail), mpi.inbox + sizeof note, bytes - sizeof note);
    slot_publish_in(slot, CLAIM_QUEUED, note.last);
    break;
  case NOTE_SKIP: slot_publish_in(slot, CLAIM_REVOKED, 0); break;
  case NOTE_LIMIT:
    if (note.place - slot->in.head < channel_filled(&slot->in)) slot_set_limit(slot, note.place, note.last);
    break;
  case NOTE_ROOM:
    seat->out_room = note.out_head;
    seat->text_room = note.text_head;
    break;
  default: break;
  }
}

/* The worker has overwritten what it shares with this agent, which can't go by it any more. */
static void note_damage(struct seat *seat)
{
  if (seat->damaged) return;
  seat->damaged = true;
  fprintf(stderr, "parlua: rank %d: worker %u has overwritten memory that it shares: it is ended\n", mpi.rank, seat->id);
  if (!seat->ended) nursery_kill(&mpi.nursery, (uint32_t)(seat - mpi.seats), seat->life);
}

/* Sends what the worker has printed, as far as rank 0 has room. */
static void forward_text(struct seat *seat)
{
  char text[TEXT_BYTES];
  while (slot_has_text(seat->slot) && seat->text_sent - seat->text_room + MOST_TEXT + 4 <= TEXT_BYTES) {
    int stream;
    struct note note = cells(seat, NOTE_TEXT);
    size_t length = slot_take_text(seat->slot, text, &stream);
    note.stream = (uint32_t)stream;
    tell(seat, &note);
    send_bytes(0, &note, text, length);
    seat->text_sent += (uint32_t)length + 4;
  }
}

/* Sends closed blocks, each behind what was printed before, as far as rank 0 has room. Returns true when nothing is left. */
static bool forward_results(struct seat *seat)
{
  struct slot *slot = seat->slot;
  for (;;) {
    if (!slot_is_sound(slot)) note_damage(seat);
    if (seat->damaged) return true;
    struct block *block = slot_results(slot);
    forward_text(seat);
    if (!block) return !slot_has_text(slot);
    if (!block_is_sound(block)) {
      note_damage(seat);
      return true;
    }
    if (slot_has_text(slot) || seat->out_sent - seat->out_room >= CHANNEL_BLOCKS) return false;
    struct note note = cells(seat, NOTE_RESULTS);
    tell(seat, &note);
    send_block(0, &note, block, block->count);
    slot_release_results(slot);
    seat->out_sent++;
  }
}

/* Sends the block that is being filled, up to the task that the worker is in. False: there is nothing in it. */
static bool forward_open(struct seat *seat, size_t most)
{
  struct slot *slot = seat->slot;
  struct block *block = slot_open_results(slot);
  struct note note = cells(seat, NOTE_OPEN);
  if (seat->damaged || !block || slot_results(slot) || seat->out_sent - seat->out_room >= CHANNEL_BLOCKS) return false;
  bool is_sparse = block->kind == BLOCK_SPARSE;
  double tasks = note.current - block->first;
  if (tasks < 1 || tasks > BLOCK_BYTES) return false;
  uint32_t count = is_sparse ? __atomic_load_n(&block->count, __ATOMIC_ACQUIRE) : (uint32_t)tasks;
  size_t head, values;
  block_parts(block, count, &head, &values);
  if (head + values > most || block->size != BLOCK_BYTES || block->floor > BLOCK_BYTES || head > block->floor) return false;
  send_block(0, &note, block, count);
  tell(seat, &note);
  seat->open_told = note.current;
  return true;
}

/* Tells what has changed in the worker's cells since they were told. */
static void forward_cells(struct seat *seat, double now)
{
  struct note note = cells(seat, NOTE_CELLS);
  bool is_late = now - seat->open_at > large_open_seconds;
  if (note.current == seat->current_told && note.inner == seat->inner_told && note.in_head == seat->in_told &&
      note.blocked == seat->blocked_told && note.current == seat->open_told)
    return;
  if (note.current != seat->open_told && forward_open(seat, is_late ? BLOCK_BYTES : SMALL_OPEN)) {
    seat->open_at = now;
    return;
  }
  if (note.current == seat->current_told && note.inner == seat->inner_told && note.in_head == seat->in_told &&
      note.blocked == seat->blocked_told)
    return;
  tell(seat, &note);
  send_note(0, &note);
}

/* The worker has ended: once all it left has been sent, says so. */
static void forward_end(struct seat *seat)
{
  if (!forward_results(seat) || seat->out_sent - seat->out_room >= CHANNEL_BLOCKS) return;
  forward_open(seat, SIZE_MAX);
  struct note note = cells(seat, NOTE_ENDED);
  note.status = seat->status;
  send_note(0, &note);
  seat->alive = false;
}

static void forward(void)
{
  double now = clock_seconds();
  bool look = now - mpi.sampled >= mpi.sample;
  if (look) mpi.sampled = now;
  for (uint32_t i = 0; i < mpi.seats_count; i++) {
    struct seat *seat = &mpi.seats[i];
    if (!seat->alive) continue;
    if (seat->ended) {
      forward_end(seat);
      continue;
    }
    forward_results(seat);
    if (look) {
      forward_cells(seat, now);
    } else if (__atomic_load_n(&seat->slot->in.head, __ATOMIC_RELAXED) - seat->in_told >= TELL_BLOCKS) {
      struct note note = cells(seat, NOTE_CELLS);
      tell(seat, &note);
      send_note(0, &note);
    }
  }
}

static void take_reports(void)
{
  struct nursery_report report;
  while (nursery_next(&mpi.nursery, &report)) {
    struct seat *seat = report.worker < mpi.seats_count ? &mpi.seats[report.worker] : NULL;
    if (!seat || !seat->alive || seat->life != report.life) continue;
    seat->ended = true;
    seat->status = report.status;
    mpi.moved = clock_seconds();
  }
}

/* Has any worker something to be sent at once? */
static bool anything_local(void)
{
  for (uint32_t i = 0; i < mpi.seats_count; i++) {
    const struct seat *seat = &mpi.seats[i];
    if (!seat->alive) continue;
    if (seat->out_sent - seat->out_room < CHANNEL_BLOCKS && slot_results(seat->slot)) return true;
  }
  return false;
}

/* Tells rank 0 that this agent is there, from time to time while it has workers with work. */
static void beat(void)
{
  double now = clock_seconds(), moved = mpi.moved;
  struct note note = {.kind = NOTE_BEAT};
  bool has_work = false;
  if (now - mpi.beaten < beat_seconds) return;
  mpi.beaten = now;
  for (uint32_t i = 0; i < mpi.seats_count; i++) has_work |= mpi.seats[i].alive && channel_filled(&mpi.seats[i].slot->in) > 0;
  if (has_work) send_note(0, &note);
  mpi.moved = moved; /* it is no traffic: naps stay long */
}

static void serve(void)
{
  uint32_t ended[1];
  size_t length;
  int rank;
  signal(SIGINT, SIG_IGN); /* rank 0 decides what follows */
  signal(SIGTERM, SIG_IGN);
  mpi.moved = clock_seconds();
  mpi.sample = 0.05;
  while (!mpi.ending) {
    forget_sent();
    while (receive(&rank, &length)) obey(length);
    take_reports();
    forward();
    beat();
    double seconds = nap();
    if (seconds <= 0) {
      sched_yield();
      continue;
    }
    hub_asleep(&mpi.hub);
    if (anything_local())
      hub_awake(&mpi.hub);
    else
      hub_wait(&mpi.hub, seconds, ended, 1);
  }
  nursery_close(&mpi.nursery);
  struct note bye = {.kind = NOTE_BYE};
  send_note(0, &bye);
  while (mpi.first) {
    forget_sent();
    sched_yield();
  }
  finalize(mpi.interrupted);
}

/* ---- rank 0 ---- */

static struct member *member(struct engine *engine, uint32_t w)
{
  return engine_own(engine, w);
}

/* Takes a free seat at `rank`. Returns 0 or an errno. */
static int take_seat(struct engine *engine, uint32_t w, int rank)
{
  uint32_t seat = 0, count = mpi.tickets_count[rank];
  while (seat < count && mpi.tickets[rank][seat].engine) seat++;
  if (seat == count) {
    struct ticket *tickets = realloc(mpi.tickets[rank], (count + 1) * sizeof *tickets);
    if (!tickets) return ENOMEM;
    memset(&tickets[count], 0, sizeof *tickets);
    mpi.tickets[rank] = tickets;
    mpi.tickets_count[rank] = count + 1;
  }
  struct ticket *ticket = &mpi.tickets[rank][seat];
  ticket->engine = engine;
  ticket->w = w;
  member(engine, w)->rank = rank;
  member(engine, w)->seat = seat;
  engine->distant[w] = rank > 0;
  return 0;
}

static uint32_t all_cores(void)
{
  uint32_t sum = 0;
  for (int r = 0; r < mpi.count; r++) sum += mpi.ranks[r].cores;
  return sum;
}

static void mpi_close(struct engine *engine)
{
  for (uint32_t w = 0; w < engine->workers; w++) {
    struct member *m = member(engine, w);
    if (m->file > 0) close(m->file);
    m->file = 0;
  }
  for (int r = 0; r < mpi.count; r++)
    for (uint32_t s = 0; s < mpi.tickets_count[r]; s++)
      if (mpi.tickets[r][s].engine == engine) mpi.tickets[r][s].engine = NULL;
}

/* Workers are numbered rank by rank: each rank's cores, where that is what is wanted, else as many at each. */
static int mpi_open(struct engine *engine)
{
  bool by_cores = engine->workers == all_cores();
  uint32_t w = 0;
  int error = hub_open(&engine->hub, &mpi.nursery.bell);
  if (error) return error;
  engine->distant = calloc(engine->workers, sizeof *engine->distant);
  if (!engine->distant) error = ENOMEM;
  for (int r = 0; !error && r < mpi.count; r++) {
    uint32_t n = engine->workers / (uint32_t)mpi.count + ((uint32_t)r < engine->workers % (uint32_t)mpi.count);
    if (by_cores) n = mpi.ranks[r].cores;
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

static int mpi_start(struct engine *engine, uint32_t w, lua_State *L, int job)
{
  struct member *m = member(engine, w);
  (void)L;
  (void)job;
  if (mpi.ranks[m->rank].lost) return EHOSTDOWN;
  m->life = ++mpi.tickets[m->rank][m->seat].life;
  m->killed = m->ended = false;
  m->in_sent = m->out_told = m->text_told = 0;
  if (m->rank == 0) return nursery_start(&mpi.nursery, m->seat, m->life, m->file, engine->memory);
  struct note note = {.kind = NOTE_START, .seat = m->seat, .life = m->life, .id = w + 1, .memory = engine->memory};
  send_note(m->rank, &note);
  return 0;
}

static int mpi_kill(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  if (m->rank == 0) return nursery_kill(&mpi.nursery, m->seat, m->life);
  struct note note = {.kind = NOTE_KILL, .seat = m->seat, .life = m->life};
  m->killed = true;
  mpi.ranks[m->rank].asked = clock_seconds();
  send_note(m->rank, &note);
  return 0;
}

static bool mpi_ended(struct engine *engine, uint32_t w, int *status)
{
  struct member *m = member(engine, w);
  if (m->ended) *status = m->status;
  return m->ended;
}

/* The worker's cells, as its agent told them. What was known of an unfinished block is overtaken by them, but for that of a worker
 * that has ended. */
static void take_cells(struct slot *slot, const struct note *note)
{
  slot->inner = note->inner;
  slot->started = clock_seconds() - note->running;
  slot->blocked = note->blocked;
  slot->starved = note->starved;
  slot->current = note->current;
  slot->in.head = note->in_head;
  if (note->kind != NOTE_ENDED) slot->out.open = slot->out.tail;
}

static void put_text(struct slot *slot, int stream, const char *bytes, size_t length)
{
  char *ring = slot_text(slot);
  uint32_t tail = slot->text_tail, mark = (uint32_t)length << 1 | (stream == 2);
  for (size_t i = 0; i < 4; i++) ring[(tail + i) % TEXT_BYTES] = ((char *)&mark)[i];
  for (size_t i = 0; i < length; i++) ring[(tail + 4 + i) % TEXT_BYTES] = bytes[i];
  slot->text_tail = tail + 4 + (uint32_t)length;
}

/* Takes in a note from an agent. `bytes`: all of the message. */
static void take_note(int rank, size_t bytes)
{
  struct note note;
  memcpy(&note, mpi.inbox, sizeof note);
  if (note.kind == NOTE_BEAT) return;
  if (note.kind == NOTE_BYE) {
    mpi.byes++;
    return;
  }
  struct ticket *ticket = note.seat < mpi.tickets_count[rank] ? &mpi.tickets[rank][note.seat] : NULL;
  if (!ticket || !ticket->engine || ticket->life != note.life) return;
  struct engine *engine = ticket->engine;
  struct slot *slot = engine->slots[ticket->w];
  const char *behind = mpi.inbox + sizeof note;
  take_cells(slot, &note);
  switch (note.kind) {
  case NOTE_RESULTS:
    unpack_block(slot_out_block(slot, slot->out.tail), behind, bytes - sizeof note);
    slot_publish_out(slot);
    break;
  case NOTE_OPEN:
    unpack_block(slot_out_block(slot, slot->out.tail), behind, bytes - sizeof note);
    slot->out.open = slot->out.tail + 1;
    break;
  case NOTE_TEXT: put_text(slot, (int)note.stream, behind, bytes - sizeof note); break;
  case NOTE_ENDED:
    member(engine, ticket->w)->ended = true;
    member(engine, ticket->w)->status = note.status;
    engine->news = true;
    break;
  default: break;
  }
}

/* Ends of workers of rank 0's own. */
static void take_own_reports(void)
{
  struct nursery_report report;
  while (nursery_next(&mpi.nursery, &report)) {
    struct ticket *ticket = report.worker < mpi.tickets_count[0] ? &mpi.tickets[0][report.worker] : NULL;
    if (!ticket || !ticket->engine || ticket->life != report.life) continue;
    member(ticket->engine, ticket->w)->ended = true;
    member(ticket->engine, ticket->w)->status = report.status;
    ticket->engine->news = true;
  }
}

/* Counts the workers of rank `r`, which does not answer any more, as killed. After an interruption that may be for the host's being
 * busy, or its agent's having been ended too: then there is something to say only if it was silent before. */
static void lose(int r, double seconds)
{
  mpi.ranks[r].lost = true;
  mpi.byes++;
  if (seconds > beat_seconds)
    fprintf(stderr, "parlua: rank %d on %s is lost: it was killed, or is cut off (nothing heard for %.0f s)\n", r,
            mpi.ranks[r].host, seconds);
  for (uint32_t s = 0; s < mpi.tickets_count[r]; s++) {
    struct ticket *ticket = &mpi.tickets[r][s];
    if (!ticket->engine) continue;
    member(ticket->engine, ticket->w)->ended = true;
    member(ticket->engine, ticket->w)->status = SIGKILL;
    ticket->engine->news = true;
  }
}

/* Has rank `r` a worker of which something must be heard? */
static bool is_awaited(int r)
{
  for (uint32_t s = 0; s < mpi.tickets_count[r]; s++) {
    const struct ticket *ticket = &mpi.tickets[r][s];
    if (!ticket->engine || !ticket->engine->alive[ticket->w]) continue;
    const struct member *m = member(ticket->engine, ticket->w);
    if (!m->ended && (m->killed || channel_filled(&ticket->engine->slots[ticket->w]->in) > 0)) return true;
  }
  return false;
}

/* Looks for ranks that are silent though they should not be. While rank 0 was elsewhere, in the script, it could hear nobody. */
static void look_for_lost(void)
{
  double now = clock_seconds(), gap = now - mpi.checked;
  if (gap < last_silence_seconds / 4) return;
  mpi.checked = now;
  for (int r = 1; r < mpi.count; r++) {
    struct rank *rank = &mpi.ranks[r];
    if (rank->lost) continue;
    if (gap > beat_seconds || !is_awaited(r)) rank->heard = now;
    if (now - rank->heard > silence_seconds)
      lose(r, now - rank->heard);
    else if (signals_count() > 0 && rank->asked > rank->heard && now - rank->asked > last_silence_seconds)
      lose(r, now - rank->heard);
  }
}

static void receive_all(void)
{
  size_t length;
  int rank;
  while (receive(&rank, &length)) take_note(rank, length);
}

/* Sends what has changed in the mirror of worker `w`. */
static void send_changes(struct engine *engine, uint32_t w)
{
  struct member *m = member(engine, w);
  struct slot *slot = engine->slots[w];
  struct note note = {.seat = m->seat, .life = m->life};
  for (uint32_t place = slot->in.head; place != m->in_sent; place++) {
    double limit = slot->limit[place % CHANNEL_BLOCKS];
    if (limit == m->limit_told[place % CHANNEL_BLOCKS]) continue;
    note.kind = NOTE_LIMIT;
    note.place = place;
    note.last = m->limit_told[place % CHANNEL_BLOCKS] = limit;
    send_note(m->rank, &note);
  }
  for (; m->in_sent != slot->in.tail; m->in_sent++) {
    struct block *block = slot_in_block(slot, m->in_sent);
    note.place = m->in_sent;
    note.last = m->limit_told[m->in_sent % CHANNEL_BLOCKS] = slot->limit[m->in_sent % CHANNEL_BLOCKS];
    if (block->claim == CLAIM_REVOKED) {
      note.kind = NOTE_SKIP;
      send_note(m->rank, &note);
    } else {
      block->claim = CLAIM_TAKEN; /* from here on it can't be taken back */
      note.kind = NOTE_BLOCK;
      send_block(m->rank, &note, block, block->count);
    }
  }
  if (slot->out.head - m->out_told >= TELL_BLOCKS || slot->text_head - m->text_told >= TELL_TEXT) {
    note.kind = NOTE_ROOM;
    note.out_head = m->out_told = slot->out.head;
    note.text_head = m->text_told = slot->text_head;
    send_note(m->rank, &note);
  }
}

static double mpi_progress(struct engine *engine)
{
  bool busy = false;
  take_own_reports();
  if (mpi.count == 1) return INFINITY;
  receive_all();
  if (mpi.sample_told != engine->sample) {
    struct note note = {.kind = NOTE_SAMPLE, .last = mpi.sample_told = engine->sample};
    for (int r = 1; r < mpi.count; r++) send_note(r, &note);
  }
  for (uint32_t w = 0; w < engine->workers; w++) {
    if (!engine->distant[w] || !engine->alive[w]) continue;
    if (mpi.ranks[member(engine, w)->rank].lost) continue;
    send_changes(engine, w);
    busy |= member(engine, w)->killed || channel_filled(&engine->slots[w]->in) > 0;
  }
  look_for_lost();
  forget_sent();
  return busy || mpi.first ? nap() : INFINITY;
}

static void mpi_join(struct engine *engine, uint32_t w, double seconds)
{
  static char text[TEXT_BYTES];
  struct slot *slot = engine->slots[w];
  double deadline = clock_seconds() + seconds;
  uint32_t ended[1];
  int stream, status;
  bool killed = seconds <= 0;
  for (;;) {
    mpi_progress(engine);
    if (mpi_ended(engine, w, &status)) return;
    while (slot_results(slot)) slot_release_results(slot);
    while (slot_take_text(slot, text, &stream)) continue;
    if (!killed && clock_seconds() > deadline) {
      mpi_kill(engine, w);
      killed = true;
    }
    hub_asleep(&engine->hub);
    hub_wait(&engine->hub, member(engine, w)->rank > 0 ? nap() : 0.01, ended, 1);
  }
}

static const char *mpi_host(struct engine *engine, uint32_t w)
{
  return mpi.ranks[member(engine, w)->rank].host;
}

static const struct engine_ops engine_mpi = {
    .name = "mpi",
    .flags = CAN_KILL | LIMITS_MEMORY | REMOTE,
    .own_bytes = sizeof(struct member),
    .start = mpi_start,
    .kill = mpi_kill,
    .ended = mpi_ended,
    .join = mpi_join,
    .open = mpi_open,
    .close = mpi_close,
    .map = mpi_map,
    .progress = mpi_progress,
    .host = mpi_host,
};

/* ---- beginning and end ---- */

/* Processors for this rank's workers: those that it may run on, shared with the ranks of this host that may run on the same ones.
 */
static uint32_t own_cores(void)
{
  uint32_t cores = (uint32_t)cores_available(), share = 0;
  int count;
  cpu_set_t own, *all;
  MPI_Comm host;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof own, &own);
  MPI_Comm_split_type(mpi.comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_size(host, &count);
  all = calloc((size_t)count, sizeof *all);
  if (!all) MPI_Abort(mpi.comm, 1);
  MPI_Allgather(&own, sizeof own, MPI_BYTE, all, sizeof own, MPI_BYTE, host);
  for (int i = 0; i < count; i++) share += CPU_EQUAL(&own, &all[i]) ? 1 : 0;
  free(all);
  MPI_Comm_free(&host);
  if (!getenv("SLURM_CPUS_PER_TASK")) cores /= share > 0 ? share : 1; /* else the number is this rank's own already */
  return cores > 0 ? cores : 1;
}

/* MPI_Init; but what crashes goes on to end as it always did: Open MPI would print a page about it. */
static void join_job(void)
{
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
  enum { COUNT = sizeof signals / sizeof *signals };
  struct sigaction before[COUNT];
  int provided;
  for (int i = 0; i < COUNT; i++) sigaction(signals[i], NULL, &before[i]);
  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  for (int i = 0; i < COUNT; i++) sigaction(signals[i], &before[i], NULL);
}

static int begin(void)
{
  int error = nursery_open(&mpi.nursery);
  if (error) {
    fprintf(stderr, "parlua: cannot start the helper of the mpi engine: %s\n", strerror(error));
    return -1;
  }
  join_job();
  MPI_Comm_dup(MPI_COMM_WORLD, &mpi.comm);
  MPI_Comm_rank(mpi.comm, &mpi.rank);
  MPI_Comm_size(mpi.comm, &mpi.count);
  mpi.end = &mpi.first;
  mpi.ranks = calloc((size_t)mpi.count, sizeof *mpi.ranks);
  mpi.tickets = calloc((size_t)mpi.count, sizeof *mpi.tickets);
  mpi.tickets_count = calloc((size_t)mpi.count, sizeof *mpi.tickets_count);
  error = mpi.rank > 0 ? hub_open(&mpi.hub, &mpi.nursery.bell) : 0;
  if (error || !mpi.ranks || !mpi.tickets || !mpi.tickets_count) {
    fprintf(stderr, "parlua: rank %d cannot begin: %s\n", mpi.rank, strerror(error ? error : ENOMEM));
    MPI_Abort(mpi.comm, 1);
  }
  struct rank own = {.cores = own_cores()};
  gethostname(own.host, sizeof own.host - 1);
  MPI_Gather(&own, sizeof own, MPI_BYTE, mpi.ranks, sizeof own, MPI_BYTE, 0, mpi.comm);
  membarrier_join();
  prctl(PR_SET_TIMERSLACK, 1000UL); /* nanoseconds: naps are to be as short as they say */
  return mpi.rank;
}

static void end(void)
{
  bool interrupted = signals_count() > 0, any_lost = false;
  struct note note = {.kind = NOTE_END, .last = interrupted};
  for (int r = 1; r < mpi.count; r++)
    if (!mpi.ranks[r].lost) send_note(r, &note);
  nursery_close(&mpi.nursery);
  double limit = interrupted ? last_silence_seconds : silence_seconds, since = clock_seconds();
  while (mpi.byes < mpi.count - 1 || mpi.first) { /* what is still on its way is received, and thrown away */
    size_t length;
    int rank;
    forget_sent();
    while (receive(&rank, &length)) {
      if (((const struct note *)(const void *)mpi.inbox)->kind == NOTE_BYE) mpi.byes++;
      since = clock_seconds();
    }
    if (clock_seconds() - since > limit) break;
    sched_yield();
  }
  for (int r = 1; r < mpi.count; r++) any_lost |= mpi.ranks[r].lost;
  finalize(interrupted || any_lost || mpi.byes < mpi.count - 1);
}

static int ranks(void)
{
  return mpi.count;
}

extern const struct cluster parlua_cluster;
const struct cluster parlua_cluster = {
    .ops = &engine_mpi, .begin = begin, .serve = serve, .end = end, .ranks = ranks, .cores = all_cores};
