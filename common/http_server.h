/*
 * http_server: a listener that hands each request to one function; the door of civetweb.
 *
 * civetweb listens and keeps one thread per open connection; its traps, and the answers, are the essay of
 * http_server.c. What a client meets: total deadlines for headers and body (408), at most N requests and
 * T ms per connection (then "Connection: close"; 100 ms when all threads are taken), Content-Length
 * together with Transfer-Encoding or twice refused (400), 100 header fields and max_header_bytes (431),
 * Expect: 100-continue answered before the body is read, bodies capped (413), one write per answer, no
 * files, no directory listings, no CGI, no TLS (put a proxy in front). What is refused before a handler sees
 * it is a problem document, and closes.
 * Paths come undecoded ("//" and ".." are left as they are); http_path_decode does one segment. Absolute
 * targets are cut to their path; "OPTIONS *" is answered here; any method token reaches the handler.
 * The handler is called on the connection's thread, for many requests at once.
 */
#ifndef RAG_COMMON_HTTP_SERVER_H
#define RAG_COMMON_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

struct http_server;
struct http_conn; /* one connection, valid during one handler call */

struct http_request {
	struct str method;	/* "GET" */
	struct str path;	/* raw, percent-encoded, begins with '/' */
	struct str query;	/* raw, after '?'; empty = none */
	struct str remote;	/* address of the peer, text */
	int64_t content_length; /* -1 = none given (no body, or chunked) */
	bool has_body;
	struct http_conn *conn;
};

/* The handler writes exactly one answer with http_answer (or a stream) before it returns; if it did not,
 * the server answers 500. */
typedef void (*http_handler)(const struct http_request *request, void *user);

struct http_server_opts {
	const char
		*listen; /* "127.0.0.1:8000", "[::1]:8000", "0.0.0.0:8000", port 0 = any free one */
	const char *name; /* for messages: "api", "metrics" */
	int threads;
	int header_timeout_ms, body_timeout_ms;
	int keep_alive_ms; /* 0 = no keep-alive */
	int max_connection_requests, max_connection_ms;
	size_t max_header_bytes; /* request line and headers */
	http_handler handler;
	void *user;
};

bool http_server_start(const struct http_server_opts *opts, struct http_server **out,
		       struct err *err);
int http_server_port(const struct http_server *server); /* the bound one */
/* Stops accepting, closes idle connections, lets requests in progress end (a body that is still coming, or
 * an answer that is not taken, has one more second), joins all threads. */
void http_server_stop(struct http_server *server); /* NULL is fine */

/* Splits "host:port" (IPv6 in brackets); ERR_CONFIG. *out_loopback: 127.0.0.0/8, ::1 or localhost. */
bool http_listen_parse(const char *listen, char host[256], int *out_port, bool *out_loopback,
		       struct err *err);

/* ---- request ---- */

/* Header by name, any case; false when absent. Borrowed for the call. */
bool http_header(const struct http_request *request, const char *name, struct str *out);

/* The whole body, at most max_bytes (ERR_TOO_LARGE, ERR_REQUEST_TIMEOUT for a trickled one,
 * ERR_MALFORMED for a cut one; the connection then closes after the answer). Sends "100 Continue" first when
 * asked for. Arena memory of the first call (its cap must allow it), so several calls give the same body. A body
 * that is not asked for is read away or the connection closed: it is never taken for a request. */
bool http_body(const struct http_request *request, size_t max_bytes, struct arena *arena,
	       struct str *out_body, struct err *err);

/* A body that is read as it comes, whatever its size; not together with http_body. */
struct http_body_pace {
	int64_t min_bytes_per_s; /* at least 1 */
	int64_t patience_ms; /* a client may be silent for so long, or slower than that by as much */
};
enum http_body_event {
	HTTP_BODY_DATA, /* something was appended */
	HTTP_BODY_IDLE, /* nothing came within wait_ms; ask again */
	HTTP_BODY_END	/* the whole body has been read */
};

/*
 * Appends at most `most` bytes to out (whose max must allow them), waiting up to wait_ms for the first of them. Only the
 * time of these calls counts against the client. Answers Expect: 100-continue. ERR_REQUEST_TIMEOUT for a client that is
 * too slow, ERR_MALFORMED for a cut body; the connection then closes after the answer. A caller that stops in the middle
 * sets answer.close.
 */
bool http_body_some(const struct http_request *request, const struct http_body_pace *pace,
		    int wait_ms, struct buf *out, size_t most, enum http_body_event *out_event,
		    struct err *err);

/* A query parameter, decoded into the arena; *out_found false when absent. ERR_MALFORMED for bad encoding, ERR_INVALID
 * (pointer "/<name>") when given twice. */
bool http_param(const struct http_request *request, const char *name, struct arena *arena,
		bool *out_found, struct str *out, struct err *err);
/* Calls fn for each parameter name, so that unknown ones can be refused; stops when fn returns false. */
bool http_each_param(const struct http_request *request, struct arena *arena,
		     bool (*fn)(void *user, struct str name, struct err *err), void *user,
		     struct err *err);

/* Percent-decodes one path segment; ERR_MALFORMED for bad escapes, NUL, or text that is not UTF-8. */
bool http_path_decode(struct str raw, struct arena *arena, struct str *out, struct err *err);

/* ---- answer ---- */

#define HTTP_MAX_ANSWER_HEADERS 24

struct http_answer {
	int status;
	const char *content_type; /* NULL when there is no body */
	struct str body;
	struct {
		const char *name;
		char value[256];
	} headers[HTTP_MAX_ANSWER_HEADERS];
	size_t header_count;
	bool close; /* close the connection afterwards */
};

void http_answer_init(struct http_answer *answer, int status);
/* Control characters in the value are dropped: no header injection. */
void http_answer_header(struct http_answer *answer, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* One write: status line, Date, Content-Length, Connection, the headers, the body (none for HEAD, 204, 304). */
void http_answer_send(const struct http_request *request, const struct http_answer *answer);

/*
 * An answer that is written piece by piece (http_conn_stream.c): to HTTP/1.1 in chunks, to HTTP/1.0 until the connection
 * closes. Of the answer given to begin only status, content_type, headers and close count. A client that takes nothing for
 * body_timeout_ms, or has gone, makes the write fail; the handler then returns. Without an end (or after a failure) the
 * connection is closed in a way that an HTTP/1.1 client can tell from an end.
 */
/* false: nothing is to be written (the client is gone; HEAD: the headers were all). */
bool http_stream_begin(const struct http_request *request, const struct http_answer *answer);
/* Sent at once, before it returns. */
bool http_stream_write(const struct http_request *request, struct str data);
bool http_stream_end(const struct http_request *request);

/* True while the peer has not closed, or half closed (for waits). */
bool http_peer_alive(const struct http_request *request);

const char *http_status_text(int status);

#endif
