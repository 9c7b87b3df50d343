/* offers.c - pieces that workers give to their coordinator: see shared.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/pieces.h"

/* For about as many offers under way as bytes / 800; the kernel may allow less. */
enum { CHANNEL_BYTES = 4 << 20 };

/* A descriptor that was received and not claimed: or the piece, where it is known already. */
struct offer {
  struct offer *next;
  uint64_t id, size;
  int file;
  struct piece *piece;
};

/* What a worker sends beside the descriptor. */
struct word {
  uint64_t id, size;
};

static struct offer *offers;
static int channel[2] = {-1, -1};
static pid_t channel_owner;

int shared_open_channel(void)
{
  int size = CHANNEL_BYTES;
  if (channel[0] >= 0 && channel_owner == getpid()) return 0;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0) {
    channel[0] = channel[1] = -1;
    return errno;
  }
  setsockopt(channel[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  channel_owner = getpid();
  return 0;
}

bool shared_offer(struct shared_memory *shared)
{
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct word word = {shared->id, shared->size};
  struct iovec part = {&word, sizeof word};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (shared->file < 0 || channel[1] < 0 || channel_owner == getpid()) return false;
  piece_of(shared)->is_known = true;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &shared->file, sizeof(int));
  ssize_t sent;
  do sent = sendmsg(channel[1], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == (ssize_t)sizeof word;
}

void shared_leave(struct shared_memory *shared)
{
  pieces_lock();
  piece_of(shared)->holds++;
  piece_of(shared)->left++;
  pieces_unlock();
}

/* Takes the next offer from the socket; false: there is none. */
static bool receive(void)
{
  char control[CMSG_SPACE(sizeof(int))];
  struct word word;
  struct iovec part = {&word, sizeof word};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t got;
  int file = -1;
  if (channel[0] < 0 || channel_owner != getpid()) return false;
  do got = recvmsg(channel[0], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got <= 0) return false;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
      memcpy(&file, CMSG_DATA(header), sizeof file);
  if (got != (ssize_t)sizeof word || file < 0) { /* the latter: no descriptor was free */
    if (file >= 0) close(file);
    if (file < 0) pieces_raise_file_limit();
    return true;
  }
  struct offer *offer = calloc(1, sizeof *offer);
  if (!offer) {
    close(file);
    return true;
  }
  *offer = (struct offer){.id = word.id, .size = word.size, .file = file};
  pieces_lock();
  offer->piece = piece_find(word.id);
  if (offer->piece) offer->piece->holds++;
  pieces_unlock();
  if (offer->piece) close(file);
  offer->next = offers;
  offers = offer;
  return true;
}

/* Takes the offer of that number from the list; NULL: there is none. */
static struct offer *take_offer(uint64_t id)
{
  for (struct offer **at = &offers; *at; at = &(*at)->next) {
    if ((*at)->id != id) continue;
    struct offer *offer = *at;
    *at = offer->next;
    return offer;
  }
  return NULL;
}

struct shared_memory *shared_claim(uint64_t id)
{
  pieces_lock();
  struct piece *piece = piece_find(id);
  bool was_left = piece && piece->left > 0;
  if (was_left) piece->left--; /* the hold is the caller's */
  pieces_unlock();
  if (was_left) return &piece->shared;
  struct offer *offer = take_offer(id);
  while (!offer && receive()) offer = take_offer(id);
  if (!offer) return NULL;
  piece = offer->piece ? offer->piece : piece_map(id, offer->file, offer->size);
  free(offer);
  return piece ? &piece->shared : NULL;
}

void shared_forget_offers(void)
{
  while (receive()) continue;
  while (offers) {
    struct offer *offer = offers;
    offers = offer->next;
    if (offer->piece)
      piece_drop(offer->piece, false);
    else
      close(offer->file);
    free(offer);
  }
  pieces_drop_left();
}
