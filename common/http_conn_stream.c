/*
 * An answer whose end is not known when it begins. To an HTTP/1.1 client it goes out in chunks (RFC 9112 7.1), one a
 * write, and the connection may be kept; to an HTTP/1.0 client as it is, and its end is that of the connection.
 *
 *	begin -> OPEN --end--> ENDED
 *		   |  a write that fails, or a handler that returns without end
 *		   v
 *		 BROKEN: the connection is closed without the last chunk, so a client can tell
 *
 * A client that does not read: a write fails when no byte was taken for body_timeout_ms, as with whole answers; the
 * kernel holds at most STREAM_SEND_BYTES for it, so that the stall is noticed, and memory bounded. A client that is gone
 * without a word (no FIN, no RST) is noticed by the kernel after the same time (TCP_USER_TIMEOUT), once something is written.
 */
#include "common/http_conn.h"

#include <stdio.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/base/auto.h"
#include "common/base/clock.h"

#define STREAM_SEND_BYTES (64 * 1024)
#define STREAM_HEAD_MAX ((size_t)16 * 1024)
#define SLOWEST_READER 64 /* bytes per millisecond that a client must take on the whole */

static bool
send_parts(struct http_conn *conn, struct iovec *parts, size_t count, size_t bytes)
{
	int64_t deadline_ms = clock_mono_ms() + conn->shared->opts.body_timeout_ms +
			      (int64_t)(bytes / SLOWEST_READER);

	if (http_conn_send(conn, parts, count, deadline_ms))
		return true;
	conn->stream = STREAM_BROKEN;
	conn->close = true;
	return false;
}

bool
http_stream_begin(const struct http_request *request, const struct http_answer *answer)
{
	struct http_conn *conn = request->conn;
	AUTO(buf) struct buf head = BUF_INIT(STREAM_HEAD_MAX);
	unsigned timeout_ms = (unsigned)conn->shared->opts.body_timeout_ms;
	int bytes = STREAM_SEND_BYTES;

	if (conn->answered)
		return false;
	conn->stream_chunked = !conn->head.http_1_0;
	if (!conn->stream_chunked)
		conn->close = true;
	if (!http_conn_head(conn, answer,
			    conn->stream_chunked ? "Transfer-Encoding: chunked\r\n" : "", &head))
		return false;
	/* best effort: without them only the bounds are larger */
	(void)setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));

	struct iovec part = { .iov_base = head.data, .iov_len = head.len };

	conn->stream = STREAM_OPEN;
	if (!send_parts(conn, &part, 1, head.len))
		return false;
	if (str_eq(conn->head.method, STR("HEAD")))
		conn->stream = STREAM_ENDED;
	return conn->stream == STREAM_OPEN;
}

bool
http_stream_write(const struct http_request *request, struct str data)
{
	struct http_conn *conn = request->conn;
	union {
		const char *in;
		void *out;
	} body = { .in = data.ptr }, end = { .in = "\r\n" };
	char size[24];

	if (conn->stream != STREAM_OPEN)
		return false;
	if (data.len == 0) /* an empty chunk would be the last one */
		return true;

	int len = snprintf(size, sizeof(size), "%zx\r\n", data.len);
	struct iovec parts[3] = {
		{ .iov_base = size, .iov_len = (size_t)len },
		{ .iov_base = body.out, .iov_len = data.len },
		{ .iov_base = end.out, .iov_len = 2 },
	};

	return conn->stream_chunked ? send_parts(conn, parts, 3, data.len)
				    : send_parts(conn, parts + 1, 1, data.len);
}

bool
http_stream_end(const struct http_request *request)
{
	struct http_conn *conn = request->conn;
	union {
		const char *in;
		void *out;
	} last = { .in = "0\r\n\r\n" };
	struct iovec part = { .iov_base = last.out, .iov_len = 5 };

	if (conn->stream != STREAM_OPEN)
		return conn->stream == STREAM_ENDED;
	if (conn->stream_chunked && !send_parts(conn, &part, 1, part.iov_len))
		return false;
	conn->stream = STREAM_ENDED;
	return true;
}
