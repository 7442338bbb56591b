#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "common/base/auto.h"
#include "common/base/clock.h"

static int
thaw(void **state)
{
	(void)state;
	clock_set_for_test(-1, -1);
	return 0;
}

static void
real_clocks_move_forward(void **state)
{
	int64_t mono = clock_mono_ms(), us = clock_mono_us();

	(void)state;
	assert_true(clock_unix_ms() > INT64_C(1700000000000));
	assert_true(clock_mono_ms() >= mono);
	assert_true(clock_mono_us() >= us);
	assert_true(us / 1000 >= mono);
	clock_sleep_ms(0);
	clock_sleep_ms(-5);
}

static void
tests_can_freeze_them(void **state)
{
	(void)state;
	clock_set_for_test(5000, 0);
	assert_int_equal(clock_mono_ms(), 5000);
	assert_int_equal(clock_mono_us(), 5000000);
	assert_int_equal(clock_unix_ms(), 0);
	clock_set_for_test(-1, 77);
	assert_int_equal(clock_unix_ms(), 77);
	assert_int_not_equal(clock_mono_us(), 5000000);
}

static void
time_left(void **state)
{
	(void)state;
	clock_set_for_test(1000, -1);
	assert_int_equal(clock_left_ms(0), INT32_MAX);
	assert_int_equal(clock_left_ms(999), 0);
	assert_int_equal(clock_left_ms(1000), 0);
	assert_int_equal(clock_left_ms(1001), 1);
	assert_int_equal(clock_left_ms(1000 + (int64_t)INT32_MAX), INT32_MAX);
	assert_int_equal(clock_left_ms(INT64_MAX), INT32_MAX);
	assert_int_equal(clock_left_ms(-5), 0);
}

static const struct {
	int64_t unix_ms;
	const char *text;
} instants[] = {
	{ 0, "1970-01-01T00:00:00.000Z" },
	{ -1, "1969-12-31T23:59:59.999Z" },
	{ -86400000, "1969-12-31T00:00:00.000Z" },
	{ INT64_C(951782400000), "2000-02-29T00:00:00.000Z" },
	{ INT64_C(951868799999), "2000-02-29T23:59:59.999Z" },
	{ INT64_C(951868800000), "2000-03-01T00:00:00.000Z" },
	{ INT64_C(1795503600123), "2026-11-24T07:00:00.123Z" },
	{ INT64_C(4107542399999), "2100-02-28T23:59:59.999Z" },
	{ INT64_C(4107542400000), "2100-03-01T00:00:00.000Z" },
	{ INT64_C(253402300799999), "9999-12-31T23:59:59.999Z" },
	{ INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z" },
};

static void
iso_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(instants); i++) {
		char text[CLOCK_ISO_BYTES];
		int64_t back = 42;

		clock_format_iso(text, instants[i].unix_ms);
		assert_string_equal(text, instants[i].text);
		assert_true(clock_parse_iso(str_of(text), &back));
		assert_true(back == instants[i].unix_ms);
	}
}

static void
iso_is_clamped_to_four_digit_years(void **state)
{
	char text[CLOCK_ISO_BYTES];

	(void)state;
	clock_format_iso(text, INT64_MAX);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
	clock_format_iso(text, INT64_MIN);
	assert_string_equal(text, "0000-01-01T00:00:00.000Z");
}

