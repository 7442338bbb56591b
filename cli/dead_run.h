/*
 * dead_run: one call for each of many dead jobs, a bounded number at a time.
 *
 * A job that is not dead any more, or not as it was when it was listed (somebody else retried it), is left alone and
 * counted apart. A call whose answer got lost is repeated: retrying and purging change nothing the second time. What would
 * meet every job alike (no server, no right) ends the run; what was not reached is still dead, so the same command goes on.
 */
#ifndef RAG_CLI_DEAD_RUN_H
#define RAG_CLI_DEAD_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/reasons.h"
#include "common/base/err.h"

#define DEAD_ID_BYTES 96

struct dead_job {
	char id[DEAD_ID_BYTES];
	int64_t version; /* of the record when it was listed */
};

struct dead_jobs {
	struct dead_job *items; /* owned */
	size_t count, room;
};

void dead_jobs_add(struct dead_jobs *jobs, const struct dead_job *job);
void dead_jobs_release(struct dead_jobs *jobs);

enum dead_verb { DEAD_RETRY, DEAD_PURGE };

struct dead_outcome {
	int64_t done, moved; /* moved: not dead any more */
	struct reasons failed;
	bool fatal; /* the run was ended early: fatal_err says why */
	struct err fatal_err;
	struct err first_err; /* of the first job that failed; code ERR_NONE = none */
};

/* Fills *out (release out->failed); draws a progress line on a terminal. */
void dead_run(struct cli *cli, enum dead_verb verb, const struct dead_jobs *jobs,
	      struct dead_outcome *out);

#endif
