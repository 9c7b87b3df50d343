/* module.c - the Lua module `parlua.codec`, for the Lua side alone. */
#include <dlfcn.h>
#include <lauxlib.h>
#include <limits.h>
#include <link.h>
#include <locale.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/codec.h"
#include "lua/codec/format.h"
#include "lua/codec/state.h"
#include "lua/codec/walk.h"
#include "lua/codec/watch.h"
#include "lua/state.h"

/* Encodes the values from `first` on: returns a string, or nil and the message. */
static int encode_from(lua_State *L, int first, const char *what, unsigned flags, int book)
{
  struct buffer out = {0};
  luaL_checkstack(L, 16, "too many values");
  int status = codec_encode_book(L, first, lua_gettop(L) - first + 1, what, flags, book, &out);
  if (status == 0) {
    lua_pushlstring(L, (const char *)out.bytes, out.length);
    buffer_free(&out);
    return 1;
  }
  buffer_free(&out);
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* encode(...) -> string | nil, message */
static int module_encode(lua_State *L)
{
  return encode_from(L, 1, "value", 0, 0);
}

/* encode_as(what, ...) -> string | nil, message: `what` names the values in the message */
static int module_encode_as(lua_State *L)
{
  return encode_from(L, 2, luaL_checkstring(L, 1), CODEC_TO_WORKER, 0);
}

/* encode_result(...) -> string | nil, message: what a task returns, as a worker writes it */
static int module_encode_result(lua_State *L)
{
  return encode_from(L, 1, "result", 0, 0);
}

/* encode_data(...) -> string | nil, message: for bytes that go to a file, without functions */
static int module_encode_data(lua_State *L)
{
  return encode_from(L, 1, "value", CODEC_NO_FUNCTIONS, 0);
}

static void check_book(lua_State *L, int index)
{
  if (!book_at(L, index)) luaL_argerror(L, index, "a book expected");
}

/* encode_book(book, what, ...) -> string | nil, message: for a worker; the objects of the message are put into the new
 * book */
static int module_encode_book(lua_State *L)
{
  check_book(L, 1);
  return encode_from(L, 3, luaL_checkstring(L, 2), CODEC_TO_WORKER, 1);
}

/* encode_items(book, what, list) -> string, problems | nil, message: the items of the list, for a worker. Those that
 * can't cross are nil; `problems` says why, by their number. */
static int module_encode_items(lua_State *L)
{
  struct buffer out = {0};
  check_book(L, 1);
  const char *what = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  lua_newtable(L);
  if (codec_encode_items(L, 3, what, CODEC_TO_WORKER, 1, 4, &out) == 0) {
    lua_pushlstring(L, (const char *)out.bytes, out.length);
    lua_pushvalue(L, 4);
    buffer_free(&out);
    return 2;
  }
  buffer_free(&out);
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* decode_items(book, string) -> list */
static int module_decode_items(lua_State *L)
{
  size_t length;
  check_book(L, 1);
  const char *bytes = luaL_checklstring(L, 2, &length);
  return codec_decode_book(L, bytes, length, CODEC_LIST, 1) >= 0 ? 1 : lua_error(L);
}

/* decode(string [, {functions = false}]) -> values...; raises when the bytes are not a message */
static int module_decode(lua_State *L)
{
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  unsigned flags = 0;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "functions");
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) flags |= CODEC_NO_FUNCTIONS;
    lua_pop(L, 1);
  }
  int count = codec_decode(L, bytes, length, flags);
  return count >= 0 ? count : lua_error(L);
}

/* decode_book(book, string) -> values...: the counterpart of encode_book */
static int module_decode_book(lua_State *L)
{
  size_t length;
  check_book(L, 1);
  const char *bytes = luaL_checklstring(L, 2, &length);
  int count = codec_decode_book(L, bytes, length, 0, 1);
  return count >= 0 ? count : lua_error(L);
}

enum { FEW_OBJECTS = 256 };

/* clear(book): it is not needed any more; what it holds is let go at once, not when it is collected. It may be used
 * again. */
static int module_clear(lua_State *L)
{
  check_book(L, 1);
  lua_settop(L, 1);
  struct book *book = book_at(L, 1);
  if (book->objects > FEW_OBJECTS) {
    book_drop(L, book, 1);
  } else {
    lua_getfenv(L, 1);
    book_clear(L, book, 2);
  }
  return 0;
}

