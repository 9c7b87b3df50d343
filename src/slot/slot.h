/* slot.h - the mailbox of one worker: memory that the worker and its coordinator both see, whether the worker is a thread or a
 * forked process. Two channels of blocks (in: chunks and jobs; out: results), a ring of printed text, and the cells of
 * `struct slot`. There are no locks: each field has one writer, so a worker that is killed leaves nothing held. System calls
 * are made only to sleep, and to wake a side that sleeps.
 *
 * A queued chunk can be taken back: its block's `claim` goes from CLAIM_QUEUED either to CLAIM_TAKEN (by the worker, as it
 * begins) or to CLAIM_REVOKED (by the coordinator; the worker then passes over it). */
#ifndef PARLUA_SLOT_H
#define PARLUA_SLOT_H
#include <stdbool.h>
#include <stddef.h>

#include "slot/shared.h"

enum claim { CLAIM_QUEUED, CLAIM_TAKEN, CLAIM_REVOKED };

/* Where the coordinator sleeps: workers ring it when something has happened. The flag is in memory that they share. */
struct bell {
  uint32_t *asleep; /* the coordinator sleeps, or is about to */
  int fd;           /* eventfd */
};
/* Wakes the coordinator if it sleeps. False: it would have been woken, but the descriptor is not the bell's any more; nothing was
 * written. */
bool bell_ring(const struct bell *bell);

/* A slot for worker number `id`; NULL with errno set when there is no memory. The coordinator owns it until slot_unmap. */
struct slot *slot_map(uint32_t id);
/* Memory for a slot behind a descriptor, to be mapped by slot_map_file in processes that are no relatives; -1 with errno set. */
int slot_file(void);
struct slot *slot_map_file(int file);
void slot_unmap(struct slot *slot);
/* In a process that is no longer to share the slot: puts memory of its own in its place, marked as abandoned. */
void slot_part(struct slot *slot);
/* Makes the slot as new for a worker that replaces a dead one. */
void slot_reset(struct slot *slot);

/* Blocks of a channel. Producer: the next free block or NULL, then publish. Consumer: the oldest block or NULL, then release. */
struct block *slot_in_block(struct slot *slot, uint32_t place);
struct block *slot_out_block(struct slot *slot, uint32_t place);
char *slot_text(struct slot *slot); /* the ring of printed text: records of a mark (length << 1 | stream is 2) and the bytes */
uint32_t channel_filled(const struct channel *channel); /* blocks published and not released */

/* Coordinator: sends `message` (a block, or one larger than a slot's block: then in pieces) from byte *sent on. Returns true when
 * all of it is in the channel; false when the channel is full: call again later with the same *sent. *place is the place in the
 * channel of its last block. `limit` is the last task that the worker may begin. */
bool slot_send(struct slot *slot, const struct block *message, uint64_t *sent, uint32_t *place);
/* Coordinator: takes the message at `place` back before the worker begins it; false when it is too late. */
bool slot_revoke(struct slot *slot, uint32_t place);
/* Coordinator: is the message at `place` one that the worker has not begun? */
bool slot_is_queued(struct slot *slot, uint32_t place);
/* Coordinator: the task that the worker is in, ordered after what was seen before. */
double slot_current(const struct slot *slot);
/* Coordinator: monotonic seconds when the chunk that runs, or ran last, began. */
double slot_started(const struct slot *slot);
void slot_set_limit(struct slot *slot, uint32_t place, double last);
/* Coordinator: lets the chunk at `place`, tasks `first` to `last`, end with task `keep`; or, when the worker is beyond that, with
 * the task that it is in. Returns the task with which it ends: `last` when it is too late. Needs membarrier_works. */
double slot_cut(struct slot *slot, uint32_t place, double first, double last, double keep);
/* Slots that mirror each other on two hosts: puts the next block into a channel. The channel must have room; for `in`, `claim` is
 * one of enum claim and `last` the block's limit. */
void slot_publish_in(struct slot *slot, uint32_t claim, double last);
void slot_publish_out(struct slot *slot);
/* Coordinator: wakes the worker if it sleeps. */
void slot_wake(struct slot *slot);
/* Coordinator: oldest closed block of results or NULL; release it after use. */
struct block *slot_results(struct slot *slot);
void slot_release_results(struct slot *slot);
/* Coordinator: the block that is being filled (readable up to `current`), or NULL. */
struct block *slot_open_results(struct slot *slot);
/* Coordinator: has the worker printed anything that was not taken? */
bool slot_has_text(const struct slot *slot);
/* Coordinator: next piece of printed text, in whole records; returns its length or 0. Copies to `into` (TEXT_BYTES large). */
size_t slot_take_text(struct slot *slot, char *into, int *stream);
/* Coordinator: what was printed is of no use any more. */
void slot_drop_text(struct slot *slot);

/* A worker may have written where it should not: into what it shares. These tell whether what is read next lies within the slot; a
 * worker that goes on writing at random can still deceive. Counters of the channels and of the text: */
bool slot_is_sound(const struct slot *slot);
/* The words (or the piece) and the values of a closed block of results. */
bool block_is_sound(const struct block *block);

/* Makes every running thread of every process that called membarrier_join pass a memory barrier (it interrupts them). Returns false
 * where the kernel has none: then running chunks must not be cut. */
bool membarrier_all(void);
/* Whether the kernel has it: asks, and interrupts nobody. */
bool membarrier_works(void);
bool membarrier_join(void);

/* Size, in bytes, of an empty message's header and of a plain value with its length. */
uint64_t value_bytes(uint64_t length);
#endif
