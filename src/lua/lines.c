/* lines.c - reads the lines of a block of text and writes results, for the loops of lua/parlua/command/block.lua, which
 * call these by FFI (ffi_lines.h): a line costs some 20 ns. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/ffi_lines.h"
#include "lua/number.h"

enum { MOST_NUMBER = 40 /* bytes of a number as text */ };

static const double exact = 9007199254740992.0; /* 2^53: up to here every integer is a double */

/* Digits that make an integer which a double holds exactly whatever they are. */
enum { EXACT_DIGITS = 15 };

/* Any number but a plain whole one, of which `at` is behind the digits. */
static int read_other(const char *text, uint64_t length, const char *at, double *value)
{
  const char *stop = text + length;
  bool is_whole = at == stop;
  if (length == 0 || length >= MOST_NUMBER || strspn(at, "0123456789.eE+-") < (size_t)(stop - at)) return false;
  char copy[MOST_NUMBER], *end;
  memcpy(copy, text, length);
  copy[length] = '\0';
  if (strspn(copy, "0123456789.eE+-") != length || copy[0] == '+') return false;
  *value = strtod(copy, &end);
  return end == copy + length && isfinite(*value) && !(is_whole && fabs(*value) > exact);
}

/* As in CSV: decimal; 007 is none, nor is a whole number that a double does not hold. */
int parlua_read_number(const char *text, uint64_t length, double *value)
{
  const char *at = text, *stop = text + length;
  bool negative = at < stop && *at == '-';
  at += negative;
  const char *digits = at;
  uint64_t whole = 0;
  for (; at < stop && number_is_digit(*at); at++)
    if (at - digits < EXACT_DIGITS) whole = whole * 10 + (uint64_t)(*at - '0');
  size_t count = (size_t)(at - digits);
  if (count > 1 && *digits == '0') return false;
  if (at != stop || count == 0 || count > EXACT_DIGITS) return read_other(text, length, at, value);
  *value = negative ? -(double)whole : (double)whole;
  return true;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static const uint64_t each = 0x0101010101010101ULL;

/* How many of 8 bytes in a row are digits, from the first on; they, as a number, are added to *whole behind its own. */
static unsigned read_eight(const char *at, uint64_t *whole)
{
  static const uint64_t tens[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
  uint64_t word;
  memcpy(&word, at, sizeof word);
  word ^= each * '0';
  uint64_t others =
      ((((word & (each * 0x7f)) + each * (0x7f - 9)) | word) & (each * 0x80)); /* a bit for each no digit */
  unsigned count = others ? (unsigned)__builtin_ctzll(others) / 8 : 8;
  if (count == 0) return 0;
  word <<= 8 * (8 - count); /* zeros in front */
  word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffULL;
  word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffULL;
  word = (word * 10000 + (word >> 32)) & 0xffffffffULL;
  *whole = *whole * tens[count] + word;
  return count;
}

/* Reads the next line where it is a whole number that ends with a line end; it is not looked for twice then. */
static bool read_whole_line(struct parlua_lines *lines)
{
  const char *at = lines->next, *stop = lines->stop;
  if (stop - at < 32) return false; /* so that whole words can be read */
  bool negative = *at == '-';
  at += negative;
  const char *digits = at;
  uint64_t whole = 0;
  unsigned count = read_eight(at, &whole);
  if (count == 8) count += read_eight(at + 8, &whole);
  at += count;
  if (count == 0 || count > EXACT_DIGITS || (count > 1 && *digits == '0')) return false;
  bool has_return = *at == '\r';
  if (at[has_return] != '\n') return false;
  lines->text = lines->next;
  lines->length = (uint64_t)(at - lines->text);
  lines->next = at + has_return + 1;
  lines->is_number = 1;
  lines->value = negative ? -(double)whole : (double)whole;
  return true;
}
#else
static bool read_whole_line(struct parlua_lines *lines)
{
  (void)lines;
  return false;
}
#endif

int parlua_next_line(struct parlua_lines *lines)
{
  if (lines->next >= lines->stop) return 0;
  lines->count++;
  if (read_whole_line(lines)) return 1;
  lines->text = lines->next;
  const char *end = memchr(lines->text, '\n', (size_t)(lines->stop - lines->text));
  lines->next = end ? end + 1 : lines->stop;
  lines->length = (uint64_t)((end ? end : lines->stop) - lines->text);
  if (lines->length > 0 && lines->text[lines->length - 1] == '\r') lines->length--;
  lines->is_number = (uint32_t)parlua_read_number(lines->text, lines->length, &lines->value);
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

/* Eight digits of a number below 10^8. */
static void write_eight(char *at, uint32_t number)
{
  static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                              "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                              "8081828384858687888990919293949596979899";
  uint32_t high = number / 10000, low = number % 10000;
  memcpy(at, pairs + 2 * (high / 100), 2);
  memcpy(at + 2, pairs + 2 * (high % 100), 2);
  memcpy(at + 4, pairs + 2 * (low / 100), 2);
  memcpy(at + 6, pairs + 2 * (low % 100), 2);
}

/* The digits of an integer of at most 16; returns their number. */
static int write_integer(char *at, double value)
{
  enum { EIGHT_DIGITS = 100000000 };
  char digits[32] = {0};
  int length = 0, skipped = 0, count = 8;
  uint64_t whole = (uint64_t)fabs(value);
  if (value < 0) at[length++] = '-';
  if (whole >= EIGHT_DIGITS) {
    write_eight(digits, (uint32_t)(whole / EIGHT_DIGITS));
    write_eight(digits + 8, (uint32_t)(whole % EIGHT_DIGITS));
    count = 16;
  } else {
    write_eight(digits, (uint32_t)whole);
  }
  while (skipped < count - 1 && digits[skipped] == '0') skipped++;
  memcpy(at + length, digits + skipped, 16); /* more than needed, at once */
  return length + count - skipped;
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
