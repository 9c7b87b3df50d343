/* encode.c - Lua values to bytes; the format is in format.h.
 *
 * Errors are raised (lua_error) inside one protected call for each table or function that is encoded; plain values are
 * written without one, as no function called for them can raise.
 *
 * Measured (2 GHz class cloud core, bench in one run): a table of 5 fields in a batch encodes in 200 ns, decodes in 155
 * ns; a function with an upvalue encodes in 0.5 us, decodes in 0.2 us; arrays of numbers 15 ns an element,
 * both ways. */
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lua/codec/encoder.h"

bool enter(struct encoder *encoder)
{
  if (!lua_checkstack(encoder->L, SLOTS_PER_LEVEL)) {
    lua_pushliteral(encoder->L, "not enough memory to encode a value");
    lua_error(encoder->L);
  }
  if (encoder->depth >= NESTING_LIMIT) return false;
  encoder->depth++;
  return true;
}

void put_off(struct encoder *encoder, int index, size_t hints, const struct place *place)
{
  lua_State *L = encoder->L;
  if (encoder->pending_count == encoder->pending_capacity) {
    size_t capacity = encoder->pending_capacity ? encoder->pending_capacity * 2 : 64;
    struct pending *bigger = realloc(encoder->pending, capacity * sizeof *bigger);
    check(encoder, bigger ? 0 : -1);
    encoder->pending = bigger;
    encoder->pending_capacity = capacity;
  }
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_PENDING);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_PENDING);
  }
  int at = 2 * (int)(encoder->pending_base + encoder->pending_count) + 1;
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, at);
  while (place && place->owner == 0) place = place->outer;
  if (place)
    lua_pushvalue(L, place->owner);
  else
    lua_pushboolean(L, 0);
  lua_rawseti(L, -2, at + 1);
  lua_pop(L, 1);
  size_t entry = encoder->book ? encoder->book->count - 1 : 0;
  encoder->pending[encoder->pending_count++] = (struct pending){hints, entry, encoder->merging};
}

/* ---- Tables ---- */

/* How much room a table needs, in a byte. */
static unsigned hint_of(size_t count)
{
  if (count <= LARGEST_EXACT_HINT) return (unsigned)count;
  unsigned exponent = 0;
  while (count > 7) { /* to two bits of mantissa below the leading one, rounded up */
    count = (count + 1) >> 1;
    exponent++;
  }
  /* 128 is mantissa 4 with exponent 5 */
  unsigned hint = 128 + (exponent - 5) * 4 + ((unsigned)count - 4);
  return hint > 255 ? 255 : hint;
}

/* Is the key at `index` the number `number`? */
static inline bool is_key(lua_State *L, int index, double number)
{
  return lua_type(L, index) == LUA_TNUMBER && lua_tonumber(L, index) == number;
}

/*
 * Writes a run of numbers in a table's array part; the first is on the stack with its key below it. Returns what the
 * last lua_next returned, `*next` the index that the table's sequence goes on with.
 */
static int encode_numbers(struct encoder *encoder, int table, int key, size_t *next)
{
  lua_State *L = encoder->L;
  struct buffer *out = encoder->out;
  size_t head = out->length, first = *next, index = first;
  uint32_t count = 0;
  int more;
  check(encoder, put_tagged(out, TAG_NUMBERS, &count, sizeof count));
  do {
    double number = lua_tonumber(L, -1);
    check(encoder, buffer_reserve(out, sizeof number));
    memcpy(out->bytes + out->length, &number, sizeof number);
    out->length += sizeof number;
    index++;
    lua_pop(L, 1);
    more = lua_next(L, table);
  } while (more && lua_type(L, -1) == LUA_TNUMBER && is_key(L, key, (double)index));
  if (index - first == 1) { /* one number alone is shorter as a plain value */
    double number;
    memcpy(&number, out->bytes + head + 1 + sizeof count, sizeof number);
    out->length = head;
    check(encoder, put_number(out, number));
  } else {
    count = (uint32_t)(index - first);
    memcpy(out->bytes + head + 1, &count, sizeof count);
  }
  *next = index;
  return more;
}

