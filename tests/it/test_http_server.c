/*
 * The server of common/http_server.h over real sockets: every finding about civetweb that the essay of
 * http_server.c lists has its test here. Time limits of a server under test are small, patience of the
 * client is large: a slow machine makes these tests slow, not red.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/http_server.h"
#include "tests/support/raw_http.h"

#define LONG_MS 60000

/* what the handler has seen */
static atomic_int handled;
static atomic_bool peer_left, has_remote;
static sem_t entered, leave;

static void
answer_text(const struct http_request *request, int status, struct str text)
{
	struct http_answer answer;

	http_answer_init(&answer, status);
	answer.content_type = "text/plain";
	answer.body = text;
	http_answer_send(request, &answer);
}

/* Reads the body with a limit and gives it back, or the status of the failure and its text. */
static void
answer_body(const struct http_request *request, size_t max_bytes)
{
	struct arena arena;
	struct err err = ERR_INIT;
	struct str body = { 0 }, again = { 0 };

	arena_init(&arena, (size_t)32 * 1024 * 1024);
	if (!http_body(request, max_bytes, &arena, &body, &err)) {
		answer_text(request, err_info(err.code)->http_status, str_of(err.msg));
	} else {
		bool same =
			http_body(request, max_bytes, &arena, &again, &err) && str_eq(body, again);

		answer_text(request, same ? 200 : 500, body);
	}
	arena_release(&arena);
}

static void
answer_injection(const struct http_request *request)
{
	struct http_answer answer;

	http_answer_init(&answer, 200);
	http_answer_header(&answer, "X-Echo", "%s", "one\r\nX-Evil: two\r\n\r\nbody");
	http_answer_header(&answer, "X-Direct", "%s", "");
	memcpy(answer.headers[1].value, "a\r\nX-Evil: b", 13);
	http_answer_send(request, &answer);
}

static void
wait_for_peer_to_leave(const struct http_request *request)
{
	sem_post(&entered);
	for (int64_t end = clock_mono_ms() + RAW_PATIENCE_MS; clock_mono_ms() < end;) {
		if (!http_peer_alive(request)) {
			atomic_store(&peer_left, true);
			sem_post(&leave);
			return;
		}
	}
	sem_post(&leave);
}

static void
handler(const struct http_request *request, void *user)
{
	char text[1024];
	struct str found = { 0 };

	(void)user;
	atomic_fetch_add(&handled, 1);
	atomic_store(&has_remote, str_eq(request->remote, STR("127.0.0.1")));
	if (str_eq(request->path, STR("/echo"))) {
		answer_body(request, (size_t)16 * 1024 * 1024);
	} else if (str_eq(request->path, STR("/cap"))) {
		answer_body(request, 1000);
	} else if (str_eq(request->path, STR("/inject"))) {
		answer_injection(request);
	} else if (str_eq(request->path, STR("/peer"))) {
		wait_for_peer_to_leave(request);
	} else if (str_eq(request->path, STR("/hold"))) {
		sem_post(&entered);
		sem_wait(&leave);
		answer_text(request, 200, STR("held"));
	} else if (str_eq(request->path, STR("/large"))) {
		static char zeros[32 * 1024 * 1024];

		answer_text(request, 200, str_make(zeros, sizeof(zeros)));
	} else if (str_eq(request->path, STR("/empty"))) {
		answer_text(request, 204, STR("no body belongs here"));
	} else if (!str_eq(request->path, STR("/silent"))) {
		http_header(request, "x-test", &found);
		(void)snprintf(text, sizeof(text), "%.*s|%.*s|%.*s|%.*s|%lld|%d",
			       STR_ARG(request->method), STR_ARG(request->path),
			       STR_ARG(request->query), STR_ARG(found),
			       (long long)request->content_length, request->has_body);
		answer_text(request, 200, str_of(text));
	}
}

static struct http_server_opts
defaults(void)
{
	return (struct http_server_opts){ .listen = "127.0.0.1:0",
					  .name = "test",
					  .threads = 4,
					  .header_timeout_ms = LONG_MS,
					  .body_timeout_ms = LONG_MS,
					  .keep_alive_ms = LONG_MS,
					  .max_connection_requests = 1000000,
					  .max_connection_ms = LONG_MS,
					  .max_header_bytes = 8192,
					  .handler = handler };
}

