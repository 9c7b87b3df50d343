/*
 * state.h - what the codec keeps for each lua_State, in its registry: the functions of lua/parlua/wire/closure.lua, the
 * map from objects to names, the chain of books, and room that is used again from message to message.
 */
#ifndef PARLUA_CODEC_STATE_H
#define PARLUA_CODEC_STATE_H

#include <lua.h>
#include <stdbool.h>

#include "lua/codec/book.h"
#include "lua/codec/map.h"
#include "sys/buffer.h"

/* What closure.lua gives us: places in the table that is the second upvalue of the protected functions. */
enum tool {
  TOOL_PLANS = 1, /* function -> plan, weak */
  TOOL_PLAN,      /* plan(f) */
  TOOL_NAMES,     /* names(globals, add_fields) -> { object, module, field, global, kind, ... } */
  TOOL_RESOLVE,   /* resolve(module, field, globals) -> object */
  TOOL_LOOKUP,    /* lookup(environment, name) -> value */
  TOOL_COMPLAINT, /* complaint(what, number, count, steps, value, reason) -> message */
  TOOL_BY_NAME,   /* by_name(name, value) */
  TOOL_CDATA,  /* cdata(value, has our memory) -> kind ("array": see below), description, size, ...; or nil, reason */
  TOOL_MAKE,   /* make(description, size) -> new cdata */
  TOOL_CTYPE,  /* ctype(description) -> ctype */
  TOOL_SYMBOL, /* symbol(type, name, library, address) -> C function */
  TOOL_NAMESPACE,   /* namespace(library) -> FFI namespace */
  TOOL_LIBRARY,     /* library(userdata) -> true, its name or nil; or nil: it is no FFI namespace */
  TOOL_TEXT,        /* text(userdata) -> content of a string.buffer, or nil */
  TOOL_BUFFER,      /* buffer(content) -> new string.buffer */
  TOOL_REQUIRE,     /* load(module) -> the module, or nil */
  TOOL_MAKER,       /* maker(table) -> module, function, settings; or nil: nothing is known about such objects */
  TOOL_REMAKE,      /* remake(module, function, settings) -> object */
  TOOL_BUILTIN,     /* builtin(C function) -> module, field; or nil: it is no function of LuaJIT's libraries */
  TOOL_ARRAY,       /* array(array, has our memory, is plain) -> description, bytes of it to watch, size of the
                       elements, what holds them, pointer to them; or nil, reason. array(description, address of the
                       elements, size, is plain) -> array */
  TOOL_COMPLETE,    /* complete(function), which came as a dump */
  TOOL_KEEP,        /* keep(complaint, module, kind of place, name or number, holder, value) -> text or nil */
  TOOL_ABSENT,      /* absent(text) -> what stands for the value */
  TOOL_OWN_PARTS,   /* own_parts(list, add_fields), which it adds to the result of names() */
  TOOL_NAME_LIST,   /* the last result of names(), to which own_parts() may have added */
  TOOL_NAME_VALUES, /* userdata, light or not -> its place in that list */
  TOOL_ANCHORS,     /* values that only the message under way refers to */
  TOOL_CHAIN,       /* the list of books; its field `captured` is a set of tables: see codec_is_captured */
  TOOL_REQUIRED,    /* modules that can't cross by content: their value -> true; weak */
  TOOL_MAKERS,      /* objects that can't cross by content, but can be made: table -> true; weak */
  TOOL_WITHHELD,    /* globals of functions of such modules, which can't cross: their value -> true; weak */
  TOOL_PENDING,     /* encode: objects of the message under way whose bodies were put off */
  TOOL_LAST = TOOL_OWN_PARTS
};

struct encoder;
struct decoder;

