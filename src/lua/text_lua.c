/* text_lua.c - texts as userdata: see text.h and lua/parlua/feed/supply.lua. */
#include <errno.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lua/text.h"

static const char text_meta[] = "parlua.text";

static struct text *check_text(lua_State *L)
{
  return luaL_checkudata(L, 1, text_meta);
}

static size_t check_size(lua_State *L, int index)
{
  lua_Number number = luaL_checknumber(L, index);
  return number > 1e15 ? (size_t)1e15 : number < 0 ? 0 : (size_t)number;
}

static int method_pointer(lua_State *L)
{
  lua_pushlightuserdata(L, (void *)(uintptr_t)check_text(L)->bytes);
  return 1;
}

static int method_length(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)check_text(L)->length);
  return 1;
}

static int method_parts(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)check_text(L)->part_count);
  return 1;
}

/* part(k) -> name, where it begins, where it ends. Of a stream the name only. */
static int method_part(lua_State *L)
{
  struct text *text = check_text(L);
  size_t k = check_size(L, 2);
  if (k < 1 || k > text->part_count) return 0;
  const struct text_part *part = &text->parts[k - 1];
  lua_pushstring(L, part->name);
  lua_pushnumber(L, (lua_Number)part->begin);
  lua_pushnumber(L, (lua_Number)(part->begin + part->length));
  return 3;
}

/* whole(reach) -> where it ends, and the number of the part: see text_whole. */
static int method_whole(lua_State *L)
{
  size_t part, whole = text_whole(check_text(L), check_size(L, 2), &part);
  lua_pushnumber(L, (lua_Number)whole);
  lua_pushnumber(L, (lua_Number)part + 1);
  return 2;
}

static int method_version(lua_State *L)
{
  lua_pushstring(L, check_text(L)->version);
  return 1;
}

static int method_is_stream(lua_State *L)
{
  lua_pushboolean(L, check_text(L)->is_stream);
  return 1;
}

/* ends(from, to): line ends between two places. Places are asked for in ascending order where many tasks fail, so it
 * goes on from the last answer. */
static int method_ends(lua_State *L)
{
  struct text *text = check_text(L);
  size_t from = check_size(L, 2), to = check_size(L, 3);
  if (!text->bytes || to > text->length || from > to) return 0;
  if (from != text->counted_from || to < text->counted_to) {
    text->counted_from = text->counted_to = from;
    text->counted = 0;
  }
  text->counted += text_count_ends(text->bytes + text->counted_to, text->bytes + to);
  text->counted_to = to;
  lua_pushnumber(L, (lua_Number)text->counted);
  return 1;
}

/* cut_lines(offset, want) -> lines, length */
static int method_cut_lines(lua_State *L)
{
  size_t length;
  lua_pushnumber(L, (lua_Number)text_cut_lines(check_text(L), check_size(L, 2), check_size(L, 3), &length));
  lua_pushnumber(L, (lua_Number)length);
  return 2;
}

/* cut_rows(offset, want, quote, separator) -> rows, length */
static int method_cut_rows(lua_State *L)
{
  size_t length;
  char quote = (char)luaL_checkinteger(L, 4), separator = (char)luaL_checkinteger(L, 5);
  lua_pushnumber(
      L, (lua_Number)text_cut_rows(check_text(L), check_size(L, 2), check_size(L, 3), quote, separator, &length));
  lua_pushnumber(L, (lua_Number)length);
  return 2;
}

/* cut_block(offset, size, start) -> length */
static int method_cut_block(lua_State *L)
{
  size_t length;
  const char *start = luaL_optlstring(L, 4, "", &length);
  lua_pushnumber(L, (lua_Number)text_cut_block(check_text(L), check_size(L, 2), check_size(L, 3), start, length));
  return 1;
}

/* Raises that the present part can't be read. */
static int fail_to_read(lua_State *L, const struct text *text, const char *why)
{
  const char *name = text->parts[text->part].name;
  if (strcmp(name, "-") == 0)
    lua_pushfstring(L, "cannot read standard input: %s", why);
  else
    lua_pushfstring(L, "cannot read '%s': %s", name, why);
  return lua_error(L);
}

