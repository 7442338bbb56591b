/* One exchange with a provider's server, against a server that does what servers do: says no, says later, hangs, breaks, and answers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/metrics.h"
#include "jobs/provider/remote.h"
#include "tests/support/fake_http.h"
#include "tests/support/fake_provider.h"
#include "tests/support/must.h"

#define KEY "s3cret-key-of-the-test"
#define PATIENCE_MS 60000 /* longer than any of it takes */

/* ---- what every test needs ---- */

struct fixture {
	struct config config;
	struct fake_http *server;
	struct endpoint at;
	struct remote *remote;
	struct remote_request request;
	struct provider_usage usage;
	struct provider_call call;
	struct err err;
	char url[64], body[256]; /* what was read of the last reply */
	int restarts, waits;
	/* of streams */
	size_t pieces, tell_at; /* text is passed on with this piece; 0 = never */
};

static bool
read_body(void *user, struct str body, struct remote_used *used, struct err *err)
{
	struct fixture *fixture = user;

	if (str_eq_c(body, "garbage"))
		return err_set(err, ERR_PROVIDER_REPLY, "that is garbage");
	(void)str_copy(fixture->body, sizeof(fixture->body), body);
	used->tokens_in = 11;
	used->tokens_out = 3;
	return true;
}

static bool
take_piece(void *user, struct str bytes, struct err *err)
{
	struct fixture *fixture = user;
	size_t len = strlen(fixture->body);

	(void)err;
	assert_true(bytes.len > 0);
	(void)str_copy(fixture->body + len, sizeof(fixture->body) - len, bytes);
	if (++fixture->pieces == fixture->tell_at)
		remote_told(fixture->remote);
	return true;
}

static bool
end_stream(void *user, struct str body, struct remote_used *used, struct err *err)
{
	struct fixture *fixture = user;
	size_t at = 0;

	assert_int_equal(body.len, 0);
	used->tokens_in = 5;
	return str_find(str_of(fixture->body), STR("END"), &at) ||
	       err_set(err, ERR_PROVIDER_REPLY, "the stream was cut");
}

static void
restart(void *user)
{
	struct fixture *fixture = user;

	fixture->restarts++;
	fixture->body[0] = '\0';
	fixture->pieces = 0;
}

static bool
count_wait(void *user, struct err *err)
{
	(void)err;
	((struct fixture *)user)->waits++;
	return true;
}

static void
begin(struct fixture *fixture, fake_serve serve, void *user)
{
	*fixture = (struct fixture){ .err = ERR_INIT };
	MUST(config_load(&fixture->config, NULL, e));
	fixture->config.provider_timeout_ms = PATIENCE_MS;
	fixture->config.provider_connect_ms = PATIENCE_MS;
	fixture->server = fake_http_start(serve, user);
	(void)snprintf(fixture->url, sizeof(fixture->url), "http://127.0.0.1:%d/base",
		       fake_http_port(fixture->server));
	fixture->at = (struct endpoint){
		.provider = "fake", .model = "m", .url = fixture->url, .key = KEY
	};
	fixture->request = (struct remote_request){ .path = "/call",
						    .body = STR("{\"a\":1}"),
						    .tokens = 7,
						    .read = read_body,
						    .restart = restart,
						    .user = fixture };
	fixture->call.usage = &fixture->usage;
	MUST(remote_new(&(struct remote_opts){ .at = &fixture->at,
					       .config = &fixture->config,
					       .kind = REMOTE_GENERATE },
			&fixture->remote, e));
}

static void
end(struct fixture *fixture)
{
	remote_free(fixture->remote);
	fake_http_stop(fixture->server);
	config_release(&fixture->config);
}

static bool
run(struct fixture *fixture)
{
	fixture->err = ERR_INIT;
	return remote_run(fixture->remote, &fixture->call, &fixture->request, &fixture->err);
}

