/*
 * The governor in a real Redis. What it promises of a minute is shown without waiting for one: places are given ahead of time, so a
 * caller that may wait for ten minutes gets all moments of ten minutes at once.
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/governor.h"
#include "common/keys.h"
#include "tests/support/must.h"
#include "tests/support/process.h"
#include "tests/support/redis_group.h"

#define MINUTE_MS 60000
#define FAR_MS 3600000 /* "may wait for as long as it takes" */
#define OPEN_MS 40     /* of the breaker: short, and waited for by condition */

static const struct governor_opts far = { .max_wait_ms = FAR_MS };
static const struct governor_opts now_or_never = { .breaker_failures = 3,
						   .breaker_open_ms = OPEN_MS };

static struct governor_ticket
take(const char *name, const struct governor_limits *limits, const struct governor_opts *opts,
     int64_t tokens)
{
	struct governor_ticket ticket;

	MUST(governor_acquire(redis, str_of(name), limits, opts,
			      &(struct governor_cost){ .tokens = tokens }, &ticket, e));
	assert_true(ticket.wait_ms >= 0 && ticket.wait_ms <= opts->max_wait_ms);
	return ticket;
}

static struct err
refuse(const char *name, const struct governor_limits *limits, const struct governor_opts *opts,
       int64_t tokens)
{
	struct governor_ticket ticket;
	struct err err = ERR_INIT;

	assert_false(governor_acquire(redis, str_of(name), limits, opts,
				      &(struct governor_cost){ .tokens = tokens }, &ticket, &err));
	return err;
}

static bool
may(const char *name, const struct governor_limits *limits, const struct governor_opts *opts,
    struct governor_ticket *out)
{
	struct err err = ERR_INIT;

	return governor_acquire(redis, str_of(name), limits, opts, NULL, out, &err);
}

static void
report(const struct governor_ticket *ticket, enum governor_outcome outcome, int64_t hint_ms)
{
	struct governor_report how = { outcome, -1, hint_ms, "it said no" };

	governor_report(redis, ticket, &how);
}

static struct governor_state
state_of(const char *name)
{
	static struct governor_state all[64];
	size_t count;

	MUST(governor_list(redis, all, ARRAY_SIZE(all), &count, e));
	for (size_t i = 0; i < count; i++) {
		if (strcmp(all[i].name, name) == 0)
			return all[i];
	}
	fail_msg("%s is not in the list", name);
	return (struct governor_state){ 0 };
}

/* ---- requests and tokens a minute ---- */

static void
test_requests_of_any_minute(void **state)
{
	static const int64_t limits[] = { 1, 2, 7, 60, 600 };
	static int64_t at[2000];

	(void)state;
	for (size_t l = 0; l < ARRAY_SIZE(limits); l++) {
		struct governor_limits limit = { .requests_per_minute = limits[l] };
		int64_t n = limits[l], count = 3 * n + 5;
		char name[32];

		(void)snprintf(name, sizeof(name), "rpm:%lld", (long long)n);
		for (int64_t i = 0; i < count; i++) {
			at[i] = take(name, &limit, &far, 0).at_ms;
			assert_true(i == 0 || at[i] >= at[i - 1]); /* in the order of asking */
			/* one more than the limit never fits into a minute and the lateness */
			if (i >= n)
				assert_true(at[i] - at[i - n] >= MINUTE_MS + MINUTE_MS / 40);
		}
		/* three whole limits take no longer than three minutes and a bit: 95 % are used */
		assert_true((at[3 * n] - at[0]) * 95 <= (int64_t)3 * MINUTE_MS * 100);
	}
}

static void
test_tokens_of_any_minute(void **state)
{
	struct governor_limits limit = { .tokens_per_minute = 10000 };
	static int64_t at[1000], cost[1000];
	int64_t sum = 0, first = 0, total = 0;
	uint64_t seed = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		cost[i] = (int64_t)(seed >> 33) % 400;
		at[i] = take("tpm", &limit, &far, cost[i]).at_ms;
		total += cost[i];
		sum += cost[i];
		while (at[first] <= at[i] - (MINUTE_MS + MINUTE_MS / 40))
			sum -= cost[first++];
		if (sum > 10000)
			fail_msg("%lld tokens in a minute", (long long)sum);
	}
	assert_true(total > 150000);
	/* minutes it took, times the limit */
	assert_true((at[ARRAY_SIZE(at) - 1] - at[0]) / 1000 * 10000 / 60 * 92 / 100 <= total);
}

