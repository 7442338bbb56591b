/*
 * batch: a bulk import: one upload, many ingest jobs, one outcome. Calls of an API that streams a body, of keepers, and
 * of clients that look at it. The essay and the invariants are at the top of batch.c; the scripts are batch_*.lua and
 * tally.inc.
 *
 * A batch is a job of type "import" that no worker takes: it is over when it is sealed and none of its lines is pending.
 * Its lines are numbered as in the body, from 1; a line that is a document has a job "<batch>.<line>" (a child) in the
 * same queue, a line that is none is rejected and has no job.
 *
 * All calls use the caller's connection and are repeatable. Thread rule: that of the connection.
 */
#ifndef RAG_COMMON_BATCH_H
#define RAG_COMMON_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/str.h"
#include "common/job.h"
#include "common/redis.h"

/* ---- an upload ---- */

struct batch_upload {
	struct queue_ref queue;
	char id[JOB_ID_BYTES]; /* of the batch; the same upload repeated has the same */
	char token
		[ID_ULID_BYTES]; /* of this upload: the latest one that opened the batch may add lines */
	int64_t lease_ms; /* without a sign of life for so long the batch is sealed as partial */
	const char *collection, *tenant; /* borrowed */
	struct str fingerprint; /* at most 64 bytes: what must be the same in a repeated upload */
	/* of its children */
	const char *type; /* "ingest" */
	int64_t max_starts, max_failures, expires_in_ms;
	int64_t max_jobs, max_bytes; /* admission */
};

enum batch_opened {
	BATCH_NEW,
	BATCH_RESUMED, /* an upload before has added some lines, or none */
	BATCH_COMPLETE /* nothing is added any more: the whole body had come, or it was cancelled */
};

/* Opens the batch, or goes on with it. ERR_IDEMPOTENCY_REUSED: the id is of something else. ERR_REDIS_FULL at maxmemory. */
bool batch_open(struct redis *redis, const struct batch_upload *upload, enum batch_opened *out,
		struct job *out_job, struct err *err);

#define BATCH_HASH_BYTES 8
#define BATCH_MAX_LINES 100 /* of one call */

enum batch_result {
	BATCH_LINE_NEW,	    /* (batch_look) not there yet */
	BATCH_LINE_ADDED,   /* (batch_add) */
	BATCH_LINE_KNOWN,   /* an upload before has added it; `state` says how it stands */
	BATCH_LINE_DIFFERS, /* ... and it was another line then */
	BATCH_LINE_FULL,    /* no room in the queue or in Redis now */
	BATCH_LINE_CLOSED   /* sealed, cancelled, forgotten, or another upload has taken over */
};

struct batch_line {
	int64_t line;
	char hash[BATCH_HASH_BYTES]; /* of its bytes */
	struct str document_id;	     /* "" = made of batch and line; borrowed */
	struct str payload;	     /* of the child; borrowed */
	const struct err *error;     /* a rejected line: why; NULL = a child */
	enum batch_result result;    /* out */
	char state;		     /* out, of a known line: p s f c e x as in tally.inc */
};

/* Which of the lines are there already (result NEW, KNOWN or DIFFERS). At most BATCH_MAX_LINES, ascending. */
bool batch_look(struct redis *redis, const struct batch_upload *upload, struct batch_line *lines,
		size_t count, struct err *err);
/* Adds the lines whose result is NEW or FULL, in one round trip; each is added or not by itself. */
bool batch_add(struct redis *redis, const struct batch_upload *upload, struct batch_line *lines,
	       size_t count, struct err *err);
/* A sign of life. *out_open false: as BATCH_LINE_CLOSED. */
bool batch_renew(struct redis *redis, const struct batch_upload *upload, bool *out_open,
		 struct err *err);

/* The end of the upload: complete, or partial. Does nothing when the batch is not open to it. *out_job: as it is now. */
bool batch_seal(struct redis *redis, const struct batch_upload *upload, bool complete,
		struct job *out_job, struct err *err);

/* ---- keepers ---- */

/* Seals what has lost its upload, at most 100. */
bool batch_seal_abandoned(struct redis *redis, struct queue_ref queue, int64_t now_ms,
			  int64_t *io_sealed, struct err *err);
/* Goes on with the removal of a batch that forget or sweep has marked, for `steps` calls of 100 keys; 0 = to its end. */
bool batch_drop_some(struct redis *redis, struct queue_ref queue, struct str id, int steps,
		     struct err *err);
bool batch_drop(struct redis *redis, struct queue_ref queue, struct str id, struct err *err);

/* ---- clients ---- */

/* As queue_cancel, which calls it: waiting children end as they are reached. */
bool batch_cancel(struct redis *redis, struct str id, struct job *out, struct err *err);

struct batch_item {
	int64_t line;
	enum job_status status; /* of its job; rejected lines: JOB_FAILED */
	bool rejected;
	bool has_job;		 /* its job has a record: that of a line that succeeded has gone */
	struct str document_id;	 /* arena; "" = the line has none */
	const struct err *error; /* arena; NULL = none */
};

struct batch_page {
	int64_t from_line; /* in: the first line wanted; out: where the next page begins, 0 = there is none */
	int status;		  /* enum job_status, or -1 = any */
	size_t limit;		  /* at most 1,000 */
	struct batch_item *items; /* out, arena */
	size_t count;
};
/* Looks at no more than 5,000 lines a call: a page may be short or empty though there is a next one. */
bool batch_items(struct redis *redis, const struct job *batch, struct arena *arena,
		 struct batch_page *page, struct err *err);

/* The id of a document that came without one. */
#define BATCH_DOCUMENT_ID_BYTES 64
void batch_document_id(const char *batch_id, int64_t line, char out[BATCH_DOCUMENT_ID_BYTES]);

#endif
