/* json.c - see json.h. By recursion, to a depth that is checked. */
#include "lua/json.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lua/ffi_json.h"
#include "lua/number.h"

enum { MOST_LEVELS = 1000, REVIVE = 3, SLOTS_PER_LEVEL = 6 };

struct reader {
  lua_State *L;
  const char *text, *p, *stop;
  int level;
};

static void push_value(struct reader *reader);

static void complain(struct reader *reader, const char *at, const char *what)
{
  luaL_error(reader->L, "no JSON: %s at byte %d", what, (int)(at - reader->text) + 1);
}

/* The same where something is missing: perhaps since the text ends. */
static void complain_here(struct reader *reader, const char *what)
{
  complain(reader, reader->p, reader->p == reader->stop ? "it ends in the middle of a value," : what);
}

static void skip_space(struct reader *reader)
{
  while (reader->p < reader->stop && strchr(" \t\r\n", *reader->p) && *reader->p) reader->p++;
}

/* The four digits behind `\u`. */
static unsigned read_unit(struct reader *reader)
{
  unsigned unit = 0;
  if (reader->stop - reader->p < 4) complain(reader, reader->p, "a text that ends in the middle of a string");
  for (int k = 0; k < 4; k++, reader->p++) {
    char c = *reader->p;
    unsigned digit = number_is_digit(c)                   ? (unsigned)(c - '0')
                     : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a') + 10
                                                          : 16;
    if (digit == 16) complain(reader, reader->p, "a digit that is none");
    unit = unit * 16 + digit;
  }
  return unit;
}

static void add_code(luaL_Buffer *buffer, uint32_t code)
{
  if (code < 0x80) {
    luaL_addchar(buffer, (char)code);
    return;
  }
  if (code < 0x800) {
    luaL_addchar(buffer, (char)(0xC0 | code >> 6));
  } else {
    if (code < 0x10000) {
      luaL_addchar(buffer, (char)(0xE0 | code >> 12));
    } else {
      luaL_addchar(buffer, (char)(0xF0 | code >> 18));
      luaL_addchar(buffer, (char)(0x80 | (code >> 12 & 0x3F)));
    }
    luaL_addchar(buffer, (char)(0x80 | (code >> 6 & 0x3F)));
  }
  luaL_addchar(buffer, (char)(0x80 | (code & 0x3F)));
}

/* What stands behind a backslash. */
static void add_escape(struct reader *reader, luaL_Buffer *buffer)
{
  static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  const char *at = reader->p - 1, *found;
  if (reader->p == reader->stop) complain(reader, at, "a text that ends in the middle of a string");
  char c = *reader->p++;
  if (c == 'u') {
    uint32_t code = read_unit(reader);
    if (code >= 0xD800 && code < 0xDC00 && reader->stop - reader->p >= 6 && reader->p[0] == '\\' &&
        reader->p[1] == 'u') {
      reader->p += 2;
      uint32_t low = read_unit(reader);
      if (low < 0xDC00 || low > 0xDFFF) complain(reader, at, "half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xD800 && code <= 0xDFFF) {
      complain(reader, at, "half of a surrogate pair");
    }
    add_code(buffer, code);
  } else if (c && (found = strchr(letters, c)) != NULL) {
    luaL_addchar(buffer, meant[found - letters]);
  } else {
    complain(reader, at, "an unknown escape");
  }
}

/* Pushes the string behind the quote that was read. */
static void push_string(struct reader *reader)
{
  const char *from = reader->p, *p = from, *stop = reader->stop;
  while (p < stop && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) p++;
  if (p < stop && *p == '"') {
    reader->p = p + 1;
    lua_pushlstring(reader->L, from, (size_t)(p - from));
    return;
  }
  luaL_Buffer buffer;
  luaL_buffinit(reader->L, &buffer);
  for (;;) {
    luaL_addlstring(&buffer, from, (size_t)(p - from));
    if (p == stop) complain(reader, p, "a text that ends in the middle of a string");
    if ((unsigned char)*p < 0x20) complain(reader, p, "a control character in a string");
    reader->p = p + 1;
    if (*p == '"') break;
    add_escape(reader, &buffer);
    from = p = reader->p;
    while (p < stop && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) p++;
  }
  luaL_pushresult(&buffer);
}

static void skip_digits(struct reader *reader)
{
  if (reader->p == reader->stop || !number_is_digit(*reader->p))
    complain(reader, reader->p, "a number without a digit");
  while (reader->p < reader->stop && number_is_digit(*reader->p)) reader->p++;
}

static void push_number(struct reader *reader)
{
  const char *from = reader->p;
  double number;
  if (*reader->p == '-') reader->p++;
  const char *first = reader->p;
  skip_digits(reader);
  if (*first == '0' && reader->p - first > 1) complain(reader, from, "a number that begins with 0");
  if (reader->p < reader->stop && *reader->p == '.') {
    reader->p++;
    skip_digits(reader);
  }
  if (reader->p < reader->stop && (*reader->p | 32) == 'e') {
    reader->p++;
    if (reader->p < reader->stop && (*reader->p == '-' || *reader->p == '+')) reader->p++;
    skip_digits(reader);
  }
  if (!number_read(from, reader->p, false, &number)) complain(reader, from, "a number that is too large");
  lua_pushnumber(reader->L, number);
}

static void push_word(struct reader *reader)
{
  static const struct {
    const char *text;
    int type, value;
  } words[] = {{"true", LUA_TBOOLEAN, 1}, {"false", LUA_TBOOLEAN, 0}, {"null", LUA_TNIL, 0}};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t length = strlen(words[i].text);
    if ((size_t)(reader->stop - reader->p) < length || memcmp(reader->p, words[i].text, length) != 0) continue;
    reader->p += length;
    if (words[i].type == LUA_TNIL)
      lua_pushnil(reader->L);
    else
      lua_pushboolean(reader->L, words[i].value);
    return;
  }
  complain(reader, reader->p, reader->p == reader->stop ? "a value is missing" : "no value");
}

