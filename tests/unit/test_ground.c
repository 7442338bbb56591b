/* Answers that stand on their sources, and those that only look so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "jobs/step/cite.h"
#include "jobs/step/ground.h"

#define MIB ((size_t)1024 * 1024)

static struct source sources[2];

static int
setup(void **state)
{
	(void)state;
	sources[0] = (struct source){
		.n = 1,
		.title = STR("Oil"),
		.text = STR("Change the oil every 10,000 km. Drain it while the engine is warm.")
	};
	sources[1] =
		(struct source){ .n = 2,
				 .title = STR("Herons"),
				 .heading = STR("Nests"),
				 .text = STR("The grey heron nests in tall trees near lakes, in "
					     "colonies of 20 pairs.") };
	return 0;
}

static struct ground
ground_of(const char *answer)
{
	AUTO(arena) struct arena arena;
	struct cite_check check;
	struct ground ground = { .statements = 0 };

	arena_init(&arena, MIB);
	assert_true(cite_answer(str_of(answer), 2, &arena, &check));
	assert_int_equal(check.removed, 0);
	assert_true(ground_answer(check.text, sources, 2, &arena, &ground));
	return ground;
}

static void
stands(void **state)
{
	static const struct {
		const char *answer;
		size_t statements;
	} rows[] = {
		{ "Change the oil every 10,000 km [1].", 1 },
		{ "The oil must be changed each 10,000 km. [1]", 1 },
		{ "Change the oil every 10,000 km [1]. Herons nest in trees [2].", 2 },
		{ "Change the oil every 10,000 km, while the engine is warm [1].\n\nHerons nest "
		  "near lakes [2][1].",
		  2 },
		{ "What the documents say about oil and herons:\n\n1. The oil is changed every "
		  "10,000 km [1].\n"
		  "2. It is drained from a warm engine [1].\n3) Colonies have 20 pairs [2].",
		  3 },
		/* the title and the heading are words of the source, too */
		{ "Herons build their nests in trees [2].", 1 },
		{ "Yes, every 10,000 km [1].", 1 },
		{ "In short: trees [2]. Anything else?", 1 },
		{ "Change the oil every 10,000 km [1]:\n\n```\nwhile true; do drain --everything "
		  "99 times; done\n```",
		  1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ground ground = ground_of(rows[i].answer);

		if (!ground_holds(&ground) || ground.statements != rows[i].statements)
			fail_msg("'%s': %zu statements, %zu uncited, %zu unsupported",
				 rows[i].answer, ground.statements, ground.uncited,
				 ground.unsupported);
		assert_int_equal(ground.first_bad.len, 0);
	}
}

static void
does_not_stand(void **state)
{
	static const struct {
		const char *answer;
		size_t uncited, unsupported;
		const char *first_bad;
	} rows[] = {
		{ "Change the oil every 10,000 km.", 1, 0, "Change the oil every 10,000 km." },
		/* a number that no source has */
		{ "Change the oil every 15,000 km [1].", 0, 1, "Change the oil every 15,000 km" },
		/* the right words with the wrong source */
		{ "Herons nest in tall trees near lakes [1].", 0, 1,
		  "Herons nest in tall trees near lakes" },
		/* made up, with a source */
		{ "Penguins breed on antarctic ice shelves during winter [2].", 0, 1, NULL },
		/* the end has none */
		{ "Change the oil every 10,000 km [1]. Penguins breed on ice.", 1, 0,
		  ". Penguins breed on ice." },
		{ "Change the oil every 10,000 km [1].\n\nPenguins breed on ice.\n\nHerons nest in "
		  "trees [2].",
		  1, 0, "Penguins breed on ice." },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ground ground = ground_of(rows[i].answer);

		if (ground_holds(&ground) || ground.uncited != rows[i].uncited ||
		    ground.unsupported != rows[i].unsupported)
			fail_msg("'%s': %zu statements, %zu uncited, %zu unsupported",
				 rows[i].answer, ground.statements, ground.uncited,
				 ground.unsupported);
		if (rows[i].first_bad)
			assert_true(str_eq_c(ground.first_bad, rows[i].first_bad));
	}
}

static void
says_nothing(void **state)
{
	static const char *const rows[] = { "",		"[1]",	      "Yes.",
					    "\n\n\n\n", "`code [1]`", "The of it." };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ground ground = ground_of(rows[i]);

		assert_int_equal(ground.statements, 0);
		assert_false(ground_holds(&ground));
	}
}

static void
is_bounded(void **state)
{
	AUTO(buf) struct buf answer = BUF_INIT(16 * MIB);
	AUTO(arena) struct arena arena, small;
	struct ground ground = { .statements = 0 };
	struct ground untouched = { .statements = 77 };

	(void)state;
	arena_init(&arena, 64 * MIB);
	arena_init(&small, 64);
	for (int i = 0; i < 5000; i++)
		buf_add_str(&answer, "Change the oil every 10,000 km [1].\n\n");
	assert_true(ground_answer(str_make(answer.data, answer.len), sources, 2, &arena, &ground));
	assert_in_range(ground.statements, GROUND_STATEMENTS_MAX, GROUND_STATEMENTS_MAX + 1);
	assert_false(ground_holds(&ground));
	assert_false(
		ground_answer(str_make(answer.data, answer.len), sources, 2, &small, &untouched));
	assert_int_equal(untouched.statements, 77);
	/* one statement without an end */
	buf_clear(&answer);
	while (answer.len < GROUND_MAX_BYTES)
		buf_add_str(&answer, "the oil every 10,000 km ");
	buf_add_str(&answer, "[1].");
	assert_true(ground_answer(str_make(answer.data, answer.len), sources, 2, &arena, &ground));
	assert_true(ground.too_long);
	assert_false(ground_holds(&ground));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stands),
		cmocka_unit_test(does_not_stand),
		cmocka_unit_test(says_nothing),
		cmocka_unit_test(is_bounded),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
