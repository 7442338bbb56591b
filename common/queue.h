/*
 * queue: jobs on Redis Streams. Submit, start, renew, progress, settle, promote, reap, cancel, retry,
 * retention, pause, lists and figures. All status changes are Lua scripts (common/scripts); this file
 * only calls them. The invariants are at the top of queue.c.
 *
 * All calls use the caller's connection, are repeatable after a lost reply (idempotent), and fail with
 * ERR_REDIS_UNAVAILABLE / ERR_REDIS_FULL when Redis is away or full. Thread rule: that of the
 * connection. Times are decided by Redis' clock.
 */
#ifndef RAG_COMMON_QUEUE_H
#define RAG_COMMON_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/config.h"
#include "common/job.h"
#include "common/redis.h"

/* ---- submit ---- */

struct queue_submit {
	struct queue_ref queue;
	const char *id; /* from job_id_new; a repeated call with the same id changes nothing */
	const char *type;
	const char *collection; /* bare name, for lists; "" = none */
	const char *tenant;	/* whose job it is; NULL or "" = TENANT_DEFAULT */
	struct str payload;	/* envelope bytes; compressed here (zip) */
	struct str
		idem_hash; /* hex of sha256(tenant, principal, method, path, key); empty = no key */
	struct str fingerprint; /* hex of sha256 of the validated payload */
	int64_t idem_ttl_ms;
	int64_t delay_ms;	/* 0 = at once */
	int64_t run_at_unix_ms; /* 0 = not used */
	int64_t expires_in_ms;	/* 0 = never */
	int64_t max_starts, max_failures;
	int64_t max_jobs, max_bytes; /* admission, from the configuration */
	int64_t stream_ttl_ms; /* > 0: the job streams (queue_stream.h), its events are kept so long after its end */
};

struct queue_submitted {
	char id[JOB_ID_BYTES]; /* the job that holds this key: an earlier one when replayed */
	bool replayed;
};

/*
 * ERR_QUEUE_FULL (with retry_after_ms unset: the caller knows the drain rate) when admission refuses;
 * ERR_IDEMPOTENCY_REUSED when the key was used with another fingerprint; ERR_REDIS_FULL at maxmemory.
 * Nothing is written in any of these cases.
 */
bool queue_submit(struct redis *redis, const struct queue_submit *submit,
		  struct queue_submitted *out, struct err *err);

/* The job that holds this key, if any: lets a repeated call be answered before anything is reserved for it. It writes
 * nothing; submit decides. ERR_IDEMPOTENCY_REUSED as above. */
bool queue_find_idem(struct redis *redis, struct queue_ref queue, struct str idem_hash,
		     struct str fingerprint, bool *out_found, char out_id[JOB_ID_BYTES],
		     struct err *err);

/* ---- a worker's side ---- */

/* Makes the stream and the group at 0 (MKSTREAM); fine when they exist. */
bool queue_ensure_group(struct redis *redis, struct queue_ref queue, struct err *err);

struct queue_entry {
	char entry[JOB_ENTRY_BYTES]; /* stream id */
	char job_id[JOB_ID_BYTES];
};

/* Waits up to block_ms (0 = do not wait) for one new entry. *out_got false: none came. NOGROUP is healed
 * (group made again) and reported as none. */
bool queue_fetch(struct redis *redis, struct queue_ref queue, const char *consumer, int block_ms,
		 bool *out_got, struct queue_entry *out, struct err *err);

enum queue_start_result {
	QUEUE_STARTED,
	/* Nothing to run, fetch again: cancelled, expired, already final, unknown, not delivered to this consumer. */
	QUEUE_START_SKIPPED,
	/* Nothing to run either: its payload is missing, broken or too large; the job is dead now, and its record says so. */
	QUEUE_START_BROKEN,
	QUEUE_START_PAUSED, /* the queue is paused: the entry was put back, uncharged */
	/* A child of a batch that ended at this moment: it had expired, or its batch was cancelled. The payload is handed
	 * out so that what was reserved for the job can be given back (job_settled); no lease, of the record id and type. */
	QUEUE_START_ENDED
};

struct queue_lease {
	char job_id[JOB_ID_BYTES];
	char entry[JOB_ENTRY_BYTES];
	char consumer[JOB_WORKER_BYTES];
	struct queue_ref queue;
	int64_t epoch;
};

