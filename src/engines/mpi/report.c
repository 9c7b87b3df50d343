/* report.c - see report.h. */
#include "engines/mpi/report.h"

#include <string.h>

#include "run/pack.h"

/* Records are gathered up to so many bytes: less than what malloc maps anew each time. */
enum { GATHERED_BYTES = 96 << 10 };

static size_t padded(size_t bytes)
{
  return (bytes + 15) & ~(size_t)15;
}

void report_send(struct report *report, bool always)
{
  if (!report->parcel && !always) return;
  if (!report->parcel) report->parcel = transport_begin(report->transport, &report->note, 0);
  memcpy(parcel_note(report->parcel), &report->note, sizeof report->note);
  transport_send_off(report->transport, report->parent, report->parcel, report->used);
  report->sent += report->used;
  report->parcel = NULL;
  report->used = report->room = 0;
}

char *report_add(struct report *report, struct record *record, size_t bytes)
{
  size_t needed = sizeof *record + padded(bytes);
  if (report->parcel && report->room - report->used < needed) report_send(report, false);
  if (!report->parcel) {
    report->room = needed > GATHERED_BYTES ? needed : GATHERED_BYTES;
    report->parcel = transport_begin(report->transport, &report->note, report->room);
  }
  char *at = parcel_bytes(report->parcel) + report->used;
  record->bytes = padded(bytes);
  memcpy(at, record, sizeof *record);
  report->used += needed;
  return at + sizeof *record;
}

void report_results(struct report *report, const struct event *event, uint64_t *end)
{
  const struct block *block = event->block;
  uint64_t per_entry = block->kind == BLOCK_SPARSE ? 2 : 1, words = event->count * per_entry;
  uint64_t from = event->from * per_entry;
  bool is_whole = pack_has_record(block, from, words); /* all values go along then, however often */
  if (is_whole) *end = block->size;
  uint64_t low = pack_lowest(block, from, words, *end), values = *end - low;
  uint64_t size = BLOCK_HEAD + words * 8 + values;
  struct record record = {.kind = RECORD_RESULTS,
                          .worker = event->worker,
                          .last = event->last,
                          .fresh = event->want,
                          .seconds = event->seconds};
  struct block *to = (struct block *)(void *)report_add(report, &record, size);
  memcpy(to, block, BLOCK_HEAD);
  to->size = size;
  to->floor = size - values;
  to->count = event->count;
  if (block->kind != BLOCK_SPARSE) to->first = block->first + event->from;
  pack_copy(to, block, from, words, low, *end);
  if (!is_whole) *end = low;
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
  struct record record = {
      .kind = RECORD_TEXT, .worker = event->worker, .length = event->length, .stream = event->stream};
  memcpy(report_add(report, &record, event->length), event->bytes, event->length);
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
