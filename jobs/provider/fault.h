/*
 * fault: what an answer of a provider that is no success means: wait, try again, send less, leave a field out, or give up. One
 * table for all providers, by status, headers and body; error bodies are read in every form that servers are known to send (Gemini's
 * details, OpenAI's error object, a plain string, TEI's flat form, FastAPI's detail, HTML, nothing at all).
 *
 * Pure but for the clock, which a Retry-After with a date needs. Nobody else decides what a status of a provider means.
 */
#ifndef RAG_JOBS_PROVIDER_FAULT_H
#define RAG_JOBS_PROVIDER_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/http_client.h"

#define FAULT_FIELD_BYTES 32
#define FAULT_MESSAGE_BYTES 256

enum fault_class {
	FAULT_NONE,    /* 2xx */
	FAULT_LIMITED, /* a minute's quota, too many at once: nobody calls before retry_after_ms */
	FAULT_OUTAGE,  /* the server is away or overloaded: 502, 503, 504, 529 */
	FAULT_FAILED, /* this request failed and may work later: 408, 425, 500, ...; it may be the request's own fault */
	FAULT_QUOTA, /* a day's or a month's quota, no money: waiting a minute is no use */
	FAULT_BATCH, /* too many texts, or too many bytes: send fewer; batch_limit, where the server says it */
	FAULT_TEXT,	/* one text is longer than the model takes */
	FAULT_FIELD,	/* the server does not take this field: leave it out */
	FAULT_REJECTED, /* anything else: the same request will never work */
};

struct fault {
	enum fault_class class;
	int status;		/* HTTP; 0 = none came */
	int64_t retry_after_ms; /* as the server says; -1 = it does not */
	bool is_access;		/* no key, no right, no such model: all other calls will fail too */
	size_t batch_limit;	/* FAULT_BATCH: texts in one call; 0 = not said */
	char field[FAULT_FIELD_BYTES]; /* FAULT_FIELD: its name as the server writes it */
	char message
		[FAULT_MESSAGE_BYTES]; /* the server's own words, one line, keys masked; "" = none that can be shown */
	char excerpt
		[FAULT_MESSAGE_BYTES]; /* for operators: the begin of a body that is no known form of error */
};

/* reply: its status and headers; body: as far as it was read. key: masked where it appears; may be "". */
void fault_of_reply(const struct http_reply *reply, struct str body, const char *key,
		    struct fault *out);

/* An error that came inside a stream that had begun as a success: {"error": ...}. */
void fault_of_event(struct str json, const char *key, struct fault *out);

/*
 * Fills err, returns false: ERR_PROVIDER_LIMITED (retry_after_ms, -1 when not said), _UNAVAILABLE, _QUOTA, _REJECTED (also for a
 * field), ERR_PROVIDER_REPLY for FAULT_FAILED, ERR_TOO_LARGE with err.detail TOO_LARGE_BATCH or TOO_LARGE_TEXT. Else err.detail is
 * the status.
 */
bool fault_to_err(const struct fault *fault, const char *provider, struct err *err);

/* The server does not take `field`, and its bit was not set in *without: it is now, and the request is worth sending again without it. */
bool fault_leave_out(const struct fault *fault, const char *field, unsigned bit, unsigned *without);

/* When a reply (a success too) says that nothing is left of a limit: ms until there is again; else -1. x-ratelimit-remaining-* and
 * -reset-*, whose values are durations as Go writes them ("6m0s", "12ms"). */
int64_t fault_ratelimit_reset_ms(const struct http_reply *reply);

/* "1h2m3.5s", "12ms", "0.84s", "26s"; at most a hundred days. */
bool fault_parse_duration(struct str text, int64_t *out_ms);

/* Copies one line of text, cut to fit, with what looks like a key, and `key` itself, masked as "***". */
void fault_redact(struct str text, const char *key, char *out, size_t out_bytes);

#endif
