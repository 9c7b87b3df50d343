/* plan.h - a schedule: all that is drawn at random before it begins. */
#ifndef SIMULATE_PLAN_H
#define SIMULATE_PLAN_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum plan_kind { PLAN_LANES, PLAN_SLOTS, PLAN_STACK, PLAN_KINDS };
enum plan_engine { ENGINE_FORKED, ENGINE_KEPT, ENGINE_ABANDONED };
enum lengths {
  LENGTHS_ZERO,
  LENGTHS_SAME,
  LENGTHS_EXPONENTIAL,
  LENGTHS_HEAVY,
  LENGTHS_RARE,
  LENGTHS_KINDS, /* that are drawn; only measured: */
  LENGTHS_BROAD  /* from `length` to 1,000 times that: of twice the length there are half as many (Pareto) */
};

/* What may be left out to make a failing schedule simpler. */
enum trouble {
  TROUBLE_CRASHES,  /* tasks in which the worker dies, at each try or the first */
  TROUBLE_DEATHS,   /* workers that die at any point */
  TROUBLE_STARTS,   /* workers that die before they can run a task, or can't be started */
  TROUBLE_MASSACRE, /* all workers die at once */
  TROUBLE_HANGS,    /* tasks beyond the time limit */
  TROUBLE_LIMIT,    /* a time limit */
  TROUBLE_ERRORS,   /* tasks that fail, tried again */
  TROUBLE_BACKOFF,  /* after a while */
  TROUBLE_ABORTS,   /* single tasks are ended */
  TROUBLE_CANCEL,
  TROUBLE_SHORTEN,
  TROUBLE_CLOSE,   /* the run is closed in its midst */
  TROUBLE_CEILING, /* raised as results come */
  TROUBLE_SINK,    /* who takes the events is away for a while */
  TROUBLE_SUPPLY,  /* arguments are supplied, in pieces, late */
  TROUBLE_SKIPS,
  TROUBLE_MEMORY, /* allocations fail */
  TROUBLE_WAKES,  /* wake-ups are lost, slow, or come for nothing */
  TROUBLE_NO_BARRIER,
  TROUBLE_DISTANT, /* lanes answer late */
  TROUBLE_LARGE,   /* large results */
  TROUBLE_TEXT,
  TROUBLE_SPARSE,
  TROUBLE_RUNS,   /* several runs of the same engine */
  TROUBLE_RANKS,  /* ranks are lost (these two: ranks/schedule.c) */
  TROUBLE_STALLS, /* ranks get no processor for a while */
  TROUBLE_PUSH,   /* tasks are pushed one by one, and now and then nobody is there who could start workers */
  TROUBLES
};

struct plan {
  enum plan_kind kind;
  uint64_t seed;
  enum plan_engine engine;
  uint32_t troubles; /* bits */
  uint32_t workers, tasks, runs;
  enum lengths lengths;
  double length; /* seconds, on average */
  double chunk;  /* tasks; 0: measured */
  double limit;  /* seconds for a task; 0: none */
  double crash_share, hang_share, error_share, large_share, text_share;
  double death_rate; /* for each worker, a second */
  double step_death; /* probability for a worker that it dies at an access drawn at random */
  double start_death, start_failure;
  double massacre_at, cancel_at, shorten_at, close_at; /* seconds after the beginning */
  double abort_rate;                                   /* probability at each event */
  double sink_rate, sink_seconds;
  double supply_seconds;
  double memory_rate;
  uint64_t memory_at;
  uint32_t window; /* for the ceiling */
  uint32_t retries;
  double backoff;
  double lost, slow, spurious, tick, latency;
  uint32_t slice;
  double preempted, drains;
  uint32_t depth; /* works that a simulated lane wants */
  double reach;   /* seconds within which what is decided is known to all workers; 0: at once */
  /* Of an MPI job; else 0: */
  uint32_t ranks, ranks_a_host, fan; /* fan: children of a rank, at most */
  uint32_t group;               /* tasks are blocks of a reduction that merges groups of so many; 0: they are not */
  double loss_rate, stall_rate; /* for each rank, a second */
  double stall_seconds;
};

void plan_draw(struct plan *plan, enum plan_kind kind, uint64_t seed);
bool plan_has(const struct plan *plan, enum trouble trouble);
void plan_drop(struct plan *plan, enum trouble trouble);
/* Is the run cancelled by a signal? */
bool plan_is_interrupted(const struct plan *plan);
void plan_print(const struct plan *plan, FILE *to);

enum fate { FATE_RETURN, FATE_ERROR, FATE_CRASH, FATE_HANG };
/* What comes of a task at its try `attempt`. */
enum fate plan_fate(const struct plan *plan, double task, uint32_t attempt);
/* Seconds that it takes; of one that hangs or crashes: until it does, where that matters. */
double plan_length(const struct plan *plan, double task, uint32_t attempt);
/* Which result it gives. */
double plan_value(const struct plan *plan, double task, uint32_t attempt);
bool plan_is_large(const struct plan *plan, double task);
bool plan_prints(const struct plan *plan, double task);
/* Sparse runs: is something kept of it? */
bool plan_is_kept(const struct plan *plan, double task, uint32_t attempt);

#endif
