#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"
#include "common/events.h"

static void
notices(void **state)
{
	static const char *const bad[] = {
		"",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b ",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b -1",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b 1 2",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b  1",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b 1 e ",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b 1 e e",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b e",
		" 1",
		"nothing 1",
	};
	struct str message = STR("query-0-01jdcx7m2v5q8r3s6t9w1y4z7b 17");
	struct event event;

	(void)state;
	assert_true(event_parse(message, &event));
	assert_true(str_eq_c(event.job_id, "query-0-01jdcx7m2v5q8r3s6t9w1y4z7b"));
	assert_ptr_equal(event.job_id.ptr, message.ptr);
	assert_int_equal(event.version, 17);
	assert_false(event.emitted);
	assert_true(event_parse(STR("query-0-01jdcx7m2v5q8r3s6t9w1y4z7b 17 e"), &event));
	assert_true(event.emitted);
	assert_int_equal(event.version, 17);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (event_parse(str_of(bad[i]), &event))
			fail_msg("accepted '%s'", bad[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(notices) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
