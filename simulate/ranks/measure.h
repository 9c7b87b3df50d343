/* measure.h - how well an MPI job of many ranks does, and what it costs rank 0. */
#ifndef SIMULATE_MEASURE_H
#define SIMULATE_MEASURE_H
#include <stdbool.h>

/* Measures what docs/MPI.md tells of, when the first argument is "measure". */
bool measure(int count, char **arguments);

#endif
