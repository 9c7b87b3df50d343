/* ffi_json.h - what JSON is written with by FFI: json.c. Plain C declarations only: the text is also given to LuaJIT's
 * ffi.cdef (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_JSON_H
#define PARLUA_FFI_JSON_H
#include <stddef.h>

/* Can the bytes stand in a string of JSON as they are: ASCII without control characters, quotes and backslashes? */
int parlua_json_is_plain(const char *text, size_t length);
/* Writes a number of few digits behind its point as "%.15g" does; at most 24 bytes. Returns how many; 0: it is none. */
int parlua_json_number(double number, char *to);

#endif
