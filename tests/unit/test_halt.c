/* What ends a call early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/halt.h"

static atomic_bool flag;

static int
clear(void **state)
{
	(void)state;
	atomic_store(&flag, false);
	clock_set_for_test(-1, -1);
	return 0;
}

static void
nothing_ends_a_call_without_limits(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_true(halt_check(NULL, 0, &err));
	assert_true(halt_sleep_ms(NULL, 0, 1, &err));
	assert_true(halt_check(&flag, clock_mono_ms() + 600000, &err));
	assert_int_equal(err.code, ERR_NONE);
}

static void
a_raised_flag_cancels(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	atomic_store(&flag, true);
	assert_false(halt_check(&flag, 0, &err));
	assert_int_equal(err.code, ERR_CANCELLED);
	err = ERR_INIT;
	assert_false(halt_sleep_ms(&flag, 0, INT64_C(3600000), &err)); /* does not sleep */
	assert_int_equal(err.code, ERR_CANCELLED);
}

static void
a_deadline_ends(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	clock_set_for_test(1000, -1);
	assert_true(halt_check(&flag, 1001, &err));
	assert_false(halt_check(&flag, 1000, &err));
	assert_int_equal(err.code, ERR_DEADLINE);
	clock_set_for_test(-1, -1);
	err = ERR_INIT;
	assert_false(halt_sleep_ms(NULL, clock_mono_ms() + 5, INT64_C(3600000), &err));
	assert_int_equal(err.code, ERR_DEADLINE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_ends_a_call_without_limits, clear),
		cmocka_unit_test_setup(a_raised_flag_cancels, clear),
		cmocka_unit_test_setup_teardown(a_deadline_ends, clear, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