/* A call that is larger than the limit goes alone, instead of never. */
static void
test_a_call_above_the_limit_of_tokens(void **state)
{
	struct governor_limits limit = { .tokens_per_minute = 1000 };
	int64_t first = take("huge", &limit, &far, 5000).at_ms;

	(void)state;
	assert_true(take("huge", &limit, &far, 1).at_ms >= first + MINUTE_MS);
}

static void
test_both_limits_hold(void **state)
{
	struct governor_limits limit = { .requests_per_minute = 100, .tokens_per_minute = 1000 };
	int64_t at[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		at[i] = take("both", &limit, &far, i < 150 ? 100 : 1).at_ms;
		if (i >= 10 && i < 150)
			assert_true(at[i] - at[i - 10] >= MINUTE_MS);
		if (i >= 100)
			assert_true(at[i] - at[i - 100] >= MINUTE_MS);
	}
}

/* What is refused says when it is worth coming, and takes nothing. */
static void
test_refused_takes_nothing(void **state)
{
	struct governor_limits limit = { .requests_per_minute = 1 };
	int64_t first = take("m:gemini-embedding-001:0a1b2c3d", &limit, &now_or_never, 0).at_ms;
	struct err err;

	(void)state;
	for (int i = 0; i < 5; i++) {
		err = refuse("m:gemini-embedding-001:0a1b2c3d", &limit, &now_or_never, 0);
		assert_int_equal(err.code, ERR_PROVIDER_LIMITED);
		assert_true(err_info(err.code)->outage);
		assert_true(err.retry_after_ms > 50000 && err.retry_after_ms <= 62500);
		assert_string_equal(err.waiting_for, "m gemini-embedding-001: requests per minute");
		assert_null(strstr(err.msg, "0a1b2c3d"));
	}
	assert_true(take("m:gemini-embedding-001:0a1b2c3d", &limit, &far, 0).at_ms <=
		    first + MINUTE_MS * 105 / 100);
	assert_int_equal(state_of("m:gemini-embedding-001:0a1b2c3d").refused_total, 5);
}

static void
test_a_place_ahead_is_waited_for(void **state)
{
	struct governor_limits limit = { .requests_per_minute = 60 };
	struct governor_opts opts = { .max_wait_ms = 2000 };
	struct governor_ticket ticket;
	int64_t waited = 0;
	struct err err = ERR_INIT;

	(void)state;
	while (governor_acquire(redis, STR("ahead"), &limit, &opts, NULL, &ticket, &err)) {
		assert_true(ticket.wait_ms <= 2000);
		waited += ticket.wait_ms > 0;
	}
	assert_true(waited >= 1 && waited <= 3); /* a second apart */
	assert_true(err.retry_after_ms > 2000 && err.retry_after_ms <= 3500);
}

static void
test_the_real_tokens_count(void **state)
{
	struct governor_limits limit = { .tokens_per_minute = 1000 };
	struct governor_report less = { GOVERNOR_OK, 100, -1, NULL };
	struct governor_report more = { GOVERNOR_OK, 900, -1, NULL };
	struct governor_ticket ticket = take("real", &limit, &now_or_never, 1000);

	(void)state;
	assert_int_equal(refuse("real", &limit, &now_or_never, 100).code, ERR_PROVIDER_LIMITED);
	governor_report(redis, &ticket, &less);
	assert_int_equal(state_of("real").tokens, 100);
	/* what it did not use is there for others ... */
	ticket = take("real", &limit, &far, 10);
	assert_true(ticket.at_ms < MINUTE_MS / 2 + take("real", &limit, &far, 0).at_ms);
	/* ... and what it used more is not */
	governor_report(redis, &ticket, &more);
	assert_true(take("real", &limit, &far, 100).at_ms >= ticket.at_ms + 40000);
}

static void
test_unused_gives_back(void **state)
{
	struct governor_limits limit = { .requests_per_minute = 1, .tokens_per_minute = 100 };

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct governor_ticket ticket = take("unused", &limit, &now_or_never, 100);

		assert_int_equal(refuse("unused", &limit, &now_or_never, 1).code,
				 ERR_PROVIDER_LIMITED);
		report(&ticket, GOVERNOR_UNUSED, -1);
	}
}

