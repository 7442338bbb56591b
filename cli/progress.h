/*
 * progress: one line that says how far a long command is: a bar on a terminal, a plain line now and
 * then elsewhere, nothing when quiet. Pure but for progress_show; the caller's thread only.
 */
#ifndef RAG_CLI_PROGRESS_H
#define RAG_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/buf.h"

struct progress {
	FILE *out;
	bool bar; /* a terminal */
	int columns;
	int64_t plain_every_ms;
	int64_t last_ms, last_done, last_plain_ms;
	double rate; /* a second, smoothed; negative = not known yet */
	bool drawn;
};

struct progress_state {
	int64_t done, total, failed;
	const char *note; /* "server busy, waiting"; NULL = none */
};

void progress_start(struct progress *progress, FILE *out, bool bar, int columns, int64_t now_ms);
/* Takes the state into the rate and prints what is due. */
void progress_show(struct progress *progress, const struct progress_state *state, int64_t now_ms);
/* Removes the bar. */
void progress_end(struct progress *progress);

/* The text of one line, for the width. */
void progress_line(const struct progress *progress, const struct progress_state *state,
		   struct buf *out);

#endif