static struct http_server *
start(struct http_server_opts opts)
{
	struct http_server *server = NULL;
	struct err err = ERR_INIT;

	if (!http_server_start(&opts, &server, &err))
		fail_msg("%s", err.msg);
	atomic_store(&handled, 0);
	assert_true(http_server_port(server) > 0);
	return server;
}

/* One request on a connection of its own; the server must close it when `closes`. */
static int
ask_once(const struct http_server *server, const char *text, bool closes, struct raw_reply *reply)
{
	struct raw_http raw;

	raw_open(&raw, http_server_port(server));
	raw_ask(&raw, text, reply);
	if (closes) {
		assert_true(raw_header_is(reply, "Connection", "close"));
		assert_true(raw_wait_closed(&raw));
	}
	raw_close(&raw);
	return reply->status;
}

static void
assert_problem(const struct raw_reply *reply, const char *code)
{
	struct str body = str_make(reply->body.data, reply->body.len);
	char want[64];
	size_t at = 0;

	assert_true(raw_header_is(reply, "Content-Type", "application/problem+json"));
	(void)snprintf(want, sizeof(want), "\"code\":\"%s\"", code);
	assert_true(str_find(body, str_of(want), &at));
	(void)snprintf(want, sizeof(want), "\"status\":%d,", reply->status);
	assert_true(str_find(body, str_of(want), &at));
}

static void
assert_body(const struct raw_reply *reply, const char *want)
{
	assert_string_equal(reply->body.data, want);
}

/* ---- requests and answers ---- */