/* It was sent, so it counts, whatever became of it. */
static void
test_abandoned_gives_nothing_back(void **state)
{
	struct governor_limits limit = { .requests_per_minute = 1 };
	struct governor_ticket ticket = take("abandoned", &limit, &now_or_never, 0);

	(void)state;
	report(&ticket, GOVERNOR_ABANDONED, 900000);
	assert_string_equal(refuse("abandoned", &limit, &now_or_never, 0).waiting_for,
			    "abandoned: requests per minute");
	assert_int_equal(state_of("abandoned").requests, 1);
}

/* A server that says that a call took a year's tokens: a minute holds nothing else, and no longer. */
static void
test_an_absurd_number_of_tokens(void **state)
{
	static const int64_t numbers[] = { 1000000, INT64_C(1000000000000), INT64_MAX };
	struct governor_limits limit = { .tokens_per_minute = 1000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct governor_report absurd = { GOVERNOR_OK, numbers[i], -1, NULL };
		struct governor_ticket ticket;
		char name[32];

		(void)snprintf(name, sizeof(name), "absurd:%zu", i);
		ticket = take(name, &limit, &now_or_never, 10);
		governor_report(redis, &ticket, &absurd);
		assert_in_range(refuse(name, &limit, &now_or_never, 10).retry_after_ms, 30000,
				2 * MINUTE_MS);
	}
}

/* A call may count as many, all or nothing; more than the limit is the limit; unused, all of it is given back. */
static void
test_a_call_that_counts_as_many(void **state)
{
	struct governor_limits limit = { .requests_per_minute = 100 };
	struct governor_cost cost = { .requests = 40 };
	struct governor_opts opts = { .max_wait_ms = FAR_MS };
	struct governor_ticket ticket;
	struct err err = ERR_INIT;

	(void)state;
	MUST(governor_acquire(redis, STR("many"), &limit, &opts, &cost, &ticket, e));
	MUST(governor_acquire(redis, STR("many"), &limit, &opts, &cost, &ticket, e));
	opts.max_wait_ms = 30000; /* twenty are left in this minute */
	assert_false(governor_acquire(redis, STR("many"), &limit, &opts, &cost, &ticket, &err));
	assert_int_equal(err.code, ERR_PROVIDER_LIMITED);
	report(&ticket, GOVERNOR_UNUSED, -1);
	MUST(governor_acquire(redis, STR("many"), &limit, &opts, &cost, &ticket, e));
	cost.requests = 1000;
	MUST(governor_acquire(redis, STR("whole"), &limit, &opts, &cost, &ticket, e));
	assert_int_equal(state_of("whole").requests, 100);
}

/* Redis' clock is set back (or another Redis takes over whose clock is behind): time goes on from where it was. */
static void
test_a_clock_set_back(void **state)
{
	static const char *const moments[] = { "last", "clock", "seen" };
	struct governor_limits limit = { .requests_per_minute = 600, .concurrency = 2 };
	struct governor_ticket ticket = take("back", &limit, &now_or_never, 0);
	struct key key = key_governor(STR("back"), GK_STATE);
	char ahead[32];

	(void)state;
	report(&ticket, GOVERNOR_OK, -1);
	(void)snprintf(ahead, sizeof(ahead), "%" PRId64, ticket.at_ms + INT64_C(24) * FAR_MS);
	for (size_t i = 0; i < ARRAY_SIZE(moments); i++)
		MUST(REDIS_CALL(redis, NULL, e, "HSET", key.text, moments[i], ahead));
	for (int i = 0; i < 3; i++) {
		ticket = take("back", &limit, &now_or_never, 0);
		assert_int_equal(state_of("back").in_flight, 1);
		assert_in_range(state_of("back").used_ago_ms, 0, MINUTE_MS);
		report(&ticket, GOVERNOR_LIMITED, 26000);
		assert_in_range(state_of("back").wait_ms, 1000, 26000);
		assert_in_range(refuse("back", &limit, &now_or_never, 0).retry_after_ms, 1000,
				26000);
		MUST(REDIS_CALL(redis, NULL, e, "HSET", key.text, "sleep", "1"));
	}
}

static void
test_names_do_not_meet(void **state)
{
	struct governor_limits limit = { .requests_per_minute = 1 };

	(void)state;
	take("one", &limit, &now_or_never, 0);
	take("two", &limit, &now_or_never, 0);
	refuse("one", &limit, &now_or_never, 0);
}

static void
test_no_limits(void **state)
{
	struct governor_limits none = { 0 };

	(void)state;
	for (int i = 0; i < 500; i++)
		take("free", &none, &now_or_never, 1000000);
	assert_int_equal(state_of("free").granted_total, 500);
}

/* ---- calls at once ---- */

