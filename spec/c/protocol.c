/* protocol.c - the protocol of docs/PROTOCOL.md between two processes, without Lua and without a dispatcher: for
 * processors on which the suite itself can't run. spec/protocol_spec.lua compiles it for this processor, and for
 * aarch64 where it can be run.
 *
 * The parent is the coordinator, the child a worker. Each check says on standard error what does not hold, and ends the
 * program with status 1; one that waits for ever is ended by its caller. */
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "slot/mailbox.h"
#include "sys/barrier.h"
#include "sys/clock.h"
#include "sys/hub.h"

enum {
  ROUNDS = 400, /* of each race */
  MOST_CHUNKS = 8 * ROUNDS,
  TASKS = 12000,      /* in a chunk that is cut */
  LARGE = 3,          /* blocks that a large message fills, and a bit more */
  LOST_AFTER = 20,    /* seconds after which a wake-up that does not come is a lost one */
  TEXT_LENGTH = 50000 /* of each of some texts: two don't fit the ring */
};

/* What a worker is to do with a chunk; in the block's `job`, which nobody here uses for a job. */
enum duty { DUTY_RESULTS = 1, DUTY_LOG, DUTY_LARGE, DUTY_PRINT, DUTY_SLEEP, DUTY_PAUSE, DUTY_HOLD };

/* What the worker did, where the coordinator's own code does not look: to compare what the protocol says with what
 * happened. */
struct diary {
  uint32_t began[MOST_CHUNKS];          /* by chunk: how often it was begun */
  unsigned char ran[ROUNDS][TASKS + 1]; /* by round: how often each task was begun */
  uint32_t let_go;                      /* the last chunk of DUTY_HOLD whose tasks may begin */
};

static struct diary *diary;
static struct hub hub;
static struct slot *slot;
static uint32_t chunks, last_place, round_number;
static pid_t worker_pid;

