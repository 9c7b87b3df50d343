/*
 * encoder.h - the encoder's parts: encode.c (messages, tables), refer.c (what is written only once, or known already,
 * or refused), encode_function.c, encode_data.c (C data and userdata). All run inside of one protected call and raise
 * errors.
 */
#ifndef PARLUA_CODEC_ENCODER_H
#define PARLUA_CODEC_ENCODER_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lua/codec.h"
#include "lua/codec/format.h"
#include "lua/codec/state.h"
#include "lua/codec/write.h"

/* In the map of objects: the object's record was taken back. */
#define TAKEN_BACK SIZE_MAX

/* A body that was put off; its object and the module that it belongs to are in TOOL_PENDING, at 2k + 1 and 2k + 2. */
struct pending {
  size_t hints; /* a table's: where they are in the buffer */
  size_t entry; /* its place in the book's list */
  bool merging;
};

/* An item of a list that takes more bytes is left out: what a script has in its modules and globals is sent without
 * being asked for, and a script that keeps its data there would send them all with every call. */
enum { MOST_ITEM_BYTES = 1 << 20 };

struct encoder {
  lua_State *L;
  struct codec *codec;
  struct buffer *out;
  struct map *objects;
  struct map own; /* used when codec->objects is busy: encode called by code that encode called */
  struct book *book;
  struct codec_rest *rest; /* NULL: all is to be copied */
  struct pending *pending;
  size_t pending_base; /* places in TOOL_PENDING that messages have in whose midst this one is encoded */
  size_t pending_count, pending_capacity;
  const char *what;
  size_t start; /* offset of the message in the buffer */
  size_t most;  /* offset that the present item of a list may reach; 0: any */
  int number, count;
  int depth;
  unsigned flags;
  bool names_checked; /* by-name map compared with package.loaded for this message */
  bool restart;       /* what was found out since the beginning changes the message: do it again */
  bool out_of_memory;
  bool merging;                                        /* inside of a module that is required in the receiving state */
  bool anchored;                                       /* TOOL_ANCHORS is in use */
  enum { WORK_VALUE, WORK_PENDING, WORK_FINISH } work; /* what encode_protected is to do */
};

/* Stack places in the protected function: the value (or nil), the book or nil, the book's objects. */
enum { VALUE_SLOT = 1, BOOK_SLOT, BOOK_OBJECTS };

/* One step of the way from the message's value to the value at hand, for errors. */
struct place {
  const struct place *outer;
  enum { IN_FIELD, IN_KEY, IN_METATABLE, IN_UPVALUE, IN_GLOBAL, IN_MODULE } kind;
  int slot;     /* stack index of the key or the name; for an upvalue its number */
  int function; /* stack index of the function for IN_UPVALUE and IN_GLOBAL, of the table for IN_FIELD */
  int owner;    /* stack index of the module that what lies further down belongs to; 0: the same as further up */
};

/* Raises the error if `failed` (the result of a put_ function) says that memory is out. */
static inline void check(struct encoder *encoder, int failed)
{
  if (failed != 0) {
    lua_pushliteral(encoder->L, "not enough memory to encode a value");
    lua_error(encoder->L);
  }
}

/* ---- encode.c: what is not copied ---- */

/* Notes that the message ends with these bytes. False: they are to be written like others. */
bool leave_rest(struct codec_rest *rest, const void *bytes, size_t length);

/* ---- refer.c ---- */

/* Begins the message again. Does not return. */
void restart(struct encoder *encoder);
/*
 * Looks an object up among those in the message. If it is there, writes a reference to it (and marks it as shared) and
 * returns true. If not, notes that its record begins here and returns false. The object is the one at stack `index`, or
 * its upvalue.
 */
bool put_reference(struct encoder *encoder, const void *object, int index, int upvalue);
/*
 * Keeps the value on the top alive up to the end of the message: one that was made for the message has no other owner,
 * and its address must not become that of another object in it.
 */
void anchor(struct encoder *encoder);
/*
 * Writes a reference to an object that is in a book of the chain. From a worker, a class and a module stand for
 * themselves, whatever has been done to them there; anything else only if it holds what it held when the book was made.
 * Returns whether it was written.
 */
bool put_known(struct encoder *encoder, int index, const struct place *place);
/* Writes that the object is meant which begins at `offset` of the message. */
void put_again(struct encoder *encoder, size_t offset);
/* Writes that an object of a book is meant. `in_chain`: which book, from 0. */
void put_in_book(struct encoder *encoder, int in_chain, const struct shared *entry);
/* The entry of an object (or a cell) that a worker has as it is here: in a book of which nothing can have changed since
 * it was made, and whole. NULL: there is none. */
const struct shared *find_fresh(struct encoder *encoder, const void *object, int *in_chain);
/* Writes that what the receiver has is to stay, whatever it is. */
void put_kept(struct encoder *encoder);
/* Raises `cannot send <path>: <what it is>`, or with the reason given instead of what it is. */
void complain(struct encoder *encoder, int index, const struct place *place, const char *reason);
/*
 * The value at `index` can't be written. Inside of a module that the receiver requires, what is there stays: says so,
 * and returns. Inside of a module that was to cross by content: begins the message again, with the module by name. Else
 * raises the error.
 */
void refuse(struct encoder *encoder, int index, const struct place *place, const char *reason);

/* Makes sure, once in a message, that names are known. Called when the first function or userdata is met. */
void check_names(struct encoder *encoder);
/* The place of an object in TOOL_NAME_LIST, or 0, and what kind of thing has the name. */
int name_of(struct encoder *encoder, int index, enum name_kind *kind);
/* Writes the module's name (and the field) of a place in TOOL_NAME_LIST. */
void put_name(struct encoder *encoder, int name, bool with_field);
void encode_by_name(struct encoder *encoder, int index, int name, const struct place *place);
/* Pushes the value of the module that a place in TOOL_NAME_LIST names. */
void push_module(struct encoder *encoder, int name);
/* Is the object at `index` in one of the weak sets of what can't cross by content? */
bool is_in_set(struct encoder *encoder, enum tool set, int index);
/* Is the value on the top what every state has under the global name at `name` anyway? */
bool is_standard(struct encoder *encoder, int name);

/* ---- encode.c ---- */

void encode_value(struct encoder *encoder, int index, const struct place *place);
void encode_string(struct encoder *encoder, int index);
/* Goes one level down. Returns false when that is too deep: then the body of what is written is to be put off. */
bool enter(struct encoder *encoder);
/* Puts off the body of the object at `index`. */
void put_off(struct encoder *encoder, int index, size_t hints, const struct place *place);
/* Notes in the book what the object at `index` holds. */
void note_state(struct encoder *encoder, size_t entry, int index);
/* Writes the value of a module that is not known yet: by content; or, when that was found to be impossible, its name
 * and its parts.
 */
void encode_module(struct encoder *encoder, int index, int name, const struct place *outer);

/* ---- encode_function.c, encode_data.c ---- */

void encode_function(struct encoder *encoder, int function, const struct place *outer);
/* Writes the record of a Lua function that was just noted. */
void encode_lua_function(struct encoder *encoder, int function, const struct place *place);
/* Writes globals and upvalues. */
void encode_function_body(struct encoder *encoder, int function, const struct place *place);
void encode_cdata(struct encoder *encoder, int index, const struct place *place);
void encode_userdata(struct encoder *encoder, int index, int type, const struct place *place);

#endif
