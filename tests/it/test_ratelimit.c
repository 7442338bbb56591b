/*
 * The token bucket in Redis. Its clock is Redis', so the tests ask Redis for the time before and after, and say what must
 * be true of any moment between; how fast this machine is does not matter.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/keys.h"
#include "common/ratelimit.h"
#include "tests/support/must.h"
#include "tests/support/redis_group.h"

static int64_t
redis_us(struct redis *at)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t s = 0, us = 0;

	MUST(REDIS_CALL(at, &reply, e, "TIME"));
	assert_true(reply_i64(reply_at(reply, 0), &s) && reply_i64(reply_at(reply, 1), &us));
	return s * 1000000 + us;
}

static struct ratelimit_state
take(const char *name, int64_t count, int64_t window_s, int64_t cost)
{
	struct ratelimit limit = { count, window_s };
	struct ratelimit_state out;

	MUST(ratelimit_take(redis, str_of(name), &limit, cost, &out, e));
	return out;
}

/* A window so long that nothing comes back during the test: exactly what is in it. */
static void
test_burst(void **state)
{
	(void)state;
	const int64_t interval_us = INT64_C(86400) * 1000000 / 5;
	struct ratelimit_state out;

	for (int i = 4; i >= 0; i--) {
		out = take("burst", 5, 86400, 1);
		assert_true(out.allowed);
		assert_int_equal(out.remaining, i);
		assert_int_equal(out.wait_us, 0);
		assert_true(out.reset_us > 0 && out.reset_us <= interval_us);
	}
	for (int i = 0; i < 3; i++) { /* refusals cost nothing */
		out = take("burst", 5, 86400, 1);
		assert_false(out.allowed);
		assert_int_equal(out.remaining, 0);
		assert_int_equal(out.wait_us, out.reset_us);
		assert_true(out.wait_us > 0 && out.wait_us <= interval_us);
	}
	assert_int_equal(take("other", 5, 86400, 1).remaining, 4); /* names do not meet */
}

static void
test_cost(void **state)
{
	(void)state;
	const int64_t interval_us = INT64_C(3600) * 1000000 / 10;
	struct ratelimit_state out = take("cost", 10, 3600, 7);

	assert_true(out.allowed);
	assert_int_equal(out.remaining, 3);
	out = take("cost", 10, 3600, 4);
	assert_false(out.allowed);
	assert_int_equal(out.remaining, 3); /* all or nothing */
	assert_true(out.wait_us > 0 && out.wait_us <= interval_us);
	assert_true(take("cost", 10, 3600, 3).allowed);
	assert_false(take("cost", 10, 3600, 10).allowed);
}

/* What it says of the wait is exact: before it is over nothing comes, after it something does. */
static void
test_exact_refill(void **state)
{
	(void)state;
	int64_t first_us = redis_us(redis), before_us, after_us = 0, taken = 0;
	const int64_t interval_us = 250000; /* 4 a second */
	int refusals_seen = 0;

	while (refusals_seen < 4) {
		before_us = redis_us(redis);
		struct ratelimit_state out = take("refill", 4, 1, 1);
		after_us = redis_us(redis);
		taken += out.allowed;
		/* never more than a full bucket and what has come in since */
		assert_true(taken <= 4 + (after_us - first_us) / interval_us);
		if (out.allowed)
			continue;
		refusals_seen++;
		/* the moment of the refusal was between before and after: so is the moment of the next token */
		int64_t too_early_us = before_us + out.wait_us, ready_us = after_us + out.wait_us;
		for (bool come = false; !come;) {
			int64_t asked_us = redis_us(redis);

			come = take("refill", 4, 1, 1).allowed;
			if (come)
				assert_true(redis_us(redis) >= too_early_us);
			else
				assert_true(asked_us < ready_us);
		}
		taken++;
		after_us = redis_us(redis);
	}
	assert_true(taken <= 4 + (after_us - first_us) / interval_us);
}

