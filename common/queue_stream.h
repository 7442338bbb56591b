/*
 * queue_stream: the events of a job that streams its text: a worker emits them, readers follow from any place. How a
 * reader always ends up with the right bytes is told in queue_stream.c.
 *
 * An event's id is a stream id, "<ms>-<n>"; ids of one job rise. Thread rule: that of the connection.
 */
#ifndef RAG_COMMON_QUEUE_STREAM_H
#define RAG_COMMON_QUEUE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/job.h"
#include "common/queue.h"
#include "common/redis.h"

/* ---- a worker's side ---- */

enum queue_emit_kind {
	EMIT_TOKEN,   /* data: a piece of text, whole UTF-8 characters */
	EMIT_RESET,   /* data: the whole text so far; what was emitted before is void */
	EMIT_SOURCES, /* data: JSON, for readers; no part of the text */
	EMIT_WARNING  /* the same */
};

struct queue_emit {
	int64_t n; /* 1, 2, ... within one start; the same n again writes nothing */
	enum queue_emit_kind kind;
	struct str data;
	const char *reason; /* RESET: told to readers; NULL = "recovered" */
	struct str
		snapshot; /* TOKEN: empty, or the whole text so far, this piece included: older entries go */
};

enum queue_emitted {
	QUEUE_EMITTED,
	QUEUE_EMIT_STOP, /* the job is asked to stop; nothing was written */
	QUEUE_EMIT_GAP, /* earlier events are lost (Redis lost writes): emit a reset with a higher n */
	QUEUE_EMIT_NONE /* the job does not stream */
};

/* ERR_STALE: another start has won. ERR_REDIS_FULL at maxmemory: nothing was written, the same n may be used again.
 * After ERR_REDIS_UNAVAILABLE the event may be there: repeat it as it was, or emit a reset with a higher n. */
bool queue_emit(struct redis *redis, const struct queue_lease *lease, const struct queue_emit *emit,
		enum queue_emitted *out, struct err *err);

/* ---- a reader's side ---- */

#define QUEUE_EVENTS_FROM_START "0-0"

/* "<ms>-<n>", each at most 2^53 - 1, no sign, no blanks; *out: canonical ("0" and "0-0" give "0-0"). */
bool queue_event_id_parse(struct str text, char out[JOB_ENTRY_BYTES]);
int queue_event_id_cmp(const char *a, const char *b); /* two that were parsed: < 0, 0, > 0 */

enum queue_event_kind {
	QUEUE_EVENT_STATUS,
	QUEUE_EVENT_TOKEN,
	QUEUE_EVENT_RESET, /* text replaces all text so far */
	QUEUE_EVENT_SOURCES,
	QUEUE_EVENT_WARNING,
	QUEUE_EVENT_DONE /* the job was final here; it may have been retried since: compare with job.stream_end */
};

/* Strings are arena memory. */
struct queue_event {
	char id[JOB_ENTRY_BYTES];
	enum queue_event_kind kind;
	struct str data;	/* TOKEN, RESET: text; SOURCES, WARNING: JSON */
	struct str reason;	/* RESET: "restarted", "recovered", "trimmed" */
	enum job_status status; /* STATUS, DONE */
	int64_t version;	/* STATUS, DONE: of the record then */
	struct str stage;	/* STATUS: of progress, "" = none */
	int64_t done, total;
	bool whole; /* DONE: the tokens add up to the answer */
};

struct queue_events {
	struct job job; /* seen at the same instant */
	bool unknown; /* `after` is no id of this stream (later than its last): these begin at the start */
	bool more;		   /* there are more at once */
	struct queue_event *items; /* arena */
	size_t count;
	char after[JOB_ENTRY_BYTES]; /* where to go on; not always the last item's id */
};

/* The events after this id. ERR_NOT_FOUND when there is no record. */
bool queue_events(struct redis *redis, struct str job_id, const char *after, struct arena *arena,
		  struct queue_events *out, struct err *err);

#endif
