/* messages.c - run by spec/messages_spec.lua: messages between ranks (src/engines/mpi/transport.h) and large ones that
 * each node gets once (share.h), over an MPI by hand, at a clock of its own; and reports (report.h) for which there is
 * no memory. */
#include "engines/mpi/report.h"
#include "engines/mpi/share.h"

#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "sys/clock.h"
#include "sys/signals.h"

enum { RANKS = 5, MOST_PACKETS = 64, MIB = 1 << 20 };

volatile sig_atomic_t signals_elsewhere;
static double now = 100;

double clock_seconds(void)
{
  return now;
}

/* There is no memory for more bytes at once. */
static size_t most_memory = SIZE_MAX;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
  return bytes > most_memory ? NULL : __real_malloc(bytes);
}

/* Of each message, at each place. */
static char byte_at(size_t k)
{
  return (char)(k * 7 % 251);
}

/* ---- the memory of large messages ---- */

static bool is_short; /* there is none */
static int bodies;    /* that are not given back */

struct payload *payload_of(uint64_t bytes)
{
  struct payload *payload = is_short ? NULL : malloc(offsetof(struct payload, block) + bytes);
  if (!payload) return NULL;
  payload->users = 1;
  bodies++;
  return payload;
}

struct payload *payload_lent(uint64_t bytes)
{
  return payload_of(bytes);
}

void payload_drop(struct work_store *store, struct payload *payload)
{
  (void)store;
  if (!payload || --payload->users > 0) return;
  bodies--;
  free(payload);
}

/* ---- MPI ---- */

struct packet {
  char *bytes;
  size_t size;
  int from; /* 0: rank 1 */
};

/* Packets that were sent from here, by the rank that they go to; and those that come. */
static struct packet sent[RANKS][MOST_PACKETS], coming[MOST_PACKETS];
static int sent_count[RANKS], coming_count, coming_at;

/* A message that is sent, whose bytes are the sender's until it is done; or one to be received (`packet` is NULL). */
struct request {
  char *at;
  const struct packet *packet, *found; /* sent; or found, and being received */
  int to;
  size_t room;
};
static bool is_stuck;       /* what comes from rank 1 is not through */
static bool is_slow[RANKS]; /* what goes there is not done */
static int requests;        /* that were begun and are not known to be done */
static int pieces;          /* that have come, and were not received */
static size_t come_bytes;   /* of a message that comes in pieces */

static jmp_buf aborted;
static bool may_abort;

int MPI_Isend(const void *bytes, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
  if (signals_elsewhere <= 0) fail("MPI is called where a rank that is gone could end this one by SIGPIPE");
  struct packet *packet = &sent[to][sent_count[to]++];
  (void)type, (void)tag, (void)comm;
  packet->size = (size_t)n;
  packet->bytes = malloc(packet->size);
  memcpy(packet->bytes, bytes, packet->size);
  *request = malloc(sizeof **request);
  **request = (struct request){.at = (char *)(uintptr_t)bytes, .packet = packet, .to = to};
  requests++;
  return 0;
}

int MPI_Test(MPI_Request *request, int *is_done, MPI_Status *status)
{
  const struct request *r = *request;
  (void)status;
  *is_done = 1;
  if (!r) return 0;
  if (r->found) {
    *is_done = !is_stuck;
    if (!*is_done) return 0;
    memcpy(r->at, r->found->bytes, r->found->size);
    free(r->found->bytes);
    free(*request);
    *request = MPI_REQUEST_NULL;
    return 0;
  }
  *is_done = r->packet ? !is_slow[r->to] : pieces > 0;
  if (!r->packet) {
    for (size_t k = 0; *is_done && k < r->room; k++) r->at[k] = byte_at(come_bytes++);
    pieces -= *is_done;
  } else if (memcmp(r->packet->bytes, r->at, r->packet->size) != 0)
    fail("the bytes of a message were changed before it was sent");
  if (!*is_done) return 0;
  free(*request);
  *request = MPI_REQUEST_NULL;
  requests--;
  return 0;
}

int MPI_Improbe(int from, int tag, MPI_Comm comm, int *is_there, MPI_Message *message, MPI_Status *status)
{
  (void)from, (void)tag, (void)comm;
  *is_there = coming_at < coming_count;
  if (!*is_there) return 0;
  *message = (MPI_Message)&coming[coming_at++];
  *status = (MPI_Status){.MPI_SOURCE = (*message)->from ? (*message)->from : 1, .bytes = (int)(*message)->size};
  return 0;
}

