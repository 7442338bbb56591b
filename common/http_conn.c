/*
 * One connection is served by one thread, so every wait of it is bounded by an absolute deadline:
 *
 *	IDLE	nothing of a request is there	keep_alive_ms (the first request: header_timeout_ms);
 *						then closed without a word
 *	HEAD	its first byte is there		header_timeout_ms from that byte; then 408
 *	HANDLER	the handler runs		its own business
 *	BODY	the handler asked for it	body_timeout_ms from then; ERR_REQUEST_TIMEOUT. Streamed: a minimum
 *						rate instead (http_body_some)
 *	ANSWER	one sendmsg of head and body	body_timeout_ms without a byte taken, or slower
 *						than SLOWEST_READER on the whole; then closed
 *	STREAM	an answer in pieces		as ANSWER, for each piece (http_conn_stream.c)
 *	DRAIN	what the handler left unread	DRAIN_MS and DRAIN_MAX_BYTES; then closed
 *	LINGER	after the last answer, when	DRAIN_MS, LINGER_MAX_BYTES; so the client can read the
 *		bytes are left unread		answer before a reset destroys it
 *
 * A deadline is never moved by bytes that trickle in. When the server stops, IDLE ends at once and the
 * other waits end STOP_GRACE_MS later at the latest; the handler is waited for.
 *
 * A connection ends after max_connection_requests or with the first answer after max_connection_ms, and
 * when all threads are taken already after TURN_MS: then somebody is probably waiting for this thread.
 *
 * Received bytes: data[0..head_len) is the head of the request at work (the handler's slices point into
 * it, so it does not move), data[at..len) has not been looked at: body, or the next request. Invariant:
 * after each request `at` stands on its last byte + 1, or the connection is closed; so a body that nobody
 * read is never taken for a request.
 */
#include "common/http_conn.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/json.h"

#define WINDOW_BYTES ((size_t)4096) /* room for chunk headers and data after the head */
#define ANSWER_HEAD_MAX ((size_t)16 * 1024)
#define LINGER_MAX_BYTES ((int64_t)256 * 1024 * 1024)
#define TURN_MS 100
#define IDLE_SLICE_MS 50
#define SLOWEST_READER 64 /* bytes per millisecond that a client must take of an answer */

/* ---- answers ---- */

/* IMF-fixdate of RFC 9110 5.6.7, whatever the locale, and without the lock of gmtime_r. */
static void
add_date(struct buf *out)
{
	static const char days[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	int64_t now_ms = clock_unix_ms();
	char iso[CLOCK_ISO_BYTES];

	clock_format_iso(iso, now_ms); /* 2026-11-23T07:00:00.123Z */

	int month = (iso[5] - '0') * 10 + (iso[6] - '0') - 1;

	buf_printf(out, "Date: %s, %.2s %s %.4s %.8s GMT\r\n", days[now_ms / 86400000 % 7], iso + 8,
		   months[month], iso, iso + 11);
}

/* Whatever a caller put into it, a value stays on its line. */
static void
add_field(struct buf *out, const char *name, const char *value)
{
	buf_add_str(out, name);
	buf_add_str(out, ": ");
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c >= 0x20 && *c != 0x7f)
			buf_add_char(out, *c);
	buf_add_str(out, "\r\n");
}

/* True when the rest of the body may be read away after the answer instead of closing. */
static bool
is_drainable(const struct http_conn *conn)
{
	if (conn->body_done)
		return true;
	return conn->body == BODY_LENGTH && !conn->body_broken && !conn->expect_pending &&
	       conn->left <= DRAIN_MAX_BYTES;
}

/* Decides about the connection's future; called once per request. */
static bool
is_last(const struct http_conn *conn)
{
	const struct http_server_opts *opts = &conn->shared->opts;
	int64_t age_ms = clock_mono_ms() - conn->start_ms;

	if (!conn->head.keep_alive || opts->keep_alive_ms <= 0 || !is_drainable(conn))
		return true;
	if (atomic_load(&conn->shared->stopping) ||
	    conn->requests >= opts->max_connection_requests || age_ms >= opts->max_connection_ms)
		return true;
	return age_ms >= TURN_MS && atomic_load(&conn->shared->busy) >= opts->threads;
}