static void
test_calls_at_once(void **state)
{
	struct governor_limits limit = { .concurrency = 2 };
	struct governor_ticket a = take("once", &limit, &now_or_never, 0);
	struct governor_ticket b = take("once", &limit, &now_or_never, 0);
	struct err err = refuse("once", &limit, &now_or_never, 0);

	(void)state;
	assert_int_equal(err.code, ERR_PROVIDER_LIMITED);
	assert_string_equal(err.waiting_for, "once: calls at once");
	assert_true(err.retry_after_ms > 0 && err.retry_after_ms <= 1000);
	assert_int_equal(state_of("once").in_flight, 2);
	report(&a, GOVERNOR_OK, -1);
	a = take("once", &limit, &now_or_never, 0);
	refuse("once", &limit, &now_or_never, 0);
	report(&b, GOVERNOR_FAILED, -1);
	report(&b, GOVERNOR_FAILED, -1); /* a second time nothing is given back */
	b = take("once", &limit, &now_or_never, 0);
	refuse("once", &limit, &now_or_never, 0);
	report(&a, GOVERNOR_OK, -1);
	report(&b, GOVERNOR_OK, -1);
	assert_int_equal(state_of("once").in_flight, 0);
}

/* A process that died does not hold its place for ever. */
static void
test_a_lease_ends(void **state)
{
	struct governor_limits limit = { .concurrency = 1 };
	struct governor_opts opts = { .max_wait_ms = 60000, .lease_ms = 50 };

	(void)state;
	take("dead", &limit, &opts, 0);
	take("dead", &limit, &opts, 0); /* waits inside */
}

struct waiter {
	struct governor_ticket ticket;
	atomic_bool cancel, done;
	bool granted;
	struct err err;
};

static void *
wait_for_it(void *arg)
{
	struct governor_limits limit = { .concurrency = 1 };
	struct waiter *waiter = arg;
	struct governor_opts opts = { .max_wait_ms = 60000,
				      .lease_ms = 60000,
				      .cancel = &waiter->cancel };
	AUTO_PTR(redis_free) struct redis *own = redis_server_connect(server);

	waiter->granted = governor_acquire(own, STR("queue"), &limit, &opts, NULL, &waiter->ticket,
					   &waiter->err);
	atomic_store(&waiter->done, true);
	return NULL;
}

static bool
somebody_blocks(void *unused)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str text;
	size_t at;

	(void)unused;
	MUST(REDIS_CALL(redis, &reply, e, "INFO", "clients"));
	assert_true(reply_str(reply, &text));
	return !str_find(text, STR("blocked_clients:0"), &at);
}

static bool
is_done(void *waiter)
{
	return atomic_load(&((struct waiter *)waiter)->done);
}

/* The end of a call wakes who waits, at once and not by the end of some time. */
static void
test_the_end_of_a_call_wakes(void **state)
{
	struct governor_limits limit = { .concurrency = 1 };
	struct governor_ticket ticket = take("queue", &limit, &now_or_never, 0);
	static struct waiter waiter;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_it, &waiter), 0);
	wait_until(somebody_blocks, NULL, 30000, "a waiting call");
	assert_false(is_done(&waiter));
	report(&ticket, GOVERNOR_OK, -1);
	wait_until(is_done, &waiter, 30000, "the end of the wait");
	pthread_join(thread, NULL);
	assert_true(waiter.granted);
	report(&waiter.ticket, GOVERNOR_OK, -1);
}

static void
test_a_cancel_ends_the_wait(void **state)
{
	struct governor_limits limit = { .concurrency = 1 };
	struct governor_ticket ticket = take("queue", &limit, &now_or_never, 0);
	static struct waiter waiter;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_it, &waiter), 0);
	wait_until(somebody_blocks, NULL, 30000, "a waiting call");
	atomic_store(&waiter.cancel, true);
	wait_until(is_done, &waiter, 30000, "the end of the wait");
	pthread_join(thread, NULL);
	assert_false(waiter.granted);
	assert_int_equal(waiter.err.code, ERR_CANCELLED);
	report(&ticket, GOVERNOR_OK, -1);
}

/* ---- sleep ---- */

/* The end of a breaker's or a sleep's time, made by hand, so that how fast this machine is does not matter. */
static void
time_is_over(const char *name, const char *field)
{
	struct key key = key_governor(str_of(name), GK_STATE);

	MUST(REDIS_CALL(redis, NULL, e, "HSET", key.text, field, "1"));
}

