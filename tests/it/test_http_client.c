/* The client of common/http_client.h against the project's own server and a server that misbehaves. */
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/http_client.h"
#include "common/http_server.h"
#include "tests/support/fake_http.h"

#define PATIENCE_MS 20000

/* ---- what every test needs ---- */

struct fixture {
	struct fake_http *fake;
	struct http_client *client;
	struct http_reply reply;
	struct err err;
	char url[128];
};

static void
begin(struct fixture *fixture, fake_serve serve, void *user)
{
	*fixture = (struct fixture){ .err = ERR_INIT };
	fixture->fake = fake_http_start(serve, user);
	assert_true(http_client_new("rag-test/1", &fixture->client, &fixture->err));
	http_reply_init(&fixture->reply, (size_t)16 * 1024 * 1024);
	(void)snprintf(fixture->url, sizeof(fixture->url), "http://127.0.0.1:%d/p?key=secret",
		       fake_http_port(fixture->fake));
}

static void
end(struct fixture *fixture)
{
	http_reply_release(&fixture->reply);
	http_client_free(fixture->client);
	fake_http_stop(fixture->fake);
}

static struct http_call
get(const struct fixture *fixture)
{
	return (struct http_call){ .method = "GET",
				   .url = fixture->url,
				   .connect_timeout_ms = PATIENCE_MS,
				   .timeout_ms = PATIENCE_MS };
}

static bool
run(struct fixture *fixture, const struct http_call *call)
{
	fixture->err = ERR_INIT;
	return http_client_run(fixture->client, call, &fixture->reply, &fixture->err);
}

static void
assert_fails(struct fixture *fixture, const struct http_call *call, enum err_code code)
{
	size_t at = 0;

	assert_false(run(fixture, call));
	if (fixture->err.code != code)
		fail_msg("%s (%s) instead of %s", err_info(fixture->err.code)->wire,
			 fixture->err.msg, err_info(code)->wire);
	/* neither the query nor anything else of the URL's path shows */
	assert_false(str_find(str_of(fixture->err.msg), STR("secret"), &at));
	assert_false(str_find(str_of(fixture->err.cause), STR("secret"), &at));
}

/* ---- requests and replies ---- */

static bool
serve_mirror(const struct fake_request *request, void *user)
{
	char text[4096];

	(void)user;
	(void)snprintf(
		text, sizeof(text),
		"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n"
		"HTTP/1.1 201 Created\r\nContent-Length: %zu\r\nX-ABC:  Value \r\nX-Empty:\r\n\r\n",
		request->head.len + request->body.len);
	fake_send(request, text);
	(void)snprintf(text, sizeof(text), "%.*s%.*s", STR_ARG(request->head),
		       STR_ARG(request->body));
	fake_send(request, text);
	return true;
}

static bool
has(const struct http_reply *reply, const char *text)
{
	size_t at = 0;

	return str_find(str_make(reply->body.data, reply->body.len), str_of(text), &at);
}

