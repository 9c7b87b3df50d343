/* engines.c - the table of engines: one line each. */
#include <stddef.h>
#include <string.h>

#include "engines/cluster.h"
#include "engines/engine.h"

extern const struct engine_kind engine_serial, engine_async, engine_threads, engine_process;

/* Where the program has no MPI (yet), what is known of the engine without opening its shared object. */
static const struct engine_kind mpi_outline = {.name = "mpi", .can = MPI_CAN};

const struct engine_kind *const *engine_kinds(void)
{
  static const struct engine_kind *const kinds[] = {&engine_serial,  &engine_async, &engine_threads,
                                                    &engine_process, &mpi_outline,  NULL};
  return kinds;
}

const struct engine_kind *engine_find(const char *name)
{
  for (const struct engine_kind *const *kind = engine_kinds(); *kind; kind++)
    if (strcmp((*kind)->name, name) == 0) return *kind == &mpi_outline ? cluster_engine() : *kind;
  return NULL;
}
