/* ffi_script.h - what each run of the script reaches by FFI beside its events (run/event.h): no worker declares it but
 * where it comes to need it. Plain C declarations only: the text is also given to LuaJIT's ffi.cdef
 * (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_SCRIPT_H
#define PARLUA_FFI_SCRIPT_H

/* SIGUSR1 asks where a run is (sys/ask.h): the rest stands in ffi_ask.h. */
void ask_prepare(void);
void ask_run(int change);

/* What each does: sys/signals.h. */
int signals_count(void);
void signals_break(int is_on);
void signals_forget(void);
void signals_pause(int is_loop);
void signals_resume(int is_loop);

#endif
