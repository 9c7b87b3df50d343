/* team.c - run by spec/team_spec.lua: what an agent tells its parent of a run, and when (engines/mpi/team.h). The
 * dispatcher, the results that wait and the reports are made here; the clock stands still. */
#include "engines/mpi/team.h"

#include <math.h>

#include "check.h"
#include "engines/mpi/mpi.h"
#include "run/dispatch.h"
#include "run/queue.h"

struct mpi mpi;
const struct engine_kind engine_mpi = {.name = "mpi"};

static struct transport transport;
static struct family family = {.own = 1};
static struct team team;
static uint64_t run[1];           /* stands for the dispatcher */
static struct demand demand;      /* of the run */
static struct event coming;       /* the run's next event */
static bool is_coming;            /* there is one */
static int looks;                 /* for events */
static double due = INFINITY;     /* when to look again, as the dispatcher says */
static double horizon;            /* seconds of work that are to lie ready, as the run was last asked */
static bool can_map;              /* what the parent has lent */
static int aparts;                /* how often it was told that this rank can't */
static double lost;               /* the task of the last loss that was reported; -1: none was */
static int sent, held_back;       /* messages; records that go along with the next */
static double merging = INFINITY; /* tasks from here on merge results */
static bool has_long_chunks;      /* the run that was opened last */
static uint32_t wished;           /* for whom tasks were given back last */

double clock_seconds(void)
{
  return 100;
}

/* ---- the engine and its messages ---- */

int engine_open(struct engine *engine, const struct engine_kind *kind, uint32_t workers)
{
  *engine = (struct engine){.kind = kind, .all = workers, .context = &family};
  return 0;
}

void engine_close(struct engine *engine)
{
  engine->kind = NULL;
}

bool engine_has_news(const struct engine *engine)
{
  (void)engine;
  return is_coming;
}

int share_error(const struct share *share, uint32_t id)
{
  (void)share, (void)id;
  return 0;
}

void share_refer(const struct share *share, uint32_t id, uint64_t bytes, struct block *block)
{
  (void)share, (void)id, (void)bytes, (void)block;
}

double tree_crowd(const struct tree *tree)
{
  (void)tree;
  return 1;
}

uint32_t tree_before(const struct tree *tree, uint32_t all, int rank)
{
  (void)tree, (void)all;
  return 2 * (uint32_t)rank;
}

void message_free(struct message *message)
{
  free(message);
}

void transport_send(struct transport *t, int rank, const struct note *note)
{
  (void)t, (void)rank;
  aparts += note->kind == NOTE_APART;
}

bool tree_is_near(const struct tree *tree, int rank)
{
  (void)tree, (void)rank;
  return false;
}

/* ---- the dispatcher ---- */

struct dispatch *dispatch_open(struct engine *engine, const struct dispatch_options *options)
{
  (void)engine;
  has_long_chunks = options->is_gathered;
  return (struct dispatch *)(void *)run;
}

void dispatch_close(struct dispatch *d)
{
  (void)d;
}

bool dispatch_poll(struct dispatch *d, struct event *event, double *until)
{
  (void)d;
  bool is_any = is_coming;
  *until = due;
  looks++;
  if (is_any) *event = coming;
  is_coming = false;
  return is_any;
}

void dispatch_demand(const struct dispatch *d, double seconds, struct demand *found)
{
  (void)d;
  horizon = seconds;
  *found = demand;
}

uint32_t dispatch_lacking(const struct dispatch *d, int *error)
{
  (void)d;
  *error = 0;
  return 0;
}

double dispatch_chunk_seconds(const struct dispatch *d)
{
  (void)d;
  return 1e-3;
}

void dispatch_pace(struct dispatch *d, double records)
{
  (void)d, (void)records;
}

uint32_t dispatch_part(struct dispatch *d, uint32_t idle, struct range *ranges, uint32_t most)
{
  (void)d, (void)ranges, (void)most;
  wished = idle;
  return 0;
}

struct payload *payload_of(uint64_t bytes)
{
  (void)bytes;
  return NULL;
}

struct payload *payload_borrowed(struct lender lender, uint64_t bytes)
{
  static struct payload mapped;
  (void)lender, (void)bytes;
  return can_map ? &mapped : NULL;
}

int dispatch_offer(struct dispatch *d, double first, double last, uint32_t attempt, struct payload *payload)
{
  (void)d, (void)first, (void)last, (void)attempt, (void)payload;
  return 0;
}

void dispatch_shorten(struct dispatch *d, double last)
{
  (void)d, (void)last;
}

bool dispatch_abort(struct dispatch *d, double task)
{
  (void)d, (void)task;
  return false;
}

