/* unpack.h - compressed bytes: gzip, zstd and xz, by their libraries, which are opened when the first file needs them.
 */
#ifndef PARLUA_UNPACK_H
#define PARLUA_UNPACK_H
#include <stdbool.h>
#include <stddef.h>

struct unpacker;

#define UNPACK_UNKNOWN ((size_t)-1)
extern const char unpack_damaged[]; /* what is told of bytes that are not what they should be */

enum { UNPACK_MAGIC = 6 }; /* so many first bytes tell; a shorter text is none that is compressed */

/* Do these first bytes begin a compressed file? */
bool unpack_is_packed(const char *bytes, size_t length);
/* Could they, if more followed? */
bool unpack_may_be_packed(const char *bytes, size_t length);
/* Makes an unpacker for a file that begins so. NULL: *message says why. */
struct unpacker *unpack_open(const char *bytes, size_t length, const char **message);
void unpack_close(struct unpacker *unpacker);
/* Reads from *in, of which *in_length bytes are there, and writes to *out, for which *out_length bytes of room are
 * there; all four are moved. Returns false where the bytes are not what they should be: *message says what. */
bool unpack(struct unpacker *unpacker, const char **in, size_t *in_length, char **out, size_t *out_length,
            const char **message);
/* How long the part is that begins here and can be unpacked by itself: a block of bgzip, a frame of zstd; *most: it is
 * at most so many bytes then. More than is there: so many are needed; 0: more are needed to tell; UNPACK_UNKNOWN: that
 * can't be told before it is unpacked. */
size_t unpack_unit(const char *bytes, size_t length, size_t *most);
/* May the file end here? */
bool unpack_is_complete(const struct unpacker *unpacker);
#endif
