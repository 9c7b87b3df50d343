/* journal.c - see journal.h. */
#include "lua/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "lua/ffi.h"
#include "sys/buffer.h"
#include "sys/thread.h"

/* The oldest row waits about so long until it is written and committed. */
static const double commit_seconds = 0.2;
/* How long the last commit waits for those who read the file (where they can be in the way: no write-ahead log). */
static const double patience_seconds = 60;

enum {
  ENOUGH_BYTES = 1 << 20,  /* of rows: written without waiting for more */
  MOST_BYTES = 1 << 26,    /* of rows that wait: then whoever has more waits for the disk */
  BUSY_MILLISECONDS = 500, /* SQLite asks so long for a lock before it says that the file is busy */
  SQLITE_OK = 0,
  SQLITE_BUSY = 5,
  SQLITE_IOERR = 10,
  SQLITE_FULL = 13,
  SQLITE_DONE = 101,
  SQLITE_OPEN_READWRITE = 2,
  SQLITE_OPEN_NOMUTEX = 0x8000 /* one thread at a time uses the connection: a tenth less to do */
};

/* The byte of the file that is locked while a run uses it: far from those that SQLite locks, at 2^30. */
static const off_t lock_place = (off_t)1 << 40;

struct journal {
  struct journal *next; /* of those that are open */
  pid_t owner;
  int file; /* holds the lock */
  bool is_local;
  char *path;
  const struct sqlite *sqlite;
  void *database, *statement, *spawned; /* the statements insert a task that ended, and one that was spawned */
  pthread_t thread;
  bool running;
  bool is_gathered;     /* it has no file: rows wait until whoever asked for them has taken them */
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t news;  /* for the thread: rows, or the end */
  pthread_cond_t room;  /* for those who put rows */
  struct buffer rows;   /* struct journal_row, then its strings, padded to 8 bytes */
  double since;         /* when the oldest of them came */
  bool ending, failed;
  double ending_since;
  char message[512];
};

/* Forking copies the calling thread alone: the library's own locks must be free at that moment, and the copy must not
 * hold the file. pthread_atfork takes no argument, hence these. */
static pthread_mutex_t in_library = PTHREAD_MUTEX_INITIALIZER, in_list = PTHREAD_MUTEX_INITIALIZER;
static struct journal *open_journals;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
  pthread_mutex_lock(&in_list);
  pthread_mutex_lock(&in_library);
}

static void after_fork(void)
{
  pthread_mutex_unlock(&in_library);
  pthread_mutex_unlock(&in_list);
}

static void in_child(void)
{
  for (struct journal *journal = open_journals; journal; journal = journal->next) {
    if (journal->file >= 0) close(journal->file);
    journal->file = -1;
  }
  open_journals = NULL;
  after_fork();
}

/* A program that leaves by exit() in the middle of a run has its rows written. */
static void at_exit(void)
{
  for (struct journal *journal = open_journals; journal; journal = journal->next)
    if (journal->owner == getpid()) journal_end(journal);
}

static void prepare(void)
{
  pthread_atfork(before_fork, after_fork, in_child);
  atexit(at_exit);
}

/* ---- opening ---- */

/* Types of file systems (statfs) on which SQLite's write-ahead log works: its index is memory that all who use the file
 * share. Any other may lie on another machine. From linux/magic.h and the file systems' own sources. */
static bool is_local_type(long type)
{
  static const unsigned long types[] = {0xEF53 /* ext2, 3, 4 */,
                                        0x58465342 /* xfs */,
                                        0x9123683E /* btrfs */,
                                        0x01021994 /* tmpfs */,
                                        0x2FC12FC1 /* zfs */,
                                        0x794C7630 /* overlay */,
                                        0xF2F52010 /* f2fs */,
                                        0xCA451A4E /* bcachefs */,
                                        0x858458F6 /* ramfs */,
                                        0x3153464A /* jfs */,
                                        0x52654973 /* reiserfs */};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if ((unsigned long)type == types[i]) return true;
  return false;
}

/* Asks for the lock, or who has it (`command`). Returns an errno; EAGAIN: another program has it. A program that was
 * being started when its run's process was killed has the lock until it begins: so another is asked for a while. */
