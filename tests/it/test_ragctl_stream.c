/*
 * ragctl query --stream against a server that does what networks do: cuts the stream inside of an event, says goodbye in
 * order without an end, is full for a moment, begins the answer anew. What is printed is the answer, once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/http_client.h"
#include "common/http_server.h"
#include "tests/support/must.h"

#define JOB "query-0-01m83vp7a775yt6bfzws23a96x"
#define STATUS "retry: 10\n\nevent: status\ndata: {\"id\":\"" JOB "\",\"status\":\"queued\"}\n\n"
#define TOKEN(id, text) "id: " id "\nevent: token\ndata: {\"t\":\"" text "\"}\n\n"
#define RESET(id, text)                                                                            \
	"id: " id "\nevent: reset\ndata: {\"reason\":\"r\",\"text\":\"" text "\"}\n\n"
#define DONE(answer)                                                                               \
	"id: 9-0\nevent: done\ndata: {\"id\":\"" JOB "\",\"status\":\"succeeded\",\"result\":{"    \
	"\"answer\":\"" answer "\",\"citations\":[{\"n\":1,\"document_id\":\"d\",\"title\":"       \
	"\"Title\",\"text\":\"source text\",\"score\":1}],\"warnings\":[]},\"error\":null}\n\n"

/* One answer of the server. */
struct act {
	const char *last_id; /* what the client must resume from; NULL: it is the POST */
	int status;	     /* 0 = 200 */
	const char *events;
	bool cut; /* without the last chunk */
};

static struct http_server *server;
static const struct act *_Atomic acts;
static atomic_size_t at;
static char failure[256];
static char *out, *err;

static void
handler(const struct http_request *request, void *user)
{
	const struct act *act = atomic_load(&acts) + atomic_fetch_add(&at, 1);
	struct http_answer answer;
	struct str id = STR(""), accept = STR("");

	(void)user;
	http_header(request, "Last-Event-ID", &id);
	http_header(request, "Accept", &accept);
	if (!str_eq_c(accept, "text/event-stream") ||
	    !str_eq_c(request->method, act->last_id ? "GET" : "POST") ||
	    !str_eq_c(id, act->last_id ? act->last_id : ""))
		(void)snprintf(failure, sizeof(failure), "call %zu: %.*s from '%.*s'",
			       atomic_load(&at), STR_ARG(request->method), STR_ARG(id));
	http_answer_init(&answer, act->status ? act->status : 200);
	if (act->status) {
		answer.content_type = "application/problem+json";
		answer.body = str_of(act->events);
		http_answer_header(&answer, "Retry-After", "0");
		http_answer_send(request, &answer);
		return;
	}
	answer.content_type = "text/event-stream; charset=utf-8";
	if (http_stream_begin(request, &answer) &&
	    http_stream_write(request, str_of(act->events)) && !act->cut)
		http_stream_end(request);
}

static int
setup(void **state)
{
	const struct http_server_opts opts = { .listen = "127.0.0.1:0",
					       .name = "test",
					       .threads = 4,
					       .header_timeout_ms = 20000,
					       .body_timeout_ms = 20000,
					       .keep_alive_ms = 1000,
					       .max_connection_requests = 100,
					       .max_connection_ms = 20000,
					       .max_header_bytes = 8192,
					       .handler = handler };

	(void)state;
	MUST(http_client_global_init(e));
	MUST(http_server_start(&opts, &server, e));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	http_server_stop(server);
	free(out);
	free(err);
	return 0;
}

static int
run(const struct act *script, const char *more)
{
	char url[64];
	const char *argv[] = { "ragctl", "--url", url, "query", "--stream", "q", more };
	size_t out_len = 0, err_len = 0;
	struct cli_world world = { .columns = 80 };
	int code;

	atomic_store(&acts, script);
	atomic_store(&at, 0);
	failure[0] = '\0';
	free(out);
	free(err);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", http_server_port(server));
	world.out = open_memstream(&out, &out_len);
	world.err = open_memstream(&err, &err_len);
	code = cli_main(more ? 7 : 6, argv, &world);
	(void)fclose(world.out);
	(void)fclose(world.err);
	if (failure[0])
		fail_msg("%s", failure);
	return code;
}

static void
expect_answer(const char *answer)
{
	size_t len = strlen(answer);

	if (strncmp(out, answer, len) != 0 || strncmp(out + len, "\n\nSources\n[1] Title", 19) != 0)
		fail_msg("printed '%s', not '%s'", out, answer);
}

