/* Exchanges with a provider's server within the limits of the fleet: two instances, as of two workers, share one Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/governor.h"
#include "jobs/provider/remote.h"
#include "tests/support/fake_http.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define OPEN_MS 40 /* of the breaker: short, and waited for by condition */
#define WORKERS 2

static struct redis_server *redis_server;

static int
start(void **state)
{
	(void)state;
	redis_server = redis_server_start(NULL);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	redis_server_stop(redis_server);
	return 0;
}

struct fixture {
	struct config config;
	struct fake_http *server;
	struct endpoint at;
	struct remote *workers[WORKERS];
	struct redis *redis[WORKERS];
	struct remote_request request;
	struct err err;
	char url[64];
	int64_t deadline_ms;	      /* of a call, from its begin; 0 = none */
	_Atomic(const char *) answer; /* of the server, until it is changed; NULL = silence */
};

static bool
serve(const struct fake_request *request, void *user)
{
	struct fixture *fixture = user;

	const char *answer = atomic_load(&fixture->answer);

	if (!answer) { /* says nothing */
		fake_wait_closed(request);
		return false;
	}
	fake_send(request, answer);
	return true;
}

static bool
read_body(void *user, struct str body, struct remote_used *used, struct err *err)
{
	(void)user;
	used->tokens_in = 11;
	used->tokens_out = 3;
	return body.len == 0 || err_set(err, ERR_PROVIDER_REPLY, "garbage");
}

#define OK_REPLY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define EMPTY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"

/* The model's name keeps the limits of the tests apart. */
static void
begin(struct fixture *fixture, const char *model, const char *answer)
{
	*fixture = (struct fixture){ .answer = answer, .err = ERR_INIT };
	MUST(config_load(&fixture->config, NULL, e));
	fixture->config.provider_attempts = 1;
	fixture->config.provider_breaker_failures = 3;
	fixture->config.provider_breaker_ms = OPEN_MS;
	fixture->server = fake_http_start(serve, fixture);
	(void)snprintf(fixture->url, sizeof(fixture->url), "http://127.0.0.1:%d",
		       fake_http_port(fixture->server));
	fixture->at = (struct endpoint){
		.provider = "fake", .model = model, .url = fixture->url, .key = "one"
	};
	fixture->request = (struct remote_request){
		.path = "/call", .body = STR("{}"), .tokens = 7, .read = read_body
	};
	for (size_t i = 0; i < WORKERS; i++)
		fixture->redis[i] = redis_server_connect(redis_server);
}

/* Once limits and key are what they are to be. */
static void
open_workers(struct fixture *fixture)
{
	for (size_t i = 0; i < WORKERS; i++)
		MUST(remote_new(&(struct remote_opts){ .at = &fixture->at,
						       .config = &fixture->config,
						       .kind = REMOTE_GENERATE },
				&fixture->workers[i], e));
}

static void
end(struct fixture *fixture)
{
	for (size_t i = 0; i < WORKERS; i++) {
		remote_free(fixture->workers[i]);
		redis_free(fixture->redis[i]);
	}
	fake_http_stop(fixture->server);
	config_release(&fixture->config);
}

static bool
run(struct fixture *fixture, size_t worker)
{
	const struct provider_call call = {
		.redis = fixture->redis[worker],
		.deadline_mono_ms =
			fixture->deadline_ms > 0 ? clock_mono_ms() + fixture->deadline_ms : 0,
	};

	fixture->err = ERR_INIT;
	return remote_run(fixture->workers[worker], &call, &fixture->request, &fixture->err);
}

static void
assert_refused(struct fixture *fixture, size_t worker, enum err_code code, const char *waiting_for,
	       int requests)
{
	assert_false(run(fixture, worker));
	if (fixture->err.code != code)
		fail_msg("%s (%s; %s) instead of %s", err_info(fixture->err.code)->wire,
			 fixture->err.msg, fixture->err.cause, err_info(code)->wire);
	if (waiting_for) {
		assert_string_equal(fixture->err.waiting_for, waiting_for);
		assert_true(fixture->err.retry_after_ms > 0);
	}
	assert_int_equal(fake_http_requests(fixture->server), requests);
}

/* ---- tests ---- */

