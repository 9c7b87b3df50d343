/* ahead.c - see ahead.h.
 *
 *     file -> unit (compressed) -> piece in the ring -> who reads
 *
 * A thread that has nothing to do takes the next place in the ring and, while it holds `reading`, the next unit of the
 * file: some blocks of bgzip, or frames of zstd. It unpacks the unit without a lock and marks the piece as done. Pieces
 * are taken in the order of their places. Where units can't be told from the compressed bytes, the thread that finds
 * that keeps `reading` and unpacks all that follows, a piece of limited size at a time. */
#include "lua/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lua/unpack.h"
#include "sys/signals.h"
#include "sys/thread.h"

enum {
  RING = 16,              /* pieces ahead */
  MOST_THREADS = 16,      /* more than can be fed from one file by one reader */
  READ_BYTES = 1 << 17,   /* of the file at once */
  UNIT_BYTES = 1 << 17,   /* compressed, about */
  PIECE_BYTES = 1 << 18,  /* of a stream */
  MOST_UNIT = 1 << 24,    /* a larger one is part of a stream */
  MOST_PIECE = 1 << 26,   /* likewise, unpacked */
  LOOK_MILLISECONDS = 50, /* who waits looks for signals */
};

struct piece {
  char *packed, *bytes;
  size_t packed_length, packed_capacity, length, capacity;
  bool is_done, is_last;
  const char *trouble; /* behind its bytes */
  int error;           /* likewise, an errno */
};

struct thread {
  struct ahead *ahead;
  struct unpacker *unpacker;
  bool has_more; /* than there was room for */
  pthread_t id;
};

struct ahead {
  int fd;
  pid_t owner;
  struct thread threads[MOST_THREADS];
  size_t thread_count;
  char magic[UNPACK_MAGIC];
  size_t magic_length;
  pthread_mutex_t reading; /* what follows up to the next lock: */
  char *in;
  size_t in_at, in_have, in_capacity;
  bool in_ended, is_over; /* of the file nothing more is to be read; nothing more is to be unpacked */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct piece ring[RING];
  uint64_t begun, taken; /* pieces */
  bool is_stream, must_stop, holds_piece;
  bool is_told; /* the end, or the trouble */
};

/* ---- the file, by who holds `reading` ---- */

/* Reads some more. Returns false with *error set. */
static bool read_more(struct ahead *ahead, int *error)
{
  ssize_t n;
  if (ahead->in_at > 0) {
    memmove(ahead->in, ahead->in + ahead->in_at, ahead->in_have - ahead->in_at);
    ahead->in_have -= ahead->in_at;
    ahead->in_at = 0;
  }
  if (ahead->in_capacity - ahead->in_have < READ_BYTES) {
    size_t capacity = ahead->in_capacity ? ahead->in_capacity * 2 : 2 * (size_t)READ_BYTES;
    char *in = realloc(ahead->in, capacity);
    if (!in) {
      *error = ENOMEM;
      return false;
    }
    ahead->in = in;
    ahead->in_capacity = capacity;
  }
  do n = read(ahead->fd, ahead->in + ahead->in_have, READ_BYTES);
  while (n < 0 && errno == EINTR);
  *error = n < 0 ? errno : 0;
  if (n < 0) return false;
  ahead->in_have += (size_t)n;
  ahead->in_ended = n == 0;
  return true;
}

enum unit_kind { UNIT_WHOLE, UNIT_CUT, UNIT_NONE, UNIT_STREAM, UNIT_FAILED };

/* Finds the next unit: its length from in_at on. UNIT_CUT: the file ends in it; UNIT_NONE: it is at its end. */
static enum unit_kind find_unit(struct ahead *ahead, size_t *length, int *error)
{
  size_t whole = 0, unpacked = 0;
  for (;;) {
    const char *from = ahead->in + ahead->in_at;
    size_t there = ahead->in_have - ahead->in_at;
    while (whole < UNIT_BYTES && unpacked < MOST_PIECE) {
      size_t most, part = unpack_unit(from + whole, there - whole, &most);
      if (part == UNPACK_UNKNOWN || (part > 0 && (part > MOST_UNIT || most > MOST_PIECE))) {
        *length = whole;
        return whole > 0 ? UNIT_WHOLE : UNIT_STREAM;
      }
      if (part == 0 || part > there - whole) break;
      whole += part;
      unpacked += most;
    }
    if (whole >= UNIT_BYTES || unpacked >= MOST_PIECE || (ahead->in_ended && whole > 0)) {
      *length = whole;
      return UNIT_WHOLE;
    }
    if (ahead->in_ended) {
      *length = there;
      return there > 0 ? UNIT_CUT : UNIT_NONE;
    }
    if (there - whole > MOST_UNIT) {
      *length = whole;
      return whole > 0 ? UNIT_WHOLE : UNIT_STREAM;
    }
    if (!read_more(ahead, error)) return UNIT_FAILED;
  }
}

/* ---- pieces ---- */