/* book() -> a new book */
static int module_book(lua_State *L)
{
  book_new(L);
  return 1;
}

/* walk(list[, lasting[, book, changed]]) -> a book of what can be reached from the values in the list, for workers that
 * are forked; do they live as long as a pool? With such a book: adds to it, also what its objects in the list `changed`
 * lead to now, and returns a list of the objects that are new in it. */
static int module_walk(lua_State *L)
{
  enum { ROOTS = 1, LASTING, BOOK, CHANGED, NEW };
  luaL_checktype(L, ROOTS, LUA_TTABLE);
  lua_settop(L, CHANGED);
  bool is_new = lua_isnil(L, BOOK);
  if (is_new) {
    book_new(L);
    lua_replace(L, BOOK);
    lua_newtable(L);
    lua_replace(L, CHANGED);
  } else {
    check_book(L, BOOK);
    luaL_checktype(L, CHANGED, LUA_TTABLE);
  }
  const struct book *book = book_at(L, BOOK);
  int before = book->objects;
  if (codec_walk(L, BOOK, ROOTS, lua_toboolean(L, LASTING), CHANGED) != 0) return lua_error(L);
  if (is_new) {
    lua_settop(L, BOOK);
    return 1;
  }
  lua_newtable(L);
  lua_getfenv(L, BOOK);
  for (int i = before + 1; i <= book->objects; i++) {
    lua_rawgeti(L, NEW + 1, i);
    lua_rawseti(L, NEW, i - before);
  }
  lua_settop(L, NEW);
  return 1;
}

/* context(list of books or nil, shares_memory[, fresh[, lasting]]): what the messages that are encoded and decoded next
 * may refer to, and whether pointers are valid on the other side. Books behind the first `fresh` were made just now;
 * with `lasting` the others may be old. */
static int module_context(lua_State *L)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return lua_error(L);
  lua_settop(L, 4);
  codec_set_chain(L, codec, 1, (int)luaL_optinteger(L, 3, LONGEST_CHAIN), lua_toboolean(L, 4));
  codec->shares_memory = lua_toboolean(L, 2);
  return 0;
}

/* state(table or function) -> a number for what it holds; 0: not known */
static int module_state(lua_State *L)
{
  lua_pushnumber(L, codec_short_state(L, 1));
  return 1;
}

/* place_of(table) -> in which book of the chain it is and its place there; nothing: in none */
static int module_place_of(lua_State *L)
{
  struct codec *codec = codec_of(L);
  int in_chain;
  if (codec == NULL) return lua_error(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  const struct shared *entry = chain_find(codec, lua_topointer(L, 1), &in_chain);
  if (entry == NULL || entry->upvalue != 0 || entry->is_incomplete) return 0;
  lua_pushinteger(L, in_chain + 1);
  lua_pushnumber(L, (lua_Number)entry->offset);
  return 2;
}

/* object_at(book, place) -> the table there; raises when there is none */
static int module_object_at(lua_State *L)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return lua_error(L);
  lua_Number number = luaL_checknumber(L, 1), offset = luaL_checknumber(L, 2);
  const struct shared *entry = NULL;
  if (number >= 1 && number <= codec->chain.count && offset >= 0 && offset < 0x1p53)
    entry = book_entry(codec->chain.books[(int)number - 1], (size_t)offset);
  if (entry == NULL || entry->upvalue != 0) return luaL_error(L, "cannot decode: a class is in no book of the run");
  lua_rawgeti(L, LUA_REGISTRYINDEX, codec->walk_reference);
  lua_getupvalue(L, -1, TOOLS_UPVALUE);
  lua_rawgeti(L, -1, TOOL_CHAIN);
  lua_rawgeti(L, -1, (int)number);
  lua_getfenv(L, -1);
  lua_rawgeti(L, -1, entry->index);
  if (!lua_istable(L, -1)) return luaL_error(L, "cannot decode: a class is no table");
  return 1;
}

