/* serial.c - tasks run in the coordinator's own state, by lua/parlua/drive/serial.lua; there is nothing to start. */
#include "engines/engine.h"

const struct engine_kind engine_serial = {
    .name = "serial",
    .can = {.inherit = true, .share_memory = true, .run_in_program = true},
};