/* Against libc, over many days. */
static void
iso_agrees_with_libc(void **state)
{
	(void)state;
	for (int64_t ms = INT64_C(-70000000000000); ms < INT64_C(260000000000000);
	     ms += INT64_C(86400000) * 97 + 3723004) {
		time_t seconds = (time_t)((ms - 999) / 1000);
		char text[CLOCK_ISO_BYTES], want[CLOCK_ISO_BYTES];
		int64_t back = 0;
		struct tm parts;

		if (ms < INT64_C(-62167219200000) || ms > INT64_C(253402300799999))
			continue;
		seconds = (time_t)(ms >= 0 ? ms / 1000 : (ms - 999) / 1000);
		assert_non_null(gmtime_r(&seconds, &parts));
		assert_true(strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S", &parts) > 0);
		clock_format_iso(text, ms);
		/* libc does not pad the years before 1000 */
		if (parts.tm_year >= -900)
			assert_memory_equal(text, want, 19);
		assert_true(clock_parse_iso(str_of(text), &back));
		assert_true(back == ms);
	}
}

static void
iso_forms_that_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t want;
	} good[] = {
		{ "1970-01-01T00:00:01Z", 1000 },
		{ "1970-01-01t00:00:01z", 1000 },
		{ "1970-01-01 00:00:01Z", 1000 },
		{ "1970-01-01T00:00:01.5Z", 1500 },
		{ "1970-01-01T00:00:01.05Z", 1050 },
		{ "1970-01-01T00:00:01.0009999999999999Z", 1000 },
		{ "1970-01-01T01:00:01+01:00", 1000 },
		{ "1969-12-31T18:30:00-05:30", 0 },
		{ "1970-01-01T23:59:00+23:59", 0 },
		{ "1970-01-01T00:00:00-00:00", 0 },
		{ "1969-12-31T23:59:60Z", 0 }, /* a leap second */
		{ "1969-12-31T23:59:59.25Z", -750 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		int64_t got = 42;

		if (!clock_parse_iso(str_of(good[i].text), &got) || got != good[i].want)
			fail_msg("%s", good[i].text);
	}
}

static void
iso_forms_that_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"9999-12-31T23:59:60.999Z",
		"9999-12-31T23:59:59-00:01",
		"0000-01-01T00:00:00+00:01",
		"1970-01-01",
		"1970-01-01T00:00:00",
		"1970-01-01T00:00Z",
		"1970-1-01T00:00:00Z",
		"1970-01-01T00:00:00.Z",
		"1970-01-01T00:00:00,5Z",
		"1970-13-01T00:00:00Z",
		"1970-00-01T00:00:00Z",
		"1970-01-00T00:00:00Z",
		"1970-01-32T00:00:00Z",
		"1970-04-31T00:00:00Z",
		"1970-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"1970-01-01T24:00:00Z",
		"1970-01-01T00:60:00Z",
		"1970-01-01T00:00:61Z",
		"1970-01-01T00:00:00+24:00",
		"1970-01-01T00:00:00+00:60",
		"1970-01-01T00:00:00+0000",
		"1970-01-01T00:00:00+00",
		"1970-01-01T00:00:00ZZ",
		"1970-01-01T00:00:00Z ",
		" 1970-01-01T00:00:00Z",
		"+1970-01-01T00:00:00Z",
		"10000-01-01T00:00:00Z",
		"-001-01-01T00:00:00Z",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int64_t got = 42;

		if (clock_parse_iso(str_of(bad[i]), &got) || got != 42)
			fail_msg("'%s' was read", bad[i]);
	}
}

struct bell {
	pthread_mutex_t *lock;
	pthread_cond_t cond;
	bool rung;
};

static void *
ring(void *user)
{
	struct bell *bell = user;

	pthread_mutex_lock(bell->lock);
	bell->rung = true;
	pthread_cond_signal(&bell->cond);
	pthread_mutex_unlock(bell->lock);
	return NULL;
}

/* A time that is over ends the wait; a signal ends it before. */
static void
test_cond(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct bell bell = { .lock = &lock };
	pthread_t ringer;
	int64_t from_ms = clock_mono_ms();

	(void)state;
	clock_cond_init(&bell.cond);
	assert_int_equal(pthread_mutex_lock(&lock), 0);
	while (clock_cond_wait(&bell.cond, &lock, from_ms + 30))
		;
	assert_true(clock_mono_ms() >= from_ms + 30);
	assert_int_equal(pthread_create(&ringer, NULL, ring, &bell), 0);
	while (!bell.rung)
		assert_true(clock_cond_wait(&bell.cond, &lock, clock_mono_ms() + 600000));
	assert_int_equal(pthread_mutex_unlock(&lock), 0);
	assert_int_equal(pthread_join(ringer, NULL), 0);
	pthread_cond_destroy(&bell.cond);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(real_clocks_move_forward, thaw),
		cmocka_unit_test_teardown(tests_can_freeze_them, thaw),
		cmocka_unit_test_teardown(time_left, thaw),
		cmocka_unit_test(iso_both_ways),
		cmocka_unit_test(iso_is_clamped_to_four_digit_years),
		cmocka_unit_test(iso_agrees_with_libc),
		cmocka_unit_test(iso_forms_that_are_read),
		cmocka_unit_test(iso_forms_that_are_refused),
		cmocka_unit_test(test_cond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
