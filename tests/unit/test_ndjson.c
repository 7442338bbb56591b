#include "common/ndjson.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"

/* All lines of a text that comes in pieces of this many bytes, as "<number>:<text>[!];"; '!' = too long. */
static void
read_lines(const char *text, size_t piece, size_t max_bytes, struct buf *out)
{
	struct str rest = str_of(text);
	struct ndjson_line line;
	struct ndjson reader;
	bool more;

	buf_clear(out);
	ndjson_init(&reader, max_bytes);
	while (rest.len > 0) {
		size_t len = rest.len < piece ? rest.len : piece;

		ndjson_feed(&reader, str_sub(rest, 0, len));
		rest = str_sub(rest, len, rest.len);
		while (ndjson_next(&reader, &line))
			buf_printf(out, "%lld:" STR_FMT "%s;", (long long)line.number,
				   STR_ARG(line.text), line.too_long ? "!" : "");
	}
	more = ndjson_last(&reader, &line);
	if (more)
		buf_printf(out, "%lld:" STR_FMT "%s;", (long long)line.number, STR_ARG(line.text),
			   line.too_long ? "!" : "");
	ndjson_release(&reader);
}

static void
lines_do_not_depend_on_the_pieces(void **state)
{
	static const struct {
		const char *text, *lines;
	} rows[] = {
		{ "", "" },
		{ "a", "1:a;" },
		{ "a\n", "1:a;" },
		{ "a\nb", "1:a;2:b;" },
		{ "\n\na\r\n \t\r\nb\r\n", "3:a;5:b;" },
		{ "\xef\xbb\xbf"
		  "a\n\xef\xbb\xbf"
		  "b",
		  "1:a;2:\xef\xbb\xbf"
		  "b;" },
		{ "12345678\n123456789\n12345678\r\n123456789\r\n123456789012345\nz",
		  "1:12345678;2:12345678!;3:12345678;4:12345678!;5:12345678!;6:z;" },
		{ "\xef\xbb\xbf"
		  "12345678\r\n",
		  "1:12345678;" },
		{ "\xef\xbb\xbf"
		  "1234567890123\n",
		  "1:12345678!;" },
		{ "              a\n", "1:        !;" }, /* how it ends does not matter */
		{ "a\rb\n", "1:a\rb;" },
		{ "1234567\r8\n", "1:1234567\r!;" },
	};
	AUTO(buf) struct buf got = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t piece = 1; piece < 20; piece++) {
			read_lines(rows[i].text, piece, 8, &got);
			if (strcmp(got.data, rows[i].lines) != 0)
				fail_msg("row %zu in pieces of %zu: '%s'", i, piece, got.data);
		}
}

static void
a_long_line_holds_no_memory(void **state)
{
	char piece[4096];
	struct ndjson_line line;
	struct ndjson reader;

	(void)state;
	memset(piece, 'x', sizeof(piece));
	ndjson_init(&reader, 10000);
	for (int i = 0; i < 1000; i++) {
		ndjson_feed(&reader, str_make(piece, sizeof(piece)));
		assert_false(ndjson_next(&reader, &line));
		assert_true(reader.begun.cap <= 40000);
	}
	ndjson_feed(&reader, STR("\nok\n"));
	assert_true(ndjson_next(&reader, &line));
	assert_true(line.too_long);
	assert_int_equal(line.text.len, 10000);
	assert_true(ndjson_next(&reader, &line));
	assert_true(str_eq_c(line.text, "ok"));
	assert_int_equal(line.number, 2);
	ndjson_release(&reader);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_do_not_depend_on_the_pieces),
		cmocka_unit_test(a_long_line_holds_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
