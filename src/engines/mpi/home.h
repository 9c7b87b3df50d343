/* home.h - workers of this rank, whichever engine they belong to: forked by the rank's helper (../nursery.h), each on a
 * slot behind a descriptor. */
#ifndef PARLUA_MPI_HOME_H
#define PARLUA_MPI_HOME_H
#include "engines/engine.h"
#include "engines/nursery.h"

/* `nursery`: NULL in a rank without workers. */
void home_open(struct nursery *nursery, int rank);
/* Opens the hub of an engine. Returns 0 or an errno. */
int home_open_hub(struct engine *engine);
/* Finds a seat for worker `w` of the engine. Returns 0 or an errno. */
int home_take_seat(struct engine *engine, uint32_t w);
/* The engine is closed: gives its seats and descriptors back. */
void home_leave(struct engine *engine);
/* As in struct engine_kind. */
struct slot *home_map(struct engine *engine, uint32_t w, uint32_t id);
int home_start(struct engine *engine, uint32_t w);
int home_end(struct engine *engine, uint32_t w);
bool home_ended(struct engine *engine, uint32_t w, int *status);
/* Passes news of workers, and their ends, on to the engines that they belong to. `hub`: any engine's, or the agent's.
 * Returns true when there was some. */
bool home_progress(struct hub *hub);
/* An engine's own memory for a worker. */
enum { HOME_BYTES = 24 };
#endif
