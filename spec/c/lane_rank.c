/* lane_rank.c - run by spec/lane_rank_spec.lua: how many tasks that are tried again a rank's lane
 * (engines/mpi/lane_rank.c) takes, its rank being lost, so that nothing is sent; and what it makes of a report that
 * tells of no task's end; when it wants blocks of a reduction; and that what is large is lent to a rank of the same
 * host, and by it. */
#include <string.h>

#include "check.h"
#include "engines/mpi/mpi.h"
#include "engines/mpi/report.h"
#include "run/dispatch.h"
#include "sys/clock.h"
#include "sys/signals.h"

enum { WIDTH = 3 };

struct mpi mpi;

double clock_seconds(void)
{
  return 100;
}

int signals_count(void)
{
  return 0;
}

static uint64_t told_used; /* bytes of reports: what the rank was told last */
static struct note gift;   /* the last that it was given without anything behind it */
static uint64_t sent;      /* bytes that were sent from where they lie */
static bool is_near;       /* can it map what lies here? */

bool tree_is_near(const struct tree *tree, int rank)
{
  (void)tree, (void)rank;
  return is_near;
}

void mpi_tell(const struct child *child, const struct note *note)
{
  (void)child;
  if (note->kind == NOTE_USED) told_used = note->size;
  if (note->kind == NOTE_GIVE) gift = *note;
}

struct parcel *transport_begin(struct transport *t, const struct note *note, size_t room)
{
  static _Alignas(16) char bytes[4096];
  (void)t, (void)note, (void)room;
  if (mpi.tree.children->is_lost) fail("something is sent to a rank that is lost");
  return (struct parcel *)(void *)bytes;
}

char *parcel_bytes(struct parcel *parcel)
{
  return (char *)(void *)parcel;
}

void transport_send_off(struct transport *t, int rank, struct parcel *parcel, size_t bytes)
{
  (void)t, (void)rank, (void)parcel, (void)bytes;
}

void transport_send_on(struct transport *t, int rank, struct parcel *parcel, size_t bytes, struct payload *body,
                       const void *at, size_t more)
{
  (void)t, (void)rank, (void)parcel, (void)bytes, (void)at;
  payload_drop(NULL, body);
  sent += more;
}

void message_free(struct message *message)
{
  payload_drop(NULL, message->body);
  free(message);
}

uint32_t tree_before(const struct tree *tree, uint32_t all, int rank)
{
  (void)tree, (void)all, (void)rank;
  return 0;
}

char *report_rows(const struct block *block)
{
  (void)block;
  return NULL;
}

void engine_note(struct engine *engine, uint32_t w)
{
  (void)engine, (void)w;
}

void engine_nap(struct engine *engine, double seconds)
{
  (void)engine, (void)seconds;
}

static struct child child = {.rank = 1};
static struct rank_lane *lanes[1];
static struct family family = {.number = 1, .lanes = lanes};
static struct engine engine = {.context = &family};
static const struct block job = {.size = BLOCK_HEAD};
static struct dispatch_options options = {.workers = WIDTH, .message = &job};
static struct work_store store;
static struct crew crew = {.engine = &engine, .store = &store, .options = &options};

static struct lane *new_lane(bool is_lost)
{
  struct lane *lane = calloc(1, lane_over_rank.bytes);
  if (!lane) fail("there is no memory");
  family.engine = &engine;
  child.is_lost = is_lost;
  mpi.tree.children = &child;
  lane->kind = &lane_over_rank;
  lane->crew = &crew;
  lane->width = WIDTH;
  list_init(&lane->held);
  if (is_lost != (lane_over_rank.start(lane) != 0)) fail("a run begins in a rank that is lost");
  return lane;
}

/* A worker there says something of a task that has not ended, which is not the first of what the rank has. */
static void report_no_end(void)
{
  struct lane *lane = new_lane(false);
  struct work *work = work_new(&store, 1, 10, NULL, 1);
  struct {
    struct record record;
    _Alignas(16) struct block block;
    double word[2];
  } report = {.record = {.kind = RECORD_RESULTS, .worker = 1, .last = 5}};
  struct message *message = calloc(1, sizeof *message);
  struct outcome outcome;
  if (!work || !message) fail("there is no memory");
  lane_over_rank.give(lane, work);
  lane->state = LANE_READY;
  report.block = (struct block){.kind = BLOCK_SPARSE, .size = BLOCK_HEAD + 16, .floor = BLOCK_HEAD + 16, .count = 1};
  report.record.bytes = (report.block.size + 15) / 16 * 16;
  message->note = (struct note){.kind = NOTE_REPORT, .run = mpi.runs};
  message->bytes = (char *)&report;
  message->length = sizeof report.record + report.record.bytes;
  lane_rank_take(lanes[0], message);
  if (!lane_over_rank.next(lane, &outcome, false) || outcome.kind != OUTCOME_RESULTS || outcome.work != work ||
      outcome.is_final || work->reached >= 1 || work->first > 1)
    fail("tasks count as ended of which nothing was said");
  while (lane_over_rank.next(lane, &outcome, false)) fail("a report is taken twice");
  child.is_lost = true;
  lane_over_rank.close(lane, 0);
  free(lane);
}

