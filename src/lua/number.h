/* number.h - numbers in texts, without a string of them. */
#ifndef PARLUA_NUMBER_H
#define PARLUA_NUMBER_H
#include <stdbool.h>

static inline bool number_is_digit(char c)
{
  return (unsigned char)(c - '0') < 10;
}

/*
 * Reads from..to as a number: [-]digits[.digits][e[+-]digits], no 0 before other digits. False: it is none, or too
 * large for a double. `is_same`: a whole number that a double does not hold is none either, as it would come out as
 * another. Digits up to 2^53 with a power of ten up to 22 are exact: both are doubles, and one multiplication or
 * division rounds once. All else is the C library's, in its plain locale: what is read is what strtod reads, to the
 * last bit.
 */
bool number_read(const char *from, const char *to, bool is_same, double *number);

#endif