static void
assert_fails(struct fixture *fixture, enum err_code code, int requests)
{
	size_t at = 0;

	assert_false(run(fixture));
	if (fixture->err.code != code)
		fail_msg("%s (%s; %s) instead of %s", err_info(fixture->err.code)->wire,
			 fixture->err.msg, fixture->err.cause, err_info(code)->wire);
	assert_false(str_find(str_of(fixture->err.msg), STR(KEY), &at));
	assert_false(str_find(str_of(fixture->err.cause), STR(KEY), &at));
	assert_int_equal(fake_http_requests(fixture->server), requests);
	assert_int_equal(fixture->usage.requests, requests);
}

static void
make_stream(struct fixture *fixture)
{
	fixture->request.read = end_stream;
	fixture->request.piece = take_piece;
}

/* ---- scripts of the server: one answer after the other, the last one again and again ---- */

#define OK_HEAD(length) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n"
#define OK_REPLY OK_HEAD("4") "fine"
#define EMPTY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"

struct script {
	const char *answers[8]; /* NULL: says nothing until the client has closed */
	size_t count;
	atomic_int connections; /* the greatest number of one, from 1 */
	char head[2048], body[256];
};

/* each connection has a thread of its own */
static pthread_mutex_t play_lock = PTHREAD_MUTEX_INITIALIZER;

static bool
play(const struct fake_request *request, void *user)
{
	struct script *script = user;
	size_t nth =
		(size_t)request->nth < script->count ? (size_t)request->nth : script->count - 1;
	const char *answer = script->answers[nth];
	size_t at = 0;

	atomic_store(&script->connections, request->connection + 1);
	(void)pthread_mutex_lock(&play_lock);
	(void)str_copy(script->head, sizeof(script->head), request->head);
	(void)str_copy(script->body, sizeof(script->body), request->body);
	(void)pthread_mutex_unlock(&play_lock);
	if (!answer) {
		fake_wait_closed(request);
		return false;
	}
	fake_send(request, answer);
	return !str_find(str_of(answer), STR("Connection: close"), &at);
}

/* ---- what goes well ---- */

static void
test_request_reply_and_counts(void **state)
{
	struct script script = { .answers = { OK_REPLY }, .count = 1 };
	struct fixture fixture;
	size_t at = 0;

	(void)state;
	begin(&fixture, play, &script);
	for (int i = 0; i < 3; i++)
		assert_true(run(&fixture));
	assert_string_equal(fixture.body, "fine");
	assert_string_equal(script.body, "{\"a\":1}");
	assert_true(str_starts(str_of(script.head), "POST /base/call HTTP/1.1\r\n"));
	assert_true(str_find(str_of(script.head), STR("Content-Type: application/json\r\n"), &at));
	assert_true(str_find(str_of(script.head), STR("Accept: application/json\r\n"), &at));
	assert_true(str_find(str_of(script.head), STR("User-Agent: rag-engine/"), &at));
	assert_true(str_find(str_of(script.head), STR("Authorization: Bearer " KEY "\r\n"), &at));
	assert_false(str_find(str_of(script.head), STR("Expect"), &at));
	assert_false(str_find(str_of(script.head), STR("Accept-Encoding"), &at));
	/* connections live on between calls */
	assert_int_equal(atomic_load(&script.connections), 1);
	assert_int_equal(fixture.usage.requests, 3);
	assert_int_equal(fixture.usage.prompt_tokens, 33);
	assert_int_equal(fixture.usage.completion_tokens, 9);
	assert_int_equal(fixture.usage.embedding_tokens, 0);
	end(&fixture);
}

/* libcurl would ask before it sends a large body, and some proxies say nothing to that. */
static void
test_a_large_body_is_sent_without_asking(void **state)
{
	enum { BYTES = 2 * 1024 * 1024 };
	struct script script = { .answers = { OK_REPLY }, .count = 1 };
	char *body = mem_alloc(BYTES);
	struct fixture fixture;
	size_t at = 0;

	(void)state;
	memset(body, 'x', BYTES);
	begin(&fixture, play, &script);
	fixture.request.body = str_make(body, BYTES);
	assert_true(run(&fixture));
	assert_true(str_find(str_of(script.head), STR("Content-Length: 2097152\r\n"), &at));
	assert_false(str_find(str_of(script.head), STR("Expect"), &at));
	end(&fixture);
	mem_free(body);
}