/* After the time that fills it the bucket is as new, and its key is gone. */
static void
test_full_again(void **state)
{
	(void)state;
	struct key key = key_rate(STR("full"));
	struct ratelimit_state out;
	int64_t exists = 1;

	for (int i = 0; i < 20; i++)
		out = take("full", 20, 1, 1);
	(void)out;
	for (int64_t end = clock_mono_ms() + 30000; exists;) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;

		assert_true(clock_mono_ms() < end);
		MUST(REDIS_CALL(redis, &reply, e, "EXISTS", key.text));
		assert_true(reply_i64(reply, &exists));
	}
	out = take("full", 20, 1, 1);
	assert_true(out.allowed);
	assert_int_equal(out.remaining, 19);
}

/* Another limit than before, as after a change of settings: nobody is locked out for longer than the new window. */
static void
test_changed_limit(void **state)
{
	(void)state;
	struct ratelimit_state out;

	assert_true(take("changed", 1000, 86400, 1000).allowed);
	out = take("changed", 2, 10, 1);
	assert_false(out.allowed);
	assert_true(out.wait_us <= 5000000);
	assert_true(take("wider", 1, 86400, 1).allowed);
	out = take("wider", 1000, 86400, 1);
	assert_int_equal(out.remaining,
			 0); /* a day is missing: none of the new ones is there yet */
	assert_false(out.allowed);
}

/* The clock of Redis was set back (a failover): the bucket is empty, not locked for the difference. */
static void
test_clock_set_back(void **state)
{
	(void)state;
	struct key key = key_rate(STR("back"));
	char far[32];

	(void)snprintf(far, sizeof(far), "%lld", (long long)redis_us(redis) + 86400000000LL);
	MUST(REDIS_CALL(redis, NULL, e, "SET", key.text, far));
	struct ratelimit_state out = take("back", 10, 1, 1);

	assert_false(out.allowed);
	assert_true(out.wait_us <= 100000);
}

/* ---- many at once ---- */

#define CLIENTS 8
#define CALLS 200
#define LIMIT 300

static void *
client(void *user)
{
	struct redis *own = redis_server_connect(server);
	int64_t *allowed = user;

	for (int i = 0; i < CALLS; i++) {
		struct ratelimit limit = { LIMIT, 86400 };
		struct ratelimit_state out;

		MUST(ratelimit_take(own, STR("many"), &limit, 1, &out, e));
		*allowed += out.allowed;
	}
	redis_free(own);
	return NULL;
}

static void
test_many_clients(void **state)
{
	(void)state;
	pthread_t threads[CLIENTS];
	int64_t allowed[CLIENTS] = { 0 }, sum = 0;

	for (size_t i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, client, &allowed[i]), 0);
	for (size_t i = 0; i < CLIENTS; i++) {
		pthread_join(threads[i], NULL);
		sum += allowed[i];
	}
	/* 288 s a token: none has come back meanwhile */
	assert_int_equal(sum, LIMIT);
}

/* ---- Redis ---- */

static void
test_redis_full(void **state)
{
	(void)state;
	assert_true(take("oom", 3, 86400, 1).allowed);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "1"));
	assert_true(take("oom", 3, 86400, 1).allowed);
	assert_true(take("oom-new", 3, 86400, 3).allowed);
	assert_false(take("oom-new", 3, 86400, 1).allowed);
	assert_true(take("oom", 3, 86400, 1).allowed);
	assert_false(take("oom", 3, 86400, 1).allowed);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
}

static void
test_redis_away(void **state)
{
	(void)state;
	struct redis_server *gone = redis_server_start(NULL);
	struct redis *lost = redis_server_connect(gone);
	struct ratelimit limit = { 1, 1 };
	struct ratelimit_state out;
	struct err err = ERR_INIT;

	redis_server_stop(gone);
	assert_false(ratelimit_take(lost, STR("x"), &limit, 1, &out, &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	redis_free(lost);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burst),	      cmocka_unit_test(test_cost),
		cmocka_unit_test(test_exact_refill),  cmocka_unit_test(test_full_again),
		cmocka_unit_test(test_changed_limit), cmocka_unit_test(test_clock_set_back),
		cmocka_unit_test(test_many_clients),  cmocka_unit_test(test_redis_full),
		cmocka_unit_test(test_redis_away),
	};
	return cmocka_run_group_tests(tests, redis_group_start, redis_group_stop);
}
