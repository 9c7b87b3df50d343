/* home.c - run by spec/home_spec.lua: workers of a rank (src/engines/mpi/home.h), which its helper forks
 * (src/engines/nursery.h), as two engines see them that have the same seat one after the other. */
#include "engines/mpi/home.h"

#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "engines/cluster.h"
#include "slot/layout.h"
#include "sys/clock.h"

/* Far longer than anything here takes. */
static const double limit = 60;

void cluster_forget_launch(void)
{
}

/* A worker ends as it begins, with its number as status, or lives on. */
static _Noreturn void live(struct slot *slot, const struct bell *bell, uint64_t memory)
{
  (void)bell;
  if (memory == 0) _exit((int)slot->id);
  for (;;) pause();
}

const struct worker_bodies worker_bodies = {.process = live};

static const struct engine_kind kind = {.name = "of a rank", .own_bytes = HOME_BYTES};

/* An engine with one worker, which has a seat. */
static void open_engine(struct engine *engine, uint64_t memory, uint32_t id)
{
  enum { FILES = 1000 };
  *engine = (struct engine){.kind = &kind, .workers = 1, .memory = memory, .most_files = FILES};
  engine->slots = calloc(1, sizeof *engine->slots);
  engine->own = calloc(1, HOME_BYTES);
  engine->news.next = malloc(sizeof *engine->news.next);
  if (!engine->slots || !engine->own || !engine->news.next) fail("there is no memory");
  engine->news.next[0] = UINT32_MAX;
  engine->news.first = UINT32_MAX;
  if (home_open_hub(engine) || home_take_seat(engine, 0)) fail("an engine could not be opened");
  engine->slots[0] = home_map(engine, 0, id);
  if (!engine->slots[0] || home_start(engine, 0)) fail("a worker could not be started");
}

static void close_engine(struct engine *engine)
{
  home_leave(engine);
  hub_close(&engine->hub);
  slot_unmap(engine->slots[0]);
  free(engine->slots);
  free(engine->own);
  free(engine->news.next);
}

/* Waits until the helper has reported so many ends; nobody takes them meanwhile. */
static void await_reports(const struct nursery *nursery, uint32_t count)
{
  const struct timespec nap = {.tv_nsec = 1000000};
  double deadline = clock_seconds() + limit;
  while (__atomic_load_n(nursery->reports, __ATOMIC_SEQ_CST) < count) {
    if (clock_seconds() > deadline) fail("the end of a worker was not reported");
    nanosleep(&nap, NULL);
  }
}

/* Who sleeps is woken by the end of a worker, which did not ring itself; and is told of the worker, once. */
static void check_end_wakes(struct nursery *nursery)
{
  struct engine engine;
  uint32_t w, ended[1];
  int status = -1;
  open_engine(&engine, 0, 7);
  double began = clock_seconds();
  while (!home_progress(&engine.hub)) {
    hub_sleep(&engine.hub, limit, ended, 1);
    if (clock_seconds() - began >= limit) fail("who sleeps is not woken by the end of a worker");
  }
  if (!engine_next_news(&engine, &w) || w != 0 || engine_next_news(&engine, &w)) fail("the worker has no news, or two");
  if (!home_ended(&engine, 0, &status) || status != 7 << 8) fail("the worker's end was not told as it was");
  if (home_end(&engine, 0)) fail("a worker that has ended can't be ended");
  if (nursery->taken != 1) fail("one report was not taken once");
  close_engine(&engine);
}

