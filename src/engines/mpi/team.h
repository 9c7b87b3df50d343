/* team.h - an engine of rank 0 in this rank, and its run: a dispatcher over the rank's workers, which is fed by the
 * parent, and what is reported to the parent of it. */
#ifndef PARLUA_MPI_TEAM_H
#define PARLUA_MPI_TEAM_H
#include "engines/cluster.h"
#include "engines/mpi/folding.h"

/* An engine of rank 0, in this rank. */
struct team {
  struct team *next;
  uint32_t number;
  struct engine engine;   /* its `kind` is NULL until it is open */
  struct link waiting;    /* messages: for the shared message that holds their run's job */
  struct dispatch *run;   /* NULL: none is open */
  struct message *opened; /* what opened it; holds a small job */
  struct block refer;     /* stands for a large one */
  uint32_t shared;        /* its number; 0: it is small */
  struct report report;
  const struct row_maker *maker; /* NULL: rank 0 makes all rows of a journal */
  struct rows *rows;             /* prepares those of the run's journal; NULL: it has none, or rank 0 makes them */
  struct folding folding;
  uint64_t used, most;           /* bytes of reports that the parent has used; that it may have unused */
  double received, held;         /* tasks that came, all in all; of these, that are still here */
  double given;                  /* bytes of arguments that came with them */
  double ended, asked;           /* tasks that have ended; when the parent last asked for some */
  double wanted_at;              /* when the parent was last asked for tasks */
  double began;                  /* when */
  double horizon, horizon_least; /* seconds of work that are to lie ready, at the most; from the beginning */
  double gather, gather_results; /* seconds that demand and results wait for each other; and results alone */
  double patience;               /* seconds that results wait, at least */
  double reported;               /* when */
  double paced;                  /* when it was last looked how many records were, */
  uint64_t records;              /* and how many they were */
  bool is_asked;                 /* the parent asks for tasks, */
  uint32_t wish;                 /* for so many workers elsewhere that have nothing to do (dispatch_part) */
  double until;                  /* when it is to be served again, unless something has come */
  bool is_told;                  /* the parent has said something since it was served */
  bool is_done;                  /* nothing more will be told */
  uint64_t *ends;                /* by own worker: see report_results */
};

/* Takes in a message of the parent for the team, whose job is here; it is the team's from then on. Not NOTE_LEAVE. */
void team_obey(struct team *team, struct message *message);
/* Takes events of the team's run, and reports them, if something has come or is due. Returns when it is to be served
 * again, by the clock; 0: at once. */
double team_serve(struct team *team);
/* Ends its run, and closes its engine. */
void team_close(struct team *team);
/* Tells the parent that no run can be had here, which the message asks for; an errno. */
void team_refuse(const struct message *message, int error);
#endif