#define CHECK(condition)                          \
  do {                                            \
    if (!(condition)) fail(#condition, __LINE__); \
  } while (0)

static void fail(const char *what, int line)
{
  fprintf(stderr, "protocol.c:%d: this does not hold: %s\n", line, what);
  if (worker_pid > 0) kill(worker_pid, SIGKILL);
  _exit(1);
}

/* ---- the worker ---- */

static void nap(long nanoseconds)
{
  struct timespec time = {.tv_nsec = nanoseconds};
  nanosleep(&time, NULL);
}

/* Waits without sleeping, which takes 50 us at least. */
static void spin(double seconds)
{
  for (double end = clock_seconds() + seconds; clock_seconds() < end;) continue;
}

/* Tasks as compiled Lua code runs them: the task is stored plainly, then the end of the chunk is read. */
static void run_tasks(struct worker *worker, const struct block *chunk)
{
  bool logs = chunk->job == DUTY_LOG, pauses = chunk->job == DUTY_PAUSE;
  volatile double *current = &worker->slot->current, *limit = worker_limit(worker);
  struct block *out = worker_open(worker, chunk->first, BLOCK_DENSE);
  double task = chunk->first;
  for (; task <= chunk->last; task++) {
    *current = task;
    if (task > *limit) break;
    if (pauses && task == chunk->last - 1) nap(1000);
    if (logs) diary->ran[chunk->attempt][(int)(task - chunk->first)]++;
    out->word[(int)(task - chunk->first)] = 2 * task;
  }
  worker_close(worker, task - 1, (uint32_t)(task - chunk->first), 1);
}

static void send_large(struct worker *worker, const struct block *chunk)
{
  struct buffer value = {0};
  size_t length = (size_t)LARGE * BLOCK_BYTES + 77;
  if (buffer_reserve(&value, VALUE_OFFSET + length)) _exit(2);
  value.length = VALUE_OFFSET + length;
  for (size_t i = 0; i < length; i++)
    value.bytes[VALUE_OFFSET + i] = (unsigned char)(chunk->word[i % 1000] + (double)(i % 7));
  worker_send_whole(worker, &value, NULL, 0, chunk->first, BLOCK_DENSE, TAG_STRING);
  worker_open(worker, chunk->first + 1, BLOCK_DENSE);
  worker_close(worker, chunk->first, 0, 1);
  buffer_free(&value);
}

static void print_texts(struct worker *worker, const struct block *chunk)
{
  static char text[TEXT_LENGTH];
  for (int i = 0; i < 10; i++) {
    memset(text, 'a' + i, sizeof text);
    worker_print(worker, 1 + i % 2, text, sizeof text);
  }
  run_tasks(worker, chunk);
}

static _Noreturn void run_worker(void)
{
  struct worker worker = {.is_process = true};
  struct bell bell = hub_bell(&hub, 0);
  barrier_join();
  worker_open_mailbox(&worker, slot, &bell);
  for (;;) {
    struct block *chunk = worker_receive(&worker);
    if (chunk->kind == BLOCK_STOP) _exit(0);
    diary->began[chunk->chunk]++;
    switch ((enum duty)chunk->job) {
    case DUTY_RESULTS:
    case DUTY_LOG:
    case DUTY_PAUSE: run_tasks(&worker, chunk); break;
    case DUTY_LARGE: send_large(&worker, chunk); break;
    case DUTY_PRINT: print_texts(&worker, chunk); break;
    case DUTY_HOLD:
      while (__atomic_load_n(&diary->let_go, __ATOMIC_SEQ_CST) < chunk->chunk) nap(20000);
      run_tasks(&worker, chunk);
      break;
    case DUTY_SLEEP:
      nap(200000);
      run_tasks(&worker, chunk);
      break;
    }
  }
}

static void start_worker(void)
{
  worker_pid = fork();
  CHECK(worker_pid >= 0);
  if (worker_pid == 0) run_worker();
}

/* ---- the coordinator ---- */

/* Sends a chunk of `tasks` tasks; returns its number. */
static uint32_t send_chunk(double first, int tasks, enum duty duty)
{
  struct block message = {
      .kind = BLOCK_CHUNK, .first = first, .last = first + tasks - 1, .size = BLOCK_HEAD, .floor = BLOCK_HEAD};
  uint64_t sent = 0;
  message.chunk = ++chunks;
  message.job = (uint32_t)duty;
  message.attempt = round_number;
  CHECK(chunks < MOST_CHUNKS);
  CHECK(slot_send(slot, &message, &sent, &last_place));
  return message.chunk;
}

/* Sleeps until the worker has rung. */
static void sleep_until_news(void)
{
  uint32_t number, ended[1];
  double began = clock_seconds();
  while (!hub_next_ready(&hub, &number)) {
    hub_sleep(&hub, LOST_AFTER, ended, 1);
    CHECK(clock_seconds() - began < LOST_AFTER);
  }
}

/* The next closed block. */
static struct block *wait_for_results(void)
{
  struct block *block;
  while (!(block = slot_results(slot))) sleep_until_news();
  CHECK(slot_is_sound(slot));
  CHECK(block_is_sound(block));
  return block;
}

/* Takes the only block of a chunk; returns with which task it ended. */
static double take_results(uint32_t chunk, double first)
{
  struct block *block = wait_for_results();
  double last = block->last;
  CHECK(block->chunk == chunk && block->final && block->first == first && block->count == last - first + 1);
  for (uint32_t k = 0; k < block->count; k++) CHECK(block->word[k] == 2 * (first + k));
  slot_release_results(slot);
  return last;
}

/* Waits until `condition` holds, which the worker brings about. */
#define WAIT_UNTIL(condition)                      \
  do {                                             \
    double began = clock_seconds();                \
    while (!(condition)) {                         \
      CHECK(clock_seconds() - began < LOST_AFTER); \
      sched_yield();                               \
    }                                              \
  } while (0)

static bool is_at_rest(void)
{
  return channel_filled(&slot->in) == 0;
}

/* ---- what is checked ---- */

/* Chunks to and fro, where each side sleeps, or is about to, when the other one calls. */
static void check_sleep_and_wake(void)
{
  for (int i = 0; i < ROUNDS; i++) {
    if (i % 4 == 0) WAIT_UNTIL(__atomic_load_n(&slot->asleep, __ATOMIC_SEQ_CST));
    if (i % 4 == 1) nap(i * 300L % 100000);
    uint32_t chunk = send_chunk(i + 1, 1 + i % 100, i % 4 == 2 ? DUTY_SLEEP : DUTY_RESULTS);
    if (i % 4 == 2) hub_expect_long(&hub); /* sleeps at once */
    CHECK(take_results(chunk, i + 1) == i + 1 + i % 100);
  }
}

/* The channel is kept full, and its rings go round many times. */
static void check_rings(void)
{
  uint32_t first_chunk = chunks + 1, taken = 0;
  for (uint32_t sent = 0; taken < ROUNDS;) {
    while (sent < ROUNDS && channel_filled(&slot->in) < CHANNEL_BLOCKS) send_chunk(1 + sent++, 50, DUTY_RESULTS);
    CHECK(take_results(first_chunk + taken, 1 + taken) == 50 + taken);
    taken++;
  }
}

/* A message is begun once, or taken back. */
static void check_claims(void)
{
  uint32_t revoked = 0;
  for (int i = 0; i < ROUNDS; i++) {
    uint32_t first = send_chunk(1, 1 + i % 50, DUTY_RESULTS);
    uint32_t second = send_chunk(1, 3, DUTY_RESULTS), place = last_place;
    spin(i * 0.5e-6);
    bool taken_back = slot_revoke(slot, place);
    CHECK(!slot_revoke(slot, place));
    CHECK(take_results(first, 1) == 1 + i % 50);
    if (!taken_back) CHECK(take_results(second, 1) == 3);
    WAIT_UNTIL(is_at_rest());
    CHECK(slot_is_released(slot, place));
    CHECK(diary->began[first] == 1 && diary->began[second] == (taken_back ? 0u : 1u));
    revoked += taken_back;
  }
  printf("%u of %d messages taken back\n", (unsigned)revoked, ROUNDS);
}

/* A chunk that runs is cut: no task behind the cut is begun, all before it are. */
static void check_cuts(void)
{
  uint32_t cut = 0;
  for (int i = 0; i < ROUNDS; i++) {
    double keep = 1 + i * 37 % TASKS;
    round_number = (uint32_t)i;
    uint32_t chunk = send_chunk(1, TASKS, DUTY_LOG), place = last_place;
    if (i % 4) { /* else it is still queued, or has just begun; here the cut falls close to the task that the worker is
                    in */
      WAIT_UNTIL(slot_present(slot).chunk == chunk || slot_results(slot));
      spin(i % 20 * 1e-6);
      struct present present = slot_present(slot);
      if (present.chunk == chunk && present.task > 0) keep = fmin(fmax(present.task + i % 5 - 3, 1), TASKS);
    }
    double end = slot_cut(slot, chunk, place, 1, TASKS, keep), last = take_results(chunk, 1);
    CHECK(end >= keep);
    CHECK(last <= end);
    CHECK(last >= keep);
    for (int task = 1; task <= TASKS; task++) CHECK(diary->ran[i][task - 1] == (task <= last));
    cut += last < TASKS;
    WAIT_UNTIL(is_at_rest());
    CHECK(slot_cut(slot, chunk, place, 1, TASKS, 1) == TASKS); /* too late */
  }
  CHECK(cut > 0);
  printf("%u of %d chunks cut\n", (unsigned)cut, ROUNDS);
}

/* A chunk that the worker has claimed, but not begun a task of, is cut: at its second task, so that one runs. */
static void check_early_cuts(void)
{
  for (int i = 0; i < 20; i++) {
    if (i % 2) CHECK(take_results(send_chunk(1, 5, DUTY_RESULTS), 1) == 5);
    uint32_t chunk = send_chunk(1, TASKS, DUTY_HOLD), place = last_place;
    WAIT_UNTIL(slot_present(slot).chunk == chunk);
    CHECK(slot_cut(slot, chunk, place, 1, TASKS, 1) == 1);
    __atomic_store_n(&diary->let_go, chunk, __ATOMIC_SEQ_CST);
    CHECK(take_results(chunk, 1) == 1);
    WAIT_UNTIL(is_at_rest());
  }
}

/* A chunk that has ended can't be cut, or taken back, through the cells of a later one, which has got its place. */
static void check_places(void)
{
  uint32_t old = send_chunk(1, TASKS, DUTY_RESULTS), place = last_place;
  CHECK(take_results(old, 1) == TASKS);
  WAIT_UNTIL(is_at_rest());
  send_chunk(1, 1, DUTY_SLEEP);
  for (int i = 1; i < CHANNEL_BLOCKS; i++) send_chunk(1, TASKS, DUTY_RESULTS);
  CHECK(last_place % CHANNEL_BLOCKS == place % CHANNEL_BLOCKS);
  CHECK(!slot_is_queued(slot, place) && !slot_revoke(slot, place));
  CHECK(slot_cut(slot, old, place, 1, TASKS, 1) == TASKS);
  slot_set_limit(slot, place, 1);
  CHECK(take_results(old + 1, 1) == 1);
  for (uint32_t i = 1; i < CHANNEL_BLOCKS; i++) CHECK(take_results(old + 1 + i, 1) == TASKS);
}

/* What stands before the task that the worker is in can be read while the block is being filled. */
static void check_open_results(void)
{
  uint32_t read = 0;
  bool is_open;
  for (int i = 0; i < ROUNDS; i++) {
    double first = 1 + (double)i * TASKS;
    uint32_t chunk = send_chunk(first, TASKS, DUTY_PAUSE);
    while (!slot_results(slot)) {
      struct present present = slot_present(slot);
      struct block *block = slot_look_at_results(slot, 0, &is_open);
      if (!block || !is_open || present.chunk != chunk || block->chunk != chunk || present.task <= first) continue;
      for (double task = first; task < present.task; task++) CHECK(block->word[(int)(task - first)] == 2 * task);
      read++;
    }
    CHECK(take_results(chunk, first) == first + TASKS - 1);
  }
  CHECK(read > 0);
  printf("%u looks into open blocks\n", (unsigned)read);
}

/* A message, and a result, larger than a block. */
static void check_pieces(void)
{
  size_t words = (size_t)LARGE * BLOCK_BYTES / 8;
  struct block *message = calloc(1, BLOCK_HEAD + words * 8);
  CHECK(message);
  *message = (struct block){.kind = BLOCK_CHUNK, .first = 1, .last = 1, .job = DUTY_LARGE};
  message->size = message->floor = BLOCK_HEAD + words * 8;
  message->count = (uint32_t)words;
  message->chunk = ++chunks;
  for (size_t i = 0; i < words; i++) message->word[i] = (double)(i % 200);
  uint64_t sent = 0;
  while (!slot_send(slot, message, &sent, &last_place)) sleep_until_news();
  struct block *piece = wait_for_results();
  uint64_t size = piece->whole, have = 0, length;
  char *whole = malloc(size);
  CHECK(whole && size > (uint64_t)LARGE * BLOCK_BYTES);
  while (have < size) {
    piece = wait_for_results();
    CHECK(piece->kind == BLOCK_PIECE && piece->chunk == chunks && have + piece->count <= size);
    memcpy(whole + have, (char *)piece + BLOCK_HEAD, piece->count);
    have += piece->count;
    slot_release_results(slot);
  }
  memcpy(&length, whole + VALUE_OFFSET - 8, 8);
  CHECK(length == (uint64_t)LARGE * BLOCK_BYTES + 77);
  for (size_t i = 0; i < length; i++)
    CHECK((unsigned char)whole[VALUE_OFFSET + i] == (unsigned char)(message->word[i % 1000] + (double)(i % 7)));
  CHECK(take_results(chunks, 2) == 1);
  free(message);
  free(whole);
}

/* More text than the ring holds: all of it comes, in order, and before the end of its chunk. */
static void check_text(void)
{
  static char text[TEXT_BYTES];
  static uint64_t from[26];
  uint32_t chunk = send_chunk(1, 5, DUTY_PRINT);
  char at = 'a';
  for (;;) {
    int stream;
    bool has_ended = slot_results(slot) != NULL;
    size_t length = slot_take_text(slot, text, sizeof text, &stream);
    for (size_t i = 0; i < length; i++) {
      CHECK(text[i] >= at && stream == 1 + (text[i] - 'a') % 2);
      at = text[i];
      from[at - 'a']++;
    }
    if (length == 0 && has_ended) break;
    if (length == 0) sleep_until_news();
  }
  for (int i = 0; i < 10; i++) CHECK(from[i] == TEXT_LENGTH);
  CHECK(take_results(chunk, 1) == 5);
}

/* A worker that is killed at any moment leaves nothing held: another one takes its place. */
static void check_deaths(void)
{
  for (int i = 0; i < ROUNDS / 10; i++) {
    int status;
    send_chunk(1, TASKS, DUTY_RESULTS);
    send_chunk(1, TASKS, DUTY_SLEEP);
    nap(i * 7919L % 300000);
    kill(worker_pid, SIGKILL);
    CHECK(waitpid(worker_pid, &status, 0) == worker_pid && WIFSIGNALED(status));
    CHECK(slot_is_sound(slot));
    slot_reset(slot);
    start_worker();
    CHECK(take_results(send_chunk(1, 20, DUTY_RESULTS), 1) == 20);
  }
}

static void stop_worker(void)
{
  struct block stop = {.kind = BLOCK_STOP, .size = BLOCK_HEAD, .floor = BLOCK_HEAD};
  uint64_t sent = 0;
  int status;
  CHECK(slot_send(slot, &stop, &sent, &last_place));
  CHECK(waitpid(worker_pid, &status, 0) == worker_pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
  diary = mmap(NULL, sizeof *diary, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  slot = slot_map(1);
  CHECK(diary != MAP_FAILED && slot && hub_open(&hub, 1) == 0);
  CHECK(barrier_join());
  start_worker();
  check_sleep_and_wake();
  check_rings();
  check_claims();
  if (barrier_works()) {
    check_cuts();
    check_early_cuts();
  }
  check_places();
  check_open_results();
  check_pieces();
  check_text();
  check_deaths();
  stop_worker();
  printf("all holds\n");
  return 0;
}
