/* csv.c - see csv.h. Separators and line ends are found 64 bytes at a time; numbers are read without a string; short
 * texts that come again and again are given a number, so that the Lua side makes a string of each once. */
#include "lua/csv.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "lua/number.h"

enum {
  WIDE = 64,            /* bytes that are looked at together */
  MOST_ROWS = 256,      /* taken apart at once */
  MOST_CELLS = 1 << 14, /* about, likewise */
  TEXT_SLOTS = 1 << 14, /* of the table of texts, a power of two */
  MOST_TEXTS = 1 << 13, /* that are given a number */
  LONGEST_TEXT = 16,    /* of these */
  PROBATION = 1 << 15,  /* after so many texts a column is looked at: */
  MOST_NEW = 2,         /* one in so many new is too many */
};

/* A text that has a number. */
struct text_slot {
  uint64_t low, high;
  uint32_t length;
  uint32_t number; /* from 1; 0: the slot is free */
};

struct column {
  uint8_t type;
  bool has_texts;       /* are its texts given numbers? */
  uint32_t looked, new; /* texts looked up; those that were new */
};

struct reader {
  struct parlua_csv_rows rows; /* first: what others see */
  char separator, quote;
  uint32_t columns, read; /* columns; those that are read */
  struct column *column;  /* one for each; where rows have no names, one for all */
  size_t capacity;        /* of rows.cells */
  struct text_slot *texts;
  uint32_t text_count;
};

/* ---- marks: separators and line ends ---- */

struct marks {
  const char *block, *stop;
  uint64_t left; /* bit k: block[k] is a mark that has not been taken */
  char separator;
};

#ifdef __SSE2__
static uint64_t marks_in(const char *bytes, char separator)
{
  const __m128i separators = _mm_set1_epi8(separator), ends = _mm_set1_epi8('\n');
  uint64_t found = 0;
  for (int k = 0; k < WIDE; k += 16) {
    __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(bytes + k));
    __m128i marked = _mm_or_si128(_mm_cmpeq_epi8(some, separators), _mm_cmpeq_epi8(some, ends));
    found |= (uint64_t)(uint32_t)_mm_movemask_epi8(marked) << k;
  }
  return found;
}
#else
/* One bit for each byte of `word` that is zero, in the order of the bytes in memory. */
static uint64_t zero_bytes(uint64_t word)
{
  const uint64_t low = 0x7f7f7f7f7f7f7f7fULL;
  uint64_t zero = ~(((word & low) + low) | word |
                    low); /* the upper bit of each byte that is zero: exact, nothing is carried over */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  zero = __builtin_bswap64(zero);
#endif
  return ((zero >> 7) * 0x0102040810204080ULL) >> 56;
}

static uint64_t marks_in(const char *bytes, char separator)
{
  const uint64_t each = 0x0101010101010101ULL;
  const uint64_t separators = each * (unsigned char)separator, ends = each * '\n';
  uint64_t found = 0;
  for (int k = 0; k < WIDE; k += 8) {
    uint64_t word;
    memcpy(&word, bytes + k, 8);
    found |= (zero_bytes(word ^ separators) | zero_bytes(word ^ ends)) << k;
  }
  return found;
}
#endif

static void look(struct marks *marks)
{
  char rest[WIDE] = {0};
  size_t length = (size_t)(marks->stop - marks->block);
  if (length >= WIDE) {
    marks->left = marks_in(marks->block, marks->separator);
  } else { /* what lies behind the text may not be there */
    memcpy(rest, marks->block, length);
    marks->left = marks_in(rest, marks->separator) & (((uint64_t)1 << length) - 1);
  }
}

/* Begins anew at `at`. */
static void look_from(struct marks *marks, const char *at)
{
  marks->block = at;
  look(marks);
}

/* The next mark, or the end of the text. */
static inline const char *next_mark(struct marks *marks)
{
  while (!marks->left) {
    if (marks->stop - marks->block <= WIDE) {
      marks->block = marks->stop;
      return marks->stop;
    }
    marks->block += WIDE;
    look(marks);
  }
  const char *at = marks->block + __builtin_ctzll(marks->left);
  marks->left &= marks->left - 1;
  return at;
}

/* ---- texts ---- */

/* The bytes of a text of at most 16, as two words. What lies behind it is not looked at. */
static inline void load_text(const char *at, size_t length, uint64_t *low, uint64_t *high)
{
  char bytes[LONGEST_TEXT] = {0};
  memcpy(bytes, at, length);
  memcpy(low, bytes, 8);
  memcpy(high, bytes + 8, 8);
}

