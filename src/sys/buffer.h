/* buffer: a growable run of bytes, made to be reused: emptying it keeps the memory, whose pages are warm by then. */
#ifndef PARLUA_BUFFER_H
#define PARLUA_BUFFER_H

#include <stddef.h>

/* All zero is an empty buffer. Bytes below `length` are the content; the owner may lower `length` at will. */
struct buffer {
  unsigned char *bytes;
  size_t length, capacity;
};

/* Makes the capacity at least length + more, by doubling. Returns 0, or -1 (buffer unchanged) when memory is out. */
int buffer_grow(struct buffer *buffer, size_t more);

/* Appends `count` bytes. Returns 0, or -1 when memory is out. `bytes` must not point into the buffer. */
int buffer_append(struct buffer *buffer, const void *bytes, size_t count);

/* Gives the memory back if the capacity is above `keep` bytes; the buffer is empty afterwards in any case. */
void buffer_clear(struct buffer *buffer, size_t keep);

/* Keeps the last `count` bytes alone, and gives the memory of the others back. */
void buffer_keep_end(struct buffer *buffer, size_t count);

/* Gives the memory back; the buffer is empty and can be used again. */
void buffer_free(struct buffer *buffer);

/* Makes sure that `more` bytes can be written at bytes + length. Returns 0, or -1 when memory is out. */
static inline int buffer_reserve(struct buffer *buffer, size_t more)
{
  return buffer->capacity - buffer->length >= more ? 0 : buffer_grow(buffer, more);
}

#endif
