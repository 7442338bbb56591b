/*
 * The body of a request, with a length or in chunks (RFC 9112 6 and 7). What has come together with the head
 * lies in the connection's data and is used up first; then data is read straight to where it belongs, at most
 * up to the end of the body or chunk, and the lines of the chunk framing through the window after the head.
 *
 * A body that is streamed (http_body_some) has no total time but patience: waiting spends it, bytes earn it back at the
 * minimum rate, never above its full measure. The time that the handler takes between two calls costs the client
 * nothing. Every wait ends at a moment where nothing is lost, so it may be cut into slices.
 */
#include "common/http_conn.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"

#define CHUNK_LINE_MAX 256 /* size and extensions */
#define TRAILER_MAX 64	   /* lines */

/* Makes room after the head for more lines. */
static void
slide(struct http_conn *conn)
{
	if (conn->at > conn->head_len) {
		memmove(conn->data + conn->head_len, conn->data + conn->at, conn->len - conn->at);
		conn->len -= conn->at - conn->head_len;
		conn->at = conn->head_len;
	}
}

/* A line of the chunk framing, without its CRLF, borrowed until the next read. */
static enum io
chunk_line(struct http_conn *conn, struct str *out, bool *out_bad)
{
	for (;;) {
		struct str rest = str_make(conn->data + conn->at, conn->len - conn->at);
		size_t end = 0;

		if (str_find(rest, STR("\n"), &end)) {
			*out_bad = end == 0 || rest.ptr[end - 1] != '\r' || end > CHUNK_LINE_MAX;
			*out = str_sub(rest, 0, end > 0 ? end - 1 : 0);
			conn->at += end + 1;
			return IO_OK;
		}
		if (rest.len > CHUNK_LINE_MAX) {
			*out_bad = true;
			return IO_OK;
		}
		if (conn->len == conn->cap)
			slide(conn);

		enum io io = http_conn_fill(conn, conn->body_deadline_ms, false);

		if (io != IO_OK)
			return io;
	}
}

/* "1a;name=value" -> 26 */
static bool
chunk_size(struct str line, int64_t *out)
{
	int64_t size = 0;
	size_t digits = 0;

	for (; digits < line.len; digits++) {
		char c = line.ptr[digits];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
						   : -1;

		if (digit < 0)
			break;
		if (digits == 15)
			return false;
		size = size * 16 + digit;
	}
	if (digits == 0 || (digits < line.len && !strchr("; \t", line.ptr[digits])))
		return false;
	*out = size;
	return true;
}

/* Reads framing until data is due or the body has ended. */
static enum io
chunk_advance(struct http_conn *conn, bool *out_bad)
{
	int trailers = 0;

	while (conn->chunk != CHUNK_DONE && !(conn->chunk == CHUNK_DATA && conn->left > 0)) {
		struct str line = { 0 };
		enum io io = IO_OK;

		if (conn->chunk == CHUNK_DATA) {
			conn->chunk = CHUNK_DATA_END;
			continue;
		}
		io = chunk_line(conn, &line, out_bad);
		if (io != IO_OK || *out_bad)
			return io;
		switch (conn->chunk) {
		case CHUNK_SIZE_LINE:
			*out_bad = !chunk_size(line, &conn->left);
			conn->chunk = conn->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
			break;
		case CHUNK_DATA_END:
			*out_bad = line.len > 0;
			conn->chunk = CHUNK_SIZE_LINE;
			break;
		case CHUNK_TRAILER:
			*out_bad = ++trailers > TRAILER_MAX;
			if (line.len == 0)
				conn->chunk = CHUNK_DONE;
			break;
		case CHUNK_DATA:
		case CHUNK_DONE:
			break;
		}
		if (*out_bad)
			return IO_OK;
	}
	return IO_OK;
}

/*
 * Appends some of the body to out: at most `most` bytes; *out_bad: the framing is broken. Sets
 * body_done at its end.
 */
static enum io
body_some(struct http_conn *conn, struct buf *out, size_t most, bool *out_bad)
{
	if (conn->body == BODY_CHUNKED) {
		enum io io = chunk_advance(conn, out_bad);

		if (io != IO_OK || *out_bad)
			return io;
		conn->body_done = conn->chunk == CHUNK_DONE;
	} else {
		conn->body_done = conn->left == 0;
	}
	if (conn->body_done)
		return IO_OK;

	size_t want = conn->left < (int64_t)most ? (size_t)conn->left : most;
	size_t got = conn->len - conn->at;
	enum io io = IO_OK;

	if (got > 0) {
		got = got < want ? got : want;
		buf_add(out, conn->data + conn->at, got);
		conn->at += got;
	} else {
		char *into = buf_reserve(out, want);

		/* bytes that came with the end of the time are kept: a streamed body goes on */
		io = into ? http_conn_read(conn, into, want, conn->body_deadline_ms, false, &got)
			  : IO_EOF;
		buf_commit(out, got);
	}
	conn->left -= (int64_t)got;
	conn->body_done = conn->body == BODY_LENGTH && conn->left == 0;
	return io;
}

static bool
body_fail(struct http_conn *conn, enum io io, bool bad, struct err *err)
{
	conn->body_broken = true;
	if (bad)
		return err_set(err, ERR_MALFORMED, "the chunked body is not well-formed");
	if (io == IO_TIMEOUT)
		return err_set(err, ERR_REQUEST_TIMEOUT, "the body did not arrive within %d ms",
			       conn->shared->opts.body_timeout_ms);
	return err_set(err, ERR_MALFORMED, "the connection ended before the body did");
}

