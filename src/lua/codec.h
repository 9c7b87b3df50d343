/*
 * codec: Lua values to bytes and back, from one lua_State to another.
 *
 * By content: nil, booleans, numbers, strings, tables (cycles, shared references, metatables, any depth), Lua functions
 * (upvalues, shared upvalue cells, the globals that they name, environments given by setfenv), data of the FFI,
 * string.buffer objects. By name, and looked up in the receiving state: the libraries and their functions,
 * io.stdin/stdout/stderr, _G, FFI namespaces and C functions; the script's modules by content where that is possible,
 * else required there. By reference: what both states have (codec/book.h). Nothing else crosses; the error names the
 * path to the culprit. The byte format is described in codec/format.h, the rules for functions and names at the top of
 * lua/parlua/wire/closure.lua.
 *
 * State is kept for each lua_State in its registry (made on first use), so states in different threads share nothing.
 */
#ifndef PARLUA_CODEC_H
#define PARLUA_CODEC_H

#include <lua.h>
#include <stddef.h>

#include "sys/buffer.h"

enum codec_flags {
  /* Plain data only: no functions, nothing by name. Decode: for bytes that come from a file. Encode: for bytes that go
     to one. */
  CODEC_NO_FUNCTIONS = 1,
  CODEC_PLAIN_BY_VALUE =
      2, /* encoding: a function that has neither upvalues nor globals may go by value though it has a name */
  CODEC_TO_WORKER = 4, /* encoding: modules of the script go with the state that they have */
  CODEC_POINTERS = 8,  /* encoding: the receiver has the same memory */
  CODEC_TRUST = 16,    /* encoding: nothing in the books of the chain has changed since they were made */
  CODEC_LIST = 32      /* decoding: the values of the message as one list */
};

/* The message of an item that was left out for its size (module.c: encode_items). */
#define CODEC_TOO_LARGE "too large"

/*
 * Appends the `count` consecutive stack values from `first` on to `out`, as one message (they share references).
 * `what` names them in an error ("result", "argument"). Returns 0, or -1 with out->length restored and the error
 * message pushed. Never raises, memory running out included. Needs 8 free stack slots (a C function starts with 20).
 */
int codec_encode(lua_State *L, int first, int count, const char *what, unsigned flags, struct buffer *out);
/* What a message ends with where it is, if that is large: bytes of the last value. */
struct codec_rest {
  const void *bytes; /* NULL: there are none */
  size_t length;
};
/* As codec_encode; but the message may go on with `rest`, which is not copied: it is to be used while the last value is
 * there. */
int codec_encode_open(lua_State *L, int first, int count, const char *what, unsigned flags, struct buffer *out,
                      struct codec_rest *rest);
/* As codec_encode; all objects of the message are put into the empty book at stack index `book` (0: none). */
int codec_encode_book(lua_State *L, int first, int count, const char *what, unsigned flags, int book,
                      struct buffer *out);

/* The same for the items of the list at `list`. One that can't cross is written as nil, and its error message put into
 * the table at `problems`, under its number. All are absolute stack indices. */
int codec_encode_items(lua_State *L, int list, const char *what, unsigned flags, int book, int problems,
                       struct buffer *out);

/*
 * Decodes one message of exactly `length` bytes. Pushes its values and returns how many, or returns -1 with the error
 * message pushed. Never raises; checks every bound. Needs 8 free stack slots besides those for the values, which it
 * makes. Functions with the standard environment set the globals that they name in this state.
 */
int codec_decode(lua_State *L, const void *bytes, size_t length, unsigned flags);
/* The same; all objects of the message are put into the empty book at stack index `book` (0: none). */
int codec_decode_book(lua_State *L, const void *bytes, size_t length, unsigned flags, int book);

/* Lua module `parlua.codec`: see codec/module.c. */
int luaopen_parlua_codec(lua_State *L);

#endif
