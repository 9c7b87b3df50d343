/* queues.c - see queues.h. */
#include "queues.h"

#include <math.h>

#include "run/chunks.h"
#include "world.h"

enum { LOSSES = 1 };

void expect_number(const char *what, double got, double wanted)
{
  if (got != wanted) fault("%s: %g, not %g", what, got, wanted);
}

/* The work has these tasks, none of which was done, and its try's number. It is given back to the store. */
static void expect(const char *what, struct queue *queue, struct work *work, double first, double last)
{
  if (!work) fault("%s: there is no work; it should have tasks %g to %g", what, first, last);
  if (work->first != first || work->last != last || work->bound != last || work->reached != first - 1)
    fault("%s: tasks %g to %g (bound %g, reached %g), not %g to %g", what, work->first, work->last, work->bound,
          work->reached, first, last);
  expect_number("its try", work->attempt, ATTEMPT);
  expect_number("ranks lost in it", work->losses, LOSSES);
  work_free(&queue->store, work);
}

/* A queue whose only tasks are a range first..last. */
static void begin(struct queue *queue, double first, double last)
{
  queue_init(queue, INFINITY);
  queue->is_fed = true;
  struct work *work = work_new(&queue->store, first, last, NULL, ATTEMPT);
  if (!work) fault("there is no memory");
  work->losses = LOSSES;
  queue_add_range(queue, work);
}

void reserve(struct queue *queue, int count)
{
  while (count-- > 0)
    if (!work_reserve(&queue->store, 1)) fault("there is no memory");
}

/* Nothing is left, and nothing stands ready for what is over. */
static void end(const char *what, struct queue *queue)
{
  expect_number(what, queue->ranged, 0);
  if (queue_has_range(queue)) fault("%s: a range is left", what);
  expect_number("reserves that are left", queue->store.reserved, 0);
  queue_free(queue);
}

static void check_handing_out(void)
{
  struct queue queue;
  begin(&queue, 11, 20);
  expect_number("where ranks were lost, tasks go out one at a time", queue_room(&queue, 100), 1);
  expect("the first tasks of a range", &queue, queue_take_new(&queue, 4, NULL), 11, 14);
  expect_number("left of the range", queue_left(&queue), 6);
  expect("all but one", &queue, queue_take_new(&queue, 5, NULL), 15, 19);
  expect("the last", &queue, queue_take_new(&queue, 1, NULL), 20, 20);
  end("a range that was handed out", &queue);
}

static void check_giving_back(void)
{
  struct queue queue;
  begin(&queue, 11, 30);
  reserve(&queue, 4);
  expect("what is given back lies at the end", &queue, queue_take_back(&queue, 4, 1), 27, 30);
  expect("in whole units", &queue, queue_take_back(&queue, 4, 3), 21, 26);
  expect_number("left of the range", queue_left(&queue), 10);
  expect("all but one", &queue, queue_take_back(&queue, 9, 1), 12, 20);
  expect("no more than there is", &queue, queue_take_back(&queue, 9, 1), 11, 11);
  if (queue_take_back(&queue, 1, 1)) fault("a queue without tasks gave some back");
  end("a range that was given back", &queue);
}

static void check_single_tasks(void)
{
  struct queue queue;
  static const double order[] = {5, 1, 9, 4, 6, 2, 3, 8, 7};
  begin(&queue, 1, 9);
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    reserve(&queue, 2);
    expect("a single task", &queue, queue_take_task(&queue, order[i]), order[i], order[i]);
    reserve(&queue, 2);
    if (queue_take_task(&queue, order[i])) fault("task %g was taken twice", order[i]);
  }
  end("single tasks", &queue);
}

static void check_shortening(void)
{
  struct queue queue;
  begin(&queue, 1, 9);
  queue_shorten(&queue, 6);
  expect_number("left of what was shortened", queue_left(&queue), 6);
  expect("what was shortened", &queue, queue_take_new(&queue, 6, NULL), 1, 6);
  end("what was shortened", &queue);
}

/* Ranges that stand side by side become one, unless ranks were lost in one of them alone: its tasks go out one at a
 * time. */
