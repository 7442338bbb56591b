#include "common/http_conn.h"

#include <errno.h>
#include <poll.h>

#include <sys/socket.h>

#include "common/base/clock.h"

#define STOP_GRACE_MS 1000

enum io
http_conn_wait(struct http_conn *conn, short events, int64_t deadline_ms, bool idle)
{
	for (;;) {
		if (atomic_load(&conn->shared->stopping)) {
			if (idle)
				return IO_STOP;
			if (conn->stop_deadline_ms == 0)
				conn->stop_deadline_ms = clock_mono_ms() + STOP_GRACE_MS;
			if (deadline_ms > conn->stop_deadline_ms)
				deadline_ms = conn->stop_deadline_ms;
		}
		struct pollfd fds[2] = {
			{ .fd = conn->fd, .events = events },
			{ .fd = conn->stop_deadline_ms ? -1 : conn->shared->stop_fd,
			  .events = POLLIN },
		};
		int left = clock_left_ms(deadline_ms);
		int ready = poll(fds, 2, left);

		if (ready > 0 && fds[0].revents)
			return IO_OK;
		if (ready < 0 && errno != EINTR)
			return IO_EOF;
		if (ready <= 0 && clock_left_ms(deadline_ms) == 0)
			return IO_TIMEOUT;
	}
}

enum io
http_conn_read(struct http_conn *conn, void *into, size_t room, int64_t deadline_ms, bool idle,
	       size_t *out_got)
{
	for (;;) {
		ssize_t got = recv(conn->fd, into, room, MSG_DONTWAIT);

		if (got > 0) {
			*out_got = (size_t)got;
			/* a client that always has one more byte must not outrun the clock */
			return clock_left_ms(deadline_ms) > 0 ? IO_OK : IO_TIMEOUT;
		}
		if (got == 0)
			return IO_EOF;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return IO_EOF;

		enum io io = http_conn_wait(conn, POLLIN, deadline_ms, idle);

		if (io != IO_OK)
			return io;
	}
}

enum io
http_conn_fill(struct http_conn *conn, int64_t deadline_ms, bool idle)
{
	size_t got = 0;
	enum io io = http_conn_read(conn, conn->data + conn->len, conn->cap - conn->len,
				    deadline_ms, idle, &got);

	conn->len += got;
	return io;
}

bool
http_conn_send(struct http_conn *conn, struct iovec *parts, size_t count, int64_t deadline_ms)
{
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = count };

	while (msg.msg_iovlen > 0) {
		ssize_t sent = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				return false;

			int64_t stalled_ms = clock_mono_ms() + conn->shared->opts.body_timeout_ms;

			if (http_conn_wait(conn, POLLOUT,
					   stalled_ms < deadline_ms ? stalled_ms : deadline_ms,
					   false) != IO_OK)
				return false;
			continue;
		}
		while (msg.msg_iovlen > 0 && (size_t)sent >= msg.msg_iov->iov_len) {
			sent -= (ssize_t)msg.msg_iov->iov_len;
			msg.msg_iov++;
			msg.msg_iovlen--;
		}
		if (msg.msg_iovlen > 0) {
			msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + sent;
			msg.msg_iov->iov_len -= (size_t)sent;
		}
	}
	return true;
}
