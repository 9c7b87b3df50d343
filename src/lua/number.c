/* number.c - see number.h. */
#include "lua/number.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

enum {
  MOST_DIGITS = 19,
  LARGEST_POWER = 22,
  LARGEST_EXPONENT = 99999,
  LONGEST_NUMBER = 60 /* bytes of a number that is copied to the stack; longer ones to the heap */
};

static locale_t plain_locale;

static void make_locale(void)
{
  plain_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* By the C library, whatever the program's locale is. False: out of memory, or not all of it is a number. */
static bool read_slowly(const char *from, size_t length, double *number)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  char few[LONGEST_NUMBER + 1], *text = few, *end;
  pthread_once(&once, make_locale);
  if (length > LONGEST_NUMBER) text = malloc(length + 1);
  if (!text) return false;
  memcpy(text, from, length);
  text[length] = 0;
  *number = plain_locale ? strtod_l(text, &end, plain_locale) : strtod(text, &end);
  bool is_whole = end == text + length;
  if (text != few) free(text);
  return is_whole && isfinite(*number);
}

/* Is a whole number of more than 19 digits what a double that has been read from it prints as? */
static bool is_kept(const char *from, size_t length, double number)
{
  char text[320]; /* the largest double has 309 digits */
  return (size_t)snprintf(text, sizeof text, "%.0f", number) == length && memcmp(text, from, length) == 0;
}

bool number_read(const char *from, const char *to, bool is_same, double *number)
{
  const char *p = from, *first;
  bool is_negative = p < to && *p == '-', is_whole = true;
  uint64_t digits = 0;
  int count = 0, power = 0;
  bool is_long = false;
  p += is_negative;
  for (first = p; p < to && number_is_digit(*p); p++) {
    if (count < MOST_DIGITS) {
      digits = digits * 10 + (uint64_t)(*p - '0');
      count += digits != 0;
    } else {
      is_long = true;
    }
  }
  long before = p - first;
  if (before > 1 && *first == '0') return false;
  if (p < to && *p == '.') {
    const char *point = p++;
    is_whole = false;
    for (; p < to && number_is_digit(*p); p++) {
      if (count < MOST_DIGITS) {
        digits = digits * 10 + (uint64_t)(*p - '0');
        count += digits != 0;
        power--;
      } else {
        is_long = true;
      }
    }
    if (before == 0 && (p - point < 2 || p < to)) return false;
  } else if (before == 0) {
    return false;
  }
  if (p < to && (*p == 'e' || *p == 'E')) {
    bool is_below = false;
    int exponent = 0;
    is_whole = false;
    if (++p < to && (*p == '-' || *p == '+')) is_below = *p++ == '-';
    if (p == to) return false;
    for (; p < to && number_is_digit(*p); p++)
      if (exponent < LARGEST_EXPONENT) exponent = exponent * 10 + (*p - '0');
    power += is_below ? -exponent : exponent;
  }
  if (p != to) return false;
  if (!is_long && digits <= (uint64_t)1 << 53 && power >= -LARGEST_POWER && power <= LARGEST_POWER) {
    double value = (double)digits;
    value = power < 0 ? value / powers[-power] : value * powers[power];
    *number = is_negative ? -value : value;
    return true;
  }
  if (is_whole && !is_long) { /* a conversion rounds once, too */
    double value = (double)digits;
    *number = is_negative ? -value : value;
    return !is_same || (value < 0x1p64 && (uint64_t)value == digits);
  }
  if (!read_slowly(from, (size_t)(to - from), number)) return false;
  return !is_whole || !is_same || is_kept(from, (size_t)(to - from), *number);
}
