#include "lua/state.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "lua/heap.h"
#include "sys/signals.h"

int luaopen_parlua_host(lua_State *L);
int luaopen_parlua_codec(lua_State *L);
int luaopen_parlua_hash(lua_State *L);
int luaopen_parlua_terminal(lua_State *L);
int luaopen_parlua_copy(lua_State *L);
int luaopen_parlua_outfile(lua_State *L);
int luaopen_parlua_program(lua_State *L);
int luaopen_parlua_json_reader(lua_State *L);

/* The C modules linked into the binary, by the name under which `require` finds them. */
static const luaL_Reg c_modules[] = {
    {"parlua.host", luaopen_parlua_host}, //
    {"parlua.codec", luaopen_parlua_codec},
    {"parlua.hash", luaopen_parlua_hash},
    {"parlua.terminal", luaopen_parlua_terminal},
    {"parlua.copy", luaopen_parlua_copy},
    {"parlua.outfile", luaopen_parlua_outfile},
    {"parlua.program", luaopen_parlua_program},
    {"parlua.json_reader", luaopen_parlua_json_reader},
    {NULL, NULL},
};

static int compare_module(const void *name, const void *module)
{
  return strcmp(name, ((const struct embedded_module *)module)->name);
}

/* The embedded module of this name; NULL: there is none. */
static const struct embedded_module *find_module(const char *name)
{
  return bsearch(name, embedded_modules, embedded_modules_count, sizeof *embedded_modules, compare_module);
}

bool state_has_module(const char *name)
{
  for (const luaL_Reg *module = c_modules; module->name; module++)
    if (strcmp(module->name, name) == 0) return true;
  return find_module(name) != NULL;
}

int state_lua_header(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  for (const struct embedded_header *header = embedded_headers; header->name; header++) {
    if (strcmp(header->name, name) != 0) continue;
    lua_pushstring(L, header->text);
    return 1;
  }
  return luaL_error(L, "there is no header '%s' inside parlua", name);
}

static const char own_globals[] = "parlua.globals"; /* in the registry: see keep_globals */

/* The module's own function, upvalue 1, is called once in a state: a script or a test runner that takes modules out of
 * package.loaded gets the same again. Two of one would each believe to know what is kept once for the state. */
static int open_once(lua_State *L)
{
  static const char opened[] = "parlua.loaded";
  lua_settop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, opened);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, opened);
  }
  lua_pushvalue(L, 1);
  lua_rawget(L, 2);
  if (!lua_isnil(L, -1)) return 1;
  lua_pushvalue(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  lua_pushvalue(L, -1);
  lua_insert(L, -3);
  lua_rawset(L, 2);
  return 1;
}

/* The first of package.loaders: finds the modules inside parlua, C and Lua, the latter compiled already; then what the
 * loader in whose place it stands finds, in package.preload. Before any file, so that a stray directory called parlua/
 * cannot stand in for a part of the binary; and not in package.preload or as a loader of its own, so that scripts find
 * these as luajit has them. */
