/* ffi_script.h - what each run of the script reaches by FFI beside its events (run/event.h): no worker declares it but
 * where it comes to need it. What only some runs need stands in ffi_journal.h and ffi_lines.h, as each state parses
 * what it declares. Plain C declarations only: the text is also given to LuaJIT's ffi.cdef
 * (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_SCRIPT_H
#define PARLUA_FFI_SCRIPT_H
#include <stddef.h>

/* SIGUSR1 asks where a run is; what each does: sys/ask.h. */
void ask_prepare(void);
void ask_run(int change);
int ask_taken(void);
int ask_answer(int asker, const char *text, size_t length);
int ask_wait(int asked, double seconds, char *answer, size_t room);

/* For serial runs; what each does: sys/signals.h. */
void signals_serial(int begin);
volatile double *signals_watch(volatile double *cell);
int signals_pending(void);
int signals_count(void);
void signals_break(int is_on);
void signals_again(int number);
void signals_forget(void);
void signals_pause(int is_loop);
void signals_resume(int is_loop);

#endif