static void
test_request_and_reply(void **state)
{
	struct fixture fixture;
	const char *const headers[] = { "X-One: 1", "Content-Type: application/json", NULL };
	struct str value = { 0 };

	(void)state;
	begin(&fixture, serve_mirror, NULL);
	struct http_call call = get(&fixture);

	call.method = "POST";
	call.headers = headers;
	call.body = STR("{\"a\":1}");
	assert_true(run(&fixture, &call));
	assert_int_equal(fixture.reply.status, 201);
	assert_true(has(&fixture.reply, "POST /p?key=secret HTTP/1.1\r\n"));
	assert_true(has(&fixture.reply, "\r\nUser-Agent: rag-test/1\r\n"));
	assert_true(has(&fixture.reply, "\r\nX-One: 1\r\n"));
	assert_true(has(&fixture.reply, "\r\nContent-Type: application/json\r\n"));
	assert_true(has(&fixture.reply, "\r\nContent-Length: 7\r\n"));
	assert_true(has(&fixture.reply, "\r\n\r\n{\"a\":1}"));
	assert_false(has(&fixture.reply, "Expect"));
	/* of the last answer, in lower case, trimmed */
	assert_true(http_reply_header(&fixture.reply, "x-abc", &value));
	assert_true(str_eq(value, STR("Value")));
	assert_true(http_reply_header(&fixture.reply, "x-empty", &value));
	assert_int_equal(value.len, 0);
	assert_false(http_reply_header(&fixture.reply, "x-early", &value));
	assert_true(fixture.reply.total_ms >= 0);

	/* nothing of it stays for the next call */
	call = get(&fixture);
	assert_true(run(&fixture, &call));
	assert_true(has(&fixture.reply, "GET /p?key=secret HTTP/1.1\r\n"));
	assert_false(has(&fixture.reply, "X-One"));
	assert_false(has(&fixture.reply, "Content-"));
	call.method = "DELETE";
	assert_true(run(&fixture, &call));
	assert_true(has(&fixture.reply, "DELETE /p"));
	assert_false(has(&fixture.reply, "Content-"));
	call.method = "PUT"; /* without a body: says so */
	assert_true(run(&fixture, &call));
	assert_true(has(&fixture.reply, "\r\nContent-Length: 0\r\n"));
	assert_false(has(&fixture.reply, "Content-Type"));
	end(&fixture);
}

/* All calls of one client share one connection. */
static bool
serve_number(const struct fake_request *request, void *user)
{
	char text[256];

	(void)user;
	(void)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d",
		       request->connection);
	fake_send(request, text);
	return true;
}

static void
test_connection_is_kept(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, serve_number, NULL);
	struct http_call call = get(&fixture);

	for (int i = 0; i < 10; i++) {
		assert_true(run(&fixture, &call));
		assert_string_equal(fixture.reply.body.data, "0");
	}
	assert_int_equal(fake_http_requests(fixture.fake), 10);
	end(&fixture);
}

/* A large body goes out at once: nobody waits for a "100 Continue". */
static void
own_handler(const struct http_request *request, void *user)
{
	struct http_answer answer;
	struct arena arena;
	struct str body = { 0 };
	struct err err = ERR_INIT;

	(void)user;
	arena_init(&arena, (size_t)16 * 1024 * 1024);
	http_answer_init(&answer, http_body(request, (size_t)8 * 1024 * 1024, &arena, &body, &err)
					  ? 200
					  : err_info(err.code)->http_status);
	answer.content_type = "application/octet-stream";
	answer.body = body;
	http_answer_send(request, &answer);
	arena_release(&arena);
}

static void
test_own_server(void **state)
{
	struct http_server_opts opts = { .listen = "127.0.0.1:0",
					 .name = "test",
					 .threads = 2,
					 .header_timeout_ms = PATIENCE_MS,
					 .body_timeout_ms = PATIENCE_MS,
					 .keep_alive_ms = PATIENCE_MS,
					 .max_connection_requests = 2,
					 .max_connection_ms = PATIENCE_MS,
					 .max_header_bytes = 8192,
					 .handler = own_handler };
	struct fixture fixture;
	struct http_server *server = NULL;
	size_t len = (size_t)3 * 1024 * 1024;
	char *body = malloc(len);

	(void)state;
	assert_non_null(body);
	memset(body, 'x', len);
	begin(&fixture, serve_number, NULL);
	assert_true(http_server_start(&opts, &server, &fixture.err));
	(void)snprintf(fixture.url, sizeof(fixture.url), "http://127.0.0.1:%d/",
		       http_server_port(server));

	struct http_call call = get(&fixture);

	call.method = "POST";
	for (int i = 0; i < 5; i++) { /* more than one connection bears */
		call.body = str_make(body, i % 2 ? len : 5);
		assert_true(run(&fixture, &call));
		assert_int_equal(fixture.reply.status, 200);
		assert_int_equal(fixture.reply.body.len, call.body.len);
	}
	call.method = "HEAD";
	call.body = (struct str){ 0 };
	assert_true(run(&fixture, &call));
	assert_int_equal(fixture.reply.status, 200);
	http_server_stop(server);
	free(body);
	end(&fixture);
}

/* ---- limits ---- */