static void
test_requests(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };

	(void)state;
	assert_int_equal(ask_once(server,
				  "GET /a%2Fb?x=1&y HTTP/1.1\r\nHost: h\r\nX-Test:  v \r\n\r\n",
				  false, &reply),
			 200);
	assert_body(&reply, "GET|/a%2Fb|x=1&y|v|-1|0");
	assert_true(atomic_load(&has_remote));
	assert_true(raw_header_is(&reply, "Connection", "keep-alive"));
	assert_int_equal(ask_once(server, "BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n", false, &reply),
			 200);
	assert_body(&reply, "BREW|/pot|||-1|0");
	assert_int_equal(ask_once(server, "GET //x/../y HTTP/1.1\r\nHost: h\r\n\r\n", false,
				  &reply),
			 200);
	assert_body(&reply, "GET|//x/../y|||-1|0");
	assert_int_equal(ask_once(server, "GET http://h:80/a?b HTTP/1.1\r\nHost: h\r\n\r\n", false,
				  &reply),
			 200);
	assert_body(&reply, "GET|/a|b||-1|0");
	assert_int_equal(ask_once(server, "GET HTTP://h HTTP/1.1\r\nHost: h\r\n\r\n", false,
				  &reply),
			 200);
	assert_body(&reply, "GET|/|||-1|0");
	assert_int_equal(ask_once(server, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", false, &reply),
			 204);
	assert_true(raw_header(&reply, "Allow", &(struct str){ 0 }));
	assert_int_equal(ask_once(server, "GET /empty HTTP/1.1\r\nHost: h\r\n\r\n", false, &reply),
			 204);
	assert_false(raw_header(&reply, "Content-Length", &(struct str){ 0 }));
	assert_int_equal(ask_once(server, "GET /silent HTTP/1.1\r\nHost: h\r\n\r\n", true, &reply),
			 500);
	assert_problem(&reply, "INTERNAL");
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_http_1_0(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	assert_int_equal(ask_once(server, "GET /x HTTP/1.0\r\n\r\n", true, &reply), 200);
	assert_body(&reply, "GET|/x|||-1|0");
	raw_open(&raw, http_server_port(server));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(raw_ask(&raw, "GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
					 &reply),
				 200);
		assert_true(raw_header_is(&reply, "Connection", "keep-alive"));
	}
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_head_has_length_but_no_body(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\nGET /y HTTP/1.1\r\nHost: h\r\n\r\n");
	raw_read(&raw, false, &reply);
	assert_int_equal(reply.status, 200);
	assert_true(raw_header_is(&reply, "Content-Length", "14"));
	raw_read(&raw, true, &reply); /* begins right after the head */
	assert_body(&reply, "GET|/y|||-1|0");
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_pipelined(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw,
		 "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
		 "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
		 "\r\n\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "2;ext=1\r\nde\r\n1\r\nf\r\n0\r\nTrailer: x\r\n\r\n"
		 "GET /4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	raw_read(&raw, true, &reply);
	assert_body(&reply, "GET|/1|||-1|0");
	raw_read(&raw, true, &reply);
	assert_body(&reply, "abc");
	raw_read(&raw, true, &reply);
	assert_body(&reply, "def");
	raw_read(&raw, true, &reply);
	assert_body(&reply, "GET|/4|||-1|0");
	assert_true(raw_wait_closed(&raw));
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_header_injection_is_impossible(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };

	(void)state;
	assert_int_equal(ask_once(server, "GET /inject HTTP/1.1\r\nHost: h\r\n\r\n", false, &reply),
			 200);
	assert_false(raw_header(&reply, "X-Evil", &(struct str){ 0 }));
	assert_true(raw_header_is(&reply, "X-Echo", "oneX-Evil: twobody"));
	assert_true(raw_header_is(&reply, "X-Direct", "aX-Evil: b"));
	assert_int_equal(reply.body.len, 0);
	raw_reply_release(&reply);
	http_server_stop(server);
}

/* Head and body arrive together, without waiting for each other. */
static void
test_answer_is_one_write(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;
	int slow = 0;

	(void)state;
	raw_open(&raw, http_server_port(server));
	for (int i = 0; i < 201; i++) {
		int64_t start_us = clock_mono_us();

		assert_int_equal(raw_ask(&raw, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", &reply), 200);
		/* Nagle's algorithm against delayed acknowledgement costs 40 ms each time, a busy
		 * machine now and then */
		slow += clock_mono_us() - start_us >= 35000;
		assert_int_equal(raw.first_recv_bytes, reply.head.len + reply.body.len);
	}
	assert_true(slow < 100);
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_date(void **state)
{
	static const char *const cases[][2] = {
		{ "2026-11-23T09:00:07Z", "Mon, 23 Nov 2026 09:00:07 GMT" },
		{ "1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ "2024-02-29T23:59:59.999Z", "Thu, 29 Feb 2024 23:59:59 GMT" },
	};
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t now_ms = 0;

		assert_true(clock_parse_iso(str_of(cases[i][0]), &now_ms));
		clock_set_for_test(-1, now_ms);
		ask_once(server, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", false, &reply);
		clock_set_for_test(-1, -1);
		assert_true(raw_header_is(&reply, "Date", cases[i][1]));
	}
	raw_reply_release(&reply);
	http_server_stop(server);
}

/* A client that takes nothing of a large answer does not keep the thread. */
static void
test_slow_reader(void **state)
{
	struct http_server_opts opts = defaults();
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	opts.threads = 1;
	opts.body_timeout_ms = 300;
	struct http_server *server = start(opts);

	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(ask_once(server, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", false, &reply),
			 200);
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_large_answer(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;
	size_t len = (size_t)8 * 1024 * 1024;
	char *body = malloc(len);

	(void)state;
	assert_non_null(body);
	for (size_t i = 0; i < len; i++)
		body[i] = (char)('a' + i % 23);
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n");
	assert_true(raw_try_send(&raw, body, len));
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 200);
	assert_int_equal(reply.body.len, len);
	assert_memory_equal(reply.body.data, body, len);
	raw_close(&raw);
	free(body);
	raw_reply_release(&reply);
	http_server_stop(server);
}

/* ---- what is refused ---- */

static void
test_refused_heads(void **state)
{
	static const struct {
		const char *text;
		int status;
		const char *code;
	} cases[] = {
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: "
		  "chunked\r\n\r\n",
		  400, "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: "
		  "4\r\n\r\nabcd",
		  400, "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\ncontent-length: "
		  "3\r\n\r\nabc",
		  400, "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400,
		  "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3x\r\n\r\nabc", 400,
		  "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", 400,
		  "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 400,
		  "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nabc", 400,
		  "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
		  400, "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400,
		  "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 400,
		  "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
		  "chunked\r\n\r\n0\r\n\r\n",
		  400, "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
		  "MALFORMED_REQUEST" },
		{ "GET /x HTTP/1.1\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET /x HTTP/1.1\r\nHost : a\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET /x HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET /x HTTP/1.1\nHost: a\n\n", 400, "MALFORMED_REQUEST" },
		{ "GET /x HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "G@T /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "GET /x\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "\x16\x03\x01\x02\r\n\r\n", 400, "MALFORMED_REQUEST" },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "MALFORMED_REQUEST" },
		{ "POST /x HTTP/1.1\r\nHost: h\r\nExpect: magic\r\nContent-Length: 3\r\n\r\nabc",
		  417, "MALFORMED_REQUEST" },
	};
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = ask_once(server, cases[i].text, true, &reply);

		if (status != cases[i].status)
			fail_msg("case %zu: %d instead of %d", i, status, cases[i].status);
		assert_problem(&reply, cases[i].code);
	}
	assert_int_equal(atomic_load(&handled), 0);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_oversized_heads(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	AUTO(buf) struct buf text = BUF_INIT(1 << 20);

	(void)state;
	buf_add_str(&text, "GET /x HTTP/1.1\r\nHost: h\r\nX-Big: ");
	for (int i = 0; i < 20000; i++)
		buf_add_char(&text, 'x');
	buf_add_str(&text, "\r\n\r\n");
	assert_int_equal(ask_once(server, text.data, true, &reply), 431);
	assert_problem(&reply, "HEADERS_TOO_LARGE");

	/* more fields than civetweb would look at: none is dropped in silence */
	for (int count = 60; count <= 140; count += 40) {
		buf_clear(&text);
		buf_add_str(&text, "GET /x HTTP/1.1\r\nHost: h\r\n");
		for (int i = 0; i < count; i++)
			buf_printf(&text, "X-%d: 1\r\n", i);
		buf_add_str(&text, "X-Test: last\r\n\r\n");
		assert_int_equal(ask_once(server, text.data, false, &reply),
				 count < 100 ? 200 : 431);
		if (count < 100)
			assert_body(&reply, "GET|/x||last|-1|0");
	}
	raw_reply_release(&reply);
	http_server_stop(server);
}

/* ---- bodies ---- */

static void
test_expect_continue(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
		       "3\r\n\r\n");
	raw_read(&raw, true, &reply); /* before a byte of the body was sent */
	assert_int_equal(reply.status, 100);
	raw_send(&raw, "abc");
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 200);
	assert_body(&reply, "abc");
	/* announced too large: the final answer comes instead of the invitation */
	raw_send(&raw, "POST /cap HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
		       "2000\r\n\r\n");
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 413);
	assert_true(raw_wait_closed(&raw));
	raw_close(&raw);
	/* a handler that does not want the body: no 100, and the connection cannot go on */
	assert_int_equal(
		ask_once(server,
			 "POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
			 "9\r\n\r\n",
			 true, &reply),
		200);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_body_limits(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;
	char block[4096];

	(void)state;
	memset(block, 'x', sizeof(block));
	/* by announcement: nothing of it needs to be sent */
	assert_int_equal(
		ask_once(server,
			 "POST /cap HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n",
			 true, &reply),
		413);
	/* exactly at the limit, then one more, in chunks */
	for (int extra = 0; extra <= 1; extra++) {
		raw_open(&raw, http_server_port(server));
		raw_send(&raw, "POST /cap HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
			       "chunked\r\n\r\n3e8\r\n");
		raw_try_send(&raw, block, 1000);
		raw_send(&raw, extra ? "\r\n1\r\nx\r\n0\r\n\r\n" : "\r\n0\r\n\r\n");
		raw_read(&raw, true, &reply);
		assert_int_equal(reply.status, extra ? 413 : 200);
		raw_close(&raw);
	}
	/* a client that sends and sends in spite of it still reads the answer, and is cut off */
	raw_open(&raw, http_server_port(server));
	raw_send(&raw,
		 "POST /cap HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n");
	for (int i = 0; i < 256; i++)
		if (!raw_try_send(&raw, block, sizeof(block)))
			break;
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 413);
	for (int64_t end = clock_mono_ms() + RAW_PATIENCE_MS;
	     raw_try_send(&raw, block, sizeof(block));)
		assert_true(clock_mono_ms() < end);
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

/*
 * The answer to a body that nobody reads is not followed by a reset at once. The server waits a second for
 * the client; one of five times must be enough for a slow machine to see it.
 */
static void
test_close_is_orderly(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	AUTO(buf) struct buf text = BUF_INIT(1 << 20);
	int orderly = 0;

	(void)state;
	buf_add_str(&text, "POST /cap HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
	for (int i = 0; i < 128 * 1024; i++)
		buf_add_char(&text, 'x');
	for (int i = 0; i < 5 && !orderly; i++) {
		struct raw_http raw;

		raw_open(&raw, http_server_port(server));
		assert_true(raw_try_send(&raw, text.data, text.len));
		raw_read(&raw, true, &reply);
		assert_int_equal(reply.status, 413);
		assert_true(raw_wait_closed(&raw));
		orderly += !raw_wait_reset(&raw, 20);
		raw_close(&raw);
	}
	assert_true(orderly);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_broken_chunks(void **state)
{
	static const char *const bodies[] = {
		"x\r\n",	 "-1\r\n",	 "0x2\r\nab\r\n0\r\n\r\n", "1\r\nabc\r\n0\r\n\r\n",
		"\r\n0\r\n\r\n", "2\nab\n0\n\n", "ffffffffffffffffff\r\n", "2 ab\r\n5 \r\nzzzz"
	};
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		raw_open(&raw, http_server_port(server));
		raw_send(&raw,
			 "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
		raw_send(&raw, bodies[i]);
		shutdown(raw.fd, SHUT_WR);
		raw_read(&raw, true, &reply);
		if (reply.status != 400)
			fail_msg("case %zu: %d", i, reply.status);
		assert_true(raw_wait_closed(&raw));
		raw_close(&raw);
	}
	/* cut in the middle of a body with a length */
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
	shutdown(raw.fd, SHUT_WR);
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 400);
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

/* A body that nobody reads is never the next request. */
static void
test_unread_body(void **state)
{
	static const char hidden[] = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http raw;
	AUTO(buf) struct buf text = BUF_INIT(1 << 16);

	(void)state;
	raw_open(&raw, http_server_port(server));
	buf_printf(&text, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s",
		   strlen(hidden), hidden);
	buf_add_str(&text, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(raw_ask(&raw, text.data, &reply), 200);
	raw_read(&raw, true, &reply);
	assert_body(&reply, "GET|/next|||-1|0");
	raw_close(&raw);

	buf_clear(&text);
	buf_printf(&text,
		   "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
		   "chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
		   strlen(hidden), hidden);
	assert_int_equal(ask_once(server, text.data, true, &reply), 200);
	assert_body(&reply, "POST|/x|||-1|1");
	assert_int_equal(atomic_load(&handled), 3);
	raw_reply_release(&reply);
	http_server_stop(server);
}

/* ---- clients that hold on ---- */

static void
test_limits_of_a_connection(void **state)
{
	struct http_server_opts opts = defaults();
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	opts.max_connection_requests = 3;
	struct http_server *server = start(opts);

	raw_open(&raw, http_server_port(server));
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(raw_ask(&raw, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", &reply), 200);
		assert_true(raw_header_is(&reply, "Connection", i < 3 ? "keep-alive" : "close"));
	}
	assert_true(raw_wait_closed(&raw));
	raw_close(&raw);
	http_server_stop(server);

	opts = defaults();
	opts.max_connection_ms = 100;
	server = start(opts);
	raw_open(&raw, http_server_port(server));
	int64_t end = clock_mono_ms() + RAW_PATIENCE_MS;

	do {
		assert_int_equal(raw_ask(&raw, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", &reply), 200);
		assert_true(clock_mono_ms() < end);
	} while (raw_header_is(&reply, "Connection", "keep-alive"));
	assert_true(raw_wait_closed(&raw));
	raw_close(&raw);
	http_server_stop(server);

	opts = defaults();
	opts.keep_alive_ms = 0;
	server = start(opts);
	assert_int_equal(ask_once(server, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", true, &reply), 200);
	raw_reply_release(&reply);
	http_server_stop(server);
}

struct busy_client {
	int port;
	atomic_int answers;
	atomic_bool stop;
	pthread_t thread;
};

/* Asks without a pause, on one connection as long as it lasts. */
static void *
busy(void *arg)
{
	struct busy_client *client = arg;
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	raw_open(&raw, client->port);
	while (!atomic_load(&client->stop)) {
		raw_send(&raw, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
		bool answered = raw_try_read(&raw, true, &reply);

		if (answered)
			atomic_fetch_add(&client->answers, 1);
		if (!answered || raw_header_is(&reply, "Connection", "close")) {
			raw_close(&raw);
			raw_open(&raw, client->port);
		}
	}
	raw_close(&raw);
	raw_reply_release(&reply);
	return NULL;
}

/* As many busy keep-alive clients as threads, and one and a half times as many again. */
static void
test_more_clients_than_threads(void **state)
{
	struct http_server *server = start(defaults()); /* no limit helps: only the fair turn */
	struct busy_client clients[10] = { 0 };
	int64_t end = clock_mono_ms() + RAW_PATIENCE_MS;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		clients[i].port = http_server_port(server);
		pthread_create(&clients[i].thread, NULL, busy, &clients[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		while (atomic_load(&clients[i].answers) < 5 && clock_mono_ms() < end)
			poll(NULL, 0, 1);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		atomic_store(&clients[i].stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		pthread_join(clients[i].thread, NULL);
		assert_true(atomic_load(&clients[i].answers) >= 5);
	}
	http_server_stop(server);
}

/* Clients that keep all threads by doing nothing; a healthy one comes afterwards. */
static void
test_idle_clients_give_way(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http idle[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++) {
		raw_open(&idle[i], http_server_port(server));
		assert_int_equal(raw_ask(&idle[i], "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", &reply),
				 200);
	}
	assert_int_equal(ask_once(server, "GET /healthy HTTP/1.1\r\nHost: h\r\n\r\n", false,
				  &reply),
			 200);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		raw_close(&idle[i]);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_idle_connections_are_cut(void **state)
{
	struct http_server_opts opts = defaults();
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	opts.header_timeout_ms = 150;
	opts.keep_alive_ms = 100;
	struct http_server *server = start(opts);

	raw_open(&raw, http_server_port(server)); /* not a byte */
	assert_true(raw_wait_closed(&raw));
	raw_close(&raw);
	raw_open(&raw, http_server_port(server)); /* one request, then silence */
	if (raw_ask(&raw, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", &reply) == 200)
		assert_true(raw_wait_closed(&raw));
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

/* Sends text byte by byte for ever, a byte every few ms, until the server answers or closes. */
static bool
trickle_until_cut(struct raw_http *raw, const char *text)
{
	int64_t end = clock_mono_ms() + RAW_PATIENCE_MS;

	for (size_t i = 0; clock_mono_ms() < end; i++) {
		char byte = text[i % strlen(text)];

		if (!raw_try_send(raw, &byte, 1) || raw_wait_ready(raw, 10))
			return true;
	}
	return false;
}

static void
test_trickled_headers_are_cut(void **state)
{
	struct http_server_opts opts = defaults();
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	opts.header_timeout_ms = 200;
	struct http_server *server = start(opts);

	for (int second = 0; second <= 1; second++) { /* on a fresh and on a kept connection */
		raw_open(&raw, http_server_port(server));
		if (second)
			assert_int_equal(raw_ask(&raw, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
						 &reply),
					 200);
		raw_send(&raw, "GET /x HTTP/1.1\r\n");
		assert_true(trickle_until_cut(&raw, "X-Slow: 1\r\n"));
		raw_read(&raw, true, &reply);
		assert_int_equal(reply.status, 408);
		assert_problem(&reply, "REQUEST_TIMEOUT");
		raw_close(&raw);
	}
	raw_open(&raw, http_server_port(server)); /* empty lines are no way around it */
	assert_true(trickle_until_cut(&raw, "\r\n"));
	raw_close(&raw);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_trickled_bodies_are_cut(void **state)
{
	static const char *const heads[] = {
		"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
	};
	struct http_server_opts opts = defaults();
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	opts.body_timeout_ms = 200;
	struct http_server *server = start(opts);

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		raw_open(&raw, http_server_port(server));
		raw_send(&raw, heads[i]);
		assert_true(trickle_until_cut(&raw, "1\r\nx\r\n"));
		raw_read(&raw, true, &reply);
		assert_int_equal(reply.status, 408);
		raw_close(&raw);
	}
	raw_reply_release(&reply);
	http_server_stop(server);
}

struct attackers {
	struct raw_http raw[16];
	int port;
	atomic_bool stop;
};

/* More slow clients than threads, of all three kinds; those that were cut come again. */
static void *
attack(void *arg)
{
	struct attackers *attackers = arg;
	static const char *const begin[] = {
		"",
		"GET /x HTTP/1.1\r\nX-Slow: ",
		"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(attackers->raw); i++)
		attackers->raw[i].fd = -1;
	while (!atomic_load(&attackers->stop)) {
		for (size_t i = 0; i < ARRAY_SIZE(attackers->raw); i++) {
			struct raw_http *raw = &attackers->raw[i];

			if (raw->fd < 0) {
				raw_open(raw, attackers->port);
				raw_send(raw, begin[i % ARRAY_SIZE(begin)]);
			} else if ((i % 3 > 0 && !raw_try_send(raw, "x", 1)) ||
				   raw_wait_ready(raw, 0)) {
				raw_close(raw);
			}
		}
		poll(NULL, 0, 10);
	}
	for (size_t i = 0; i < ARRAY_SIZE(attackers->raw); i++)
		raw_close(&attackers->raw[i]);
	return NULL;
}

static void
test_healthy_client_among_attackers(void **state)
{
	static struct attackers attackers;
	struct http_server_opts opts = defaults();
	struct raw_reply reply = { 0 };
	pthread_t thread;

	(void)state;
	opts.header_timeout_ms = 100;
	opts.body_timeout_ms = 100;
	struct http_server *server = start(opts);

	attackers.port = http_server_port(server);
	pthread_create(&thread, NULL, attack, &attackers);
	int64_t end = clock_mono_ms() + RAW_PATIENCE_MS;

	while (atomic_load(&handled) == 0 && clock_mono_ms() < end)
		poll(NULL, 0, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask_once(server, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", false,
					  &reply),
				 200);
	atomic_store(&attackers.stop, true);
	pthread_join(thread, NULL);
	raw_reply_release(&reply);
	http_server_stop(server);
}

static void
test_peer_alive(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_http raw;

	(void)state;
	atomic_store(&peer_left, false);
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /peer HTTP/1.1\r\nHost: h\r\n\r\n");
	sem_wait(&entered);
	assert_false(atomic_load(&peer_left));
	raw_close(&raw);
	sem_wait(&leave);
	assert_true(atomic_load(&peer_left));
	http_server_stop(server);
}

/* ---- start and stop ---- */

static void *
stop_server(void *server)
{
	http_server_stop(server);
	return NULL;
}

static void
test_stop(void **state)
{
	struct http_server *server = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http idle, fresh, half, held;
	pthread_t thread;

	(void)state;
	raw_open(&idle, http_server_port(server));
	assert_int_equal(raw_ask(&idle, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", &reply), 200);
	raw_open(&fresh, http_server_port(server));
	raw_open(&half, http_server_port(server));
	raw_send(&half, "GET /x HTTP/1.1\r\n");
	raw_open(&held, http_server_port(server));
	raw_send(&held, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	sem_wait(&entered);

	pthread_create(&thread, NULL, stop_server, server);
	assert_true(raw_wait_closed(&idle)); /* although its keep-alive has a minute left */
	assert_true(raw_wait_closed(&fresh));
	sem_post(&leave);
	raw_read(&held, true, &reply); /* the request in progress is answered */
	assert_body(&reply, "held");
	assert_true(raw_header_is(&reply, "Connection", "close"));
	pthread_join(thread, NULL);
	raw_close(&idle);
	raw_close(&fresh);
	raw_close(&half);
	raw_close(&held);
	raw_reply_release(&reply);
}

static void
test_start_failures(void **state)
{
	struct http_server_opts opts = defaults();
	struct http_server *server = start(opts), *other = NULL;
	struct err err = ERR_INIT;
	char listen[64];
	size_t at = 0;

	(void)state;
	(void)snprintf(listen, sizeof(listen), "127.0.0.1:%d", http_server_port(server));
	opts.listen = listen;
	assert_false(http_server_start(&opts, &other, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_true(str_find(str_of(err.msg), str_of(listen), &at));
	assert_true(str_find(str_of(err.msg), STR("Address already in use"), &at));
	http_server_stop(server);
	server = start(opts); /* free again at once */
	http_server_stop(server);

	opts.listen = "203.0.113.1:0";
	assert_false(http_server_start(&opts, &other, &err));
	assert_true(str_find(str_of(err.msg), STR("Cannot assign requested address"), &at));
	opts.listen = "no port";
	assert_false(http_server_start(&opts, &other, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	opts.listen = "localhost:0";
	server = start(opts);
	http_server_stop(server);
	assert_null(other);
	http_server_stop(NULL);

	opts.listen = "[::1]:0"; /* a civetweb with IPv6 listens, one without says so */
	if (http_server_start(&opts, &server, &err)) {
		http_server_stop(server);
	} else {
		assert_int_equal(err.code, ERR_CONFIG);
		assert_true(str_find(str_of(err.msg), STR("IPv6"), &at) ||
			    str_find(str_of(err.msg), STR("::1"), &at));
	}
}

/* Two servers of one process (the API and its monitor) do not mix up their connections. */
static void
test_two_servers(void **state)
{
	struct http_server *one = start(defaults()), *two = start(defaults());
	struct raw_reply reply = { 0 };
	struct raw_http a, b;

	(void)state;
	raw_open(&a, http_server_port(one));
	raw_open(&b, http_server_port(two));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(raw_ask(&a, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", &reply), 200);
		assert_body(&reply, "GET|/a|||-1|0");
		assert_int_equal(raw_ask(&b, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", &reply), 200);
		assert_body(&reply, "GET|/b|||-1|0");
	}
	http_server_stop(one);
	assert_true(raw_wait_closed(&a));
	assert_int_equal(raw_ask(&b, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", &reply), 200);
	raw_close(&a);
	raw_close(&b);
	raw_reply_release(&reply);
	http_server_stop(two);
}

/* Resident memory of this process in KiB. */
static long
resident_kib(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	struct str rest, size, resident = { 0 };
	int64_t pages = 0;
	char line[128];

	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	(void)fclose(file);
	rest = str_of(line);
	assert_true(str_split(&rest, ' ', &size) && str_split(&rest, ' ', &resident));
	assert_true(str_to_i64(resident, 1, INT64_MAX, &pages));
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void
test_many_threads_cost_little(void **state)
{
	struct http_server_opts opts = defaults();
	struct raw_reply reply = { 0 };
	long before = resident_kib();

	(void)state;
	opts.threads = 256;
	struct http_server *server = start(opts);

	for (int i = 0; i < 64; i++)
		assert_int_equal(ask_once(server, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", false,
					  &reply),
				 200);
	long grown = resident_kib() - before;

	print_message("256 threads: %ld KiB resident\n", grown);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(grown < 10L * 1024);
#endif
	raw_reply_release(&reply);
	http_server_stop(server);
}

static int
set_up(void **state)
{
	(void)state;
	sem_init(&entered, 0, 0);
	sem_init(&leave, 0, 0);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_threads_cost_little), /* first: on a small heap */
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_http_1_0),
		cmocka_unit_test(test_head_has_length_but_no_body),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_header_injection_is_impossible),
		cmocka_unit_test(test_answer_is_one_write),
		cmocka_unit_test(test_date),
		cmocka_unit_test(test_large_answer),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_refused_heads),
		cmocka_unit_test(test_oversized_heads),
		cmocka_unit_test(test_expect_continue),
		cmocka_unit_test(test_body_limits),
		cmocka_unit_test(test_close_is_orderly),
		cmocka_unit_test(test_broken_chunks),
		cmocka_unit_test(test_unread_body),
		cmocka_unit_test(test_limits_of_a_connection),
		cmocka_unit_test(test_more_clients_than_threads),
		cmocka_unit_test(test_idle_clients_give_way),
		cmocka_unit_test(test_idle_connections_are_cut),
		cmocka_unit_test(test_trickled_headers_are_cut),
		cmocka_unit_test(test_trickled_bodies_are_cut),
		cmocka_unit_test(test_healthy_client_among_attackers),
		cmocka_unit_test(test_peer_alive),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_start_failures),
		cmocka_unit_test(test_two_servers),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
