/* chunks.h - how many tasks are handed out at once: so many that a chunk takes about a millisecond, by what was
 * measured; longer where there are so many workers that one process could not hear of all their chunks. */
#ifndef PARLUA_CHUNKS_H
#define PARLUA_CHUNKS_H
#include <stdbool.h>
#include <stdint.h>

struct chunks {
  double fixed;        /* tasks a chunk, as the caller wants it; 0: measured */
  double seconds;      /* that a chunk is to take */
  double size;         /* tasks a chunk */
  double per_task;     /* seconds a task, as last measured; 0: nothing is known */
  double shortest;     /* seconds of the shortest of the last chunks, about */
  double tasks, spent; /* tasks that were measured, and what they took: those of some time ago count less */
  /* Whether tasks take longer and longer is seen in octaves: each is of as much work as all before it. */
  double octave_tasks, octave_spent;    /* of the one that runs */
  double spent_before, per_task_before; /* by all octaves before it; a task of the last of them */
  uint32_t rises; /* octaves whose tasks took much longer than those of the one before, since some took less */
};

/* Seconds that a chunk is to take, where there are so many workers on all hosts. */
double chunks_seconds(double workers);
/* The same where nobody waits for one result in particular (dispatch_be_patient, is_gathered): results may come later,
 * and what a chunk's end costs is spent on more of them. */
double chunks_patient_seconds(double workers);
/* `fixed`: see there. */
void chunks_init(struct chunks *chunks, double fixed, double workers);
/* A chunk of so many tasks took so long. */
void chunks_measure(struct chunks *chunks, double tasks, double seconds);
/* Of `workers`, a part of `all`, so many records a second are passed on to whoever hears of all. Chunks take longer
 * where that is more than this part may cost, and less again where it is far less. */
void chunks_pace(struct chunks *chunks, double records, double workers, double all);
/* Tasks have ended that another dispatcher measured: each took so long. */
void chunks_note(struct chunks *chunks, double tasks, double per_task);
/* Seconds a task for the next chunk, and what is asked for in advance: those of the last chunk, unless the last ones
 * took far more on average, as one short task says little of many. 0: nothing is known. */
double chunks_ahead(const struct chunks *chunks);
/* Do tasks take the longer the later they are in their source, as far as was seen? */
bool chunks_rise(const struct chunks *chunks);
/* What follows are other tasks than those that were measured: the next chunk is of one. */
void chunks_begin_anew(struct chunks *chunks);
/* Tasks for the next chunk, where `left` are left (INFINITY: it is not known) for `workers`. */
double chunks_size(const struct chunks *chunks, double left, double workers);
/* Tasks of the next range for a lane with `width` of the `workers`, which wants at most `room`. */
double chunks_range(const struct chunks *chunks, double left, double workers, double width, double room);

#endif
