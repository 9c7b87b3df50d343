/* rows.c - see rows.h. */
#include "lua/rows.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "lua/journal.h"
#include "lua/state.h"
#include "run/event.h"

/* Rows of a larger chunk don't stay in memory. */
enum { KEPT_ROWS_BYTES = 1 << 20 };

struct rows {
  lua_State *L;
  struct journal *journal;
  struct buffer *put;
};

static const char maker_key[] = "parlua.rows";

/* What `begin` below is called with. */
struct beginning {
  struct journal *journal;
  const char *what;
  size_t length;
};

/* Leaves the function that makes rows of an event in the state; protected. */
static int begin(lua_State *L)
{
  const struct beginning *beginning = lua_touserdata(L, 1);
  state_push_from_module(L, "parlua.drive.rows", "begin");
  lua_pushlightuserdata(L, beginning->journal);
  lua_pushlstring(L, beginning->what, beginning->length);
  lua_call(L, 2, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, maker_key);
  return 0;
}

static void rows_end(struct rows *rows)
{
  if (!rows) return;
  if (rows->L) state_close(rows->L);
  if (rows->journal) journal_close(rows->journal);
  free(rows);
}

static struct rows *rows_begin(const char *what, size_t length)
{
  struct rows *rows = calloc(1, sizeof *rows);
  if (!rows) return NULL;
  rows->journal = journal_gather(&rows->put);
  rows->L = rows->journal ? state_new() : NULL;
  struct beginning beginning = {rows->journal, what, length};
  if (rows->L && lua_cpcall(rows->L, begin, &beginning) == 0) return rows;
  rows_end(rows);
  return NULL;
}

static bool rows_make(struct rows *rows, const struct event *event, const char **bytes, uint64_t *length)
{
  lua_State *L = rows->L;
  lua_settop(L, 0);
  buffer_clear(rows->put, KEPT_ROWS_BYTES);
  lua_getfield(L, LUA_REGISTRYINDEX, maker_key);
  lua_pushlightuserdata(L, (void *)(uintptr_t)event);
  if (lua_pcall(L, 1, 0, 0) != 0) return false;
  *bytes = (const char *)rows->put->bytes;
  *length = rows->put->length;
  return true;
}

const struct row_maker lua_row_maker = {.begin = rows_begin, .make = rows_make, .end = rows_end};
