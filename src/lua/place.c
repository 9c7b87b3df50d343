/* place.c - see place.h. */
#include "lua/place.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

/* The place that was told last: TOLD_TEXT is what was said of line TOLD_LINE in the function that TOLD_FUNCTION, a
 * table that does not keep it alive, has at 1. */
enum { TOLD_FUNCTION = lua_upvalueindex(1), TOLD_LINE = lua_upvalueindex(2), TOLD_TEXT = lua_upvalueindex(3) };

static bool is_own(const lua_Debug *info)
{
  return strncmp(info->source, "=parlua/", 8) == 0 || strncmp(info->source, "=parlua.", 8) == 0;
}

/* place_in_script([level]) -> "sweep.lua:12": the innermost Lua function that is not parlua's own. `level`: of those
 * that called this, the first that is looked at; default: 1. A loop asks for one place again and again: then neither
 * names nor lines are made into text. */
static int place_in_script(lua_State *L)
{
  lua_Debug info;
  for (int level = (int)luaL_optinteger(L, 1, 1); lua_getstack(L, level, &info); level++) {
    lua_getinfo(L, "fl", &info);
    lua_rawgeti(L, TOLD_FUNCTION, 1);
    if (info.currentline == lua_tointeger(L, TOLD_LINE) && lua_rawequal(L, -1, -2)) {
      lua_pushvalue(L, TOLD_TEXT);
      return 1;
    }
    lua_pop(L, 1);
    lua_getinfo(L, "S", &info);
    if (*info.what != 'C' && info.currentline > 0 && !is_own(&info)) {
      lua_rawseti(L, TOLD_FUNCTION, 1);
      lua_pushinteger(L, info.currentline);
      lua_replace(L, TOLD_LINE);
      lua_pushfstring(L, "%s:%d", info.short_src, info.currentline);
      lua_pushvalue(L, -1);
      lua_replace(L, TOLD_TEXT);
      return 1;
    }
    lua_pop(L, 1);
  }
  lua_pushliteral(L, "the script");
  return 1;
}

void place_push(lua_State *L)
{
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushinteger(L, 0);
  lua_pushliteral(L, "");
  lua_pushcclosure(L, place_in_script, 3);
}
