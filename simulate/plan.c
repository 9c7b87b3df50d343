/* plan.c - see plan.h. */
#include "plan.h"

#include <math.h>
#include <stddef.h>

#include "world.h"

static const char *const trouble_names[TROUBLES] = {
    "crashes",    "deaths",  "starts", "massacre", "hangs",  "limit",  "errors", "backoff", "aborts",
    "cancel",     "shorten", "close",  "ceiling",  "sink",   "supply", "skips",  "memory",  "wakes",
    "no_barrier", "distant", "large",  "text",     "sparse", "runs",   "ranks",  "stalls",  "push",
};

bool plan_has(const struct plan *plan, enum trouble trouble)
{
  return plan->troubles >> trouble & 1;
}

void plan_drop(struct plan *plan, enum trouble trouble)
{
  plan->troubles &= ~((uint32_t)1 << trouble);
}

bool plan_is_interrupted(const struct plan *plan)
{
  return plan_has(plan, TROUBLE_CANCEL) && plan->kind != PLAN_STACK && plan->seed % 2;
}

static void draw_troubles(struct plan *plan)
{
  static const double probability[TROUBLES] = {
      [TROUBLE_CRASHES] = 0.3,  [TROUBLE_DEATHS] = 0.35, [TROUBLE_STARTS] = 0.15,     [TROUBLE_MASSACRE] = 0.1,
      [TROUBLE_HANGS] = 0.25,   [TROUBLE_LIMIT] = 0.35,  [TROUBLE_ERRORS] = 0.35,     [TROUBLE_BACKOFF] = 0.5,
      [TROUBLE_ABORTS] = 0.2,   [TROUBLE_CANCEL] = 0.1,  [TROUBLE_SHORTEN] = 0.1,     [TROUBLE_CLOSE] = 0.05,
      [TROUBLE_CEILING] = 0.25, [TROUBLE_SINK] = 0.25,   [TROUBLE_SUPPLY] = 0.4,      [TROUBLE_SKIPS] = 0.15,
      [TROUBLE_MEMORY] = 0.15,  [TROUBLE_WAKES] = 0.3,   [TROUBLE_NO_BARRIER] = 0.05, [TROUBLE_DISTANT] = 0.3,
      [TROUBLE_LARGE] = 0.2,    [TROUBLE_TEXT] = 0.2,    [TROUBLE_SPARSE] = 0.25,     [TROUBLE_RUNS] = 0.3,
      [TROUBLE_PUSH] = 0.15,
  };
  if (random_chance(0.2)) return; /* all goes well */
  double scale = random_chance(0.5) ? 1 : 0.4;
  for (int i = 0; i < TROUBLES; i++)
    if (random_chance(probability[i] * scale)) plan->troubles |= (uint32_t)1 << i;
}

/* What can't be together. */
static void settle_troubles(struct plan *plan)
{
  bool is_lanes = plan->kind == PLAN_LANES;
  if (is_lanes) {
    plan_drop(plan, TROUBLE_LARGE);
    plan_drop(plan, TROUBLE_TEXT);
    plan_drop(plan, TROUBLE_NO_BARRIER);
  } else {
    plan_drop(plan, TROUBLE_DISTANT);
  }
  if (plan_has(plan, TROUBLE_HANGS)) plan->troubles |= (uint32_t)1 << TROUBLE_LIMIT;
  if (plan_has(plan, TROUBLE_DISTANT)) { /* an agent keeps time limits itself */
    plan_drop(plan, TROUBLE_LIMIT);
    plan_drop(plan, TROUBLE_HANGS);
    plan_drop(plan, TROUBLE_ABORTS);
    plan->engine = ENGINE_KEPT;
  }
  if (plan->engine == ENGINE_ABANDONED) { /* threads don't die */
    plan_drop(plan, TROUBLE_CRASHES);
    plan_drop(plan, TROUBLE_DEATHS);
    plan_drop(plan, TROUBLE_MASSACRE);
  }
  if (plan_has(plan, TROUBLE_PUSH)) { /* there is no source, and no end */
    plan_drop(plan, TROUBLE_SUPPLY);
    plan_drop(plan, TROUBLE_SKIPS);
    plan_drop(plan, TROUBLE_CEILING);
    plan_drop(plan, TROUBLE_SHORTEN);
  }
  if (plan->kind == PLAN_STACK) {
    plan_drop(plan, TROUBLE_PUSH);
    plan_drop(plan, TROUBLE_MEMORY); /* Lua's own would fail too */
    if (plan->engine == ENGINE_FORKED) plan->engine = ENGINE_KEPT;
  }
  if (plan->engine == ENGINE_FORKED) plan_drop(plan, TROUBLE_RUNS);
}