static void hear(struct note note)
{
  struct message *message = calloc(1, sizeof *message);
  if (!message) fail("there is no memory");
  message->note = note;
  message->note.kind = NOTE_REPORT;
  message->note.run = mpi.runs;
  lane_rank_take(lanes[0], message);
}

/* Blocks of a reduction that are less than a group are wanted where nothing else is to be handed out. */
static void want_groups(void)
{
  enum { GROUP = 16, FEW = 4 };
  for (uint32_t group = 0; group <= GROUP; group += GROUP) {
    options.group = group;
    struct lane *lane = new_lane(false);
    struct work *work = work_new(&store, 1, GROUP, NULL, 1);
    if (!work) fail("there is no memory");
    lane->state = LANE_READY;
    hear((struct note){.allowed = GROUP + FEW});
    if (!lane_over_rank.wants(lane)) fail("a rank wants no tasks that it asked for");
    lane_over_rank.give(lane, work);
    if (lane_over_rank.wants(lane) != (group == 0)) fail("parts of a group are wanted where others wait, or else not");
    hear((struct note){.allowed = GROUP + FEW, .seen = GROUP});
    if (!lane_over_rank.wants(lane)) fail("a rank that has handed out all wants no part of a group");
    child.is_lost = true;
    lane_over_rank.close(lane, 0);
    free(lane);
  }
  options.group = 0;
}

/* A rank that was asked for tasks has an answer to give: it is looked for soon, whatever else lies there. */
static void await_answer(void)
{
  enum { TASKS = 1000 };
  struct lane *lane = new_lane(false);
  struct work *work = work_new(&store, 1, TASKS, NULL, 1);
  struct outcome outcome;
  struct record given = {.kind = RECORD_GIVEN};
  struct message *message = calloc(1, sizeof *message);
  if (!work || !message) fail("there is no memory");
  lane->state = LANE_READY;
  lane_over_rank.give(lane, work);
  if (mpi.paces[PACE_PATIENT] + mpi.paces[PACE_GATHERED] != 1) fail("a rank with much to do is looked at often");
  if (lane_over_rank.ask_back(lane, &outcome)) fail("a rank answers at once");
  lane->is_asked = true;
  if (mpi.paces[PACE_AWAITED] != 1) fail("the answer of a rank is looked for as rarely as its results");
  message->note = (struct note){.kind = NOTE_REPORT, .run = mpi.runs};
  message->bytes = (char *)&given;
  message->length = sizeof given;
  lane_rank_take(lanes[0], message);
  if (!lane_over_rank.next(lane, &outcome, false) || outcome.kind != OUTCOME_GIVEN_BACK) fail("an answer is not told");
  if (mpi.paces[PACE_PATIENT] + mpi.paces[PACE_GATHERED] != 1) fail("a rank is looked at often after its answer");
  child.is_lost = true;
  lane_over_rank.close(lane, 0);
  free(lane);
}

/* A rank is told from time to time how much of its reports was used: else it stops telling anything. */
static void tell_used(void)
{
  enum { BYTES = 100 << 10 };
  struct lane *lane = new_lane(false);
  lane->state = LANE_READY;
  told_used = 0;
  for (uint64_t reports = 1; reports <= 3; reports++) {
    struct outcome outcome;
    struct message *message = calloc(1, sizeof *message);
    struct record *record = calloc(1, BYTES);
    if (!message || !record) fail("there is no memory");
    *record = (struct record){.kind = RECORD_TEXT, .bytes = BYTES - sizeof *record};
    message->note = (struct note){.kind = NOTE_REPORT, .run = mpi.runs};
    message->bytes = (char *)record;
    message->length = BYTES;
    lane_rank_take(lanes[0], message);
    while (lane_over_rank.next(lane, &outcome, false)) continue;
    if (told_used != (reports < 2 ? 0 : 2 * BYTES))
      fail("a rank is not told what was used of its reports, or too often");
    free(record);
  }
  child.is_lost = true;
  lane_over_rank.close(lane, 0);
  free(lane);
}