static int ask_lock(int file, int command)
{
  static const struct timespec pause_between = {.tv_nsec = 10000000};
  enum { MOST_TRIES = 6 };
  for (int attempt = 1;; attempt++) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = lock_place, .l_len = 1};
    int error = fcntl(file, command, &lock) != 0 ? errno : 0;
    bool is_taken =
        error == EAGAIN || error == EACCES || (error == 0 && command == F_OFD_GETLK && lock.l_type != F_UNLCK);
    if (!is_taken) return error;
    if (attempt == MOST_TRIES) return EAGAIN;
    nanosleep(&pause_between, NULL);
  }
}

struct journal *journal_open(const char *path, int *error)
{
  struct statfs found;
  struct journal *journal = calloc(1, sizeof *journal);
  *error = ENOMEM;
  if (!journal) return NULL;
  journal->path = strdup(path);
  journal->file = journal->path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
  if (journal->path) *error = errno;
  if (journal->file < 0) goto failed;
  *error = ask_lock(journal->file, F_OFD_SETLK);
  if (*error) goto failed;
  journal->is_local = fstatfs(journal->file, &found) == 0 && is_local_type(found.f_type);
  journal->owner = getpid();
  pthread_once(&prepared, prepare);
  pthread_mutex_lock(&in_list);
  journal->next = open_journals;
  open_journals = journal;
  pthread_mutex_unlock(&in_list);
  return journal;
failed:
  if (journal->file >= 0) close(journal->file);
  free(journal->path);
  free(journal);
  return NULL;
}

int journal_is_in_use(const char *path)
{
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  bool is_taken = ask_lock(file, F_OFD_GETLK) == EAGAIN;
  close(file);
  return is_taken;
}

int journal_lies_here(const char *path)
{
  struct statfs found;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  bool is_here = fstatfs(file, &found) == 0 && is_local_type(found.f_type);
  close(file);
  return is_here;
}

int journal_is_local(const struct journal *journal)
{
  return journal->is_local;
}

/* ---- the thread ---- */

/* Remembers why writing failed. `last_errno`: as the library left it, which does not always keep it (where COMMIT
 * fails). */
static void fail(struct journal *journal, int last_errno)
{
  const struct sqlite *sqlite = journal->sqlite;
  int code = journal->database ? sqlite->system_errno(journal->database) : 0;
  if (journal->database && !code && sqlite->errcode(journal->database) == SQLITE_IOERR) code = last_errno;
  if (journal->database && sqlite->errcode(journal->database) == SQLITE_FULL)
    code = ENOSPC; /* it keeps no number of that one */
  const char *message = journal->database ? sqlite->errmsg(journal->database) : strerror(ENOMEM);
  char reason[128] = "";
  if (code) snprintf(reason, sizeof reason, " (%s)", strerror(code));
  pthread_mutex_lock(&journal->lock);
  if (!journal->failed) snprintf(journal->message, sizeof journal->message, "%s%s", message, reason);
  journal->failed = true;
  pthread_cond_broadcast(&journal->room);
  pthread_mutex_unlock(&journal->lock);
}

/* Has the end been waited for long enough? */
static bool out_of_patience(struct journal *journal)
{
  pthread_mutex_lock(&journal->lock);
  bool out = journal->ending && clock_seconds() - journal->ending_since > patience_seconds;
  pthread_mutex_unlock(&journal->lock);
  return out;
}

/* Executes BEGIN or COMMIT, again while others are in the way. */
static bool execute(struct journal *journal, const char *text)
{
  int code;
  do {
    pthread_mutex_lock(&in_library);
    code = journal->sqlite->exec(journal->database, text, NULL, NULL, NULL);
    pthread_mutex_unlock(&in_library);
  } while (code == SQLITE_BUSY && !out_of_patience(journal));
  return code == SQLITE_OK;
}

/* Binds a text that may be missing; moves *bytes behind it. Returns SQLite's code. */
static int bind_text(struct journal *journal, int place, const char **bytes, bool is_there, uint32_t length)
{
  const char *text = *bytes;
  *bytes += length;
  return is_there ? journal->sqlite->bind_text(journal->statement, place, text, (int)length, 0)
                  : journal->sqlite->bind_null(journal->statement, place);
}