/* The end of an engine's last worker is reported late: it is not that of the worker which has the seat by then. */
static void check_late_report(const struct nursery *nursery)
{
  struct engine first, second;
  int status = -1;
  uint32_t reports = *nursery->reports;
  open_engine(&first, 0, 3);
  await_reports(nursery, reports + 1);
  close_engine(&first);
  open_engine(&second, 1, 4);
  home_progress(&second.hub);
  if (nursery->taken != reports + 1) fail("the late report was not taken");
  if (home_ended(&second, 0, &status)) fail("a worker is said to have ended, as the one before it in its seat had");
  if (home_end(&second, 0)) fail("a worker can't be ended");
  await_reports(nursery, reports + 2);
  home_progress(&second.hub);
  if (!home_ended(&second, 0, &status) || status != SIGKILL) fail("the end of a worker that was killed was not told");
  close_engine(&second);
}

/* An order to end a worker comes late: it does not end the one that has the seat by then. */
static void check_late_kill(struct nursery *nursery)
{
  struct engine first, second, third;
  struct nursery_report report;
  int status = -1;
  uint32_t reports = *nursery->reports;
  open_engine(&first, 1, 5);
  if (home_end(&first, 0)) fail("a worker can't be ended");
  await_reports(nursery, reports + 1);
  if (!nursery_next(nursery, &report) || report.worker != 0) fail("the end of a worker that was killed was not told");
  close_engine(&first);
  open_engine(&second, 1, 6);
  if (nursery_kill(nursery, report.worker, report.life)) fail("an order could not be given");
  open_engine(&third, 0, 8); /* ends by itself, behind what was ordered */
  await_reports(nursery, reports + 2);
  home_progress(&second.hub);
  if (home_ended(&second, 0, &status)) fail("a worker was ended instead of the one before it in its seat");
  if (!home_ended(&third, 0, &status) || status != 8 << 8) fail("the end of a worker was told of another");
  if (home_end(&second, 0)) fail("a worker can't be ended");
  await_reports(nursery, reports + 3);
  close_engine(&second);
  close_engine(&third);
}

static const struct nursery *waits; /* until the helper, which was stopped, takes orders */

static void let_go_on(int number)
{
  (void)number;
  if (waits->kept_count > 0) kill(waits->pid, SIGCONT);
}

/* Reports come while an order waits for room: each is told, behind those before it. */
static void check_kept_reports(struct nursery *nursery)
{
  enum { FIRST = 40, WORKERS = 3, MOST_ORDERS = 100000 };
  struct sigaction action = {.sa_handler = let_go_on}, before;
  const struct itimerval often = {{.tv_usec = 5000}, {.tv_usec = 5000}}, never = {{0}, {0}};
  struct nursery_report report;
  while (nursery_next(nursery, &report)) continue; /* of workers before */
  for (uint32_t w = FIRST; w < FIRST + WORKERS; w++) {
    uint32_t reports = *nursery->reports;
    int file = slot_file();
    if (file < 0 || nursery_start(nursery, w, 1, file, 0)) fail("a worker could not be started");
    close(file);
    await_reports(nursery, reports + 1);
  }
  waits = nursery;
  kill(nursery->pid, SIGSTOP);
  sigaction(SIGALRM, &action, &before);
  setitimer(ITIMER_REAL, &often, NULL);
  for (int n = 0; nursery->kept_count == 0; n++)
    if (n == MOST_ORDERS || nursery_kill(nursery, 0, 0)) fail("orders find room without end, or none can be given");
  setitimer(ITIMER_REAL, &never, NULL);
  sigaction(SIGALRM, &before, NULL);
  for (uint32_t w = FIRST; w < FIRST + WORKERS; w++)
    if (!nursery_next(nursery, &report) || report.worker != w) fail("the end of a worker is lost as an order waits");
  if (nursery_next(nursery, &report)) fail("the end of a worker is told twice");
}

int main(void)
{
  struct nursery nursery;
  if (nursery_open(&nursery)) fail("the helper could not be opened");
  home_open(&nursery, 0);
  check_end_wakes(&nursery);
  check_late_report(&nursery);
  check_late_kill(&nursery);
  check_kept_reports(&nursery);
  if (!nursery_alive(&nursery)) fail("the helper has ended");
  nursery_close(&nursery);
  puts("all holds");
  return 0;
}