/* Says nothing of tokens, as a bare array. */
static bool
read_uncounted(void *user, struct str body, struct remote_used *used, struct err *err)
{
	(void)user, (void)body, (void)used, (void)err;
	return true;
}

/* TEI's header counts where the body does not; a body that does comes first. */
static void
test_tokens_are_counted_by_a_header_of_tei(void **state)
{
#define COUNTED(tokens)                                                                            \
	"HTTP/1.1 200 OK\r\nX-Compute-Tokens: " tokens "\r\nContent-Length: 2\r\n\r\n[]"
	struct script script = { .answers = { COUNTED("17"), COUNTED("many"), COUNTED("-3"),
					      COUNTED("17") },
				 .count = 4 };
	struct fixture fixture;

	(void)state;
	begin(&fixture, play, &script);
	fixture.request.read = read_uncounted;
	assert_true(run(&fixture));
	assert_int_equal(fixture.usage.prompt_tokens, 17);
	assert_true(run(&fixture)); /* then as estimated */
	assert_int_equal(fixture.usage.prompt_tokens, 17 + 7);
	assert_true(run(&fixture));
	assert_int_equal(fixture.usage.prompt_tokens, 17 + 7 + 7);
	fixture.request.read = read_body;
	assert_true(run(&fixture));
	assert_int_equal(fixture.usage.prompt_tokens, 17 + 7 + 7 + 11);
	end(&fixture);
}

static void
test_key_of_google_and_no_key(void **state)
{
	struct script script = { .answers = { OK_REPLY }, .count = 1 };
	struct remote *other = NULL;
	struct fixture fixture;
	size_t at = 0;

	(void)state;
	begin(&fixture, play, &script);
	MUST(remote_new(&(struct remote_opts){ .at = &fixture.at,
					       .config = &fixture.config,
					       .kind = REMOTE_EMBED,
					       .auth = REMOTE_GOOGLE },
			&other, e));
	assert_true(remote_run(other, &fixture.call, &fixture.request, &fixture.err));
	assert_true(str_find(str_of(script.head), STR("x-goog-api-key: " KEY "\r\n"), &at));
	assert_false(str_find(str_of(script.head), STR("Authorization"), &at));
	assert_int_equal(fixture.usage.embedding_tokens, 11);
	remote_free(other);

	fixture.at.key = "";
	MUST(remote_new(&(struct remote_opts){ .at = &fixture.at,
					       .config = &fixture.config,
					       .kind = REMOTE_RERANK },
			&other, e));
	assert_true(remote_run(other, &fixture.call, &fixture.request, &fixture.err));
	assert_false(str_find(str_of(script.head), STR("Authorization"), &at));
	remote_free(other);
	end(&fixture);
}

/* ---- what is repeated ---- */

static void
test_troubles_that_pass_are_repeated(void **state)
{
	static const char *const troubles[] = {
		EMPTY("500 Oops"),
		EMPTY("502 Oops"),
		EMPTY("503 Oops"),
		EMPTY("429 Slow"),
		"HTTP/1.1 429 Slow\r\nretry-after-ms: 20\r\nContent-Length: 0\r\n\r\n",
		OK_HEAD("7") "garbage",
		"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\ncut",
		"Connection: close\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(troubles); i++) {
		struct script script = { .answers = { troubles[i], OK_REPLY }, .count = 2 };
		struct fixture fixture;

		begin(&fixture, play, &script);
		if (!run(&fixture))
			fail_msg("trouble %zu: %s", i, fixture.err.msg);
		assert_string_equal(fixture.body, "fine");
		assert_int_equal(fixture.usage.requests, 2);
		assert_int_equal(fixture.restarts, 2);
		/* what failed was not used */
		assert_int_equal(fixture.usage.prompt_tokens, 11);
		end(&fixture);
	}
}