static void
test_a_minutes_requests_are_everybodys(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "rpm", OK_REPLY);
	fixture.at.requests_per_minute = 1;
	open_workers(&fixture);
	assert_true(run(&fixture, 0));
	for (size_t i = 0; i < WORKERS; i++)
		assert_refused(&fixture, i, ERR_PROVIDER_LIMITED, "fake rpm: requests per minute",
			       1);
	end(&fixture);
}

/* 11 + 3 tokens were used, not the 7 that were estimated: no room for 7 more. */
static void
test_true_tokens_take_the_place_of_the_estimate(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "tpm", OK_REPLY);
	fixture.at.tokens_per_minute = 20;
	open_workers(&fixture);
	assert_true(run(&fixture, 0));
	assert_refused(&fixture, 1, ERR_PROVIDER_LIMITED, "fake tpm: tokens per minute", 1);
	end(&fixture);
}

static void
test_a_hint_holds_everybody(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 503 Away\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nx-ratelimit-remaining-requests: "
		"0\r\nx-ratelimit-reset-requests: "
		"30s\r\nContent-Length: 0\r\n\r\n",
	};
	static const char *const models[] = { "429", "503", "200" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct fixture fixture;
		char waiting_for[64];

		begin(&fixture, models[i], answers[i]);
		open_workers(&fixture);
		assert_int_equal(run(&fixture, 0), i == 2);
		atomic_store(&fixture.answer, OK_REPLY);
		(void)snprintf(waiting_for, sizeof(waiting_for), "fake %s: asked to wait",
			       models[i]);
		assert_refused(&fixture, 1, ERR_PROVIDER_LIMITED, waiting_for, 1);
		assert_true(fixture.err.retry_after_ms > 20000);
		end(&fixture);
	}
}

/* Another account at the same server has limits of its own. */
static void
test_limits_belong_to_a_key(void **state)
{
	struct remote *other = NULL;
	struct fixture fixture;

	(void)state;
	begin(&fixture, "keys", OK_REPLY);
	fixture.at.requests_per_minute = 1;
	open_workers(&fixture);
	assert_true(run(&fixture, 0));
	assert_refused(&fixture, 1, ERR_PROVIDER_LIMITED, NULL, 1);
	fixture.at.key = "two";
	MUST(remote_new(&(struct remote_opts){ .at = &fixture.at, .config = &fixture.config },
			&other, e));
	remote_free(fixture.workers[1]);
	fixture.workers[1] = other;
	assert_true(run(&fixture, 1));
	end(&fixture);
}

/* A short wait is done here, once: both calls go, by turns. */
static void
test_a_short_wait_is_waited(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "short", OK_REPLY);
	fixture.at.requests_per_minute = 600;
	open_workers(&fixture);
	for (int i = 0; i < 6; i++)
		assert_true(run(&fixture, (size_t)i % WORKERS));
	assert_int_equal(fake_http_requests(fixture.server), 6);
	end(&fixture);
}

/* Three calls fail with `code`; the third opens the breaker and fails with `last`. */
static void
break_it(struct fixture *fixture, const char *answer, enum err_code code, enum err_code last)
{
	open_workers(fixture);
	atomic_store(&fixture->answer, answer);
	for (int i = 0; i < 3; i++)
		assert_refused(fixture, (size_t)i % WORKERS, i < 2 ? code : last, NULL, i + 1);
}

static void
test_an_outage_opens_the_breaker_for_everybody(void **state)
{
	static const struct {
		const char *answer, *model;
		enum err_code code, last; /* of the one that opens it */
	} rows[] = {
		{ EMPTY("503 Away"), "b503", ERR_PROVIDER_UNAVAILABLE, ERR_PROVIDER_UNAVAILABLE },
		/* a request that was not answered is charged only while the server answers others */
		{ EMPTY("500 Oops"), "b500", ERR_PROVIDER_REPLY, ERR_PROVIDER_UNAVAILABLE },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\ncut", "bcut",
		  ERR_TIMEOUT, ERR_PROVIDER_UNAVAILABLE }, /* followed by silence */
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", "bbad", ERR_PROVIDER_REPLY,
		  ERR_PROVIDER_REPLY },
		/* a key that is no key is one for all */
		{ EMPTY("401 Who"), "b401", ERR_PROVIDER_REJECTED, ERR_PROVIDER_REJECTED },
		{ EMPTY("404 What"), "b404", ERR_PROVIDER_REJECTED, ERR_PROVIDER_REJECTED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture fixture;
		char waiting_for[64];

		begin(&fixture, rows[i].model, OK_REPLY);
		fixture.config.provider_breaker_ms = 3600000;
		fixture.config.provider_timeout_ms = 300;
		break_it(&fixture, rows[i].answer, rows[i].code, rows[i].last);
		(void)snprintf(waiting_for, sizeof(waiting_for), "fake %s: out of service",
			       rows[i].model);
		for (size_t k = 0; k < WORKERS; k++)
			assert_refused(&fixture, k, ERR_PROVIDER_UNAVAILABLE, waiting_for, 3);
		end(&fixture);
	}
}