/* The number of a text, from 0; -1: it has none. */
static int32_t text_number(struct reader *reader, struct column *column, const char *at, size_t length)
{
  uint64_t low, high;
  load_text(at, length, &low, &high);
  uint64_t hash = (low ^ (high * 0x9e3779b97f4a7c15ULL) ^ length) * 0xd1b54a32d192ed03ULL;
  uint32_t place = (uint32_t)(hash >> 40) & (TEXT_SLOTS - 1);
  if (++column->looked % PROBATION == 0 && column->new *MOST_NEW > column->looked) column->has_texts = false;
  for (;; place = (place + 1) & (TEXT_SLOTS - 1)) {
    struct text_slot *slot = &reader->texts[place];
    if (slot->number == 0) {
      column->new ++;
      if (reader->text_count == MOST_TEXTS) return -1;
      *slot = (struct text_slot){low, high, (uint32_t)length, ++reader->text_count};
      return (int32_t)slot->number - 1;
    }
    if (slot->low == low && slot->high == high && slot->length == length) return (int32_t)slot->number - 1;
  }
}

static inline void set_text(struct reader *reader, struct column *column, struct parlua_csv_cell *cell, const char *at,
                            size_t length)
{
  cell->at = at;
  cell->length = (uint32_t)length;
  cell->kind = PARLUA_CSV_TEXT;
  if (length > UINT32_MAX) cell->kind = PARLUA_CSV_ODD;
  if (length <= LONGEST_TEXT && column->has_texts) {
    int32_t number = text_number(reader, column, at, length);
    if (number >= 0) cell->kind = number;
  }
}

/* A field that is in no quotes. */
static inline void set_plain(struct reader *reader, struct column *column, struct parlua_csv_cell *cell,
                             const char *from, const char *to)
{
  if (column->type != PARLUA_CSV_STRING) {
    if (from == to) {
      cell->kind = PARLUA_CSV_NIL;
      return;
    }
    if ((number_is_digit(*from) || *from == '-') && number_read(from, to, true, &cell->number)) {
      cell->kind = PARLUA_CSV_NUMBER;
      return;
    }
    if (column->type == PARLUA_CSV_NUMERIC) {
      cell->at = from;
      cell->kind = PARLUA_CSV_ODD;
      return;
    }
  }
  set_text(reader, column, cell, from, (size_t)(to - from));
}

/* ---- rows ---- */

/* Behind the quotes that the field at `p` begins with: at the separator, the line's end or the text's. *close: the
 * closing quote; *is_plain: nothing is in the quotes twice, and nothing stands between them and the end. */
static const char *quoted_end(const char *p, const char *stop, char separator, char quote, const char **close,
                              bool *is_plain)
{
  *is_plain = true;
  for (p++;; p += 2) {
    const char *found = memchr(p, quote, (size_t)(stop - p));
    p = found ? found : stop;
    if (p == stop || p + 1 == stop || p[1] != quote) break;
    *is_plain = false;
  }
  *close = p;
  if (p < stop) p++;
  const char *behind = p;
  while (p < stop && *p != separator && *p != '\n') p++;
  const char *end = p > behind && p[-1] == '\r' && (p == stop || *p == '\n') ? p - 1 : p;
  if (end > behind) *is_plain = false;
  return p;
}

static const char *skip_empty_lines(const char *p, const char *stop)
{
  while (p < stop && (*p == '\n' || (*p == '\r' && p + 1 < stop && p[1] == '\n'))) p++;
  return p;
}

const char *parlua_csv_skip(const char *from, const char *stop, int separator, int quote)
{
  const char *close, *p = skip_empty_lines(from, stop);
  bool is_plain;
  for (;;) {
    if (p < stop && *p == (char)quote)
      p = quoted_end(p, stop, (char)separator, (char)quote, &close, &is_plain);
    else
      while (p < stop && *p != (char)separator && *p != '\n') p++;
    if (p == stop) return stop;
    if (*p++ == '\n') return p;
  }
}

static bool reserve_cells(struct reader *reader, size_t count)
{
  if (count <= reader->capacity) return true;
  size_t capacity = reader->capacity ? reader->capacity : 64;
  while (capacity < count) capacity *= 2;
  struct parlua_csv_cell *cells = realloc(reader->rows.cells, capacity * sizeof *cells);
  if (!cells) return false;
  reader->rows.cells = cells;
  reader->capacity = capacity;
  return true;
}