static void
printed_as_it_comes(void **state)
{
	static const struct act script[] = {
		{ NULL, 0,
		  STATUS TOKEN("1-0", "one ") ": ping\n\n" TOKEN("2-0", "t\\u00e4o")
			  DONE("one t\xc3\xa4o"),
		  false },
	};

	(void)state;
	assert_int_equal(run(script, NULL), CLI_OK);
	expect_answer("one t\xc3\xa4o");
	assert_int_equal(atomic_load(&at), 1);
}

/* Inside of an event, between events, in order: it reads on from the last whole one. */
static void
resumed_after_cuts(void **state)
{
	static const struct act script[] = {
		{ NULL, 0, STATUS TOKEN("1-0", "one ") "id: 2-0\nevent: token\ndata: {\"t\":\"tw",
		  true },
		{ "1-0", 0, TOKEN("2-0", "two "), false },
		{ "2-0", 503, "{\"code\":\"TOO_MANY_STREAMS\",\"detail\":\"full\"}", false },
		{ "2-0", 0, "", true },
		{ "2-0", 0, TOKEN("3-0", "three") DONE("one two three"), false },
	};

	(void)state;
	assert_int_equal(run(script, NULL), CLI_OK);
	expect_answer("one two three");
	assert_int_equal(atomic_load(&at), 5);
}

/* A reset that only adds is printed as what it adds; another one begins anew, and says so. */
static void
resets(void **state)
{
	static const struct act added[] = {
		{ NULL, 0,
		  STATUS TOKEN("1-0", "one ") RESET("4-0", "one two ") TOKEN("5-0", "three")
			  DONE("one two three"),
		  false },
	};
	static const struct act anew[] = {
		{ NULL, 0,
		  STATUS TOKEN("1-0", "wrong") RESET("4-0", "") TOKEN("5-0", "right") DONE("right"),
		  false },
	};

	(void)state;
	assert_int_equal(run(added, NULL), CLI_OK);
	expect_answer("one two three");
	assert_int_equal(run(anew, NULL), CLI_OK);
	expect_answer("wrong\n\nright");
	assert_non_null(strstr(err, "begins anew"));
}

static void
json_is_the_result_alone(void **state)
{
	static const struct act script[] = {
		{ NULL, 0, STATUS TOKEN("1-0", "one") DONE("one"), false },
	};

	(void)state;
	assert_int_equal(run(script, "--json"), CLI_OK);
	assert_true(strncmp(out, "{\"answer\":\"one\"", 15) == 0);
}

static void
failures(void **state)
{
	static const struct act refused[] = {
		{ NULL, 422, "{\"code\":\"INVALID_ARGUMENT\",\"detail\":\"no such thing\"}",
		  false },
	};
	static const struct act failed[] = {
		{ NULL, 0,
		  STATUS TOKEN("1-0", "half") "id: 2-0\nevent: done\ndata: "
					      "{\"status\":\"failed\",\"result\":null,\"error\":{"
					      "\"code\":\"TIMEOUT\",\"detail\":\"too slow\"}}\n\n",
		  false },
	};
	static const struct act garbage[] = {
		{ NULL, 0, STATUS "id: 1-0\nevent: token\ndata: {\"t\":\n\n", false },
	};

	(void)state;
	assert_int_equal(run(refused, NULL), CLI_REFUSED);
	assert_non_null(strstr(err, "no such thing"));
	assert_int_equal(run(failed, NULL), CLI_FAILED);
	assert_non_null(strstr(err, "the query failed: too slow"));
	assert_int_equal(run(garbage, NULL), CLI_UNREACHABLE);
	assert_non_null(strstr(err, "event stream"));
}

/* What a server sends does not drive the terminal. */
static void
tokens_are_harmless(void **state)
{
	static const struct act script[] = {
		{ NULL, 0, STATUS TOKEN("1-0", "a\\u001b[31mb\\n") DONE("x"), false },
	};

	(void)state;
	assert_int_equal(run(script, NULL), CLI_OK);
	assert_null(strchr(out, 0x1b));
	assert_non_null(strstr(out, "a [31mb\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(printed_as_it_comes),
		cmocka_unit_test(resumed_after_cuts),
		cmocka_unit_test(resets),
		cmocka_unit_test(json_is_the_result_alone),
		cmocka_unit_test(failures),
		cmocka_unit_test(tokens_are_harmless),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