struct queue_start {
	const char *consumer;
	size_t max_payload_bytes; /* unpacked */
	struct arena *arena;	  /* for the payload */
};
struct queue_started {
	enum queue_start_result result;
	/* set on QUEUE_STARTED; job on QUEUE_START_BROKEN too */
	struct queue_lease lease;
	struct job job;
	struct str payload; /* unpacked, in the arena */
};
bool queue_start(struct redis *redis, struct queue_ref queue, const struct queue_entry *entry,
		 const struct queue_start *how, struct queue_started *out, struct err *err);

/* Renews the lease; a group that was lost is made again for it. ERR_STALE: it is lost. *out_cancel: somebody asked the job to stop. */
bool queue_renew(struct redis *redis, const struct queue_lease *lease, bool *out_cancel,
		 struct err *err);

/* The cancel flags of many running jobs of one queue in one round trip (keeper, every second). */
bool queue_cancel_flags(struct redis *redis, const struct queue_lease *leases, size_t count,
			bool *out_flags, struct err *err);

bool queue_progress(struct redis *redis, const struct queue_lease *lease, const char *stage,
		    int64_t done, int64_t total, struct err *err);

enum queue_settle_kind {
	SETTLE_SUCCEED, /* result holds the outcome */
	SETTLE_RETRY, /* failed, to be tried again: charged a failure; dead when the budget is spent */
	SETTLE_FAIL,   /* failed for good: dead */
	SETTLE_CANCEL, /* stopped on request */
	SETTLE_WAIT, /* a dependency says when: waits in `due` until then, uncharged; a tenth of jitter, at most 1 s, never grows */
	SETTLE_OUTAGE,	 /* a dependency is away: waits in `due` by backoff, uncharged */
	SETTLE_HAND_BACK /* a draining worker: ready again at once, uncharged */
};

#define QUEUE_MAX_TOLD_MS                                                                          \
	INT64_C(900000) /* who says "in a year" is asked again after a quarter of an hour */

struct queue_settle {
	enum queue_settle_kind kind;
	struct str result; /* SUCCEED: an envelope; not looked at otherwise */
	bool stream_whole; /* SUCCEED, of a job that streams: its tokens add up to its answer */
	const struct err *error; /* RETRY, FAIL, WAIT, OUTAGE: kept for queue_last_error */
	const char
		*waiting_for; /* WAIT, OUTAGE: for people, cut at 63 bytes; NULL or "" = not said */
	int64_t retry_after_ms; /* from the failure, at most QUEUE_MAX_TOLD_MS; -1 = by backoff alone (full jitter, in the script) */
	int64_t backoff_base_ms, backoff_max_ms;
	int64_t result_ttl_ms;
	int64_t done_max_age_ms, dead_max_age_ms; /* not used: records go by queue_keep alone */
};

/* *out_status: what the job is now. ERR_STALE: another start won; drop the work silently. Settling twice with
 * the same lease and kind is not an error and changes nothing. */
bool queue_settle(struct redis *redis, const struct queue_lease *lease,
		  const struct queue_settle *settle, enum job_status *out_status, struct err *err);

/* ---- keeping (every worker's keeper, the API, the cron job; under an advisory lease) ---- */

struct queue_keep_opts {
	int64_t lease_ms;
	int64_t backoff_base_ms, backoff_max_ms;
	int64_t dead_max_age_ms, done_max_age_ms, done_max_bytes;
	bool may_reap; /* only after one full lease of unbroken connection */
};

struct queue_kept {
	int64_t promoted, reaped, swept, consumers_removed;
	int64_t sealed; /* batches whose upload was abandoned */
};

/* Moves due jobs to ready, turns expired leases into new entries (with backoff) or dead jobs, drops records
 * past their retention, removes dead consumers without pending entries. At most 100 items a script;
 * call again while the figures say there is more. Takes lock:keep for a moment; *out all zero when
 * somebody else holds it. */
bool queue_keep(struct redis *redis, struct queue_ref queue, const char *owner,
		const struct queue_keep_opts *opts, struct queue_kept *out, struct err *err);

/* Says that this consumer lives (zset `workers`, score = expiry by Redis' clock). */
bool queue_announce(struct redis *redis, struct queue_ref queue, const char *consumer,
		    int64_t ttl_ms, struct err *err);
/* Leaves: the consumer is deleted when nothing is pending with it. */
bool queue_leave(struct redis *redis, struct queue_ref queue, const char *consumer,
		 struct err *err);

/* ---- clients' and operators' side ---- */