int MPI_Get_count(const MPI_Status *status, MPI_Datatype type, int *count)
{
  (void)type;
  *count = status->bytes;
  return 0;
}

int MPI_Imrecv(void *bytes, int count, MPI_Datatype type, MPI_Message *message, MPI_Request *request)
{
  (void)type;
  *request = MPI_REQUEST_NULL;
  if ((size_t)count != (*message)->size) fail("a message is received with another length than it has");
  if (is_stuck && !(*message)->from) {
    *request = malloc(sizeof **request);
    **request = (struct request){.at = bytes, .found = *message};
    return 0;
  }
  memcpy(bytes, (*message)->bytes, (*message)->size);
  free((*message)->bytes);
  return 0;
}

int MPI_Abort(MPI_Comm comm, int status)
{
  (void)comm, (void)status;
  if (!may_abort) fail("the job was ended");
  longjmp(aborted, 1);
}

int MPI_Comm_rank(MPI_Comm comm, int *rank)
{
  (void)comm;
  return *rank = 0;
}

int MPI_Comm_size(MPI_Comm comm, int *size)
{
  (void)comm;
  *size = RANKS;
  return 0;
}

static int not_here(void)
{
  fail("ranks meet");
  return 0;
}

int MPI_Irecv(void *bytes, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request)
{
  (void)type, (void)from, (void)tag, (void)comm;
  *request = malloc(sizeof **request);
  **request = (struct request){.at = bytes, .room = (size_t)count};
  requests++;
  return 0;
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *part)
{
  (void)comm, (void)type, (void)key, (void)info, (void)part;
  return not_here();
}

int MPI_Comm_free(MPI_Comm *comm)
{
  (void)comm;
  return not_here();
}

int MPI_Bcast(void *bytes, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
  (void)bytes, (void)count, (void)type, (void)root, (void)comm;
  return not_here();
}

int MPI_Barrier(MPI_Comm comm)
{
  (void)comm;
  return not_here();
}

int MPI_Allgather(const void *own, int own_count, MPI_Datatype own_type, void *all, int count, MPI_Datatype type,
                  MPI_Comm comm)
{
  (void)own, (void)own_count, (void)own_type, (void)all, (void)count, (void)type, (void)comm;
  return not_here();
}

/* ---- messages ---- */

static void forget_sent(void)
{
  for (int r = 0; r < RANKS; r++)
    while (sent_count[r] > 0) free(sent[r][--sent_count[r]].bytes);
}

/* What was sent to rank 1 comes from there. */
static void turn_round(void)
{
  memcpy(coming, sent[1], sizeof coming);
  coming_count = sent_count[1];
  coming_at = sent_count[1] = 0;
}

/* A message of any length arrives as it was, in few pieces none of which is large. */
static void check_length(struct transport *t, size_t bytes)
{
  struct note note = {.kind = NOTE_GIVE, .first = (double)bytes};
  struct parcel *parcel = transport_begin(t, &note, bytes);
  for (size_t k = 0; k < bytes; k++) parcel_bytes(parcel)[k] = byte_at(k);
  transport_send_off(t, 1, parcel, bytes);
  size_t needed = bytes <= MIB ? 1 : (bytes + MIB / 2 - 1) / (MIB / 2);
  if (sent_count[1] != (int)needed) fail("a message is sent in more pieces than it needs, or in fewer");
  for (int i = 0; i < sent_count[1]; i++)
    if (sent[1][i].size > MIB + sizeof note) fail("a piece of a message is too large to be moved at once");
  is_slow[1] = true;
  if (transport_settle(t)) fail("what is under way counts as sent");
  is_slow[1] = false;
  if (!transport_settle(t) || requests > 0) fail("what was sent is not given back");
  turn_round();
  struct message *message = transport_receive(t);
  if (!message || message->length != bytes || message->note.first != (double)bytes || message->from != 1)
    fail("a message did not arrive as it was");
  for (size_t k = 0; k < bytes; k++)
    if (message->bytes[k] != byte_at(k)) fail("the bytes of a message did not arrive as they were");
  message_free(message);
  if (coming_at != coming_count || transport_receive(t)) fail("more arrived than was sent");
}