static void
test_attempts_come_to_an_end(void **state)
{
	static const struct {
		const char *answer;
		enum err_code code;
	} rows[] = {
		{ EMPTY("500 Oops"), ERR_PROVIDER_REPLY },
		{ EMPTY("503 Oops"), ERR_PROVIDER_UNAVAILABLE },
		{ EMPTY("529 Oops"), ERR_PROVIDER_UNAVAILABLE },
		{ EMPTY("429 Slow"), ERR_PROVIDER_LIMITED },
		{ OK_HEAD("7") "garbage", ERR_PROVIDER_REPLY },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\ncut",
		  ERR_PROVIDER_REPLY },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct script script = { .answers = { rows[i].answer }, .count = 1 };
		struct fixture fixture;

		begin(&fixture, play, &script);
		fixture.config.provider_attempts = 2;
		assert_fails(&fixture, rows[i].code, 2);
		/* a job that waits must know how long */
		assert_int_equal(fixture.err.retry_after_ms > 0,
				 rows[i].code == ERR_PROVIDER_LIMITED);
		assert_int_equal(fixture.usage.prompt_tokens, 0);
		end(&fixture);
	}
}

static void
test_a_long_wait_is_left_to_the_queue(void **state)
{
	static const struct {
		const char *answer;
		enum err_code code;
	} rows[] = {
		{ "HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
		  ERR_PROVIDER_LIMITED },
		{ "HTTP/1.1 503 Away\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
		  ERR_PROVIDER_UNAVAILABLE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct script script = { .answers = { rows[i].answer }, .count = 1 };
		struct fixture fixture;

		begin(&fixture, play, &script);
		assert_fails(&fixture, rows[i].code, 1);
		assert_int_equal(fixture.err.retry_after_ms, 30000);
		end(&fixture);
	}
}

static void
test_refusals_are_not_repeated(void **state)
{
	static const struct {
		const char *answer;
		enum err_code code;
		enum fault_class class;
	} rows[] = {
		{ "HTTP/1.1 401 No\r\nContent-Length: 38\r\n\r\n{\"error\":\"bad " KEY "\"}\n",
		  ERR_PROVIDER_REJECTED, FAULT_REJECTED },
		{ EMPTY("413 Big"), ERR_TOO_LARGE, FAULT_BATCH },
		{ EMPTY("402 Pay"), ERR_PROVIDER_QUOTA, FAULT_QUOTA },
		{ EMPTY("301 Elsewhere"), ERR_PROVIDER_REJECTED, FAULT_REJECTED },
		{ "HTTP/1.1 400 No\r\nContent-Length: 23\r\n\r\n{\"error\":\"temperature\"}",
		  ERR_PROVIDER_REJECTED, FAULT_FIELD },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int stream = 0; stream < 2; stream++) {
			struct script script = { .answers = { rows[i].answer }, .count = 1 };
			struct fixture fixture;

			begin(&fixture, play, &script);
			if (stream)
				make_stream(&fixture);
			assert_fails(&fixture, rows[i].code, 1);
			assert_int_equal(remote_fault(fixture.remote)->class, rows[i].class);
			end(&fixture);
		}
	}
}

static void
test_nobody_listens(void **state)
{
	struct script script = { .answers = { OK_REPLY }, .count = 1 };
	struct fixture fixture;

	(void)state;
	begin(&fixture, play, &script);
	fake_http_stop(fixture.server);
	fixture.server = NULL;
	fixture.config.provider_attempts = 2;
	assert_false(run(&fixture));
	assert_int_equal(fixture.err.code, ERR_PROVIDER_UNAVAILABLE);
	assert_true(str_starts(str_of(fixture.err.msg), "could not reach provider 'fake': "));
	end(&fixture);
}

static void *
go_down_when_asked_again(void *user)
{
	struct fake_provider *fake = user;

	while (fake_provider_count(fake, "*", "requests") < 2)
		clock_sleep_ms(5);
	fake_provider_down(fake);
	return NULL;
}

