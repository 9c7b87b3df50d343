/* ffi.h - what the Lua side of every state, those of workers too, reaches by FFI beside the blocks (slot/block.h). Each
 * state parses what it declares, so what only some need stands in headers of its own, ffi_*.h. Plain C declarations
 * only: the text is also given to LuaJIT's ffi.cdef (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_H
#define PARLUA_FFI_H

double clock_seconds(void); /* sys/clock.h */

#endif
