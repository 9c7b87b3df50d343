/* share.c - see share.h. */
#include "engines/mpi/share.h"

#include "sys/clock.h"
#include "sys/lent.h"
#include "sys/signals.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  FIRST_TAG = 16, /* of pieces: each message has a tag of its own, as several may be under way */
  TAGS = 16384,
  /* Bytes of a piece: so large that the cost of each is nothing beside it, so small that the next node has not long to
   * wait for its first. PARLUA_MPI_PIECE sets it, for tests. */
  PIECE_BYTES = 1 << 20
};

/* How often it is looked whether a message is still to be read. */
static const double tidy_seconds = 0.05;

/* A direction in which a message goes. */
struct stream {
  MPI_Request request; /* MPI_REQUEST_NULL: no piece is under way */
  uint64_t begun;      /* bytes, with those under way */
};

struct sheet {
  struct sheet *next;
  uint32_t id;
  int file;
  char *bytes; /* leaders: the file's memory; NULL: there is none, and pieces are only passed on */
  uint64_t size, have;
  struct stream in, out[MOST_CHILDREN];
  bool is_retired, is_forgotten;
  int error; /* why its file could not be made or opened; 0: it could */
};

/* Can this rank open what the first rank of `host` has in memory? All of `host` call it together. */
static bool can_open(MPI_Comm host)
{
  struct {
    int pid, file;
    dev_t device;
    ino_t inode;
  } first = {.file = -1};
  struct stat found;
  int rank, file = -1;
  MPI_Comm_rank(host, &rank);
  if (rank == 0) {
    first.pid = getpid();
    first.file = memfd_create("parlua-test", MFD_CLOEXEC);
    if (first.file >= 0 && fstat(first.file, &found) == 0) {
      first.device = found.st_dev;
      first.inode = found.st_ino;
    }
  }
  MPI_Bcast(&first, sizeof first, MPI_BYTE, 0, host);
  if (rank > 0 && first.file >= 0) file = lent_open((struct lender){first.pid, first.file});
  bool can = rank == 0 ||
             (file >= 0 && fstat(file, &found) == 0 && found.st_dev == first.device && found.st_ino == first.inode);
  if (file >= 0) close(file);
  MPI_Barrier(host);
  if (rank == 0 && first.file >= 0) close(first.file);
  return can;
}

int share_leader(const struct transport *transport, MPI_Comm host)
{
  int leader = transport->rank;
  MPI_Bcast(&leader, 1, MPI_INT, 0, host);
  bool is_apart = getenv("PARLUA_MPI_APART"); /* for tests: several nodes on one host */
  return can_open(host) && !is_apart ? leader : transport->rank;
}

int share_place(struct share *share, struct transport *transport, const struct rank *ranks)
{
  const char *piece = getenv("PARLUA_MPI_PIECE");
  int count = transport->count, before = 0, behind = 0;
  share->transport = transport;
  share->piece = piece && atoi(piece) > 0 ? (size_t)atoi(piece) : PIECE_BYTES;
  share->mates = calloc((size_t)count, sizeof *share->mates);
  if (!share->mates) return ENOMEM;
  for (int r = 0; r < count; r++)
    if (ranks[r].leader == transport->rank && r != transport->rank) share->mates[share->mates_count++] = r;
  if (ranks[transport->rank].leader != transport->rank) return 0;
  /* the k-th leader, from 0, passes on to those from MOST_CHILDREN * k + 1 on */
  for (int r = 0; r < transport->rank; r++) before += ranks[r].leader == r;
  for (int r = 0; r < count; r++) {
    if (ranks[r].leader != r) continue;
    bool is_child = behind > MOST_CHILDREN * before && behind <= MOST_CHILDREN * (before + 1);
    if (is_child) share->children[share->children_count++] = r;
    behind++;
  }
  if (transport->rank > 0) share->scrap = malloc(share->piece); /* not touched unless it is needed */
  return transport->rank > 0 && !share->scrap ? ENOMEM : 0;
}

static struct sheet *find(const struct share *share, uint32_t id)
{
  struct sheet *sheet = share->sheets;
  while (sheet && sheet->id != id) sheet = sheet->next;
  return sheet;
}

/* `memory`: room for it, from malloc. */
static struct sheet *new_sheet(struct share *share, void *memory, uint32_t id, uint64_t size)
{
  struct sheet *sheet = memory;
  *sheet = (struct sheet){.id = id, .size = size, .file = -1};
  sheet->in.request = MPI_REQUEST_NULL;
  for (int c = 0; c < MOST_CHILDREN; c++) sheet->out[c].request = MPI_REQUEST_NULL;
  sheet->next = share->sheets;
  share->sheets = sheet;
  return sheet;
}