/* The result, at places 5 and 14: bytes of the codec stand beside what JSON has for them, if anything. */
static int bind_result(struct journal *journal, const struct journal_row *row, const char **bytes)
{
  const struct sqlite *sqlite = journal->sqlite;
  const char *result = *bytes;
  *bytes += row->result_bytes;
  if (row->result_kind == JOURNAL_BYTES)
    return sqlite->bind_blob(journal->statement, 14, result, (int)row->result_bytes, 0);
  int wrong = sqlite->bind_null(journal->statement, 14);
  switch (row->result_kind) {
  case JOURNAL_NUMBER: return wrong | sqlite->bind_double(journal->statement, 5, row->number);
  case JOURNAL_TEXT: return wrong | sqlite->bind_text(journal->statement, 5, result, (int)row->result_bytes, 0);
  default: return wrong | sqlite->bind_null(journal->statement, 5);
  }
}

/* Inserts one row; its strings stand behind it, in the order of the structure. */
static bool insert(struct journal *journal, const struct journal_row *row)
{
  const struct sqlite *sqlite = journal->sqlite;
  void *statement = journal->statement;
  const char *bytes = (const char *)(row + 1);
  int wrong = 0;
  wrong |= sqlite->bind_int64(statement, 1, (int64_t)row->run);
  wrong |= sqlite->bind_int64(statement, 2, (int64_t)row->task);
  wrong |= sqlite->bind_int64(statement, 3, (int64_t)row->hash);
  wrong |= sqlite->bind_text(statement, 4, row->failed ? "failed" : "returned", row->failed ? 6 : 8, 0);
  wrong |= bind_result(journal, row, &bytes);
  wrong |= bind_text(journal, 6, &bytes, row->kind != NULL, row->kind_bytes);
  wrong |= bind_text(journal, 7, &bytes, row->message != NULL, row->message_bytes);
  wrong |= bind_text(journal, 8, &bytes, row->traceback != NULL, row->traceback_bytes);
  wrong |= sqlite->bind_int64(statement, 9, row->attempts);
  wrong |= row->seconds >= 0 ? sqlite->bind_double(statement, 10, row->seconds) : sqlite->bind_null(statement, 10);
  wrong |= sqlite->bind_int64(statement, 11, row->worker);
  wrong |= bind_text(journal, 12, &bytes, row->host != NULL, row->host_bytes);
  if (row->result_kind == JOURNAL_BYTES) wrong |= bind_text(journal, 5, &bytes, row->json != NULL, row->json_bytes);
  wrong |= bind_text(journal, 13, &bytes, row->arguments != NULL, row->arguments_bytes);
  wrong |= sqlite->bind_double(statement, 15, row->ended);
  if (wrong) return false;
  int code = sqlite->step(statement);
  sqlite->reset(statement);
  return code == SQLITE_DONE;
}

/* The same for a task that was spawned. */
static bool insert_spawned(struct journal *journal, const struct journal_row *row)
{
  const struct sqlite *sqlite = journal->sqlite;
  void *statement = journal->spawned;
  int wrong = 0;
  wrong |= sqlite->bind_int64(statement, 1, (int64_t)row->run);
  wrong |= sqlite->bind_int64(statement, 2, (int64_t)row->task);
  wrong |= sqlite->bind_int64(statement, 3, (int64_t)row->parent);
  wrong |= sqlite->bind_int64(statement, 4, row->nth);
  wrong |= sqlite->bind_int64(statement, 5, (int64_t)row->hash);
  wrong |= sqlite->bind_blob(statement, 6, (const char *)(row + 1), (int)row->call_bytes, 0);
  if (wrong) return false;
  int code = sqlite->step(statement);
  sqlite->reset(statement);
  return code == SQLITE_DONE;
}

/* Of a row without its arguments and its call, whose strings stand last. */
static size_t head_bytes(const struct journal_row *row)
{
  return sizeof *row + (size_t)row->result_bytes + row->kind_bytes + row->message_bytes + row->traceback_bytes +
         row->host_bytes + row->json_bytes;
}

static size_t row_bytes(const struct journal_row *row)
{
  size_t bytes = head_bytes(row) + row->arguments_bytes + row->call_bytes;
  return (bytes + 7) / 8 * 8;
}

