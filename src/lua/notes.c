/* notes.c - see notes.h. */
#include "lua/notes.h"

#include <stdlib.h>
#include <string.h>

static const double first_spawned = 4503599627370496; /* 2^52: lua/parlua/task.lua */

void notes_init(struct notes *notes)
{
  *notes = (struct notes){0};
  pthread_mutex_init(&notes->lock, NULL);
}

/* ---- arguments ---- */

static struct ring *ring_of(struct notes *notes, double task)
{
  return task < first_spawned ? &notes->of_source : &notes->of_spawned;
}

static struct note *note_of(const struct ring *ring, double task)
{
  if (!(task >= ring->first && task < ring->first + (double)ring->count)) return NULL;
  return &ring->notes[(ring->begin + (size_t)(task - ring->first)) % ring->room];
}

static bool grow(struct ring *ring)
{
  size_t room = ring->room ? 2 * ring->room : 64;
  struct note *notes = malloc(room * sizeof *notes);
  if (!notes) return false;
  for (size_t k = 0; k < ring->count; k++) notes[k] = ring->notes[(ring->begin + k) % ring->room];
  free(ring->notes);
  ring->notes = notes;
  ring->room = room;
  ring->begin = 0;
  return true;
}

void notes_add(struct notes *notes, double task, double hash, const char *json, uint32_t length)
{
  struct ring *ring = ring_of(notes, task);
  struct note note = {.hash = hash, .length = length, .is_there = true};
  if (json && !(note.json = malloc(length + 1))) return;
  if (json) memcpy(note.json, json, length);
  pthread_mutex_lock(&notes->lock);
  if (ring->count == 0) ring->first = task;
  while (ring->first + (double)ring->count <= task) { /* those in between were recorded before */
    if (ring->count == ring->room && !grow(ring)) break;
    ring->notes[(ring->begin + ring->count++) % ring->room] = (struct note){0};
  }
  struct note *place = note_of(ring, task);
  if (place && !place->is_there)
    *place = note;
  else
    free(note.json);
  pthread_mutex_unlock(&notes->lock);
}

void notes_remove(struct notes *notes, double task)
{
  struct ring *ring = ring_of(notes, task);
  pthread_mutex_lock(&notes->lock);
  struct note *note = note_of(ring, task);
  if (note) {
    free(note->json);
    *note = (struct note){0};
  }
  while (ring->count && !ring->notes[ring->begin].is_there) {
    ring->begin = (ring->begin + 1) % ring->room;
    ring->count--;
    ring->first++;
  }
  pthread_mutex_unlock(&notes->lock);
}

bool notes_find(struct notes *notes, double task, double *hash, const char **json, uint32_t *length)
{
  pthread_mutex_lock(&notes->lock);
  const struct note *note = note_of(ring_of(notes, task), task);
  bool is_there = note && note->is_there && buffer_reserve(&notes->asked, note->length + 1) == 0;
  if (is_there) {
    if (note->json) memcpy(notes->asked.bytes, note->json, note->length);
    *hash = note->hash;
    *json = note->json ? (const char *)notes->asked.bytes : NULL;
    *length = note->length;
  }
  pthread_mutex_unlock(&notes->lock);
  return is_there;
}

/* ---- rows that wait ---- */

static size_t home_of(const struct held *held, double task)
{
  /* the upper bits of the product are the well mixed ones */
  return (size_t)((uint64_t)task * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (held->room - 1);
}

/* Where a task is, or belongs. There is an empty place. */
static size_t place_of(const struct held *held, double task)
{
  size_t at = home_of(held, task);
  while (held->tasks[at] != 0 && held->tasks[at] != task) at = (at + 1) & (held->room - 1);
  return at;
}

/* Makes room for one more. */
static bool reserve(struct held *held)
{
  if (held->count < held->room / 2) return true;
  struct held larger = {.room = held->room ? 2 * held->room : 64, .count = held->count};
  larger.tasks = calloc(larger.room, sizeof *larger.tasks);
  if (!larger.tasks) return false;
  for (size_t k = 0; k < held->room; k++)
    if (held->tasks[k] != 0) larger.tasks[place_of(&larger, held->tasks[k])] = held->tasks[k];
  free(held->tasks);
  *held = larger;
  return true;
}

bool notes_hold(struct notes *notes, double task)
{
  struct held *held = &notes->held;
  pthread_mutex_lock(&notes->lock);
  bool has_room = reserve(held);
  size_t at = has_room ? place_of(held, task) : 0;
  if (has_room && held->tasks[at] == 0) {
    held->tasks[at] = task;
    held->count++;
  }
  pthread_mutex_unlock(&notes->lock);
  return has_room;
}

/* Empties a place; what follows it moves up, so that each task is found from its home on. */
static void empty(struct held *held, size_t at)
{
  size_t mask = held->room - 1;
  for (size_t k = (at + 1) & mask; held->tasks[k] != 0; k = (k + 1) & mask) {
    size_t home = home_of(held, held->tasks[k]);
    if (((k - home) & mask) < ((k - at) & mask)) continue; /* its home lies behind the empty place */
    held->tasks[at] = held->tasks[k];
    at = k;
  }
  held->tasks[at] = 0;
  held->count--;
}

void notes_release(struct notes *notes, double task)
{
  struct held *held = &notes->held;
  pthread_mutex_lock(&notes->lock);
  size_t at = held->count ? place_of(held, task) : 0;
  if (held->count && held->tasks[at] == task) empty(held, at);
  pthread_mutex_unlock(&notes->lock);
}

bool notes_is_held(struct notes *notes, double task)
{
  pthread_mutex_lock(&notes->lock);
  bool is_held = notes->held.count && notes->held.tasks[place_of(&notes->held, task)] == task;
  pthread_mutex_unlock(&notes->lock);
  return is_held;
}

/* ---- the end ---- */

static void free_ring(struct ring *ring)
{
  for (size_t k = 0; k < ring->count; k++) free(ring->notes[(ring->begin + k) % ring->room].json);
  free(ring->notes);
  *ring = (struct ring){0};
}

void notes_free(struct notes *notes)
{
  free_ring(&notes->of_source);
  free_ring(&notes->of_spawned);
  free(notes->held.tasks);
  notes->held = (struct held){0};
  buffer_free(&notes->asked);
}