static void free_sheet(struct share *share, struct sheet *sheet)
{
  struct sheet **link = &share->sheets;
  while (*link != sheet) link = &(*link)->next;
  *link = sheet->next;
  if (sheet->bytes) munmap(sheet->bytes, sheet->size);
  if (sheet->file >= 0) close(sheet->file);
  free(sheet);
}

/* Makes the file that a message goes to. Returns 0 or an errno. */
static int make_file(struct sheet *sheet)
{
  sheet->file = memfd_create("parlua-message", MFD_CLOEXEC);
  if (sheet->file < 0 || ftruncate(sheet->file, (off_t)sheet->size) < 0) return errno;
  sheet->bytes = mmap(NULL, sheet->size, PROT_READ | PROT_WRITE, MAP_SHARED, sheet->file, 0);
  if (sheet->bytes != MAP_FAILED) return 0;
  sheet->bytes = NULL;
  return errno;
}

static void tell_children(struct share *share, const struct note *note)
{
  for (int c = 0; c < share->children_count; c++) transport_send(share->transport, share->children[c], note);
}

static void tell_mates(struct share *share, const struct note *note)
{
  for (int m = 0; m < share->mates_count; m++) transport_send(share->transport, share->mates[m], note);
}

void share_pass(struct share *share, const struct note *note)
{
  tell_children(share, note);
  tell_mates(share, note);
}

/* The message is whole here; or it won't be, for want of memory. */
static void finish(struct share *share, const struct sheet *sheet)
{
  struct note note = {.kind = NOTE_WHOLE, .id = sheet->id, .size = sheet->size, .pid = getpid(), .status = sheet->file};
  note.lacking = (uint32_t)sheet->error;
  if (!share->is_over) tell_mates(share, &note);
}

uint32_t share_send(struct share *share, const struct block *message)
{
  void *memory = malloc(sizeof(struct sheet));
  struct sheet *sheet = memory ? new_sheet(share, memory, share->last_id + 1, message->size) : NULL;
  int error = sheet ? make_file(sheet) : ENOMEM;
  if (error) {
    if (sheet) free_sheet(share, sheet);
    errno = error;
    return 0;
  }
  share->last_id++;
  memcpy(sheet->bytes, message, message->size);
  sheet->have = sheet->in.begun = sheet->size;
  struct note note = {.kind = NOTE_SHARE, .id = sheet->id, .size = sheet->size};
  tell_children(share, &note);
  finish(share, sheet);
  return sheet->id;
}

void share_retire(struct share *share, uint32_t id)
{
  struct sheet *sheet = find(share, id);
  if (!sheet || sheet->is_retired) return;
  sheet->is_retired = true;
  share->retired++;
}

/* A message comes along the tree, for this rank's node. */
static void begin_sheet(struct share *share, const struct note *note)
{
  struct sheet *sheet = new_sheet(share, transport_need(share->transport, sizeof *sheet), note->id, note->size);
  char host[HOST_NAME_MAX + 1] = "";
  sheet->error = make_file(sheet);
  if (!sheet->error) return;
  gethostname(host, HOST_NAME_MAX);
  fprintf(stderr,
          "parlua: rank %d on %s leaves its host's tasks to others: no memory for a call's job of %.0f bytes (%s)\n",
          share->transport->rank, host, (double)note->size, strerror(sheet->error));
  if (sheet->file >= 0) close(sheet->file);
  sheet->file = -1;
  finish(share, sheet);
}

/* The leader tells what has become of a message. */
static void open_sheet(struct share *share, const struct note *note)
{
  struct sheet *sheet = new_sheet(share, transport_need(share->transport, sizeof *sheet), note->id, note->size);
  sheet->error = (int)note->lacking;
  if (!sheet->error) sheet->file = lent_open((struct lender){note->pid, note->status});
  if (!sheet->error && sheet->file < 0) sheet->error = errno; /* it is forgotten already: this is told next */
  sheet->have = sheet->in.begun = sheet->size;
}

void share_obey(struct share *share, const struct note *note)
{
  switch (note->kind) {
  case NOTE_SHARE:
    tell_children(share, note);
    begin_sheet(share, note);
    break;
  case NOTE_WHOLE: open_sheet(share, note); break;
  default: break;
  }
}

/* Is a piece of the stream under way? */
static bool is_moving(struct stream *stream, struct transport *t)
{
  int done;
  if (stream->request == MPI_REQUEST_NULL) return false;
  MPI_Test(&stream->request, &done, MPI_STATUS_IGNORE);
  if (done) t->moved = clock_seconds();
  return !done;
}

static int tag_of(const struct sheet *sheet)
{
  return FIRST_TAG + (int)(sheet->id % TAGS);
}