/* Writes what a table holds; its hints are patched at `hints`. */
static void encode_body(struct encoder *encoder, int table, size_t hints, const struct place *outer)
{
  lua_State *L = encoder->L;
  struct buffer *out = encoder->out;
  int key = lua_gettop(L) + 1, value = key + 1;
  struct place place = {.outer = outer, .kind = IN_METATABLE, .slot = key, .function = table};
  if (lua_getmetatable(L, table)) {
    check(encoder, put_byte(out, TAG_META));
    encode_value(encoder, key, &place);
    lua_pop(L, 1);
  }
  place.kind = IN_FIELD;
  size_t next = 1, pairs = 0;
  lua_pushnil(L);
  int more = lua_next(L, table);
  if (more && is_key(L, key, 0)) {
    check(encoder, put_byte(out, TAG_ZERO));
    encode_value(encoder, value, &place);
    lua_pop(L, 1);
    more = lua_next(L, table);
  }
  while (more && is_key(L, key, (double)next)) {
    if (lua_type(L, value) == LUA_TNUMBER) {
      more = encode_numbers(encoder, table, key, &next);
    } else {
      encode_value(encoder, value, &place);
      lua_pop(L, 1);
      next++;
      more = lua_next(L, table);
    }
  }
  if (more) check(encoder, put_byte(out, TAG_PAIRS));
  for (; more; more = lua_next(L, table), pairs++) {
    place.kind = IN_KEY;
    encode_value(encoder, key, &place);
    place.kind = IN_FIELD;
    encode_value(encoder, value, &place);
    lua_pop(L, 1);
  }
  check(encoder, put_byte(out, TAG_END));
  out->bytes[hints] = (unsigned char)hint_of(next - 1);
  out->bytes[hints + 1] = (unsigned char)hint_of(pairs);
}

void note_state(struct encoder *encoder, size_t entry, int index)
{
  if (encoder->book) encoder->book->list[entry].state = codec_state_of(encoder->L, index);
}

/* Writes the record of a table that was just noted. */
static void encode_record(struct encoder *encoder, int table, const struct place *outer)
{
  struct buffer *out = encoder->out;
  const unsigned char no_hints[2] = {0, 0};
  size_t hints = out->length + 1, entry = encoder->book ? encoder->book->count - 1 : 0;
  if (!enter(encoder)) {
    check(encoder, put_tagged(out, TAG_TABLE_HEAD, no_hints, sizeof no_hints));
    put_off(encoder, table, hints, outer);
    return;
  }
  check(encoder, put_tagged(out, TAG_TABLE, no_hints, sizeof no_hints));
  encode_body(encoder, table, hints, outer);
  note_state(encoder, entry, table);
  encoder->depth--;
}

void encode_module(struct encoder *encoder, int index, int name, const struct place *outer)
{
  lua_State *L = encoder->L;
  bool merging = encoder->merging;
  struct place place = {.outer = outer, .kind = IN_MODULE, .owner = index};
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_NAME_LIST);
  lua_rawgeti(L, -1, name + NAME_MODULE);
  lua_remove(L, -2);
  place.slot = lua_gettop(L);
  encoder->merging = encoder->codec->has_required && is_in_set(encoder, TOOL_REQUIRED, index);
  if (encoder->merging) {
    check(encoder, put_byte(encoder->out, TAG_MODULE));
    put_name(encoder, name, false);
  }
  if (lua_istable(L, index))
    encode_record(encoder, index, &place);
  else if (lua_isfunction(L, index) && !lua_iscfunction(L, index))
    encode_lua_function(encoder, index, &place);
  else if (encoder->merging)
    put_kept(encoder);
  else
    refuse(encoder, index, &place, NULL);
  encoder->merging = merging;
  lua_pop(L, 1);
}

