/* async.c - tasks are coroutines of the coordinator's own state, many at once: lua/parlua/drive/async.lua has them run
 * by cqueues. There is nothing to start. */
#include "engines/engine.h"

const struct engine_kind engine_async = {
    .name = "async",
    .can = {.inherit = true, .share_memory = true, .run_in_program = true, .end_waiting = true},
};