static bool
has_body(const struct http_answer *answer)
{
	return answer->status >= 200 && answer->status != 204 && answer->status != 304;
}

bool
http_conn_head(struct http_conn *conn, const struct http_answer *answer, const char *framing,
	       struct buf *out)
{
	conn->answered = true;
	conn->close = conn->close || answer->close || is_last(conn);
	buf_reserve(out, 512);
	buf_printf(out, "HTTP/1.1 %d %s\r\n", answer->status, http_status_text(answer->status));
	add_date(out);
	if (has_body(answer) && answer->content_type)
		add_field(out, "Content-Type", answer->content_type);
	buf_add_str(out, framing);
	add_field(out, "Connection", conn->close ? "close" : "keep-alive");
	for (size_t i = 0; i < answer->header_count; i++)
		add_field(out, answer->headers[i].name, answer->headers[i].value);
	buf_add_str(out, "\r\n");
	if (buf_ok(out))
		return true;
	conn->close = true; /* 24 values of 255 bytes fit: only absurd names get here */
	return false;
}

static void
send_answer(struct http_conn *conn, const struct http_answer *answer)
{
	bool send_body = has_body(answer) && !str_eq(conn->head.method, STR("HEAD"));
	AUTO(buf) struct buf head = BUF_INIT(ANSWER_HEAD_MAX);
	char length[48] = "";

	if (has_body(answer))
		(void)snprintf(length, sizeof(length), "Content-Length: %zu\r\n", answer->body.len);
	if (!http_conn_head(conn, answer, length, &head))
		return;

	struct iovec parts[2] = { { .iov_base = head.data, .iov_len = head.len } };
	size_t count = 1;

	if (send_body && answer->body.len > 0) {
		union {
			const char *in;
			void *out;
		} body = { .in = answer->body.ptr }; /* iovec knows no const */

		parts[count++] =
			(struct iovec){ .iov_base = body.out, .iov_len = answer->body.len };
	}
	int64_t deadline_ms = clock_mono_ms() + conn->shared->opts.body_timeout_ms +
			      (int64_t)(answer->body.len / SLOWEST_READER);

	if (!http_conn_send(conn, parts, count, deadline_ms))
		conn->close = true;
}

/* A problem document (RFC 9457) of the server's own. */
static void
send_problem(struct http_conn *conn, int status, enum err_code code, const char *detail)
{
	const struct err_info *info = err_info(code);
	AUTO(buf) struct buf body = BUF_INIT(2048);
	struct http_answer answer;
	struct jw w = jw_start(&body);
	char id[4 + ID_ULID_BYTES] = "req_";

	id_ulid(id + 4);
	jw_obj(&w);
	jw_kcstr(&w, "type", "about:blank");
	jw_kcstr(&w, "title", info->http_status == status ? info->title : http_status_text(status));
	jw_kint(&w, "status", status);
	jw_kcstr(&w, "detail", detail);
	jw_kcstr(&w, "code", info->wire);
	jw_kcstr(&w, "request_id", id);
	jw_kbool(&w, "retryable", info->retryable);
	jw_end(&w);
	http_answer_init(&answer, status);
	answer.content_type = "application/problem+json";
	answer.body = str_make(body.data, body.len);
	answer.close = true;
	http_answer_header(&answer, "Cache-Control", "no-store");
	http_answer_header(&answer, "X-Request-Id", "%s", id);
	send_answer(conn, &answer);
}

/* ---- the public rest ---- */

bool
http_header(const struct http_request *request, const char *name, struct str *out)
{
	return http_head_field(&request->conn->head, name, out);
}

void
http_answer_send(const struct http_request *request, const struct http_answer *answer)
{
	if (!request->conn->answered)
		send_answer(request->conn, answer);
}

