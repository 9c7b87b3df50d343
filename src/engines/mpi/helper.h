/* helper.h - is a rank's helper (../nursery.h) still there? */
#ifndef PARLUA_MPI_HELPER_H
#define PARLUA_MPI_HELPER_H
#include "engines/nursery.h"

struct helper_watch {
  bool is_lost;
  double seen; /* when it was last looked at */
};

/* Is the helper of rank `rank` gone, whom somebody has killed? Its workers are killed with it, and nobody reports them.
 * Looked at now and then; true once, and told then. */
bool helper_is_lost(struct helper_watch *watch, struct nursery *nursery, int rank);
#endif
