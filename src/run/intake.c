/* intake.c - dispatch: tasks that the script has put into the intake (event.h) go to the queue. */
#include "run/dispatch.h"

#include "run/state.h"
#include "sys/clock.h"

enum {
  MOST_TOGETHER = 512, /* tasks that share a payload, which goes along with each chunk of them */
  SOME = 16,           /* tasks that are worth a visit when some worker has news, */
  MANY = 512           /* and when none has */
};

void dispatch_take_intake(struct dispatch *d)
{
  struct intake *intake = &d->intake;
  uint32_t count = __atomic_load_n(&intake->count, __ATOMIC_ACQUIRE);
  while (intake->taken < count) {
    uint32_t n = count - intake->taken < MOST_TOGETHER ? count - intake->taken : MOST_TOGETHER;
    double first = intake->first + intake->taken;
    struct payload *payload = payload_copy_tasks(d->intake_payload, first, n);
    struct work *work = payload ? work_new(&d->queue.store, first, first + n - 1, payload, 1) : NULL;
    payload_drop(&d->queue.store, payload);
    if (!work) {
      d->is_short = true; /* what could not be copied stays where it is */
      return;
    }
    __atomic_store_n(&intake->taken, intake->taken + n, __ATOMIC_RELAXED);
    queue_add_range(&d->queue, work);
  }
}

struct intake *dispatch_intake(struct dispatch *d, double first, uint64_t bytes)
{
  struct intake *intake = &d->intake;
  dispatch_take_intake(d);
  if (intake->taken < intake->count) return NULL;
  if (d->intake_payload && d->intake_payload->capacity < bytes) {
    payload_drop(&d->queue.store, d->intake_payload);
    d->intake_payload = NULL;
  }
  if (!d->intake_payload) d->intake_payload = payload_new(&d->queue.store, bytes);
  intake->block = NULL;
  if (!d->intake_payload) return NULL;
  struct block *block = &d->intake_payload->block;
  block->size = block->floor = d->intake_payload->capacity;
  block->origin = first;
  block->width = 0;
  intake->block = block;
  intake->first = first;
  intake->taken = 0;
  intake->news = d->engine->kind->can.reach_hosts ? NULL : d->engine->hub.beacon->summary;
  __atomic_store_n(&intake->count, 0, __ATOMIC_RELEASE);
  return intake;
}

double dispatch_last_pushed(const struct dispatch *d)
{
  return d->intake.block ? d->intake.first + __atomic_load_n(&d->intake.count, __ATOMIC_RELAXED) - 1 : 0;
}

/* For the script, on its way out: does a worker wait for something to do? */
void dispatch_note_hunger(struct dispatch *d)
{
  bool is_hungry = !list_is_empty(&d->idle) || !list_is_empty(&d->empty);
  __atomic_store_n(&d->intake.hungry, is_hungry, __ATOMIC_RELAXED);
}

void dispatch_rouse(struct dispatch *d)
{
  d->intake.left_at = clock_seconds();
  if (list_is_empty(&d->idle)) return;
  const struct lane *lane = LIST_OF(d->idle.next, const struct lane, place);
  if (lane->kind->is_rank) return;
  struct slot *slot = d->engine->slots[lane->number];
  if (!slot_is_asleep(slot)) return;
  hub_expect_wake(&d->engine->hub);
  slot_wake(slot);
}

void dispatch_hand_out(struct dispatch *d)
{
  struct event none;
  if (d->options.is_pushed) dispatch_feed(d, &none, clock_seconds());
  dispatch_note_hunger(d);
}

int intake_publish(struct intake *intake, uint32_t count)
{
  __atomic_store_n(&intake->count, count, __ATOMIC_RELEASE);
  uint32_t waiting = count - __atomic_load_n(&intake->taken, __ATOMIC_RELAXED);
  bool has_news = intake->news && __atomic_load_n(intake->news, __ATOMIC_RELAXED) != 0;
  if (waiting >= MANY || (waiting >= SOME && has_news)) return INTAKE_VISIT;
  return __atomic_load_n(&intake->hungry, __ATOMIC_RELAXED) ? INTAKE_HAND_OUT : INTAKE_NOTHING;
}
