#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/base/auto.h"
#include "jobs/step/rescore.h"

#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = 1 << 20 }

static struct store_hit
hit(const char *id, const char *title, const char *heading, const char *text, int64_t row)
{
	return (struct store_hit){ .document_id = str_of(id),
				   .title = str_of(title),
				   .heading = str_of(heading),
				   .text = str_of(text),
				   .row = row,
				   .score = 0.5F };
}

static struct store_hits
rescored(const char *question, struct store_hit *dense, size_t count, struct arena *arena)
{
	struct store_hits hits = { .dense = dense, .dense_count = count };

	assert_true(rescore_hits(str_of(question), NULL, RESCORE_BOTH, arena, &hits));
	assert_ptr_equal(hits.dense, dense);
	assert_int_equal(hits.dense_count, count);
	for (size_t i = 1; i < hits.lexical_count; i++)
		assert_true(hits.lexical[i - 1].score >= hits.lexical[i].score);
	return hits;
}

static void
finds_words_and_nothing_else(void **state)
{
	struct store_hit dense[] = {
		hit("a", "", "", "The kingfishers dive for fish", 1),
		hit("b", "", "", "Nothing of it", 2),
		hit("c", "", "", "A KINGFISHER, a kingfisher!", 3),
	};
	struct store_hits hits;
	ARENA(arena);

	(void)state;
	hits = rescored("What does the kingfisher do?", dense, 3, &arena);
	assert_int_equal(hits.lexical_count, 2); /* stems, case; stop words are none */
	assert_true(str_eq_c(hits.lexical[0].document_id, "c")); /* twice, and shorter */
	assert_int_equal(hits.lexical[0].row, 3);
	assert_true(str_eq_c(hits.lexical[1].document_id, "a"));
}

static void
rare_words_weigh_more(void **state)
{
	struct store_hit dense[] = {
		hit("a", "", "", "pump pressure one", 1),
		hit("b", "", "", "pump pressure two", 2),
		hit("c", "", "", "pump cavitation three", 3),
		hit("d", "", "", "pump four five", 4),
	};
	struct store_hits hits;
	ARENA(arena);

	(void)state;
	hits = rescored("pump cavitation pressure", dense, 4, &arena);
	assert_true(str_eq_c(hits.lexical[0].document_id, "c"));
	assert_int_equal(hits.lexical_count, 4);
	assert_true(str_eq_c(hits.lexical[3].document_id, "d"));
}

static void
common_words_of_the_language_weigh_less(void **state)
{
	/* each stands in one candidate only: the lists decide */
	struct store_hit dense[] = {
		hit("a", "", "", "general", 1),
		hit("b", "", "", "viscosity", 2),
		hit("c", "", "", "else", 3),
	};
	struct store_hits hits;
	ARENA(arena);

	(void)state;
	hits = rescored("general viscosity", dense, 3, &arena);
	assert_true(str_eq_c(hits.lexical[0].document_id, "b"));
}

static void
title_and_heading_count(void **state)
{
	struct store_hit dense[] = {
		hit("a", "", "", "heron beside the river", 1),
		hit("b", "The heron", "", "by a river", 2),
		hit("c", "", "Birds > Heron", "by a river", 3),
	};
	struct store_hits hits;
	ARENA(arena);

	(void)state;
	hits = rescored("heron", dense, 3, &arena);
	assert_int_equal(hits.lexical_count, 3);
	assert_true(str_eq_c(hits.lexical[0].document_id, "b"));
	assert_true(str_eq_c(hits.lexical[1].document_id, "c"));
}

static void
a_question_of_stop_words_alone(void **state)
{
	struct store_hit dense[] = { hit("a", "", "", "to be or not to be", 1),
				     hit("b", "", "", "something else", 2) };
	struct store_hits hits;
	ARENA(arena);

	(void)state;
	hits = rescored("to be or not", dense, 2, &arena);
	assert_int_equal(hits.lexical_count, 1);
	assert_true(str_eq_c(hits.lexical[0].document_id, "a"));
}

static void
nothing_to_find(void **state)
{
	struct store_hit dense[] = { hit("a", "", "", "", 1) };
	struct store_hits hits;
	ARENA(arena);

	(void)state;
	assert_int_equal(rescored("", dense, 1, &arena).lexical_count, 0);
	assert_int_equal(rescored("?!", dense, 1, &arena).lexical_count, 0);
	assert_int_equal(rescored("word", dense, 1, &arena).lexical_count, 0);
	hits = rescored("word", NULL, 0, &arena);
	assert_int_equal(hits.lexical_count, 0);
}

static void
ties_go_by_row_and_scores_are_numbers(void **state)
{
	struct store_hit dense[40];
	struct store_hits hits;
	ARENA(arena);

	(void)state;
	for (size_t i = 0; i < 40; i++)
		dense[i] = hit("x", "", "", "same words here", (int64_t)(40 - i));
	hits = rescored("same words", dense, 40, &arena);
	assert_int_equal(hits.lexical_count, 40);
	for (size_t i = 0; i < 40; i++) {
		assert_int_equal(hits.lexical[i].row, i + 1);
		assert_true(isfinite(hits.lexical[i].score));
	}
}

static void
a_full_arena_is_said(void **state)
{
	struct store_hit dense[] = { hit("a", "", "", "word", 1) };
	struct store_hits hits = { .dense = dense, .dense_count = 1 };
	AUTO(arena) struct arena arena = { .max_bytes = 512 };

	(void)state;
	assert_false(rescore_hits(STR("word"), NULL, RESCORE_BOTH, &arena, &hits));
	assert_int_equal(hits.lexical_count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_words_and_nothing_else),
		cmocka_unit_test(rare_words_weigh_more),
		cmocka_unit_test(common_words_of_the_language_weigh_less),
		cmocka_unit_test(title_and_heading_count),
		cmocka_unit_test(a_question_of_stop_words_alone),
		cmocka_unit_test(nothing_to_find),
		cmocka_unit_test(ties_go_by_row_and_scores_are_numbers),
		cmocka_unit_test(a_full_arena_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
