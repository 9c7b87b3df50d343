/* csv.h - rows of comma-separated values, taken apart many at once: where each field is and what it reads as, for the
 * Lua side, which makes rows of it (lua/parlua/source/csv.lua). Plain C declarations only: the text is also given to
 * LuaJIT's ffi.cdef as it stands. */
#ifndef PARLUA_CSV_H
#define PARLUA_CSV_H
#include <stdint.h>

/* What a field is. From 0 on: a text that has been seen before or will be seen again, under this number. */
enum parlua_csv_kind {
  PARLUA_CSV_NUMBER = -1, /* `number` */
  PARLUA_CSV_NIL = -2,    /* there is nothing */
  PARLUA_CSV_TEXT = -3,   /* `length` bytes from `at` on */
  PARLUA_CSV_ODD =
      -4 /* the field begins at `at`; the Lua side reads it: quotes with quotes in them, what a column's type refuses */
};

/* In the place of the number of a row's fields: its last one is in quotes that are not closed before the text ends. */
enum { PARLUA_CSV_UNCLOSED = -1 };

/* How the fields of a column are read. */
enum parlua_csv_type { PARLUA_CSV_UNREAD, PARLUA_CSV_AUTO, PARLUA_CSV_STRING, PARLUA_CSV_NUMERIC };

struct parlua_csv_cell {
  union {
    double number;
    const char *at; /* also of texts that have a number */
  };
  int32_t kind; /* enum parlua_csv_kind, or the number of a text */
  uint32_t length;
};

/* Rows that were taken apart. Row r has its cells from cells[starts[r]] on: one for each column that is read, or, where
 * there are no names, one for each field. */
struct parlua_csv_rows {
  struct parlua_csv_cell *cells;
  const char **ends; /* ends[r]: where the row behind row r begins */
  uint32_t *starts;
  int32_t *counts;    /* fields of row r, or PARLUA_CSV_UNCLOSED */
  const char *next;   /* where row `row` begins */
  uint32_t row, rows; /* the next row that is wanted; how many there are */
};

/* A reader of rows with `columns` columns, types[k] being an enum parlua_csv_type; 0 columns: rows of any number of
 * fields, all of them read as types[0]. NULL: out of memory. */
struct parlua_csv_rows *parlua_csv_open(int separator, int quote, uint32_t columns, const uint8_t *types);
void parlua_csv_close(struct parlua_csv_rows *rows);
/* Takes rows from `from` on apart, up to `stop`, as many as there is room for and at most so many. Returns how many; 0:
 * there are none; -1: out of memory. */
int parlua_csv_fill(struct parlua_csv_rows *rows, const char *from, const char *stop, uint32_t most);
/* The row behind the one at `from`. */
const char *parlua_csv_skip(const char *from, const char *stop, int separator, int quote);

#endif