static enum governor_breaker
breaker_of(const struct fixture *fixture)
{
	static struct governor_state all[64];
	char label[64];
	size_t count;

	(void)snprintf(label, sizeof(label), "fake %s", fixture->at.model);
	MUST(governor_list(fixture->redis[0], all, ARRAY_SIZE(all), &count, e));
	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i].label, label) == 0)
			return all[i].breaker;
	fail_msg("%s is not in the list", label);
	return GOVERNOR_CLOSED;
}

/* A call that we end before the server has said a word tells nothing of the server: neither that it is back ... */
static void
test_an_abandoned_probe_closes_nothing(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "probe", OK_REPLY);
	break_it(&fixture, EMPTY("503 Away"), ERR_PROVIDER_UNAVAILABLE, ERR_PROVIDER_UNAVAILABLE);
	atomic_store(&fixture.answer, NULL);
	fixture.deadline_ms = 300;
	while (run(&fixture, 0) || fixture.err.code == ERR_PROVIDER_UNAVAILABLE)
		;
	assert_int_equal(fixture.err.code, ERR_DEADLINE);
	assert_int_not_equal(breaker_of(&fixture), GOVERNOR_CLOSED);
	end(&fixture);
}

/* ... nor that it has been there between two outages. */
static void
test_an_abandoned_call_ends_no_row_of_outages(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "row", EMPTY("503 Away"));
	fixture.config.provider_breaker_ms = 3600000;
	open_workers(&fixture);
	for (int i = 0; i < 3; i++) {
		atomic_store(&fixture.answer, NULL);
		fixture.deadline_ms = 50;
		assert_false(run(&fixture, 1));
		assert_int_equal(fixture.err.code, ERR_DEADLINE);
		atomic_store(&fixture.answer, EMPTY("503 Away"));
		fixture.deadline_ms = 0;
		assert_false(run(&fixture, 0));
	}
	assert_int_equal(breaker_of(&fixture), GOVERNOR_OPEN);
	end(&fixture);
}

/* "Come again at once", for as long as one does: asked less and less often. */
static void
test_a_server_that_says_at_once_is_not_hammered(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "at-once",
	      "HTTP/1.1 429 Slow\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n");
	fixture.config.provider_max_wait_ms = 0;
	open_workers(&fixture);
	for (int i = 0; i < 40; i++) {
		assert_false(run(&fixture, (size_t)i % WORKERS));
		assert_int_equal(fixture.err.code, ERR_PROVIDER_LIMITED);
	}
	assert_true(fake_http_requests(fixture.server) < 20);
	end(&fixture);
}

static void
test_refusals_of_one_request_open_nothing(void **state)
{
	static const char *const answers[] = { EMPTY("400 Bad"), EMPTY("413 Big"),
					       EMPTY("422 Odd") };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct fixture fixture;

		begin(&fixture, "refusals", OK_REPLY);
		enum err_code code = i == 1 ? ERR_TOO_LARGE : ERR_PROVIDER_REJECTED;

		break_it(&fixture, answers[i], code, code);
		atomic_store(&fixture.answer, OK_REPLY);
		assert_true(run(&fixture, 0));
		end(&fixture);
	}
}

static void
test_the_breaker_closes_again(void **state)
{
	struct fixture fixture;
	int tries = 0;

	(void)state;
	begin(&fixture, "back", OK_REPLY);
	break_it(&fixture, EMPTY("503 Away"), ERR_PROVIDER_UNAVAILABLE, ERR_PROVIDER_UNAVAILABLE);
	atomic_store(&fixture.answer, OK_REPLY);
	while (!run(&fixture, 0)) {
		assert_int_equal(fixture.err.code, ERR_PROVIDER_UNAVAILABLE);
		assert_true(tries++ < 100000);
	}
	assert_true(run(&fixture, 1));
	end(&fixture);
}

