/* report.c - see report.h. */
#include "engines/mpi/report.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "run/pack.h"

/* Records are gathered up to so many bytes: less than what malloc maps anew each time. */
enum { GATHERED_BYTES = 96 << 10 };

/* A result that was lent. */
struct loan {
  struct loan *next;
  struct payload *payload;
  uint64_t until; /* so many bytes of reports have been used */
};

void report_begin(struct report *report, struct transport *transport, int parent, const struct note *of)
{
  *report = (struct report){.transport = transport, .parent = parent};
  report->note = (struct note){.kind = NOTE_REPORT, .engine = of->engine, .run = of->run};
}

void report_used(struct report *report, uint64_t bytes)
{
  for (struct loan *loan; (loan = report->loans) && loan->until <= bytes;) {
    report->loans = loan->next;
    payload_drop(NULL, loan->payload);
    free(loan);
  }
}

void report_end(struct report *report)
{
  report_used(report, UINT64_MAX);
  free(report->parcel);
  report->parcel = NULL;
}

static size_t padded(size_t bytes)
{
  return (bytes + 15) & ~(size_t)15;
}

char *report_rows(const struct block *block)
{
  return (char *)(uintptr_t)block + padded(block->size);
}

size_t report_bytes(const struct record *record, size_t size)
{
  return padded(size) + record->length;
}

/* The parcel, which is sent next. */
static struct parcel *take_parcel(struct report *report)
{
  struct parcel *parcel = report->parcel;
  if (!parcel) return transport_begin(report->transport, &report->note, 0);
  memcpy(parcel_note(parcel), &report->note, sizeof report->note);
  report->parcel = NULL;
  return parcel;
}

static void begin_anew(struct report *report, size_t sent)
{
  report->sent += sent;
  report->used = report->room = 0;
}

void report_send(struct report *report, bool always)
{
  if (!report->parcel && !always) return;
  transport_send_off(report->transport, report->parent, take_parcel(report), report->used);
  begin_anew(report, report->used);
}

/* Adds a record, with room for `here` of the bytes behind it. */
static char *add(struct report *report, struct record *record, size_t bytes, size_t here)
{
  size_t needed = sizeof *record + padded(here);
  if (report->parcel && report->room - report->used < needed) report_send(report, false);
  if (!report->parcel) {
    report->room = needed > GATHERED_BYTES ? needed : GATHERED_BYTES;
    report->parcel = transport_begin(report->transport, &report->note, report->room);
  }
  if (!report->parcel) {
    report->room = needed > SMALL_ROOM ? needed : SMALL_ROOM;
    report->parcel = transport_begin(report->transport, &report->note, report->room);
  }
  if (!report->parcel) return NULL;
  char *at = parcel_bytes(report->parcel) + report->used;
  record->bytes = padded(bytes);
  memcpy(at, record, sizeof *record);
  report->used += needed;
  report->records++;
  return at + sizeof *record;
}

char *report_add(struct report *report, struct record *record, size_t bytes)
{
  return add(report, record, bytes, bytes);
}

/* Where in the block of an event that lies which is to be copied. */
struct part {
  uint64_t from, words, low, end; /* words, bytes of values */
  uint64_t size;                  /* of a block with that alone */
};

static struct part part_of(const struct event *event, uint64_t *end, struct record *record)
{
  const struct block *block = event->block;
  uint64_t per_entry = block->kind == BLOCK_SPARSE ? 2 : 1;
  struct part part = {.from = event->from * per_entry, .words = event->count * per_entry};
  bool is_whole = pack_has_record(block, part.from, part.words); /* all values go along then, however often */
  part.end = is_whole ? block->size : *end;
  part.low = pack_lowest(block, part.from, part.words, part.end);
  part.size = BLOCK_HEAD + part.words * 8 + part.end - part.low;
  *end = is_whole ? block->size : part.low;
  *record = (struct record){.kind = RECORD_RESULTS,
                            .worker = event->worker,
                            .last = event->last,
                            .fresh = event->want,
                            .seconds = event->seconds,
                            .length = event->length};
  return part;
}

static void copy_part(struct block *to, const struct event *event, const struct part *part)
{
  const struct block *block = event->block;
  memcpy(to, block, BLOCK_HEAD);
  to->size = part->size;
  to->floor = part->size - (part->end - part->low);
  to->count = event->count;
  if (block->kind != BLOCK_SPARSE) to->first = block->first + event->from;
  pack_copy(to, block, part->from, part->words, part->low, part->end);
  if (event->length > 0) memcpy(report_rows(to), event->bytes, event->length);
}