/* What has ended at a rank lies there no more: all else does. */
static void count_left(void)
{
  enum { TASKS = 10 };
  struct lane *lane = new_lane(false);
  struct record record = {.kind = RECORD_RESULTS, .worker = 1, .last = TASKS, .fresh = TASKS};
  struct {
    struct record record;
    _Alignas(16) struct block block;
  } report = {.record = record, .block = {.kind = BLOCK_DENSE, .size = BLOCK_HEAD, .floor = BLOCK_HEAD}};
  struct outcome outcome;
  report.record.bytes = sizeof report - sizeof report.record;
  lane->state = LANE_READY;
  for (double first = 1; first <= TASKS + 1; first += TASKS) {
    struct work *work = work_new(&store, first, first + TASKS - 1, NULL, 1);
    if (!work) fail("there is no memory");
    lane_over_rank.give(lane, work);
  }
  double left = lane_over_rank.left(lane, 0);
  struct message *message = calloc(1, sizeof *message);
  if (!message) fail("there is no memory");
  message->note = (struct note){.kind = NOTE_REPORT, .run = mpi.runs};
  message->bytes = (char *)&report;
  message->length = sizeof report;
  lane_rank_take(lanes[0], message);
  if (!lane_over_rank.next(lane, &outcome, false) || !outcome.is_final) fail("results are not told");
  lane_let_go(lane, outcome.work);
  work_free(&store, outcome.work);
  double ratio = lane_over_rank.left(lane, 0) / left, expected = (double)(TASKS - WIDTH) / (2 * TASKS - WIDTH);
  if (!(ratio > expected - 1e-6 && ratio < expected + 1e-6)) fail("it is not known how much work lies at a rank");
  child.is_lost = true;
  lane_over_rank.close(lane, 0);
  free(lane);
}

/* A large block, which can be lent. */
static struct payload *new_large(uint32_t kind)
{
  enum { BYTES = 3 << 20 };
  struct payload *payload = payload_lent(BYTES);
  if (!payload || !payload->is_lent) fail("there is no memory that can be lent");
  memset(&payload->block, 0, BLOCK_HEAD);
  payload->block.kind = kind;
  payload->block.size = BYTES;
  payload->block.floor = BLOCK_HEAD + 8;
  payload->block.width = payload->block.count = 1;
  payload->block.first = payload->block.origin = payload->block.last = 1;
  const uint64_t length = BYTES - BLOCK_HEAD - 16, word = (uint64_t)(uint32_t)TAG_STRING << 32 | (BLOCK_HEAD + 8) / 8;
  memcpy((char *)&payload->block + BLOCK_HEAD + 8, &length, sizeof length);
  memcpy(payload->block.word, &word, sizeof word);
  ((char *)&payload->block)[BYTES - 1] = 42;
  return payload;
}

/* Large arguments are lent to a rank that can map them, until their tasks have ended; others get them sent. */
static void lend_arguments(void)
{
  for (int is_lent = 0; is_lent < 2; is_lent++)
    for (int is_apart = 0; is_apart < 2; is_apart++) {
      struct lane *lane = new_lane(false);
      struct payload *payload = new_large(BLOCK_CHUNK), *mapped;
      struct work *work = work_new(&store, 1, 1, payload, 1);
      if (!work) fail("there is no memory");
      is_near = is_lent;
      child.is_apart = is_apart;
      gift = (struct note){0};
      sent = 0;
      lane_over_rank.give(lane, work);
      bool is_mapped = is_lent && !is_apart;
      if (is_mapped != (gift.size == payload->block.size) || is_mapped != (sent == 0))
        fail("arguments are lent to a rank that can't map them, or sent to one that can");
      if (payload->users != 2) fail("arguments are given up while their task is under way, or never");
      if (is_mapped) {
        if (!(mapped = payload_borrowed(note_lender(&gift), gift.size)) ||
            ((char *)&mapped->block)[gift.size - 1] != 42)
          fail("arguments that were lent can't be mapped");
        payload_drop(NULL, mapped);
      }
      child.is_lost = true;
      lane_over_rank.close(lane, 0);
      payload_drop(NULL, payload);
      free(lane);
    }
  is_near = child.is_apart = false;
}

