/* decode.c - bytes to Lua values; the format is in format.h. Errors are raised, inside one protected call for each
 * message. */
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lua/codec/decoder.h"

size_t take_varint(struct decoder *decoder)
{
  size_t number = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    unsigned byte = take_byte(decoder);
    number |= (size_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return number;
  }
  corrupt(decoder, "a number is too long");
  return 0;
}

/* Entry `place` of the list of shared objects. */
static struct shared *shared_at(struct decoder *decoder, size_t place)
{
  return decoder->book ? &decoder->book->list[place] : &decoder->codec->shared[decoder->shared_base + place];
}

/* A book's object, which is on the top, can be found by its address from now on. */
static void map_object(struct decoder *decoder, const void *object, size_t offset)
{
  struct map *map = &decoder->book->map;
  book_reserve(decoder->L, decoder->book, SHARED_SLOT);
  struct map_entry *entry = map_find(map, object);
  if (entry->generation != map->generation) map_put(map, entry, object, offset);
}

size_t note(struct decoder *decoder, const unsigned char *tag, int upvalue)
{
  lua_State *L = decoder->L;
  struct codec *codec = decoder->codec;
  size_t offset = (size_t)(tag - decoder->bytes);
  if (decoder->book) {
    book_add(L, decoder->book, SHARED_SLOT, lua_gettop(L), offset, upvalue);
    const void *object = upvalue ? lua_upvalueid(L, lua_gettop(L), upvalue) : lua_topointer(L, -1);
    if (object) map_object(decoder, object, offset);
    return decoder->book->count - 1;
  }
  if (!(*tag & SHARED)) return 0;
  if (codec->shared_count == codec->shared_capacity) {
    size_t capacity = codec->shared_capacity ? codec->shared_capacity * 2 : 64;
    struct shared *bigger = realloc(codec->shared, capacity * sizeof *bigger);
    if (bigger == NULL) luaL_error(L, "not enough memory to decode a message");
    codec->shared = bigger;
    codec->shared_capacity = capacity;
  }
  if (lua_isnil(L, SHARED_SLOT)) {
    lua_newtable(L);
    lua_replace(L, SHARED_SLOT);
  }
  int index = (int)(codec->shared_count - decoder->shared_base) + 1;
  codec->shared[codec->shared_count++] = (struct shared){offset, index, upvalue, 0, false};
  lua_pushvalue(L, -1);
  lua_rawseti(L, SHARED_SLOT, index);
  return (size_t)index - 1;
}

size_t keep_place(struct decoder *decoder, const unsigned char *tag)
{
  lua_pushboolean(decoder->L, 0);
  size_t place = note(decoder, tag, 0);
  lua_pop(decoder->L, 1);
  return place;
}

void fill_place(struct decoder *decoder, const unsigned char *tag, size_t place)
{
  lua_State *L = decoder->L;
  if (!decoder->book && !(*tag & SHARED)) return;
  lua_pushvalue(L, -1);
  lua_rawseti(L, SHARED_SLOT, shared_at(decoder, place)->index);
  if (decoder->book) map_object(decoder, lua_topointer(L, -1), (size_t)(tag - decoder->bytes));
}

void decode_note_state(struct decoder *decoder, size_t place, int index)
{
  if (decoder->book) decoder->book->list[place].state = codec_state_of(decoder->L, index);
}

/* Reads an offset and pushes the shared object there. The list is in the order of offsets, as decoding is. */
struct shared push_shared(struct decoder *decoder)
{
  size_t offset = take_varint(decoder), low = 0;
  size_t high = decoder->book ? decoder->book->count : decoder->codec->shared_count - decoder->shared_base,
         count = high;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (shared_at(decoder, middle)->offset < offset)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == count || shared_at(decoder, low)->offset != offset) corrupt(decoder, "a reference points nowhere");
  struct shared shared = *shared_at(decoder, low);
  lua_rawgeti(decoder->L, SHARED_SLOT, shared.index);
  return shared;
}

struct shared push_known(struct decoder *decoder)
{
  const struct chain *chain = &decoder->codec->chain;
  size_t number = take_varint(decoder), offset = take_varint(decoder);
  if (decoder->flags & CODEC_NO_FUNCTIONS) luaL_error(decoder->L, "cannot decode: references are not accepted here");
  if (number < 1 || number > (size_t)chain->count) corrupt(decoder, "a reference is to a book that is not there");
  const struct shared *entry = book_entry(chain->books[number - 1], offset);
  if (entry == NULL) corrupt(decoder, "a reference to a book points nowhere");
  chain_push(decoder->L, (int)number - 1, entry);
  return *entry;
}

