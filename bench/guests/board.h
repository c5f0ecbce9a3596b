/* What the runtime wants of a board, or of the system that a guest is compiled for natively. */
#ifndef BOARD_H
#define BOARD_H

#include "runtime.h"

/* A character of the output. */
void put(char c);

/* The time since some point, in tenths of a microsecond. */
u64 ticks(void);

/* Ends the guest. */
void end(int failed) __attribute__((noreturn));

/* Called by the board when it is ready: the laps. */
void run(void);

/* Called by the board when something trapped, which nothing here should. */
void trapped(u64 cause, u64 pc);

#endif
