/* notes.h - what the script tells its lookout (lookout.h) of tasks: their arguments, as their rows are to have them,
 * and which rows are to wait. Filled by the script and read by the lookout's thread; a lock guards both. */
#ifndef PARLUA_NOTES_H
#define PARLUA_NOTES_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys/buffer.h"

/* The arguments of a task: their hash, and as JSON. */
struct note {
  double hash;
  char *json; /* NULL: the row has none */
  uint32_t length;
  bool is_there;
};

/* Notes of the tasks from `first` on: a ring. */
struct ring {
  struct note *notes;
  size_t room, begin, count;
  double first;
};

/* A set of tasks: open addressing, 0 is an empty place. */
struct held {
  double *tasks;
  size_t room, count;
};

struct notes {
  pthread_mutex_t lock;
  struct ring of_source, of_spawned; /* numbers of tasks that tasks have spawned lie far behind the others */
  struct held held;
  struct buffer asked; /* what was told last */
};

/* All zero but the lock is empty. */
void notes_init(struct notes *notes);
void notes_free(struct notes *notes);

/* Notes a task's arguments. What comes before the first task that is noted, or for what there is no memory, is not
 * noted: such a row waits for the script. */
void notes_add(struct notes *notes, double task, double hash, const char *json, uint32_t length);
void notes_remove(struct notes *notes, double task);
/* False: there is no note. The text is valid until the next question. */
bool notes_find(struct notes *notes, double task, double *hash, const char **json, uint32_t *length);

/* The row of a task is to wait for the script, or no longer so. False: there is no memory to remember it. */
bool notes_hold(struct notes *notes, double task);
void notes_release(struct notes *notes, double task);
bool notes_is_held(struct notes *notes, double task);

#endif
