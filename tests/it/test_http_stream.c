/*
 * Answers written piece by piece, over real sockets: framing for both versions of HTTP, HEAD, what a client sees of a
 * stream that was not ended, clients that do not read or are gone, and the server's stop.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/http_server.h"
#include "tests/support/raw_http.h"

#define LONG_MS 60000
#define MIB ((size_t)1024 * 1024)

static sem_t written, go_on, ended;
static atomic_bool write_failed, begun;

static bool
put(const struct http_request *request, const char *text)
{
	return http_stream_write(request, str_of(text));
}

/* Writes until nobody takes it any more. */
static void
flood(const struct http_request *request)
{
	char *piece = mem_alloc(MIB);

	while (http_stream_write(request, str_make(piece, MIB)))
		;
	mem_free(piece);
	atomic_store(&write_failed, true);
}

static void
handler(const struct http_request *request, void *user)
{
	struct http_answer answer;

	(void)user;
	http_answer_init(&answer, 200);
	answer.content_type = "text/event-stream";
	http_answer_header(&answer, "X-Test", "yes");
	atomic_store(&begun, http_stream_begin(request, &answer));
	if (str_eq(request->path, STR("/three"))) {
		put(request, "one");
		put(request, "");
		put(request, "two two");
		put(request, "three");
		http_stream_end(request);
	} else if (str_eq(request->path, STR("/steps"))) {
		put(request, "first");
		sem_post(&written);
		sem_wait(&go_on);
		atomic_store(&write_failed, !put(request, "second"));
		http_stream_end(request);
	} else if (str_eq(request->path, STR("/flood"))) {
		flood(request);
	} else if (str_eq(request->path, STR("/gone"))) {
		sem_post(&written);
		for (int64_t end = clock_mono_ms() + RAW_PATIENCE_MS;
		     http_peer_alive(request) && clock_mono_ms() < end;)
			;
		atomic_store(&write_failed, !http_peer_alive(request));
	} else if (str_eq(request->path, STR("/twice"))) {
		put(request, "x");
		http_answer_send(request, &answer);
		assert_false(http_stream_begin(request, &answer));
		http_stream_end(request);
		assert_false(put(request, "too late"));
	} else {
		put(request, "no end");
	}
	sem_post(&ended);
}

static struct http_server *
start(int body_timeout_ms)
{
	const struct http_server_opts opts = { .listen = "127.0.0.1:0",
					       .name = "test",
					       .threads = 4,
					       .header_timeout_ms = LONG_MS,
					       .body_timeout_ms = body_timeout_ms,
					       .keep_alive_ms = LONG_MS,
					       .max_connection_requests = 1000,
					       .max_connection_ms = LONG_MS,
					       .max_header_bytes = 8192,
					       .handler = handler };
	struct http_server *server = NULL;
	struct err err = ERR_INIT;

	sem_init(&written, 0, 0);
	sem_init(&go_on, 0, 0);
	sem_init(&ended, 0, 0);
	atomic_store(&write_failed, false);
	assert_true(http_server_start(&opts, &server, &err));
	return server;
}

/* One chunk a write, headers as given, and the connection goes on. */
static void
chunks_and_keep_alive(void **state)
{
	struct http_server *server = start(LONG_MS);
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	for (int i = 0; i < 3; i++) {
		static const char *const pieces[] = { "one", "two two", "three" };
		AUTO(buf) struct buf body = BUF_INIT(MIB);

		raw_send(&raw, "GET /three HTTP/1.1\r\nHost: x\r\n\r\n");
		raw_read(&raw, true, &reply);
		assert_int_equal(reply.status, 200);
		assert_true(raw_header_is(&reply, "Transfer-Encoding", "chunked"));
		assert_true(raw_header_is(&reply, "Connection", "keep-alive"));
		assert_true(raw_header_is(&reply, "Content-Type", "text/event-stream"));
		assert_true(raw_header_is(&reply, "X-Test", "yes"));
		assert_null(strstr(reply.head.data, "Content-Length"));
		for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
			buf_clear(&body);
			assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_DATA);
			assert_string_equal(body.data, pieces[k]);
		}
		assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_LAST);
	}
	raw_reply_release(&reply);
	raw_close(&raw);
	http_server_stop(server);
}

static void
http_1_0_ends_with_the_connection(void **state)
{
	struct http_server *server = start(LONG_MS);
	AUTO(buf) struct buf body = BUF_INIT(MIB);
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /three HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n");
	raw_read(&raw, true, &reply);
	assert_true(raw_header_is(&reply, "Connection", "close"));
	assert_null(strstr(reply.head.data, "Transfer-Encoding"));
	while (raw_read_some(&raw, &body))
		;
	assert_string_equal(body.data, "onetwo twothree");
	raw_reply_release(&reply);
	raw_close(&raw);
	http_server_stop(server);
}