/* The request was on its way on a connection of a call before; the client tries a new one by itself, and there is none. */
static void
test_a_server_that_goes_away_with_a_request_is_an_outage(void **state)
{
	struct fake_provider *fake = fake_provider_start();
	struct script script = { .answers = { OK_REPLY }, .count = 1 };
	struct fixture fixture;
	pthread_t thread;

	(void)state;
	begin(&fixture, play, &script);
	fixture.at.url = fake_provider_url(fake, "vllm");
	fixture.request.path = "/embeddings";
	fixture.request.body = STR("{\"model\":\"m\",\"input\":\"a\"}");
	fixture.config.provider_attempts = 1;
	remote_free(fixture.remote);
	MUST(remote_new(&(struct remote_opts){ .at = &fixture.at,
					       .config = &fixture.config,
					       .kind = REMOTE_EMBED },
			&fixture.remote, e));
	assert_true(run(&fixture));
	fake_provider_fail(fake, "\"fault\": \"hang\"");
	assert_int_equal(pthread_create(&thread, NULL, go_down_when_asked_again, fake), 0);
	assert_false(run(&fixture));
	pthread_join(thread, NULL);
	if (fixture.err.code != ERR_PROVIDER_UNAVAILABLE)
		fail_msg("%s: %s", err_info(fixture.err.code)->wire, fixture.err.msg);
	assert_true(str_starts(str_of(fixture.err.msg), "could not reach provider 'fake': "));
	end(&fixture);
	fake_provider_stop(fake);
}

/* ---- time ---- */

static void
test_silence_is_a_timeout(void **state)
{
	struct script script = { .answers = { NULL }, .count = 1 };
	struct fixture fixture;

	(void)state;
	begin(&fixture, play, &script);
	fixture.config.provider_timeout_ms = 400;
	fixture.config.provider_attempts = 2;
	assert_fails(&fixture, ERR_TIMEOUT, 2);
	end(&fixture);
}

static void
test_the_deadline_ends_it(void **state)
{
	struct script script = { .answers = { NULL }, .count = 1 };
	struct fixture fixture;

	(void)state;
	begin(&fixture, play, &script);
	fixture.call.deadline_mono_ms = clock_mono_ms() + 600;
	assert_fails(&fixture, ERR_DEADLINE, 1);
	/* a call's timer may be a moment early */
	while (clock_left_ms(fixture.call.deadline_mono_ms) > 0)
		clock_sleep_ms(1);
	/* it has passed: nothing is sent */
	assert_fails(&fixture, ERR_DEADLINE, 1);
	end(&fixture);
}

/* A pause that does not fit before the deadline is not begun. */
static void
test_no_pause_beyond_the_deadline(void **state)
{
	struct script script = {
		.answers = { "HTTP/1.1 429 Slow\r\nRetry-After: 50\r\nContent-Length: 0\r\n\r\n" },
		.count = 1
	};
	struct fixture fixture;

	(void)state;
	begin(&fixture, play, &script);
	fixture.config.provider_max_wait_ms = 100000;
	fixture.call.deadline_mono_ms = clock_mono_ms() + 40000;
	assert_fails(&fixture, ERR_PROVIDER_LIMITED, 1);
	assert_int_equal(fixture.err.retry_after_ms, 50000);
	end(&fixture);
}

struct canceller {
	struct fake_http *server;
	atomic_bool cancel;
};

/* Raises the flag as soon as the request is there. */
static void *
cancel_when_asked(void *user)
{
	struct canceller *canceller = user;

	while (fake_http_requests(canceller->server) == 0)
		clock_sleep_ms(5);
	atomic_store(&canceller->cancel, true);
	return NULL;
}