/* Writes rows in one transaction. */
static bool write_rows(struct journal *journal, const struct buffer *rows)
{
  if (!execute(journal, "BEGIN IMMEDIATE")) return false;
  for (size_t at = 0; at < rows->length;) {
    const struct journal_row *row = (const struct journal_row *)(rows->bytes + at);
    pthread_mutex_lock(&in_library);
    bool inserted = row->parent > 0 ? insert_spawned(journal, row) : insert(journal, row);
    pthread_mutex_unlock(&in_library);
    if (!inserted) return false;
    at += row_bytes(row);
  }
  return execute(journal, "COMMIT");
}

/* Waits until rows are to be written; false: there are none any more. The lock is held. */
static bool wait_for_rows(struct journal *journal)
{
  for (;;) {
    double left = journal->rows.length ? journal->since + commit_seconds - clock_seconds() : 1;
    if (journal->rows.length && (journal->ending || left <= 0 || journal->rows.length >= ENOUGH_BYTES)) return true;
    if (journal->ending) return false;
    if (journal->rows.length)
      condition_wait(&journal->news, &journal->lock, (long)(left * 1e9));
    else
      pthread_cond_wait(&journal->news, &journal->lock);
  }
}

static void *run_thread(void *argument)
{
  struct journal *journal = argument;
  struct buffer taken = {0};
  pthread_mutex_lock(&journal->lock);
  while (wait_for_rows(journal)) {
    struct buffer rows = journal->rows;
    journal->rows = taken;
    journal->rows.length = 0;
    pthread_cond_broadcast(&journal->room);
    pthread_mutex_unlock(&journal->lock);
    errno = 0;
    bool well = write_rows(journal, &rows);
    if (!well) fail(journal, errno);
    buffer_clear(&rows, 4 * ENOUGH_BYTES);
    taken = rows;
    pthread_mutex_lock(&journal->lock);
    if (!well) break;
  }
  pthread_mutex_unlock(&journal->lock);
  buffer_free(&taken);
  return NULL;
}

/* ---- putting rows ---- */

