/* slot.h - the mailbox of one worker, from the coordinator's side: memory that both see, whether the worker is a thread
 * or a forked process. Two channels of blocks (in: chunks and jobs; out: results), a ring of printed text, and the
 * cells of `struct slot`. There are no locks: each field has one writer, so a worker that is killed leaves nothing
 * held. System calls are made only to sleep, and to wake a side that sleeps. The worker's side is mailbox.h.
 *
 * A queued chunk can be taken back: its block's `claim` goes from CLAIM_QUEUED either to CLAIM_TAKEN (by the worker, as
 * it begins) or to CLAIM_REVOKED (by the coordinator; the worker then passes over it). A chunk that runs can be cut:
 * the cell `limit` of its place says with which task it ends. docs/PROTOCOL.md has the proofs. */
#ifndef PARLUA_SLOT_H
#define PARLUA_SLOT_H
#include <stdbool.h>
#include <stddef.h>

#include "slot/layout.h"

enum claim { CLAIM_QUEUED, CLAIM_TAKEN, CLAIM_REVOKED };

/* A slot for worker number `id`; NULL with errno set when there is no memory. The coordinator owns it
 * until slot_unmap. */
struct slot *slot_map(uint32_t id);
/* Memory for a slot behind a descriptor, to be mapped by slot_map_file in processes that are no relatives; -1 with
 * errno set. */
int slot_file(void);
struct slot *slot_map_file(int file);
void slot_unmap(struct slot *slot);
/* In a process that is no longer to share the slot: puts memory of its own in its place, marked as abandoned. */
void slot_part(struct slot *slot);
/* Makes the slot as new for a worker that replaces a dead one. */
void slot_reset(struct slot *slot);
/* Its cells are going to be read: the processor begins to fetch all of them. */
void slot_prefetch(const struct slot *slot);

/* The blocks of its channels, by place. */
struct block *slot_in_block(struct slot *slot, uint32_t place);
struct block *slot_out_block(struct slot *slot, uint32_t place);
/* Copies bytes into the ring of printed text, `at` bytes from its beginning on, round its end. It holds records: a mark
 * of four bytes (length << 2 | stream), and the text. */
void slot_put_text(struct slot *slot, uint32_t at, const void *bytes, size_t length);
uint32_t channel_filled(const struct channel *channel); /* blocks published and not released */
/* Bytes that a value of `length` bytes takes in a block. */
uint64_t value_bytes(uint64_t length);

/* ---- messages to the worker ---- */

/* Sends `message` (a block, or one larger than a slot's block: then in pieces) from byte *sent on. Returns true when
 * all of it is in the channel; false when the channel is full: call again later with the same *sent. *place is the
 * place in the channel of its last block. */
bool slot_send(struct slot *slot, const struct block *message, uint64_t *sent, uint32_t *place);
/* Takes the message at `place` back before the worker begins it; false when it is too late. */
bool slot_revoke(struct slot *slot, uint32_t place);
/* Is the message at `place` one that the worker has not begun? */
bool slot_is_queued(struct slot *slot, uint32_t place);
/* Has the worker released the message at `place`? Then the place's cells are, or will be, another message's. */
bool slot_is_released(const struct slot *slot, uint32_t place);
/* Lets the chunk at `place` begin no task behind `last`; nothing, when the worker has released it. */
void slot_set_limit(struct slot *slot, uint32_t place, double last);
/* Lets the chunk numbered `chunk` at `place`, tasks `first` to `last`, end with task `keep`; or, when the worker is
 * beyond that, with the task that it is in. Returns the task with which it ends: `last` when it is too late. Needs
 * barrier_works. */
double slot_cut(struct slot *slot, uint32_t chunk, uint32_t place, double first, double last, double keep);
bool slot_is_asleep(const struct slot *slot);
/* Wakes the worker if it sleeps. */
void slot_wake(struct slot *slot);

/* ---- bounds: what a worker that overwrites memory could make a coordinator read or write beyond ---- */

/* Are the counters of its channels and of its text what they can be? */
bool slot_is_sound(const struct slot *slot);
/* Do the words and values of a closed block of results lie within it, or is it a piece that fits? */
bool block_is_sound(const struct block *block);

/* ---- what the worker is in ---- */

/* What the cell `blocked` says. */
enum blocked { NOT_BLOCKED, BLOCKED_BY_RESULTS, BLOCKED_BY_TEXT };

/* The task that the worker is in and its chunk's number, as one: the cells of one moment. */
struct present {
  double task; /* 0: none */
  double inner;
  uint32_t chunk;
};
/* What the worker had stored before it stored this task is visible afterwards. */
struct present slot_present(const struct slot *slot);
/* Monotonic seconds when the chunk that runs, or ran last, began. */
double slot_started(const struct slot *slot);

/* ---- results and text from the worker ---- */

/* The worker: puts the next block, already filled in, into the channel, which must have room. */
void slot_publish_out(struct slot *slot);
/* The oldest block of results that was closed; NULL: there is none. */
struct block *slot_results(struct slot *slot);
/* It is not needed any more. */
void slot_release_results(struct slot *slot);
/* The `k`th block of results, from 0, that was not released; *is_open: the worker is filling it. NULL: there is
 * none. */
struct block *slot_look_at_results(struct slot *slot, uint32_t k, bool *is_open);
bool slot_has_text(const struct slot *slot);
/* Is there text of this stream? */
bool slot_has_text_of(struct slot *slot, int stream);
/* Takes printed text up to where the stream changes, whole records of at most `most` bytes together (one is at most
 * TEXT_BYTES / 2); returns its length, 0: none. *stream: 1, 2 or 3. */
size_t slot_take_text(struct slot *slot, char *into, size_t most, int *stream);
void slot_drop_text(struct slot *slot);

/* The program that the worker's task is waiting for, and how much it has written to its output and its errors, as text:
 * "1048 20 name". Returns its length, less than `most`, which is KEPT_NAME + 64 or more; 0: there is none. */
size_t slot_kept_program(const struct slot *slot, char *into, size_t most);
bool slot_has_kept(const struct slot *slot);
enum kept_part { KEPT_OUTPUT, KEPT_ERRORS, KEPT_PARTS };
/* Copies what it has written from byte *at on, or from the first that is still there; moves *at on. Returns how many
 * bytes, at most `most`; 0: there are no more. */
size_t slot_kept(struct slot *slot, enum kept_part part, uint64_t *at, char *into, size_t most);
/* Where the bytes of a stream lie: a ring of KEPT_BYTES. */
char *slot_kept_ring(struct slot *slot, enum kept_part part);

#endif