struct codec {
  /* the protected functions, in the registry */
  int encode_reference, decode_reference, walk_reference, declare_reference;
  struct map objects;    /* encode: object -> offset of its tag in the message */
  bool encoding;         /* `objects` is in use */
  struct map seen;       /* tables that codec_is_unchanged has looked at */
  struct map names;      /* object -> its place in TOOL_NAME_LIST */
  uint64_t last_number;  /* that `number` has given */
  size_t names_stamp;    /* state of package.loaded when `names` was made; 0: not made yet */
  bool names_parts;      /* `names` has the functions and userdata of parlua's own modules */
  struct shared *shared; /* decode: stack of lists, one for each message under way */
  size_t shared_count, shared_capacity;
  struct chain chain;
  struct map checked; /* encode: tables of the chain -> have they changed? Emptied whenever the script may have run */
  bool shares_memory; /* a worker: its pointers are valid in the coordinator */
  bool has_required, has_makers, has_withheld;
  struct encoder *encoder; /* what the protected function is to do */
  struct decoder *decoder;
};

enum { CODEC_UPVALUE = 1, TOOLS_UPVALUE = 2 };

/* Entries of an object in the list of names, and what kind of thing has the name. */
enum { NAME_MODULE = 1, NAME_FIELD, NAME_GLOBAL, NAME_KIND, NAME_STRIDE };
enum name_kind {
  NAMED_EVERYWHERE = 1, /* in any state: the libraries, and parlua's own modules */
  NAMED_MODULE,         /* a module of the script's */
  NAMED_PART            /* a function or userdata in the table of such a module */
};

/* The codec of this lua_State, or NULL with an error message pushed. */
struct codec *codec_of(lua_State *L);
/* Pushes a tool. Only in a protected function. */
void push_tool(lua_State *L, enum tool tool);
/* Sets the chain to the list at `index` (nil: none), of which the books behind the first `fresh` are fresh. Raises. */
void codec_set_chain(lua_State *L, struct codec *codec, int index, int fresh, bool lasting);

/* The name and the value on the top: the value stands for that global from now on. Takes them off. Returns 0; or -1
 * with a message in their place. */
int codec_declare(lua_State *L);

/* The protected functions. */
int codec_encode_protected(lua_State *L);
int codec_decode_protected(lua_State *L);
int codec_walk_protected(lua_State *L);

/* A checksum for function dumps: finds corruption, does not stop forgery. */
uint64_t codec_checksum(const char *bytes, size_t length);

/* Where an object that is in a book of the chain is named. `in_chain`: from 0. NULL: in none. */
const struct shared *chain_find(const struct codec *codec, const void *object, int *in_chain);
/* Pushes the object of an entry of a book of the chain. Only in a protected function. */
void chain_push(lua_State *L, int in_chain, const struct shared *entry);

/* A number for what the table or function at `index` holds: a table's metatable, keys and values, a function's
 * upvalues; objects in it count as themselves, not by what they hold. 0: not known (a very large table, one with cdata
 * in it), or a function without upvalues. */
uint64_t codec_state_of(lua_State *L, int index);
/* The same, however large the table is. */
uint64_t codec_whole_state_of(lua_State *L, int index);
/* The first, as a number that Lua can hold. */
double codec_short_state(lua_State *L, int index);
/* Does the object at `index`, a table or function whose entry in the chain is `entry`, hold what it held when the book
 * was made? Tables in it are looked at in the same way. */
bool codec_is_unchanged(lua_State *L, struct codec *codec, int index, const struct shared *entry);

/* Is the table at `index` one that stands for what goes on in this program alone, a pool, say? It does not cross, and a
 * book would keep it alive as long as a run is open, and the run is closed when the pool is collected. */
bool codec_is_bound(lua_State *L, int index);
/* Is the value at `index` what newproxy makes: userdata without content? Not one that has a finalizer: that is there
 * for something of this state's. */
bool codec_is_proxy(lua_State *L, int index);
/* Is the environment at `index` that of most functions: the globals, or those of parlua's own modules? */
bool codec_has_globals(lua_State *L, int index);

/* Makes sure that `names` knows what package.loaded holds. Returns whether it had to be made anew. Only in a protected
 * function. */
bool codec_update_names(lua_State *L, struct codec *codec);
/* The place of an object in TOOL_NAME_LIST, or 0. Only in a protected function. */
int codec_place_of_name(lua_State *L, struct codec *codec, int index);
/* The same, and what kind of thing has the name: set where it has one. */
int codec_name_of(lua_State *L, struct codec *codec, int index, enum name_kind *kind);

#endif