/* ERR_NOT_FOUND when there is no record. */
bool queue_get(struct redis *redis, struct str job_id, struct job *out, struct err *err);
/* Result, or the last error of a job: see queue_error_*; unpacked into the arena. ERR_GONE when its time is over. */
bool queue_result(struct redis *redis, const struct job *job, size_t max_bytes, struct arena *arena,
		  struct str *out_result, struct err *err);
/* The stored text of the last failure as a filled struct err; false -> *out has the code alone. */
bool queue_last_error(struct redis *redis, const struct job *job, struct err *out);

/* Cancels (a batch: its children end as they are reached). *out is the record afterwards: cancelled (was queued, scheduled or retrying), cancelling (was
 * running), cancelled already. ERR_ALREADY_FINAL for other final states; ERR_NOT_FOUND. retention is not looked at (may be NULL). */
bool queue_cancel(struct redis *redis, struct str job_id, const struct queue_keep_opts *retention,
		  struct job *out, struct err *err);
/* A dead job is queued again with fresh budgets; the epoch goes on. Repeating it before the job starts changes nothing.
 * ERR_CONFLICT when it is not `failed`, ERR_GONE when its payload is not there. */
bool queue_retry_dead(struct redis *redis, struct str job_id, struct job *out, struct err *err);
/* Forgets a final job: record, payload, result; of a batch its items too. ERR_NOT_FINAL otherwise. */
bool queue_forget(struct redis *redis, struct str job_id, struct err *err);
/* The same, if the record is still at this version; else ERR_PRECONDITION. */
bool queue_forget_version(struct redis *redis, struct str job_id, int64_t version, struct err *err);

bool queue_pause(struct redis *redis, struct queue_ref queue, bool paused, struct err *err);
bool queue_is_paused(struct redis *redis, struct queue_ref queue, bool *out, struct err *err);

struct queue_stats {
	int64_t waiting;  /* XLEN(ready) - pending, exact */
	int64_t running;  /* pending */
	int64_t due;	  /* in `due` */
	int64_t due_soon; /* due within the next lease */
	int64_t dead, done;
	int64_t payload_bytes, result_bytes;
	int64_t oldest_waiting_ms;	      /* age of the oldest waiting entry; 0 = none */
	int64_t demand;			      /* waiting + running + due_soon; 0 when paused */
	int64_t workers;		      /* live consumers */
	int64_t finished_total, failed_total; /* counters since the beginning */
	bool paused;
};
bool queue_stats(struct redis *redis, struct queue_ref queue, int64_t lease_ms,
		 struct queue_stats *out, struct err *err);

/* Lists: jobs of one queue, newest states last: ready, due, done (newest first), dead (newest first). */
struct queue_list {
	struct queue_ref queue;
	int status;		/* enum job_status, or -1 = any */
	const char *type;	/* NULL = any */
	const char *collection; /* NULL = any */
	enum err_code error;	/* of the last failure; ERR_NONE = any, or none */
	const char *tenant;	/* NULL = any */
	size_t limit;		/* at most 1000 */
	char cursor[96];	/* in: "" = start; out: "" = the end; opaque, printable, URL-safe */
};
/* Scans at most 1,000 records a call: a page may be short or empty though the cursor goes on. ERR_INVALID with
 * pointer "/page_token" for a bad cursor. jobs: arena array. */
bool queue_list(struct redis *redis, struct queue_list *list, struct arena *arena,
		struct job **out_jobs, size_t *out_count, struct err *err);

/* Who works on a queue (queue_workers.c). A consumer that holds several entries has a row for each. */
struct queue_worker {
	char consumer[JOB_WORKER_BYTES];
	int64_t expires_ms; /* counts as dead from then on unless it announces itself; 0 = it has not, or is dead */
	bool busy;	    /* it holds an entry of the stream: job and renewed_ms are set */
	int64_t renewed_ms; /* when the lease was last renewed */
	struct job job;	    /* its record; id "" when it has gone */
};
struct queue_workers {
	struct queue_worker *rows; /* arena */
	size_t count;
	bool more; /* than there was room for */
};
/* The live consumers in the order of their names, then dead ones that still hold entries. At most `max` (1000) of each. */
bool queue_workers(struct redis *redis, struct queue_ref queue, size_t max, struct arena *arena,
		   struct queue_workers *out, struct err *err);

/* ---- the error of a job as stored in out:<id> ---- */

void queue_error_pack(const struct err *err, struct buf *out);
bool queue_error_unpack(struct str bytes, struct err *out);

#endif
