#include "cli/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/progress.h"
#include "common/base/auto.h"
#include "common/base/id.h"

static void
counts_columns(void **state)
{
	(void)state;
	assert_int_equal(text_columns(STR("abc")), 3);
	assert_int_equal(text_columns(STR("äöü")), 3);
	assert_int_equal(text_columns(STR("日本")), 4);
	assert_int_equal(text_columns(STR("e\xcc\x81")), 1); /* e and a combining accent */
	assert_int_equal(text_columns(STR("😀")), 2);
}

static void
check_cell(const char *text, size_t columns, bool pad, const char *want)
{
	AUTO(buf) struct buf out = BUF_INIT(1000);

	text_add_cell(&out, str_of(text), columns, pad);
	assert_string_equal(out.data, want);
}

static void
cuts_at_characters(void **state)
{
	(void)state;
	check_cell("hello", 5, true, "hello");
	check_cell("hello", 7, true, "hello  ");
	check_cell("hello", 4, true, "hel…");
	check_cell("hällo", 3, true, "hä…");
	check_cell("日本語", 6, true, "日本語");
	check_cell("日本語", 5, true, "日本…");
	check_cell("日本語", 4, true,
		   "日… "); /* a wide character that does not fit leaves a blank */
	check_cell("hello", 1, true, "…");
	check_cell("hello", 0, true, "");
	check_cell("", 2, true, "  ");
	check_cell("hello", 9, false, "hello");
}

static void
makes_text_harmless(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(1000);

	text_add_line(&out, STR(" a\x1b[31mred\r\n\t b\x07\xff\xe2\x80\xae"
				"c\xc2\x9b"
				"2J "));
	assert_string_equal(out.data, "a [31mred b \xef\xbf\xbd"
				      "c 2J");
	buf_clear(&out);
	text_add_lines(&out, STR("one\r\n  two\x1b]0;x\n"));
	assert_string_equal(out.data, "one \ntwo ]0;x");
}

static void
any_bytes_fit_their_cell(void **state)
{
	(void)state;
	for (int round = 0; round < 3000; round++) {
		AUTO(buf) struct buf out = BUF_INIT(1000);
		char bytes[40];
		size_t columns = id_random_u64() % 30;

		id_random(bytes, sizeof(bytes));
		text_add_cell(&out, str_make(bytes, id_random_u64() % sizeof(bytes)), columns,
			      true);
		assert_int_equal(text_columns(str_make(out.data, out.len)), columns);
		assert_true(str_utf8_valid(str_make(out.data, out.len), NULL));
	}
}

static void
wraps_at_words(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(1000);

	text_add_wrapped(&out, STR("the quick brown fox jumps over the lazy dog"), 24, 2);
	assert_string_equal(out.data, "  the quick brown fox\n  jumps over the lazy\n  dog\n");
	buf_clear(&out);
	text_add_wrapped(&out, STR("a\n\nb"), 40, 1);
	assert_string_equal(out.data, " a\n\n b\n");
	buf_clear(&out);
	text_add_wrapped(&out, STR("0123456789012345678901234567890"), 20, 0);
	assert_string_equal(out.data, "01234567890123456789\n01234567890\n");
}

static void
writes_figures(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(1000);
	static const int64_t counts[] = { 0, 999, 1000, 1234567, -1000, -999 };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		text_add_count(&out, counts[i]);
		buf_add_char(&out, ' ');
	}
	assert_string_equal(out.data, "0 999 1,000 1,234,567 -1,000 -999 ");
	buf_clear(&out);
	text_add_duration(&out, 65);
	buf_add_char(&out, ' ');
	text_add_duration(&out, 3723);
	buf_add_char(&out, ' ');
	text_add_age(&out, 59);
	text_add_age(&out, 60);
	text_add_age(&out, 7200);
	text_add_age(&out, INT64_C(86400) * 3);
	assert_string_equal(out.data, "01:05 1:02:03 59s1m2h3d");
}