/* Sends `bytes` bytes, and `more` that lie elsewhere, until all of it is there to be received. */
static void send_on(struct transport *t, size_t bytes, size_t more)
{
  struct note note = {.kind = NOTE_REPORT, .first = (double)bytes};
  struct parcel *parcel = transport_begin(t, &note, bytes);
  struct payload *body = payload_of(more);
  char *at = (char *)&body->block;
  for (size_t k = 0; k < bytes; k++) parcel_bytes(parcel)[k] = byte_at(k);
  for (size_t k = 0; k < more; k++) at[k] = byte_at(bytes + k);
  body->users++;
  is_slow[1] = true;
  transport_send_on(t, 1, parcel, bytes, body, at, more);
  transport_settle(t);
  if (body->users != 2) fail("what is being sent from where it lies is given back too early");
  is_slow[1] = false;
  transport_settle(t);
  if (body->users != 1 || requests > 0) fail("what was sent from where it lies is not given back");
  payload_drop(NULL, body);
  turn_round();
}

/* What lies elsewhere is sent from there, and arrives behind the rest. */
static void check_elsewhere(struct transport *t, size_t bytes, size_t more)
{
  send_on(t, bytes, more);
  struct message *message = transport_receive(t);
  if (!message || message->is_cut || message->length != bytes + more) fail("a message of two parts did not arrive");
  for (size_t k = 0; k < bytes + more; k++)
    if (message->bytes[k] != byte_at(k)) fail("the bytes of a message of two parts did not arrive as they were");
  if (!message->body || message->bytes != (char *)&message->body->block)
    fail("a large message is not memory of its own");
  message_free(message);
  if (bodies > 0) fail("the memory of a large message is not given back");
}

/* Where there is no memory for a large message, its beginning arrives, and all that comes behind it does. */
static void check_no_memory(struct transport *t)
{
  enum { BYTES = 48, MORE = 3 * MIB + 5 };
  send_on(t, BYTES, MORE);
  struct packet next = {malloc(sizeof(struct note)), sizeof(struct note), 0};
  memcpy(next.bytes, &(struct note){.kind = NOTE_USED}, sizeof(struct note));
  coming[coming_count++] = next;
  is_short = true;
  struct message *message = transport_receive(t);
  is_short = false;
  if (!message || !message->is_cut || message->length != BYTES)
    fail("a message for which there is no memory is not cut");
  for (size_t k = 0; k < BYTES; k++)
    if (message->bytes[k] != byte_at(k)) fail("what came of a message that was cut is not as it was");
  message_free(message);
  message = transport_receive(t);
  if (!message || message->note.kind != NOTE_USED || message->is_cut) fail("what comes behind a cut message is lost");
  message_free(message);
}

static void come(const void *bytes, size_t size)
{
  coming[coming_count] = (struct packet){malloc(size), size, 0};
  memcpy(coming[coming_count++].bytes, bytes, size);
}

static void check_next(struct transport *t, int from, double first)
{
  struct message *message = transport_receive(t);
  if (!message || message->from != from || message->note.first != first)
    fail("messages do not come in the order in which their ranks have sent them");
  message_free(message);
}

/* A message that is not through keeps back what its rank sends behind it, and nothing else; for ever, if the rank is
 * lost. */
static void check_stuck(struct transport *t)
{
  for (int is_lost = 0; is_lost < 2; is_lost++) {
    send_on(t, 48, MIB + 5);
    is_stuck = true;
    come(&(struct note){.kind = NOTE_USED, .first = 2}, sizeof(struct note));
    come(&(struct note){.kind = NOTE_USED, .first = 3}, sizeof(struct note));
    coming[coming_count - 1].from = 2;
    double heard = t->peers[1].heard;
    now++;
    check_next(t, 2, 3);
    if (transport_receive(t) || transport_settle(t)) fail("a message counts as received that is not through");
    if (t->peers[1].heard > heard || t->peers[2].heard < now) fail("it is not noted of whom something came");
    if (is_lost) transport_lose(t, 1);
    if (is_lost && !transport_settle(t)) fail("what a lost rank has sent is waited for");
    is_stuck = false;
    if (!is_lost) {
      check_next(t, 1, 48);
      if (t->peers[1].heard < now) fail("it is not noted when something came");
      check_next(t, 1, 2);
    }
    if (transport_receive(t)) fail("something comes from a rank that is lost, or twice");
  }
}