/* ---- profiles: what would seldom come together by chance ---- */

static void add(struct plan *plan, enum trouble trouble)
{
  plan->troubles |= (uint32_t)1 << trouble;
}

/* Who is away for longer than the time limit leaves workers waiting for room, before tasks that take a good part
 * of it; and to wake up may take these as long. */
static void draw_absence(struct plan *plan)
{
  static const double longest = 1;
  add(plan, TROUBLE_LIMIT);
  add(plan, TROUBLE_SINK);
  plan->length = plan->limit * random_spread(0.05, 0.3);
  plan->sink_seconds = fmin(plan->limit * random_spread(1, 10), longest);
  plan->sink_rate = random_spread(0.02, 0.3);
  plan->chunk = 2 + random_below(14);
  plan->large_share = random_spread(0.1, 0.5);
  if (random_chance(0.5)) add(plan, random_chance(0.5) ? TROUBLE_SPARSE : TROUBLE_LARGE);
  if (random_chance(0.5)) return;
  add(plan, TROUBLE_WAKES);
  plan->slow = plan->limit * random_spread(0.1, 2);
}

/* Arguments that travel in pieces. */
static void supply_pieces(struct plan *plan)
{
  plan_drop(plan, TROUBLE_PUSH);
  add(plan, TROUBLE_SUPPLY);
  add(plan, TROUBLE_LARGE);
}

/* Small chunks whose arguments travel in pieces, and single tasks ended meanwhile: places in the channel are soon
 * another's. */
static void draw_pieces(struct plan *plan)
{
  supply_pieces(plan);
  add(plan, TROUBLE_ABORTS);
  plan->abort_rate = random_spread(0.2, 1);
  plan->large_share = random_spread(0.1, 0.6);
  plan->chunk = 1 + random_below(3);
  if (random_chance(0.5)) add(plan, TROUBLE_DEATHS);
}

/* Short runs whose arguments travel in pieces, and who takes the events is away often: at their end chunks are cut that
 * have ended and were not read, and whose places are another's. */
static void draw_tail(struct plan *plan)
{
  supply_pieces(plan);
  add(plan, TROUBLE_SINK);
  plan->chunk = 0;
  plan->workers = 2 + random_below(3);
  plan->tasks = 4 + (uint32_t)random_spread(2, 40);
  plan->lengths = (enum lengths)(LENGTHS_SAME + random_below(LENGTHS_KINDS - LENGTHS_SAME));
  plan->length = random_spread(1e-5, 1e-3);
  plan->large_share = random_spread(0.1, 0.5);
  plan->sink_rate = random_spread(0.05, 0.5);
  plan->sink_seconds = plan->length * random_spread(1, 30);
  plan->supply_seconds = random_chance(0.5) ? 0 : plan->length * random_unit();
}

/* Runs of threads that follow one another at once, each closed in its first chunks: what a thread publishes as its run
 * ends must not be taken for the next run's. */
static void draw_turnover(struct plan *plan)
{
  plan->engine = ENGINE_ABANDONED;
  add(plan, TROUBLE_RUNS);
  add(plan, TROUBLE_CLOSE);
  plan->workers = 1 + random_below(4);
  plan->runs = 4 + random_below(20);
  plan->length = random_spread(1e-6, 1e-4);
  plan->chunk = 1 + random_below(3);
  plan->close_at = plan->length * plan->chunk * random_spread(1, 30);
}

/* Memory fails while chunks of dead workers, and what was cut off from others, are handed out again. */
static void draw_shortage(struct plan *plan)
{
  add(plan, TROUBLE_MEMORY);
  plan->memory_rate = random_spread(0.02, 0.2);
  plan->workers = 2 + random_below(6);
  plan->tasks = 100 + random_below(400);
  plan->lengths = random_chance(0.5) ? LENGTHS_HEAVY : LENGTHS_RARE;
  plan->length = random_spread(1e-4, 3e-3);
  plan->chunk = random_chance(0.5) ? 0 : 5 + random_below(20);
  plan_drop(plan, TROUBLE_SHORTEN);
  plan_drop(plan, TROUBLE_CLOSE);
  plan_drop(plan, TROUBLE_CANCEL);
  if (random_chance(0.3)) add(plan, TROUBLE_PUSH);
  if (plan->engine == ENGINE_ABANDONED || random_chance(0.5)) return;
  add(plan, TROUBLE_CRASHES);
  plan->crash_share = random_spread(0.02, 0.2);
}

