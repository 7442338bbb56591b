/*
 * remote: one exchange with the server of a provider: within the fleet's limits and the job's deadline, cancelled within a fraction of
 * a second, repeated where that helps, counted. A provider builds the body of a request and reads the body of a reply; everything
 * between is here.
 *
 * An instance belongs to one slot (one thread). It has one HTTP client of its own: connections live on between calls, HTTP/2 is used
 * where the server offers it (TLS only). Key and body of a request never show in an error.
 *
 * What is repeated within one remote_run, at most provider.attempts times: limits whose wait is no longer than provider.max_wait_ms,
 * outages, 500s, broken or cut replies, and replies that `read` refuses with ERR_PROVIDER_REPLY. Never repeated: what the server
 * will refuse again, and a stream of which text was passed on (remote_told). A longer wait is ERR_PROVIDER_LIMITED with
 * err.retry_after_ms: the job waits in the queue.
 */
#ifndef RAG_JOBS_PROVIDER_REMOTE_H
#define RAG_JOBS_PROVIDER_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/config.h"
#include "jobs/provider/fault.h"
#include "jobs/provider/provider.h"
#include "jobs/spec/choice.h"

#define REMOTE_MAX_REPLY_BYTES ((size_t)64 * 1024 * 1024)

enum remote_kind { REMOTE_EMBED, REMOTE_RERANK, REMOTE_GENERATE };

enum remote_auth {
	REMOTE_BEARER, /* Authorization: Bearer <key> */
	REMOTE_GOOGLE, /* x-goog-api-key: <key> */
};

struct remote_opts {
	const struct endpoint *at; /* borrows from the configuration, which outlives the instance */
	const struct config *config;
	enum remote_kind kind;
	enum remote_auth auth; /* without a key nothing is sent */
};

/* What one exchange cost, as the reply says; -1 = it does not (then the request's estimate counts). */
struct remote_used {
	int64_t tokens_in, tokens_out;
	int64_t search_units;
};

struct remote_request {
	const char *path;	/* after the base URL: "/embeddings"; without secrets */
	const char *method;	/* NULL = POST */
	struct str body;	/* JSON; borrowed */
	int64_t tokens;		/* estimate of what counts against tokens per minute, 0 = nothing */
	int64_t requests;	/* what it counts as against requests per minute; 0 = 1 */
	size_t max_reply_bytes; /* 0 = REMOTE_MAX_REPLY_BYTES; a longer reply is ERR_PROVIDER_REPLY */
	/*
	 * Reads a success: the whole body; for a stream "" at its end, when it says whether it was complete. May be called again for the
	 * next attempt. ERR_PROVIDER_REPLY = garbage, try again; anything else is passed on as it is.
	 */
	bool (*read)(void *user, struct str body, struct remote_used *used, struct err *err);
	/* A stream: its bytes as they come (successes only). NULL = the body is read whole. Fails like read. */
	bool (*piece)(void *user, struct str bytes, struct err *err);
	/* About every 100 ms of waiting, for the server or for a limit; false ends the call with *err. May be NULL. */
	bool (*wait)(void *user, struct err *err);
	/* Before each attempt: forget what was read of the one before. May be NULL. */
	void (*restart)(void *user);
	void *user;
};

struct remote;
bool remote_new(const struct remote_opts *opts, struct remote **out, struct err *err);
void remote_free(struct remote *remote); /* NULL is fine */
AUTO_PTR_DEFINE(remote_free, struct remote);

/*
 * ERR_PROVIDER_LIMITED, _UNAVAILABLE, _QUOTA, _REJECTED, _REPLY; ERR_TIMEOUT (the server took the request and did not answer in time);
 * ERR_TOO_LARGE (err.detail, provider.h); ERR_CANCELLED, ERR_DEADLINE; ERR_REDIS_UNAVAILABLE where limits are counted; what the
 * request's own functions say. remote_fault tells more.
 */
bool remote_run(struct remote *remote, const struct provider_call *call,
		const struct remote_request *request, struct err *err);

/* Of the last attempt of the last remote_run: class FAULT_NONE when it was no answer of the server that made it fail. */
const struct fault *remote_fault(const struct remote *remote);

/* To be called by `piece` or `read` when text is passed on to whoever follows the job: from here on the attempt is not repeated. The
 * first call of a run is the time to the first token in the metrics. */
void remote_told(struct remote *remote);

#endif