/* Pushes what was taken: how many, where, the length, the line that it begins with. Nothing: the part is at its end. */
static int push_taken(lua_State *L, struct text *text, const struct text_cut *cut)
{
  const char *at;
  size_t count, line = text->lines + 1;
  ssize_t length = text_take(text, cut, &at, &count);
  if (length < 0) {
    return fail_to_read(L, text, text_trouble(text));
  }
  if (length == 0) return 0;
  lua_pushnumber(L, (lua_Number)count);
  lua_pushlightuserdata(L, (void *)(uintptr_t)at);
  lua_pushnumber(L, (lua_Number)length);
  lua_pushnumber(L, (lua_Number)line);
  return 4;
}

/* take_lines(want, size) -> lines, pointer, length, line */
static int method_take_lines(lua_State *L)
{
  struct text_cut cut = {.want = check_size(L, 2), .size = check_size(L, 3)};
  return push_taken(L, check_text(L), &cut);
}

/* take_rows(want, size, quote, separator) -> rows, pointer, length, line */
static int method_take_rows(lua_State *L)
{
  struct text_cut cut = {.want = check_size(L, 2), .size = check_size(L, 3), .is_rows = true};
  cut.quote = (char)luaL_checkinteger(L, 4);
  cut.separator = (char)luaL_checkinteger(L, 5);
  return push_taken(L, check_text(L), &cut);
}

/* take_block(size, start) -> 1, pointer, length, line */
static int method_take_block(lua_State *L)
{
  struct text_cut cut = {.size = check_size(L, 2)};
  cut.start = luaL_optlstring(L, 3, "", &cut.start_length);
  return push_taken(L, check_text(L), &cut);
}

/* is_ready(milliseconds) -> whether some of the stream can be taken without waiting */
static int method_is_ready(lua_State *L)
{
  lua_pushboolean(L, text_is_ready(check_text(L), (int)luaL_checkinteger(L, 2)));
  return 1;
}

/* take_records(size, record) -> 1, pointer, length, line */
static int method_take_records(lua_State *L)
{
  struct text_cut cut = {.size = check_size(L, 2), .record = check_size(L, 3)};
  return push_taken(L, check_text(L), &cut);
}

static void push_error(lua_State *L, int error)
{
  lua_pushstring(L, error == EISDIR ? "it is a directory (parlua.files lists the files of one)" : strerror(error));
}

/* next_part() -> its number, or nil: that was the last. Raises where it can't be opened. */
static int method_next_part(lua_State *L)
{
  struct text *text = check_text(L);
  int error;
  if (text_next_part(text, &error)) {
    lua_pushnumber(L, (lua_Number)text->part + 1);
    return 1;
  }
  if (!error) return 0;
  push_error(L, error);
  return fail_to_read(L, text, lua_tostring(L, -1));
}

static int method_gc(lua_State *L)
{
  text_close(check_text(L));
  return 0;
}

int text_lua_open(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"pointer", method_pointer},
      {"length", method_length},
      {"parts", method_parts},
      {"part", method_part},
      {"is_stream", method_is_stream},
      {"version", method_version},
      {"whole", method_whole},
      {"ends", method_ends},
      {"cut_lines", method_cut_lines},
      {"cut_rows", method_cut_rows},
      {"cut_block", method_cut_block},
      {"is_ready", method_is_ready},
      {"take_lines", method_take_lines},
      {"take_rows", method_take_rows},
      {"take_block", method_take_block},
      {"take_records", method_take_records},
      {"next_part", method_next_part},
      {"close", method_gc},
      {"__gc", method_gc},
      {NULL, NULL},
  };
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t count = lua_objlen(L, 1), failed;
  const char **paths = lua_newuserdata(L, (count + 1) * sizeof *paths);
  for (size_t k = 0; k < count; k++) {
    lua_rawgeti(L, 1, (int)k + 1);
    paths[k] = luaL_checkstring(L, -1); /* the list keeps it */
    lua_pop(L, 1);
  }
  struct text *text = lua_newuserdata(L, sizeof *text);
  int error = text_open(text, paths, count, &failed);
  if (error) {
    lua_pushnil(L);
    push_error(L, error);
    lua_pushnumber(L, (lua_Number)failed + 1);
    return 3;
  }
  if (luaL_newmetatable(L, text_meta)) {
    luaL_register(L, NULL, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  return 1;
}
