/* huge.c - see huge.h. */
#include "sys/huge.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { HUGE_BYTES = 2 << 20, MOST_WASTE = 8 /* a part of so many */, FREE = 4 /* times as much as is to be filled */ };

size_t huge_length(size_t size)
{
  size_t rounded = (size + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
  return rounded - size <= size / MOST_WASTE ? rounded : size;
}

void *huge_map(size_t length, int file)
{
  int flags = MAP_SHARED | MAP_NORESERVE | (file < 0 ? MAP_ANONYMOUS : 0);
  if (length < HUGE_BYTES) return mmap(NULL, length, PROT_READ | PROT_WRITE, flags, file, 0);
  /* a place that is larger, of which the rest is given back */
  char *place = mmap(NULL, length + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return MAP_FAILED;
  size_t before = (HUGE_BYTES - (uintptr_t)place % HUGE_BYTES) % HUGE_BYTES;
  size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (length + page - 1) / page * page;
  char *map = mmap(place + before, length, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, 0);
  if (map == MAP_FAILED) {
    int error = errno;
    munmap(place, length + HUGE_BYTES);
    errno = error;
    return MAP_FAILED;
  }
  if (before) munmap(place, before);
  munmap(map + used, length + HUGE_BYTES - before - used);
  madvise(map, length, MADV_HUGEPAGE); /* where the system gives shared memory huge pages to those who ask */
  return map;
}

/* Does the system give shared memory huge pages only to those who ask after the fact? */
static bool must_ask(void)
{
  enum { UNKNOWN, YES, NO };
  static atomic_int known;
  int answer = atomic_load_explicit(&known, memory_order_relaxed);
  if (answer == UNKNOWN) {
    char text[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
    if (file && !fgets(text, sizeof text, file)) text[0] = '\0';
    if (file) fclose(file);
    answer = strstr(text, "[never]") ? YES : NO;
    atomic_store_explicit(&known, answer, memory_order_relaxed);
  }
  return answer == YES;
}

/* Bytes of memory that programs can get without others losing theirs; 0: not known. */
static size_t available(void)
{
  char line[128];
  unsigned long long kilobytes = 0;
  FILE *file = fopen("/proc/meminfo", "re");
  if (!file) return 0;
  while (kilobytes == 0 && fgets(line, sizeof line, file))
    if (sscanf(line, "MemAvailable: %llu kB", &kilobytes) != 1) kilobytes = 0;
  fclose(file);
  return (size_t)kilobytes * 1024;
}

void huge_fill(void *map, size_t length)
{
  size_t whole = length / HUGE_BYTES * HUGE_BYTES;
  if (whole == 0 || !must_ask() || available() / FREE < whole) return;
  /* one page of each has to be there; all are asked for at once, as asking takes 1 ms */
  for (size_t at = 0; at < whole; at += HUGE_BYTES) ((volatile char *)map)[at] = 0;
  madvise(map, whole, MADV_COLLAPSE);
}
