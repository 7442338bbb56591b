/*
 * queue_kit: a queue for tests: short calls that fail the test when Redis does not answer, and jobs brought into any status.
 * Everything happens in partition 0 of `ingest`, on a server of the test's own.
 */
#ifndef RAG_TESTS_SUPPORT_QUEUE_KIT_H
#define RAG_TESTS_SUPPORT_QUEUE_KIT_H

#include "common/queue.h"
#include "common/redis.h"
#include "tests/support/redis_server.h"

#define HOUR_MS INT64_C(3600000)

extern struct redis_server *kit_server;
extern struct redis *kit; /* the connection of all calls below */
extern const struct queue_ref kit_queue;

int kit_start(void **state); /* group set-up and tear-down of cmocka */
int kit_stop(void **state);
int kit_clear(void **state); /* test set-up: an empty Redis with the group made */

int64_t kit_now(void);					  /* Redis' clock, ms */
void kit_await(int64_t redis_ms);			  /* until Redis' clock has passed it */
int64_t kit_number(const char *command, const char *key); /* XLEN, ZCARD, ... */

extern bool kit_streams; /* submissions are of jobs that stream; kit_clear makes it false */

/* Defaults: payload "payload", budgets 3 and 3, no admission limits. */
struct queue_submit kit_submission(char id[JOB_ID_BYTES]);
void kit_submit(char id[JOB_ID_BYTES]); /* a new job, queued */
struct job kit_job(const char *id);
enum job_status kit_status(const char *id);
bool kit_exists(const char *id);

/* false: none came. */
bool kit_fetch(const char *consumer, struct queue_entry *out);
enum queue_start_result kit_start_entry(const struct queue_entry *entry, const char *consumer,
					struct queue_lease *out);
/* Fetches and starts; false: none came. Skipped entries are passed over. */
bool kit_take(const char *consumer, struct queue_lease *out);

/* Settles with the error "it broke" (TIMEOUT) or the result "result"; back-off of at least due_ms. */
bool kit_settle(const struct queue_lease *lease, enum queue_settle_kind kind, int64_t due_ms,
		enum job_status *out, struct err *err);
struct queue_keep_opts
kit_keep_opts(void); /* nothing is old, nothing may be reaped; leases of an hour */
struct queue_kept kit_keep(const struct queue_keep_opts *opts);

/* What a job may be; statuses, and two that are none. */
enum kit_state {
	KIT_SCHEDULED,
	KIT_QUEUED,
	KIT_DELIVERED, /* queued, pending with consumer "c", not started */
	KIT_RUNNING,
	KIT_RETRYING,
	KIT_CANCELLING,
	KIT_SUCCEEDED,
	KIT_FAILED,
	KIT_CANCELLED,
	KIT_EXPIRED,
	KIT_NONE, /* there is no such job */
	KIT_STATES
};
extern const char *const kit_state_names[KIT_STATES];
/* The one job of an empty queue, in that state. *out: its id and the lease of its last start (consumer "c"); where it
 * never ran, the entry it was delivered as, and epoch 1. due_ms: for scheduled and retrying. */
void kit_make(enum kit_state state, int64_t due_ms, struct queue_lease *out);

#endif
