/* unpack.c - see unpack.h. The little that is used of the libraries is declared here, as it has been for many years: so
 * parlua is built without their headers, and runs without those that it does not need. */
#include "lua/unpack.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the libraries declare ---- */

const char unpack_damaged[] = "its compressed data are damaged";

struct z_state { /* z_stream of zlib.h */
  const unsigned char *next_in;
  unsigned avail_in;
  unsigned long total_in;
  unsigned char *next_out;
  unsigned avail_out;
  unsigned long total_out;
  const char *msg;
  void *state, *zalloc, *zfree, *opaque;
  int data_type;
  unsigned long adler, reserved;
};

enum { Z_OK = 0, Z_STREAM_END = 1, Z_BUF_ERROR = -5, Z_GZIP_ONLY = 16 + 15, Z_NO_FLUSH = 0 };

struct zstd_buffer { /* ZSTD_inBuffer and ZSTD_outBuffer of zstd.h */
  const void *bytes;
  size_t size, at;
};

struct xz_state { /* lzma_stream of lzma/base.h */
  const unsigned char *next_in;
  size_t avail_in;
  uint64_t total_in;
  unsigned char *next_out;
  size_t avail_out;
  uint64_t total_out;
  const void *allocator;
  void *internal, *pointers[4];
  uint64_t integers[2];
  size_t sizes[2];
  int enums[2];
};

enum { XZ_OK = 0, XZ_STREAM_END = 1, XZ_BUF_ERROR = 10, XZ_RUN = 0 };

struct unpacker {
  const struct method *method;
  bool is_complete; /* nothing is begun */
  bool is_ended;    /* a part has ended: another one may follow */
  struct z_state z;
  void *zstd;
  struct xz_state xz;
};

/* A way to compress. */
struct method {
  const char *name, *library, *magic;
  size_t magic_length;
  const char *symbols[4];
  bool (*begin)(struct unpacker *unpacker);
  bool (*step)(struct unpacker *unpacker, const char **in, size_t *in_length, char **out, size_t *out_length);
  void (*end)(struct unpacker *unpacker);
};

static void *z_functions[4], *zstd_functions[4], *xz_functions[4];

/* Reads functions[i] as a function of the given type. */
#define CALL(functions, i, type) (*(type *)(void *)&(functions)[i])

static size_t at_most(size_t length, size_t most)
{
  return length < most ? length : most;
}

/* ---- gzip ---- */

static bool z_begin(struct unpacker *unpacker)
{
  typedef int init(struct z_state *, int, const char *, int);
  unpacker->is_ended = unpacker->is_complete = true;
  memset(&unpacker->z, 0, sizeof unpacker->z);
  return CALL(z_functions, 0, init *)(&unpacker->z, Z_GZIP_ONLY, "1.2.11", (int)sizeof unpacker->z) == Z_OK;
}

static bool z_step(struct unpacker *unpacker, const char **in, size_t *in_length, char **out, size_t *out_length)
{
  typedef int inflate(struct z_state *, int);
  typedef int reset(struct z_state *);
  struct z_state *z = &unpacker->z;
  if (unpacker->is_ended) { /* zeros may fill up the last block of a tape */
    while (*in_length > 0 && **in == 0) (*in)++, (*in_length)--;
    if (*in_length == 0) return true;
  }
  unsigned given = (unsigned)at_most(*in_length, 1U << 30), room = (unsigned)at_most(*out_length, 1U << 30);
  if (unpacker->is_ended && CALL(z_functions, 2, reset *)(z) != Z_OK) return false;
  unpacker->is_ended = false;
  z->next_in = (const unsigned char *)*in;
  z->avail_in = given;
  z->next_out = (unsigned char *)*out;
  z->avail_out = room;
  int status = CALL(z_functions, 1, inflate *)(z, Z_NO_FLUSH);
  *in += given - z->avail_in;
  *in_length -= given - z->avail_in;
  *out += room - z->avail_out;
  *out_length -= room - z->avail_out;
  unpacker->is_complete = unpacker->is_ended = status == Z_STREAM_END;
  return status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR;
}