static bool
serve_big(const struct fake_request *request, void *user)
{
	(void)user;
	fake_send(request, "HTTP/1.1 500 Oops\r\nContent-Length: 2000\r\n\r\n");
	for (int i = 0; i < 20; i++)
		fake_send(request,
			  "0123456789012345678901234567890123456789012345678901234567890123"
			  "456789012345678901234567890123456789");
	return true;
}

static bool
count_data(void *user, struct str data)
{
	*(size_t *)user += data.len;
	return *(size_t *)user < 1500;
}

static void
test_size_limits(void **state)
{
	struct fixture fixture;
	size_t seen = 0;

	(void)state;
	begin(&fixture, serve_big, NULL);
	struct http_call call = get(&fixture);

	call.max_body_bytes = 2000;
	assert_true(run(&fixture, &call));
	assert_int_equal(fixture.reply.status, 500); /* any status is an answer */
	assert_int_equal(fixture.reply.body.len, 2000);
	call.max_body_bytes = 1999;
	assert_fails(&fixture, &call, ERR_TOO_LARGE);

	/* as a stream: the limit holds, the body stays empty, the callback may end it */
	call.on_data = count_data;
	call.user = &seen;
	call.max_body_bytes = 1000;
	assert_fails(&fixture, &call, ERR_TOO_LARGE);
	assert_true(seen <= 1000);
	seen = 0;
	call.max_body_bytes = 0;
	assert_fails(&fixture, &call, ERR_CANCELLED);
	assert_int_equal(fixture.reply.body.len, 0);
	assert_int_equal(fixture.reply.status, 500);
	end(&fixture);
}

static bool
serve_headers_without_end(const struct fake_request *request, void *user)
{
	(void)user;
	fake_send(request, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 5000; i++)
		fake_send(request, "X-Filler: 0123456789012345678901234567890123456789\r\n");
	fake_wait_closed(request);
	return false;
}

static void
test_endless_headers(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, serve_headers_without_end, NULL);
	struct http_call call = get(&fixture);

	assert_fails(&fixture, &call, ERR_TOO_LARGE);
	end(&fixture);
}

/* ---- servers that fail ---- */

static bool
serve_text(const struct fake_request *request, void *user)
{
	fake_send(request, *(const char *const *)user);
	return false;
}

static void
test_broken_replies(void **state)
{
	static const char *texts[] = {
		"", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"\x16\x03\x01 this is not HTTP\r\n\r\n"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct fixture fixture;

		begin(&fixture, serve_text, &texts[i]);
		struct http_call call = get(&fixture);

		assert_fails(&fixture, &call, ERR_PROTOCOL);
		assert_true(fixture.err.detail > 0);
		assert_true(str_starts(str_of(fixture.err.cause), "127.0.0.1:"));
		end(&fixture);
	}
}

static bool
serve_nothing(const struct fake_request *request, void *user)
{
	fake_send(request, *(const char *const *)user);
	fake_wait_closed(request);
	return false;
}

static void
test_timeout(void **state)
{
	static const char *texts[] = { "", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct fixture fixture;

		begin(&fixture, serve_nothing, &texts[i]);
		struct http_call call = get(&fixture);

		call.timeout_ms = 150;
		assert_fails(&fixture, &call, ERR_TIMEOUT);
		assert_string_equal(fixture.err.msg, "timed out after 150 ms");
		assert_true(fixture.reply.total_ms >= 140);
		end(&fixture);
	}
}

static void
test_nobody_there(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, serve_number, NULL);
	struct http_call call = get(&fixture);

	/* a port that was free a moment ago, and a name that cannot exist (RFC 6761) */
	fake_http_stop(fixture.fake);
	fixture.fake = NULL;
	assert_fails(&fixture, &call, ERR_CONNECT);
	assert_true(err_info(fixture.err.code)->outage);
	call.url = "http://name.invalid/";
	assert_fails(&fixture, &call, ERR_CONNECT);
	end(&fixture);
}