/* In flight, and in the pause after an answer: within far less than what it would have waited. */
static void
test_a_cancel_is_heard(void **state)
{
	static const char *const answers[] = {
		NULL, "HTTP/1.1 429 Slow\r\nRetry-After: 50\r\nContent-Length: 0\r\n\r\n"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		for (int stream = 0; stream < 2; stream++) {
			struct script script = { .answers = { answers[i] }, .count = 1 };
			struct fixture fixture;
			struct canceller canceller = { 0 };
			pthread_t thread;

			begin(&fixture, play, &script);
			fixture.config.provider_max_wait_ms = 100000;
			if (stream)
				make_stream(&fixture);
			canceller.server = fixture.server;
			fixture.call.cancel = &canceller.cancel;
			assert_int_equal(pthread_create(&thread, NULL, cancel_when_asked,
							&canceller),
					 0);
			assert_fails(&fixture, ERR_CANCELLED, 1);
			pthread_join(thread, NULL);
			/* nothing is sent once it is raised */
			assert_fails(&fixture, ERR_CANCELLED, 1);
			end(&fixture);
		}
	}
}

static bool
refuse_to_wait(void *user, struct err *err)
{
	(void)user;
	return err_set(err, ERR_STALE, "another start has won");
}

static void
test_who_waits_is_told_and_can_end_it(void **state)
{
	static const char *const answers[] = {
		NULL, "HTTP/1.1 429 Slow\r\nretry-after-ms: 400\r\nContent-Length: 0\r\n\r\n"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct script script = { .answers = { answers[i] }, .count = 1 };
		struct fixture fixture;

		begin(&fixture, play, &script);
		fixture.request.wait = refuse_to_wait;
		assert_fails(&fixture, ERR_STALE, 1);
		fixture.request.wait = count_wait;
		fixture.config.provider_timeout_ms = 400;
		fixture.config.provider_attempts = 2;
		assert_false(run(&fixture));
		assert_true(fixture.waits > 0);
		end(&fixture);
	}
}

/* ---- sizes ---- */

static void
test_a_reply_that_is_too_long(void **state)
{
	struct script script = {
		.answers = { OK_HEAD("40") "0123456789012345678901234567890123456789" }, .count = 1
	};
	struct fixture fixture;

	(void)state;
	for (int stream = 0; stream < 2; stream++) {
		begin(&fixture, play, &script);
		fixture.config.provider_attempts = 1;
		fixture.request.max_reply_bytes = 39;
		if (stream)
			make_stream(&fixture);
		assert_fails(&fixture, ERR_PROVIDER_REPLY, 1);
		fixture.request.max_reply_bytes = 40;
		fixture.request.read = stream ? end_stream : read_body;
		assert_int_equal(run(&fixture), !stream);
		end(&fixture);
	}
}

/* A server that refuses a body while it comes, and hangs up: with an answer, or without. */
struct early {
	int fd;
	const char *answer; /* NULL = none */
};

static void *
hang_up_early(void *user)
{
	struct early *early = user;
	char some[4096];
	int fd;

	while ((fd = accept(early->fd, NULL, NULL)) >= 0) {
		const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

		assert_true(recv(fd, some, sizeof(some), 0) > 0);
		if (early->answer) {
			assert_true(send(fd, early->answer, strlen(early->answer), MSG_NOSIGNAL) >
				    0);
			shutdown(fd, SHUT_WR);
			while (recv(fd, some, sizeof(some), 0) > 0)
				;
		} else {
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		}
		close(fd);
	}
	return NULL;
}