/* Writes an object that the receiver is to make again: how, and its parts. */
static void encode_made(struct encoder *encoder, int table, const struct place *place)
{
  lua_State *L = encoder->L;
  bool merging = encoder->merging;
  check(encoder, put_byte(encoder->out, TAG_MADE));
  if (encoder->book) encoder->book->hides_state = true; /* settings in memory of C */
  push_tool(L, TOOL_MAKER);
  lua_pushvalue(L, table);
  lua_call(L, 1, 3);
  int settings = lua_gettop(L);
  encoder->merging = false;
  for (int i = settings - 2; i <= settings; i++) {
    lua_pushvalue(L, i);
    anchor(encoder);
    lua_pop(L, 1);
    encode_value(encoder, i, place);
  }
  encoder->merging = true;
  encode_record(encoder, table, place);
  encoder->merging = merging;
  lua_settop(L, settings - 3);
}

/* Was the table at `index`, which was just noted, written before as the environment of a function, with what functions
 * name in it alone? Then says that its record is to be put into that: it is the same object. */
static void put_filled(struct encoder *encoder, int index)
{
  const char *environment = (const char *)lua_topointer(encoder->L, index) + 1; /* see encode_globals */
  const struct map_entry *entry = map_get(encoder->objects, environment);
  int in_chain = 0;
  if (entry && entry->value == TAKEN_BACK) entry = NULL;
  const struct shared *known = entry ? NULL : find_fresh(encoder, environment, &in_chain);
  if (!entry && !known) return;
  check(encoder, put_byte(encoder->out, TAG_FILLED));
  if (entry)
    put_again(encoder, entry->value);
  else
    put_in_book(encoder, in_chain, known);
}

/* Why the table at `index`, which codec_is_bound, can't be sent. */
static const char *why_bound(lua_State *L, int index)
{
  lua_getmetatable(L, index);
  lua_pushliteral(L, "is_future");
  lua_rawget(L, -2);
  bool is_future = lua_toboolean(L, -1);
  lua_pop(L, 2);
  if (!is_future) return "it belongs to this program, as pools, futures and streams do";
  return "it is a future, which belongs to this program: send what it has returned, future:get(), "
         "or give it to submit as an argument of its own";
}

static void encode_table(struct encoder *encoder, int table, const struct place *outer)
{
  lua_State *L = encoder->L;
  enum name_kind kind = NAMED_PART;
  if (put_known(encoder, table, outer)) return;
  int name = name_of(encoder, table, &kind);
  bool to_worker = encoder->flags & CODEC_TO_WORKER;
  if (name && (kind == NAMED_EVERYWHERE || !to_worker)) {
    encode_by_name(encoder, table, name, outer);
    return;
  }
  if (codec_is_bound(L, table)) {
    refuse(encoder, table, outer, why_bound(L, table));
    return;
  }
  if (put_reference(encoder, lua_topointer(L, table), table, 0)) return;
  if (name && kind == NAMED_MODULE)
    encode_module(encoder, table, name, outer);
  else if (encoder->codec->has_makers && is_in_set(encoder, TOOL_MAKERS, table))
    encode_made(encoder, table, outer);
  else {
    put_filled(encoder, table);
    encode_record(encoder, table, outer);
  }
}

/* A string value; long ones are written once in a message. */
void encode_string(struct encoder *encoder, int index)
{
  size_t length;
  if (index < 0) index = lua_gettop(encoder->L) + 1 + index;
  const char *bytes = lua_tolstring(encoder->L, index, &length);
  if (length > LONGEST_SHORT_STRING && put_reference(encoder, bytes, index, 0)) return;
  check(encoder, put_string(encoder->out, bytes, length));
}

