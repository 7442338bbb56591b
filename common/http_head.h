/*
 * http_head: the head of an HTTP/1 request, from bytes to a checked structure. Pure: no socket, no
 * clock, no allocation.
 *
 * Strict where leniency would let two readers of the same bytes disagree (request smuggling, RFC
 * 9112 11.2): lines end in CRLF, no folded lines, no blank before a colon, one Host, one length.
 * All slices borrow from the bytes given. Thread-safe.
 */
#ifndef RAG_COMMON_HTTP_HEAD_H
#define RAG_COMMON_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define HTTP_HEAD_MAX_FIELDS 100

struct http_field {
	struct str name, value; /* value without blanks at its ends */
};

struct http_head {
	struct str method;
	struct str path;  /* raw; begins with '/', or is "*" of OPTIONS */
	struct str query; /* raw, without '?' */
	bool http_1_0;
	bool keep_alive; /* what the client wishes */
	bool chunked;
	bool expect_continue;
	int64_t content_length; /* -1 = none given */
	size_t field_count;
	struct http_field fields[HTTP_HEAD_MAX_FIELDS];
};

enum http_head_scan { HTTP_HEAD_MORE, HTTP_HEAD_DONE, HTTP_HEAD_BAD };

/* Looks for the end of the head (the empty line). *at is where the last call stopped (0 at first);
 * *out_len on DONE: bytes of the head with its empty line. BAD: a line that does not end in CRLF. */
enum http_head_scan http_head_scan(const char *data, size_t len, size_t *at, size_t *out_len);

/* data: a whole head as found by http_head_scan. On failure err->detail is the HTTP status to
 * answer: 400, 417, 431 or 505. */
bool http_head_parse(const char *data, size_t len, struct http_head *out, struct err *err);

/* The first field of that name, any case; false when absent. */
bool http_head_field(const struct http_head *head, const char *name, struct str *out);

#endif