/* place_in(book, object) -> its place there; nothing: it has none, or what it held could not all be sent */
static int module_place_in(lua_State *L)
{
  check_book(L, 1);
  const struct book *book = book_at(L, 1);
  const struct map_entry *found = map_get(&book->map, lua_topointer(L, 2));
  const struct shared *entry = found ? book_entry(book, found->value) : NULL;
  if (entry == NULL || entry->upvalue != 0 || entry->is_incomplete) return 0;
  lua_pushnumber(L, (lua_Number)entry->offset);
  return 1;
}

/* object_in(book, place) -> the object there, or nothing */
static int module_object_in(lua_State *L)
{
  check_book(L, 1);
  lua_Number place = luaL_checknumber(L, 2);
  const struct shared *entry = place >= 0 && place < 0x1p53 ? book_entry(book_at(L, 1), (size_t)place) : NULL;
  if (entry == NULL || entry->upvalue != 0) return 0;
  lua_getfenv(L, 1);
  lua_rawgeti(L, -1, entry->index);
  return 1;
}

/* renew(book, place): what the table or function there holds now is what both sides know of it */
static int module_renew(lua_State *L)
{
  lua_settop(L, 2);
  if (module_object_in(L) == 0) return 0;
  struct book *book = book_at(L, 1);
  size_t at = (size_t)(book_entry(book, (size_t)lua_tonumber(L, 2)) - book->list);
  if (lua_istable(L, -1) || lua_isfunction(L, -1)) book->list[at].state = codec_state_of(L, lua_gettop(L));
  return 0;
}

/* required() -> the set of modules that can't cross by content: their value -> true */
static int module_required(lua_State *L)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return lua_error(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, codec->walk_reference);
  lua_getupvalue(L, -1, TOOLS_UPVALUE);
  lua_rawgeti(L, -1, TOOL_REQUIRED);
  return 1;
}

/* moved(): the script may have changed what is in the books */
static int module_moved(lua_State *L)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return lua_error(L);
  map_clear(&codec->checked);
  return 0;
}

/* by_name(name, value): `value`, wherever it occurs, travels as the global `name` ("print") of the receiving state */
static int module_by_name(lua_State *L)
{
  luaL_checkstring(L, 1);
  luaL_argcheck(L, lua_istable(L, 2) || lua_isfunction(L, 2) || lua_isuserdata(L, 2), 2,
                "a function, table or userdata expected");
  lua_settop(L, 2);
  if (codec_declare(L) != 0) return lua_error(L);
  return 0;
}

/* number() -> a number that this state has not had before, however often the modules that ask for it are loaded */
static int module_number(lua_State *L)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return lua_error(L);
  lua_pushnumber(L, (lua_Number)++codec->last_number);
  return 1;
}

/* forget_names(): something has got a name */
static int module_forget_names(lua_State *L)
{
  struct codec *codec = codec_of(L);
  if (codec == NULL) return lua_error(L);
  codec->names_stamp = 0;
  return 0;
}

/* is_own(name): is there such a module in the binary? */
static int module_is_own(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  lua_pushboolean(L, state_has_module(name));
  return 1;
}

/* ---- What the FFI does not tell ---- */

/* type_number(cdata) -> the number of its type, as it stands in front of its content */
static int module_type_number(lua_State *L)
{
  uint16_t number;
  luaL_argcheck(L, lua_type(L, 1) == TYPE_CDATA, 1, "cdata expected");
  memcpy(&number, (const char *)lua_topointer(L, 1) - 6, sizeof number);
  lua_pushinteger(L, number);
  return 1;
}

/* set_ctype(ctype, number) -> the ctype, which is that of another number from now on */
static int module_set_ctype(lua_State *L)
{
  luaL_argcheck(L, lua_type(L, 1) == TYPE_CDATA, 1, "cdata expected");
  uint32_t number = (uint32_t)luaL_checkinteger(L, 2);
  memcpy((void *)lua_topointer(L, 1), &number, sizeof number);
  lua_settop(L, 1);
  return 1;
}

/* symbol_of(address) -> its name and its library's path (nil: the program itself); without a name of its own "+" and
 * its offset in the library, in hexadecimal; nil: it is in no library */
