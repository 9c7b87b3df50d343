/* ffi_serial.h - signals in runs whose tasks run in the script's own state; what each does: sys/signals.h. Plain C
 * declarations only: the text is also given to LuaJIT's ffi.cdef (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_SERIAL_H
#define PARLUA_FFI_SERIAL_H

void signals_serial(int begin);
volatile double *signals_watch(volatile double *cell);
int signals_pending(void);
void signals_again(int number);

#endif
