/* chunks.c - see chunks.h. */
#include "run/chunks.h"

#include <math.h>

/* A round trip of 10 to 50 us between sleeping sides is then at most some percent, and hidden by the queued chunk
 * anyway. */
static const double chunk_seconds = 1e-3;
/* Where nobody waits for one result: each time that a coordinator is woken takes the processor from some worker, with
 * what it finds cold in the cache. 10,000 calls of 0.2 ms had 91 to 94 % of two processors with chunks of 1 ms, and 95
 * to 97 % with these (bench/futures.lua). */
static const double patient_seconds = 8e-3;
/* What a chunk costs whoever hears of it in the end (docs/MPI.md), and the share of its time that all of them may. */
static const double chunk_cost = 4e-6, cost_share = 0.4;
/* A chunk is at most so many times as large as the last one that was measured. */
static const double most_growth = 16;
/* A chunk is at most 1 / (share * workers) of what is left. */
static const double share = 2;
/* The shortest of the last chunks counts so much more with each that follows. */
static const double regained = 1.02;
/* What was measured counts so much less with each measurement that follows. */
static const double remembered = 0.98;
/* The last chunk is believed as far as its tasks took this share of the average. By the average alone, a rank with
 * heavy-tailed tasks often runs out of short ones. */
static const double believed = 0.25;
static const double least_per_task = 1e-12, largest_chunk = 1 << 30;

double chunks_seconds(double workers)
{
  return fmax(chunk_seconds, workers * chunk_cost / cost_share);
}

double chunks_patient_seconds(double workers)
{
  return fmax(chunks_seconds(workers), patient_seconds);
}

void chunks_init(struct chunks *chunks, double fixed, double workers)
{
  *chunks = (struct chunks){.fixed = fixed, .size = fixed > 0 ? fixed : 1, .seconds = chunks_seconds(workers)};
}

void chunks_pace(struct chunks *chunks, double records, double workers, double all)
{
  double most = chunks_seconds(all), may = workers / most;
  if (records > may) chunks->seconds = fmin(2 * chunks->seconds, most);
  if (4 * records < may) chunks->seconds = fmax(chunks->seconds / 2, chunks_seconds(workers));
}

/* An octave has at least so many tasks. Those of the next take much longer where they take so many times as long; they
 * rise after so many of that kind, none shorter between them. (Of tasks of random length one octave often takes longer
 * than the one before, several in a row seldom do. Where the length is in proportion to the index, each takes 1.4 times
 * as long.) */
static const double octave_least = 32, much_longer = 1.3;
enum { RISES = 3 };

static void note_octave(struct chunks *chunks, double tasks, double seconds)
{
  chunks->octave_tasks += tasks;
  chunks->octave_spent += seconds;
  if (chunks->octave_tasks < octave_least || chunks->octave_spent < chunks->spent_before) return;
  double per_task = chunks->octave_spent / chunks->octave_tasks, before = chunks->per_task_before;
  if (before > 0 && per_task >= much_longer * before) chunks->rises++;
  if (per_task < before) chunks->rises = 0;
  chunks->per_task_before = per_task;
  chunks->spent_before += chunks->octave_spent;
  chunks->octave_tasks = chunks->octave_spent = 0;
}

bool chunks_rise(const struct chunks *chunks)
{
  return chunks->rises >= RISES;
}

void chunks_begin_anew(struct chunks *chunks)
{
  if (chunks->fixed <= 0) chunks->size = 1;
}

void chunks_note(struct chunks *chunks, double tasks, double per_task)
{
  note_octave(chunks, tasks, tasks * per_task);
  chunks->per_task = per_task;
  chunks->tasks = chunks->tasks * remembered + tasks;
  chunks->spent = chunks->spent * remembered + tasks * per_task;
}

double chunks_ahead(const struct chunks *chunks)
{
  return chunks->tasks > 0 ? fmax(chunks->per_task, believed * chunks->spent / chunks->tasks) : 0;
}

void chunks_measure(struct chunks *chunks, double tasks, double seconds)
{
  if (tasks < 1) return;
  chunks_note(chunks, tasks, seconds / tasks);
  chunks->shortest = chunks->shortest > 0 ? fmin(seconds, chunks->shortest * regained) : seconds;
  if (chunks->fixed > 0) return;
  double ideal = chunks->seconds / fmax(chunks_ahead(chunks), least_per_task);
  if (ideal > chunks->size && tasks < chunks->size) return; /* a short chunk says nothing of longer ones */
  chunks->size = fmax(floor(fmin(ideal, tasks * most_growth)), 1);
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
