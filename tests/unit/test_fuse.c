#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "common/base/auto.h"
#include "jobs/step/fuse.h"

#define NEAR(a, b) assert_true(fabs((double)(a) - (b)) < 1e-6)

static struct store_hit
hit(int64_t row, float score)
{
	return (struct store_hit){ .row = row, .score = score };
}

#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = 1 << 20 }

static void
both_legs_add_up(void **state)
{
	struct store_hit dense[] = { hit(7, 0.9F), hit(3, 0.5F), hit(5, 0.1F) };
	struct store_hit lexical[] = { hit(5, 12), hit(7, 8), hit(9, 4) };
	struct store_hits hits = {
		.dense = dense, .lexical = lexical, .dense_count = 3, .lexical_count = 3
	};
	struct candidate *list = NULL;
	size_t count = 0;
	ARENA(arena);

	(void)state;
	assert_true(fuse_hits(&hits, 0.25, &arena, &list, &count));
	assert_int_equal(count, 4);
	/* 5: 0.25 * 0 + 0.75 * 1; 7: 0.25 * 1 + 0.75 * 0.5; 3: 0.25 * 0.5; 9: 0 */
	assert_int_equal(list[0].hit.row, 5);
	NEAR(list[0].score, 0.75);
	assert_int_equal(list[1].hit.row, 7);
	NEAR(list[1].score, 0.625);
	assert_int_equal(list[2].hit.row, 3);
	NEAR(list[2].score, 0.125);
	assert_int_equal(list[3].hit.row, 9);
	NEAR(list[3].score, 0);
	NEAR(list[1].dense, (double)0.9F);
	NEAR(list[1].lexical, 8);
	assert_true(isnan(list[2].lexical));
	assert_true(isnan(list[3].dense));
}

static void
one_leg_keeps_its_order(void **state)
{
	struct store_hit lexical[] = { hit(2, 9), hit(8, 5), hit(1, 1) };
	struct store_hits hits = { .lexical = lexical, .lexical_count = 3 };
	struct candidate *list = NULL;
	size_t count = 0;
	ARENA(arena);

	(void)state;
	assert_true(fuse_hits(&hits, 0, &arena, &list, &count));
	assert_int_equal(count, 3);
	NEAR(list[0].score, 1);
	NEAR(list[1].score, 0.5);
	NEAR(list[2].score, 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(list[i].hit.row, lexical[i].row);
}

static void
equal_scores(void **state)
{
	struct store_hit same[] = { hit(4, 3), hit(6, 3) };
	struct store_hit nothing_alike[] = { hit(6, 0), hit(9, 0) };
	struct store_hits hits = {
		.dense = nothing_alike, .lexical = same, .dense_count = 2, .lexical_count = 2
	};
	struct candidate *list = NULL;
	size_t count = 0;
	ARENA(arena);

	(void)state;
	assert_true(fuse_hits(&hits, 0.5, &arena, &list, &count));
	assert_int_equal(count, 3);
	assert_int_equal(list[0].hit.row, 4); /* ties by row */
	assert_int_equal(list[1].hit.row, 6);
	NEAR(list[0].score, 0.5);
	NEAR(list[1].score, 0.5);
	NEAR(list[2].score, 0);
}

/* What is asked for beyond FUSE_DEPTH changes no score above; below, the raw scores decide. */
static void
same_scores_at_any_depth(void **state)
{
	static struct store_hit dense[2 * FUSE_DEPTH], lexical[2 * FUSE_DEPTH];
	struct store_hits hits = { .dense = dense, .lexical = lexical };
	struct candidate *few = NULL, *many = NULL;
	size_t few_count = 0, many_count = 0, same = 0;
	ARENA(arena);

	(void)state;
	for (int64_t i = 0; i < INT64_C(2) * FUSE_DEPTH; i++) {
		dense[i] = hit(i, 1 - 0.001F * (float)i);
		lexical[i] = hit((i * 7 + 3) % 400, 50 - 0.1F * (float)i);
	}
	hits.dense_count = hits.lexical_count = FUSE_DEPTH;
	assert_true(fuse_hits(&hits, 0.3, &arena, &few, &few_count));
	hits.dense_count = hits.lexical_count = (size_t)2 * FUSE_DEPTH;
	assert_true(fuse_hits(&hits, 0.3, &arena, &many, &many_count));
	for (; same < few_count && few[same].score > 0; same++) {
		assert_int_equal(few[same].hit.row, many[same].hit.row);
		assert_true(few[same].score == many[same].score);
	}
	assert_true(same > FUSE_DEPTH);
	for (size_t i = 1; i < many_count; i++) {
		assert_true(many[i - 1].score >= many[i].score);
		assert_true(many[i - 1].score > many[i].score || many[i - 1].tail >= many[i].tail);
		assert_true(many[i].score >= 0);
	}
	assert_true(many[many_count - 1].tail < 0);
}

static void
nothing(void **state)
{
	struct store_hits hits = { 0 };
	struct candidate *list = NULL;
	size_t count = 7;
	ARENA(arena);

	(void)state;
	assert_true(fuse_hits(&hits, 0.5, &arena, &list, &count));
	assert_int_equal(count, 0);
}

static void
full_arena_is_said(void **state)
{
	struct store_hit dense[64] = { 0 };
	struct store_hits hits = { .dense = dense, .dense_count = 64 };
	struct candidate *list = NULL;
	size_t count = 0;
	AUTO(arena) struct arena arena = { .max_bytes = 64 };

	(void)state;
	assert_false(fuse_hits(&hits, 0.5, &arena, &list, &count));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_legs_add_up),   cmocka_unit_test(one_leg_keeps_its_order),
		cmocka_unit_test(equal_scores),	      cmocka_unit_test(nothing),
		cmocka_unit_test(full_arena_is_said), cmocka_unit_test(same_scores_at_any_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