/* Opens a connection of the writer's own. */
static bool open_database(struct journal *journal, const char *insert_text, const char *spawned_text)
{
  const char *message;
  journal->sqlite = sqlite_library(&message);
  if (!journal->sqlite) {
    snprintf(journal->message, sizeof journal->message, "the SQLite library cannot be opened: %s", message);
    journal->failed = true;
    return false;
  }
  const struct sqlite *sqlite = journal->sqlite;
  bool opened = sqlite->open_v2(journal->path, &journal->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
                    SQLITE_OK &&
                sqlite->busy_timeout(journal->database, BUSY_MILLISECONDS) == SQLITE_OK &&
                sqlite->exec(journal->database, "PRAGMA synchronous = FULL; PRAGMA cache_spill = OFF", NULL, NULL,
                             NULL) == SQLITE_OK &&
                sqlite->prepare_v2(journal->database, insert_text, -1, &journal->statement, NULL) == SQLITE_OK &&
                sqlite->prepare_v2(journal->database, spawned_text, -1, &journal->spawned, NULL) == SQLITE_OK;
  if (!opened) fail(journal, 0);
  return opened;
}

int journal_begin(struct journal *journal, const char *insert_text, const char *spawned_text)
{
  pthread_mutex_init(&journal->lock, NULL);
  condition_init(&journal->news);
  condition_init(&journal->room);
  if (!open_database(journal, insert_text, spawned_text)) return -1;
  /* it takes no signals: a file that may not grow is told by the write itself */
  int error = thread_start(&journal->thread, NULL, run_thread, journal);
  journal->running = error == 0;
  if (journal->running) pthread_setname_np(journal->thread, "parlua-journal");
  return error;
}

static unsigned char *add(unsigned char *to, const char *bytes, uint32_t length)
{
  if (length) memcpy(to, bytes, length);
  return to + length;
}

/* Takes the lock and makes room for rows, for as many as end_rows then adds; NULL: writing has failed. */
static unsigned char *begin_rows(struct journal *journal, size_t bytes)
{
  pthread_mutex_lock(&journal->lock);
  while (journal->rows.length > MOST_BYTES && !journal->failed && !journal->is_gathered)
    pthread_cond_wait(&journal->room, &journal->lock);
  if (!journal->failed && buffer_reserve(&journal->rows, bytes) != 0) {
    snprintf(journal->message, sizeof journal->message, "%s", strerror(ENOMEM));
    journal->failed = true;
  }
  if (!journal->failed) return journal->rows.bytes + journal->rows.length;
  pthread_mutex_unlock(&journal->lock);
  return NULL;
}

static void end_rows(struct journal *journal, size_t bytes)
{
  bool wake = journal->rows.length == 0 ||
              (journal->rows.length < ENOUGH_BYTES && journal->rows.length + bytes >= ENOUGH_BYTES);
  if (journal->rows.length == 0) journal->since = clock_seconds();
  journal->rows.length += bytes;
  if (wake) pthread_cond_signal(&journal->news);
  pthread_mutex_unlock(&journal->lock);
}

int journal_put(struct journal *journal, const struct journal_row *row)
{
  size_t bytes = row_bytes(row);
  unsigned char *to = begin_rows(journal, bytes);
  if (!to) return -1;
  memcpy(to, row, sizeof *row);
  to = add(to + sizeof *row, row->result, row->result_bytes);
  to = add(to, row->kind, row->kind_bytes);
  to = add(to, row->message, row->message_bytes);
  to = add(to, row->traceback, row->traceback_bytes);
  to = add(to, row->host, row->host_bytes);
  to = add(to, row->json, row->json_bytes);
  to = add(to, row->arguments, row->arguments_bytes);
  add(to, row->call, row->call_bytes);
  end_rows(journal, bytes);
  return 0;
}

/* ---- rows that were prepared ---- */

struct journal *journal_gather(struct buffer **rows)
{
  struct journal *journal = calloc(1, sizeof *journal);
  if (!journal) return NULL;
  pthread_mutex_init(&journal->lock, NULL);
  condition_init(&journal->news);
  condition_init(&journal->room);
  journal->is_gathered = true;
  journal->file = -1;
  *rows = &journal->rows;
  return journal;
}

size_t journal_row_bytes(const char *rows, size_t length)
{
  const struct journal_row *row = (const struct journal_row *)(const void *)rows;
  if (length < sizeof *row) return 0;
  size_t bytes = row_bytes(row);
  return bytes <= length && row->parent == 0 && row->call_bytes == 0 ? bytes : 0;
}

int journal_append(struct journal *journal, const char *rows, size_t length)
{
  unsigned char *to = begin_rows(journal, length);
  if (!to) return -1;
  memcpy(to, rows, length);
  end_rows(journal, length);
  return 0;
}

int journal_complete(struct journal *journal, const struct journal_row *bare, double hash, const char *arguments,
                     uint32_t length)
{
  struct journal_row row = *bare;
  size_t head = head_bytes(bare);
  row.hash = hash;
  row.arguments = arguments;
  row.arguments_bytes = length;
  size_t bytes = row_bytes(&row);
  unsigned char *to = begin_rows(journal, bytes);
  if (!to) return -1;
  memcpy(to, &row, sizeof row);
  memcpy(to + sizeof row, bare + 1, head - sizeof row);
  add(to + head, arguments, length);
  end_rows(journal, bytes);
  return 0;
}

int journal_failed(struct journal *journal)
{
  pthread_mutex_lock(&journal->lock);
  bool failed = journal->failed;
  pthread_mutex_unlock(&journal->lock);
  return failed;
}

const char *journal_message(const struct journal *journal)
{
  return journal->message;
}

/* ---- the end ---- */

int journal_end(struct journal *journal)
{
  if (journal->running && journal->owner == getpid()) {
    pthread_mutex_lock(&journal->lock);
    journal->ending = true;
    journal->ending_since = clock_seconds();
    pthread_cond_signal(&journal->news);
    pthread_mutex_unlock(&journal->lock);
    pthread_join(journal->thread, NULL);
    journal->running = false;
  }
  if (journal->database && journal->owner == getpid()) {
    journal->sqlite->finalize(journal->statement);
    journal->sqlite->finalize(journal->spawned);
    journal->sqlite->close_v2(journal->database);
    journal->database = journal->statement = journal->spawned = NULL;
  }
  return journal->failed ? -1 : 0;
}

void journal_close(struct journal *journal)
{
  pthread_mutex_lock(&in_list);
  for (struct journal **link = &open_journals; *link; link = &(*link)->next) {
    if (*link != journal) continue;
    *link = journal->next;
    break;
  }
  pthread_mutex_unlock(&in_list);
  if (journal->file >= 0) close(journal->file);
  buffer_free(&journal->rows);
  free(journal->path);
  free(journal);
}