/* Waits for the next place in the ring. NULL: nothing more is wanted. */
static struct piece *begin_piece(struct ahead *ahead)
{
  pthread_mutex_lock(&ahead->lock);
  while (!ahead->must_stop && ahead->begun - ahead->taken >= RING) pthread_cond_wait(&ahead->changed, &ahead->lock);
  struct piece *piece = ahead->must_stop ? NULL : &ahead->ring[ahead->begun++ % RING];
  if (piece) {
    piece->length = piece->packed_length = 0;
    piece->is_done = piece->is_last = false;
    piece->trouble = NULL;
    piece->error = 0;
  }
  pthread_mutex_unlock(&ahead->lock);
  return piece;
}

static void end_piece(struct ahead *ahead, struct piece *piece)
{
  pthread_mutex_lock(&ahead->lock);
  piece->is_done = true;
  pthread_cond_broadcast(&ahead->changed);
  pthread_mutex_unlock(&ahead->lock);
}

static bool reserve(char **bytes, size_t *capacity, size_t wanted)
{
  if (wanted <= *capacity) return true;
  char *more = realloc(*bytes, wanted);
  if (!more) return false;
  *bytes = more;
  *capacity = wanted;
  return true;
}

static const char cut_short[] = "it ends in the middle of its compressed data";

/* Unpacks from *in behind what the piece has, up to `most` bytes in all. Returns false where nothing more will come. */
static bool unpack_into(struct thread *thread, struct piece *piece, const char **in, size_t *in_length, size_t most)
{
  while (piece->length < most && (*in_length > 0 || thread->has_more)) {
    size_t wanted = piece->length < piece->capacity ? piece->capacity : 2 * piece->capacity;
    if (!reserve(&piece->bytes, &piece->capacity, wanted > PIECE_BYTES ? wanted : PIECE_BYTES)) {
      piece->error = ENOMEM;
      return false;
    }
    char *out = piece->bytes + piece->length;
    size_t room = (piece->capacity < most ? piece->capacity : most) - piece->length, before = room;
    bool is_right = unpack(thread->unpacker, in, in_length, &out, &room, &piece->trouble);
    piece->length += before - room;
    thread->has_more = room == 0;
    if (!is_right) return false;
  }
  return true;
}

/* Unpacks all that follows, from the given piece on; holds `reading`. */
static void unpack_stream(struct thread *thread, struct piece *piece)
{
  struct ahead *ahead = thread->ahead;
  while (piece) {
    bool goes_on = true;
    while (goes_on && piece->length < PIECE_BYTES) {
      const char *in = ahead->in + ahead->in_at;
      size_t in_length = ahead->in_have - ahead->in_at;
      if (in_length > 0 || thread->has_more) {
        goes_on = unpack_into(thread, piece, &in, &in_length, PIECE_BYTES);
        ahead->in_at = ahead->in_have - in_length;
      } else if (!ahead->in_ended) {
        goes_on = read_more(ahead, &piece->error);
      } else {
        goes_on = false;
        piece->is_last = true;
        if (!unpack_is_complete(thread->unpacker)) piece->trouble = cut_short;
      }
    }
    end_piece(ahead, piece);
    piece = goes_on ? begin_piece(ahead) : NULL;
  }
}

/* Takes the next unit and unpacks it; `reading` is held at first. Returns false where nothing more is to be done. */
static bool unpack_next(struct thread *thread)
{
  struct ahead *ahead = thread->ahead;
  struct piece *piece = ahead->is_over ? NULL : begin_piece(ahead);
  size_t length = 0;
  int error = 0;
  if (!piece) {
    pthread_mutex_unlock(&ahead->reading);
    return false;
  }
  enum unit_kind kind = find_unit(ahead, &length, &error);
  if (kind != UNIT_WHOLE) ahead->is_over = true;
  if (kind == UNIT_STREAM) {
    pthread_mutex_lock(&ahead->lock);
    ahead->is_stream = true;
    pthread_mutex_unlock(&ahead->lock);
    unpack_stream(thread, piece);
    pthread_mutex_unlock(&ahead->reading);
    return false;
  }
  piece->is_last = kind == UNIT_NONE;
  piece->error = kind == UNIT_FAILED ? error : 0;
  if (kind == UNIT_WHOLE || kind == UNIT_CUT) {
    if (reserve(&piece->packed, &piece->packed_capacity, length)) {
      memcpy(piece->packed, ahead->in + ahead->in_at, length);
      piece->packed_length = length;
      ahead->in_at += length;
    } else {
      piece->error = ENOMEM;
      ahead->is_over = true;
    }
  }
  pthread_mutex_unlock(&ahead->reading);
  const char *in = piece->packed;
  size_t in_length = piece->packed_length;
  bool is_right = unpack_into(thread, piece, &in, &in_length, SIZE_MAX);
  if (is_right && kind == UNIT_CUT && !piece->error) piece->trouble = cut_short;
  if (is_right && kind == UNIT_WHOLE && !unpack_is_complete(thread->unpacker)) piece->trouble = unpack_damaged;
  bool goes_on = is_right && kind == UNIT_WHOLE && !piece->error && !piece->trouble;
  end_piece(ahead, piece);
  return goes_on;
}