static const struct governor_limits none = { 0 };

static void
test_everybody_sleeps_as_told(void **state)
{
	struct governor_ticket ticket = take("told", &none, &now_or_never, 0);
	struct err err;

	(void)state;
	report(&ticket, GOVERNOR_LIMITED, 0); /* "0s": now */
	ticket = take("told", &none, &now_or_never, 0);
	report(&ticket, GOVERNOR_LIMITED, 26000);
	report(&ticket, GOVERNOR_LIMITED, 5000); /* the longer one stays */
	err = refuse("told", &none, &now_or_never, 0);
	assert_int_equal(err.code, ERR_PROVIDER_LIMITED);
	assert_string_equal(err.waiting_for, "told: asked to wait");
	assert_true(err.retry_after_ms > 10000 && err.retry_after_ms <= 26000);
	assert_true(state_of("told").wait_ms <= 26000);
	assert_string_equal(state_of("told").what, "it said no");
	/* who may wait so long gets the moment */
	assert_true(take("told", &none, &far, 0).at_ms >= ticket.at_ms + 26000);
}

/* x-ratelimit-remaining: 0 comes with a success. */
static void
test_a_success_may_say_when(void **state)
{
	struct governor_ticket ticket = take("spent", &none, &now_or_never, 0);

	(void)state;
	report(&ticket, GOVERNOR_OK, 7000);
	assert_int_equal(refuse("spent", &none, &now_or_never, 0).code, ERR_PROVIDER_LIMITED);
}

static void
test_nobody_sleeps_for_a_year(void **state)
{
	struct governor_ticket ticket = take("year", &none, &now_or_never, 0);

	(void)state;
	report(&ticket, GOVERNOR_LIMITED, INT64_C(365) * 86400000);
	assert_true(refuse("year", &none, &now_or_never, 0).retry_after_ms <= 900000);
}

/* Limited without a word of when: doubled each time that it was tried again, not for each call that was on its way. */
static void
test_limited_without_a_hint_doubles(void **state)
{
	struct governor_ticket tickets[4];

	(void)state;
	for (int round = 0; round < 9; round++) {
		int64_t most_ms = round < 6 ? INT64_C(1000) << round : 60000, sleep_ms;

		time_is_over("blind", "sleep");
		for (size_t i = 0; i < ARRAY_SIZE(tickets); i++)
			tickets[i] = take("blind", &none, &now_or_never, 0);
		for (size_t i = 0; i < ARRAY_SIZE(tickets); i++)
			report(&tickets[i], GOVERNOR_LIMITED, -1);
		sleep_ms = refuse("blind", &none, &now_or_never, 0).retry_after_ms;
		assert_true(sleep_ms <= most_ms && (round < 3 || sleep_ms >= most_ms / 4));
	}
	time_is_over("blind", "sleep");
	tickets[0] = take("blind", &none, &now_or_never, 0);
	report(&tickets[0], GOVERNOR_OK, -1); /* all is well again: from the beginning */
	tickets[0] = take("blind", &none, &now_or_never, 0);
	report(&tickets[0], GOVERNOR_LIMITED, -1);
	assert_true(state_of("blind").wait_ms <= 1000);
}

/* "Retry-After: 0" again and again is no hint. */
static void
test_a_hint_of_nothing_grows(void **state)
{
	static const int64_t hints_ms[] = { 0, 1 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hints_ms); i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "nothing:%zu", i);
		for (int round = 0; round < 6; round++) {
			struct governor_ticket ticket;

			time_is_over(name, "sleep");
			ticket = take(name, &none, &now_or_never, 0);
			report(&ticket, GOVERNOR_LIMITED, hints_ms[i]);
			if (round > 0)
				assert_true(state_of(name).wait_ms >= INT64_C(250) << round >> 1);
		}
	}
}

static void
test_the_quota_of_a_day(void **state)
{
	struct governor_ticket ticket = take("gemini:m", &none, &now_or_never, 0);
	struct err err;

	(void)state;
	report(&ticket, GOVERNOR_QUOTA, -1);
	err = refuse("gemini:m", &none, &far, 0);
	assert_int_equal(err.code, ERR_PROVIDER_QUOTA);
	assert_false(err_info(err.code)->retryable);
	assert_string_equal(err.msg, "cannot use gemini m: daily quota: it said no");
	assert_true(state_of("gemini:m").quota);
}

/* ---- breaker ---- */

