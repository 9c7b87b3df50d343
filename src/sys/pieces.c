/* pieces.c - see shared.h, and pieces.h. */
#include "sys/pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/huge.h"
#include "sys/mapping.h"

enum {
  SMALL_BYTES = 128 << 10, /* up to here it lies in a slab: a process has 65530 mappings at most (vm.max_map_count) */
  SLAB_BYTES = 1 << 20,
  ALIGNMENT = 64,
  FIRST_BUCKETS = 256,
  MOST_RECEIVED = 4096, /* descriptors that are kept open for pieces of others; of more only the memory is kept */
  MOST_SPARE = 64,      /* pieces that are kept for the next of their size */
  SPARE_PART = 16       /* of all memory: one such part is kept at most */
};

/* Fresh memory comes at 0.6 to 6 GB/s; memory that was used before is set to zeros at 5 to 10, or need not be
 * (measured). So a process keeps some of what it has let go of, if no other process can reach it: see is_alone. */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* for all below; it is never held across a fork */
static pthread_once_t prepared = PTHREAD_ONCE_INIT;
static struct piece **buckets;
static size_t bucket_count, piece_count, file_count;
static uint64_t total;
static struct piece *slab; /* what small arrays are cut from; held once for that */
static uint64_t first_id, last_id;
static uint32_t forks;
static bool is_copy;                    /* this process was forked by one that has pieces */
static struct piece *spare[MOST_SPARE]; /* the oldest first */
static size_t spare_count;
static uint64_t spare_bytes;
static struct mapped_file *mapped_files;
static atomic_size_t mapped_count; /* read without the mutex */
static const char *message_bytes;
static size_t message_length;

/* A file that a piece is mapped from. */
struct mapped_file {
  struct mapped_file *next;
  struct mapping *mapping;
  size_t size;
  dev_t device;
  ino_t inode;
  char path[]; /* as it was given, or from the root on */
};

/* ---- forks ---- */

static void before_fork(void)
{
  pthread_mutex_lock(&mutex);
}

static void after_fork(void)
{
  forks++;
  pthread_mutex_unlock(&mutex);
}

static void free_piece(struct piece *piece);
static uint64_t most_bytes(void);

/* The copy numbers its own pieces, and cuts small ones from a slab of its own: what is left of this one is the other's.
 * So are spare ones. */
static void in_child(void)
{
  slab = NULL;
  is_copy = true;
  first_id = last_id = 0;
  for (size_t i = 0; i < spare_count; i++) free_piece(spare[i]);
  spare_count = 0;
  spare_bytes = 0;
  after_fork();
}

static void prepare(void)
{
  pthread_atfork(before_fork, after_fork, in_child);
}

void pieces_lock(void)
{
  pthread_once(&prepared, prepare);
  pthread_mutex_lock(&mutex);
}

void pieces_unlock(void)
{
  int error = errno;
  pthread_mutex_unlock(&mutex);
  errno = error;
}

/* ---- pieces; all of this with the mutex held ---- */

static uint64_t new_id(void)
{
  if (first_id == 0) {
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random) random = (uint32_t)getpid();
    first_id = last_id = (uint64_t)(random | 1) << 31;
  }
  return ++last_id;
}

static struct piece **bucket_of(uint64_t id)
{
  return &buckets[(id * 0x9e3779b97f4a7c15u >> 32) & (bucket_count - 1)];
}

struct piece *piece_find(uint64_t id)
{
  if (!buckets) return NULL;
  struct piece *piece = *bucket_of(id);
  while (piece && piece->shared.id != id) piece = piece->next;
  return piece;
}

static bool grow(void)
{
  size_t count = bucket_count ? bucket_count * 2 : FIRST_BUCKETS;
  struct piece **before = buckets, **bigger = calloc(count, sizeof *bigger);
  size_t before_count = bucket_count;
  if (!bigger) return buckets != NULL;
  buckets = bigger;
  bucket_count = count;
  for (size_t i = 0; i < before_count; i++) {
    for (struct piece *piece = before[i], *next; piece; piece = next) {
      next = piece->next;
      struct piece **bucket = bucket_of(piece->shared.id);
      piece->next = *bucket;
      *bucket = piece;
    }
  }
  free(before);
  return true;
}