/* Lends a large result to the parent. False: there is no memory to note that. */
static bool lend_whole(struct report *report, struct record *record, const struct event *event)
{
  uint64_t size = event->block->size;
  struct loan *loan = malloc(sizeof *loan), **end = &report->loans;
  if (!loan) return false;
  add(report, record, size, 0);
  struct parcel *parcel = take_parcel(report);
  note_lent(parcel_note(parcel), event->whole);
  transport_send_off(report->transport, report->parent, parcel, report->used);
  begin_anew(report, report->used + size);
  event->whole->users++;
  *loan = (struct loan){.payload = event->whole, .until = report->sent};
  while (*end) end = &(*end)->next;
  *end = loan;
  return true;
}

/* Sends a large result from where it lies. */
static void send_whole(struct report *report, struct record *record, const struct event *event)
{
  uint64_t size = event->block->size;
  add(report, record, size, 0);
  event->whole->users++;
  transport_send_on(report->transport, report->parent, take_parcel(report), report->used, event->whole, event->block,
                    size);
  begin_anew(report, report->used + size);
}

/* There is no memory to tell what has come of these tasks. */
static void lose_results(struct report *report, const struct record *results)
{
  struct record lost = {.kind = RECORD_LOST, .worker = results->worker, .cause = LOST_MEMORY};
  for (lost.task = results->last - results->fresh + 1; lost.task <= results->last; lost.task++)
    report_add(report, &lost, 0);
}

void report_results(struct report *report, const struct event *event, uint64_t *end)
{
  struct record record;
  struct part part = part_of(event, end, &record);
  size_t bytes = report_bytes(&record, part.size);
  if (event->whole && bytes > LARGE_MESSAGE && bytes == padded(event->block->size)) {
    if (!report->lends || !event->whole->is_lent || !lend_whole(report, &record, event))
      send_whole(report, &record, event);
    return;
  }
  char *to = report_add(report, &record, bytes);
  if (to)
    copy_part((struct block *)(void *)to, event, &part);
  else
    lose_results(report, &record);
}

struct kept *report_keep(const struct event *event, uint64_t *end)
{
  struct record record;
  uint64_t before = *end;
  struct part part = part_of(event, end, &record);
  record.bytes = padded(report_bytes(&record, part.size));
  struct kept *kept = malloc(offsetof(struct kept, block) + record.bytes);
  if (!kept) {
    *end = before;
    return NULL;
  }
  kept->next = NULL;
  kept->record = record;
  copy_part(&kept->block, event, &part);
  return kept;
}

void report_kept(struct report *report, const struct kept *kept)
{
  struct record record = kept->record;
  char *to = report_add(report, &record, record.bytes);
  if (to)
    memcpy(to, &kept->block, report_bytes(&record, kept->block.size));
  else
    lose_results(report, &record);
}

void report_lost(struct report *report, const struct event *event)
{
  struct record record = {.kind = RECORD_LOST,
                          .worker = event->worker,
                          .task = event->first,
                          .inner = event->inner,
                          .seconds = event->seconds,
                          .cause = event->cause,
                          .status = event->status};
  report_add(report, &record, 0);
}

void report_text(struct report *report, const struct event *event)
{
  for (uint64_t at = 0, n; at < event->length; at += n) {
    struct record record = {.kind = RECORD_TEXT, .worker = event->worker, .stream = event->stream};
    record.length = n = event->length - at;
    char *to = report_add(report, &record, n);
    if (!to) {
      record.length = n = SMALL_ROOM / 2; /* for so little there is memory */
      to = report_add(report, &record, n);
    }
    memcpy(to, event->bytes + at, n);
  }
}

void report_ranges(struct report *report, const struct range *ranges, uint32_t count)
{
  struct record record = {.kind = RECORD_GIVEN, .count = count};
  char *to = report_add(report, &record, count * sizeof *ranges);
  if (count > 0) memcpy(to, ranges, count * sizeof *ranges);
}

void report_status(struct report *report, enum record_kind kind, int status, int ended)
{
  struct record record = {.kind = kind, .status = status, .stream = ended};
  report_add(report, &record, 0);
}