void dispatch_cancel(struct dispatch *d)
{
  (void)d;
}

/* ---- results that wait ---- */

void folding_begin(struct folding *folding, struct dispatch *d, struct report *report, int rank)
{
  (void)folding, (void)d, (void)report, (void)rank;
}

bool folding_is_merge(const struct folding *folding, double task)
{
  (void)folding;
  return task >= merging;
}

void folding_give(struct folding *folding, double first, double last)
{
  (void)folding, (void)first, (void)last;
}

bool folding_take(struct folding *folding, const struct event *event, uint64_t *end, double now)
{
  (void)folding, (void)event, (void)end, (void)now;
  return false;
}

bool folding_lose(struct folding *folding, double task)
{
  return folding_is_merge(folding, task);
}

uint32_t folding_return(struct folding *folding, struct range *ranges, uint32_t count)
{
  (void)folding, (void)ranges;
  return count;
}

double folding_serve(struct folding *folding, bool is_idle, double now)
{
  (void)folding, (void)is_idle, (void)now;
  return INFINITY;
}

void folding_flush(struct folding *folding)
{
  (void)folding;
}

void folding_end(struct folding *folding)
{
  (void)folding;
}

/* ---- reports ---- */

/* A record goes along with the next message. */
static void add(struct report *report)
{
  if (!report->parcel) report->parcel = malloc(1);
  if (!report->parcel) fail("there is no memory");
  held_back++;
}

void report_begin(struct report *report, struct transport *t, int parent, const struct note *of)
{
  *report = (struct report){.transport = t, .parent = parent, .note = {.engine = of->engine, .run = of->run}};
}

void report_end(struct report *report)
{
  free(report->parcel);
  report->parcel = NULL;
}

void report_used(struct report *report, uint64_t bytes)
{
  (void)report, (void)bytes;
}

void report_results(struct report *report, const struct event *event, uint64_t *end)
{
  (void)event, (void)end;
  add(report);
}

void report_lost(struct report *report, const struct event *event)
{
  lost = event->first;
  add(report);
}

void report_text(struct report *report, const struct event *event)
{
  (void)event;
  add(report);
}

void report_ranges(struct report *report, const struct range *ranges, uint32_t count)
{
  (void)ranges, (void)count;
  add(report);
}

void report_status(struct report *report, enum record_kind of, int status, int ended)
{
  (void)of, (void)status, (void)ended;
  add(report);
}

void report_send(struct report *report, bool always)
{
  (void)always;
  sent++;
  held_back = 0;
  free(report->parcel);
  report->parcel = NULL;
}

/* ---- what is checked ---- */

static void obey(struct note note)
{
  struct message *message = calloc(1, sizeof *message);
  if (!message) fail("there is no memory");
  message->note = note;
  team_obey(&team, message);
}

/* A run to which the parent has given 10 tasks. Nothing was told of it. */
static void begin(void)
{
  mpi.transport = &transport;
  team = (struct team){.number = 1};
  demand = (struct demand){0};
  lost = -1;
  obey((struct note){.kind = NOTE_BEGIN, .engine = 1, .run = 1, .all = 2, .workers = 2, .fan = 1});
  obey((struct note){.kind = NOTE_GIVE, .engine = 1, .run = 1, .first = 1, .last = 10, .attempt = 1});
  sent = 0;
}

/* How many messages are sent when this has happened. */
static int serve(struct event event)
{
  coming = event;
  is_coming = true;
  sent = 0;
  team_serve(&team);
  return sent;
}

/* Tasks are asked for when no more than half of what is wanted lies there. */
static void check_demand(void)
{
  for (int unassigned = 5; unassigned <= 6; unassigned++) {
    begin();
    demand = (struct demand){.tasks = 10, .unassigned = unassigned};
    team_serve(&team);
    if (unassigned == 5 && sent != 1) fail("no tasks are asked for, though only half of what is wanted lies there");
    if (unassigned == 5 && team.report.note.allowed != 15) fail("not as many tasks are asked for as are wanted");
    if (unassigned == 6 && sent != 0) fail("tasks are asked for while more than half of what is wanted lies there");
    team_close(&team);
  }
}

/* What was asked for counts as coming as long as half of what is to lie ready lasts: 10 tasks of 2 workers. */
static void check_coming(void)
{
  static const double lengths[] = {3, 1}; /* half of them last 7.5 s, and 2.5 s */
  for (int i = 0; i < 2; i++) {
    begin();
    demand = (struct demand){.tasks = 10, .unassigned = 5, .per_task = lengths[i]};
    team_serve(&team);
    team.reported -= 5; /* 5 s later */
    team.wanted_at -= 5;
    demand.unassigned = 2;
    int messages = serve((struct event){.kind = EVENT_TICK});
    if (i == 0 && messages != 0) fail("the parent is asked again, though it may be about to give");
    if (i == 1 && messages != 1) fail("the parent is not asked again, though it has not given for long");
    team_close(&team);
  }
}

