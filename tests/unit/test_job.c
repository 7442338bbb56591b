#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"
#include "common/base/id.h"
#include "common/job.h"

static void
statuses(void **state)
{
	static const bool done[JOB_STATUS_COUNT] = { [JOB_SUCCEEDED] = true,
						     [JOB_FAILED] = true,
						     [JOB_CANCELLED] = true,
						     [JOB_EXPIRED] = true };
	enum job_status parsed;

	(void)state;
	for (int i = 0; i < JOB_STATUS_COUNT; i++) {
		const char *name = job_status_name((enum job_status)i);

		assert_true(job_status_parse(str_of(name), &parsed));
		assert_int_equal(parsed, i);
		assert_int_equal(job_status_done((enum job_status)i), done[i]);
	}
	assert_string_equal(job_status_name(JOB_CANCELLING), "cancelling");
	assert_string_equal(job_status_name((enum job_status)99), "unknown");
	assert_string_equal(job_status_name((enum job_status) - 1), "unknown");
	assert_false(job_status_parse(STR("Queued"), &parsed));
	assert_false(job_status_parse(STR(""), &parsed));
	assert_false(job_status_parse(STR("queue"), &parsed));
}

static void
queues(void **state)
{
	struct queue_ref ref;

	(void)state;
	for (size_t i = 0; job_queue_names[i]; i++) {
		assert_true(job_queue_find(str_of(job_queue_names[i]), 0, &ref));
		assert_ptr_equal(ref.name, job_queue_names[i]);
		assert_int_equal(ref.partition, 0);
	}
	assert_false(job_queue_find(STR("ingest"), JOB_PARTITIONS, &ref));
	assert_false(job_queue_find(STR("other"), 0, &ref));
	assert_false(job_queue_find(STR(""), 0, &ref));
}

static void
ids(void **state)
{
	static const char *const bad[] = {
		"",
		"ingest",
		"ingest-0",
		"ingest-0-",
		"ingest-1-01jdcx7m2v5q8r3s6t9w1y4z7b",	/* no such partition */
		"ingest-00-01jdcx7m2v5q8r3s6t9w1y4z7b", /* an id has one text */
		"ingest--01jdcx7m2v5q8r3s6t9w1y4z7b",
		"ingest--0-01jdcx7m2v5q8r3s6t9w1y4z7b",
		"other-0-01jdcx7m2v5q8r3s6t9w1y4z7b",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7bb",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7u", /* not in Crockford's alphabet */
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b ",
		"ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b-1",
		"rag:{ingest.0}:job:*",
	};
	char a[JOB_ID_BYTES], b[JOB_ID_BYTES];
	struct queue_ref ref;

	(void)state;
	for (size_t i = 0; job_queue_names[i]; i++) {
		struct queue_ref queue = { job_queue_names[i], 0 };

		job_id_new(queue, a);
		job_id_new(queue, b);
		assert_true(strcmp(a, b) < 0);
		assert_true(job_id_parse(str_of(a), &ref));
		assert_ptr_equal(ref.name, job_queue_names[i]);
	}
	assert_true(job_id_parse(STR("ingest-0-01jdcx7m2v5q8r3s6t9w1y4z7b"), &ref));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (job_id_parse(str_of(bad[i]), &ref))
			fail_msg("accepted '%s'", bad[i]);
	}
	assert_false(job_id_parse(str_make("ingest-0-01jdcx7m2v5q8r3s6t9w1y4\0z", 34), &ref));
}

/* The same hash, the same id; one bit less, another; and it is an id like any other. */
static void
ids_from_hashes(void **state)
{
	char hash[] = "0000000000000000000000000000000000000000000000000000000000000000";
	char a[JOB_ID_BYTES], b[JOB_ID_BYTES];
	struct queue_ref queue, ref;
	int64_t unix_ms;

	(void)state;
	assert_true(job_queue_find(STR("query"), 0, &queue));
	assert_true(job_id_from_hash(queue, hash, a));
	assert_string_equal(a, "query-0-40000000000000000000000000");
	/* whatever the hash: no clean-up by age takes it for old */
	assert_true(id_ulid_unix_ms(str_of(a + strlen("query-0-")), &unix_ms));
	assert_int_equal(unix_ms, INT64_C(1) << 47);
	memset(hash, 'f', 64);
	assert_true(job_id_from_hash(queue, hash, b));
	assert_string_equal(b, "query-0-7zzzzzzzzzzzzzzzzzzzzzzzzz");
	assert_true(job_id_parse(str_of(b), &ref));
	for (size_t i = 0; i < 32; i++) {
		hash[i] = 'e'; /* one bit less, and not the topmost */
		assert_true(job_id_from_hash(queue, hash, a));
		assert_string_not_equal(a, b);
		assert_true(job_id_parse(str_of(a), &ref));
		hash[i] = 'f';
	}
	assert_false(job_id_from_hash(queue, "not hex", a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses),
		cmocka_unit_test(queues),
		cmocka_unit_test(ids),
		cmocka_unit_test(ids_from_hashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