/* Runs of long tasks that are shortened in the midst of chunks: they wait for no task behind their new end. */
static void draw_shortened(struct plan *plan)
{
  static const enum trouble none[] = {TROUBLE_SINK,  TROUBLE_SUPPLY, TROUBLE_PUSH,  TROUBLE_WAKES,
                                      TROUBLE_LIMIT, TROUBLE_HANGS,  TROUBLE_CLOSE, TROUBLE_CANCEL};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) plan_drop(plan, none[i]);
  add(plan, TROUBLE_SHORTEN);
  plan->preempted = 0;
  plan->workers = 1 + random_below(4);
  plan->chunk = 2 + random_below(14);
  plan->tasks = (uint32_t)plan->chunk * plan->workers * (1 + random_below(3));
  plan->lengths = random_chance(0.5) ? LENGTHS_SAME : LENGTHS_EXPONENTIAL;
  plan->length = random_spread(0.1, 1);
  plan->shorten_at = plan->length * plan->tasks / plan->workers * random_unit();
}

/* A third of the schedules over slots are of one of these kinds. */
static void draw_profile(struct plan *plan)
{
  enum { PROFILES = 6, IN = 3 * PROFILES };
  static void (*const profiles[PROFILES])(struct plan *) = {draw_absence,  draw_pieces,   draw_tail,
                                                            draw_turnover, draw_shortage, draw_shortened};
  uint32_t which = random_below(IN);
  if (plan->kind != PLAN_SLOTS || which >= PROFILES) return;
  profiles[which](plan);
  settle_troubles(plan);
}

void plan_draw(struct plan *plan, enum plan_kind kind, uint64_t seed)
{
  *plan = (struct plan){.kind = kind, .seed = seed};
  plan->engine = (enum plan_engine)random_below(3);
  draw_troubles(plan);
  settle_troubles(plan);
  double most_workers = kind == PLAN_LANES ? 1000 : random_chance(0.02) ? 300 : 12;
  plan->workers = (uint32_t)random_spread(1, most_workers + 0.9);
  plan->tasks = (uint32_t)random_spread(1, kind == PLAN_LANES ? 4000 : 800);
  if (kind == PLAN_STACK) plan->workers = 1 + plan->workers % 6;
  plan->runs = 2 + random_below(3);
  plan->lengths = (enum lengths)random_below(LENGTHS_KINDS);
  plan->length = random_spread(1e-6, 0.05);
  plan->chunk = random_chance(0.3) ? floor(random_spread(1, 40)) : 0;
  plan->limit = random_spread(2e-3, 0.5);
  plan->length = fmin(plan->length, plan_has(plan, TROUBLE_LIMIT) ? plan->limit / 20 : 1);
  plan->crash_share = random_spread(1e-3, 0.3);
  plan->hang_share = random_spread(1e-3, 0.1);
  plan->error_share = random_spread(1e-3, 0.5);
  plan->large_share = random_spread(1e-3, 0.1);
  plan->text_share = random_spread(1e-2, 1);
  double whole = plan->length * plan->tasks / plan->workers + 1e-3; /* about what it takes */
  plan->death_rate = random_spread(0.1, 5) / whole;
  plan->step_death = random_spread(0.02, 0.8);
  plan->start_death = random_chance(0.1) ? 1 : random_spread(0.01, 0.5);
  plan->start_failure = random_chance(0.3) ? random_spread(0.01, 0.5) : 0;
  plan->massacre_at = whole * 1.2 * random_unit();
  plan->cancel_at = whole * 1.2 * random_unit();
  plan->shorten_at = whole * 1.2 * random_unit();
  plan->close_at = whole * random_unit();
  plan->abort_rate = random_spread(0.01, 1);
  plan->sink_rate = random_spread(0.001, 0.2);
  plan->sink_seconds = random_spread(1e-4, 0.3);
  plan->supply_seconds = random_chance(0.5) ? 0 : random_spread(1e-5, 0.05);
  plan->memory_rate = random_chance(0.5) ? random_spread(1e-3, 0.5) : 0;
  plan->memory_at = 1 + random_below(200);
  plan->window = 1 + (uint32_t)random_spread(1, 200);
  plan->retries = random_below(4);
  plan->backoff = random_spread(1e-4, 1);
  plan->lost = random_chance(0.5) ? 0 : random_spread(1e-3, 0.9);
  plan->slow = random_chance(0.5) ? 1e-5 : random_spread(1e-6, 0.05);
  plan->spurious = random_chance(0.5) ? 0 : random_spread(1e-3, 0.5);
  plan->tick = random_spread(2e-8, 3e-6);
  plan->latency = random_spread(1e-6, 2e-3);
  plan->slice = 1 + (uint32_t)random_spread(1, 300);
  plan->preempted = random_chance(0.5) ? 0 : random_spread(1e-3, 0.5);
  plan->drains = random_spread(0.01, 0.5);
  plan->depth = 2 + random_below(3);
  draw_profile(plan);
}

