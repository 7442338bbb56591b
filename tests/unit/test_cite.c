#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "jobs/step/cite.h"
#include "tests/support/text.h"

/* used: one digit a source, 1 = cited */
static void
check(const char *answer, size_t sources, const char *text, const char *used, size_t removed)
{
	AUTO(arena) struct arena arena;
	struct cite_check got;
	size_t used_count = 0;

	arena_init(&arena, 1 << 20);
	assert_true(cite_answer(str_of(answer), sources, &arena, &got));
	if (!str_eq_c(got.text, text))
		fail_msg("'%s' became '" STR_FMT "'", answer, STR_ARG(got.text));
	for (size_t i = 0; i < sources; i++) {
		assert_int_equal(got.used[i], used[i] == '1');
		used_count += used[i] == '1';
	}
	assert_int_equal(got.used_count, used_count);
	assert_int_equal(got.removed, removed);
}

static void
marks_that_name_sources(void **state)
{
	(void)state;
	check("", 2, "", "00", 0);
	check("No mark.", 0, "No mark.", "", 0);
	check("A [1]. B [3] and [1].", 3, "A [1]. B [3] and [1].", "101", 0);
	check("A [1, 3][2]", 3, "A [1, 3][2]", "111", 0);
	check("A[2-3]", 4, "A[2-3]", "0110", 0);
	check("A [ 1 ,2 ] [01]", 2, "A [ 1 ,2 ] [01]", "11", 0);
}

static void
marks_that_name_none(void **state)
{
	(void)state;
	check("A [4]. B [0].", 3, "A. B.", "000", 2);
	check("A [1, 7, 3] B", 3, "A [1, 3] B", "101", 1);
	check("A [9,2]", 3, "A [2]", "010", 1);
	check("[5] A [5][6]", 3, " A", "000", 3);
	check("A [2-9] [3-2] B", 3, "A B", "000", 2);
	check("A [999]", 3, "A", "000", 1);
	check("A [1]", 0, "A", "", 1);
}

static void
other_brackets(void **state)
{
	static const char *const same[] = { "[2024] [] [ ] [a] [1a] [^1] [1;2] [1,] [,1] [1",
					    "array[i] [[x]] [-1] [1-]",
					    "see [9](http://x)",
					    "code `a[9]` and ``b`[9]``",
					    "```\nx[9]\n```",
					    "[1234] [12345]",
					    "[\u20609]" };

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		check(same[i], 3, same[i], "000", 0);
	check("` open [9] [2]", 3, "` open [2]", "010", 1); /* never closed: not code */
	check("[[1]]", 1, "[[1]]", "1", 0);
}

/* Taking one mark out must not leave another that nobody counted. */
static void
marks_made_by_taking_out(void **state)
{
	AUTO(arena) struct arena arena;
	AUTO(buf) struct buf text = BUF_INIT(1 << 20);
	struct cite_check got;

	(void)state;
	check("A [1[29]]", 3, "A [1]", "100", 1);
	check("A [2 [29]]", 3, "A [2]", "010", 1);
	check("A [9[9]9]", 3, "A", "000", 2);
	check("`[2]`[9]`", 3, "`[2]``", "010", 1); /* no code any more */
	arena_init(&arena, 1 << 20);
	for (int i = 0; i < 50; i++)
		buf_add_str(&text, "[9");
	for (int i = 0; i < 50; i++)
		buf_add_str(&text, "]");
	assert_true(cite_answer(str_make(text.data, text.len), 3, &arena, &got));
	assert_int_equal(got.used_count, 0);
	assert_false(str_find(got.text, STR("["), &(size_t){ 0 }));
}

static void
hostile_and_random(void **state)
{
	static const char *const pieces[] = { "[", "]",	 "1", "9", ",",	  "-",	 " ",
					      "`", "``", "(", "a", "[1]", "[9]", "é" };

	(void)state;
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		AUTO(arena) struct arena arena;
		AUTO(buf) struct buf text = BUF_INIT(1 << 20);
		struct text_random random = { seed };
		struct cite_check once, twice;

		arena_init(&arena, 1 << 20);
		for (uint64_t n = text_random(&random, 40); n > 0; n--)
			buf_add_str(&text, pieces[text_random(&random, ARRAY_SIZE(pieces))]);
		assert_true(cite_answer(str_make(text.data, text.len), 3, &arena, &once));
		assert_true(str_utf8_valid(once.text, NULL));
		assert_true(once.text.len <= text.len);
		assert_true(once.removed == 0 ? once.text.len == text.len
					      : once.text.len < text.len);
		/* every mark that is left names a source, and was counted */
		assert_true(cite_answer(once.text, 3, &arena, &twice));
		assert_int_equal(twice.removed, 0);
		assert_true(str_eq(once.text, twice.text));
		assert_int_equal(once.used_count, twice.used_count);
		assert_memory_equal(once.used, twice.used, 3 * sizeof(*once.used));
	}
}

static void
large_answers_take_linear_time(void **state)
{
	static const char *const pieces[] = { "[", "`", "` ``", "[1,", "[9]", "```a``b`", "[9[9" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		AUTO(arena) struct arena arena;
		AUTO(buf) struct buf text = BUF_INIT(8 << 20);
		struct cite_check got;

		arena_init(&arena, 64 << 20);
		for (int n = 0; n < 200000; n++)
			buf_add_str(&text, pieces[i]);
		assert_true(cite_answer(str_make(text.data, text.len), 3, &arena, &got));
	}
}

static void
too_little_memory(void **state)
{
	AUTO(arena) struct arena arena;
	struct cite_check got;

	(void)state;
	arena_init(&arena, 64);
	assert_false(cite_answer(STR("A [1] which does not fit into the memory there is"), 100,
				 &arena, &got));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_that_name_sources),
		cmocka_unit_test(marks_that_name_none),
		cmocka_unit_test(other_brackets),
		cmocka_unit_test(marks_made_by_taking_out),
		cmocka_unit_test(hostile_and_random),
		cmocka_unit_test(large_answers_take_linear_time),
		cmocka_unit_test(too_little_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