/* A request that breaks the server is charged as long as the server answers others, however often it is tried; one that nobody gets an
 * answer for waits. */
static void
test_a_request_that_breaks_the_server_is_charged(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "poison", OK_REPLY);
	open_workers(&fixture);
	for (int i = 0; i < 4; i++) {
		atomic_store(&fixture.answer, EMPTY("500 Oops"));
		assert_refused(&fixture, 0, ERR_PROVIDER_REPLY, NULL, 3 * i + 1);
		assert_refused(&fixture, 0, ERR_PROVIDER_REPLY, NULL, 3 * i + 2);
		atomic_store(&fixture.answer, OK_REPLY);
		assert_true(run(&fixture, 1));
	}
	end(&fixture);
}

/* Attempts that open the breaker, and a run that finds it open: nobody is charged. */
static void
test_who_meets_an_open_breaker_is_not_charged(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "met", EMPTY("500 Oops"));
	fixture.config.provider_attempts = 10;
	fixture.config.provider_breaker_ms = 3600000;
	open_workers(&fixture);
	assert_refused(&fixture, 0, ERR_PROVIDER_UNAVAILABLE, "fake met: out of service", 3);
	assert_refused(&fixture, 1, ERR_PROVIDER_UNAVAILABLE, "fake met: out of service", 3);
	end(&fixture);
}

static void
test_a_days_quota_is_remembered(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "quota",
	      "HTTP/1.1 429 Slow\r\nContent-Length: 39\r\n\r\n"
	      "{\"error\":{\"code\":\"insufficient_quota\"}}");
	open_workers(&fixture);
	assert_refused(&fixture, 0, ERR_PROVIDER_QUOTA, NULL, 1);
	assert_refused(&fixture, 1, ERR_PROVIDER_QUOTA, NULL, 1);
	end(&fixture);
}

/* Whoever stops waiting for its turn gives it back. */
static void
test_a_turn_that_was_not_used_is_given_back(void **state)
{
	atomic_bool cancel = false;
	struct provider_call call = { .cancel = &cancel };
	struct fixture fixture;

	(void)state;
	begin(&fixture, "turn", OK_REPLY);
	fixture.at.concurrency = 1;
	fixture.config.provider_max_wait_ms = 0;
	open_workers(&fixture);
	call.redis = fixture.redis[0];
	atomic_store(&cancel, true);
	for (int i = 0; i < 3; i++) {
		assert_false(remote_run(fixture.workers[0], &call, &fixture.request, &fixture.err));
		assert_int_equal(fixture.err.code, ERR_CANCELLED);
	}
	for (int i = 0; i < 3; i++)
		assert_true(run(&fixture, 1));
	end(&fixture);
}

static void
test_without_redis_nothing_is_sent(void **state)
{
	struct fixture fixture;

	(void)state;
	begin(&fixture, "alone", OK_REPLY);
	open_workers(&fixture);
	redis_server_kill(redis_server);
	assert_refused(&fixture, 0, ERR_REDIS_UNAVAILABLE, NULL, 0);
	redis_server_restart(redis_server);
	assert_true(run(&fixture, 1));
	end(&fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_minutes_requests_are_everybodys),
		cmocka_unit_test(test_true_tokens_take_the_place_of_the_estimate),
		cmocka_unit_test(test_a_hint_holds_everybody),
		cmocka_unit_test(test_limits_belong_to_a_key),
		cmocka_unit_test(test_a_short_wait_is_waited),
		cmocka_unit_test(test_an_outage_opens_the_breaker_for_everybody),
		cmocka_unit_test(test_an_abandoned_probe_closes_nothing),
		cmocka_unit_test(test_an_abandoned_call_ends_no_row_of_outages),
		cmocka_unit_test(test_a_server_that_says_at_once_is_not_hammered),
		cmocka_unit_test(test_refusals_of_one_request_open_nothing),
		cmocka_unit_test(test_the_breaker_closes_again),
		cmocka_unit_test(test_a_request_that_breaks_the_server_is_charged),
		cmocka_unit_test(test_who_meets_an_open_breaker_is_not_charged),
		cmocka_unit_test(test_a_days_quota_is_remembered),
		cmocka_unit_test(test_a_turn_that_was_not_used_is_given_back),
		cmocka_unit_test(test_without_redis_nothing_is_sent),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
