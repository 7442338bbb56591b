/*
 * job: what one unit of work looks like; plain data, no I/O. The life of a job is told in job.c, the
 * scripts that move it in queue.c.
 *
 * A job id is "<queue>-<partition>-<ulid>", e.g. "ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b": it carries its
 * queue and partition, so a look-up needs no index. The id of a batch's child is "<batch>.<line>".
 */
#ifndef RAG_COMMON_JOB_H
#define RAG_COMMON_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json.h"
#include "common/keys.h"
#include "common/tenant.h"

#define JOB_ID_BYTES 64
#define JOB_WORKER_BYTES 64
#define JOB_ENTRY_BYTES 48
#define JOB_COLLECTION_BYTES 64 /* a collection's name has at most 63 bytes */
#define JOB_STAGE_BYTES 24
#define JOB_TYPE_BYTES 24
#define JOB_WAITING_BYTES ERR_WAITING_MAX_BYTES

enum job_status {
	JOB_SCHEDULED,	/* in `due`, not to start before due_at */
	JOB_QUEUED,	/* in `ready` */
	JOB_RUNNING,	/* in `ready` and pending with a consumer */
	JOB_RETRYING,	/* in `due` after a failure, a lost worker or an outage */
	JOB_CANCELLING, /* running, and asked to stop */
	JOB_SUCCEEDED,	/* final, in `done` */
	JOB_FAILED,	/* final, in `dead`; an operator's retry makes it queued again */
	JOB_CANCELLED,	/* final, in `done` */
	JOB_EXPIRED,	/* final, in `done`: not started before expires_at */
	JOB_STATUS_COUNT
};

const char *job_status_name(enum job_status status); /* "queued" */
bool job_status_parse(struct str text, enum job_status *out);
bool job_status_done(enum job_status status);

/* Queue names, a NULL-terminated list: "ingest", "query", "hook". */
extern const char *const job_queue_names[];
#define JOB_PARTITIONS 1
/* false when there is no queue of that name; *out borrows the name from the table. */
bool job_queue_find(struct str name, unsigned partition, struct queue_ref *out);

/* A new id in this queue. */
void job_id_new(struct queue_ref queue, char out[JOB_ID_BYTES]);
/* The id that a hash names (64 hex digits, the first 128 bits but one count): the same hash, the same id. The time in its
 * ULID is far ahead (after the year 6400), so that no clean-up takes it for old. false when it is not hex. */
bool job_id_from_hash(struct queue_ref queue, const char *sha256_hex, char out[JOB_ID_BYTES]);
/* false when the text is not a job id; never looks at Redis. */
bool job_id_parse(struct str id, struct queue_ref *out_queue);
#define JOB_MAX_LINE INT64_C(999999999)
void job_id_child(const char *batch_id, int64_t line, char out[JOB_ID_BYTES]);
/* The batch and the line of a child's id; false when it is no child's. */
bool job_id_is_child(struct str id, struct str *out_batch, int64_t *out_line);
#define JOB_TYPE_IMPORT "import"

/* Of a batch (common/batch.h): a job of type "import". Counts of lines. */
struct job_batch {
	bool is;	   /* it is one */
	bool sealed;	   /* no more lines come */
	bool partial;	   /* its upload ended before its body did */
	bool dropping;	   /* past its retention: it is being removed */
	int64_t last_line; /* the greatest line that is an item */
	int64_t pending, succeeded, failed, cancelled, expired, rejected;
	int64_t rate_milli; /* lines ended in 1,000 s, smoothed */
};

/* The record, as read from the hash job:<id>. Times are Unix ms by Redis' clock, 0 = not yet. */
struct job {
	char id[JOB_ID_BYTES];
	struct queue_ref queue;
	char type[JOB_TYPE_BYTES];	       /* "ingest", "query", "delete" */
	char collection[JOB_COLLECTION_BYTES]; /* bare name */
	char tenant[TENANT_BYTES];	       /* whose job it is; never "" */
	enum job_status status;
	int64_t version; /* rises with every visible change: the ETag */
	int64_t epoch;	 /* the fencing token; 0 = never started */
	int64_t starts; /* charged starts: those that ended with a lost worker, and the present one */
	int64_t failures; /* charged failures */
	int64_t max_starts, max_failures;
	int64_t created_ms, started_ms, updated_ms, finished_ms;
	int64_t due_ms;	    /* scheduled and retrying */
	int64_t expires_ms; /* 0 = never */
	bool cancel_requested;
	char worker[JOB_WORKER_BYTES];	     /* of the last start */
	char entry[JOB_ENTRY_BYTES];	     /* stream entry, "" when not in `ready` */
	char stage[JOB_STAGE_BYTES];	     /* progress: "parse", "embed", ... */
	char waiting_for[JOB_WAITING_BYTES]; /* retrying: the dependency it waits for; "" = none */
	int64_t progress_done, progress_total;
	int64_t payload_bytes, result_bytes;
	int64_t stream_ttl_ms; /* 0 = it does not stream; else how long its events are kept after its end */
	char stream_end[JOB_ENTRY_BYTES]; /* id of the last event of a final job that streams */
	struct job_batch batch;
	enum err_code error; /* of the last failure; ERR_NONE = none. Its text is in out:<id> */
};

#endif