static void
test_a_body_that_is_refused_while_it_is_sent(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 17\r\nConnection: "
		"close\r\n\r\nPayload too large",
		NULL
	};
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	AUTO(buf) struct buf body = BUF_INIT((size_t)64 * 1024 * 1024);

	(void)state;
	while (body.len < (size_t)32 * 1024 * 1024)
		buf_add(&body, KEY " and a great deal more of text to send", 52);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct script script = { .answers = { OK_REPLY }, .count = 1 };
		struct early early = { .answer = answers[i] };
		struct fixture fixture;
		socklen_t len = sizeof(at);
		pthread_t thread;

		begin(&fixture, play, &script);
		early.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		at.sin_port = 0;
		assert_int_equal(bind(early.fd, (struct sockaddr *)&at, len), 0);
		assert_int_equal(listen(early.fd, 8), 0);
		assert_int_equal(getsockname(early.fd, (struct sockaddr *)&at, &len), 0);
		assert_int_equal(pthread_create(&thread, NULL, hang_up_early, &early), 0);
		(void)snprintf(fixture.url, sizeof(fixture.url), "http://127.0.0.1:%d",
			       ntohs(at.sin_port));
		fixture.request.body = str_make(body.data, body.len);
		assert_false(run(&fixture));
		if (fixture.err.code != ERR_TOO_LARGE || fixture.err.detail != TOO_LARGE_BATCH)
			fail_msg("answer %zu: %s (%s)", i, fixture.err.msg, fixture.err.cause);
		assert_int_equal(fixture.usage.requests, 1);
		assert_int_equal(remote_fault(fixture.remote)->class, FAULT_BATCH);
		shutdown(early.fd, SHUT_RDWR);
		pthread_join(thread, NULL);
		close(early.fd);
		end(&fixture);
	}
}

/* ---- streams ---- */

#define STREAM(text) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" text

static void
test_a_stream_comes_in_pieces(void **state)
{
	struct script script = { .answers = { STREAM("a b END") }, .count = 1 };
	struct fixture fixture;
	size_t at = 0;

	(void)state;
	begin(&fixture, play, &script);
	make_stream(&fixture);
	assert_true(run(&fixture));
	assert_string_equal(fixture.body, "a b END");
	assert_true(str_find(str_of(script.head), STR("Accept: text/event-stream\r\n"), &at));
	assert_int_equal(fixture.usage.prompt_tokens, 5);
	end(&fixture);
}

static void
test_a_cut_stream_is_repeated_until_text_was_passed_on(void **state)
{
	for (size_t tell_at = 0; tell_at < 2; tell_at++) {
		struct script script = { .answers = { STREAM("a"), STREAM("b END") }, .count = 2 };
		struct fixture fixture;

		(void)state;
		begin(&fixture, play, &script);
		make_stream(&fixture);
		fixture.tell_at = tell_at;
		if (tell_at) {
			assert_fails(&fixture, ERR_PROVIDER_REPLY, 1);
			/* what was read of it was paid */
			assert_int_equal(fixture.usage.prompt_tokens, 5);
		} else {
			assert_true(run(&fixture));
			/* nothing of the first attempt is in the second */
			assert_string_equal(fixture.body, "b END");
		}
		end(&fixture);
	}
}

static bool
drip_then_silence(const struct fake_request *request, void *user)
{
	(void)user;
	fake_send(request, STREAM("a"));
	fake_wait_closed(request);
	return false;
}

static void
test_a_stream_that_falls_silent(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, drip_then_silence, NULL);
	make_stream(&fixture);
	fixture.config.provider_timeout_ms = 1000;
	fixture.config.provider_attempts = 1;
	assert_fails(&fixture, ERR_TIMEOUT, 1);
	assert_string_equal(fixture.body, "a");
	end(&fixture);
}

static bool
send_for_ever(const struct fake_request *request, void *user)
{
	(void)user;
	fake_send(request, "HTTP/1.1 200 OK\r\n\r\n");
	for (int i = 0; i < 1000; i++)
		fake_send(request, "all work and no play makes jack a dull boy ");
	fake_wait_closed(request);
	return false;
}

static void
test_a_stream_without_end(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, send_for_ever, NULL);
	make_stream(&fixture);
	fixture.request.max_reply_bytes = 10000;
	fixture.config.provider_attempts = 1;
	assert_fails(&fixture, ERR_PROVIDER_REPLY, 1);
	end(&fixture);
}

/* ---- metrics ---- */

