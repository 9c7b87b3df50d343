/* decoder.h - the decoder's parts: decode.c (messages, tables), decode_function.c, decode_special.c (what only this
 * program's own messages have). All run inside of one protected call and raise errors. */
#ifndef PARLUA_CODEC_DECODER_H
#define PARLUA_CODEC_DECODER_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lua/codec.h"
#include "lua/codec/format.h"
#include "lua/codec/state.h"

struct decoder {
  lua_State *L;
  struct codec *codec;
  const unsigned char *bytes, *at, *end;
  size_t shared_base; /* where this message's list begins in codec->shared */
  size_t budget;      /* table slots that may still be made in advance: hints can't be trusted */
  struct book *book;  /* that is made of the message; or NULL */
  int pending;        /* bodies that were put off; three entries each in the table in PENDING_SLOT */
  int depth;
  unsigned flags;
};

/* Stack places in the protected function: the book or nil, the table of shared objects (nil until there is one),
 * objects whose bodies were put off (the same), the set of those that something was merged into (the same). */
enum { BOOK_SLOT = 1, SHARED_SLOT, PENDING_SLOT, TAKEN_SLOT };

/* Raises an error about the bytes. */
static inline void corrupt(struct decoder *decoder, const char *problem)
{
  luaL_error(decoder->L, "cannot decode: %s at byte %d of %d", problem, (int)(decoder->at - decoder->bytes),
             (int)(decoder->end - decoder->bytes));
}

/* Takes `size` bytes: returns where they begin. */
static inline const unsigned char *take(struct decoder *decoder, size_t size)
{
  const unsigned char *at = decoder->at;
  if ((size_t)(decoder->end - at) < size) corrupt(decoder, "the message is cut short");
  decoder->at = at + size;
  return at;
}

static inline unsigned take_byte(struct decoder *decoder)
{
  return *take(decoder, 1);
}

static inline uint32_t take_u32(struct decoder *decoder)
{
  uint32_t number;
  memcpy(&number, take(decoder, sizeof number), sizeof number);
  return number;
}

/* Checks that the decoder is not at the end and returns the tag there, without taking it. */
static inline unsigned peek(struct decoder *decoder)
{
  if (decoder->at == decoder->end) corrupt(decoder, "the message is cut short");
  return *decoder->at;
}

size_t take_varint(struct decoder *decoder);

/* Notes the object on the top as the one whose tag is at `tag`, and returns its place in the list. `upvalue`: a cell of
 * the function on the top. Only what is shared, or belongs to a book, is noted. */
size_t note(struct decoder *decoder, const unsigned char *tag, int upvalue);
/* Keeps a place in the list for the object whose tag is at `tag`: before those of what stands inside of it. */
size_t keep_place(struct decoder *decoder, const unsigned char *tag);
/* Puts the object on the top there. */
void fill_place(struct decoder *decoder, const unsigned char *tag, size_t place);
/* Notes in the book what the object at `index` holds. */
void decode_note_state(struct decoder *decoder, size_t place, int index);
/* Reads an offset and pushes the shared object there. */
struct shared push_shared(struct decoder *decoder);
/* Reads the name of an object of a book and pushes it. */
struct shared push_known(struct decoder *decoder);
/* Goes one level down: raises when that is too deep. */
void decode_enter(struct decoder *decoder);
/* The body of the object on the top comes at the end of its value. */
void decode_put_off(struct decoder *decoder, size_t place, bool merging);

/* Reads one value and pushes it. */
void decode_value(struct decoder *decoder);
/* Reads one value that takes the place of the one on the top, or is merged into it. */
void decode_onto(struct decoder *decoder);
/* Takes the object (or, as light userdata, the cell) at `index` to merge one of the message's into it. Returns false if
 * another was: what is one object here may be two for the sender by now. */
bool decode_take(struct decoder *decoder, int index);
/* A table whose tag was taken: the one on the top if it is `there`, else a new one. Merging: into what it holds. */
void decode_table(struct decoder *decoder, unsigned tag, bool there, bool merging);
/* A function whose tag was taken. Merging: the one on the top stays if it is of the same code. */
void decode_function(struct decoder *decoder, unsigned tag, bool merging);
void decode_function_body(struct decoder *decoder, int function, bool merging);
/* A number of the FFI: `type` names it to ctypes.lua. */
void decode_whole(struct decoder *decoder, const char *type, size_t size);
/* An array. */
void decode_array(struct decoder *decoder);
/* The environment of a function, whose tag was taken, and all that it holds. */
void decode_filled(struct decoder *decoder, bool merging);
/* Values that belong to this program, not to a file. */
void decode_special(struct decoder *decoder, unsigned tag);

#endif