static void
test_what_cannot_be_sent(void **state)
{
	static const char *const urls[] = { "", "file:///etc/passwd", "gopher://127.0.0.1/",
					    "http://", "http://a b/" };
	const char *const headers[] = { "Authorization: Bearer key\n", NULL };
	struct fixture fixture;
	size_t at = 0;

	(void)state;
	begin(&fixture, serve_number, NULL);
	struct http_call call = get(&fixture);

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		call.url = urls[i];
		assert_fails(&fixture, &call, ERR_CONFIG);
	}
	call.url = fixture.url;
	call.headers = headers;
	assert_fails(&fixture, &call, ERR_CONFIG);
	assert_true(str_find(str_of(fixture.err.msg), STR("Authorization"), &at));
	assert_false(str_find(str_of(fixture.err.msg), STR("key"), &at));
	assert_int_equal(fake_http_requests(fixture.fake), 0);
	end(&fixture);
}

/* ---- cancel ---- */

static bool
serve_and_cancel(const struct fake_request *request, void *user)
{
	atomic_store((atomic_bool *)user, true); /* the call hangs: nothing will come */
	fake_wait_closed(request);
	return false;
}

static void
test_cancel(void **state)
{
	struct fixture fixture;
	atomic_bool cancel = false;

	(void)state;
	begin(&fixture, serve_and_cancel, &cancel);
	struct http_call call = get(&fixture);

	call.cancel = &cancel;
	assert_fails(&fixture, &call, ERR_CANCELLED);
	assert_true(fixture.reply.total_ms < PATIENCE_MS / 2);
	assert_fails(&fixture, &call, ERR_CANCELLED); /* before it begins, too */
	assert_int_equal(fake_http_requests(fixture.fake), 1);

	/* and the client is good for another call */
	atomic_store(&cancel, false);
	call.timeout_ms = 100;
	call.cancel = NULL;
	assert_fails(&fixture, &call, ERR_TIMEOUT);
	end(&fixture);
}

/* ---- a name server that says nothing ---- */

#define MUTE_HOST "mute.test"

static atomic_int names_asked, names_ended;
static atomic_bool names_answer;

/* In the place of libc's, for libcurl too: MUTE_HOST is looked up until names_answer, or for PATIENCE_MS. */
int
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's names are reserved
getaddrinfo(const char *restrict node, const char *restrict service,
	    const struct addrinfo *restrict hints, struct addrinfo **restrict res)
{
	int (*libc)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (node && strcmp(node, MUTE_HOST) == 0) {
		atomic_fetch_add(&names_asked, 1);
		for (int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
		     !atomic_load(&names_answer) && clock_mono_ms() < end_ms;)
			clock_sleep_ms(5);
		atomic_fetch_add(&names_ended, 1);
		return EAI_AGAIN;
	}
	*(void **)&libc = dlsym(RTLD_NEXT, "getaddrinfo");
	return libc(node, service, hints, res);
}

static void *
cancel_the_lookup(void *user)
{
	while (atomic_load(&names_asked) == 0)
		clock_sleep_ms(5);
	atomic_store((atomic_bool *)user, true);
	return NULL;
}

/* Neither a cancel nor a limit of time waits for the name server. */
static void
test_a_name_that_is_not_found(void **state)
{
	struct fixture fixture;
	atomic_bool cancel = false;
	pthread_t thread;

	(void)state;
	begin(&fixture, serve_and_cancel, &cancel);
	(void)snprintf(fixture.url, sizeof(fixture.url), "http://" MUTE_HOST "/p?key=secret");
	struct http_call call = get(&fixture);

	call.cancel = &cancel;
	assert_int_equal(pthread_create(&thread, NULL, cancel_the_lookup, &cancel), 0);
	assert_fails(&fixture, &call, ERR_CANCELLED);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&names_ended), 0);
	call.cancel = NULL;
	call.connect_timeout_ms = 100;
	assert_fails(&fixture, &call, ERR_CONNECT);
	assert_int_equal(atomic_load(&names_ended), 0);
	end(&fixture);
	atomic_store(&names_answer, true);
	while (atomic_load(&names_ended) < atomic_load(&names_asked))
		clock_sleep_ms(5);
}