void encode_value(struct encoder *encoder, int index, const struct place *place)
{
  lua_State *L = encoder->L;
  int type = lua_type(L, index);
  switch (type) {
  case LUA_TNIL:
  case LUA_TBOOLEAN:
  case LUA_TNUMBER: check(encoder, put_scalar(encoder->out, L, index, type)); return;
  case LUA_TSTRING: encode_string(encoder, index); return;
  case LUA_TTABLE: encode_table(encoder, index, place); return;
  case LUA_TFUNCTION: encode_function(encoder, index, place); return;
  case TYPE_CDATA: encode_cdata(encoder, index, place); return;
  case LUA_TUSERDATA:
  case LUA_TLIGHTUSERDATA: encode_userdata(encoder, index, type, place); return;
  default: refuse(encoder, index, place, NULL);
  }
}

/* ---- Messages ---- */

/* Writes the bodies that were put off. They may put off more. */
static void encode_pending(struct encoder *encoder)
{
  lua_State *L = encoder->L;
  lua_settop(L, BOOK_OBJECTS);
  lua_rawgeti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_PENDING);
  int list = lua_gettop(L), object = list + 1, owner = list + 2;
  for (size_t i = 0; i < encoder->pending_count; i++) {
    struct pending pending = encoder->pending[i];
    int at = 2 * (int)(encoder->pending_base + i) + 1;
    lua_rawgeti(L, list, at);
    lua_rawgeti(L, list, at + 1);
    lua_pushliteral(L, "...");
    lua_pushboolean(L, 0);
    lua_rawseti(L, list, at);
    struct place place = {.kind = IN_MODULE, .slot = list + 3, .owner = lua_toboolean(L, owner) ? owner : 0};
    encoder->depth = 1;
    encoder->merging = pending.merging;
    if (lua_istable(L, object))
      encode_body(encoder, object, pending.hints, place.owner ? &place : NULL);
    else
      encode_function_body(encoder, object, place.owner ? &place : NULL);
    note_state(encoder, pending.entry, object);
    lua_settop(L, list);
  }
  encoder->pending_count = 0;
}

/* Encodes the value that is its argument, for codec->encoder (or does what its `work` says). Raises. */
int codec_encode_protected(lua_State *L)
{
  struct codec *codec = lua_touserdata(L, lua_upvalueindex(CODEC_UPVALUE));
  struct encoder *encoder = codec->encoder;
  check(encoder, encoder->out_of_memory ? -1 : 0);
  if (encoder->work == WORK_FINISH) {
    lua_pushnil(L);
    lua_rawseti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_ANCHORS);
    lua_pushnil(L);
    lua_rawseti(L, lua_upvalueindex(TOOLS_UPVALUE), TOOL_PENDING);
    return 0;
  }
  if (encoder->book) {
    lua_getfenv(L, BOOK_SLOT);
    if (encoder->restart) {
      encoder->restart = false;
      book_clear(L, encoder->book, BOOK_OBJECTS);
    }
    if ((encoder->flags & CODEC_TO_WORKER) && !(encoder->flags & CODEC_PLAIN_BY_VALUE)) check_names(encoder);
  }
  encoder->depth = 0;
  encoder->merging = false;
  if (encoder->work == WORK_PENDING)
    encode_pending(encoder);
  else
    encode_value(encoder, VALUE_SLOT, NULL);
  return 0;
}

/* Calls encode_protected for the value at `index`. Returns 0, or -1 with the error message pushed. */
static int encode_one(struct encoder *encoder, int index, int book)
{
  lua_State *L = encoder->L;
  struct encoder *before = encoder->codec->encoder;
  encoder->codec->encoder = encoder;
  lua_rawgeti(L, LUA_REGISTRYINDEX, encoder->codec->encode_reference);
  lua_pushvalue(L, index);
  if (book)
    lua_pushvalue(L, book);
  else
    lua_pushnil(L);
  int status = lua_pcall(L, 2, 0, 0);
  encoder->codec->encoder = before;
  return status == 0 ? 0 : -1;
}