static void
assert_shows(struct metrics *metrics, const char *line)
{
	AUTO(buf) struct buf page = BUF_INIT((size_t)1024 * 1024);
	size_t at = 0;

	metrics_write(metrics, &page);
	if (!str_find(str_make(page.data, page.len), str_of(line), &at))
		fail_msg("'%s' is not in:\n%s", line, page.data);
}

static void
test_metrics(void **state)
{
	static const char *const outcome[] = { "provider", "kind", "outcome", NULL };
	static const char *const kind[] = { "provider", "kind", NULL };
	static const char *const direction[] = { "provider", "kind", "direction", NULL };
	static const char *const provider[] = { "provider", NULL };
	struct script script = { .answers = { EMPTY("500 Oops"), STREAM("a END"), EMPTY("401 No") },
				 .count = 3 };
	struct metrics *metrics = metrics_new();
	struct provider_metrics counted = {
		.requests_total =
			metrics_register(metrics, &(struct metric_opts){ .name = "requests",
									 .labels = outcome }),
		.seconds =
			metrics_register(metrics,
					 &(struct metric_opts){ .kind = METRIC_HISTOGRAM,
								.name = "seconds",
								.labels = kind,
								.buckets = metrics_seconds_buckets,
								.bucket_count = 1 }),
		.tokens_total =
			metrics_register(metrics, &(struct metric_opts){ .name = "tokens",
									 .labels = direction }),
		.first_token_seconds =
			metrics_register(metrics,
					 &(struct metric_opts){ .kind = METRIC_HISTOGRAM,
								.name = "first",
								.labels = provider,
								.buckets = metrics_seconds_buckets,
								.bucket_count = 1 }),
	};
	struct fixture fixture;

	(void)state;
	begin(&fixture, play, &script);
	make_stream(&fixture);
	fixture.tell_at = 1;
	fixture.call.metrics = &counted;
	assert_true(run(&fixture));
	assert_false(run(&fixture));
	assert_shows(metrics, "requests{provider=\"fake\",kind=\"generate\",outcome=\"failed\"} 1");
	assert_shows(metrics, "requests{provider=\"fake\",kind=\"generate\",outcome=\"ok\"} 1");
	assert_shows(metrics,
		     "requests{provider=\"fake\",kind=\"generate\",outcome=\"rejected\"} 1");
	assert_shows(metrics, "seconds_count{provider=\"fake\",kind=\"generate\"} 3");
	assert_shows(metrics, "tokens{provider=\"fake\",kind=\"generate\",direction=\"in\"} 5");
	assert_shows(metrics, "first_count{provider=\"fake\"} 1");
	end(&fixture);
	metrics_free(metrics);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_reply_and_counts),
		cmocka_unit_test(test_a_large_body_is_sent_without_asking),
		cmocka_unit_test(test_tokens_are_counted_by_a_header_of_tei),
		cmocka_unit_test(test_key_of_google_and_no_key),
		cmocka_unit_test(test_troubles_that_pass_are_repeated),
		cmocka_unit_test(test_attempts_come_to_an_end),
		cmocka_unit_test(test_a_long_wait_is_left_to_the_queue),
		cmocka_unit_test(test_refusals_are_not_repeated),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_a_server_that_goes_away_with_a_request_is_an_outage),
		cmocka_unit_test(test_silence_is_a_timeout),
		cmocka_unit_test(test_the_deadline_ends_it),
		cmocka_unit_test(test_no_pause_beyond_the_deadline),
		cmocka_unit_test(test_a_cancel_is_heard),
		cmocka_unit_test(test_who_waits_is_told_and_can_end_it),
		cmocka_unit_test(test_a_reply_that_is_too_long),
		cmocka_unit_test(test_a_body_that_is_refused_while_it_is_sent),
		cmocka_unit_test(test_a_stream_comes_in_pieces),
		cmocka_unit_test(test_a_cut_stream_is_repeated_until_text_was_passed_on),
		cmocka_unit_test(test_a_stream_that_falls_silent),
		cmocka_unit_test(test_a_stream_without_end),
		cmocka_unit_test(test_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
