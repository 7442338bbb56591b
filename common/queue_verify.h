/*
 * queue_verify: reads one partition of a queue and says whether the invariants of queue.c hold. Writes nothing.
 *
 * Every record is seen at one instant, so what is reported of a job is true at that instant also while the queue works.
 * Sums over all jobs are compared with the counters only when the queue stood still meanwhile (totals_checked). Uses
 * SCAN for what no structure knows of: reads every key's name once. Thread rule: that of the connection.
 */
#ifndef RAG_COMMON_QUEUE_VERIFY_H
#define RAG_COMMON_QUEUE_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/job.h"
#include "common/redis.h"

#define QUEUE_VERIFY_TEXTS 16
#define QUEUE_VERIFY_TEXT_BYTES 200

struct queue_verify_report {
	int64_t records;		     /* jobs found through ready, due, dead, done */
	int64_t by_status[JOB_STATUS_COUNT]; /* of those */
	int64_t waiting, pending;	     /* entries of `ready`: not pending, pending */
	int64_t payload_bytes;		     /* of in:<id> */
	int64_t result_bytes; /* of out:<id> as the records have it: results that have expired count until their record goes */
	bool totals_checked;
	int64_t problems;
	size_t text_count;
	char texts[QUEUE_VERIFY_TEXTS][QUEUE_VERIFY_TEXT_BYTES]; /* the first of them */
};

/* true when everything could be read, whatever was found: look at out->problems. */
bool queue_verify(struct redis *redis, struct queue_ref queue, struct queue_verify_report *out,
		  struct err *err);

#endif
