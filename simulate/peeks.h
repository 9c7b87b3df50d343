/* peeks.h - looks at results that workers have published and the run has not told, as a journal's lookout does while
 * the script is away (src/run/peek.h), and compares them with the ledger. */
#ifndef SIMULATE_PEEKS_H
#define SIMULATE_PEEKS_H
#include "run/dispatch.h"

/* A run begins, of which nothing was seen. */
void peeks_begin(void);
/* Looks at all lanes, while their workers go on. */
void peeks_look(const struct dispatch *d);
/* The run ends. */
void peeks_end(void);

#endif
