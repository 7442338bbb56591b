/*
 * api: calls to the engine's HTTP API: addresses, retries, and problem documents as sentences.
 *
 * A struct api belongs to one thread. Calls honour Retry-After; what may be repeated is repeated until
 * retry_ms have passed: refused connections, 429, 502, 503, 504, and anything else only when the call is
 * safe to repeat (GET, DELETE, one with an Idempotency-Key, or one marked repeatable).
 */
#ifndef RAG_CLI_API_H
#define RAG_CLI_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/http_client.h"
#include "common/json.h"

#define API_MAX_REPLY_BYTES ((size_t)64 * 1024 * 1024)

struct api {
	const struct cli *cli;	    /* borrowed */
	struct http_client *client; /* owned */
	struct http_reply reply;    /* of the last call */
	struct buf url;
	int most_ms;	  /* the most that one call may take; 0 = each call's own limit */
	int64_t retry_ms; /* how long a call may be repeated; 0 = not at all */
	const struct api_call *streaming; /* the call whose on_data is at work; borrowed */
	bool streamed;			  /* something has come */
	/* Optional: told before each wait, for the progress line. */
	void (*on_retry)(void *user, const struct err *err, int64_t wait_ms);
	void *user;
};

bool api_open(struct api *api, const struct cli *cli, struct err *err);
void api_release(struct api *api);

struct api_call {
	const char *method;
	const char *
		path; /* encoded, from "/api/v1/..." on, query included; or a whole http:// address */
	struct str body;
	bool (*on_read)(void *read_user, char *into, size_t room,
			size_t *out_len); /* as in struct http_call */
	void *read_user;
	const char *content_type;    /* NULL: application/json when there is a body */
	const char *idempotency_key; /* NULL = none */
	const char *if_none_match;   /* an ETag; NULL = none */
	const char *if_match;	     /* the same */
	bool repeatable;	     /* a POST that changes nothing the second time */
	int prefer_wait_s;	     /* 0 = none */
	int timeout_ms;		     /* 0 = 30 s, and prefer_wait_s more */
	/* An event stream: gets the body of a 2xx as it comes; false ends the call (ERR_CANCELLED). Once something has come the
	 * call is not repeated. */
	bool (*on_data)(void *user, struct str data);
	void *user;
	const char *last_event_id; /* "" or NULL = none */
	int silence_ms;		   /* 0 = as timeout_ms */
};

/* True for 2xx and 304 (api->reply holds the answer). Otherwise err says it in a sentence; err.detail is
 * the HTTP status, 0 when there was no answer. */
bool api_send(struct api *api, const struct api_call *call, struct err *err);

/* The body of the last answer as a JSON object (caller frees); one that is none is ERR_PROTOCOL. */
bool api_parse(const struct api *api, struct js **out, struct err *err);
/* Both at once. */
bool api_json(struct api *api, const struct api_call *call, struct js **out, struct err *err);
bool api_get(struct api *api, const char *path, struct js **out, struct err *err);

/* Appends a path segment or query value, percent-encoded. */
void api_add_encoded(struct buf *out, struct str text);
/* Appends "?name=value" or "&name=value"; nothing when value is NULL or empty. */
void api_add_param(struct buf *path, const char *name, const char *value);

/* Pages through a list route: calls fn for each item until it returns false or `limit` items have been
 * seen; 0 = all, API_UNPAGED = all of a route without pages. */
#define API_UNPAGED (-1)
bool api_each(struct api *api, const char *path, int64_t limit,
	      bool (*fn)(void *user, const struct js *item), void *user, struct err *err);

/* Waits, but not beyond an interrupt (ERR_CANCELLED). */
bool api_pause(int64_t ms, struct err *err);

/* What a problem document or a job's error says, as one sentence: "<detail> (field /top_k) [request id]". */
void api_problem_text(const struct js *problem, struct buf *out);

#endif