/* Encodes the value at `index` with the bodies that were put off. Returns 0, or -1 with the error message (nil to
 * restart) pushed.
 */
static int encode_whole(struct encoder *encoder, int index, int book)
{
  encoder->work = WORK_VALUE;
  int status = encode_one(encoder, index, book);
  encoder->work = WORK_PENDING;
  while (status == 0 && encoder->pending_count > 0) status = encode_one(encoder, index, book);
  encoder->work = WORK_VALUE;
  return status;
}

/* Encodes all values of a message. Returns 0, or -1 with the error message (nil to restart) pushed. */
static int encode_all(struct encoder *encoder, int first, int book)
{
  lua_State *L = encoder->L;
  if (put_varint(encoder->out, (size_t)encoder->count) != 0) encoder->out_of_memory = true;
  for (int i = 0; i < encoder->count && !encoder->out_of_memory; i++) {
    int type = lua_type(L, first + i);
    encoder->number = i + 1;
    if (!is_scalar(type)) {
      if (encode_whole(encoder, first + i, book) != 0) return -1;
    } else if (put_scalar(encoder->out, L, first + i, type) != 0) {
      encoder->out_of_memory = true;
    }
  }
  return encoder->out_of_memory ? encode_one(encoder, first, book) : 0;
}

/* Takes back what was written since the message had `length` bytes and the book `count` objects. */
static void take_back(struct encoder *encoder, size_t length, size_t count, int objects)
{
  struct map *map = encoder->objects;
  size_t offset = length - encoder->start;
  for (size_t at = 0; map->entries && at < (size_t)1 << map->bits; at++)
    if (map->entries[at].generation == map->generation && map->entries[at].value >= offset)
      map->entries[at].value = TAKEN_BACK;
  encoder->out->length = length;
  encoder->book->count = count;
  encoder->book->objects = objects;
  encoder->pending_count = 0;
}

/* Encodes the items of the list at `list`: as nil those that can't cross or are too large, whose messages go into the
 * table at `problems`. Returns as encode_all. */
static int encode_items(struct encoder *encoder, int list, int book, int problems)
{
  lua_State *L = encoder->L;
  if (put_varint(encoder->out, (size_t)encoder->count) != 0) encoder->out_of_memory = true;
  for (int i = 1; i <= encoder->count && !encoder->out_of_memory; i++) {
    size_t length = encoder->out->length, count = encoder->book->count;
    int objects = encoder->book->objects;
    lua_rawgeti(L, list, i);
    encoder->most = length + MOST_ITEM_BYTES;
    int status = encode_whole(encoder, lua_gettop(L), book);
    if (status == 0 && encoder->out->length > encoder->most) {
      lua_pushliteral(L, CODEC_TOO_LARGE);
      status = -1;
    }
    encoder->most = 0;
    if (status != 0 && encoder->restart) {
      lua_remove(L, -2);
      return -1;
    }
    if (status != 0) {
      lua_rawseti(L, problems, i);
      take_back(encoder, length, count, objects);
      if (put_byte(encoder->out, TAG_NIL) != 0) encoder->out_of_memory = true;
    }
    lua_pop(L, 1);
  }
  return encoder->out_of_memory ? encode_one(encoder, list, book) : 0;
}

/* Fewer bytes are copied. */
enum { LEAST_REST = 1 << 20 };

bool leave_rest(struct codec_rest *rest, const void *bytes, size_t length)
{
  if (!rest || length < LEAST_REST) return false;
  *rest = (struct codec_rest){bytes, length};
  return true;
}

/* Writes all of the string at `index` but its bytes, if these may stay where they are. */
static bool open_string(lua_State *L, int index, struct buffer *out, struct codec_rest *rest)
{
  size_t length;
  const char *bytes = lua_tolstring(L, index, &length);
  if (!leave_rest(rest, bytes, length)) return false;
  uint32_t size = (uint32_t)length;
  if (put_tagged(out, TAG_STRING, &size, sizeof size) == 0) return true;
  rest->bytes = NULL;
  return false;
}