static int search_inside(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  for (const luaL_Reg *module = c_modules; module->name; module++) {
    if (strcmp(module->name, name) != 0) continue;
    lua_pushcfunction(L, module->func);
    lua_pushcclosure(L, open_once, 1);
    return 1;
  }
  const struct embedded_module *module = find_module(name);
  if (module) {
    /* The bytecode carries its own chunk name; the one given here serves a message about damaged bytecode only. */
    if (luaL_loadbuffer(L, (const char *)module->bytecode, module->length, name) != 0)
      return luaL_error(L, "cannot load the module '%s' inside parlua: %s", name, lua_tostring(L, -1));
    bool is_prompt = strncmp(name, "parlua.prompt.", strlen("parlua.prompt.")) == 0; /* lua/parlua/prompt/own.lua */
    lua_getfield(L, LUA_REGISTRYINDEX, is_prompt ? "parlua.prompt.own" : own_globals);
    if (lua_istable(L, -1))
      lua_setfenv(L, -2);
    else
      lua_pop(L, 1);
    if (strcmp(name, "parlua.options") != 0) lua_pushcclosure(L, open_once, 1); /* that follows the command line */
    return 1;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

/* package.preload.ffi: returns the FFI, upvalue 1. LuaJIT makes a new table of all C types each time that its FFI is
 * opened. Then nothing that a state has declared is known any more, types that are kept become others, and memory is
 * written as what it is not. So it is opened once in a state; a script or a test runner that takes it out of
 * package.loaded gets the same again. */
static int return_ffi(lua_State *L)
{
  lua_pushvalue(L, lua_upvalueindex(1));
  return 1;
}

/* Opens the FFI, which sets package.loaded.ffi; expects the table `package` on top. */
static void open_ffi(lua_State *L)
{
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_ffi);
  lua_pushliteral(L, "ffi");
  lua_call(L, 1, 1);
  lua_pushcclosure(L, return_ffi, 1);
  lua_setfield(L, -2, "ffi");
  lua_pop(L, 1);
}

/* Puts search_inside in its place; expects the table `package` on top. */
static void add_searcher(lua_State *L)
{
  lua_getfield(L, -1, "loaders");
  lua_rawgeti(L, -1, 1);
  lua_pushcclosure(L, search_inside, 1);
  lua_rawseti(L, -2, 1);
  lua_pop(L, 1);
}

/* Keeps the globals as they are in every state, in the registry: a script may put functions of its own in their places
   and still use the first ones, which are known by their names (closure.lua). They are the environment of parlua's own
   modules: a script whose `type` is another breaks nothing here. What they don't have is what the script has; so is
   `print`, which a worker has of its own (output.c). */
static void keep_globals(lua_State *L)
{
  lua_createtable(L, 0, 32);
  lua_pushnil(L);
  while (lua_next(L, LUA_GLOBALSINDEX)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_pushnil(L);
  lua_setfield(L, -2, "print");
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_setfield(L, LUA_REGISTRYINDEX, own_globals);
}

/* Fills a new state; runs protected, since each step may run out of memory. */
static int open_state(lua_State *L)
{
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  add_searcher(L);
  open_ffi(L);
  keep_globals(L);
  /* Replace math.random, os.execute and others before any script can keep them in locals. */
  static const char *const first[] = {"parlua.task", "parlua.worker.library", "parlua.wire.record",
                                      "parlua.wire.start"};
  for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
    lua_getglobal(L, "require");
    lua_pushstring(L, first[i]);
    lua_call(L, 1, 0);
  }
  return 0;
}

lua_State *state_new(void)
{
  lua_State *L = luaL_newstate();
  if (!L) return NULL;
  heap_install(L);
  lua_gc(L, LUA_GCSTOP, 0); /* nothing to collect while the libraries open */
  if (lua_cpcall(L, open_state, NULL) != 0) {
    heap_close(L, false);
    return NULL;
  }
  state_collect_later(L);
  return L;
}

void state_collect_later(lua_State *L)
{
  int pause = lua_gc(L, LUA_GCSETPAUSE, 800);
  lua_gc(L, LUA_GCRESTART, -1); /* sets the size at which the next collection begins, by the pause */
  lua_gc(L, LUA_GCSETPAUSE, pause);
}

static atomic_bool program_ends;

void state_program_ends(void)
{
  atomic_store(&program_ends, true);
}

void state_close(lua_State *L)
{
  heap_close(L, atomic_load(&program_ends));
}

/* value -> a short text for people. Called protected. */
static int show_value(lua_State *L)
{
  state_push_from_module(L, "parlua.failure", "describe");
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

/* Replaces the error value at index 1, which is no string, by one that shows it. The __tostring is called protected:
   one that raises must not hide the error that it was to describe. */
static void describe_error(lua_State *L)
{
  bool described = false;
  if (luaL_getmetafield(L, 1, "__tostring")) {
    lua_pushvalue(L, 1);
    described = lua_pcall(L, 1, 1, 0) == 0 && lua_isstring(L, -1);
  }
  if (!described) {
    lua_pushcfunction(L, show_value);
    lua_pushvalue(L, 1);
    described = lua_pcall(L, 1, 1, 0) == 0 && lua_isstring(L, -1);
  }
  if (!described) lua_pushfstring(L, "(error value is a %s)", luaL_typename(L, 1));
  lua_replace(L, 1);
  lua_settop(L, 1);
}

static bool begins_with(const char *text, const char *with)
{
  return strncmp(text, with, strlen(with)) == 0;
}

/* Pushes the traceback without the frames of parlua's own modules: these tell a user nothing about a mistake of the
 * script's. Of a message that names a place in one of them, a fault of parlua's own, all frames are told. */
static void push_traceback(lua_State *L, const char *message)
{
  luaL_traceback(L, L, NULL, 1);
  if (begins_with(message, "parlua/")) return;
  luaL_Buffer kept;
  luaL_buffinit(L, &kept);
  const char *line = lua_tostring(L, -1), *raising = NULL; /* `error` itself, which is of whom has called it */
  while (*line != '\0') {
    size_t length = strcspn(line, "\n");
    length += line[length] == '\n';
    bool is_own = begins_with(line, "\tparlua/");
    if (raising && !is_own) luaL_addlstring(&kept, raising, (size_t)(line - raising));
    raising = begins_with(line, "\t[C]: in function 'error'") ? line : NULL;
    if (!raising && !is_own) luaL_addlstring(&kept, line, length);
    line += length;
  }
  luaL_pushresult(&kept);
  lua_replace(L, -2);
}

/* The message handler of state_call: turns any error value into a string with a traceback. */
static int add_traceback(lua_State *L)
{
  if (lua_isnil(L, 1)) return 1;
  if (!lua_isstring(L, 1)) describe_error(L);
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "\n");
  push_traceback(L, lua_tostring(L, 1));
  lua_concat(L, 3);
  return 1;
}

void state_push_global(lua_State *L, const char *name)
{
  lua_getfield(L, LUA_REGISTRYINDEX, own_globals);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

void state_push_from_module(lua_State *L, const char *module, const char *field)
{
  state_push_global(L, "require");
  lua_pushstring(L, module);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, field);
  lua_remove(L, -2);
}

int state_call(lua_State *L, int nargs, int nresults)
{
  int function = lua_gettop(L) - nargs;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, function);
  int status = lua_pcall(L, nargs, nresults, function);
  lua_remove(L, function);
  return status;
}

