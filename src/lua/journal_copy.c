/* journal_copy.c - copies of journals that cannot be read in place: see ffi_journal.h.
 *
 * SQLite's readers and writers agree by locks, and with a write-ahead log by memory that they share. A reader on
 * another machine has no such memory, and perhaps no such locks; where it has them, it keeps the writer waiting. So it
 * takes a copy, by plain reads. The copy is good if nothing was begun anew in the meantime:
 *
 * - With a write-ahead log, pages of the database change only to what is in the log (a checkpoint). The log is copied
 *   after the database: if it still begins as before, it has all that the copy of the database may have in part.
 * - With a rollback journal, the database changes only while there is one, and each change counts up a number in its
 *   header. The rollback journal is copied after the database: if it still begins as before, it takes back all that the
 *   copy of the database may have in part.
 *
 * What was not whole at the end of a log or of a rollback journal is known by its checksums. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lua/journal.h"

enum {
  PIECE_BYTES = 1 << 24,
  HEADER_BYTES = 100, /* of a database: its form, and the number that each change counts up */
  LOG_BYTES = 32,     /* of the head of a write-ahead log, or of a rollback journal: with a number drawn for each */
  ATTEMPTS = 20,
  FORM_PLACE = 18, /* in the header: WITH_LOG where there is a write-ahead log */
  WITH_LOG = 2
};

static const struct timespec pause_between = {.tv_nsec = 20000000};

/* The database, and what SQLite keeps beside it. */
static const char *const parts[] = {"", "-wal", "-journal"};
enum { PARTS = 3 };

/* What tells whether a part was begun anew. */
struct stamp {
  unsigned char head[PARTS][HEADER_BYTES];
  size_t bytes[PARTS];
};

/* Puts the name of a part into `name`; false: it is too long. */
static bool name_part(char *name, size_t room, const char *path, int part)
{
  return snprintf(name, room, "%s%s", path, parts[part]) < (int)room;
}

/* Opens a part of the file; -1 with errno ENOENT: there is none. */
static int open_part(const char *path, int part)
{
  char name[4096];
  if (name_part(name, sizeof name, path, part)) return open(name, O_RDONLY | O_CLOEXEC);
  errno = ENAMETOOLONG;
  return -1;
}

/* Each part is opened anew: only then another machine's changes are sure to be seen. Returns 0 or an errno. */
static int take_stamp(const char *path, struct stamp *stamp)
{
  memset(stamp, 0, sizeof *stamp);
  for (int part = 0; part < PARTS; part++) {
    int file = open_part(path, part);
    if (file < 0 && errno == ENOENT && part > 0) continue;
    if (file < 0) return errno;
    ssize_t got = pread(file, stamp->head[part], part == 0 ? HEADER_BYTES : LOG_BYTES, 0);
    int error = errno;
    close(file);
    if (got < 0) return error;
    stamp->bytes[part] = (size_t)got;
  }
  return 0;
}

/* Copies one file. Returns 0 or an errno. */
static int copy_file(int from, const char *name)
{
  int to = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ssize_t copied = to < 0 ? -1 : 1;
  while (copied > 0) {
    copied = sendfile(to, from, NULL, PIECE_BYTES);
    if (copied < 0 && errno == EINTR) copied = 1;
  }
  int error = copied < 0 ? errno : 0;
  if (to >= 0) close(to);
  return error;
}

static int copy_parts(const char *path, const char *copy)
{
  for (int part = 0; part < PARTS; part++) {
    char name[4096];
    if (!name_part(name, sizeof name, copy, part)) return ENAMETOOLONG;
    int from = open_part(path, part), error;
    if (from < 0 && errno == ENOENT && part > 0) {
      unlink(name); /* of an attempt before */
      continue;
    }
    if (from < 0) return errno;
    error = copy_file(from, name);
    close(from);
    if (error) return error;
  }
  return 0;
}

int journal_copy(const char *path, char *copy, size_t room)
{
  const char *parent = getenv("TMPDIR");
  struct stamp before, after;
  if (!parent || !*parent) parent = "/tmp";
  if (snprintf(copy, room, "%s/parlua-journal-XXXXXX", parent) + (int)sizeof "/copy" > (int)room) return ENAMETOOLONG;
  if (!mkdtemp(copy)) return errno;
  strcat(copy, "/copy");
  int error = EAGAIN;
  for (int attempt = 0; error == EAGAIN && attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) nanosleep(&pause_between, NULL);
    error = take_stamp(path, &before);
    if (!error) error = copy_parts(path, copy);
    if (!error) error = take_stamp(path, &after);
    if (!error && memcmp(&before, &after, sizeof before) != 0) error = EAGAIN;
  }
  if (error) journal_forget(copy);
  return error;
}

void journal_forget(const char *copy)
{
  static const char *const others[] = {"", "-wal", "-journal", "-shm"};
  char name[4096];
  for (size_t k = 0; k < sizeof others / sizeof *others; k++)
    if (snprintf(name, sizeof name, "%s%s", copy, others[k]) < (int)sizeof name) unlink(name);
  if (snprintf(name, sizeof name, "%s", copy) >= (int)sizeof name) return;
  char *end = strrchr(name, '/');
  if (end) *end = '\0';
  rmdir(name);
}

int journal_has_log(const char *path)
{
  unsigned char header[HEADER_BYTES];
  int file = open_part(path, 0);
  if (file < 0) return 0;
  ssize_t got = pread(file, header, sizeof header, 0);
  close(file);
  return got == HEADER_BYTES && header[FORM_PLACE] == WITH_LOG;
}
