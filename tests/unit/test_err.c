#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/err.h"
#include "common/base/str.h"

static void
set_fills_everything(void **state)
{
	struct err err = { .detail = 7, .retry_after_ms = 5, .pointer = "/x", .cause = "old" };

	(void)state;
	assert_false(err_set(&err, ERR_INVALID, "cannot use %d", 42));
	assert_int_equal(err.code, ERR_INVALID);
	assert_string_equal(err.msg, "cannot use 42");
	assert_int_equal(err.detail, 0);
	assert_int_equal(err.retry_after_ms, -1);
	assert_string_equal(err.pointer, "");
	assert_string_equal(err.cause, "");
}

static void
set_may_quote_its_own_fields(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	err_set(&err, ERR_IO, "inner");
	err_cause(&err, "host a");
	err_set(&err, ERR_TIMEOUT, "outer (%s, %s)", err.msg, err.cause);
	assert_string_equal(err.msg, "outer (inner, host a)");
	err_wrap(&err, "again %s", err.msg);
	assert_string_equal(err.msg, "again outer (inner, host a): outer (inner, host a)");
}

static void
wrap_keeps_the_rest(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	err_set(&err, ERR_TIMEOUT, "timed out after %d ms", 30000);
	err.detail = 28;
	err.retry_after_ms = 1500;
	assert_false(err_cause(&err, "upstream said: %s", "busy"));
	assert_false(err_at(&err, "/items/%d", 3));
	assert_false(err_waiting_for(&err, "x: %s", "requests per minute"));
	assert_false(err_wrap(&err, "could not reach provider '%s'", "openai"));
	assert_false(err_wrap(&err, "embed batch %d of %d", 3, 9));
	assert_string_equal(err.msg, "embed batch 3 of 9: could not reach provider 'openai': timed "
				     "out after 30000 ms");
	assert_int_equal(err.code, ERR_TIMEOUT);
	assert_int_equal(err.detail, 28);
	assert_int_equal(err.retry_after_ms, 1500);
	assert_string_equal(err.cause, "upstream said: busy");
	assert_string_equal(err.pointer, "/items/3");
	assert_string_equal(err.waiting_for, "x: requests per minute");
}

/* Every length around the ends of the arrays, with characters of 1 to 4 bytes across the end. */
static void
long_texts_are_cut_between_characters(void **state)
{
	static const char *const chars[] = { "a", "\u00e9", "\u20ac", "\U0001f600" };
	char text[3 * ERR_MSG_MAX_BYTES];

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(chars); c++) {
		for (size_t lead = 0; lead < 4; lead++) {
			struct err err = ERR_INIT;
			size_t step = strlen(chars[c]), len = lead;

			memset(text, 'x', lead);
			while (len + step < sizeof(text)) {
				memcpy(text + len, chars[c], step);
				len += step;
			}
			text[len] = '\0';
			err_set(&err, ERR_IO, "%s", text);
			assert_in_range(strlen(err.msg), ERR_MSG_MAX_BYTES - 4,
					ERR_MSG_MAX_BYTES - 1);
			assert_memory_equal(err.msg, text, strlen(err.msg));
			err_wrap(&err, "%s", text);
			err_at(&err, "%s", text);
			err_waiting_for(&err, "%s", text);
			err_cause(&err, "%s", text);
			assert_true(str_utf8_valid(str_of(err.msg), NULL));
			assert_true(str_utf8_valid(str_of(err.pointer), NULL));
			assert_true(str_utf8_valid(str_of(err.waiting_for), NULL));
			assert_true(str_utf8_valid(str_of(err.cause), NULL));
			assert_in_range(strlen(err.msg), ERR_MSG_MAX_BYTES - 4,
					ERR_MSG_MAX_BYTES - 1);
			assert_in_range(strlen(err.cause), ERR_CAUSE_MAX_BYTES - 4,
					ERR_CAUSE_MAX_BYTES - 1);
		}
	}
}

static void
texts_are_one_clean_line(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	err_set(&err, ERR_IO, "a\nb\r\tc\x7f\x01 \xff\xc3(");
	assert_string_equal(err.msg, "a b  c   ?\?(");
	err_set(&err, ERR_IO, "keeps \u00e9 and U+FFFD \ufffd");
	assert_string_equal(err.msg, "keeps \u00e9 and U+FFFD \ufffd");
}

static void
errno_is_translated(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_false(err_errno(&err, ENOENT, "open '%s'", "a.db"));
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(err.detail, ENOENT);
	assert_string_equal(err.msg, "could not open 'a.db': No such file or directory");
	err_errno(&err, ENOSPC, "write");
	assert_int_equal(err.code, ERR_DISK_FULL);
	err_errno(&err, EDQUOT, "write");
	assert_int_equal(err.code, ERR_DISK_FULL);
	err_errno(&err, ETIMEDOUT, "connect");
	assert_int_equal(err.code, ERR_TIMEOUT);
	err_clear(&err);
	assert_int_equal(err.code, ERR_NONE);
	assert_int_equal(err.retry_after_ms, -1);
	assert_string_equal(err.msg, "");
}

static void
the_table_is_sound(void **state)
{
	(void)state;
	for (int i = 0; i < ERR_CODE_COUNT; i++) {
		const struct err_info *row = err_info((enum err_code)i);

		assert_in_range(strlen(row->wire), 1, 40);
		assert_true(strlen(row->title) > 0);
		assert_int_equal(err_code_from_wire(row->wire), i);
		assert_true(row->retryable || !row->outage);
		assert_true(row->http_status == 200 ||
			    (row->http_status >= 400 && row->http_status < 600));
	}
	assert_ptr_equal(err_info((enum err_code)ERR_CODE_COUNT), err_info(ERR_INTERNAL));
	assert_ptr_equal(err_info((enum err_code) - 1), err_info(ERR_INTERNAL));
	assert_int_equal(err_code_from_wire("NO_SUCH"), ERR_INTERNAL);
	assert_int_equal(err_code_from_wire(NULL), ERR_INTERNAL);
	assert_true(err_info(ERR_CONNECT)->outage);
	assert_false(err_info(ERR_INVALID)->retryable);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_fills_everything),
		cmocka_unit_test(set_may_quote_its_own_fields),
		cmocka_unit_test(wrap_keeps_the_rest),
		cmocka_unit_test(long_texts_are_cut_between_characters),
		cmocka_unit_test(texts_are_one_clean_line),
		cmocka_unit_test(errno_is_translated),
		cmocka_unit_test(the_table_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
