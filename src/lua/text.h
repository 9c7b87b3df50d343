/* text.h - texts for parlua.lines and the like: files, one or several. Plain files are mapped into memory, one behind
 * the other, and cut at line ends. Where one of them can't be mapped (a pipe, a terminal, /proc, compressed ones), all
 * are read as a stream. */
#ifndef PARLUA_TEXT_H
#define PARLUA_TEXT_H
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ahead;
struct mapping;
struct unpacker;

/* A file of the text. */
struct text_part {
  char *name;           /* its path, as it was given */
  size_t begin, length; /* mapped: its bytes */
  struct mapping *mapping;
  char *path; /* from the root on; NULL: not known */
  dev_t device;
  ino_t inode;
  struct ahead *ahead; /* of a compressed part of a stream, when it is read or soon will be */
};

struct text {
  struct text_part *parts;
  size_t part_count;
  const char *bytes;                        /* mapped; NULL for a stream, and where there is no byte */
  size_t length;                            /* up to the end of the last part */
  size_t reserved;                          /* bytes of the address space */
  size_t counted_from, counted_to, counted; /* line ends between two places: the last answer of method ends */
  bool is_stream;
  char version[128]; /* of mapped files: another one when one of them is another, or has been written to */
  /* a stream: */
  size_t part; /* the one that is read; part_count: none, all were */
  int fd;      /* -1: it is not open */
  char *buffer;
  size_t have, capacity, at; /* bytes read and not handed out stand at buffer[at .. have) */
  bool ended;                /* of the part nothing more is to be read */
  size_t lines;              /* line ends of the part that were handed out */
  bool has_stdin;            /* it reads standard input, which is empty for everybody else: see sys/stdin.h */
  struct unpacker *unpacker; /* of a compressed part that is no file; NULL: it is plain, or not known yet */
  const char *piece;         /* of a part that is unpacked ahead: what has come */
  size_t piece_left;
  bool is_known; /* its first bytes were looked at */
  char *packed;
  size_t packed_have, packed_at;
  bool is_damaged;     /* nothing more of them can be unpacked */
  bool packed_ended;   /* of the compressed bytes nothing more is to be read */
  const char *trouble; /* why reading failed, where it is no errno */
};

/* Opens the files at `paths` ("-": standard input). Returns 0, or an errno (EISDIR for a directory); then *failed is
 * which it was. */
int text_open(struct text *text, const char *const *paths, size_t count, size_t *failed);
void text_close(struct text *text);
/* Mapped: where the part that the byte in front of `reach` is in ends now, if it was cut short, else `reach` or more;
 * of all parts for the whole length. What is read behind it is zeros. *part is which. */
size_t text_whole(const struct text *text, size_t reach, size_t *part);
/* Mapped: counts up to `want` lines from byte `offset` on, in its part; *length is theirs in bytes, ends included.
 * Returns how many. */
size_t text_cut_lines(const struct text *text, size_t offset, size_t want, size_t *length);
/* Likewise for rows of comma-separated values: a line end between quotes does not end a row; empty lines are none. */
size_t text_cut_rows(const struct text *text, size_t offset, size_t want, char quote, char separator, size_t *length);
/* Mapped: bytes of whole lines from `offset` on, about `size` (at least one line); 0 at the end of the part. `start`,
 * of `start_length` bytes, if not empty: the lines that a block may begin with begin so. */
size_t text_cut_block(const struct text *text, size_t offset, size_t size, const char *start, size_t start_length);
/* Line ends between two bytes of a mapped text. */
size_t text_count_ends(const char *from, const char *stop);

/* ---- streams ---- */

/* How text_take cuts. */
struct text_cut {
  size_t want; /* rows or lines at most; 0: a block */
  size_t size; /* about so many bytes */
  bool is_rows;
  char quote, separator; /* of rows */
  size_t record;         /* of blocks: they are whole records of so many bytes; 0: whole lines */
  const char *start;     /* of blocks, as for text_cut_block */
  size_t start_length;
};

/* Takes lines, rows or a block of the stream's part. Returns how many bytes; *at is valid until the next call, *count
 * is how many lines or rows. 0: the part is at its end. -1: it can't be read, see text_trouble. */
ssize_t text_take(struct text *text, const struct text_cut *cut, const char **at, size_t *count);
/* Can some be taken without waiting longer than that for who writes? What is there may still lack the end of its line.
 */
bool text_is_ready(const struct text *text, int milliseconds);
/* Goes on to the next part. Returns false when there is none; *error is an errno when it can't be opened. */
bool text_next_part(struct text *text, int *error);
/* Why the last call failed. */
const char *text_trouble(const struct text *text);

/* ---- between the files that make texts ---- */

/* Opens the stream's present part. Returns 0 or an errno. */
int text_open_part(struct text *text);
/* Closes it. */
void text_close_part(struct text *text);

/* As text_cut_lines and text_cut_rows, of bytes. `is_whole`: nothing follows, so that the last row needs no line end.
 */
size_t text_count_lines(const char *from, const char *stop, size_t want, size_t *length);
size_t text_count_rows(const char *from, const char *stop, size_t want, char quote, char separator, bool is_whole,
                       size_t *length);
/* Where a block of about `size` bytes ends; NULL: not before the text does. See text_cut_block. */
const char *text_block_end(const char *from, const char *stop, size_t size, const char *start, size_t start_length);

/* Lua: text(list of paths) -> userdata (text_lua.c), or nil, a message and the number of the path. */
int text_lua_open(lua_State *L);
#endif
