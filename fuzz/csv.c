/* csv.c - fuzz target: rows taken apart (src/lua/csv.c), JSON read, and compressed texts.
 *
 * The first byte of an input says what the rest is: rows, with a separator, a quote and types of columns by its bits;
 * JSON; or a file that is read as a stream, with the beginning of one of the ways to compress it put before. Rows are
 * read twice, from the text as it lies and from a copy at another place: both must say the same, and every cell must
 * lie in the text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "lua/csv.h"
#include "lua/json.h"
#include "lua/text.h"

enum { MOST = 100, COLUMNS = 5 };

static lua_State *L;
static char path[] = "/tmp/parlua-fuzz-XXXXXX";

static void remove_file(void)
{
  unlink(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  (void)argc;
  (void)argv;
  L = luaL_newstate();
  luaL_openlibs(L);
  luaopen_parlua_json_reader(L);
  lua_setglobal(L, "read");
  if (luaL_dostring(L, "function revive(name, value) if #name % 2 == 0 then return { name, value } end end")) abort();
  int fd = mkstemp(path);
  if (fd < 0) abort();
  close(fd);
  atexit(remove_file);
  return 0;
}

static void expect(int is_so)
{
  if (!is_so) abort();
}

/* Is this a cell of the text? */
static void check_cell(const struct parlua_csv_cell *cell, const char *from, const char *stop)
{
  if (cell->kind == PARLUA_CSV_NUMBER || cell->kind == PARLUA_CSV_NIL) return;
  expect(cell->at >= from && cell->at <= stop);
  if (cell->kind != PARLUA_CSV_ODD) expect(cell->length <= (size_t)(stop - cell->at));
}

static void same_cell(const struct parlua_csv_cell *a, const struct parlua_csv_cell *b, const char *from,
                      const char *copy)
{
  expect(a->kind == b->kind);
  if (a->kind == PARLUA_CSV_NIL) return;
  if (a->kind == PARLUA_CSV_NUMBER) {
    expect(a->number == b->number);
    return;
  }
  expect(a->at - from == b->at - copy);
  if (a->kind != PARLUA_CSV_ODD) expect(a->length == b->length);
}

static void read_rows(int how, const char *bytes, size_t length)
{
  static const char separators[] = ",;\t\"";
  uint8_t types[COLUMNS];
  uint32_t columns = how & 8 ? COLUMNS : 0;
  int separator = separators[how & 3], quote = how & 4 ? '\'' : '"';
  for (int k = 0; k < COLUMNS; k++) types[k] = columns ? (uint8_t)((how >> k) & 3) : PARLUA_CSV_AUTO;
  struct parlua_csv_rows *a = parlua_csv_open(separator, quote, columns, types),
                         *b = parlua_csv_open(separator, quote, columns, types);
  char *text = malloc(length + 1), *copy = malloc(length + 33); /* no byte behind the text may be read */
  if (!a || !b || !text || !copy) abort();
  memcpy(text, bytes, length);
  memcpy(copy + 32, bytes, length);
  const char *p = text, *q = copy + 32, *stop = text + length;
  for (;;) {
    int n = parlua_csv_fill(a, p, stop, MOST), m = parlua_csv_fill(b, q, copy + 32 + length, MOST);
    expect(n == m && n >= 0);
    if (n == 0) break;
    for (int r = 0; r < n; r++) {
      expect(a->counts[r] == b->counts[r] && a->starts[r] == b->starts[r] &&
             a->ends[r] - text == b->ends[r] - (copy + 32));
      expect(a->ends[r] > p && a->ends[r] <= stop);
      expect(parlua_csv_skip(p, stop, separator, quote) == a->ends[r]);
      /* Of a row whose quotes are not closed nobody reads cells. */
      uint32_t fields = a->counts[r] == PARLUA_CSV_UNCLOSED ? 0 : (uint32_t)a->counts[r], cells = 0;
      for (uint32_t k = 0; k < (columns ? columns : fields); k++) cells += !columns || types[k] != PARLUA_CSV_UNREAD;
      for (uint32_t k = 0; k < cells && fields >= columns; k++) {
        check_cell(&a->cells[a->starts[r] + k], text, stop);
        same_cell(&a->cells[a->starts[r] + k], &b->cells[b->starts[r] + k], text, copy + 32);
      }
      p = a->ends[r];
      q = b->ends[r];
    }
  }
  parlua_csv_close(a);
  parlua_csv_close(b);
  free(text);
  free(copy);
}

static void read_json(const char *bytes, size_t length)
{
  lua_getglobal(L, "read");
  lua_pushlstring(L, bytes, length);
  lua_getglobal(L, "revive");
  if (lua_pcall(L, 2, 1, 0)) expect(lua_isstring(L, -1));
  lua_settop(L, 0);
  lua_gc(L, LUA_GCSTEP, 10);
}

static void read_packed(int how, const char *bytes, size_t length)
{
  static const struct {
    const char *bytes;
    size_t length;
  } heads[] = {{"\x1f\x8b\x08\0\0\0\0\0\0\x03", 10}, {"\x28\xb5\x2f\xfd", 4}, {"\xfd\x37zXZ\0\0\x04", 8}, {"", 0}};
  struct text text;
  struct text_cut cut = {.want = 50, .size = 1 << 14, .is_rows = how & 4, .quote = '"', .separator = ','};
  const char *paths[] = {path, path}, *at;
  size_t failed, count;
  int error;
  FILE *file = fopen(path, "wb");
  if (!file) abort();
  fwrite(heads[how & 3].bytes, 1, heads[how & 3].length, file);
  fwrite(bytes, 1, length, file);
  fclose(file);
  if (text_open(&text, paths, 2, &failed)) return;
  if (text.is_stream) {
    size_t taken = 0;
    for (;;) {
      ssize_t n = text_take(&text, &cut, &at, &count);
      if (n < 0 || (taken += (size_t)n) > 1 << 22) break; /* a small file may hold very much */
      if (n == 0 && !text_next_part(&text, &error)) break;
    }
  }
  text_close(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0) return 0;
  const char *bytes = (const char *)data + 1;
  if (data[0] < 128)
    read_rows(data[0], bytes, size - 1);
  else if (data[0] < 192)
    read_json(bytes, size - 1);
  else
    read_packed(data[0], bytes, size - 1);
  return 0;
}