void decode_enter(struct decoder *decoder)
{
  if (++decoder->depth > NESTING_LIMIT + 8 || !lua_checkstack(decoder->L, SLOTS_PER_LEVEL))
    corrupt(decoder, "values are nested too deeply");
}

/* The number that hint_of (encode.c) packed, rounded up. */
static size_t hinted(unsigned hint)
{
  if (hint <= LARGEST_EXACT_HINT) return hint;
  return (size_t)(4 + (hint - 128) % 4) << ((hint - 128) / 4 + 5);
}

/* A table's hint as a number, within what the message's length makes possible. */
static int take_hint(struct decoder *decoder)
{
  size_t hint = hinted(take_byte(decoder));
  if (hint > decoder->budget) hint = decoder->budget;
  decoder->budget -= hint;
  return hint > INT_MAX / 4 ? INT_MAX / 4 : (int)hint;
}

/* A run of numbers into the table on the top, from index `next` on. Returns the index after them. */
static int decode_numbers(struct decoder *decoder, int table, int next)
{
  lua_State *L = decoder->L;
  size_t count = take_u32(decoder);
  const unsigned char *numbers = take(decoder, count > SIZE_MAX / 8 ? SIZE_MAX : count * 8);
  if (count > (size_t)(INT_MAX - next)) corrupt(decoder, "a table is too long");
  for (size_t i = 0; i < count; i++) {
    double number;
    memcpy(&number, numbers + i * sizeof number, sizeof number);
    lua_pushnumber(L, number);
    lua_rawseti(L, table, next++);
  }
  return next;
}

/* Is the object on the top one that every state has? Nothing is merged into such. */
static bool is_standard_here(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  enum name_kind kind = NAMED_PART;
  codec_update_names(L, decoder->codec);
  return codec_name_of(L, decoder->codec, lua_gettop(L), &kind) && kind == NAMED_EVERYWHERE;
}

/* Does a tool give anything but nil for the value on the top? */
static bool has_answer(lua_State *L, enum tool tool)
{
  push_tool(L, tool);
  lua_pushvalue(L, -2);
  lua_pushboolean(L, 0);
  lua_call(L, 2, 1);
  bool found = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return found;
}

/* Could the value on the top have been sent? Then, where the sender has what can't be, it is not the receiver's own of
 * that, and no key that the sender still has and left out. */
static bool could_be_sent(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  int top = lua_gettop(L);
  switch (lua_type(L, top)) {
  case LUA_TTHREAD:
  case LUA_TLIGHTUSERDATA: return false;
  case LUA_TTABLE: return !codec_is_bound(L, top);
  case LUA_TFUNCTION: return !lua_iscfunction(L, top) || is_standard_here(decoder);
  case LUA_TUSERDATA:
    return codec_is_proxy(L, top) || is_standard_here(decoder) || has_answer(L, TOOL_TEXT) ||
           has_answer(L, TOOL_LIBRARY);
  case TYPE_CDATA: return has_answer(L, TOOL_CDATA);
  default: return true;
  }
}

/* The keys and values of a table, up to the end of it. `came`: where the set of keys that came is made when merging,
 * else 0. */
static void decode_pairs(struct decoder *decoder, int table, int came)
{
  lua_State *L = decoder->L;
  while (peek(decoder) != TAG_END) {
    bool merging = came != 0, keeps = merging && (peek(decoder) & ~(unsigned)SHARED) == TAG_KEEP;
    if (merging) {
      if (keeps)
        lua_pushboolean(L, 0);
      else
        lua_pushnil(L);
      decode_onto(decoder);
    } else {
      decode_value(decoder);
    }
    int type = lua_type(L, -1);
    if (type == LUA_TNIL || (type == LUA_TNUMBER && isnan(lua_tonumber(L, -1))))
      corrupt(decoder, "a table's key is nil or NaN");
    if (merging) {
      if (!keeps) {
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, came);
      }
      lua_pushvalue(L, -1);
      lua_rawget(L, table);
      decode_onto(decoder);
    } else {
      decode_value(decoder);
    }
    if (keeps)
      lua_pop(L, 2); /* a key that could not be sent */
    else
      lua_rawset(L, table);
  }
}