static bool
body_too_large(struct http_conn *conn, size_t max_bytes, struct err *err)
{
	conn->body_broken = true;
	return err_set(err, ERR_TOO_LARGE, "the body is larger than %zu bytes", max_bytes);
}

/* 100 Continue, where the client waits for it. */
static bool
body_welcome(struct http_conn *conn, struct err *err)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	union {
		const char *in;
		void *to;
	} text = { .in = go_on };
	struct iovec part = { .iov_base = text.to, .iov_len = sizeof(go_on) - 1 };

	if (!conn->expect_pending)
		return true;
	conn->expect_pending = false;
	/* a client that did not wait for it has the body on its way */
	return conn->at < conn->len || http_conn_send(conn, &part, 1, conn->body_deadline_ms) ||
	       body_fail(conn, IO_EOF, false, err);
}

/* The whole body into out, whose max is one above the limit. */
static bool
body_read(struct http_conn *conn, size_t max_bytes, struct buf *out, struct err *err)
{
	if (conn->body_deadline_ms == 0)
		conn->body_deadline_ms = clock_mono_ms() + conn->shared->opts.body_timeout_ms;
	if (!body_welcome(conn, err))
		return false;
	while (!conn->body_done) {
		size_t room = max_bytes - out->len + 1;
		bool bad = false;
		enum io io = body_some(conn, out, room < READ_BYTES ? room : READ_BYTES, &bad);

		if (io != IO_OK || bad)
			return body_fail(conn, io, bad, err);
		if (out->len > max_bytes)
			return body_too_large(conn, max_bytes, err);
	}
	return true;
}

bool
http_body(const struct http_request *request, size_t max_bytes, struct arena *arena,
	  struct str *out_body, struct err *err)
{
	struct http_conn *conn = request->conn;
	void *copy = NULL;

	if (conn->body_kept) {
		if (conn->body_text.len > max_bytes)
			return err_set(err, ERR_TOO_LARGE, "the body is larger than %zu bytes",
				       max_bytes);
		*out_body = conn->body_text;
		return true;
	}
	if (conn->body_broken)
		return err_set(err, ERR_MALFORMED, "the body could not be read before");
	if (conn->body == BODY_LENGTH && conn->left > (int64_t)max_bytes)
		return body_too_large(conn, max_bytes, err);

	/* grown by what has come, never by what was announced */
	AUTO(buf) struct buf text = BUF_INIT(max_bytes + 1);

	if (!body_read(conn, max_bytes, &text, err) ||
	    !arena_alloc_err(arena, text.len + 1, "the body", &copy, err))
		return false;
	memcpy(copy, text.data, text.len);
	conn->body_kept = true;
	conn->body_text = str_make(copy, text.len);
	*out_body = conn->body_text;
	return true;
}

static bool
body_slow(struct http_conn *conn, const struct http_body_pace *pace, struct err *err)
{
	conn->body_broken = true;
	return err_set(err, ERR_REQUEST_TIMEOUT,
		       "the body came slower than %lld bytes a second for %lld ms",
		       (long long)pace->min_bytes_per_s, (long long)pace->patience_ms);
}

bool
http_body_some(const struct http_request *request, const struct http_body_pace *pace, int wait_ms,
	       struct buf *out, size_t most, enum http_body_event *out_event, struct err *err)
{
	struct http_conn *conn = request->conn;
	int64_t began_ms = clock_mono_ms(), slice_ms = wait_ms;
	size_t before = out->len;
	bool bad = false;
	enum io io;

	if (conn->body_broken)
		return err_set(err, ERR_MALFORMED, "the body could not be read before");
	if (!conn->body_streamed) {
		conn->body_streamed = true;
		conn->body_patience_ms = pace->patience_ms;
		conn->body_deadline_ms = began_ms + pace->patience_ms;
		if (!body_welcome(conn, err))
			return false;
	}
	if (conn->body_done) {
		*out_event = HTTP_BODY_END;
		return true;
	}
	if (slice_ms > conn->body_patience_ms)
		slice_ms = conn->body_patience_ms;
	conn->body_deadline_ms = began_ms + slice_ms;
	io = body_some(conn, out, most, &bad);
	if (bad || !buf_ok(out))
		return body_fail(conn, io, true, err);

	int64_t got = (int64_t)(out->len - before);

	conn->body_patience_ms -= clock_mono_ms() - began_ms;
	if (io == IO_TIMEOUT && got == 0) {
		*out_event = HTTP_BODY_IDLE;
		return conn->body_patience_ms > 0 || body_slow(conn, pace, err);
	}
	if (io != IO_OK && io != IO_TIMEOUT)
		return body_fail(conn, io, false, err);
	conn->body_patience_ms += got * 1000 / pace->min_bytes_per_s;
	if (conn->body_patience_ms > pace->patience_ms)
		conn->body_patience_ms = pace->patience_ms;
	if (conn->body_patience_ms <= 0 && !conn->body_done)
		return body_slow(conn, pace, err);
	*out_event = got > 0 ? HTTP_BODY_DATA : HTTP_BODY_END;
	return true;
}

bool
http_conn_drain(struct http_conn *conn)
{
	conn->body_deadline_ms = clock_mono_ms() + DRAIN_MS;
	while (!conn->body_done) {
		AUTO(buf) struct buf waste = BUF_INIT(READ_BYTES);
		bool bad = false;

		if (body_some(conn, &waste, READ_BYTES, &bad) != IO_OK || bad)
			return false;
	}
	return true;
}
