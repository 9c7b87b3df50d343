/* place.c - see place.h. */
#include "lua/place.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Where in the script the running call stands, as it was told last. */
struct told_place {
  char source[256];
  int line;
};

/* place_in_script() -> "sweep.lua:12": the innermost Lua function that is not parlua's own. */
static int place_in_script(lua_State *L)
{
  struct told_place *told = lua_touserdata(L, lua_upvalueindex(1));
  lua_Debug info;
  for (int level = 1; lua_getstack(L, level, &info); level++) {
    lua_getinfo(L, "Sl", &info);
    bool is_own = strncmp(info.source, "=parlua/", 8) == 0 || strncmp(info.source, "=parlua.", 8) == 0;
    if (*info.what == 'C' || is_own || info.currentline <= 0) continue;
    if (info.currentline != told->line || strcmp(info.short_src, told->source) != 0) {
      snprintf(told->source, sizeof told->source, "%s", info.short_src);
      told->line = info.currentline;
      lua_pushfstring(L, "%s:%d", info.short_src, info.currentline);
      lua_replace(L, lua_upvalueindex(2));
    }
    lua_pushvalue(L, lua_upvalueindex(2));
    return 1;
  }
  lua_pushliteral(L, "the script");
  return 1;
}

void place_push(lua_State *L)
{
  memset(lua_newuserdata(L, sizeof(struct told_place)), 0, sizeof(struct told_place));
  lua_pushliteral(L, "");
  lua_pushcclosure(L, place_in_script, 2);
}