/* Takes out of a table what did not come: under keys that are not in the set at `came` nor whole numbers below `next`.
 * Keys that can't be sent stay: they are the receiver's own. */
static void remove_rest(struct decoder *decoder, int table, int came, int next)
{
  lua_State *L = decoder->L;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    int type = lua_type(L, -1);
    double number = type == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    if (number >= 1 && number < next && number == floor(number)) continue;
    lua_pushvalue(L, -1);
    lua_rawget(L, came);
    bool stays = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (stays || !could_be_sent(decoder)) continue;
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, table);
  }
}

/* What a table holds. Merging: into what it holds already, of which only what can't be sent stays. */
static void decode_body(struct decoder *decoder, int table, bool merging)
{
  lua_State *L = decoder->L;
  int next = 1, came = 0;
  if (merging) {
    lua_newtable(L);
    came = lua_gettop(L);
  }
  if (peek(decoder) == TAG_META) {
    decoder->at++;
    if (merging) {
      if (!lua_getmetatable(L, table)) lua_pushnil(L);
      decode_onto(decoder);
    } else {
      decode_value(decoder);
    }
    if (!lua_istable(L, -1) && !merging) corrupt(decoder, "a metatable is not a table");
    if (lua_istable(L, -1))
      lua_setmetatable(L, table);
    else
      lua_pop(L, 1);
  } else if (merging) {
    lua_pushnil(L);
    lua_setmetatable(L, table);
  }
  if (peek(decoder) == TAG_ZERO) {
    decoder->at++;
    if (merging) {
      lua_pushboolean(L, 1);
      lua_rawseti(L, came, 0);
      lua_rawgeti(L, table, 0);
      decode_onto(decoder);
    } else {
      decode_value(decoder);
    }
    lua_rawseti(L, table, 0);
  }
  for (;;) {
    unsigned item = peek(decoder);
    if (item == TAG_NUMBERS) {
      decoder->at++;
      next = decode_numbers(decoder, table, next);
    } else if (item == TAG_PAIRS) {
      decoder->at++;
      decode_pairs(decoder, table, came);
      break;
    } else if (item == TAG_END) {
      break;
    } else {
      if (merging) {
        lua_rawgeti(L, table, next);
        decode_onto(decoder);
      } else {
        decode_value(decoder);
      }
      lua_rawseti(L, table, next++);
    }
  }
  decoder->at++;
  if (merging) {
    remove_rest(decoder, table, came, next);
    lua_settop(L, came - 1);
  }
}

void decode_put_off(struct decoder *decoder, size_t place, bool merging)
{
  lua_State *L = decoder->L;
  if (lua_isnil(L, PENDING_SLOT)) {
    lua_newtable(L);
    lua_replace(L, PENDING_SLOT);
  }
  int at = 3 * decoder->pending++;
  lua_pushvalue(L, -1);
  lua_rawseti(L, PENDING_SLOT, at + 1);
  lua_pushnumber(L, (lua_Number)place);
  lua_rawseti(L, PENDING_SLOT, at + 2);
  lua_pushboolean(L, merging);
  lua_rawseti(L, PENDING_SLOT, at + 3);
}

void decode_table(struct decoder *decoder, unsigned tag, bool there, bool merging)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at - 1;
  decode_enter(decoder);
  int array = take_hint(decoder), pairs = take_hint(decoder);
  if (!there) lua_createtable(L, array, pairs);
  size_t place = note(decoder, start, 0);
  if ((tag | SHARED) == (TAG_TABLE_HEAD | SHARED)) {
    decode_put_off(decoder, place, merging);
  } else {
    int table = lua_gettop(L);
    decode_body(decoder, table, merging);
    decode_note_state(decoder, place, table);
  }
  decoder->depth--;
}

/* A string longer than those that fit in the tag. */
static void decode_string(struct decoder *decoder, unsigned tag)
{
  const unsigned char *start = decoder->at - 1;
  size_t length = take_u32(decoder);
  lua_pushlstring(decoder->L, (const char *)take(decoder, length), length);
  if (tag & SHARED) note(decoder, start, 0);
}

