/* walk.h - the book for workers that are forked: see walk.c. */
#ifndef PARLUA_CODEC_WALK_H
#define PARLUA_CODEC_WALK_H

#include <lua.h>
#include <stdbool.h>

/* Fills the book at stack index `book` with what can be reached from the values in the list at `roots` (both absolute).
 * `lasting`: the workers are to live as long as a pool. Returns 0, or -1 with the error message pushed. */
int codec_walk(lua_State *L, int book, int roots, bool lasting);

#endif
