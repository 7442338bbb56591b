/*
 * http_client: calls to HTTP services; the door of libcurl. One handle keeps its connections, one thread
 * at a time. Request and reply are plain data; what a reply means is the caller's business.
 *
 * Only http and https, HTTP/2 where a TLS server offers it; certificates are verified; no redirects, no cookies, no signals, no Expect. Proxies
 * come from the environment as libcurl reads it (http_proxy, https_proxy, no_proxy): list services that
 * are to be reached directly, loopback too, in no_proxy. Errors never show a URL (its query may hold a key):
 * err.cause names host and port only.
 */
#ifndef RAG_COMMON_HTTP_CLIENT_H
#define RAG_COMMON_HTTP_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

bool http_client_global_init(struct err *err); /* once, in main, before threads */
void http_client_global_release(void);

struct http_client;
bool http_client_new(const char *user_agent, struct http_client **out, struct err *err);
void http_client_free(struct http_client *client);
AUTO_PTR_DEFINE(http_client_free, struct http_client);

struct http_call {
	const char *method; /* "GET", "POST", ... */
	const char *url;
	const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
	struct str body;	    /* borrowed for the call */
	/* Optional: a body of unknown length, read as it is sent (chunked; Expect: 100-continue, so that a server can
	 * refuse it before). Writes up to `room` bytes, *out_len 0 = the end; false ends the call as ERR_CANCELLED. */
	bool (*on_read)(void *read_user, char *into, size_t room, size_t *out_len);
	void *read_user;
	int connect_timeout_ms;
	int timeout_ms; /* whole call */
	int silence_ms; /* longest time without a byte, in seconds rounded up; 0 = as timeout_ms */
	const atomic_bool *cancel; /* looked at while waiting; may be NULL -> ERR_CANCELLED */
	/* Optional: called about every 100 ms as long as the call lasts; false ends it as ERR_CANCELLED. */
	bool (*on_wait)(void *user);
	size_t max_body_bytes; /* of the reply: more is ERR_TOO_LARGE; 0 = as http_reply_init says */
	/* Optional: gets the reply's body as it comes (streams); returning false ends the call as
	 * ERR_CANCELLED. When set, http_reply.body stays empty; http_reply.status and .headers are
	 * filled before the first piece. */
	bool (*on_data)(void *user, struct str data);
	void *user; /* of on_data and on_wait */
};

struct http_reply {
	int status;
	struct buf
		body; /* owned by the caller: buf_init before, release after; cleared by each call */
	struct buf headers; /* "name: value\n" lines, names in lower case; the last answer's only */
	int64_t total_ms;
	bool send_broke; /* the connection ended before all of the body was sent: the server may not have wanted it */
	bool unreachable; /* no connection could be made at last, whatever was sent before on one that had ended (then ERR_PROTOCOL) */
	bool connected_anew; /* no connection of a call before could be used */
};

/* true for any HTTP status. ERR_CONNECT (nothing was sent: safe to repeat), ERR_TIMEOUT, ERR_PROTOCOL,
 * ERR_CANCELLED (within 100 ms), ERR_TOO_LARGE; ERR_CONFIG for a URL or a header that cannot be sent.
 * err->detail is the CURLcode. On failure reply holds what had come. */
bool http_client_run(struct http_client *client, const struct http_call *call,
		     struct http_reply *reply, struct err *err);

/* A header of the reply by lower-case name; false when absent. */
bool http_reply_header(const struct http_reply *reply, const char *name, struct str *out);
/* Retry-After as delta-seconds or HTTP date in ms from now; -1 = absent or not valid. */
int64_t http_reply_retry_after_ms(const struct http_reply *reply);

void http_reply_init(struct http_reply *reply, size_t max_body_bytes);
void http_reply_release(struct http_reply *reply);

#endif