/* A message that has only plain values, without any state. Returns 0, or -1 if it has others (or memory is out). */
static int encode_scalars(lua_State *L, int first, int count, struct buffer *out, struct codec_rest *rest)
{
  if (put_varint(out, (size_t)count) != 0) return -1;
  for (int i = first; i < first + count; i++) {
    int type = lua_type(L, i);
    if (rest && type == LUA_TSTRING && i == first + count - 1 && open_string(L, i, out, rest)) return 0;
    if (!is_scalar(type) || put_scalar(out, L, i, type) != 0) return -1;
  }
  return 0;
}

/* Encodes values; or, where `problems` is not 0, the items of the list at `first`. */
static int encode_message(lua_State *L, int first, int count, const char *what, unsigned flags, int book, int problems,
                          struct buffer *out, struct codec_rest *rest)
{
  size_t start = out->length;

  struct codec *codec = codec_of(L);
  if (codec == NULL) return -1;
  struct encoder encoder = {
      .L = L, .codec = codec, .out = out, .what = what, .start = start, .count = count, .flags = flags, .rest = rest};
  bool nested = codec->encoding;
  if (nested && codec->encoder) encoder.pending_base = codec->encoder->pending_base + codec->encoder->pending_count;
  if (book) encoder.book = book_at(L, book);
  encoder.objects = encoder.book ? &encoder.book->map : nested ? &encoder.own : &codec->objects;
  encoder.own.generation = 1;
  if (codec->shares_memory) encoder.flags |= CODEC_POINTERS;
  codec->encoding = true;
  int status;
  for (;;) {
    map_clear(encoder.objects);
    status =
        problems ? encode_items(&encoder, first, book, problems) : encode_all(&encoder, first, encoder.book ? book : 0);
    if (status == 0 || !encoder.restart) break;
    if (!encoder.book) encoder.restart = false;
    lua_pop(L, 1);
    out->length = start;
    if (rest) rest->bytes = NULL;
    encoder.pending_count = 0;
  }
  if ((encoder.anchored || encoder.pending) && !nested) {
    encoder.work = WORK_FINISH;
    if (encode_one(&encoder, first, 0) != 0) lua_pop(L, 1);
  }
  codec->encoding = nested;
  map_free(&encoder.own);
  free(encoder.pending);
  if (status != 0) out->length = start;
  return status;
}

int codec_encode_book(lua_State *L, int first, int count, const char *what, unsigned flags, int book,
                      struct buffer *out)
{
  size_t start = out->length;
  if (first < 0) first = lua_gettop(L) + 1 + first;
  if (book < 0) book = lua_gettop(L) + 1 + book;
  if (encode_scalars(L, first, count, out, NULL) == 0) return 0;
  out->length = start;
  return encode_message(L, first, count, what, flags, book, 0, out, NULL);
}

int codec_encode_open(lua_State *L, int first, int count, const char *what, unsigned flags, struct buffer *out,
                      struct codec_rest *rest)
{
  size_t start = out->length;
  rest->bytes = NULL;
  if (encode_scalars(L, first, count, out, rest) == 0) return 0;
  out->length = start;
  int status = encode_message(L, first, count, what, flags, 0, 0, out, rest);
  if (status != 0) rest->bytes = NULL;
  return status;
}

int codec_encode_items(lua_State *L, int list, const char *what, unsigned flags, int book, int problems,
                       struct buffer *out)
{
  return encode_message(L, list, (int)lua_objlen(L, list), what, flags, book, problems, out, NULL);
}

int codec_encode(lua_State *L, int first, int count, const char *what, unsigned flags, struct buffer *out)
{
  return codec_encode_book(L, first, count, what, flags, 0, out);
}
