/* primes FIRST LAST THREADS: which numbers are prime, by trial division; prints the seconds and how many. */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int is_prime(uint32_t n)
{
  uint32_t last = (uint32_t)sqrt(n);
  for (uint32_t d = 2; d <= last; d++) {
    if (n % d == 0) return 0;
  }
  return 1;
}

int main(int argc, char **argv)
{
  if (argc != 4) return 2;
  uint32_t first = (uint32_t)strtoul(argv[1], NULL, 10), last = (uint32_t)strtoul(argv[2], NULL, 10);
  omp_set_num_threads(atoi(argv[3]));
  double *results = calloc(last - first + 1, sizeof *results);
  if (results == NULL) return 1;
  double began = omp_get_wtime();
#pragma omp parallel for schedule(guided)
  for (uint32_t n = first; n <= last; n++) results[n - first] = is_prime(n);
  double seconds = omp_get_wtime() - began, count = 0;
  for (uint32_t n = first; n <= last; n++) count += results[n - first];
  printf("%.9f %.0f\n", seconds, count);
  free(results);
  return 0;
}
