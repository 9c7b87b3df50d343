/* measure.h - how well an MPI job of many ranks does, and what it costs rank 0. */
#ifndef SIMULATE_MEASURE_H
#define SIMULATE_MEASURE_H
#include <stdbool.h>

/* Measures what docs/MPI.md tells of, when the first argument is "measure". Behind it may stand the number of a row; or
 * a row: ranks, workers of each, tasks for each of these, their mean in ms, or the shortest's and "broad". */
bool measure(int count, char **arguments);

#endif
