/* sqlite.c - the SQLite library, opened when a journal is asked for, not before: struct sqlite of ffi_journal.h. */
#include <dlfcn.h>
#include <stdio.h>

#include "lua/ffi_journal.h"

static const char *const names[] = {
    "open_v2",    "close_v2",  "exec",      "errmsg",      "errcode",        "system_errno", "busy_timeout",
    "prepare_v2", "finalize",  "step",      "reset",       "clear_bindings", "bind_null",    "bind_double",
    "bind_int64", "bind_text", "bind_blob", "column_type", "column_double",  "column_blob",  "column_bytes"};

enum { FUNCTIONS = sizeof names / sizeof *names };

_Static_assert(sizeof(struct sqlite) == FUNCTIONS * sizeof(void *), "a name for each function");

const struct sqlite *sqlite_library(const char **message)
{
  static union {
    struct sqlite library;
    void *function[FUNCTIONS];
  } sqlite;
  static int is_open;
  if (is_open) return &sqlite.library;
  void *handle = dlopen("libsqlite3.so.0", RTLD_NOW);
  for (int i = 0; handle && i < FUNCTIONS; i++) {
    char name[64];
    snprintf(name, sizeof name, "sqlite3_%s", names[i]);
    sqlite.function[i] = dlsym(handle, name);
    if (!sqlite.function[i]) handle = NULL;
  }
  if (!handle) {
    const char *error = dlerror();
    *message = error ? error : "libsqlite3.so.0 lacks a function";
    return NULL;
  }
  is_open = 1;
  return &sqlite.library;
}