/* Takes the row at `p` apart, its cells from `*cell` on. Returns where the next begins, NULL when memory is out. */
static const char *read_row(struct reader *reader, struct marks *marks, const char *p, size_t *cell, int32_t *count)
{
  const char quote = reader->quote, *stop = marks->stop;
  const bool is_list = reader->columns == 0;
  bool is_closed = true;
  uint32_t k = 0;
  for (;; k++) {
    struct column *column = is_list ? reader->column : k < reader->columns ? &reader->column[k] : NULL;
    bool is_read = column && column->type != PARLUA_CSV_UNREAD;
    if (is_read && is_list && !reserve_cells(reader, *cell + 1)) return NULL;
    struct parlua_csv_cell *to = is_read ? &reader->rows.cells[*cell] : NULL;
    const char *from = p;
    if (p < stop && *p == quote) {
      const char *close;
      bool is_plain;
      p = quoted_end(p, stop, reader->separator, quote, &close, &is_plain);
      is_closed = close < stop;
      look_from(marks, p);
      if (p < stop) next_mark(marks);
      if (is_read && is_plain && column->type != PARLUA_CSV_NUMERIC) {
        set_text(reader, column, to, from + 1, (size_t)(close - from - 1));
      } else if (is_read) {
        to->at = from;
        to->kind = PARLUA_CSV_ODD;
      }
      if (is_read && to->kind == PARLUA_CSV_ODD) to->at = from;
    } else {
      p = next_mark(marks);
      if (is_read) {
        const char *end = p > from && p[-1] == '\r' && (p == stop || *p == '\n') ? p - 1 : p;
        set_plain(reader, column, to, from, end);
      }
    }
    *cell += is_read;
    if (p == stop || *p == '\n') break;
    p++;
  }
  *count = is_closed ? (int32_t)(k + 1) : PARLUA_CSV_UNCLOSED;
  return p < stop ? p + 1 : p;
}

int parlua_csv_fill(struct parlua_csv_rows *rows, const char *from, const char *stop, uint32_t most)
{
  struct reader *reader = (struct reader *)(void *)rows;
  struct marks marks = {.stop = stop, .separator = reader->separator};
  const char *p = skip_empty_lines(from, stop);
  size_t cell = 0;
  uint32_t r = 0;
  rows->row = rows->rows = 0;
  rows->next = from;
  if (p < stop) look_from(&marks, p);
  while (p < stop && r < most && r < MOST_ROWS && (r == 0 || cell + reader->read <= MOST_CELLS)) {
    if (!reserve_cells(reader, cell + reader->read)) return -1;
    rows->starts[r] = (uint32_t)cell;
    p = read_row(reader, &marks, p, &cell, &rows->counts[r]);
    if (!p) return -1;
    rows->ends[r++] = p;
    const char *next = skip_empty_lines(p, stop);
    if (next > p && next < stop) look_from(&marks, next);
    p = next;
  }
  rows->rows = r;
  return (int)r;
}

void parlua_csv_close(struct parlua_csv_rows *rows)
{
  struct reader *reader = (struct reader *)(void *)rows;
  if (!reader) return;
  free(rows->cells);
  free(rows->ends);
  free(rows->starts);
  free(rows->counts);
  free(reader->column);
  free(reader->texts);
  free(reader);
}

struct parlua_csv_rows *parlua_csv_open(int separator, int quote, uint32_t columns, const uint8_t *types)
{
  struct reader *reader = calloc(1, sizeof *reader);
  if (!reader) return NULL;
  reader->separator = (char)separator;
  reader->quote = (char)quote;
  reader->columns = columns;
  reader->column = calloc(columns ? columns : 1, sizeof *reader->column);
  reader->texts = calloc(TEXT_SLOTS, sizeof *reader->texts);
  reader->rows.ends = calloc(MOST_ROWS, sizeof *reader->rows.ends);
  reader->rows.starts = calloc(MOST_ROWS, sizeof *reader->rows.starts);
  reader->rows.counts = calloc(MOST_ROWS, sizeof *reader->rows.counts);
  if (!reader->column || !reader->texts || !reader->rows.ends || !reader->rows.starts || !reader->rows.counts) {
    parlua_csv_close(&reader->rows);
    return NULL;
  }
  for (uint32_t k = 0; k < (columns ? columns : 1); k++) {
    reader->column[k] = (struct column){.type = types[k], .has_texts = true};
    reader->read += columns && types[k] != PARLUA_CSV_UNREAD;
  }
  return &reader->rows;
}