void decode_value(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  unsigned tag = take_byte(decoder);
  int16_t narrow;
  int32_t integer;
  double number;
  if (tag >= TAG_SMALL) {
    lua_pushinteger(L, (lua_Integer)(tag - TAG_SMALL));
    return;
  }
  if (tag >= TAG_SHORT_STRING) {
    size_t length = tag - TAG_SHORT_STRING;
    lua_pushlstring(L, (const char *)take(decoder, length), length);
    return;
  }
  switch (tag) {
  case TAG_NIL: lua_pushnil(L); return;
  case TAG_FALSE:
  case TAG_TRUE: lua_pushboolean(L, tag == TAG_TRUE); return;
  case TAG_INT16:
    memcpy(&narrow, take(decoder, sizeof narrow), sizeof narrow);
    lua_pushinteger(L, narrow);
    return;
  case TAG_INT32:
    memcpy(&integer, take(decoder, sizeof integer), sizeof integer);
    lua_pushinteger(L, integer);
    return;
  case TAG_DOUBLE:
    memcpy(&number, take(decoder, sizeof number), sizeof number);
    lua_pushnumber(L, number); /* makes every NaN a plain one: others would break LuaJIT's tagging of values */
    return;
  case TAG_STRING:
  case TAG_STRING | SHARED: decode_string(decoder, tag); return;
  case TAG_TABLE:
  case TAG_TABLE | SHARED:
  case TAG_TABLE_HEAD:
  case TAG_TABLE_HEAD | SHARED: decode_table(decoder, tag, false, false); return;
  case TAG_FUNCTION:
  case TAG_FUNCTION | SHARED:
  case TAG_FUNCTION_HEAD:
  case TAG_FUNCTION_HEAD | SHARED: decode_function(decoder, tag, false); return;
  case TAG_REFERENCE:
    if (push_shared(decoder).upvalue != 0) corrupt(decoder, "a reference is to an upvalue");
    return;
  case TAG_BOOK:
    if (push_known(decoder).upvalue != 0) corrupt(decoder, "a reference is to an upvalue");
    return;
  case TAG_INT64: decode_whole(decoder, "int64_t", 8); return;
  case TAG_UINT64: decode_whole(decoder, "uint64_t", 8); return;
  case TAG_COMPLEX: decode_whole(decoder, "complex", 16); return;
  case TAG_ARRAY:
  case TAG_ARRAY | SHARED: decode_array(decoder); return;
  default: decode_special(decoder, tag);
  }
}

bool decode_take(struct decoder *decoder, int index)
{
  lua_State *L = decoder->L;
  if (index < 0) index = lua_gettop(L) + 1 + index;
  if (lua_isnil(L, TAKEN_SLOT)) {
    lua_newtable(L);
    lua_replace(L, TAKEN_SLOT);
  }
  lua_pushvalue(L, index);
  lua_rawget(L, TAKEN_SLOT);
  bool taken = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (taken) return false;
  lua_pushvalue(L, index);
  lua_pushboolean(L, 1);
  lua_rawset(L, TAKEN_SLOT);
  return true;
}

/* What could not be sent: the value on the top stays; but what says why it is missing, if it came, takes the place of
 * one that could have been sent, as nil, or is of another type. */
static void decode_kept(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  const unsigned char *start = decoder->at++;
  decode_value(decoder);
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL; /* a type and a reason: closure.lua */
  const char *type = luaL_typename(L, -2);
  size_t length = strlen(type);
  bool is_of_type = text && strncmp(text, type, length) == 0 && text[length] == ' ';
  lua_insert(L, -2);
  bool stays = !text || (is_of_type && !could_be_sent(decoder));
  if (stays) {
    lua_replace(L, -2);
  } else {
    lua_pop(L, 1);
    push_tool(L, TOOL_ABSENT);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
  }
  note(decoder, start, 0);
}

void decode_onto(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  unsigned tag = peek(decoder) & ~(unsigned)SHARED;
  if (tag == TAG_KEEP) {
    decode_kept(decoder);
    return;
  }
  bool table = tag == TAG_TABLE || tag == TAG_TABLE_HEAD;
  if (!table && tag != TAG_FUNCTION && tag != TAG_FUNCTION_HEAD) {
    lua_pop(L, 1);
    if (tag == TAG_FILLED) {
      decoder->at++;
      decode_filled(decoder, true);
    } else {
      decode_value(decoder);
    }
    return;
  }
  if (lua_type(L, -1) != (table ? LUA_TTABLE : LUA_TFUNCTION) || is_standard_here(decoder) ||
      !decode_take(decoder, -1)) {
    if (table)
      lua_newtable(L); /* what is kept inside is not there: nil */
    else
      lua_pushcfunction(L, codec_decode_protected); /* no function of Lua: it is replaced */
    lua_replace(L, -2);
  }
  if (table)
    decode_table(decoder, take_byte(decoder), true, true);
  else
    decode_function(decoder, take_byte(decoder), true);
}

