/* rows.h - rows of a journal that an agent prepares of the results of its workers, so that rank 0 only has to append
 * them (journal_append). They are made in a Lua state of the agent's own (lua/parlua/drive/rows.lua), by the same code
 * as in rank 0. It reads plain data only: no user code runs in an agent. Results that it can't read go without rows,
 * and rank 0 makes these. */
#ifndef PARLUA_ROWS_H
#define PARLUA_ROWS_H
#include "engines/cluster.h"

extern const struct row_maker lua_row_maker;

#endif
