/*
 * keep: the thread of rag-api that looks after the queues and after Redis.
 *
 * Once a second it asks Redis how it is (memory), takes the figures of all queues, and keeps them (queue_keep:
 * promote, reap, sweep), so that nothing strands while no worker runs. Its view of Redis is everybody's: while Redis
 * is known to be away, requests fail at once instead of each trying for itself. Admission by memory, age and
 * drain rate is decided on its figures. Thread-safe.
 */
#ifndef RAG_API_KEEP_H
#define RAG_API_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/config.h"
#include "common/queue.h"
#include "common/redis.h"

#define KEEP_MAX_QUEUES 4

struct keep;

struct keep_queue {
	const char *name; /* NULL: end of the array */
	struct queue_stats stats;
	double finished_per_s; /* over the last minute */
	bool known;	       /* the figures have been read at least once */
};

struct keep_figures {
	bool redis_up;
	char reason[ERR_MSG_MAX_BYTES];	     /* why not, "" = up */
	int64_t used_bytes, maxmemory_bytes; /* of Redis; maxmemory 0 = no limit */
	struct keep_queue queues[KEEP_MAX_QUEUES + 1];
};

/* ERR_CONFIG when Redis is there and refuses to be safe (see redis_check_server); a Redis that is away is a warning. */
bool keep_start(const struct config *config, const struct redis_opts *opts, struct keep **out,
		struct err *err);
void keep_stop(struct keep *keep); /* NULL is fine */

/* true, and since when the connection has been unbroken; false: ERR_REDIS_UNAVAILABLE, known at once. */
bool keep_redis_up(struct keep *keep, int64_t *out_since_mono_ms, struct err *err);

void keep_figures(struct keep *keep, struct keep_figures *out);

/* Refuses new jobs of this queue while its oldest waiting one is too old or Redis is short of memory: ERR_OVERLOADED
 * with retry_after_ms. `small`: queries, which may use half of the memory that others must leave. */
bool keep_admit(struct keep *keep, struct queue_ref queue, bool small, struct err *err);

/* For ERR_QUEUE_FULL: when there is room again, from the drain rate. */
int64_t keep_retry_after_ms(struct keep *keep, struct queue_ref queue);

#endif