static bool
grants(void *name)
{
	struct governor_ticket ticket;

	if (!may(name, &none, &now_or_never, &ticket))
		return false;
	report(&ticket, GOVERNOR_UNUSED, -1);
	return true;
}

static void
open_breaker(const char *name)
{
	struct governor_ticket tickets[3];

	for (size_t i = 0; i < ARRAY_SIZE(tickets); i++)
		tickets[i] = take(name, &none, &now_or_never, 0);
	for (size_t i = 0; i < ARRAY_SIZE(tickets); i++)
		report(&tickets[i], GOVERNOR_OUTAGE, -1);
	assert_int_not_equal(state_of(name).breaker, GOVERNOR_CLOSED);
}

/* outcome x where the breaker stands -> where it stands then */
static void
test_breaker_table(void **state)
{
	static const struct {
		enum governor_outcome outcome;
		/* after: no failure; two failures (one below the limit); of the probe */
		enum governor_breaker fresh, brink, probe;
		int64_t failures_on_brink;
	} rows[] = {
		{ GOVERNOR_OK, GOVERNOR_CLOSED, GOVERNOR_CLOSED, GOVERNOR_CLOSED, 0 },
		{ GOVERNOR_LIMITED, GOVERNOR_CLOSED, GOVERNOR_CLOSED, GOVERNOR_CLOSED, 0 },
		{ GOVERNOR_QUOTA, GOVERNOR_CLOSED, GOVERNOR_CLOSED, GOVERNOR_CLOSED, 0 },
		{ GOVERNOR_OUTAGE, GOVERNOR_CLOSED, GOVERNOR_OPEN, GOVERNOR_OPEN, 3 },
		{ GOVERNOR_DENIED, GOVERNOR_CLOSED, GOVERNOR_OPEN, GOVERNOR_OPEN, 3 },
		{ GOVERNOR_FAILED, GOVERNOR_CLOSED, GOVERNOR_CLOSED, GOVERNOR_CLOSED, 0 },
		{ GOVERNOR_UNUSED, GOVERNOR_CLOSED, GOVERNOR_CLOSED, GOVERNOR_HALF_OPEN, 2 },
		{ GOVERNOR_ABANDONED, GOVERNOR_CLOSED, GOVERNOR_CLOSED, GOVERNOR_HALF_OPEN, 2 },
	};
	/* so long that an open one is seen as open; the probe's turn is made by hand */
	static const struct governor_opts slow = { .breaker_failures = 3,
						   .breaker_open_ms = 3600000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum { FRESH, BRINK, PROBE };
		for (int where = FRESH; where <= PROBE; where++) {
			enum governor_breaker expected = where == FRESH	  ? rows[i].fresh
							 : where == BRINK ? rows[i].brink
									  : rows[i].probe;
			struct governor_ticket ticket;
			struct governor_state after;
			char name[32];

			(void)snprintf(name, sizeof(name), "table:%zu:%d", i, where);
			for (int n = 0; n < (where == FRESH ? 0 : where == BRINK ? 2 : 3); n++) {
				ticket = take(name, &none, &slow, 0);
				report(&ticket, GOVERNOR_OUTAGE, -1);
			}
			if (where == PROBE) {
				assert_int_equal(refuse(name, &none, &slow, 0).code,
						 ERR_PROVIDER_UNAVAILABLE);
				time_is_over(name, "open");
			}
			ticket = take(name, &none, &slow, 0);
			assert_int_equal(ticket.probe, where == PROBE);
			report(&ticket, rows[i].outcome, 0);
			after = state_of(name);
			if (after.breaker != expected)
				fail_msg("outcome %d, place %d: %s", (int)rows[i].outcome, where,
					 governor_breaker_name(after.breaker));
			if (where == BRINK)
				assert_int_equal(after.failures, rows[i].failures_on_brink);
		}
	}
}

static void
test_breaker_opens_and_one_call_tries(void **state)
{
	struct governor_opts opts = { .breaker_failures = 3, .breaker_open_ms = 1000000 };
	struct governor_ticket probe, second;
	struct err err;

	(void)state;
	for (int i = 0; i < 3; i++) {
		probe = take("tei:x", &none, &opts, 0);
		report(&probe, GOVERNOR_OUTAGE, -1);
	}
	err = refuse("tei:x", &none, &opts, 0);
	assert_int_equal(err.code, ERR_PROVIDER_UNAVAILABLE);
	assert_true(err.retry_after_ms > 900000 && err.retry_after_ms <= 1000000);
	assert_string_equal(err.waiting_for, "tei x: out of service");
	assert_string_equal(err.msg, "could not use tei x: out of service: it said no");
	time_is_over("tei:x", "open");
	probe = take("tei:x", &none, &opts, 0);
	assert_true(probe.probe);
	for (int i = 0; i < 5; i++) /* one at a time, however often they ask */
		assert_false(may("tei:x", &none, &opts, &second));
	report(&probe, GOVERNOR_OK, -1);
	assert_int_equal(state_of("tei:x").breaker, GOVERNOR_CLOSED);
	for (int i = 0; i < 5; i++)
		assert_true(may("tei:x", &none, &opts, &second));
}