static void z_end(struct unpacker *unpacker)
{
  typedef int end(struct z_state *);
  CALL(z_functions, 3, end *)(&unpacker->z);
}

/* ---- zstd ---- */

static bool zstd_begin(struct unpacker *unpacker)
{
  typedef void *create(void);
  unpacker->is_complete = true;
  unpacker->zstd = CALL(zstd_functions, 0, create *)();
  return unpacker->zstd != NULL;
}

static bool zstd_step(struct unpacker *unpacker, const char **in, size_t *in_length, char **out, size_t *out_length)
{
  typedef size_t decompress(void *, struct zstd_buffer *, struct zstd_buffer *);
  typedef unsigned is_error(size_t);
  struct zstd_buffer from = {*in, *in_length, 0}, to = {*out, *out_length, 0};
  size_t hint = CALL(zstd_functions, 1, decompress *)(unpacker->zstd, &to, &from);
  if (CALL(zstd_functions, 2, is_error *)(hint)) return false;
  *in += from.at;
  *in_length -= from.at;
  *out += to.at;
  *out_length -= to.at;
  /* the next call begins another frame by itself */
  unpacker->is_complete = hint == 0 || (unpacker->is_complete && from.at == 0 && to.at == 0);
  return true;
}

static void zstd_end(struct unpacker *unpacker)
{
  typedef size_t release(void *);
  CALL(zstd_functions, 3, release *)(unpacker->zstd);
}

/* ---- xz ---- */

static bool xz_begin(struct unpacker *unpacker)
{
  typedef int decoder(struct xz_state *, uint64_t, uint32_t);
  memset(&unpacker->xz, 0, sizeof unpacker->xz);
  return CALL(xz_functions, 0, decoder *)(&unpacker->xz, UINT64_MAX, 0) == XZ_OK;
}

static bool xz_step(struct unpacker *unpacker, const char **in, size_t *in_length, char **out, size_t *out_length)
{
  typedef int code(struct xz_state *, int);
  struct xz_state *xz = &unpacker->xz;
  if (unpacker->is_ended) { /* files that were put together, with zeros between */
    while (*in_length > 0 && **in == 0) (*in)++, (*in_length)--;
    if (*in_length == 0) return true;
    if (!xz_begin(unpacker)) return false;
    unpacker->is_ended = false;
  }
  xz->next_in = (const unsigned char *)*in;
  xz->avail_in = *in_length;
  xz->next_out = (unsigned char *)*out;
  xz->avail_out = *out_length;
  int status = CALL(xz_functions, 1, code *)(xz, XZ_RUN);
  *in = (const char *)xz->next_in;
  *in_length = xz->avail_in;
  *out = (char *)xz->next_out;
  *out_length = xz->avail_out;
  unpacker->is_complete = unpacker->is_ended = status == XZ_STREAM_END;
  if (status == XZ_STREAM_END) unpacker->method->end(unpacker);
  return status == XZ_OK || status == XZ_STREAM_END || status == XZ_BUF_ERROR;
}

static void xz_end(struct unpacker *unpacker)
{
  typedef void end(struct xz_state *);
  CALL(xz_functions, 2, end *)(&unpacker->xz);
  memset(&unpacker->xz, 0, sizeof unpacker->xz);
}

/* ---- parts that can be unpacked by themselves ---- */

/* A number of so many bytes, the lowest first. */
static uint64_t number_at(const unsigned char *bytes, size_t count)
{
  uint64_t number = 0;
  while (count > 0) number = number << 8 | bytes[--count];
  return number;
}

/* A member of gzip that says how long it is, in a field BC of its header: what bgzip writes. */
static size_t bgzip_block(const unsigned char *bytes, size_t length, size_t *most)
{
  enum { HEAD = 12, HAS_EXTRA = 4, FLAGS = 3, EXTRA_LENGTH = 10, MOST_BLOCK = 1 << 16 };
  if (length > FLAGS && !(bytes[FLAGS] & HAS_EXTRA)) return UNPACK_UNKNOWN;
  if (length < HEAD) return 0;
  size_t extra = number_at(bytes + EXTRA_LENGTH, 2);
  if (length < HEAD + extra) return 0;
  *most = MOST_BLOCK;
  for (size_t at = HEAD; at + 4 <= HEAD + extra; at += 4 + number_at(bytes + at + 2, 2)) {
    if (bytes[at] != 'B' || bytes[at + 1] != 'C' || number_at(bytes + at + 2, 2) != 2 || at + 6 > HEAD + extra)
      continue;
    size_t block = number_at(bytes + at + 4, 2) + 1;
    return block > HEAD + extra ? block : UNPACK_UNKNOWN;
  }
  return UNPACK_UNKNOWN;
}

