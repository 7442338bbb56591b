/* The conversation that comes with a question: what is taken, and where what is refused stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "jobs/spec/history.h"
#include "tests/support/must.h"

#define MIB ((size_t)1024 * 1024)

static void
takes_turns(void **state)
{
	AUTO(arena) struct arena arena;
	struct history history;

	(void)state;
	arena_init(&arena, MIB);
	MUST(history_parse(STR(""), &arena, &history, e));
	assert_int_equal(history.count, 0);
	MUST(history_parse(STR("[]"), &arena, &history, e));
	assert_int_equal(history.count, 0);
	MUST(history_parse(STR("[{\"role\":\"user\",\"content\":\"Oil?\"},"
			       "{\"content\":\"10,000 km\\n[1]\",\"role\":\"assistant\"}]"),
			   &arena, &history, e));
	assert_int_equal(history.count, 2);
	assert_int_equal(history.turns[0].role, HISTORY_USER);
	assert_true(str_eq_c(history.turns[0].content, "Oil?"));
	assert_int_equal(history.turns[1].role, HISTORY_ASSISTANT);
	assert_true(str_eq_c(history.turns[1].content, "10,000 km\n[1]"));
}

static void
refuses_others(void **state)
{
	static const struct {
		const char *json, *pointer;
	} rows[] = {
		{ "{}", "/history" },
		{ "[1]", "/history/0" },
		{ "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"a\"}]",
		  "/history/1/role" },
		{ "[{\"role\":\"user\"}]", "/history/0/content" },
		{ "[{\"content\":\"a\"}]", "/history/0/role" },
		{ "[{\"role\":\"user\",\"content\":\"\"}]", "/history/0/content" },
		{ "[{\"role\":\"user\",\"content\":\" \\n\"}]", "/history/0/content" },
		{ "[{\"role\":\"user\",\"content\":\"\\u0007\"}]", "/history/0/content" },
		{ "[{\"role\":\"user\",\"content\":[]}]", "/history/0/content" },
		{ "[{\"role\":\"user\",\"content\":\"a\",\"name\":\"b\"}]", "/history/0/name" },
	};
	AUTO(arena) struct arena arena;
	struct history history;

	(void)state;
	arena_init(&arena, MIB);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;

		assert_false(history_parse(str_of(rows[i].json), &arena, &history, &err));
		assert_int_equal(err.code, ERR_INVALID);
		assert_string_equal(err.pointer, rows[i].pointer);
	}
}

static void
is_bounded(void **state)
{
	AUTO(buf) struct buf json = BUF_INIT(MIB);
	AUTO(arena) struct arena arena;
	struct history history;
	struct err err = ERR_INIT;

	(void)state;
	arena_init(&arena, MIB);
	buf_add_char(&json, '[');
	for (int i = 0; i < HISTORY_MAX_TURNS; i++)
		buf_printf(&json, "%s{\"role\":\"user\",\"content\":\"a\"}", i ? "," : "");
	buf_add_char(&json, ']');
	MUST(history_parse(str_make(json.data, json.len), &arena, &history, e));
	assert_int_equal(history.count, HISTORY_MAX_TURNS);
	buf_truncate(&json, json.len - 1);
	buf_add_str(&json, ",{\"role\":\"user\",\"content\":\"a\"}]");
	assert_false(history_parse(str_make(json.data, json.len), &arena, &history, &err));
	assert_string_equal(err.pointer, "/history");
	buf_clear(&json);
	buf_add_str(&json, "[{\"role\":\"user\",\"content\":\"");
	for (int i = 0; i <= HISTORY_MAX_CHARS; i++)
		buf_add_char(&json, 'a');
	buf_add_str(&json, "\"}]");
	assert_false(history_parse(str_make(json.data, json.len), &arena, &history, &err));
	assert_string_equal(err.pointer, "/history/0/content");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_turns),
		cmocka_unit_test(refuses_others),
		cmocka_unit_test(is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
