/*
 * top_view: what `ragctl top` knows, as text. Pure: no calls, no clock but the one in the state.
 *
 * Everything that came from the server is made harmless (text.h), and no line is wider than asked for.
 */
#ifndef RAG_CLI_TOP_VIEW_H
#define RAG_CLI_TOP_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/json.h"

#define TOP_MAX_FAILURES 8
#define TOP_MAX_BATCHES 4

struct top_state {
	const char *url;
	int64_t interval_ms;	     /* 0 = once */
	int64_t now_unix_ms;	     /* of this drawing */
	int64_t read_unix_ms;	     /* when the server last answered; 0 = never */
	const char *problem;	     /* why it does not answer now; NULL = it does */
	const char *workers_problem; /* why there are no workers to show; NULL = none */
	const struct js *queues;     /* array, or NULL */
	const struct js *workers;    /* array, or NULL */
	const struct js *failures[TOP_MAX_FAILURES]; /* records of dead jobs, newest first */
	size_t failure_count;
	const struct js *batches[TOP_MAX_BATCHES]; /* records of bulk imports at work */
	size_t batch_count;
	bool color;
};

/* The screen: at most `rows` lines of at most `columns` columns, each with its '\n'. 0 = no limit (not a terminal). */
void top_view(const struct top_state *state, size_t columns, size_t rows, struct buf *out);
/* A line for each queue: for logs. */
void top_view_plain(const struct top_state *state, struct buf *out);
/* One object on one line. */
void top_view_json(const struct top_state *state, struct buf *out);

#endif