/* ---- Retry-After ---- */

static bool
serve_retry_after(const struct fake_request *request, void *user)
{
	char text[256];

	(void)snprintf(text, sizeof(text),
		       "HTTP/1.1 429 Slow down\r\n%s%s%sContent-Length: 0\r\n\r\n",
		       *(char **)user ? "Retry-After: " : "", *(char **)user ? *(char **)user : "",
		       *(char **)user ? "\r\n" : "");
	fake_send(request, text);
	return true;
}

static void
test_retry_after(void **state)
{
	static const struct {
		const char *value;
		int64_t ms;
	} cases[] = {
		{ NULL, -1 },
		{ "0", 0 },
		{ "120", 120000 },
		{ "99999999999999999999", -1 },
		{ "9999999999", INT64_C(100) * 366 * 86400 * 1000 },
		{ "-1", -1 },
		{ "1.5", -1 },
		{ "", -1 },
		{ "soon", -1 },
		{ "Mon, 23 Nov 2026 09:00:30 GMT", 30000 },
		{ "Monday, 23-Nov-26 09:00:30 GMT", 30000 },
		{ "Mon Nov 23 09:00:30 2026", 30000 },
		{ "Mon, 23 Nov 2026 08:00:00 GMT", 0 },
	};
	struct fixture fixture;
	const char *value = NULL;
	int64_t now_ms = 0;

	(void)state;
	assert_true(clock_parse_iso(STR("2026-11-23T09:00:00Z"), &now_ms));
	begin(&fixture, serve_retry_after, &value);
	struct http_call call = get(&fixture);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		value = cases[i].value;
		assert_true(run(&fixture, &call));
		clock_set_for_test(-1, now_ms);
		int64_t ms = http_reply_retry_after_ms(&fixture.reply);

		clock_set_for_test(-1, -1);
		if (ms != cases[i].ms)
			fail_msg("'%s': %lld", value ? value : "(none)", (long long)ms);
	}
	end(&fixture);
}

static int
set_up(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	return http_client_global_init(&err) ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	http_client_global_release();
	return 0;
}

/* ---- HTTP/2 ---- */

/* The first bytes of a TLS connection, in which the client says what it speaks. */
struct hello {
	int fd;
	char bytes[4096];
	size_t len;
};

static void *
take_hello(void *user)
{
	struct hello *hello = user;
	int fd = accept(hello->fd, NULL, NULL);
	ssize_t got;

	assert_true(fd >= 0);
	got = recv(fd, hello->bytes, sizeof(hello->bytes), 0);
	hello->len = got > 0 ? (size_t)got : 0;
	close(fd);
	return NULL;
}

/* To a TLS server HTTP/2 is offered first, HTTP/1.1 behind it (ALPN, RFC 7301). */
static void
test_http2_is_offered_to_tls_servers(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	struct hello hello = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	struct fixture fixture;
	pthread_t thread;
	size_t where = 0;

	(void)state;
	begin(&fixture, serve_mirror, NULL);
	assert_int_equal(bind(hello.fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(hello.fd, 1), 0);
	assert_int_equal(getsockname(hello.fd, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(pthread_create(&thread, NULL, take_hello, &hello), 0);
	(void)snprintf(fixture.url, sizeof(fixture.url), "https://127.0.0.1:%d/",
		       ntohs(at.sin_port));
	struct http_call call = get(&fixture);

	assert_false(run(&fixture, &call));
	pthread_join(thread, NULL);
	close(hello.fd);
	assert_true(str_find(str_make(hello.bytes, hello.len), STR("\x02h2\x08http/1.1"), &where));
	end(&fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http2_is_offered_to_tls_servers),
		cmocka_unit_test(test_request_and_reply),
		cmocka_unit_test(test_connection_is_kept),
		cmocka_unit_test(test_own_server),
		cmocka_unit_test(test_size_limits),
		cmocka_unit_test(test_endless_headers),
		cmocka_unit_test(test_broken_replies),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_what_cannot_be_sent),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_a_name_that_is_not_found),
		cmocka_unit_test(test_retry_after),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