static void *run(void *argument)
{
  struct thread *thread = argument;
  do pthread_mutex_lock(&thread->ahead->reading);
  while (unpack_next(thread));
  return NULL;
}

/* ---- who reads ---- */

static void release(struct ahead *ahead)
{
  for (size_t k = 0; k < RING; k++) {
    free(ahead->ring[k].packed);
    free(ahead->ring[k].bytes);
  }
  free(ahead->in);
  pthread_cond_destroy(&ahead->changed);
  pthread_mutex_destroy(&ahead->lock);
  pthread_mutex_destroy(&ahead->reading);
  free(ahead);
}

struct ahead *ahead_open(int fd, const char **message)
{
  struct ahead *ahead = calloc(1, sizeof *ahead);
  int error = ENOMEM;
  *message = NULL;
  if (!ahead) return NULL;
  ahead->fd = fd;
  ahead->owner = getpid();
  pthread_mutex_init(&ahead->reading, NULL);
  pthread_mutex_init(&ahead->lock, NULL);
  condition_init(&ahead->changed);
  if (!read_more(ahead, &error)) goto failed;
  struct unpacker *unpacker = unpack_open(ahead->in, ahead->in_have, message);
  if (!unpacker) goto failed;
  unpack_close(unpacker);
  ahead->magic_length = ahead->in_have < UNPACK_MAGIC ? ahead->in_have : UNPACK_MAGIC;
  memcpy(ahead->magic, ahead->in, ahead->magic_length);
  size_t most;
  ahead->is_stream = unpack_unit(ahead->in, ahead->in_have, &most) == UNPACK_UNKNOWN;
  return ahead;
failed:
  lseek(fd, 0, SEEK_SET); /* who tells what is wrong reads it again */
  release(ahead);
  errno = error;
  return NULL;
}

void ahead_widen(struct ahead *ahead, size_t threads)
{
  const char *message;
  pthread_mutex_lock(&ahead->lock);
  if (ahead->is_stream && threads > 1) threads = 1;
  pthread_mutex_unlock(&ahead->lock);
  while (ahead->thread_count < threads && ahead->thread_count < MOST_THREADS) {
    struct thread *thread = &ahead->threads[ahead->thread_count];
    thread->ahead = ahead;
    thread->unpacker = unpack_open(ahead->magic, ahead->magic_length, &message);
    if (!thread->unpacker) break;
    if (thread_start(&thread->id, NULL, run, thread) != 0) {
      unpack_close(thread->unpacker);
      break;
    }
    ahead->thread_count++;
  }
}

void ahead_close(struct ahead *ahead)
{
  if (!ahead) return;
  if (ahead->owner != getpid()) { /* a lock may have been held as the process was forked */
    close(ahead->fd);
    return;
  }
  pthread_mutex_lock(&ahead->lock);
  ahead->must_stop = true;
  pthread_cond_broadcast(&ahead->changed);
  pthread_mutex_unlock(&ahead->lock);
  for (size_t k = 0; k < ahead->thread_count; k++) {
    pthread_join(ahead->threads[k].id, NULL);
    unpack_close(ahead->threads[k].unpacker);
  }
  close(ahead->fd);
  release(ahead);
}

/* Waits until the piece is done; false: a signal came. Holds the lock. */
static bool wait_for(struct ahead *ahead, const struct piece *piece)
{
  while (ahead->taken == ahead->begun || !piece->is_done) {
    int error = condition_wait(&ahead->changed, &ahead->lock, LOOK_MILLISECONDS * 1000000L);
    if (error == ETIMEDOUT && signals_count() > 0) return false;
  }
  return true;
}

ssize_t ahead_next(struct ahead *ahead, const char **bytes, const char **message)
{
  *message = NULL;
  if (ahead->thread_count == 0) ahead_widen(ahead, 1);
  if (ahead->thread_count == 0) {
    errno = EAGAIN;
    return -1;
  }
  for (;;) {
    pthread_mutex_lock(&ahead->lock);
    if (ahead->holds_piece) {
      ahead->holds_piece = false;
      ahead->taken++;
      pthread_cond_broadcast(&ahead->changed);
    }
    struct piece *piece = &ahead->ring[ahead->taken % RING];
    bool is_there = wait_for(ahead, piece);
    pthread_mutex_unlock(&ahead->lock);
    if (!is_there) {
      errno = EINTR;
      return -1;
    }
    if (piece->length > 0 && !ahead->is_told) {
      ahead->is_told = piece->trouble || piece->error || piece->is_last;
      ahead->holds_piece = !ahead->is_told;
      *bytes = piece->bytes;
      return (ssize_t)piece->length;
    }
    *message = piece->trouble;
    errno = piece->error;
    if (piece->trouble || piece->error) return -1;
    if (piece->is_last) return 0;
    ahead->holds_piece = true;
  }
}
