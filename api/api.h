/*
 * api: rag-api as one object: what all requests share, and its start and stop.
 *
 * Threads: civetweb's own run the requests, the hub's owns the subscription to job notices, the keep thread
 * looks after the queues and after Redis' state, the monitor serves health and metrics. Everything here but
 * the atomics is immutable after api_start.
 */
#ifndef RAG_API_API_H
#define RAG_API_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/config.h"
#include "common/http_server.h"
#include "common/metrics.h"
#include "common/redis.h"
#include "jobs/spec/spec.h"

struct auth;
struct hub;
struct keep;
struct stats;

struct api {
	const struct config *config;		  /* borrowed */
	char fingerprint[SPEC_FINGERPRINT_BYTES]; /* of the configured embedder */
	struct redis_pool *pool;
	struct auth *auth; /* NULL: no keys, loopback only */
	struct hub *hub;
	struct keep *keep;
	struct stats *stats;
	struct http_server *server;
	struct monitor *monitor;
	int64_t started_mono_ms;
	atomic_bool started;
	atomic_bool draining;
	atomic_int in_progress; /* requests, those that wait for a job aside */
	atomic_int imports;	/* uploads among them */
};

/*
 * Checks the settings (ERR_CONFIG), then starts everything. A Redis that is away is a warning: requests are
 * answered 503 until it is there. config outlives the result.
 */
bool api_start(const struct config *config, struct api **out, struct err *err);

/* Not ready from now on; waits are answered at once. */
void api_drain(struct api *api);

/* Ends what is in progress and frees all. NULL is fine. */
void api_stop(struct api *api);

#endif