/* Without memory for a copy of results, their tasks are lost, each for that reason; so is nothing else. */
static void check_no_copy(struct transport *t)
{
  enum { TASKS = 2500, FIRST = 101, LAST = FIRST + TASKS - 1 };
  struct note note = {.kind = NOTE_REPORT};
  struct report report = {.transport = t, .parent = 1, .note = note};
  struct block *block = calloc(1, BLOCK_HEAD + TASKS * 8);
  uint64_t end = block->size = block->floor = BLOCK_HEAD + TASKS * 8;
  block->count = TASKS;
  block->first = FIRST;
  struct event event = {.block = block, .count = TASKS, .want = TASKS, .last = LAST, .worker = 1};
  char *text = calloc(1, TASKS * 8);
  const struct event printed = {.bytes = text, .length = TASKS * 8, .worker = 1};
  double task = FIRST;
  size_t length = 0;
  most_memory = sizeof note + SMALL_ROOM + 64;
  if (transport_begin(t, &note, TASKS * 8)) fail("there is memory where there is none");
  report_results(&report, &event, &end);
  report_text(&report, &printed);
  report_send(&report, false);
  most_memory = SIZE_MAX;
  transport_settle(t);
  turn_round();
  for (struct message *message; (message = transport_receive(t)); message_free(message))
    for (size_t at = 0; at < message->length;) {
      const struct record *record = (const struct record *)(void *)(message->bytes + at);
      bool is_loss = record->kind == RECORD_LOST && record->cause == LOST_MEMORY && record->task == task;
      if (!is_loss && record->kind != RECORD_TEXT) fail("a task is not told as lost for want of memory");
      task += is_loss;
      length += record->length;
      at += sizeof *record + record->bytes;
    }
  if (task != LAST + 1 || length != TASKS * 8) fail("some tasks are not told as lost, or some text is lost");
  free(text);
  free(block);
}

/* Values of a block's results that were reported do not go along with those that follow. */
static void check_values_once(struct transport *t)
{
  enum { LENGTH = 100, VALUE = 8 + (LENGTH + 7) / 8 * 8 };
  struct report report = {.transport = t, .parent = 1, .note = {.kind = NOTE_REPORT}};
  struct block *block = calloc(1, BLOCK_BYTES);
  size_t used[3] = {0};
  if (!block) fail("there is no memory");
  uint64_t end = block->size = block->floor = BLOCK_BYTES;
  block->kind = BLOCK_DENSE;
  block->first = 1;
  for (uint32_t k = 0; k < 2; k++) {
    uint64_t length = LENGTH, word = (uint64_t)(uint32_t)TAG_STRING << 32 | (block->floor -= VALUE) / 8;
    memcpy((char *)block + block->floor, &length, sizeof length);
    memcpy(block->word + k, &word, sizeof word);
    block->count = k + 1;
    const struct event event = {.block = block, .from = k, .count = 1, .want = 1, .last = k + 1, .worker = 1};
    report_results(&report, &event, &end);
    used[k + 1] = report.used;
  }
  if (used[2] - used[1] != used[1]) fail("a value is sent along with results that are not its own");
  report_send(&report, false);
  transport_settle(t);
  forget_sent();
  free(block);
}

/* A large result is lent to a parent that can map it, until that has used it; others get it sent. */
static void check_loans(struct transport *t)
{
  enum { BYTES = 3 << 20, LOANS = 2 };
  for (int lends = 0; lends < 2; lends++) {
    struct report report;
    char *memory[LOANS];
    report_begin(&report, t, 1, &(struct note){.engine = 7, .run = 9});
    report.lends = lends;
    bodies = LOANS;
    for (int k = 0; k < LOANS; k++) {
      memory[k] = lent_new(BYTES);
      if (!memory[k]) fail("there is no memory that can be lent");
      struct payload *payload = (struct payload *)(void *)(memory[k] - offsetof(struct payload, block));
      *payload = (struct payload){.users = 2, .is_lent = true, .block = {.kind = BLOCK_DENSE, .count = 1}};
      payload->block.size = BYTES;
      payload->block.floor = BLOCK_HEAD + 8;
      uint64_t length = BYTES - BLOCK_HEAD - 16, word = (uint64_t)(uint32_t)TAG_STRING << 32 | (BLOCK_HEAD + 8) / 8;
      memcpy((char *)&payload->block + BLOCK_HEAD + 8, &length, sizeof length);
      memcpy(payload->block.word, &word, sizeof word);
      uint64_t end = BYTES;
      struct event event = {.block = &payload->block, .whole = payload, .count = 1, .want = 1, .last = k + 1};
      report_results(&report, &event, &end);
      if (!lends) continue;
      const struct note *note = (const struct note *)(void *)sent[1][sent_count[1] - 1].bytes;
      struct lender lender = lent_by(memory[k]);
      if (note->pid != lender.pid || (int)note->id != lender.file || note->size != BYTES || note->engine != 7)
        fail("it is not told where a result is that was lent");
      if (sent[1][sent_count[1] - 1].size > 1024) fail("a result that was lent is sent too");
      if (report.sent < (uint64_t)(k + 1) * BYTES) fail("results that were lent don't count as reported");
    }
    transport_settle(t);
    if (lends) {
      uint64_t first = report.sent / LOANS;
      report_used(&report, first - 1);
      const struct payload *payloads[LOANS];
      for (int k = 0; k < LOANS; k++)
        payloads[k] = (struct payload *)(void *)(memory[k] - offsetof(struct payload, block));
      if (payloads[0]->users != 2 + 1) fail("a result is given up that was lent");
      report_used(&report, first);
      if (payloads[0]->users != 2 || payloads[1]->users != 2 + 1)
        fail("not what was used is given up of what was lent");
      report_end(&report);
      if (payloads[1]->users != 2) fail("what was lent outlives its run");
    } else if (report.loans) {
      fail("a result is lent to a rank that can't map it");
    }
    forget_sent();
    for (int k = 0; k < LOANS; k++) lent_free(memory[k]);
  }
  bodies = 0;
}

