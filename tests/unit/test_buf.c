#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

static void
appends_of_every_kind(void **state)
{
	AUTO(buf) struct buf buf = BUF_INIT(1000);

	(void)state;
	assert_string_equal(buf.data, "");
	buf_add_str(&buf, "a");
	buf_add_char(&buf, 'b');
	buf_add(&buf, "c\0d", 3);
	buf_add(&buf, NULL, 0);
	buf_add_i64(&buf, 0);
	buf_add_i64(&buf, -7);
	buf_printf(&buf, "<%s|%3d>", "x", 5);
	assert_int_equal(buf.len, 15);
	assert_memory_equal(buf.data, "abc\0d0-7<x|  5>", 16);
	buf_clear(&buf);
	buf_add_i64(&buf, INT64_MIN);
	buf_add_char(&buf, ' ');
	buf_add_i64(&buf, INT64_MAX);
	assert_string_equal(buf.data, "-9223372036854775808 9223372036854775807");
	assert_true(buf_ok(&buf));
}

static void
the_maximum_is_exact_and_failure_sticks(void **state)
{
	(void)state;
	for (size_t max = 0; max < 200; max++) {
		AUTO(buf) struct buf buf = BUF_INIT(max);
		struct err err = ERR_INIT;

		for (size_t i = 0; i < max; i++)
			buf_add_char(&buf, 'x');
		assert_true(buf_ok(&buf));
		assert_int_equal(buf.len, max);
		assert_true(buf_check(&buf, "it", &err));
		buf_add_char(&buf, 'y');
		assert_false(buf_ok(&buf));
		assert_int_equal(buf.len, max);
		assert_int_equal(strlen(buf.data), max);
		buf_truncate(&buf, 0);
		buf_add_str(&buf, "");
		buf_add_char(&buf, 'z'); /* would fit, but the failure sticks */
		assert_int_equal(buf.len, 0);
		assert_null(buf_reserve(&buf, 0));
		assert_false(buf_check(&buf, "the reply", &err));
		assert_int_equal(err.code, ERR_TOO_LARGE);
		assert_null(buf_take(&buf, NULL));
		buf_clear(&buf);
		assert_true(buf_ok(&buf));
		assert_int_equal(buf.max, max);
	}
}

static void
an_append_is_all_or_nothing(void **state)
{
	AUTO(buf) struct buf buf = BUF_INIT(10);
	struct err err = ERR_INIT;

	(void)state;
	buf_add_str(&buf, "12345");
	buf_add_str(&buf, "678901");
	assert_string_equal(buf.data, "12345");
	assert_false(buf_check(&buf, "the reply", &err));
	assert_string_equal(err.msg, "cannot build the reply: more than 10 bytes");

	AUTO(buf) struct buf other = BUF_INIT(10);

	buf_printf(&other, "%s", "12345678901");
	assert_false(buf_ok(&other));
	assert_int_equal(other.len, 0);
}

static void
lengths_do_not_overflow(void **state)
{
	AUTO(buf) struct buf buf = BUF_INIT(SIZE_MAX);

	(void)state;
	buf_add_str(&buf, "ab");
	assert_null(buf_reserve(&buf, SIZE_MAX));
	assert_false(buf_ok(&buf));
	buf_clear(&buf);
	assert_null(buf_reserve(&buf, SIZE_MAX - 2));
	buf_clear(&buf);
	assert_null(buf_reserve(&buf, (size_t)PTRDIFF_MAX));
	buf_clear(&buf);
	buf_add_str(&buf, "cd");
	assert_string_equal(buf.data, "cd");
}

static void
printf_around_its_scratch_array(void **state)
{
	char text[1200];

	(void)state;
	for (size_t len = 250; len < 262; len++) {
		AUTO(buf) struct buf buf = BUF_INIT(600);

		memset(text, 'k', len);
		text[len] = '\0';
		buf_printf(&buf, "%s", text);
		buf_printf(&buf, "%s", text);
		assert_int_equal(buf.len, 2 * len);
		assert_memory_equal(buf.data + len, text, len + 1);
	}
}

static void
reserve_and_commit(void **state)
{
	AUTO(buf) struct buf buf = BUF_INIT(100);
	char *to = buf_reserve(&buf, 100);

	(void)state;
	assert_non_null(to);
	memset(to, 'r', 100);
	buf_commit(&buf, 40);
	assert_int_equal(buf.len, 40);
	assert_int_equal(buf.data[40], '\0');
	assert_non_null(buf_reserve(&buf, 60));
	buf_commit(&buf, 0);
	assert_null(buf_reserve(&buf, 61));
	assert_int_equal(buf.len, 40);
}

static void
an_empty_buffer_never_writes_the_shared_string(void **state)
{
	struct buf buf = BUF_INIT(10);

	(void)state;
	assert_ptr_equal(buf.data, buf_empty_);
	assert_non_null(buf_reserve(&buf, 0));
	buf_commit(&buf, 0);
	buf_clear(&buf);
	buf_truncate(&buf, 0);
	buf_add_str(&buf, "x");
	assert_ptr_not_equal(buf.data, buf_empty_);
	buf_release(&buf);
	assert_ptr_equal(buf.data, buf_empty_);
	buf_release(&buf);
	buf_release(NULL);
	buf_add_str(&buf, "again");
	assert_string_equal(buf.data, "again");
	buf_release(&buf);
	assert_int_equal(buf_empty_[0], '\0');
}

static void
take_hands_over(void **state)
{
	struct buf buf = BUF_INIT(10);
	size_t len = 99;
	char *text = buf_take(&buf, &len);

	(void)state;
	assert_string_equal(text, "");
	assert_int_equal(len, 0);
	mem_free(text);
	buf_add_str(&buf, "mine");
	text = buf_take(&buf, &len);
	assert_string_equal(text, "mine");
	assert_int_equal(len, 4);
	assert_int_equal(buf.len, 0);
	assert_string_equal(buf.data, "");
	mem_free(text);
	buf_release(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_of_every_kind),
		cmocka_unit_test(the_maximum_is_exact_and_failure_sticks),
		cmocka_unit_test(an_append_is_all_or_nothing),
		cmocka_unit_test(lengths_do_not_overflow),
		cmocka_unit_test(printf_around_its_scratch_array),
		cmocka_unit_test(reserve_and_commit),
		cmocka_unit_test(an_empty_buffer_never_writes_the_shared_string),
		cmocka_unit_test(take_hands_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