static void check_joining(void)
{
  struct queue queue;
  begin(&queue, 11, 20);
  queue.is_fed = false; /* where ranges come from a parent, which knows them apart, none are joined */
  struct work *beside = work_new(&queue.store, 21, 25, NULL, ATTEMPT),
              *lost = work_new(&queue.store, 26, 30, NULL, ATTEMPT);
  if (!beside || !lost) fault("there is no memory");
  lost->losses = LOSSES;
  queue_add_range(&queue, beside);
  queue_add_range(&queue, lost);
  expect_number("tasks of three ranges", queue.ranged, 20);
  reserve(&queue, 2);
  expect("a range in which a rank was lost", &queue, queue_take_back(&queue, 10, 1), 26, 30);
  struct work *work = queue_take_back(&queue, 10, 1);
  expect_number("ranks lost in the range beside it", work->losses, 0);
  expect_number("the first of that", work->first, 21);
  work_free(&queue.store, work);
  expect("the first range", &queue, queue_take_new(&queue, 10, NULL), 11, 20);
  end("ranges side by side", &queue);
}

/* Ranges of a source: skipped tasks, ceilings, joined ranges. */
static void check_new_tasks(void)
{
  struct queue queue;
  queue_init(&queue, 100);
  queue.ceiling = 10;
  expect_number("up to the ceiling", queue_room(&queue, 50), 10);
  if (queue_skip(&queue, 4, 6)) fault("there is no memory");
  expect_number("up to what is skipped", queue_room(&queue, 50), 3);
  struct work *work = queue_take_new(&queue, 3, NULL);
  work->attempt = ATTEMPT;
  work->losses = LOSSES;
  expect("before what is skipped", &queue, work, 1, 3);
  expect_number("the next is behind it", queue.next, 7);
  for (int i = 0; i < 4; i++) { /* 1 to 2, 5 to 6, then 3 to 4 and 7 to 8, which join the last */
    static const double first[] = {1, 5, 3, 7};
    struct work *range = work_new(&queue.store, first[i], first[i] + 1, NULL, ATTEMPT);
    if (!range) fault("there is no memory");
    range->losses = LOSSES;
    queue_add_range(&queue, range);
  }
  expect("a range that stands alone", &queue, queue_take_new(&queue, 2, NULL), 1, 2);
  expect("three that were joined", &queue, queue_take_new(&queue, 6, NULL), 3, 8);
  end("joined ranges", &queue);
}

/* From the end on: what was handed out there comes back though nothing behind the rest is new any more. */
static void check_turned(void)
{
  struct queue queue;
  queue_init(&queue, INFINITY);
  struct work *work = queue_take_new(&queue, 3, NULL);
  if (!work) fault("there is no memory");
  work_free(&queue.store, work);
  queue_turn(&queue, 3);
  if (queue.is_turned) fault("a queue turns that has nothing new");
  queue.ceiling = 5;
  queue_turn(&queue, 10);
  if (queue.is_turned) fault("a queue turns below its ceiling");
  queue.ceiling = INFINITY;
  if (queue_skip(&queue, 7, 8)) fault("there is no memory");
  queue_turn(&queue, 10);
  if (queue.is_turned) fault("a queue turns that has tasks to skip");
  queue.skips_at = queue.skips_count;
  queue_turn(&queue, 10);
  expect_number("left of a queue that has turned", queue_left(&queue), 7);
  expect_number("the first of two at its end", queue_first_new(&queue, 2), 9);
  struct work *last = queue_take_new(&queue, 2, NULL);
  if (!last) fault("there is no memory");
  last->attempt = ATTEMPT;
  last->losses = LOSSES;
  queue_put_back(&queue, last, false);
  expect("tasks behind what is new", &queue, queue_take_again(&queue, 0), 9, 10);
  expect_number("up to the tasks before", queue_room(&queue, 100), 5);
  work = queue_take_new(&queue, 5, NULL);
  if (!work) fault("there is no memory");
  expect_number("the first of the rest", work->first, 4);
  work_free(&queue.store, work);
  if (!queue_is_empty(&queue) || queue_has_work(&queue, 0)) fault("a queue that has turned has no end");
  queue_exhausted(&queue);
  expect_number("tasks of a source that has given all", queue.total, 10);
  end("a queue that has turned", &queue);
}

/* A queue is not empty as long as there is a task behind its ceiling. */
static void check_last_new_task(void)
{
  struct queue queue;
  queue_init(&queue, 2);
  queue.ceiling = 1;
  for (int task = 1; task <= 2; task++) {
    struct work *work = queue_take_new(&queue, 1, NULL);
    if (!work) fault("there is no memory");
    expect_number("a new task", work->last, task);
    work_free(&queue.store, work);
    expect_number("is something left to be handed out?", !queue_is_empty(&queue), task < 2);
    if (queue_has_work(&queue, 0)) fault("there is something to hand out behind the ceiling, or the last task");
    queue.ceiling = 2;
  }
  end("new tasks", &queue);
}