/* Bytes of the piece that begins at `begun`. */
static int piece_at(const struct share *share, const struct sheet *sheet, uint64_t begun)
{
  uint64_t left = sheet->size - begun;
  return (int)(left < share->piece ? left : share->piece);
}

/* Is there a place for the next piece? Without memory for all, each goes to the same, when the last was passed on. */
static bool has_place(struct share *share, struct sheet *sheet)
{
  if (!sheet->error) return true;
  if (!share->scrap_user) share->scrap_user = sheet;
  for (int c = 0; c < share->children_count; c++)
    if (sheet->out[c].begun < sheet->have || is_moving(&sheet->out[c], share->transport)) return false;
  return share->scrap_user == sheet;
}

/* Where the piece that begins at `begun` stands. */
static char *place_of(const struct share *share, const struct sheet *sheet, uint64_t begun)
{
  return sheet->error ? share->scrap : sheet->bytes + begun;
}

/* Receives on. */
static void receive_on(struct share *share, struct sheet *sheet)
{
  struct stream *in = &sheet->in;
  if (sheet->have == sheet->size || is_moving(in, share->transport)) return;
  sheet->have = in->begun;
  if (in->begun < sheet->size) {
    if (!has_place(share, sheet)) return;
    int n = piece_at(share, sheet, in->begun);
    MPI_Irecv(place_of(share, sheet, in->begun), n, MPI_BYTE, MPI_ANY_SOURCE, tag_of(sheet), share->transport->comm,
              &in->request);
    in->begun += (uint64_t)n;
  } else if (!sheet->error) {
    finish(share, sheet);
  }
}

/* Sends what is here on to child `c`; false when all of it has been sent. */
static bool send_on(struct share *share, struct sheet *sheet, int c)
{
  struct stream *out = &sheet->out[c];
  if (is_moving(out, share->transport)) return true;
  if (out->begun == sheet->size) return false;
  int n = piece_at(share, sheet, out->begun);
  if (out->begun + (uint64_t)n > sheet->have) return true;
  MPI_Isend(place_of(share, sheet, out->begun), n, MPI_BYTE, share->children[c], tag_of(sheet), share->transport->comm,
            &out->request);
  transport_count(share->transport, (size_t)n);
  out->begun += (uint64_t)n;
  return true;
}

void share_progress(struct share *share)
{
  signals_elsewhere++;
  for (struct sheet *sheet = share->sheets, *next; sheet; sheet = next) {
    bool busy = false;
    next = sheet->next;
    receive_on(share, sheet);
    for (int c = 0; c < share->children_count; c++) busy |= send_on(share, sheet, c);
    if (busy || sheet->have < sheet->size) continue;
    if (share->scrap_user == sheet) share->scrap_user = NULL;
    if (sheet->is_forgotten) free_sheet(share, sheet);
  }
  signals_elsewhere--;
}

void share_tidy(struct share *share, bool (*is_needed)(uint32_t id), bool always)
{
  if (share->retired == 0) return;
  double now = clock_seconds();
  if (!always && now - share->tidied < tidy_seconds) return;
  share->tidied = now;
  for (struct sheet *sheet = share->sheets; sheet; sheet = sheet->next) {
    if (!sheet->is_retired || sheet->is_forgotten || is_needed(sheet->id)) continue;
    sheet->is_forgotten = true;
    share->retired--;
    const struct note note = {.kind = NOTE_FORGET, .id = sheet->id};
    if (share->transport->rank == 0) share_pass(share, &note);
  }
  share_progress(share); /* rank 0 may not look for messages for long: what is not under way goes now */
}

bool share_settled(const struct share *share)
{
  for (const struct sheet *sheet = share->sheets; sheet; sheet = sheet->next) {
    if (sheet->have < sheet->size) return false;
    for (int c = 0; c < share->children_count; c++)
      if (sheet->out[c].begun < sheet->size || sheet->out[c].request != MPI_REQUEST_NULL) return false;
  }
  return true;
}

int share_file(const struct share *share, uint32_t id)
{
  const struct sheet *sheet = find(share, id);
  return sheet && sheet->have == sheet->size ? sheet->file : -1;
}

int share_error(const struct share *share, uint32_t id)
{
  const struct sheet *sheet = find(share, id);
  return sheet ? sheet->error : 0;
}

void share_refer(const struct share *share, uint32_t id, uint64_t bytes, struct block *block)
{
  memset(block, 0, BLOCK_HEAD);
  block->kind = BLOCK_ELSEWHERE;
  block->chunk = block->job = id;
  block->whole = bytes;
  block->size = block->floor = BLOCK_HEAD;
  block->pid = (uint64_t)getpid();
  block->file = (uint64_t)share_file(share, id);
}