static void
test_breaker_doubles_up_to_sixteen(void **state)
{
	/* hours, so that this machine's speed does not matter: the wait is looked at, its end made by hand */
	struct governor_opts opts = { .breaker_failures = 1, .breaker_open_ms = 1000000 };
	int64_t expected = 1000000;

	(void)state;
	for (int i = 0; i < 7; i++) {
		struct governor_ticket ticket = take("double", &none, &opts, 0);
		int64_t wait_ms;

		report(&ticket, GOVERNOR_OUTAGE, -1);
		wait_ms = refuse("double", &none, &opts, 0).retry_after_ms;
		assert_true(wait_ms > expected - 60000 && wait_ms <= expected);
		if (expected < 16000000)
			expected *= 2;
		time_is_over("double", "open");
	}
}

/* The one that tries dies: another one may, when its lease is over. */
static void
test_a_probe_that_dies(void **state)
{
	struct governor_opts opts = now_or_never;
	struct governor_ticket ticket;
	char name[] = "lost";

	(void)state;
	opts.lease_ms = 50;
	open_breaker(name);
	while (!may(name, &none, &opts, &ticket))
		clock_sleep_ms(5);
	assert_true(ticket.probe);
	wait_until(grants, name, 30000, "another probe");
}

/* ... and a stream, which may take as long as its job, does not keep the others out for so long. */
static void
test_a_probe_that_takes_an_hour(void **state)
{
	struct governor_opts opts = { .breaker_failures = 3,
				      .breaker_open_ms = FAR_MS,
				      .lease_ms = FAR_MS };
	struct governor_ticket ticket;

	(void)state;
	open_breaker("hour");
	time_is_over("hour", "open");
	ticket = take("hour", &none, &opts, 0);
	assert_true(ticket.probe);
	assert_in_range(refuse("hour", &none, &opts, 0).retry_after_ms, 1, 2 * MINUTE_MS);
}

/* Calls that were on their way when it opened do not make it longer, nor close it. */
static void
test_late_outcomes_do_not_count(void **state)
{
	struct governor_opts opts = { .breaker_failures = 1, .breaker_open_ms = 1000000 };
	struct governor_ticket first = take("late", &none, &opts, 0);
	struct governor_ticket late[3];
	struct governor_state before;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(late); i++)
		late[i] = take("late", &none, &opts, 0);
	report(&first, GOVERNOR_OUTAGE, -1);
	before = state_of("late");
	report(&late[0], GOVERNOR_OUTAGE, -1);
	report(&late[1], GOVERNOR_OK, -1);
	report(&late[2], GOVERNOR_OUTAGE, -1);
	assert_int_equal(state_of("late").breaker, GOVERNOR_OPEN);
	assert_true(state_of("late").wait_ms <= before.wait_ms);
}

/* ---- faults of Redis ---- */

static void
test_redis_full(void **state)
{
	struct governor_limits limit = { 60, 1000, 2, 0 };
	struct governor_ticket ticket;

	(void)state;
	take("full", &limit, &far, 1);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "1"));
	ticket = take("full", &limit, &far, 1);
	report(&ticket, GOVERNOR_OUTAGE, 5);
	assert_int_equal(state_of("full").in_flight, 1);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
}

