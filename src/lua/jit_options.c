/* jit_options.c - see jit_options.h. */
#include "lua/jit_options.h"

#include <string.h>

#include <lauxlib.h>

#include "lua/state.h"

/* Pushes the words of a comma-separated list; returns how many. */
static int push_words(lua_State *L, const char *list)
{
  int count = 0;
  while (*list) {
    size_t length = strcspn(list, ",");
    luaL_checkstack(L, 1, "too many words in an option");
    lua_pushlstring(L, list, length);
    list += length + (list[length] == ',');
    count++;
  }
  return count;
}

/* Pushes require("jit.NAME").start; raises luajit's message when there is no such module, and another's own. */
static void push_jit_module(lua_State *L, const char *name)
{
  lua_getglobal(L, "require");
  lua_pushfstring(L, "jit.%s", name);
  if (lua_pcall(L, 1, 1, 0) != 0) {
    const char *message = lua_tostring(L, -1);
    if (message && strncmp(message, "module ", strlen("module ")) != 0) lua_error(L);
    luaL_error(L, "unknown luaJIT command or jit.* modules not installed");
  }
  lua_getfield(L, -1, "start");
  if (!lua_isfunction(L, -1)) luaL_error(L, "unknown luaJIT command or jit.* modules not installed");
}

int jit_control(lua_State *L)
{
  const char *command = lua_tostring(L, 1), *equals = strchr(command, '=');
  lua_pushlstring(L, command, equals ? (size_t)(equals - command) : strlen(command));
  const char *name = lua_tostring(L, 2);
  if (*name && strspn(name, "0123456789") == strlen(name))
    luaL_error(L, "-j is LuaJIT's option, as -jon, -joff or -jv; for %s workers: -n %s", name, name);
  lua_getglobal(L, "jit");
  lua_getfield(L, -1, name);
  if (!lua_isfunction(L, -1)) push_jit_module(L, name);
  lua_call(L, equals ? push_words(L, equals + 1) : 0, 0);
  return 0;
}

int jit_optimize(lua_State *L)
{
  state_push_from_module(L, "jit.opt", "start");
  lua_call(L, push_words(L, lua_tostring(L, 1)), 0);
  return 0;
}

int jit_save(lua_State *L)
{
  char **words = lua_touserdata(L, 1);
  state_push_from_module(L, "jit.bcsave", "start");
  int count = 0;
  if (words[0][2] != '\0') {
    lua_pushfstring(L, "-%s", words[0] + 2);
    count++;
  }
  while (*++words) {
    luaL_checkstack(L, 1, "too many arguments");
    lua_pushstring(L, *words);
    count++;
  }
  lua_call(L, count, 0);
  return 0;
}