static void
head_gets_the_headers(void **state)
{
	struct http_server *server = start(LONG_MS);
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	for (int i = 0; i < 2; i++) {
		raw_send(&raw, "HEAD /three HTTP/1.1\r\nHost: x\r\n\r\n");
		raw_read(&raw, false, &reply);
		assert_int_equal(reply.status, 200);
		assert_true(raw_header_is(&reply, "Transfer-Encoding", "chunked"));
		sem_wait(&ended);
		assert_false(atomic_load(&begun));
	}
	raw_reply_release(&reply);
	raw_close(&raw);
	http_server_stop(server);
}

/* A piece is there before the next one is written. */
static void
pieces_go_at_once(void **state)
{
	struct http_server *server = start(LONG_MS);
	AUTO(buf) struct buf body = BUF_INIT(MIB);
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /steps HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_read(&raw, true, &reply);
	assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_DATA);
	assert_string_equal(body.data, "first");
	sem_post(&go_on);
	assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_DATA);
	assert_string_equal(body.data, "firstsecond");
	assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_LAST);
	raw_reply_release(&reply);
	raw_close(&raw);
	http_server_stop(server);
}

/* No end: no last chunk, so the client knows that something is missing. */
static void
a_stream_without_end_is_cut(void **state)
{
	struct http_server *server = start(LONG_MS);
	AUTO(buf) struct buf body = BUF_INIT(MIB);
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_read(&raw, true, &reply);
	assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_DATA);
	assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_CUT);
	raw_reply_release(&reply);
	raw_close(&raw);
	http_server_stop(server);
}

static void
one_answer_a_request(void **state)
{
	struct http_server *server = start(LONG_MS);
	AUTO(buf) struct buf body = BUF_INIT(MIB);
	struct raw_reply reply = { 0 };
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /twice HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_read(&raw, true, &reply);
	assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_DATA);
	assert_int_equal(raw_read_chunk(&raw, &body), RAW_CHUNK_LAST);
	assert_string_equal(body.data, "x");
	raw_reply_release(&reply);
	raw_close(&raw);
	http_server_stop(server);
}

/* A client that reads nothing is cut, however much it was sent before. */
static void
a_client_that_does_not_read(void **state)
{
	struct http_server *server = start(300);
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
	sem_wait(&ended);
	assert_true(atomic_load(&write_failed));
	raw_close(&raw);
	http_server_stop(server);
}

static void
a_client_that_is_gone(void **state)
{
	struct http_server *server = start(LONG_MS);
	struct raw_http raw;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /gone HTTP/1.1\r\nHost: x\r\n\r\n");
	sem_wait(&written);
	raw_close(&raw);
	sem_wait(&ended);
	assert_true(atomic_load(&write_failed));
	http_server_stop(server);
}

static void *
stop_server(void *server)
{
	http_server_stop(server);
	return NULL;
}

/* A stop waits for the handler, which may still write its last words to a client that reads. */
static void
a_stop_lets_a_stream_end(void **state)
{
	struct http_server *server = start(LONG_MS);
	AUTO(buf) struct buf body = BUF_INIT(MIB);
	struct raw_reply reply = { 0 };
	struct raw_http raw;
	pthread_t thread;

	(void)state;
	raw_open(&raw, http_server_port(server));
	raw_send(&raw, "GET /steps HTTP/1.1\r\nHost: x\r\n\r\n");
	sem_wait(&written);
	assert_int_equal(pthread_create(&thread, NULL, stop_server, server), 0);
	sem_post(&go_on);
	raw_read(&raw, true, &reply);
	while (raw_read_chunk(&raw, &body) == RAW_CHUNK_DATA)
		;
	assert_string_equal(body.data, "firstsecond");
	pthread_join(thread, NULL);
	raw_reply_release(&reply);
	raw_close(&raw);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_and_keep_alive),
		cmocka_unit_test(http_1_0_ends_with_the_connection),
		cmocka_unit_test(head_gets_the_headers),
		cmocka_unit_test(pieces_go_at_once),
		cmocka_unit_test(a_stream_without_end_is_cut),
		cmocka_unit_test(one_answer_a_request),
		cmocka_unit_test(a_client_that_does_not_read),
		cmocka_unit_test(a_client_that_is_gone),
		cmocka_unit_test(a_stop_lets_a_stream_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
