/* lines.c - reads the lines of a block of text and writes results, for the loops of lua/parlua/command/block.lua, which
 * call these by FFI (ffi.h): a line costs some 20 ns. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/ffi.h"

enum { MOST_NUMBER = 40 /* bytes of a number as text */ };

static const double exact = 9007199254740992.0; /* 2^53: up to here every integer is a double */

/* Digits that make an integer which a double holds exactly whatever they are. */
enum { EXACT_DIGITS = 15 };

/* As in CSV: decimal; 007 is none, nor is a whole number that a double does not hold. */
int parlua_read_number(const char *text, uint64_t length, double *value)
{
  const char *at = text, *stop = text + length;
  bool negative = at < stop && *at == '-';
  at += negative;
  const char *digits = at;
  double whole = 0;
  while (at < stop && *at >= '0' && *at <= '9') whole = whole * 10 + (*at++ - '0');
  size_t count = (size_t)(at - digits);
  if (count > 1 && *digits == '0') return false;
  if (at == stop && count > 0 && count <= EXACT_DIGITS) {
    *value = negative ? -whole : whole;
    return true;
  }
  bool is_whole = at == stop;
  if (length == 0 || length >= MOST_NUMBER || strspn(at, "0123456789.eE+-") < (size_t)(stop - at)) return false;
  char copy[MOST_NUMBER], *end;
  memcpy(copy, text, length);
  copy[length] = '\0';
  if (strspn(copy, "0123456789.eE+-") != length || copy[0] == '+') return false;
  *value = strtod(copy, &end);
  return end == copy + length && isfinite(*value) && !(is_whole && fabs(*value) > exact);
}

int parlua_next_line(struct parlua_lines *lines)
{
  if (lines->next >= lines->stop) return 0;
  lines->text = lines->next;
  const char *end = memchr(lines->text, '\n', (size_t)(lines->stop - lines->text));
  lines->next = end ? end + 1 : lines->stop;
  lines->length = (uint64_t)((end ? end : lines->stop) - lines->text);
  if (lines->length > 0 && lines->text[lines->length - 1] == '\r') lines->length--;
  lines->is_number = (uint32_t)parlua_read_number(lines->text, lines->length, &lines->value);
  lines->count++;
  return 1;
}

/* Room for so many bytes more. */
static bool reserve(struct parlua_lines *lines, uint64_t more)
{
  if (lines->capacity - lines->used >= more) return true;
  uint64_t capacity = (lines->used + more) * 2;
  char *bytes = realloc(lines->out, capacity);
  if (!bytes) return false;
  lines->out = bytes;
  lines->capacity = capacity;
  return true;
}

int parlua_put_text(struct parlua_lines *lines, const char *text, uint64_t length)
{
  if (!reserve(lines, length + 1)) return 0;
  memcpy(lines->out + lines->used, text, length);
  lines->used += length;
  lines->out[lines->used++] = '\n';
  return 1;
}

int parlua_put_line(struct parlua_lines *lines)
{
  return parlua_put_text(lines, lines->text, lines->length);
}

/* The digits of an integer; returns their number. */
static int write_integer(char *at, double value)
{
  char digits[24];
  int count = 0, length = 0;
  uint64_t left = (uint64_t)fabs(value);
  do digits[count++] = (char)('0' + left % 10);
  while (left /= 10);
  if (value < 0) at[length++] = '-';
  while (count > 0) at[length++] = digits[--count];
  return length;
}

int parlua_write_number(char *at, double value)
{
  if (value == floor(value) && fabs(value) <= exact && !(value == 0 && signbit(value))) return write_integer(at, value);
  if (isnan(value)) return (int)(stpcpy(at, "nan") - at);
  int length = snprintf(at, MOST_NUMBER, "%.15g", value);
  for (int digits = 16; digits <= 17 && strtod(at, NULL) != value; digits++)
    length = snprintf(at, MOST_NUMBER, "%.*g", digits, value);
  return length;
}

int parlua_put_number(struct parlua_lines *lines, double value)
{
  if (!reserve(lines, MOST_NUMBER + 1)) return 0;
  lines->used += (uint64_t)parlua_write_number(lines->out + lines->used, value);
  lines->out[lines->used++] = '\n';
  return 1;
}

void parlua_free_lines(struct parlua_lines *lines)
{
  free(lines->out);
  lines->out = NULL;
  lines->used = lines->capacity = 0;
}