static void
prints_tables(void **state)
{
	(void)state;
	static const char *const heads[] = { "ID", "N", "TEXT" };
	struct text_table table;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	text_table_init(&table, heads, 3, 2);
	text_table_add(&table, STR("日本"));
	text_table_add_int(&table, 7);
	text_table_add(&table, STR("a long text that must be cut"));
	text_table_add(&table, STR("b"));
	text_table_add_int(&table, 10000);
	text_table_add(&table, STR(""));
	text_table_print(&table, 24, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, "ID        N  TEXT\n"
				  "日本      7  a long tex…\n"
				  "b     10000\n");
	text_table_release(&table);
	free(text);
}

static void
tight_tables_fit(void **state)
{
	(void)state;
	static const char *const heads[] = { "ONE", "TWO", "THREE" };
	AUTO(buf) struct buf out = BUF_INIT(4096);
	struct text_table table;

	text_table_init(&table, heads, 3, 2);
	text_table_add(&table, STR("0123456789012345678901234567890123456789"));
	text_table_add(&table, STR("01234567890123456789"));
	text_table_add(&table, STR("0123456789"));
	text_table_format(&table, 40, &out); /* only the flexible one gives way */
	assert_non_null(strstr(out.data, "0123456789012345678901234567890123456789  "));
	buf_clear(&out);
	table.tight = true;
	text_table_format(&table, 40, &out);
	assert_string_equal(out.data, "ONE             TWO             THREE\n"
				      "0123456789012…  0123456789012…  0123456…\n");
	text_table_release(&table);
}

static void
reads_ages(void **state)
{
	(void)state;
	static const char *const bad[] = { "",	 "7",	 "d",	"0d", "-1d",
					   "7D", "1.5h", "7 d", "d7", "9999999s" };
	int64_t seconds = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(text_parse_age(str_of(bad[i]), &seconds));
	assert_true(text_parse_age(STR("90s"), &seconds));
	assert_int_equal(seconds, 90);
	assert_true(text_parse_age(STR("30m"), &seconds));
	assert_int_equal(seconds, 1800);
	assert_true(text_parse_age(STR("12h"), &seconds));
	assert_int_equal(seconds, 43200);
	assert_true(text_parse_age(STR("7d"), &seconds));
	assert_int_equal(seconds, 604800);
	assert_true(text_parse_age(STR("2w"), &seconds));
	assert_int_equal(seconds, 1209600);
}

static void
tells_progress(void **state)
{
	(void)state;
	AUTO(buf) struct buf line = BUF_INIT(1000);
	struct progress progress;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	progress_start(&progress, out, true, 90, 0);
	progress_line(&progress, &(struct progress_state){ .done = 0, .total = 2000 }, &line);
	assert_string_equal(line.data, "[------------------------------] 0/2,000");
	progress_show(&progress, &(struct progress_state){ .done = 500, .total = 2000 }, 1000);
	buf_clear(&line);
	progress_line(&progress,
		      &(struct progress_state){ .done = 1000, .total = 2000, .failed = 3 }, &line);
	assert_string_equal(line.data, "[###############---------------] 1,000/2,000, 500/s, ETA "
				       "00:02, failed 3");
	progress_end(&progress);
	assert_int_equal(fclose(out), 0);
	assert_true(str_starts(str_of(text), "\r["));
	assert_true(str_ends(str_of(text), "\r\033[K"));
	free(text);

	/* not a terminal: a line every ten seconds, without control characters */
	out = open_memstream(&text, &len);
	progress_start(&progress, out, false, 90, 0);
	for (int64_t now = 0; now <= 21000; now += 200)
		progress_show(&progress,
			      &(struct progress_state){ .done = now / 100, .total = 300 }, now);
	progress_end(&progress);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, "100/300, 10/s, ETA 00:20\n200/300, 10/s, ETA 00:10\n");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_columns),      cmocka_unit_test(cuts_at_characters),
		cmocka_unit_test(makes_text_harmless), cmocka_unit_test(any_bytes_fit_their_cell),
		cmocka_unit_test(wraps_at_words),      cmocka_unit_test(writes_figures),
		cmocka_unit_test(prints_tables),       cmocka_unit_test(tells_progress),
		cmocka_unit_test(tight_tables_fit),    cmocka_unit_test(reads_ages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
