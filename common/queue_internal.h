/*
 * queue_internal: what the files of the queue share; nobody else includes it.
 */
#ifndef RAG_COMMON_QUEUE_INTERNAL_H
#define RAG_COMMON_QUEUE_INTERNAL_H

#include <stdbool.h>

#include "common/job.h"
#include "common/queue.h"
#include "common/redis.h"

#define QUEUE_GROUP "workers"
#define QUEUE_MAX_ITEMS 100 /* of one script call (reap: QUEUE_MAX_REAPED, its items carry more) */

/* A record from the flat array of HGETALL. false: not a record (ERR_REDIS_REPLY). */
bool queue_job_parse(const struct reply *flat, const char *id, struct queue_ref queue,
		     struct job *out, struct err *err);

/* A script's verdict: the string itself, or the first item of the array. */
bool queue_verdict(const struct reply *reply, const char *what, struct str *out, struct err *err);

/* cmd gets the keys of one job. Names live in `keys`. */
struct queue_job_keys {
	struct key job, payload, result, events;
};
void queue_job_keys(struct queue_ref queue, struct str id, struct queue_job_keys *out);

/* What the scripts need to keep a child's batch right; false: the job is no child of a batch. */
struct queue_child_keys {
	struct key batch, items, batches;
};
bool queue_child_keys(struct queue_ref queue, struct str id, struct queue_child_keys *out);

#endif