/* The task that was cancelled is in one of the two parts of a work: that part knows it. */
static void check_splitting(void)
{
  enum { LAST = 4 };
  struct queue queue;
  queue_init(&queue, LAST);
  for (double first = 2; first <= LAST; first++)
    for (double task = 1; task <= LAST; task++) {
      struct work *work = work_new(&queue.store, 1, LAST, NULL, ATTEMPT);
      reserve(&queue, 1);
      if (!work) fault("there is no memory");
      work->aborted = task;
      struct work *rest = work_split(&queue.store, work, first);
      expect_number("cancelled of what is left of a work", work->aborted, task < first ? task : 0);
      expect_number("cancelled of what was cut off", rest->aborted, task < first ? 0 : task);
      work_free(&queue.store, work);
      work_free(&queue.store, rest);
    }
  queue_free(&queue);
}

/* Tasks that take longer and longer are told from others after some octaves. */
static void check_rising(void)
{
  enum { TASKS = 1000 };
  static const double powers[] = {2, 1, 0, -1};
  for (size_t i = 0; i < sizeof powers / sizeof *powers; i++) {
    struct chunks chunks;
    int task = 0;
    chunks_init(&chunks, 0, 1);
    while (++task <= TASKS && !chunks_rise(&chunks)) chunks_measure(&chunks, 1, 1e-6 * pow(task, powers[i]));
    if (powers[i] > 0 && task > TASKS / 4) fault("tasks that take longer and longer are not told from others");
    if (powers[i] <= 0 && task <= TASKS) fault("tasks are said to take longer and longer");
    chunks_begin_anew(&chunks);
    expect_number("the first chunk of other tasks", chunks_size(&chunks, INFINITY, 1), 1);
  }
}

static void check_chunks(void)
{
  struct chunks chunks;
  chunks_init(&chunks, 0, 4);
  expect_number("the first chunk", chunks_size(&chunks, 1000, 4), 1);
  chunks_measure(&chunks, 1, 1e-5);
  expect_number("a chunk grows by 16", chunks_size(&chunks, INFINITY, 4), 16);
  chunks_measure(&chunks, 16, 16e-5);
  expect_number("up to a millisecond", chunks_size(&chunks, INFINITY, 4), 100);
  chunks_measure(&chunks, 2, 2e-7);
  expect_number("what is shorter says nothing of longer ones", chunks_size(&chunks, INFINITY, 4), 100);
  expect_number("a half of a worker's share at the most", chunks_size(&chunks, 400, 4), 50);
  expect_number("at least one", chunks_size(&chunks, 1, 4), 1);
  chunks_init(&chunks, 0, 4);
  for (int n = 0; n < 100; n++) chunks_measure(&chunks, 1, 1e-3);
  chunks_measure(&chunks, 1, 1e-5);
  expect_number("one short task says little of many", chunks_size(&chunks, INFINITY, 4), 4);
  expect_number("a range has as much for each worker", chunks_range(&chunks, 400, 8, 4, 1000), 100);
  expect_number("no more than there is room for", chunks_range(&chunks, 400, 8, 4, 30), 30);
  chunks_init(&chunks, 0, 100);
  chunks_pace(&chunks, 1e6, 100, 400);
  expect_number("chunks take longer where too many are heard of (us)", round(chunks.seconds * 1e6), 2000);
  chunks_pace(&chunks, 1e6, 100, 400);
  chunks_pace(&chunks, 1e6, 100, 400);
  expect_number("up to what all may cost (us)", round(chunks.seconds * 1e6), 4000);
  chunks_pace(&chunks, 10e3, 100, 400);
  expect_number("as long where that is about as many as may be (us)", round(chunks.seconds * 1e6), 4000);
  for (int i = 0; i < 3; i++) chunks_pace(&chunks, 10, 100, 400);
  expect_number("and as short as before where few are heard of (us)", round(chunks.seconds * 1e6), 1000);
  check_rising();
  chunks_init(&chunks, 7, 4);
  expect_number("a chunk that was asked for", chunks_size(&chunks, 9, 4), 7);
  expect_number("a range is a multiple of it", chunks_range(&chunks, INFINITY, 8, 4, 30), 28);
}

void queues_check(void)
{
  check_handing_out();
  check_giving_back();
  check_single_tasks();
  check_shortening();
  check_joining();
  check_new_tasks();
  check_last_new_task();
  check_turned();
  check_splitting();
  check_chunks();
}