static lua_State *interruptible; /* whose call Ctrl-C interrupts */
static bool is_raised, was_interrupted;

/* The hook that ends what runs. */
static void raise_interrupted(lua_State *L, lua_Debug *ar)
{
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  signals_grace(SIGINT, false);
  is_raised = true;
  luaL_error(L, "interrupted!");
}

/* SIGINT while Lua runs: the next instruction, call or return raises. */
static void on_interrupt(int number)
{
  if (signals_pass_to_main(number)) return;
  signal(number, SIG_DFL);
  lua_sethook(interruptible, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  signals_grace(number, true);
}

bool state_was_interrupted(void)
{
  return was_interrupted;
}

int state_call_interruptible(lua_State *L, int nargs, int nresults)
{
  struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART}, before;
  sigaction(SIGINT, NULL, &before);
  if (before.sa_handler == SIG_IGN) return state_call(L, nargs, nresults); /* it was started so */
  lua_State *outer = interruptible;
  interruptible = L;
  signals_prepare();
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  signals_changed();
  is_raised = false;
  int status = state_call(L, nargs, nresults);
  was_interrupted = was_interrupted || (is_raised && status != 0);
  sigaction(SIGINT, &before, NULL);
  signals_changed();
  signals_grace(SIGINT, false);
  if (lua_gethook(L) == raise_interrupted) lua_sethook(L, NULL, 0, 0);
  interruptible = outer;
  return status;
}