/* zstd: a frame that is passed over, which may come first (pzstd writes one). Of its first byte half counts. */
static bool is_skipped_frame(const char *bytes, size_t length)
{
  static const char magic[] = "\x50\x2a\x4d\x18";
  return length > 0 && (bytes[0] & 0xf0) == 0x50 && memcmp(bytes + 1, magic + 1, at_most(length, 4) - 1) == 0;
}

/* A frame of zstd, whose blocks tell how long they are. */
static size_t zstd_frame(const unsigned char *bytes, size_t length, size_t *most)
{
  enum { MAGIC = 4, MOST_BLOCK = 1 << 17, RUN_LENGTH = 1, RESERVED = 3 };
  static const unsigned char dictionary[] = {0, 1, 2, 4}, content[] = {0, 2, 4, 8};
  *most = 0;
  if (length < 8) return 0;
  if (is_skipped_frame((const char *)bytes, length)) return 8 + number_at(bytes + MAGIC, 4);
  unsigned char flags = bytes[MAGIC];
  bool is_single = flags & 0x20, has_sum = flags & 4;
  size_t at = MAGIC + 1 + (is_single ? 0 : 1) + dictionary[flags & 3] + content[flags >> 6];
  if (is_single && flags >> 6 == 0) at++;
  for (;;) {
    if (length < at + 3) return 0;
    uint64_t head = number_at(bytes + at, 3), kind = head >> 1 & 3;
    if (kind == RESERVED) return UNPACK_UNKNOWN;
    at += 3 + (kind == RUN_LENGTH ? 1 : head >> 3);
    *most += MOST_BLOCK;
    if (head & 1) return at + (has_sum ? 4 : 0);
  }
}

/* ---- all ---- */

static const struct method methods[] = {
    {"gzip",
     "libz.so.1",
     "\x1f\x8b",
     2,
     {"inflateInit2_", "inflate", "inflateReset", "inflateEnd"},
     z_begin,
     z_step,
     z_end},
    {"zstd",
     "libzstd.so.1",
     "\x28\xb5\x2f\xfd",
     4,
     {"ZSTD_createDStream", "ZSTD_decompressStream", "ZSTD_isError", "ZSTD_freeDStream"},
     zstd_begin,
     zstd_step,
     zstd_end},
    {"xz",
     "liblzma.so.5",
     "\xfd\x37zXZ\0",
     6,
     {"lzma_stream_decoder", "lzma_code", "lzma_end", NULL},
     xz_begin,
     xz_step,
     xz_end},
};

enum { METHODS = sizeof methods / sizeof *methods, ZSTD = 1 };

static void **const functions[METHODS] = {z_functions, zstd_functions, xz_functions};

static const struct method *method_of(const char *bytes, size_t length)
{
  if (length >= 4 && is_skipped_frame(bytes, length)) return &methods[ZSTD];
  for (int k = 0; k < METHODS; k++)
    if (length >= methods[k].magic_length && memcmp(bytes, methods[k].magic, methods[k].magic_length) == 0)
      return &methods[k];
  return NULL;
}

/* What is recognised, so that it is not taken for text, but can't be unpacked. */
static const struct {
  const char *magic; /* a point stands for any byte */
  size_t length;
  const char *message;
} refused[] = {
    {"BZh.1A", 6, "it is compressed by bzip2, which parlua does not unpack: read the output of `bzip2 -dc`"},
    {"\x04\x22\x4d\x18", 4, "it is compressed by lz4, which parlua does not unpack: read the output of `lz4 -dc`"},
    {"\x1f\x9d\x90", 3, "it is compressed by compress, which parlua does not unpack: read the output of `zcat`"},
};

