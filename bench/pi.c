/* pi TASKS SAMPLES THREADS: Monte Carlo pi with xoshiro256+ (Blackman and Vigna), a stream for each task; prints the
 * seconds. */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t rotate(uint64_t x, int k)
{
  return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix(uint64_t *state)
{
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static double draw(uint64_t s[4])
{
  uint64_t value = s[0] + s[3], t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return (double)(value >> 11) * 0x1p-53;
}

static long hits(uint64_t seed, long samples)
{
  uint64_t s[4];
  for (int k = 0; k < 4; k++) s[k] = splitmix(&seed);
  long count = 0;
  for (long i = 0; i < samples; i++) {
    double x = draw(s), y = draw(s);
    count += x * x + y * y < 1;
  }
  return count;
}

int main(int argc, char **argv)
{
  if (argc != 4) return 2;
  long tasks = atol(argv[1]), samples = atol(argv[2]), count = 0;
  omp_set_num_threads(atoi(argv[3]));
  double began = omp_get_wtime();
#pragma omp parallel for schedule(dynamic) reduction(+ : count)
  for (long i = 1; i <= tasks; i++) {
    uint64_t seed = (uint64_t)i << 32; /* streams start far from each other */
    count += hits(seed, samples);
  }
  double seconds = omp_get_wtime() - began;
  if (fabs(4.0 * (double)count / (double)(tasks * samples) - acos(-1)) >= 0.01) return 1;
  printf("%.9f\n", seconds);
  return 0;
}
