/* mapping.c - see mapping.h. */
#include "sys/mapping.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* One of a list that only grows: a handler may be walking along it, in any thread, and a fork may copy it at any
 * moment. So there is no lock, and entries are used again. */
struct mapping {
  struct mapping *next;
  atomic_bool used;
  atomic_uintptr_t begin; /* 0: not filled in */
  atomic_size_t length;
  atomic_size_t whole;
};

static _Atomic(struct mapping *) mappings;
static struct sigaction before; /* what SIGBUS did */
static _Atomic uintptr_t page_bytes;
volatile uint32_t mapping_cuts;
static _Thread_local struct mapping_loop *loops; /* the innermost */
static _Thread_local bool takes_no_signals;      /* it had SIGBUS blocked, as worker threads have all */

static struct mapping *find(uintptr_t address)
{
  for (struct mapping *mapping = atomic_load(&mappings); mapping; mapping = mapping->next) {
    uintptr_t begin = atomic_load(&mapping->begin);
    if (begin && address >= begin && address - begin < atomic_load(&mapping->length)) return mapping;
  }
  return NULL;
}

/* Puts zeros in place of all pages from that of `address` on. */
static bool fill_up(struct mapping *mapping, uintptr_t address)
{
  uintptr_t begin = atomic_load(&mapping->begin), page = address & ~(page_bytes - 1);
  size_t from = page - begin, whole = atomic_load(&mapping->whole);
  while (from < whole && !atomic_compare_exchange_weak(&mapping->whole, &whole, from)) continue;
  return mmap((void *)page, atomic_load(&mapping->length) - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
              -1, 0) != MAP_FAILED;
}

/* The signal is none of ours. One that an instruction has raised comes again when the handler returns. */
static void pass_on(int number, siginfo_t *info, void *context)
{
  if (takes_no_signals && info->si_code == SI_TKILL) return; /* sent to this very thread */
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(number, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  } else if (before.sa_handler == SIG_DFL || info->si_code > 0) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(number, &action, NULL);
    if (info->si_code <= 0) raise(number); /* sent by a program */
  }
}

/* Nobody else's write to the cell is lost: one that comes later stands, one that came before is kept. */
static void stop_loops(const struct mapping *mapping)
{
  double stop = -1, last;
  for (struct mapping_loop *loop = loops; loop; loop = loop->outer) {
    if (loop->mapping && loop->mapping != mapping) continue;
    __atomic_exchange((double *)loop->cell, &stop, &last, __ATOMIC_SEQ_CST);
    if (last != stop) loop->replaced = last;
  }
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
  struct mapping *mapping = info->si_code > 0 ? find((uintptr_t)info->si_addr) : NULL;
  if (!mapping || !fill_up(mapping, (uintptr_t)info->si_addr)) {
    pass_on(number, info, context);
    return;
  }
  __atomic_fetch_add(&mapping_cuts, 1, __ATOMIC_SEQ_CST);
  stop_loops(mapping);
}

/* Sets the handler where it does not stand (any more). */
static void set_handler(void)
{
  struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK}, now;
  page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
  if (sigaction(SIGBUS, NULL, &now) < 0) return;
  if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_bus_error) return;
  before = now;
  sigaction(SIGBUS, &action, NULL);
}

/* Where it is blocked, reading what is not there ends the process. */
static void unblock(void)
{
  sigset_t set, was;
  sigemptyset(&set);
  sigaddset(&set, SIGBUS);
  if (pthread_sigmask(SIG_UNBLOCK, &set, &was) == 0 && sigismember(&was, SIGBUS)) takes_no_signals = true;
}

void mapping_prepare(void)
{
  set_handler();
  unblock();
}

/* A free entry, or a new one. */
static struct mapping *take_entry(void)
{
  struct mapping *mapping = atomic_load(&mappings);
  for (; mapping; mapping = mapping->next) {
    bool used = false;
    if (atomic_compare_exchange_strong(&mapping->used, &used, true)) return mapping;
  }
  mapping = calloc(1, sizeof *mapping);
  if (!mapping) return NULL;
  atomic_store(&mapping->used, true);
  mapping->next = atomic_load(&mappings);
  while (!atomic_compare_exchange_weak(&mappings, &mapping->next, mapping)) continue;
  return mapping;
}

struct mapping *mapping_watch(const void *bytes, size_t length)
{
  struct mapping *mapping = take_entry();
  if (!mapping) return NULL;
  mapping_prepare();
  atomic_store(&mapping->length,
               (length + page_bytes - 1) & ~(page_bytes - 1)); /* fast searches read to the end of a page */
  atomic_store(&mapping->whole, length);
  atomic_store(&mapping->begin, (uintptr_t)bytes);
  return mapping;
}

void mapping_forget(struct mapping *mapping)
{
  if (!mapping) return;
  atomic_store(&mapping->begin, 0);
  atomic_store(&mapping->used, false);
}

size_t mapping_whole(const struct mapping *mapping)
{
  return atomic_load(&mapping->whole);
}

void mapping_enter(struct mapping_loop *loop)
{
  loop->replaced = INFINITY;
  loop->outer = loops;
  loops = loop;
}

void mapping_leave(struct mapping_loop *loop)
{
  loops = loop->outer;
}
