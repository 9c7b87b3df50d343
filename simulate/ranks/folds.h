/* folds.h - results of reductions on their way through an agent (engines/mpi/folding.h): each task is reported once,
 * whatever becomes of the workers that merge. */
#ifndef SIMULATE_FOLDS_H
#define SIMULATE_FOLDS_H

/* Tells a fault where folding.c does not do what its header says. */
void folds_check(void);

#endif
