/* walk.h - the book for workers that are forked: see walk.c. */
#ifndef PARLUA_CODEC_WALK_H
#define PARLUA_CODEC_WALK_H

#include <lua.h>
#include <stdbool.h>

/* Adds to the book at stack index `book` what can be reached from the values in the list at `roots`, and from those of
 * its own objects that are in the list at `changed` (all absolute). `lasting`: the workers are to live as long as a
 * pool. Returns 0, or -1 with the error message pushed. */
int codec_walk(lua_State *L, int book, int roots, bool lasting, int changed);

#endif
