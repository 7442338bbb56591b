/*
 * call: one request in progress, and reading what the client sent: path, parameters, preferences, JSON.
 *
 * A handler fills call->answer through api/reply.h and returns true, or returns false with *err: the
 * dispatcher then answers the problem document. Memory of a request is its arena. One thread.
 */
#ifndef RAG_API_CALL_H
#define RAG_API_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/fields.h"
#include "common/http_server.h"
#include "common/json.h"
#include "common/key_file.h"
#include "common/ratelimit.h"
#include "common/seal.h"

#define CALL_MAX_PARAMS 2
#define CALL_REQUEST_ID_BYTES 80
#define CALL_PAGE_DEFAULT 50
#define CALL_PAGE_MAX 1000
#define CALL_IDEMPOTENCY_KEY_MAX_BYTES 255

struct route;

/* What the rate limit said of this request, for its headers. */
struct call_rate {
	bool checked; /* false: not limited, or Redis could not be asked */
	struct ratelimit limit;
	struct ratelimit_state state;
};

struct call {
	struct api *api;
	const struct http_request *http;
	const struct route *route;	    /* NULL: no route matched */
	struct str params[CALL_MAX_PARAMS]; /* decoded path segments, in order */
	struct arena arena;
	struct buf body; /* of the answer */
	struct http_answer answer;
	struct redis *redis; /* lent by the pool, see call_redis */
	char request_id[CALL_REQUEST_ID_BYTES];
	char traceparent[64]; /* "" = none */
	/* Who asks. Without keys: everybody is "anonymous" of the operators' tenant and may do everything. */
	struct api_key key; /* name, scopes, rate; its hash and hint are of no use to a handler */
	const char *tenant; /* of key, never "": all that the request touches is its */
	struct call_rate rate;
	struct seal_secret secret; /* of page tokens; see call_page_token */
	bool has_secret;
};

/* Takes over or makes the request id and the trace context. */
void call_init(struct call *call, struct api *api, const struct http_request *http);
void call_release(struct call *call);

/* A connection for the rest of the request, or until call_give_redis (before a wait). Fails at once while Redis is
 * known to be away. */
bool call_redis(struct call *call, struct redis **out, struct err *err);
void call_give_redis(struct call *call);

/* Refuses parameters that are not in the list (NULL-terminated). */
bool call_check_params(const struct call *call, const char *const *known, struct err *err);
/* "" when absent. */
bool call_param(struct call *call, const char *name, struct str *out, struct err *err);
/* The same of a word: one that is given and empty is ERR_INVALID. */
bool call_param_word(struct call *call, const char *name, struct str *out, struct err *err);
/* Whole number within the limits, or absent (*out untouched). */
bool call_param_i64(struct call *call, const char *name, int64_t min, int64_t max, int64_t *out,
		    struct err *err);
/* true, false, or absent (*out untouched). */
bool call_param_bool(struct call *call, const char *name, bool *out, struct err *err);

/* page_size, default 50, at most 1000. */
bool call_page_size(struct call *call, size_t *out, struct err *err);
/* page_token: what call_page_token_write made for the same tenant, route, path and filters; "" = first page. Every list
 * calls it before it writes a token: it gets the secret of tokens, which asks Redis. */
bool call_page_token(struct call *call, struct str filters, struct str *out, struct err *err);
/* The value of next_page_token; state "" = the end. Sealed: where a list stands may be the id of a job that the client
 * must not know of. */
void call_page_token_write(const struct call *call, struct str filters, struct str state,
			   struct jw *w);

/* The media type of the body without its parameters; empty when none was sent. */
struct str call_media_type(const struct call *call);
/* The body as a JSON object; ERR_UNSUPPORTED_MEDIA for another Content-Type. The caller frees *out. */
bool call_json(struct call *call, struct js **out, struct err *err);

struct prefer {
	int64_t wait_s; /* -1 = no preference; capped by the configuration */
	bool respond_async;
};
void call_prefer(const struct call *call, struct prefer *out);

/* Idempotency-Key, with or without quotes; "" = none. ERR_MALFORMED when empty or too long. */
bool call_idempotency_key(const struct call *call, struct str *out, struct err *err);

/* Does If-None-Match hold this entity tag (with quotes)? *out_present: the header was sent at all. */
bool call_none_match(const struct call *call, const char *etag, bool *out_present);
/* Does If-Match hold it? *out_present as above. */
bool call_if_match(const struct call *call, const char *etag, bool *out_present);

#endif
