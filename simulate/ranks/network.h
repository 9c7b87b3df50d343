/* network.h - messages between simulated ranks. Those between two ranks keep their order. */
#ifndef SIMULATE_NETWORK_H
#define SIMULATE_NETWORK_H
#include <stdint.h>

struct simulated_rank;

struct network {
  double latency;           /* seconds, on average; */
  double least;             /* at least */
  double bytes_per_second;  /* of one message */
  uint64_t messages, bytes; /* to rank 0, from it */
  uint64_t notes[32];       /* of them by kind; */
  uint64_t records[8];      /* and records of reports by kind */
};
extern struct network network;

/* Who has sent the first message that has come for a rank. */
int network_first_from(const struct simulated_rank *rank);
/* Drops what has come for a rank and was not received. */
void network_drop(struct simulated_rank *rank);

#endif