/* Is the job ended as this is received? */
static bool is_refused(struct transport *t)
{
  may_abort = true;
  struct message *volatile message = NULL;
  bool is = setjmp(aborted);
  if (!is) message = transport_receive(t);
  may_abort = false;
  message_free(message);
  return is;
}

/* Pieces that do not fit their message, of ranks with another version, are not written anywhere. */
static void check_other_versions(struct transport *t)
{
  enum { WHOLE = 100, FIRST = 60 };
  char bytes[sizeof(struct note) + WHOLE] = {0};
  struct note note = {.kind = NOTE_GIVE, .whole = WHOLE};
  memcpy(bytes, &note, sizeof note);
  for (size_t more = 0; more < 2; more++) {
    coming_count = coming_at = 0;
    come(bytes, sizeof note + FIRST);
    come(bytes, WHOLE - FIRST + more);
    if (is_refused(t) != (more > 0)) fail("a piece that is too long, by one byte, is not told from one that fits");
    message_free(t->peers[1].part);
    t->peers[1].part = NULL;
    if (more > 0) free(coming[1].bytes);
  }
  for (size_t less = 0; less < 2; less++) {
    coming_count = coming_at = 0;
    note.whole = 0;
    come(&note, sizeof note - less);
    if (is_refused(t) != (less > 0)) fail("a message that is shorter than a note is not told from a note");
    if (less > 0) free(coming[0].bytes);
  }
}

static double nap_after(struct transport *t, double idle, enum pace pace)
{
  t->moved = now - idle;
  return transport_nap(t, pace, 1);
}

/* Who hears nothing sleeps ever longer, but never so long that somebody would have to wait; who moves a message does
 * not. */
static void check_naps(struct transport *t)
{
  static const double idle[] = {4e-6, 30e-6, 0.5e-3, 3e-3, 20e-3, 1};
  double before = -1;
  for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
    double nap = nap_after(t, idle[i], PACE_AWAITED);
    if (nap <= before) fail("a longer silence is not followed by a longer nap");
    before = nap;
  }
  if (nap_after(t, idle[0], PACE_AWAITED) != 0 || before > 5e-3) fail("a nap is too long, or too short");
  if (nap_after(t, 4e-3, PACE_MOVING) != 0) fail("a message that moves is left alone");
  double nap = nap_after(t, 6e-3, PACE_MOVING);
  if (nap <= 0 || nap > 1e-3) fail("a message that does not move is looked at without end, or left alone");
  if (nap_after(t, idle[0], PACE_PATIENT) <= 0) fail("there is no nap where nobody waits");
  if (nap_after(t, 1, PACE_PATIENT) < before) fail("where nobody waits the nap is shorter");
  double alone = nap_after(t, 0.5e-3, PACE_AWAITED), crowded = transport_nap(t, PACE_AWAITED, 8);
  if (crowded < 4 * alone || transport_nap(t, PACE_AWAITED, 1e6) > before)
    fail("ranks that share a processor take it from one another, or sleep too long");
}

/* ---- shared messages ---- */

static struct block *message_of(size_t size)
{
  char *bytes = malloc(size);
  for (size_t k = 0; k < size; k++) bytes[k] = byte_at(k);
  struct block *block = (struct block *)(void *)bytes;
  block->size = size;
  return block;
}