enum { REFUSED = sizeof refused / sizeof *refused };

/* Do these bytes begin as number k of those does, as far as there are any? */
static bool begins_as(size_t k, const char *bytes, size_t length)
{
  for (size_t i = 0; i < length && i < refused[k].length; i++)
    if (refused[k].magic[i] != '.' && refused[k].magic[i] != bytes[i]) return false;
  return true;
}

/* Why it is refused; NULL: it is not. */
static const char *refusal_of(const char *bytes, size_t length)
{
  for (size_t k = 0; k < REFUSED; k++)
    if (length >= refused[k].length && begins_as(k, bytes, length)) return refused[k].message;
  return NULL;
}

bool unpack_is_packed(const char *bytes, size_t length)
{
  return method_of(bytes, length) != NULL || refusal_of(bytes, length) != NULL;
}

bool unpack_may_be_packed(const char *bytes, size_t length)
{
  if (is_skipped_frame(bytes, length)) return true;
  for (size_t k = 0; k < REFUSED; k++)
    if (begins_as(k, bytes, length)) return true;
  for (int k = 0; k < METHODS; k++)
    if (memcmp(bytes, methods[k].magic, at_most(length, methods[k].magic_length)) == 0) return true;
  return false;
}

/* Opens the library of a method, once and for good. */
static bool load(const struct method *method)
{
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static bool is_loaded[METHODS];
  const size_t number = (size_t)(method - methods);
  pthread_mutex_lock(&lock);
  void *library = is_loaded[number] ? NULL : dlopen(method->library, RTLD_NOW | RTLD_LOCAL);
  bool is_whole = library != NULL;
  for (int k = 0; k < 4 && is_whole; k++) {
    void *symbol = method->symbols[k] ? dlsym(library, method->symbols[k]) : NULL;
    is_whole = symbol || !method->symbols[k];
    functions[number][k] = symbol;
  }
  if (is_whole) is_loaded[number] = true;
  bool is_there = is_loaded[number];
  pthread_mutex_unlock(&lock);
  return is_there;
}

struct unpacker *unpack_open(const char *bytes, size_t length, const char **message)
{
  static const char *const missing[METHODS] = {
      "it is compressed by gzip, and there is no libz.so.1 (in Debian: zlib1g)",
      "it is compressed by zstd, and there is no libzstd.so.1 (in Debian: libzstd1)",
      "it is compressed by xz, and there is no liblzma.so.5 (in Debian: liblzma5)"};
  const struct method *method = method_of(bytes, length);
  const char *refusal = method ? NULL : refusal_of(bytes, length);
  *message = refusal;
  if (refusal) return NULL;
  struct unpacker *unpacker = method && load(method) ? calloc(1, sizeof *unpacker) : NULL;
  if (unpacker) unpacker->method = method;
  if (unpacker && method->begin(unpacker)) return unpacker;
  *message = unpacker || !method ? "not enough memory" : missing[method - methods];
  free(unpacker);
  return NULL;
}

void unpack_close(struct unpacker *unpacker)
{
  if (!unpacker) return;
  unpacker->method->end(unpacker);
  free(unpacker);
}

bool unpack(struct unpacker *unpacker, const char **in, size_t *in_length, char **out, size_t *out_length,
            const char **message)
{
  if (unpacker->method->step(unpacker, in, in_length, out, out_length)) return true;
  *message = unpack_damaged;
  return false;
}

size_t unpack_unit(const char *bytes, size_t length, size_t *most)
{
  const struct method *method = method_of(bytes, length);
  *most = 0;
  if (!method) return unpack_may_be_packed(bytes, length) ? 0 : UNPACK_UNKNOWN;
  if (method == &methods[ZSTD]) return zstd_frame((const unsigned char *)bytes, length, most);
  return method->begin == z_begin ? bgzip_block((const unsigned char *)bytes, length, most) : UNPACK_UNKNOWN;
}

bool unpack_is_complete(const struct unpacker *unpacker)
{
  return unpacker->is_complete;
}