static int module_symbol_of(lua_State *L)
{
  Dl_info info;
  void *map = NULL;
  lua_Number number = luaL_checknumber(L, 1);
  if (!(number >= 0 && number < 0x1p47)) return 0;
  uintptr_t address = (uintptr_t)number;
  if (!dladdr1((void *)address, &info, &map, RTLD_DL_LINKMAP)) return 0;
  const struct link_map *library = map;
  char offset[32];
  snprintf(offset, sizeof offset, "+%zx", (size_t)(address - (uintptr_t)info.dli_fbase));
  lua_pushstring(L, info.dli_sname && info.dli_saddr == (void *)address ? info.dli_sname : offset);
  if (!library || !library->l_name || !library->l_name[0]) return 1;
  lua_pushstring(L, library->l_name);
  return 2;
}

/* find_symbol(library or nil, name) -> its address, or nil and a message */
static int module_find_symbol(lua_State *L)
{
  const char *library = luaL_optstring(L, 1, NULL), *name = luaL_checkstring(L, 2);
  void *handle = dlopen(library, RTLD_LAZY);
  struct link_map *map = NULL;
  uintptr_t address = 0;
  if (handle && name[0] != '+')
    address = (uintptr_t)dlsym(handle, name);
  else if (handle && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map)
    address = (uintptr_t)map->l_addr + (uintptr_t)strtoull(name + 1, NULL, 16);
  if (address) {
    lua_pushnumber(L, (lua_Number)address);
    return 1;
  }
  const char *message = dlerror();
  lua_pushnil(L);
  lua_pushstring(L, message ? message : "there is no such symbol");
  return 2;
}

/* library_of(FFI namespace) -> path of its library, or nil */
static int module_library_of(lua_State *L)
{
  void *const *content = lua_touserdata(L, 1);
  struct link_map *map = NULL;
  if (!content || !*content || dlinfo(*content, RTLD_DI_LINKMAP, &map) != 0 || !map || !map->l_name || !map->l_name[0])
    return 0;
  lua_pushstring(L, map->l_name);
  return 1;
}

/* c_address(f) -> address of a C function's code, or nil */
static int module_c_address(lua_State *L)
{
  lua_CFunction function = lua_tocfunction(L, 1);
  if (!function) return 0;
  lua_pushnumber(L, (lua_Number)(uintptr_t)function);
  return 1;
}

/* ---- What belongs to the process ---- */

/* file_path(file) -> path of an open file, or nil */
static int module_file_path(lua_State *L)
{
  FILE **file = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  char link[64], path[4096];
  if (!*file) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fileno(*file));
  ssize_t length = readlink(link, path, sizeof path);
  if (length <= 0 || length == (ssize_t)sizeof path) return 0;
  lua_pushlstring(L, path, (size_t)length);
  return 1;
}

/* collector() -> its pause and step multiplier, as collectgarbage sets them */
static int module_collector(lua_State *L)
{
  int pause = lua_gc(L, LUA_GCSETPAUSE, 100), multiplier = lua_gc(L, LUA_GCSETSTEPMUL, 100);
  lua_gc(L, LUA_GCSETPAUSE, pause);
  lua_gc(L, LUA_GCSETSTEPMUL, multiplier);
  lua_pushnumber(L, pause);
  lua_pushnumber(L, multiplier);
  return 2;
}

/* is_output(io.output, file) -> is that file the one that io.write writes to? */
static int module_is_output(lua_State *L)
{
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  lua_pushboolean(L, lua_pcall(L, 0, 1, 0) == 0 && lua_rawequal(L, -1, 2)); /* it raises when that is closed */
  return 1;
}

/* directory() -> the working directory, or nil */
static int module_directory(lua_State *L)
{
  char *path = getcwd(NULL, 0);
  if (!path) return 0;
  lua_pushstring(L, path);
  free(path);
  return 1;
}

/* set_directory(path): where it exists */
static int module_set_directory(lua_State *L)
{
  lua_pushboolean(L, chdir(luaL_checkstring(L, 1)) == 0);
  return 1;
}

/* Which permissions new files lack. It can be read by being set alone: what another thread makes meanwhile is for its
 * owner. */
static mode_t read_umask(void)
{
  mode_t mask = umask(S_IRWXG | S_IRWXO);
  umask(mask);
  return mask;
}

/* umask() -> the permissions that new files lack */
static int module_umask(lua_State *L)
{
  lua_pushnumber(L, read_umask());
  return 1;
}

/* set_umask(permissions) */
static int module_set_umask(lua_State *L)
{
  umask((mode_t)luaL_checknumber(L, 1));
  return 0;
}

