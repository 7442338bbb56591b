#include "tests/support/raw_http.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/base/clock.h"

void
raw_close(struct raw_http *raw)
{
	if (raw->fd >= 0)
		close(raw->fd);
	raw->fd = -1;
	buf_release(&raw->in);
}

bool
raw_try_open(struct raw_http *raw, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1;

	*raw = (struct raw_http){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	buf_init(&raw->in, (size_t)64 * 1024 * 1024);
	assert_true(raw->fd >= 0);
	if (connect(raw->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
		raw_close(raw);
		return false;
	}
	setsockopt(raw->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return true;
}

void
raw_open(struct raw_http *raw, int port)
{
	assert_true(raw_try_open(raw, port));
}

bool
raw_try_send(struct raw_http *raw, const void *ptr, size_t len)
{
	const char *at = ptr;

	while (len > 0) {
		ssize_t sent = send(raw->fd, at, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		at += sent;
		len -= (size_t)sent;
	}
	return true;
}

void
raw_send(struct raw_http *raw, const char *text)
{
	raw_try_send(raw, text, strlen(text));
}

bool
raw_wait_ready(struct raw_http *raw, int ms)
{
	struct pollfd pfd = { .fd = raw->fd, .events = POLLIN };

	return poll(&pfd, 1, ms) > 0;
}

bool
raw_wait_reset(struct raw_http *raw, int ms)
{
	struct pollfd pfd = { .fd = raw->fd };

	return poll(&pfd, 1, ms) > 0;
}

/* Appends what comes; false at the end of the connection. */
static bool
receive(struct raw_http *raw)
{
	char chunk[65536];

	assert_true(raw_wait_ready(raw, RAW_PATIENCE_MS));

	ssize_t got = recv(raw->fd, chunk, sizeof(chunk), 0);

	if (got <= 0)
		return false;
	if (raw->first_recv_bytes == 0)
		raw->first_recv_bytes = (size_t)got;
	buf_add(&raw->in, chunk, (size_t)got);
	assert_true(buf_ok(&raw->in));
	return true;
}

bool
raw_header(const struct raw_reply *reply, const char *name, struct str *out)
{
	struct str rest = str_make(reply->head.data, reply->head.len), line;

	while (str_split(&rest, '\n', &line)) {
		size_t colon = 0;

		if (!str_find(line, STR(":"), &colon) ||
		    !str_eq_nocase(str_sub(line, 0, colon), str_of(name)))
			continue;
		*out = str_trim(str_sub(line, colon + 1, line.len));
		return true;
	}
	return false;
}

bool
raw_header_is(const struct raw_reply *reply, const char *name, const char *value)
{
	struct str found = { 0 };

	return raw_header(reply, name, &found) && str_eq_c(found, value);
}

static void
take(struct raw_http *raw, size_t len, struct buf *out)
{
	buf_init(out, (size_t)64 * 1024 * 1024);
	buf_add(out, raw->in.data, len);
	memmove(raw->in.data, raw->in.data + len, raw->in.len - len);
	buf_truncate(&raw->in, raw->in.len - len);
}

bool
raw_try_read(struct raw_http *raw, bool has_body, struct raw_reply *reply)
{
	struct str length = { 0 };
	int64_t status = 0;
	size_t end = 0, body = 0;

	raw_reply_release(reply);
	raw->first_recv_bytes = 0;
	while (!str_find(str_make(raw->in.data, raw->in.len), STR("\r\n\r\n"), &end)) {
		if (!receive(raw)) {
			assert_int_equal(raw->in.len, 0); /* half an answer */
			return false;
		}
	}
	take(raw, end + 4, &reply->head);
	assert_true(str_starts(str_make(reply->head.data, reply->head.len), "HTTP/1.1 "));
	assert_true(str_to_i64(str_make(reply->head.data + 9, 3), 100, 599, &status));
	reply->status = (int)status;
	if (has_body && raw_header(reply, "Content-Length", &length)) {
		int64_t bytes = 0;

		assert_true(str_to_i64(length, 0, INT64_C(1) << 30, &bytes));
		body = (size_t)bytes;
	}
	while (raw->in.len < body)
		assert_true(receive(raw));
	take(raw, body, &reply->body);
	return true;
}

void
raw_read(struct raw_http *raw, bool has_body, struct raw_reply *reply)
{
	assert_true(raw_try_read(raw, has_body, reply));
}

static void
drop(struct raw_http *raw, size_t len)
{
	memmove(raw->in.data, raw->in.data + len, raw->in.len - len);
	buf_truncate(&raw->in, raw->in.len - len);
}

enum raw_chunk
raw_read_chunk(struct raw_http *raw, struct buf *out)
{
	size_t end = 0, size = 0;

	while (!str_find(str_make(raw->in.data, raw->in.len), STR("\r\n"), &end))
		if (!receive(raw))
			return RAW_CHUNK_CUT;
	assert_in_range(end, 1, 8);
	for (size_t i = 0; i < end; i++) {
		const char *digit = strchr("0123456789abcdef", raw->in.data[i]);

		assert_non_null(digit);
		size = size * 16 + (size_t)(digit - "0123456789abcdef");
	}
	while (raw->in.len < end + 2 + size + 2)
		if (!receive(raw))
			return RAW_CHUNK_CUT;
	buf_add(out, raw->in.data + end + 2, size);
	assert_memory_equal(raw->in.data + end + 2 + size, "\r\n", 2);
	drop(raw, end + 2 + size + 2);
	return size > 0 ? RAW_CHUNK_DATA : RAW_CHUNK_LAST;
}

bool
raw_read_some(struct raw_http *raw, struct buf *out)
{
	if (raw->in.len == 0 && !receive(raw))
		return false;
	buf_add(out, raw->in.data, raw->in.len);
	drop(raw, raw->in.len);
	return true;
}

void
raw_reply_release(struct raw_reply *reply)
{
	if (reply->head.data)
		buf_release(&reply->head);
	if (reply->body.data)
		buf_release(&reply->body);
	*reply = (struct raw_reply){ 0 };
}

int
raw_ask(struct raw_http *raw, const char *text, struct raw_reply *reply)
{
	raw_send(raw, text);
	raw_read(raw, true, reply);
	return reply->status;
}

bool
raw_wait_closed(struct raw_http *raw)
{
	char byte = 0;

	if (raw->in.len > 0 || !raw_wait_ready(raw, RAW_PATIENCE_MS))
		return false;
	return recv(raw->fd, &byte, 1, 0) <= 0;
}
