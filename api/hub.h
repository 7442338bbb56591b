/*
 * hub: wakes requests that wait for a job.
 *
 * One thread owns a subscription to the notices of all jobs. A notice may be lost with a connection, so it only says
 * "look again": the waiter reads the record. All waiters are woken after a reconnect and every 5 s. A waiter
 * registers before it reads the record, so nothing falls between. Thread-safe.
 */
#ifndef RAG_API_HUB_H
#define RAG_API_HUB_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/job.h"
#include "common/redis.h"

struct hub;

struct hub_waiter {
	char job_id[JOB_ID_BYTES];
	uint64_t hash;
	bool emitted; /* wakes also when the job's stream of events has grown */
	bool woken;   /* under the hub's lock, as the rest */
	pthread_cond_t cond;
	struct hub_waiter *next, **link;
};

bool hub_start(const struct redis_opts *opts, size_t max_waiters, struct hub **out,
	       struct err *err);
/* Waiters are answered at once from now on. */
void hub_drain(struct hub *hub);
/* No waiter may be left. NULL is fine. */
void hub_stop(struct hub *hub);

/* emitted: also events that do not change the record. false: there are max_waiters already, or the hub drains: do not wait. The waiter is the caller's storage, and must
 * leave. */
bool hub_enter(struct hub *hub, const char *job_id, bool emitted, struct hub_waiter *waiter);
void hub_leave(struct hub *hub, struct hub_waiter *waiter);

enum hub_event {
	HUB_WOKEN,   /* read the record */
	HUB_TICK,    /* a second has passed: see whether the client is still there */
	HUB_TIMEOUT, /* the deadline has passed */
	HUB_DRAINING
};
enum hub_event hub_wait(struct hub *hub, struct hub_waiter *waiter, int64_t deadline_mono_ms);

size_t hub_waiters(struct hub *hub);

#endif
