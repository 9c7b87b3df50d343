/*
 * book.h - books: the objects that two states both have. A book is made of a message (a job, say) on both sides: by the
 * encoder, of the objects that it wrote, and by the decoder, of those that it read, under their offsets in the message.
 * For workers that are forked the script makes it beforehand, of what it finds, and they inherit it. From then on
 * either side names these objects by book and offset. A book holds its objects; it is dropped with the job.
 *
 * A chain is a list of books (parlua.codec.context in Lua): what the messages that are encoded and decoded next may
 * refer to.
 */
#ifndef PARLUA_CODEC_BOOK_H
#define PARLUA_CODEC_BOOK_H

#include <lua.h>
#include <stdbool.h>

#include "lua/codec/map.h"

/* An object; it is in the book's table, at `index`. */
struct shared {
  size_t offset;
  int index;
  int upvalue;        /* for a cell: which upvalue of the function at `index` it is; 0 for anything else */
  uint64_t state;     /* what the object held when the book was made (see state.h); 0: not known */
  bool is_incomplete; /* encoder: it could not be sent, or a cell's value could not: the receiver has what it has there,
                         or nil */
};

/*
 * A Lua userdata; its environment is the table of objects. The memory of `map` and `list` is Lua's too, held in that
 * table: a book needs no finalizer, so it stays whole when a stream that is collected together with it gives its
 * workers back for the next call.
 */
struct book {
  struct map map; /* address of an object -> its offset */
  struct shared *list;
  size_t count, capacity;
  int objects;      /* how many are in the table */
  bool hides_state; /* what was written depends on more than the memory of its objects */
};

/* The state of data whose change nobody could see by looking at them: elements of an array that were written. */
#define NOT_WATCHED UINT64_MAX

enum { LONGEST_CHAIN = 8 };

struct chain {
  struct book *books[LONGEST_CHAIN];
  int count;
  bool lasting; /* the others are as old as a pool: functions in them may have captured what has changed */
  int fresh;    /* the books from this one on were made just before what is encoded next: nothing in them has changed */
};

/* Pushes a new book. Raises when memory is out. */
struct book *book_new(lua_State *L);
/* The book at `index`, or NULL. */
struct book *book_at(lua_State *L, int index);
/* Empties a book; `table` is the index of its table of objects. */
void book_clear(lua_State *L, struct book *book, int table);
/* Makes room in the book's map for one more object. Raises when memory is out. */
void book_reserve(lua_State *L, struct book *book, int table);
/* Lets go of all that the book, which is at stack `index`, holds, and of its memory. */
void book_drop(lua_State *L, struct book *book, int index);
/* Adds the object at stack `index` (an absolute index) to the book, whose table of objects is at `table`. Offsets must
 * grow. Raises when memory is out. */
void book_add(lua_State *L, struct book *book, int table, int index, size_t offset, int upvalue);
/* The entry at `offset`, or NULL. */
const struct shared *book_entry(const struct book *book, size_t offset);

#endif