/* Enters a new piece, which is held once. NULL: there is no memory. */
static struct piece *enter(uint64_t id, char *bytes, uint64_t size, int file)
{
  if (piece_count >= bucket_count && !grow()) return NULL;
  struct piece *piece = calloc(1, sizeof *piece);
  if (!piece) return NULL;
  piece->shared = (struct shared_memory){.id = id ? id : new_id(), .bytes = bytes, .size = size, .file = file};
  piece->holds = 1;
  piece->forks = forks;
  struct piece **bucket = bucket_of(piece->shared.id);
  piece->next = *bucket;
  *bucket = piece;
  piece_count++;
  file_count += file >= 0;
  total += size;
  return piece;
}

/* Takes the piece out. What is to be unmapped is unmapped by free_piece, without the mutex: that takes time. */
static void take_out(struct piece *piece)
{
  struct piece **at = bucket_of(piece->shared.id);
  while (*at != piece) at = &(*at)->next;
  *at = piece->next;
  piece_count--;
  file_count -= piece->shared.file >= 0;
  total -= piece->shared.size;
}

/* Does nobody else have this piece? Others that might are processes that were forked since it was made or that it was
 * given to: all of them are children of the script's process. */
static bool is_alone(const struct piece *piece)
{
  siginfo_t ignored;
  if (piece->forks == forks && !piece->is_known) return true;
  return !is_copy && waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

/* Puts a piece that was taken out by, for the next of its size. Returns those that are to be freed instead, linked by
 * `next`; NULL: none. */
static struct piece *put_by(struct piece *piece)
{
  uint64_t most = most_bytes() / SPARE_PART;
  if (piece->shared.file < 0 || piece->used || piece->mapped > most || !is_alone(piece)) return piece;
  struct piece *oldest = NULL;
  while (spare_count == MOST_SPARE || spare_bytes + piece->mapped > most) {
    struct piece *next = spare[0];
    spare_bytes -= next->mapped;
    memmove(spare, spare + 1, --spare_count * sizeof *spare);
    next->next = oldest;
    oldest = next;
  }
  spare[spare_count++] = piece;
  spare_bytes += piece->mapped;
  return oldest;
}

/* A spare piece of that size, entered as new; NULL: there is none. */
static struct piece *take_spare(uint64_t size)
{
  size_t at = spare_count, length = huge_length(size);
  while (at > 0 && spare[at - 1]->mapped != length) at--;
  if (at == 0) return NULL;
  struct piece *piece = spare[at - 1];
  memmove(spare + at - 1, spare + at, (spare_count - at) * sizeof *spare);
  spare_count--;
  spare_bytes -= length;
  struct piece *entered = enter(0, piece->map, size, piece->shared.file);
  if (!entered) {
    free_piece(piece);
    return NULL;
  }
  entered->map = piece->map;
  entered->mapped = length;
  free(piece);
  return entered;
}

static void forget_file(struct mapped_file *file)
{
  pieces_lock();
  for (struct mapped_file **at = &mapped_files; *at; at = &(*at)->next) {
    if (*at != file) continue;
    *at = file->next;
    mapped_count--;
    break;
  }
  pieces_unlock();
  mapping_forget(file->mapping);
  free(file);
}

static void free_piece(struct piece *piece)
{
  if (piece->of) forget_file(piece->of);
  if (piece->mapped) munmap(piece->map, piece->mapped);
  if (piece->shared.file >= 0) close(piece->shared.file);
  free(piece);
}

/* ---- making them ---- */

/* A number of bytes in a file of the system; UINT64_MAX: there is none. */
static uint64_t read_bytes(const char *path)
{
  unsigned long long bytes;
  FILE *file = fopen(path, "re");
  if (!file) return UINT64_MAX;
  if (fscanf(file, "%llu", &bytes) != 1) bytes = UINT64_MAX; /* "max" */
  fclose(file);
  return bytes;
}

/* What this process may have at most: memory is promised without looking at that, and who touches more than there is is
 * killed. */
static uint64_t most_bytes(void)
{
  static uint64_t known;
  uint64_t most = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (most) return most;
  struct sysinfo info;
  most = sysinfo(&info) == 0 ? ((uint64_t)info.totalram + info.totalswap) * info.mem_unit : UINT64_MAX;
  uint64_t limits[] = {read_bytes("/sys/fs/cgroup/memory.max"),
                       read_bytes("/sys/fs/cgroup/memory/memory.limit_in_bytes")};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
    if (limits[i] < most) most = limits[i];
  __atomic_store_n(&known, most, __ATOMIC_RELAXED);
  return most;
}

bool pieces_raise_file_limit(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max) return false;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* A file in memory; -1: there can be none. Its piece is shared all the same, but for processes that were there before.
 */
static int new_file(uint64_t size)
{
  int file = memfd_create("parlua-array", MFD_CLOEXEC);
  if (file < 0 && errno == EMFILE && pieces_raise_file_limit()) file = memfd_create("parlua-array", MFD_CLOEXEC);
  if (file >= 0 && ftruncate(file, (off_t)size) < 0) {
    close(file);
    return -1;
  }
  return file;
}

static struct piece *new_large(uint64_t size)
{
  if (size > most_bytes()) {
    errno = ENOMEM;
    return NULL;
  }
  size_t length = huge_length(size);
  int file = new_file(length);
  void *map = huge_map(length, file);
  if (map == MAP_FAILED) {
    int error = errno;
    if (file >= 0) close(file);
    errno = error;
    return NULL;
  }
  huge_fill(map, length);
  pieces_lock();
  struct piece *piece = enter(0, map, size, file);
  pieces_unlock();
  if (!piece) {
    munmap(map, length);
    if (file >= 0) close(file);
    errno = ENOMEM;
    return NULL;
  }
  piece->map = map;
  piece->mapped = length;
  return piece;
}

/* Takes `bytes` of the slab, if there is room; NULL: there is none. */
static struct piece *cut_slab(size_t bytes, char **at)
{
  if (!slab || SLAB_BYTES - slab->used < bytes) return NULL;
  *at = slab->shared.bytes + slab->used;
  slab->used += bytes;
  slab->holds++;
  return slab;
}

/* A small array's memory: in the slab, or in a new one. */
static struct piece *new_small(uint64_t size, char **at)
{
  size_t bytes = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (bytes == 0) bytes = ALIGNMENT;
  pieces_lock();
  struct piece *piece = cut_slab(bytes, at), *before = NULL;
  pieces_unlock();
  if (piece) return piece;
  struct piece *made = new_large(SLAB_BYTES);
  if (!made) return NULL;
  pieces_lock();
  before = slab;
  slab = made;
  piece = cut_slab(bytes, at);
  pieces_unlock();
  if (before) piece_drop(before, false);
  return piece;
}

struct shared_memory *shared_new(uint64_t size, bool with_zeros, char **at)
{
  struct piece *piece;
  if (size <= SMALL_BYTES) {
    piece = new_small(size, at);
    return piece ? &piece->shared : NULL;
  }
  pieces_lock();
  piece = take_spare(size);
  pieces_unlock();
  if (piece && with_zeros) memset(piece->shared.bytes, 0, size);
  if (!piece) piece = new_large(size);
  if (!piece) return NULL;
  *at = piece->shared.bytes;
  return &piece->shared;
}

/* Watches a mapping of a file. NULL: there is no memory. */
static struct mapped_file *watch_file(const char *path, const struct stat *found, const void *map)
{
  char *whole = realpath(path, NULL); /* the script may go to another directory */
  const char *name = whole ? whole : path;
  struct mapped_file *file = malloc(sizeof *file + strlen(name) + 1);
  if (file) {
    *file = (struct mapped_file){.size = (size_t)found->st_size, .device = found->st_dev, .inode = found->st_ino};
    memcpy(file->path, name, strlen(name) + 1);
    file->mapping = mapping_watch(map, file->size);
  }
  free(whole);
  if (file && !file->mapping) {
    free(file);
    return NULL;
  }
  return file;
}

/* Of the last page that is left the end reads as zeros, and nothing tells: so the file is asked for its size. Another
 * one of the same name says nothing of the one that is mapped. */
static bool is_cut(const struct mapped_file *file)
{
  struct stat now;
  return mapping_whole(file->mapping) < file->size || (stat(file->path, &now) == 0 && now.st_dev == file->device &&
                                                       now.st_ino == file->inode && (size_t)now.st_size < file->size);
}

bool shared_prepare(void)
{
  if (mapped_count == 0) return false;
  mapping_prepare();
  return true;
}

const char *shared_cut(const struct shared_memory *shared)
{
  static _Thread_local char path[4096];
  const struct mapped_file *file = NULL;
  if (mapped_count == 0) return NULL;
  pieces_lock();
  if (shared) {
    const struct mapped_file *of = ((const struct piece *)(const void *)shared)->of;
    if (of && is_cut(of)) file = of;
  } else {
    for (file = mapped_files; file && !is_cut(file);) file = file->next;
  }
  if (file) snprintf(path, sizeof path, "%s", file->path);
  pieces_unlock();
  return file ? path : NULL;
}

struct shared_memory *shared_map_file(const char *path)
{
  struct stat found;
  void *map = MAP_FAILED;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return NULL;
  int error = fstat(file, &found) < 0   ? errno
              : S_ISDIR(found.st_mode)  ? EISDIR
              : !S_ISREG(found.st_mode) ? ESPIPE
              : found.st_size == 0      ? ENODATA
                                        : 0;
  if (!error) {
    map = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) error = errno;
  }
  close(file);
  if (error) {
    errno = error;
    return NULL;
  }
  struct mapped_file *of = watch_file(path, &found, map);
  pieces_lock();
  struct piece *piece = of ? enter(0, map, (uint64_t)found.st_size, -1) : NULL;
  if (piece) {
    piece->of = of;
    of->next = mapped_files;
    mapped_files = of;
    mapped_count++;
  }
  pieces_unlock();
  if (!piece) {
    if (of) mapping_forget(of->mapping);
    free(of);
    munmap(map, (size_t)found.st_size);
    errno = ENOMEM;
    return NULL;
  }
  piece->map = map;
  piece->mapped = (size_t)found.st_size;
  piece->shared.read_only = SHARED_FILE;
  return &piece->shared;
}