bool plan_is_large(const struct plan *plan, double task)
{
  return plan_has(plan, TROUBLE_LARGE) && unit_of(hash_of(plan->seed + 1, (uint64_t)task)) < plan->large_share;
}

bool plan_prints(const struct plan *plan, double task)
{
  return plan_has(plan, TROUBLE_TEXT) && unit_of(hash_of(plan->seed + 2, (uint64_t)task)) < plan->text_share;
}

enum fate plan_fate(const struct plan *plan, double task, uint32_t attempt)
{
  double x = unit_of(hash_of(plan->seed + 3, (uint64_t)task));
  if (attempt > 1 && x * 64 - floor(x * 64) < 0.5) return FATE_RETURN; /* the other half fail each time */
  if (plan_has(plan, TROUBLE_CRASHES) && (x -= plan->crash_share) < 0) return FATE_CRASH;
  if (plan_has(plan, TROUBLE_HANGS) && (x -= plan->hang_share) < 0) return FATE_HANG;
  if (plan_has(plan, TROUBLE_ERRORS) && (x -= plan->error_share) < 0) return FATE_ERROR;
  return FATE_RETURN;
}

double plan_length(const struct plan *plan, double task, uint32_t attempt)
{
  static const double late = 0.12; /* half of those that are beyond the limit end about when that is seen */
  if (plan_fate(plan, task, attempt) == FATE_HANG) {
    double share = 2 * unit_of(hash_of(plan->seed + 10 + attempt, (uint64_t)task));
    return share < 1 ? plan->limit * (1 + late * share) : 2 * plan->limit + 1;
  }
  static const double rare = 0.03, rare_times = 30, broad_times = 1000;
  double x = unit_of(hash_of(plan->seed + 4 + attempt, (uint64_t)task)),
         most = plan_has(plan, TROUBLE_LIMIT) ? plan->limit / 2 : 5;
  switch (plan->lengths) {
  case LENGTHS_ZERO: return 0;
  case LENGTHS_SAME: return plan->length;
  case LENGTHS_EXPONENTIAL: return fmin(-log(1 - x) * plan->length, most);
  case LENGTHS_RARE: return fmin(x < rare ? plan->length * rare_times : plan->length / rare_times, most);
  case LENGTHS_HEAVY: return fmin(plan->length / 3 * (pow(1 - x, -1 / 1.5) - 1) * 1.5, fmin(most, 1000 * plan->length));
  case LENGTHS_BROAD: return plan->length / (1 - x * (1 - 1 / broad_times));
  case LENGTHS_KINDS: break;
  }
  return 0;
}

double plan_value(const struct plan *plan, double task, uint32_t attempt)
{
  return (double)(hash_of(plan->seed + 5 + attempt, (uint64_t)task) >> 20);
}

bool plan_is_kept(const struct plan *plan, double task, uint32_t attempt)
{
  return plan_fate(plan, task, attempt) == FATE_ERROR || unit_of(hash_of(plan->seed + 6, (uint64_t)task)) < 0.1;
}

void plan_print(const struct plan *plan, FILE *to)
{
  static const char *const kinds[] = {"lanes", "slots", "stack"}, *const engines[] = {"forked", "kept", "abandoned"};
  static const char *const lengths[] = {"none", "same", "exponential", "heavy-tailed", "rarely long"};
  fprintf(to, "  %s, engine %s, %u workers, %u tasks, lengths %s of %.3g s, chunk %g, troubles:", kinds[plan->kind],
          engines[plan->engine], (unsigned)plan->workers, (unsigned)plan->tasks, lengths[plan->lengths], plan->length,
          plan->chunk);
  if (plan->ranks)
    fprintf(to, " %u ranks, %u a host, fan-out %u;", (unsigned)plan->ranks, (unsigned)plan->ranks_a_host,
            (unsigned)plan->fan);
  if (plan->group) fprintf(to, " groups of %u are merged;", (unsigned)plan->group);
  for (int i = 0; i < TROUBLES; i++)
    if (plan_has(plan, (enum trouble)i)) fprintf(to, " %s", trouble_names[i]);
  fprintf(to, "%s\n", plan->troubles ? "" : " none");
}
