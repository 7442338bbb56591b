/*
 * fuzz_http: any bytes as all that a client sends on one connection: heads, bodies with a length or in chunks, one
 * request after the other. The connection itself runs, over recv, sendmsg and poll of this file (linked with --wrap).
 * However the bytes are cut into pieces, the same requests must reach the handler, and the answers be well-formed.
 * The first byte decides the pieces.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "common/http_conn.h"
#include "tests/fuzz/fuzz.h"

#define BODY_MAX ((size_t)4096)

ssize_t __wrap_recv(int fd, void *into, size_t room, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

/* the client's end */
static struct {
	const uint8_t *data;
	size_t size, at, piece;
	struct buf answers;
	struct buf seen; /* what the handler was given */
	size_t requests;
} wire;

ssize_t
__wrap_recv(int fd, void *into, size_t room, int flags)
{
	size_t got = wire.size - wire.at;

	(void)fd;
	(void)flags;
	got = got < room ? got : room;
	got = got < wire.piece ? got : wire.piece;
	if (got > 0)
		memcpy(into, wire.data + wire.at, got);
	wire.at += got;
	return (ssize_t)got;
}

ssize_t
__wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	size_t sent = 0;

	(void)fd;
	(void)flags;
	for (size_t i = 0; i < msg->msg_iovlen && sent < wire.piece; i++) {
		size_t part = msg->msg_iov[i].iov_len;

		part = part < wire.piece - sent ? part : wire.piece - sent;
		buf_add(&wire.answers, msg->msg_iov[i].iov_base, part);
		sent += part;
	}
	return (ssize_t)sent;
}

int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	(void)timeout_ms;
	for (nfds_t i = 0; i < count; i++)
		fds[i].revents = (short)(i == 0 ? fds[i].events : 0);
	return 1;
}

static void
handle(const struct http_request *request, void *user)
{
	AUTO(arena) struct arena arena;
	struct http_answer answer;
	struct err err = ERR_INIT;
	struct str body = { 0 };

	(void)user;
	wire.requests++;
	arena_init(&arena, MIB);
	buf_printf(&wire.seen, "[" STR_FMT " " STR_FMT " " STR_FMT "] ", STR_ARG(request->method),
		   STR_ARG(request->path), STR_ARG(request->query));
	http_answer_init(&answer, 200);
	answer.content_type = "text/plain";
	answer.body = STR("done");
	if (!str_starts(request->path, "/skip")) {
		if (http_body(request, BODY_MAX, &arena, &body, &err)) {
			must(body.len <= BODY_MAX, "a body is no longer than allowed");
			must(!request->has_body || request->content_length < 0 ||
				     (int64_t)body.len == request->content_length,
			     "a body has its length");
			must(request->has_body || body.len == 0,
			     "no body where none was announced");
			buf_add(&wire.seen, body.ptr, body.len);
		} else {
			must(err.code == ERR_MALFORMED || err.code == ERR_TOO_LARGE ||
				     err.code == ERR_REQUEST_TIMEOUT,
			     "refused with a reason");
			buf_printf(&wire.seen, "(%s)", err_info(err.code)->wire);
			answer.status = err_info(err.code)->http_status;
		}
	}
	http_answer_header(&answer, "X-Echo", STR_FMT, STR_ARG(str_sub(request->query, 0, 100)));
	http_answer_send(request, &answer);
}

static void
serve(const uint8_t *data, size_t size, size_t piece)
{
	struct http_shared shared = {
		.opts = { .threads = 4,
			  .header_timeout_ms = 600000,
			  .body_timeout_ms = 600000,
			  .keep_alive_ms = 600000,
			  .max_connection_requests = 20,
			  .max_connection_ms = 600000,
			  .max_header_bytes = 2048,
			  .handler = handle },
		.stop_fd = -1,
	};

	wire.data = data;
	wire.size = size;
	wire.at = wire.requests = 0;
	wire.piece = piece;
	buf_init(&wire.answers, 4 * MIB);
	buf_init(&wire.seen, 4 * MIB);
	http_conn_serve(&shared, -1, "192.0.2.1");
	must(buf_ok(&wire.answers) && buf_ok(&wire.seen), "answers are bounded by what was asked");
}

/* A whole answer at the front of rest; its length. */
static size_t
answer_length(struct str rest)
{
	struct str head;
	size_t end = 0, at = 0, line = 0;
	uint64_t length = 0;

	must(str_starts(rest, "HTTP/1.1 "), "an answer begins with its status");
	must(str_find(rest, STR("\r\n\r\n"), &end), "an answer has a head");
	head = str_sub(rest, 0, end + 2);
	must(!memchr(head.ptr, '\0', head.len), "a head is text");
	if (str_find(head, STR("\r\nContent-Length: "), &at)) {
		at += strlen("\r\nContent-Length: ");
		must(str_find(str_sub(head, at, head.len), STR("\r\n"), &line) &&
			     str_to_u64(str_sub(head, at, at + line), &length),
		     "a length is a number");
	}
	return end + 4 + length;
}

/* An answer to HEAD has a length but no body: such inputs are not walked. */
static void
check_answers(void)
{
	struct str rest = text_of(&wire.answers),
		   input = str_make((const char *)wire.data, wire.size);
	size_t count = 0, at = 0;

	if (str_find(input, STR("HEAD"), &at))
		return;
	for (; rest.len > 0; count++) {
		size_t length = answer_length(rest);

		must(length <= rest.len, "an answer is whole");
		rest = str_sub(rest, length, rest.len);
	}
	must(count >= wire.requests, "every request is answered");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = 1 + take_byte(&data, &size) % 64;
	struct buf seen, answers;
	size_t requests;

	if (size > (size_t)64 * 1024)
		return 0;
	serve(data, size, MIB);
	check_answers();
	seen = wire.seen;
	answers = wire.answers;
	requests = wire.requests;
	serve(data, size, piece);
	check_answers();
	must(requests == wire.requests && str_eq(text_of(&seen), text_of(&wire.seen)),
	     "the same requests, however the bytes come");
	buf_release(&seen);
	buf_release(&answers);
	buf_release(&wire.seen);
	buf_release(&wire.answers);
	return 0;
}
