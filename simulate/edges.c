/* edges.c - see edges.h. */
#include "edges.h"

#include <string.h>

#include "engines/engine.h"
#include "slot/mailbox.h"
#include "system.h"
#include "world.h"

static const double soon = 0.1; /* seconds */

static struct hub hub;
static struct slot *slot;
static struct worker worker;

static void nothing(void)
{
}

/* A new world with one worker and its slot. */
static void begin(void)
{
  world_begin(1);
  system_begin();
  system_faults = (struct system_faults){0};
  world.access = nothing;
  hub_open(&hub, 1);
  slot = slot_map(1);
  if (!slot) fault("there is no memory");
  slot_reset(slot);
  worker = (struct worker){.slot = slot, .bell = hub_bell(&hub, 0)};
}

static void end(void)
{
  world.access = NULL;
  slot_unmap(slot);
  hub_close(&hub);
}

/* ---- printed text ---- */

enum { RECORD_HEAD = 4, LENGTH = 1000 };

static void print(void *what)
{
  static const char text[LENGTH];
  (void)what;
  worker_print(&worker, 1, text, sizeof text);
}

/* Text of which all but `room` bytes of its ring are full waits where it does not fit, and only there: until what is
 * there is taken, or thrown away. */
static void check_text(uint32_t room, bool is_taken)
{
  static char taken[TEXT_BYTES];
  int stream;
  begin();
  uint32_t tail = slot->text_tail = TEXT_BYTES - room;
  fiber_start(print, NULL);
  world_run_until(world.now + soon);
  bool has_printed = slot->text_tail != tail, fits = room >= LENGTH + RECORD_HEAD;
  if (has_printed != fits)
    fault("%d bytes of text were %s where there is room for %u", LENGTH, has_printed ? "printed" : "held back",
          (unsigned)room);
  if (is_taken)
    slot_take_text(slot, taken, sizeof taken, &stream);
  else
    slot_drop_text(slot);
  world_run_until(world.now + soon);
  if (slot->text_tail != tail + LENGTH + RECORD_HEAD) fault("a worker waits for room to print, which it has");
  end();
}

/* ---- what programs have written ---- */

/* Of a stream longer than its ring, the end is kept to the byte. */
static void check_kept(uint64_t length)
{
  static char byte[1], taken[KEPT_BYTES + 2];
  uint64_t at = 0, count = 0, first = length > KEPT_BYTES ? length - KEPT_BYTES : 0;
  begin();
  for (uint64_t i = 0; i < length; i++) {
    *byte = (char)(i % 251);
    worker_keep(&worker, 1, byte, 1);
  }
  for (size_t n; (n = slot_kept(slot, KEPT_OUTPUT, &at, taken + count, sizeof taken - count)) > 0;) count += n;
  if (count != length - first) fault("%lu bytes are kept of %lu", (unsigned long)count, (unsigned long)length);
  for (uint64_t i = 0; i < count; i++)
    if (taken[i] != (char)((first + i) % 251)) fault("byte %lu of what is kept is another", (unsigned long)i);
  end();
}

/* ---- a worker that died as it rang ---- */

static int start_nothing(struct engine *engine, uint32_t w)
{
  (void)engine, (void)w;
  return 0;
}

static bool has_ended(struct engine *engine, uint32_t w, int *status)
{
  (void)engine, (void)w;
  *status = 0;
  return true;
}

/* Its bit was set, and not the summary's: the worker that follows is heard. */
static void check_successor(void)
{
  static const struct engine_kind kind = {.name = "none", .start = start_nothing, .ended = has_ended};
  enum { WORKERS = 200, DEAD = 130 };
  struct engine engine;
  uint32_t number = 0;
  begin();
  if (engine_open(&engine, &kind, WORKERS)) fault("there is no memory");
  engine.hub.beacon->ready[DEAD / 64] |= (uint64_t)1 << DEAD % 64;
  if (engine_start(&engine, DEAD)) fault("there is no memory");
  struct bell bell = hub_bell(&engine.hub, DEAD);
  bell_ring(&bell);
  if (!hub_next_ready(&engine.hub, &number) || number != DEAD)
    fault("a worker rings in vain, as the one before it died while it rang");
  engine_close(&engine);
  end();
}

void edges_check(void)
{
  for (uint32_t room = LENGTH - 1; room <= LENGTH + RECORD_HEAD + 1; room++) {
    check_text(room, false);
    check_text(room, true);
  }
  check_kept(KEPT_BYTES - 1);
  check_kept(KEPT_BYTES);
  check_kept(KEPT_BYTES + 1);
  check_kept(3 * KEPT_BYTES / 2);
  check_successor();
  world_begin(1);
}