/* Reads the bodies that were put off; they may put off more. */
static void decode_pending(struct decoder *decoder)
{
  lua_State *L = decoder->L;
  for (int i = 0; i < decoder->pending; i++) {
    luaL_checkstack(L, SLOTS_PER_LEVEL, NULL);
    for (int k = 1; k <= 3; k++) lua_rawgeti(L, PENDING_SLOT, 3 * i + k);
    lua_pushboolean(L, 0);
    lua_rawseti(L, PENDING_SLOT, 3 * i + 1);
    int object = lua_gettop(L) - 2;
    bool merging = lua_toboolean(L, -1);
    size_t place = (size_t)lua_tonumber(L, -2);
    decoder->depth = 1;
    if (lua_istable(L, object))
      decode_body(decoder, object, merging);
    else
      decode_function_body(decoder, object, merging);
    decode_note_state(decoder, place, object);
    lua_settop(L, object - 1);
  }
  decoder->pending = 0;
  decoder->depth = 0;
}

/* Decodes codec->decoder's message and returns its values. Raises. */
int codec_decode_protected(lua_State *L)
{
  struct codec *codec = lua_touserdata(L, lua_upvalueindex(CODEC_UPVALUE));
  struct decoder *decoder = codec->decoder;
  lua_settop(L, BOOK_SLOT);
  if (decoder->book)
    lua_getfenv(L, BOOK_SLOT);
  else
    lua_pushnil(L); /* SHARED_SLOT */
  lua_pushnil(L);   /* PENDING_SLOT */
  lua_pushnil(L);   /* TAKEN_SLOT */
  size_t count = take_varint(decoder);
  if (count > (size_t)(decoder->end - decoder->at)) corrupt(decoder, "the message is cut short");
  if (count > INT_MAX / 2 || !lua_checkstack(L, (decoder->flags & CODEC_LIST ? 0 : (int)count) + 2 * SLOTS_PER_LEVEL))
    luaL_error(L, "cannot decode: too many values in one message");
  int list = 0;
  if (decoder->flags & CODEC_LIST) {
    lua_newtable(L);
    list = lua_gettop(L);
  }
  for (size_t i = 0; i < count; i++) {
    /* a collection of garbage may have made the stack smaller again */
    if (!lua_checkstack(L, SLOTS_PER_LEVEL)) luaL_error(L, "cannot decode: not enough memory");
    decode_value(decoder);
    if (decoder->pending) decode_pending(decoder);
    if (list) lua_rawseti(L, list, (int)i + 1);
  }
  if (decoder->at != decoder->end) corrupt(decoder, "there are bytes after the last value");
  return list ? 1 : (int)count;
}

int codec_decode_book(lua_State *L, const void *bytes, size_t length, unsigned flags, int book)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return -1;
  if (book < 0) book = lua_gettop(L) + 1 + book;
  struct decoder decoder = {.L = L,
                            .codec = codec,
                            .bytes = bytes,
                            .at = bytes,
                            .end = (const unsigned char *)bytes + length,
                            .shared_base = codec->shared_count,
                            .budget = length > SIZE_MAX / 2 ? length : length * 2,
                            .book = book ? book_at(L, book) : NULL,
                            .flags = flags};
  struct decoder *before = codec->decoder;
  codec->decoder = &decoder;
  int top = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, codec->decode_reference);
  if (book)
    lua_pushvalue(L, book);
  else
    lua_pushnil(L);
  int status = lua_pcall(L, 1, LUA_MULTRET, 0);
  codec->decoder = before;
  codec->shared_count = decoder.shared_base;
  return status == 0 ? lua_gettop(L) - top : -1;
}

int codec_decode(lua_State *L, const void *bytes, size_t length, unsigned flags)
{
  return codec_decode_book(L, bytes, length, flags, 0);
}