/* A large result that a rank has lent is read there, and given back; one that is gone with its process is told by
 * nobody, as all is that a lost rank had. */
static void borrow_results(void)
{
  for (int is_gone = 0; is_gone < 2; is_gone++) {
    struct lane *lane = new_lane(false);
    struct work *work = work_new(&store, 1, 1, NULL, 1);
    struct payload *payload = new_large(BLOCK_DENSE);
    struct record record = {.kind = RECORD_RESULTS, .worker = 1, .last = 1, .fresh = 1, .bytes = payload->block.size};
    struct message *message = calloc(1, sizeof *message);
    struct outcome outcome;
    if (!work || !message) fail("there is no memory");
    lane_over_rank.give(lane, work);
    lane->state = LANE_READY;
    message->note = (struct note){.kind = NOTE_REPORT, .run = mpi.runs};
    note_lent(&message->note, payload);
    if (is_gone) message->note.pid = 1 << 22; /* the system's largest number of a process is less */
    message->bytes = (char *)&record;
    message->length = sizeof record;
    told_used = 0;
    lane_rank_take(lanes[0], message);
    bool is_told = lane_over_rank.next(lane, &outcome, false);
    if (is_told == is_gone) fail("a result that was lent is not told, or one that is gone is");
    if (is_told && (outcome.kind != OUTCOME_RESULTS || !outcome.is_final ||
                    ((char *)outcome.block)[payload->block.size - 1] != 42 || outcome.block == &payload->block))
      fail("a result that was lent is not what it was");
    if (is_told) {
      lane_let_go(lane, outcome.work);
      work_free(&store, outcome.work);
    }
    if (lane_over_rank.next(lane, &outcome, false)) fail("a report is taken twice");
    if (told_used != sizeof record + payload->block.size) fail("a rank does not hear that what it has lent was used");
    if (lane->count != (uint32_t)is_gone) fail("a task whose result is gone has ended, or one that was told has not");
    child.is_lost = true;
    lane_over_rank.close(lane, 0);
    payload_drop(NULL, payload);
    free(lane);
  }
}

/* A task that was at two ranks which were lost has failed; of several nobody knows which it was. */
static void lose_ranks(void)
{
  for (double last = 5; last <= 6; last++) {
    struct lane *lane = new_lane(true);
    struct work *work = work_new(&store, 5, last, NULL, 1);
    if (!work) fail("there is no memory");
    lane->state = LANE_READY;
    for (int losses = 1; losses <= 2; losses++) {
      struct outcome outcome;
      bool is_failed = losses == 2 && last == 5;
      lane_over_rank.give(lane, work);
      if (!lane_over_rank.next(lane, &outcome, false)) fail("what a lost rank had stays there");
      if (outcome.kind != (is_failed ? OUTCOME_LOST : OUTCOME_GIVEN_BACK) || outcome.work != work)
        fail("a task fails with the first rank that is lost, or never");
      if (is_failed && (outcome.task != 5 || outcome.cause != LOST_CRASH))
        fail("another task fails, or for another reason");
      if (is_failed) lane_let_go(lane, work);
    }
    work_free(&store, work);
    lane_over_rank.close(lane, 0);
    free(lane);
  }
}

int main(void)
{
  work_store_init(&store);
  report_no_end();
  want_groups();
  await_answer();
  tell_used();
  count_left();
  lose_ranks();
  lend_arguments();
  borrow_results();
  struct lane *lane = new_lane(true);
  for (uint32_t task = 1; task <= 1 + WIDTH; task++) {
    if (!lane_over_rank.takes_retry(lane)) fail("a task that is tried again waits, though a worker has none");
    struct work *work = work_new(&store, task, task, NULL, 1 + (task > 1)); /* the first is no retry */
    if (!work) fail("there is no memory");
    lane_over_rank.give(lane, work);
  }
  if (lane_over_rank.takes_retry(lane)) fail("more tasks are tried again in a rank than it has workers");
  lane->state = LANE_READY;
  for (int given_back = 0; given_back < 2; given_back++) { /* the first is no retry */
    struct outcome outcome;
    if (!lane_over_rank.next(lane, &outcome, false) || !outcome.work) fail("what a lost rank had is not given back");
    if (lane_over_rank.takes_retry(lane) != (given_back > 0)) fail("tasks that are given back are miscounted");
    work_free(&store, outcome.work);
  }
  lane_over_rank.close(lane, 0);
  free(lane);
  work_store_clear(&store);
  puts("all holds");
  return 0;
}