bool
http_peer_alive(const struct http_request *request)
{
	struct pollfd pfd = { .fd = request->conn->fd, .events = POLLRDHUP };

	return poll(&pfd, 1, 0) <= 0 || !(pfd.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

/* ---- the life of a connection ---- */

static void
grow(struct http_conn *conn, size_t cap)
{
	if (cap > conn->cap) {
		conn->data = mem_grow(conn->data, cap, 1);
		conn->cap = cap;
	}
}

/* Empty lines before a request are skipped (RFC 9112 2.2). */
static void
skip_empty_lines(struct http_conn *conn)
{
	size_t skip = 0;

	while (conn->len - skip >= 2 && memcmp(conn->data + skip, "\r\n", 2) == 0)
		skip += 2;
	if (skip > 0) {
		memmove(conn->data, conn->data + skip, conn->len - skip);
		conn->len -= skip;
	}
}

/* Waits for the first byte of the next request; false: close without a word. */
static bool
wait_request(struct http_conn *conn)
{
	const struct http_server_opts *opts = &conn->shared->opts;
	int64_t deadline_ms = clock_mono_ms() +
			      (conn->requests == 0 ? opts->header_timeout_ms : opts->keep_alive_ms);

	for (;;) {
		int64_t slice_ms = clock_mono_ms() + IDLE_SLICE_MS;
		bool last = conn->requests == 0 || slice_ms >= deadline_ms;
		enum io io = http_conn_wait(conn, POLLIN, last ? deadline_ms : slice_ms, true);

		if (io == IO_OK)
			io = http_conn_fill(conn, deadline_ms, true);

		skip_empty_lines(conn);
		if (conn->len > 0)
			return true;
		if (io == IO_EOF || io == IO_STOP || clock_left_ms(deadline_ms) == 0)
			return false;
		/* somebody needs the thread more than an idle client */
		if (conn->requests > 0 && clock_mono_ms() - conn->start_ms >= TURN_MS &&
		    atomic_load(&conn->shared->busy) >= opts->threads)
			return false;
	}
}

/* Reads the next head into data[0..head_len); false: the connection ends (the answer is sent). */
static bool
read_head(struct http_conn *conn)
{
	const struct http_server_opts *opts = &conn->shared->opts;
	size_t scanned = 0, max = opts->max_header_bytes;

	grow(conn, WINDOW_BYTES);
	skip_empty_lines(conn);
	if (conn->len == 0 && !wait_request(conn))
		return false;

	int64_t deadline_ms = clock_mono_ms() + opts->header_timeout_ms;

	if (conn->requests == 0 && deadline_ms > conn->start_ms + opts->header_timeout_ms)
		deadline_ms = conn->start_ms + opts->header_timeout_ms;
	for (;;) {
		enum http_head_scan scan =
			http_head_scan(conn->data, conn->len, &scanned, &conn->head_len);

		if (scan == HTTP_HEAD_BAD) {
			send_problem(conn, 400, ERR_MALFORMED, "a line that does not end in CRLF");
			return false;
		}
		if (scan == HTTP_HEAD_DONE && conn->head_len == 2) {
			skip_empty_lines(conn); /* its CR and LF came apart */
			scanned = 0;
			continue;
		}
		if (scan == HTTP_HEAD_DONE && conn->head_len <= max)
			return true;
		if (scan == HTTP_HEAD_DONE || conn->len >= max) {
			send_problem(conn, 431, ERR_HEADERS_TOO_LARGE,
				     "request line and headers are too large");
			return false;
		}
		if (conn->len == conn->cap)
			grow(conn, conn->cap * 2 < max ? conn->cap * 2 : max + WINDOW_BYTES);

		enum io io = http_conn_fill(conn, deadline_ms, false);

		if (io == IO_TIMEOUT)
			send_problem(conn, 408, ERR_REQUEST_TIMEOUT,
				     "the headers did not arrive in time");
		if (io != IO_OK)
			return false;
	}
}

static void
begin_request(struct http_conn *conn)
{
	/* room for a chunked body; afterwards data stays where it is until the next request */
	grow(conn, conn->head_len + WINDOW_BYTES);
	memset(&conn->head, 0, sizeof(conn->head));
	conn->at = conn->head_len;
	conn->requests++;
	conn->body = BODY_NONE;
	conn->chunk = CHUNK_SIZE_LINE;
	conn->left = 0;
	conn->body_deadline_ms = 0;
	conn->body_streamed = false;
	conn->body_done = conn->body_broken = conn->body_kept = false;
	conn->expect_pending = conn->answered = conn->close = false;
	conn->stream = STREAM_NONE;
}

static void
answer_asterisk(struct http_conn *conn)
{
	struct http_answer answer;

	http_answer_init(&answer, 204);
	http_answer_header(&answer, "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
	send_answer(conn, &answer);
}

/* One request with its head in place; false: it was the last one. */
static bool
serve_request(struct http_conn *conn)
{
	const struct http_head *head = &conn->head;
	struct err err = ERR_INIT;

	begin_request(conn);
	if (!http_head_parse(conn->data, conn->head_len, &conn->head, &err)) {
		send_problem(conn, err.detail, err.code, err.msg);
		return false;
	}
	if (head->chunked)
		conn->body = BODY_CHUNKED;
	else if (head->content_length > 0)
		conn->body = BODY_LENGTH;
	conn->left = conn->body == BODY_LENGTH ? head->content_length : 0;
	conn->body_done = conn->body == BODY_NONE;
	conn->expect_pending = head->expect_continue;

	struct http_request request = {
		.method = head->method,
		.path = head->path,
		.query = head->query,
		.remote = str_of(conn->remote),
		.content_length = head->content_length,
		.has_body = conn->body != BODY_NONE,
		.conn = conn,
	};

	if (str_eq(head->path, STR("*")))
		answer_asterisk(conn);
	else
		conn->shared->opts.handler(&request, conn->shared->opts.user);
	if (!conn->answered)
		send_problem(conn, 500, ERR_INTERNAL, "the request was not answered");
	if (conn->stream == STREAM_OPEN) /* no end: the client must be able to tell */
		conn->close = true;
	return !conn->close && http_conn_drain(conn);
}

/*
 * Closes so that the client can read the last answer: a close with unread bytes would send a reset,
 * and a reset makes the peer's kernel throw away what it has received.
 */
static void
linger(struct http_conn *conn)
{
	int pending = 0;
	int64_t deadline_ms = clock_mono_ms() + DRAIN_MS, left = LINGER_MAX_BYTES;
	size_t got = 0;

	shutdown(conn->fd, SHUT_WR);
	ioctl(conn->fd, FIONREAD, &pending);
	if (conn->answered && (pending > 0 || conn->at < conn->len || !conn->body_done)) {
		char *waste = mem_alloc(READ_BYTES);

		while (left > 0 &&
		       http_conn_read(conn, waste, READ_BYTES, deadline_ms, false, &got) == IO_OK)
			left -= (int64_t)got;
		mem_free(waste);
	}
	shutdown(conn->fd, SHUT_RDWR);
}

void
http_conn_serve(struct http_shared *shared, int fd, const char *remote)
{
	/* on the heap: it has room for 100 fields, and threads' stacks stay resident */
	struct http_conn *conn = mem_alloc(sizeof(*conn));

	*conn = (struct http_conn){
		.shared = shared, .fd = fd, .remote = remote, .start_ms = clock_mono_ms()
	};
	atomic_fetch_add(&shared->busy, 1);
	while (read_head(conn) && serve_request(conn)) {
		memmove(conn->data, conn->data + conn->at, conn->len - conn->at);
		conn->len -= conn->at;
		conn->at = 0;
		conn->head_len = 0;
		conn->answered = false;
		conn->head.method = (struct str){ 0 };
	}
	linger(conn);
	atomic_fetch_sub(&shared->busy, 1);
	mem_free(conn->data);
	mem_free(conn);
}