/* Maps the file of a piece that another process has made; the descriptor is taken over, or closed on failure. */
struct piece *piece_map(uint64_t id, int file, uint64_t size)
{
  struct stat found;
  size_t length = huge_length(size);
  if (fstat(file, &found) < 0 || (size_t)found.st_size != length || size == 0) {
    close(file);
    errno = EINVAL;
    return NULL;
  }
  void *map = huge_map(length, file);
  int keep = file, error = errno;
  if (map == MAP_FAILED || file_count >= MOST_RECEIVED) {
    close(file);
    keep = -1;
  }
  if (map == MAP_FAILED) {
    errno = error;
    return NULL;
  }
  pieces_lock();
  struct piece *piece = piece_find(id); /* another thread may have been faster */
  bool is_known = piece != NULL;
  if (piece)
    piece->holds++;
  else
    piece = enter(id, map, size, keep);
  if (piece && !is_known) {
    piece->is_known = true;
    piece->map = map;
    piece->mapped = length;
  }
  pieces_unlock();
  if (is_known || !piece) {
    munmap(map, length);
    if (keep >= 0) close(keep);
    if (!piece) errno = ENOMEM;
  }
  return piece;
}

struct shared_memory *shared_of_message(const void *bytes, uint64_t size)
{
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)bytes, from = at & ~(page - 1);
  pieces_lock();
  bool is_in = message_bytes && (const char *)bytes >= message_bytes && size <= message_length &&
               (size_t)((const char *)bytes - message_bytes) <= message_length - size;
  pieces_unlock();
  if (!is_in) {
    errno = ENOENT;
    return NULL;
  }
  size_t length = size + (at - from);
  if (length == 0) length = 1;
  void *map = mremap((void *)from, 0, length, MREMAP_MAYMOVE); /* of 0 bytes: the same pages once more */
  if (map == MAP_FAILED) return NULL;
  pieces_lock();
  struct piece *piece = enter(0, (char *)map + (at - from), size, -1);
  pieces_unlock();
  if (!piece) {
    munmap(map, length);
    errno = ENOMEM;
    return NULL;
  }
  piece->map = map;
  piece->mapped = length;
  piece->shared.read_only = 1;
  return &piece->shared;
}