static void
test_no_redis(void **state)
{
	struct redis_opts opts = { .url = "unix:///nonexistent/socket",
				   .connect_timeout_ms = 100,
				   .timeout_ms = 100 };
	AUTO_PTR(redis_free) struct redis *away = NULL;
	struct governor_report ok = { GOVERNOR_OK, -1, -1, NULL };
	struct governor_ticket ticket = take("away", &none, &now_or_never, 0);
	struct err err = ERR_INIT;

	(void)state;
	MUST(redis_new(&opts, &away, e));
	governor_report(away, &ticket, &ok); /* returns */
	assert_false(governor_acquire(away, STR("away"), &none, &far, NULL, &ticket, &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	/* without a connection nothing is governed */
	err_clear(&err);
	assert_true(governor_acquire(NULL, STR("away"), &none, &far, NULL, &ticket, &err));
	assert_int_equal(ticket.wait_ms, 0);
	governor_report(NULL, &ticket, &ok);
	governor_report(redis, &ticket, &ok);
	assert_int_equal(state_of("away").granted_total, 1);
}

/* ---- the list ---- */

static void
test_list(void **state)
{
	struct governor_limits limit = { 5, 500, 3, 0 };
	struct governor_ticket ticket = take("cohere:rerank-v3.5:deadbeef", &limit, &far, 20);
	struct governor_state found = state_of("cohere:rerank-v3.5:deadbeef");

	(void)state;
	assert_string_equal(found.label, "cohere rerank-v3.5");
	assert_int_equal(found.breaker, GOVERNOR_CLOSED);
	assert_string_equal(found.waiting_for, "");
	assert_int_equal(found.limits.requests_per_minute, 5);
	assert_int_equal(found.limits.tokens_per_minute, 500);
	assert_int_equal(found.limits.concurrency, 3);
	assert_int_equal(found.requests, 1);
	assert_int_equal(found.tokens, 20);
	assert_int_equal(found.in_flight, 1);
	report(&ticket, GOVERNOR_OUTAGE, -1);
	assert_int_equal(state_of("cohere:rerank-v3.5:deadbeef").failures, 1);
	take("chroma:127.0.0.1:8001:write", &limit, &far, 0);
	assert_string_equal(state_of("chroma:127.0.0.1:8001:write").label,
			    "chroma 127.0.0.1:8001:write");
	take("tei::0011aabb", &limit, &far, 0);
	assert_string_equal(state_of("tei::0011aabb").label, "tei");
}

/* Names come from settings: whatever is in them, keys stay apart and texts whole. */
static void
test_odd_names(void **state)
{
	char name[600];
	struct err err;

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	memcpy(name, "openai:}{:", 10);
	take(name, &(struct governor_limits){ .requests_per_minute = 1 }, &now_or_never, 0);
	err = refuse(name, &(struct governor_limits){ .requests_per_minute = 1 }, &now_or_never, 0);
	assert_int_equal(strlen(err.waiting_for), 63);
	assert_non_null(strstr(err.waiting_for, ": requests per minute"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_of_any_minute),
		cmocka_unit_test(test_tokens_of_any_minute),
		cmocka_unit_test(test_a_call_above_the_limit_of_tokens),
		cmocka_unit_test(test_both_limits_hold),
		cmocka_unit_test(test_refused_takes_nothing),
		cmocka_unit_test(test_a_place_ahead_is_waited_for),
		cmocka_unit_test(test_the_real_tokens_count),
		cmocka_unit_test(test_unused_gives_back),
		cmocka_unit_test(test_abandoned_gives_nothing_back),
		cmocka_unit_test(test_an_absurd_number_of_tokens),
		cmocka_unit_test(test_a_call_that_counts_as_many),
		cmocka_unit_test(test_a_clock_set_back),
		cmocka_unit_test(test_names_do_not_meet),
		cmocka_unit_test(test_no_limits),
		cmocka_unit_test(test_calls_at_once),
		cmocka_unit_test(test_a_lease_ends),
		cmocka_unit_test(test_the_end_of_a_call_wakes),
		cmocka_unit_test(test_a_cancel_ends_the_wait),
		cmocka_unit_test(test_everybody_sleeps_as_told),
		cmocka_unit_test(test_a_success_may_say_when),
		cmocka_unit_test(test_nobody_sleeps_for_a_year),
		cmocka_unit_test(test_limited_without_a_hint_doubles),
		cmocka_unit_test(test_a_hint_of_nothing_grows),
		cmocka_unit_test(test_the_quota_of_a_day),
		cmocka_unit_test(test_breaker_table),
		cmocka_unit_test(test_breaker_opens_and_one_call_tries),
		cmocka_unit_test(test_breaker_doubles_up_to_sixteen),
		cmocka_unit_test(test_a_probe_that_dies),
		cmocka_unit_test(test_a_probe_that_takes_an_hour),
		cmocka_unit_test(test_late_outcomes_do_not_count),
		cmocka_unit_test(test_redis_full),
		cmocka_unit_test(test_no_redis),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_odd_names),
	};

	return cmocka_run_group_tests(tests, redis_group_start, redis_group_stop);
}