/* How many bytes of the message, behind the note of it, were sent to a node. */
static size_t moved_to(int rank)
{
  size_t bytes = 0;
  for (int i = 1; i < sent_count[rank]; i++)
    if (sent[rank][i].size != sizeof(struct note)) bytes += sent[rank][i].size;
  return bytes;
}

static bool is_read_nowhere(uint32_t id)
{
  (void)id;
  return false;
}

/* A message that is not needed any more stays until each node has all of it, also where one is slower than others. */
static void check_slow_node(struct transport *t, int slow)
{
  enum { SIZE = 5000, LOOKS = 20 };
  static const struct rank ranks[RANKS] = {{.leader = 0}, {.leader = 1}, {.leader = 2}, {.leader = 2}, {.leader = 2}};
  struct share share = {0};
  struct block *message = message_of(SIZE);
  setenv("PARLUA_MPI_PIECE", "1000", 1);
  if (share_place(&share, t, ranks) || share.children_count != 2) fail("ranks have no place");
  uint32_t id = share_send(&share, message);
  if (id == 0 || share_file(&share, id) < 0) fail("a message could not be shared");
  is_slow[slow] = true;
  share_progress(&share);
  share_retire(&share, id);
  share_tidy(&share, is_read_nowhere, true);
  for (int n = 0; n < LOOKS; n++) share_progress(&share);
  if (moved_to(3 - slow) != SIZE) fail("a node waits for a slower one");
  if (!share.sheets || share_settled(&share)) fail("a message is let go of that a slow node has not got");
  is_slow[slow] = false;
  for (int n = 0; n < LOOKS; n++) share_progress(&share);
  if (moved_to(slow) != SIZE) fail("a slow node did not get all of a message");
  if (share.sheets || !share_settled(&share)) fail("a message is kept that all have and nobody needs");
  transport_settle(t);
  if (requests > 0) fail("what was sent was forgotten before it was done");
  forget_sent();
  free(message);
  free(share.mates);
  free(share.scrap);
}

/* A node in the midst of the tree passes on what has come, as it comes, and nothing else. */
static void check_relay(struct transport *t)
{
  enum { SIZE = 5000, PIECE = 1000, ID = 7 };
  /* behind the second node are the last two */
  static const struct rank ranks[RANKS] = {{.leader = 0}, {.leader = 1}, {.leader = 2}, {.leader = 3}, {.leader = 4}};
  struct share share = {0};
  struct note note = {.kind = NOTE_SHARE, .id = ID, .size = SIZE};
  t->rank = 1;
  come_bytes = 0;
  if (share_place(&share, t, ranks) || share.children_count != 2) fail("ranks have no place");
  share_obey(&share, &note);
  share_progress(&share);
  for (size_t come = PIECE; come <= SIZE; come += PIECE) {
    pieces = 1;
    while (pieces > 0) share_progress(&share);
    for (int n = 0; n < 3; n++) share_progress(&share);
    if (moved_to(3) != come || moved_to(4) != come) fail("a node does not pass on what has come, or more than that");
  }
  for (int child = 3; child <= 4; child++)
    for (int i = 1; i <= SIZE / PIECE; i++)
      for (size_t k = 0; k < PIECE; k++)
        if (sent[child][i].bytes[k] != byte_at((size_t)(i - 1) * PIECE + k)) fail("a node passes on what has not come");
  if (share_file(&share, ID) < 0) fail("a message that has come is not whole");
  share_retire(&share, ID);
  share_tidy(&share, is_read_nowhere, true);
  for (int n = 0; n < 3; n++) share_progress(&share);
  if (share.sheets) fail("a message is kept that all have and nobody needs");
  transport_settle(t);
  if (requests > 0) fail("what was sent was forgotten before it was done");
  forget_sent();
  free(share.mates);
  free(share.scrap);
  t->rank = 0;
}

int main(void)
{
  static const size_t lengths[] = {0,           1,           1000,    MIB - 1,     MIB,        MIB + 1,
                                   3 * MIB / 2, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 3};
  static struct transport t;
  if (!transport_open(&t, 0)) fail("there is no memory");
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) check_length(&t, lengths[i]);
  check_elsewhere(&t, 0, MIB + 1);
  check_elsewhere(&t, 112, 3 * MIB);
  check_no_memory(&t);
  check_no_copy(&t);
  check_values_once(&t);
  check_loans(&t);
  check_naps(&t);
  check_slow_node(&t, 1);
  check_slow_node(&t, 2);
  check_relay(&t);
  check_other_versions(&t);
  check_stuck(&t);
  free(t.scrap);
  puts("all holds");
  return 0;
}
