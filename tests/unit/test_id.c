#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"

static int
thaw(void **state)
{
	(void)state;
	clock_set_for_test(-1, -1);
	return 0;
}

static void
the_time_is_in_front(void **state)
{
	static const int64_t times[] = { 0, 1, INT64_C(1469918176385), (INT64_C(1) << 48) - 1 };
	char id[ID_ULID_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		int64_t ms = -1;

		clock_set_for_test(-1, times[i]);
		id_ulid(id);
		assert_int_equal(strlen(id), ID_ULID_LEN);
		assert_true(id_is_ulid(str_of(id)));
		assert_true(id_ulid_unix_ms(str_of(id), &ms));
		assert_true(ms == times[i]);
	}
	assert_memory_equal(id, "7zzzzzzzzz", 10);
	/* the example time of the specification */
	clock_set_for_test(-1, INT64_C(1469918176385));
	id_ulid(id);
	assert_memory_equal(id, "01aryz6s41", 10);
}

static void
ids_of_one_millisecond_ascend(void **state)
{
	char last[ID_ULID_BYTES], id[ID_ULID_BYTES];

	(void)state;
	clock_set_for_test(-1, 123456789);
	id_ulid(last);
	for (int i = 0; i < 100000; i++) {
		id_ulid(id);
		if (strcmp(last, id) >= 0)
			fail_msg("%s is not above %s", id, last);
		memcpy(last, id, sizeof(id));
	}

	int64_t ms = 0;

	assert_true(id_ulid_unix_ms(str_of(last), &ms));
	assert_int_equal(ms, 123456789);
}

static void
small_steps_back_keep_the_order(void **state)
{
	char before[ID_ULID_BYTES], after[ID_ULID_BYTES];
	int64_t ms = 0;

	(void)state;
	clock_set_for_test(-1, 1000000);
	id_ulid(before);
	clock_set_for_test(-1, 999001);
	id_ulid(after);
	assert_true(strcmp(before, after) < 0);
	clock_set_for_test(-1, 500000); /* too far back to hide */
	id_ulid(after);
	assert_true(id_ulid_unix_ms(str_of(after), &ms));
	assert_int_equal(ms, 500000);
}

#define THREADS 4
#define PER_THREAD 5000

static void *
make_many(void *arg)
{
	char(*ids)[ID_ULID_BYTES] = arg;

	for (int i = 0; i < PER_THREAD; i++)
		id_ulid(ids[i]);
	return NULL;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, ID_ULID_BYTES);
}

static void
threads_never_get_the_same(void **state)
{
	static char ids[THREADS * PER_THREAD][ID_ULID_BYTES];
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_many,
						ids[(size_t)i * PER_THREAD]),
				 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (int i = 1; i < PER_THREAD; i++)
		assert_true(strcmp(ids[i - 1], ids[i]) < 0);
	qsort(ids, (size_t)THREADS * PER_THREAD, sizeof(ids[0]), compare_ids);
	for (int i = 1; i < THREADS * PER_THREAD; i++)
		assert_true(strcmp(ids[i - 1], ids[i]) != 0);
}

static void
what_is_no_ulid(void **state)
{
	int64_t ms = 42;

	(void)state;
	assert_true(id_is_ulid(STR("01arz3ndektsv4rrffq69g5fav")));
	assert_true(id_ulid_unix_ms(STR("01arz3ndektsv4rrffq69g5fav"), &ms));
	assert_true(ms == INT64_C(1469922850259));
	ms = 42;
	assert_false(id_is_ulid(STR("01ARZ3NDEKTSV4RRFFQ69G5FAV"))); /* ours are lower case */
	assert_false(id_is_ulid(STR("01arz3ndektsv4rrffq69g5fa")));
	assert_false(id_is_ulid(STR("01arz3ndektsv4rrffq69g5favv")));
	assert_false(id_is_ulid(STR("81arz3ndektsv4rrffq69g5fav"))); /* more than 48 bits */
	assert_false(id_is_ulid(STR("01arz3ndektsv4rrffq69g5fai")));
	assert_false(id_is_ulid(STR("01arz3ndektsv4rrffq69g5fal")));
	assert_false(id_is_ulid(STR("01arz3ndektsv4rrffq69g5fao")));
	assert_false(id_is_ulid(STR("01arz3ndektsv4rrffq69g5fau")));
	assert_false(id_is_ulid(STR("01arz3ndektsv4rrffq69g5f\0v")));
	assert_false(id_is_ulid(STR("")));
	assert_false(id_ulid_unix_ms(STR("x"), &ms));
	assert_int_equal(ms, 42);
}

static void
random_bytes(void **state)
{
	unsigned char bytes[1000] = { 0 };
	int counts[256] = { 0 };

	(void)state;
	id_random(bytes, 0);
	assert_int_equal(bytes[0], 0);
	id_random(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		counts[bytes[i]]++;
	for (int i = 0; i < 256; i++)
		assert_true(counts[i] < 40);
	assert_true(id_random_u64() != id_random_u64());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_time_is_in_front, thaw),
		cmocka_unit_test_teardown(ids_of_one_millisecond_ascend, thaw),
		cmocka_unit_test_teardown(small_steps_back_keep_the_order, thaw),
		cmocka_unit_test(threads_never_get_the_same),
		cmocka_unit_test(what_is_no_ulid),
		cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
