/*
 * stream_write: how a job's events look as server-sent events (docs/api.md tells every member). Used by stream.c alone.
 */
#ifndef RAG_API_STREAM_WRITE_H
#define RAG_API_STREAM_WRITE_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/job.h"
#include "common/queue_stream.h"

/* What a final job leaves to tell. */
struct stream_end {
	struct str result;  /* JSON object; "" = none, or no longer kept */
	struct err problem; /* how it ended, when it did not succeed; else ERR_NONE */
};

/* id "" = none: the client keeps the last one. */
void stream_write_status(struct buf *out, const char *id, const struct job *job);
/* Any kind but DONE; a DONE that was taken back by a retry is written as a status. */
void stream_write_event(struct buf *out, const struct job *job, const struct queue_event *event);
void stream_write_reset(struct buf *out, const char *id, const char *reason, struct str text);
/* The problem (if it ended with one, without an id, so that it comes again after a cut), then `done`. */
void stream_write_done(struct buf *out, const char *id, const struct job *job,
		       const struct stream_end *end);
void stream_write_problem(struct buf *out, const struct err *problem, const char *job_id);

#endif