static uint64_t add_checksum(uint64_t sum, const char *text)
{
  return sum * 31 + codec_checksum(text, strlen(text));
}

/* surroundings() -> a number for the directory, the environment, the locale and the umask; another where one of them is
 * another */
static int module_surroundings(lua_State *L)
{
  extern char **environ;
  char path[PATH_MAX];
  const char *locale = setlocale(LC_ALL, NULL);
  uint64_t sum = add_checksum(0, getcwd(path, sizeof path) ? path : "");
  for (char **entry = environ; entry && *entry; entry++) sum = add_checksum(sum, *entry);
  sum = sum * 31 + read_umask();
  lua_pushnumber(L, (lua_Number)(add_checksum(sum, locale ? locale : "") >> 12));
  return 1;
}

/* Puts "name=value" into the table on top of the stack. */
static void put_variable(lua_State *L, const char *entry)
{
  const char *equal = strchr(entry, '=');
  if (!equal) return;
  lua_pushlstring(L, entry, (size_t)(equal - entry));
  lua_pushstring(L, equal + 1);
  lua_rawset(L, -3);
}

/* first_environment() -> the environment with which the process began: name -> value */
static int module_first_environment(lua_State *L)
{
  FILE *file = fopen("/proc/self/environ", "r");
  char *entry = NULL;
  size_t size = 0;
  lua_newtable(L);
  while (file && getdelim(&entry, &size, 0, file) > 0) put_variable(L, entry);
  free(entry);
  if (file) fclose(file);
  return 1;
}

/* environment() -> what differs in the environment from that with which the process began: name -> value, or false */
static int module_environment(lua_State *L)
{
  extern char **environ;
  lua_settop(L, 0);
  lua_newtable(L);
  for (char **entry = environ; entry && *entry; entry++) put_variable(L, *entry);
  module_first_environment(L);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_rawget(L, 1);
    bool is_gone = lua_isnil(L, -1), is_same = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    if (!is_gone && !is_same) continue;
    lua_pushvalue(L, -2);
    if (is_gone)
      lua_pushboolean(L, 0);
    else
      lua_pushnil(L);
    lua_rawset(L, 1);
  }
  lua_settop(L, 1);
  return 1;
}

/* set_environment(name, value or nil) */
static int module_set_environment(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1), *value = luaL_optstring(L, 2, NULL);
  if (value)
    setenv(name, value, 1);
  else
    unsetenv(name);
  return 0;
}

int luaopen_parlua_codec(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"encode", module_encode},
      {"encode_as", module_encode_as},
      {"encode_result", module_encode_result},
      {"encode_data", module_encode_data},
      {"encode_book", module_encode_book},
      {"encode_items", module_encode_items},
      {"decode_items", module_decode_items},
      {"decode", module_decode},
      {"decode_book", module_decode_book},
      {"is_output", module_is_output},
      {"collector", module_collector},
      {"book", module_book},
      {"clear", module_clear},
      {"walk", module_walk},
      {"context", module_context},
      {"moved", module_moved},
      {"place_of", module_place_of},
      {"place_in", module_place_in},
      {"object_in", module_object_in},
      {"renew", module_renew},
      {"required", module_required},
      {"object_at", module_object_at},
      {"state", module_state},
      {"by_name", module_by_name},
      {"number", module_number},
      {"forget_names", module_forget_names},
      {"is_own", module_is_own},
      {"type_number", module_type_number},
      {"set_ctype", module_set_ctype},
      {"symbol_of", module_symbol_of},
      {"find_symbol", module_find_symbol},
      {"library_of", module_library_of},
      {"c_address", module_c_address},
      {"file_path", module_file_path},
      {"directory", module_directory},
      {"set_directory", module_set_directory},
      {"umask", module_umask},
      {"set_umask", module_set_umask},
      {"environment", module_environment},
      {"first_environment", module_first_environment},
      {"surroundings", module_surroundings},
      {"set_environment", module_set_environment},
      {NULL, NULL},
  };
  lua_createtable(L, 0, 64);
  for (const luaL_Reg *function = functions; function->name; function++) {
    lua_pushcfunction(L, function->func);
    lua_setfield(L, -2, function->name);
  }
  watch_register(L);
  return 1;
}