void shared_note_message(const void *bytes, size_t length)
{
  pieces_lock();
  message_bytes = bytes;
  message_length = length;
  pieces_unlock();
}

/* ---- counting ---- */

struct piece *piece_of(struct shared_memory *shared)
{
  return (struct piece *)(void *)shared; /* its first field */
}

void shared_hold(struct shared_memory *shared)
{
  pieces_lock();
  piece_of(shared)->holds++;
  pieces_unlock();
}

void piece_drop(struct piece *piece, bool is_left)
{
  pieces_lock();
  bool is_last = --piece->holds == 0;
  piece->left -= is_left;
  if (is_last) {
    take_out(piece);
    piece->next = NULL;
    piece = put_by(piece);
  }
  pieces_unlock();
  while (is_last && piece) {
    struct piece *next = piece->next;
    free_piece(piece);
    piece = next;
  }
}

void shared_drop(struct shared_memory *shared)
{
  piece_drop(piece_of(shared), false);
}

struct shared_memory *shared_find(uint64_t id)
{
  pieces_lock();
  struct piece *piece = piece_find(id);
  if (piece) piece->holds++;
  pieces_unlock();
  return piece ? &piece->shared : NULL;
}

struct shared_memory *shared_open(uint64_t id, int pid, int file, uint64_t inode, uint64_t size)
{
  char path[64];
  struct stat found;
  struct shared_memory *known = shared_find(id);
  if (known) return known;
  snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, file);
  int opened = open(path, O_RDWR | O_CLOEXEC);
  if (opened < 0) return NULL;
  if (fstat(opened, &found) < 0 || found.st_ino != inode) {
    close(opened);
    errno = ENOENT;
    return NULL;
  }
  struct piece *piece = piece_map(id, opened, size);
  return piece ? &piece->shared : NULL;
}

void shared_trim(void)
{
  for (;;) {
    pieces_lock();
    struct piece *piece = spare_count > 0 ? spare[--spare_count] : NULL;
    if (piece) spare_bytes -= piece->mapped;
    pieces_unlock();
    if (!piece) return;
    free_piece(piece);
  }
}

uint64_t shared_inode(struct shared_memory *shared)
{
  struct stat found;
  piece_of(shared)->is_known = true;
  return shared->file >= 0 && fstat(shared->file, &found) == 0 ? found.st_ino : 0;
}

double shared_total(void)
{
  pieces_lock();
  double bytes = (double)total;
  pieces_unlock();
  return bytes;
}

void pieces_drop_left(void)
{
  for (bool is_done = false; !is_done;) {
    struct piece *found = NULL;
    pieces_lock();
    for (size_t i = 0; i < bucket_count && !found; i++)
      for (struct piece *piece = buckets[i]; piece && !found; piece = piece->next)
        if (piece->left > 0) found = piece;
    pieces_unlock();
    if (found) piece_drop(found, true);
    is_done = !found;
  }
}
