/*
 * embed: texts to vectors, the way that costs least.
 *
 *	cache -> the same text once -> too long ones in parts -> batches -> calls shared with other jobs -> cache
 *
 * What a call has brought is in the cache at once, so a job that fails later, or whose worker is killed, pays for no text twice. An
 * embedder of this process (`local`) is called directly: no cache, no sharing.
 *
 * A question is embedded at once, with its own task; chunks may wait for each other: while EMBED_FLIGHTS calls of loads that do not
 * fill one are in flight, the texts of other slots gather for the next one. No timer: an idle worker waits for nobody.
 */
#ifndef RAG_JOBS_STEP_EMBED_H
#define RAG_JOBS_STEP_EMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/auto.h"
#include "common/base/err.h"
#include "common/config.h"
#include "common/metrics.h"
#include "jobs/provider/provider.h"

/* Calls in flight of one process that other loads wait for: with two, one more job gains as much time as one more text in a call. */
#define EMBED_FLIGHTS 2

struct embed_pool_opts {
	bool direct;	     /* the embedder is in this process */
	int64_t text_tokens; /* that the model takes of one text; 0 = not known */
	int64_t call_tokens; /* most tokens of one call (estimated); a longer text goes alone */
	int64_t cache_bytes; /* 0 = no cache */
	int64_t cache_ttl_ms;
	int64_t redis_headroom_percent; /* of the queue; the cache leaves it and more */
};

/* One for a process; thread-safe. Threads must have ended before it is freed. */
struct embed_pool;
bool embed_pool_opts_of(const struct config *config, struct embed_pool_opts *out, struct err *err);
struct embed_pool *embed_pool_new(const struct embed_pool_opts *opts);
void embed_pool_free(struct embed_pool *pool); /* NULL is fine */

struct embed_request {
	struct embed_pool *pool;
	struct embedder *embedder; /* the caller's own */
	struct provider_call call; /* its redis also has the cache; NULL = none */
	enum embed_task task;
	struct str
		realm; /* whose texts they are: what one tenant has embedded tells no other one anything */
	const struct str *texts;
	size_t count;
	struct metric *cache_total; /* labels cache, result; may be NULL */
	/* After each call but the last: so many of the texts are done. false ends it with *err. May be NULL. */
	bool (*progress)(void *user, size_t done, size_t total, struct err *err);
	void *user;
};

struct embed_stats {
	size_t cached; /* texts found in the cache */
	size_t embedded; /* texts that went to the embedder; the rest were the same as others, or blank */
	size_t split; /* of them: longer than the model takes, embedded in parts */
};

/*
 * out: count vectors of unit length; all zero for a blank text. Errors of the embedder (jobs/provider/provider.h), but for
 * ERR_TOO_LARGE, which now only means that the arena cannot hold the work. *out_stats is written on failure, too.
 */
bool embed_texts(const struct embed_request *request, struct arena *arena, float *out,
		 struct embed_stats *out_stats, struct err *err);

#endif
