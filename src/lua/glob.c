/* glob.c - see glob.h. */
#include "lua/glob.h"

#include <errno.h>
#include <fnmatch.h>
#include <fts.h>
#include <glob.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>

static void add_file(lua_State *L, int list, const char *path)
{
  struct stat info;
  if (stat(path, &info) < 0 || S_ISDIR(info.st_mode)) return;
  lua_pushstring(L, path);
  lua_rawseti(L, list, (int)lua_objlen(L, list) + 1);
}

int glob_lua_is_file(lua_State *L)
{
  struct stat info;
  lua_pushboolean(L, stat(luaL_checkstring(L, 1), &info) == 0 && !S_ISDIR(info.st_mode));
  return 1;
}

/* The part of `path` that has as many components as `pattern`. */
static const char *last_components(const char *path, const char *pattern)
{
  int slashes = 0;
  for (const char *p = pattern; *p; p++) slashes += *p == '/';
  const char *p = path + strlen(path);
  for (; p > path; p--)
    if (p[-1] == '/' && slashes-- == 0) break;
  return p;
}

/* Files below `root` whose last components match `pattern`. */
static void walk(lua_State *L, int list, char *root, const char *pattern)
{
  char *roots[] = {root, NULL};
  FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
  if (!tree) return;
  for (FTSENT *entry; (entry = fts_read(tree));) {
    if (entry->fts_level > 0 && entry->fts_name[0] == '.') {
      fts_set(tree, entry, FTS_SKIP);
      continue;
    }
    if (entry->fts_info != FTS_F && entry->fts_info != FTS_SL && entry->fts_info != FTS_DEFAULT) continue;
    if (fnmatch(pattern, last_components(entry->fts_path, pattern), FNM_PATHNAME | FNM_PERIOD) == 0)
      add_file(L, list, entry->fts_path);
  }
  fts_close(tree);
}

int glob_lua(lua_State *L)
{
  const char *pattern = luaL_checkstring(L, 1), *deep = strstr(pattern, "**/");
  glob_t found;
  lua_newtable(L);
  int list = lua_gettop(L);
  if (deep && (deep == pattern || deep[-1] == '/')) {
    lua_pushlstring(L, pattern, deep == pattern ? 0 : (size_t)(deep - pattern - 1));
    const char *root = lua_tostring(L, -1);
    int status = glob(deep == pattern ? "." : *root ? root : "/", GLOB_TILDE | GLOB_BRACE, NULL, &found);
    for (size_t i = 0; status == 0 && i < found.gl_pathc; i++) walk(L, list, found.gl_pathv[i], deep + 3);
    if (status == 0) globfree(&found);
    lua_pop(L, 1);
  } else {
    int status = glob(pattern, GLOB_TILDE | GLOB_BRACE, NULL, &found);
    for (size_t i = 0; status == 0 && i < found.gl_pathc; i++) add_file(L, list, found.gl_pathv[i]);
    if (status == 0) globfree(&found);
    if (status == GLOB_NOMATCH && !strpbrk(pattern, "*?[{")) {
      lua_pushnil(L);
      lua_pushstring(L, strerror(ENOENT));
      return 2;
    }
  }
  lua_pushvalue(L, list);
  return 1;
}
