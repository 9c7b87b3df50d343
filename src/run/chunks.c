/* chunks.c - see chunks.h. */
#include "run/chunks.h"

#include <math.h>

/* A round trip of 10 to 50 us between sleeping sides is then at most some percent, and hidden by the queued chunk
 * anyway. */
static const double chunk_seconds = 1e-3;
/* What a chunk costs whoever hears of it in the end (docs/MPI.md), and the share of its time that all of them may. */
static const double chunk_cost = 4e-6, cost_share = 0.4;
/* A chunk is at most so many times as large as the last one that was measured. */
static const double most_growth = 16;
/* A chunk is at most 1 / (share * workers) of what is left. */
static const double share = 2;
/* What was measured counts so much less with each measurement that follows. So many tasks a worker say what is usual.
 */
static const double remembered = 0.98, many_each = 3;
static const double least_per_task = 1e-12, largest_chunk = 1 << 30;

double chunks_seconds(double workers)
{
  return fmax(chunk_seconds, workers * chunk_cost / cost_share);
}

void chunks_init(struct chunks *chunks, double fixed, double workers)
{
  *chunks = (struct chunks){.fixed = fixed, .size = fixed > 0 ? fixed : 1, .seconds = chunks_seconds(workers)};
}

static void remember(struct chunks *chunks, double tasks, double seconds)
{
  chunks->tasks = chunks->tasks * remembered + tasks;
  chunks->spent = chunks->spent * remembered + seconds;
}

void chunks_measure(struct chunks *chunks, double tasks, double seconds)
{
  if (tasks < 1) return;
  remember(chunks, tasks, seconds);
  chunks->shortest = chunks->shortest > 0 ? fmin(seconds, chunks->shortest / remembered) : seconds;
  chunks->per_task = seconds / tasks;
  if (chunks->fixed > 0) return;
  double ideal = chunks->seconds / fmax(chunks->per_task, least_per_task);
  if (ideal > chunks->size && tasks < chunks->size) return; /* a short chunk says nothing of longer ones */
  chunks->size = fmax(floor(fmin(ideal, tasks * most_growth)), 1);
}

void chunks_note(struct chunks *chunks, double tasks, double per_task)
{
  chunks->ended += tasks;
  if (per_task <= 0 || tasks < 1) return;
  chunks->per_task = per_task;
  remember(chunks, tasks, tasks * per_task);
}

double chunks_usual(const struct chunks *chunks, double seconds, double workers)
{
  double usual = chunks->tasks > 0 ? chunks->spent / chunks->tasks : chunks->per_task;
  if (chunks->ended <= 0 || chunks->ended >= many_each * workers) return usual;
  return fmax(usual, seconds * workers / chunks->ended);
}

double chunks_size(const struct chunks *chunks, double left, double workers)
{
  double size = chunks->size;
  if (chunks->fixed <= 0 && isfinite(left)) size = fmin(size, ceil(left / (share * workers)));
  return fmin(size, largest_chunk);
}

double chunks_range(const struct chunks *chunks, double left, double workers, double width, double room)
{
  double size = fmin(room, largest_chunk), unit = chunks->fixed > 0 ? chunks->fixed : 1;
  if (isfinite(left)) size = fmin(size, ceil(left / (share * workers)) * width);
  return fmax(floor(size / unit), 1) * unit;
}
