/* ffi_ask.h - where a run is: who has asked for it, and asking for it; what each does: sys/ask.h. Plain C declarations
 * only: the text is also given to LuaJIT's ffi.cdef (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_ASK_H
#define PARLUA_FFI_ASK_H
#include <stddef.h>

int ask_taken(void);
int ask_answer(int asker, const char *text, size_t length);
int ask_wait(int asked, double seconds, char *answer, size_t room);

#endif