/* Where nobody sees a result before all have come, it waits longer for others, but not when tasks are asked for. */
static void check_gathered(void)
{
  static const struct event text = {.kind = EVENT_TEXT, .worker = 1};
  for (int is_gathered = 0; is_gathered < 2; is_gathered++) {
    begin();
    obey((struct note){.kind = NOTE_BEGIN,
                       .engine = 1,
                       .run = 1,
                       .all = 2,
                       .workers = 2,
                       .fan = 1,
                       .is_gathered = (uint32_t)is_gathered});
    obey((struct note){.kind = NOTE_GIVE, .engine = 1, .run = 1, .first = 1, .last = 10, .attempt = 1});
    demand = (struct demand){.tasks = 10, .unassigned = 10};
    team.reported = clock_seconds() - 2 * team.gather;
    if (serve(text) != !is_gathered) fail("a result waits for others where it is not to, or does not where it is to");
    team.reported = clock_seconds() - 2 * team.gather;
    demand.unassigned = 0;
    if (serve(text) != 1) fail("what a rank wants waits as results do");
    team_close(&team);
    held_back = 0;
  }
}

/* Of a reduction's blocks a whole group is asked for, whatever would lie ready otherwise, unless blocks take so long
 * that each is told at once. */
static void check_groups(void)
{
  enum { GROUP = 16 };
  static const struct {
    double per_task, unassigned, allowed;
  } cases[] = {{0.03, 0, 10 + GROUP}, {0.03, GROUP / 2 - 3, 10 + GROUP}, {0.2, 0, 10 + 2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    begin();
    obey((struct note){.kind = NOTE_BEGIN, .engine = 1, .run = 1, .all = 2, .workers = 2, .fan = 1, .group = GROUP});
    obey((struct note){.kind = NOTE_GIVE, .engine = 1, .run = 1, .first = 1, .last = 10, .attempt = 1});
    demand = (struct demand){.tasks = 2, .unassigned = cases[i].unassigned, .per_task = cases[i].per_task};
    team_serve(&team);
    if (team.report.note.allowed != cases[i].allowed)
      fail("not as many blocks of a reduction are asked for as are wanted");
    team_close(&team);
  }
}

/* A run that has just reported something. */
static void begin_reported(void)
{
  begin();
  demand = (struct demand){.tasks = 10, .unassigned = 5};
  team_serve(&team);
  if (sent != 1) fail("nothing is reported");
  demand = (struct demand){.unassigned = 1}; /* nothing is wanted */
}

/* When all that was given has ended, its last report goes at once, also where no result is kept. */
static void check_last_report(void)
{
  static struct block block = {.size = sizeof block};
  for (int ended = 9; ended <= 10; ended++) {
    begin_reported();
    int messages = serve((struct event){
        .kind = EVENT_RESULTS, .first = 1, .last = ended, .want = ended, .count = 0, .worker = 1, .block = &block});
    if (team.held != 10 - ended) fail("it is not known how many tasks are left");
    if (ended == 9 && (messages != 0 || held_back != 1)) fail("a report does not wait for those that are to come");
    if (ended == 10 && messages != 1) fail("the last report waits, though nothing is to come");
    team_close(&team);
    held_back = 0;
  }
}

/* A worker that is lost in a merge is told without a task: none of the parent's has failed. */
static void check_lost_merge(void)
{
  merging = FIRST_EXTRA;
  for (int is_merge = 0; is_merge < 2; is_merge++) {
    begin_reported();
    serve((struct event){.kind = EVENT_LOST, .first = is_merge ? FIRST_EXTRA : 3, .cause = LOST_CRASH, .worker = 1});
    if (is_merge && lost != 0) fail("a task that merges results is told as failed");
    if (is_merge && team.held != 10) fail("a merge that is lost counts as one of the parent's tasks");
    if (!is_merge && lost != 3) fail("a task that is lost is not told");
    if (!is_merge && team.held != 9) fail("a task that is lost counts as one that is still here");
    team_close(&team);
  }
}

/* A run is looked at when its workers have news, when the parent has said something, and when it is due. */
static void check_rest(void)
{
  static const struct event text = {.kind = EVENT_TEXT, .worker = 1};
  begin_reported();
  looks = 0;
  if (team_serve(&team) != due || looks != 0) fail("a run is looked at though nothing has come");
  serve(text);
  if (looks == 0) fail("a run is not looked at though a worker has news");
  looks = 0;
  obey((struct note){.kind = NOTE_USED, .engine = 1, .run = 1});
  due = clock_seconds();
  if (team_serve(&team) != due || looks == 0) fail("a run is not looked at when the parent has said something");
  looks = 0;
  due = INFINITY;
  team_serve(&team);
  if (looks == 0) fail("a run is not looked at when it is due");
  team_close(&team);
}

/* That a worker has nothing to do is told at once, once. */
static void check_idle(void)
{
  begin_reported();
  demand = (struct demand){.idle = 1};
  for (int time = 1; time <= 2; time++) {
    obey((struct note){.kind = NOTE_USED, .engine = 1, .run = 1}); /* it looks again */
    sent = 0;
    team_serve(&team);
    if (time == 1 && sent != 1) fail("the parent does not hear at once that a worker has nothing to do");
    if (time == 2 && sent != 0) fail("the parent is told again what it knows");
  }
  team_close(&team);
}

/* A task that is tried again takes no other's place. */
static void check_retry(void)
{
  begin_reported();
  double allowed = team.report.note.allowed;
  obey((struct note){.kind = NOTE_GIVE, .engine = 1, .run = 1, .first = 3, .last = 3, .attempt = 2});
  if (team.report.note.allowed != allowed + 1) fail("fewer tasks may be given, as one is tried again");
  team_close(&team);
}

/* Chunks take longer where nobody sees a result before all have come, but not where results are joined, which has a
 * pace of its own. */
static void check_chunks(void)
{
  static const struct {
    uint32_t is_gathered, all;
    bool is_long;
  } cases[] = {{0, 2, false}, {1, 2, true}, {1, 1000, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    begin();
    obey((struct note){.kind = NOTE_BEGIN,
                       .engine = 1,
                       .run = 1,
                       .all = cases[i].all,
                       .workers = cases[i].all,
                       .fan = 1,
                       .is_gathered = cases[i].is_gathered});
    if (has_long_chunks != cases[i].is_long) fail("chunks are long where they are not to be, or short");
    team_close(&team);
  }
}

/* For how many workers the parent asks is passed on, also where they are none yet. */
static void check_wish(void)
{
  for (uint32_t idle = 0; idle <= 3; idle += 3) {
    begin_reported();
    wished = 100;
    sent = 0;
    obey((struct note){.kind = NOTE_ASK, .engine = 1, .run = 1, .idle = idle});
    team_serve(&team);
    if (wished != idle || sent != 1) fail("the parent's wish is not answered, or that of others is");
    wished = 100;
    team_serve(&team);
    if (wished != 100) fail("a wish is answered twice");
    team_close(&team);
  }
}

/* No more is to lie ready than some megabytes of arguments. */
static void check_bytes(void)
{
  static const double per_task = 1e-3, most = 16 << 20;
  static const uint64_t sizes[] = {100, 1 << 20, 8 << 20};
  can_map = true;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    begin();
    obey((struct note){
        .kind = NOTE_GIVE, .engine = 1, .run = 1, .first = 11, .last = 20, .attempt = 1, .size = 20 * sizes[i]});
    demand = (struct demand){.per_task = per_task};
    serve((struct event){.kind = EVENT_TICK}); /* how long a task takes is known only then */
    serve((struct event){.kind = EVENT_TICK});
    double bytes = horizon / per_task * (double)sizes[i];
    if (bytes > most + 1 || (i > 0 && bytes < most / 4))
      fail("too many bytes of arguments are to lie ready, or too few");
    if (i == 0 && horizon < 5e-3) fail("small arguments are to lie ready as if they were large");
    team_close(&team);
  }
}

/* What the parent has lent and can't be mapped is given back, and the parent told to send it. */
static void check_apart(void)
{
  for (int is_near = 0; is_near < 2; is_near++) {
    begin_reported();
    can_map = is_near;
    aparts = 0;
    obey((struct note){
        .kind = NOTE_GIVE, .engine = 1, .run = 1, .first = 11, .last = 12, .attempt = 1, .size = 8 << 20});
    if (aparts != !is_near || held_back != !is_near) fail("tasks whose arguments can't be mapped are not given back");
    if (team.held != (is_near ? 12 : 10)) fail("tasks that were given back count as here");
    team_close(&team);
    held_back = 0;
  }
}

int main(void)
{
  check_bytes();
  check_apart();
  check_demand();
  check_coming();
  check_gathered();
  check_groups();
  check_last_report();
  check_lost_merge();
  check_rest();
  check_idle();
  check_retry();
  check_chunks();
  check_wish();
  puts("all holds");
  return 0;
}
