/* ffi_journal.h - what the journal's Lua side reaches by FFI: the SQLite library, the writer, the lookout. Plain C
 * declarations only: the text is also given to LuaJIT's ffi.cdef (lua/parlua/wire/header.lua). */
#ifndef PARLUA_FFI_JOURNAL_H
#define PARLUA_FFI_JOURNAL_H
#include <stddef.h>
#include <stdint.h>

/* What is used of the SQLite library, for the writer of journals and for who reads them. Connections and statements are
 * void *. */
struct sqlite {
  int (*open_v2)(const char *path, void **database, int flags, const char *vfs);
  int (*close_v2)(void *database);
  int (*exec)(void *database, const char *text, void *callback, void *context, char **message);
  const char *(*errmsg)(void *database);
  int (*errcode)(void *database);
  int (*system_errno)(void *database);
  int (*busy_timeout)(void *database, int milliseconds);
  int (*prepare_v2)(void *database, const char *text, int length, void **statement, const char **rest);
  int (*finalize)(void *statement);
  int (*step)(void *statement);
  int (*reset)(void *statement);
  int (*clear_bindings)(void *statement);
  int (*bind_null)(void *statement, int place);
  int (*bind_double)(void *statement, int place, double value);
  int (*bind_int64)(void *statement, int place, int64_t value);
  int (*bind_text)(void *statement, int place, const char *text, int length, intptr_t release);
  int (*bind_blob)(void *statement, int place, const char *bytes, int length, intptr_t release);
  int (*column_type)(void *statement, int column);
  double (*column_double)(void *statement, int column);
  const char *(*column_blob)(void *statement, int column);
  int (*column_bytes)(void *statement, int column);
};

/* Opens the library, once; NULL: it is not there, and *message says why. */
const struct sqlite *sqlite_library(const char **message);

/* A task that ended, for the journal. Strings need not end with a zero byte; NULL: the row has none. */
struct journal_row {
  double run, task;
  double hash;    /* of the arguments */
  double seconds; /* below 0: not known */
  double ended;   /* since 1970 */
  double number;  /* the result, where its kind is JOURNAL_NUMBER */
  /* json: of a result whose kind is JOURNAL_BYTES; arguments: as JSON */
  const char *result, *kind, *message, *traceback, *host, *json, *arguments;
  uint32_t result_bytes, kind_bytes, message_bytes, traceback_bytes, host_bytes, json_bytes, arguments_bytes;
  uint32_t result_kind; /* enum journal_result */
  uint32_t failed;      /* the task is a failure: else kind, message and traceback are not looked at */
  uint32_t attempts, worker;
  /* Above 0: no task that ended, but one that task `parent` has spawned, as its call number `nth`. */
  double parent;
  const char *call; /* as bytes; not NULL */
  uint32_t nth, call_bytes;
};

enum journal_result { JOURNAL_NIL, JOURNAL_NUMBER, JOURNAL_TEXT, JOURNAL_BYTES };

/* The journal's writer: see journal.h. */
struct journal;
/* Opens (or makes) the file and keeps other runs off it. NULL: *error is an errno, EAGAIN when another run has it. */
struct journal *journal_open(const char *path, int *error);
int journal_is_in_use(const char *path);             /* does a run hold the file? */
int journal_is_local(const struct journal *journal); /* is its file system known to be this machine's own? */
int journal_lies_here(const char *path);             /* the same of a file that need not be open */
int journal_has_log(const char *path);               /* does it have a write-ahead log? */
/* Copies a journal that a run may be writing, on this machine or another, without a lock: into a new directory below
 * TMPDIR. `copy` takes the path. Returns 0 or an errno; EAGAIN: it is written faster than it can be copied. */
int journal_copy(const char *path, char *copy, size_t room);
void journal_forget(const char *copy); /* removes the copy; who has it open goes on reading */
/* Begins to write: from now on rows are taken. The texts insert a task that ended, and one that was spawned. Returns 0
 * or an errno. */
int journal_begin(struct journal *journal, const char *insert, const char *insert_spawned);
/* Takes a row; it is in the file soon after. Returns 0, or -1 when writing failed: then so does every further call. */
int journal_put(struct journal *journal, const struct journal_row *row);
/* Rows that another process has prepared (lua/rows.h), one behind the other. How many bytes the first takes; 0: it is
 * none. */
size_t journal_row_bytes(const char *rows, size_t length);
/* Takes such rows as they are, or one that lacks the arguments; they return what journal_put does. */
int journal_append(struct journal *journal, const char *rows, size_t length);
int journal_complete(struct journal *journal, const struct journal_row *bare, double hash, const char *arguments,
                     uint32_t length);
int journal_failed(struct journal *journal);
const char *journal_message(const struct journal *journal); /* why, once writing failed */
/* Writes what is left and ends the thread. Returns 0 or -1, as journal_put. */
int journal_end(struct journal *journal);
/* Lets go of the file; after journal_end. The caller's own use of the library must have ended. */
void journal_close(struct journal *journal);

/* For a journal's lookout; what each does: lua/lookout.h. */
struct lookout;
void lookout_note(struct lookout *lookout, double task, double hash, const char *json, uint32_t length);
void lookout_forget(struct lookout *lookout, double task);
int lookout_noted(struct lookout *lookout, double task, double *hash, const char **json, uint32_t *length);
int lookout_is_wanted(struct lookout *lookout);
void lookout_hold(struct lookout *lookout, double task);
void lookout_release(struct lookout *lookout, double task);
int lookout_holds(struct lookout *lookout, double task);
void lookout_go_on(struct lookout *lookout);

#endif