/* Behind an item: is there another one? `end` closes. */
static bool goes_on(struct reader *reader, char end)
{
  skip_space(reader);
  if (reader->p < reader->stop && *reader->p == ',') {
    reader->p++;
    return true;
  }
  if (reader->p == reader->stop || *reader->p != end)
    complain_here(reader, end == '}' ? "neither , nor } behind a member" : "neither , nor ] behind an item");
  reader->p++;
  return false;
}

static void push_array(struct reader *reader)
{
  lua_State *L = reader->L;
  lua_newtable(L);
  skip_space(reader);
  if (reader->p < reader->stop && *reader->p == ']') {
    reader->p++;
    return;
  }
  int i = 1;
  do {
    push_value(reader);
    lua_rawseti(L, -2, i++);
  } while (goes_on(reader, ']'));
}

static void push_object(struct reader *reader)
{
  lua_State *L = reader->L;
  size_t count = 0;
  lua_newtable(L);
  int table = lua_gettop(L);
  bool is_marked = false;
  skip_space(reader);
  if (reader->p < reader->stop && *reader->p == '}') {
    reader->p++;
    return;
  }
  do {
    skip_space(reader);
    if (reader->p == reader->stop || *reader->p != '"') complain_here(reader, "a member without a name in quotes");
    reader->p++;
    push_string(reader);
    if (count++ == 0) is_marked = lua_tostring(L, -1)[0] == '$';
    skip_space(reader);
    if (reader->p == reader->stop || *reader->p != ':') complain_here(reader, "no : behind a member's name");
    reader->p++;
    push_value(reader);
    if (is_marked && count == 1 && !lua_isnil(L, -1)) { /* kept below, in case it is the only one */
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, table);
    } else {
      lua_rawset(L, table);
      if (is_marked && count == 1) is_marked = false;
    }
  } while (goes_on(reader, '}'));
  if (is_marked && count == 1) { /* table, name, value */
    lua_pushvalue(L, REVIVE);
    lua_insert(L, -3);
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1))
      lua_pop(L, 1);
    else
      lua_replace(L, table);
  }
  lua_settop(L, table);
}

/* Pushes the value that begins at `p`. */
static void push_value(struct reader *reader)
{
  skip_space(reader);
  if (reader->p == reader->stop) complain(reader, reader->p, "a value is missing");
  char c = *reader->p;
  if (c == '"') {
    reader->p++;
    push_string(reader);
  } else if (c == '-' || number_is_digit(c)) {
    push_number(reader);
  } else if (c == '{' || c == '[') {
    if (++reader->level > MOST_LEVELS) complain(reader, reader->p, "more than 1000 levels");
    luaL_checkstack(reader->L, SLOTS_PER_LEVEL, "not enough memory");
    reader->p++;
    if (c == '{')
      push_object(reader);
    else
      push_array(reader);
    reader->level--;
  } else {
    push_word(reader);
  }
}

/* A number with at most 15 digits, up to 8 of them behind the point, that is the nearest to what these digits say is
 * written so by "%.15g": the product and the quotient by a power of ten that is exact are rounded once. */
int parlua_json_number(double number, char *to)
{
  static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};
  double x = number < 0 ? -number : number;
  if (!(x >= 1e-4 && x < 1e14)) return 0;
  for (int digits = 0; digits < (int)(sizeof tens / sizeof *tens); digits++) {
    double scaled = x * tens[digits];
    if (scaled >= 1e15) return 0;
    uint64_t whole = (uint64_t)scaled;
    if ((double)whole != scaled || scaled / tens[digits] != x) continue;
    for (; digits > 0 && whole % 10 == 0; digits--)
      whole /= 10; /* the product with fewer was no whole one, as it was rounded */
    char text[24], *p = text + sizeof text;
    for (int k = 0; k < digits; k++, whole /= 10) *--p = (char)('0' + whole % 10);
    if (digits > 0) *--p = '.';
    do *--p = (char)('0' + whole % 10);
    while ((whole /= 10) > 0);
    if (number < 0) *--p = '-';
    int length = (int)(text + sizeof text - p);
    memcpy(to, p, (size_t)length);
    return length;
  }
  return 0;
}

int parlua_json_is_plain(const char *text, size_t length)
{
  bool plain = true;
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    plain &= (c >= 0x20) & (c < 0x7f) & (c != '"') & (c != '\\');
  }
  return plain;
}

static int read_text(lua_State *L)
{
  struct reader reader = {.L = L};
  size_t length;
  if (lua_type(L, 1) == LUA_TSTRING) {
    reader.text = lua_tolstring(L, 1, &length);
    lua_settop(L, 2);
    lua_pushnil(L);
    lua_insert(L, 2);
  } else {
    reader.text = (const char *)(uintptr_t)luaL_checknumber(L, 1); /* addresses have 48 bits at most */
    length = (size_t)luaL_checknumber(L, 2);
    lua_settop(L, REVIVE);
  }
  reader.p = reader.text;
  reader.stop = reader.text + length;
  push_value(&reader);
  skip_space(&reader);
  if (reader.p < reader.stop) complain(&reader, reader.p, "more behind the value");
  return 1;
}

int luaopen_parlua_json_reader(lua_State *L)
{
  lua_pushcfunction(L, read_text);
  return 1;
}
