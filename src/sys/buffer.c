#include "sys/buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sys/large.h"

/* First allocation: holds most messages of a few values without growing again. */
enum { SMALLEST_CAPACITY = 256 };

int buffer_grow(struct buffer *buffer, size_t more)
{
  if (more > SIZE_MAX - buffer->length) return -1;
  size_t needed = buffer->length + more;
  if (needed <= buffer->capacity) return 0;
  size_t capacity = buffer->capacity < SMALLEST_CAPACITY ? SMALLEST_CAPACITY : buffer->capacity;
  while (capacity < needed) capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
  unsigned char *bytes = realloc(buffer->bytes, capacity);
  if (bytes == NULL) return -1;
  large_expect(bytes + buffer->length, capacity - buffer->length);
  buffer->bytes = bytes;
  buffer->capacity = capacity;
  return 0;
}

int buffer_append(struct buffer *buffer, const void *bytes, size_t count)
{
  if (buffer_reserve(buffer, count) != 0) return -1;
  if (count > 0) memcpy(buffer->bytes + buffer->length, bytes, count);
  buffer->length += count;
  return 0;
}

void buffer_clear(struct buffer *buffer, size_t keep)
{
  if (buffer->capacity > keep) buffer_free(buffer);
  buffer->length = 0;
}

void buffer_keep_end(struct buffer *buffer, size_t count)
{
  if (count == 0) buffer_free(buffer);
  if (count >= buffer->length) return;
  memmove(buffer->bytes, buffer->bytes + buffer->length - count, count);
  unsigned char *bytes = realloc(buffer->bytes, count);
  if (bytes) buffer->bytes = bytes;
  buffer->length = buffer->capacity = count;
}

void buffer_free(struct buffer *buffer)
{
  free(buffer->bytes);
  *buffer = (struct buffer){0};
}
