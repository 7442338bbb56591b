/* queue_check: fails the test when a queue's invariants do not hold (common/queue_verify). */
#ifndef RAG_TESTS_SUPPORT_QUEUE_CHECK_H
#define RAG_TESTS_SUPPORT_QUEUE_CHECK_H

#include "common/queue_verify.h"
#include "common/redis.h"

/* The queue must be at rest: totals are checked too. `when` says where in the test. out may be NULL. */
void queue_check(struct redis *redis, struct queue_ref queue, const char *when,
		 struct queue_verify_report *out);

#endif
