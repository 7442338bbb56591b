#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "jobs/store/vectors.h"

#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = 1 << 22 }

/* Small whole numbers, so that every order of adding gives the same sum. */
static float
number(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
	return (float)((int)(*seed >> 60) - 8);
}

static float
plain_dot(const float *a, const float *b, size_t dim)
{
	float sum = 0;

	for (size_t i = 0; i < dim; i++)
		sum += a[i] * b[i];
	return sum;
}

static void
dot_of_any_length_and_alignment(void **state)
{
	float a[256], b[256];
	uint64_t seed = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
		a[i] = number(&seed);
		b[i] = number(&seed);
	}
	for (size_t dim = 0; dim <= 200; dim++) {
		for (size_t shift = 0; shift < 4; shift++)
			assert_true(vectors_dot(a + shift, b + 2 * shift, dim) ==
				    plain_dot(a + shift, b + 2 * shift, dim));
	}
}

struct best_case {
	size_t limit;
	struct row_set set;
};

#define ROWS 5000
#define DIM 11

static float all[ROWS][DIM];
static bool removed[ROWS];

/* By definition: the next best row again and again. */
static void
check_search(const struct vectors *vectors, const struct best_case *wanted)
{
	static bool taken[ROWS];
	const float query[DIM] = { 1, -2, 3, 0, 0, 5, 1, 1, -1, 2, 1 };
	struct best_rows best = { 0 };
	struct err err = ERR_INIT;
	size_t possible = 0;
	ARENA(arena);

	memset(taken, 0, sizeof(taken));
	assert_true(best_rows_init(&best, wanted->limit, &arena, &err));
	vectors_search(vectors, query, &wanted->set, &best);
	best_rows_sort(&best);
	for (size_t r = 0; r < ROWS; r++)
		possible += !removed[r] && row_set_has(&wanted->set, (int64_t)r * 2);
	assert_int_equal(best.count, possible < wanted->limit ? possible : wanted->limit);
	assert_int_equal(best.more, possible > wanted->limit);
	for (size_t i = 0; i < best.count; i++) {
		size_t top = ROWS;

		for (size_t r = 0; r < ROWS; r++) {
			if (removed[r] || taken[r] || !row_set_has(&wanted->set, (int64_t)r * 2))
				continue;
			if (top == ROWS ||
			    plain_dot(query, all[r], DIM) > plain_dot(query, all[top], DIM))
				top = r;
		}
		taken[top] = true;
		assert_int_equal(best.items[i].row, top * 2);
		assert_true(best.items[i].score == plain_dot(query, all[top], DIM));
	}
}

static void
check_searches(const struct vectors *vectors)
{
	const struct row_range ranges[] = {
		{ -5, 3 }, { 100, 101 }, { 3001, 3500 }, { 9990, 99999 }
	};
	const struct best_case cases[] = {
		{ 20, { .all = true } },	{ 0, { .all = true } },
		{ 3, { ranges, 1, false } },	{ 50, { ranges, 4, false } },
		{ 1000, { ranges, 4, false } }, { 9, { ranges, 0, false } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_search(vectors, &cases[i]);
}

static void
remove_rows(struct vectors *vectors, int64_t first, int64_t last)
{
	vectors_remove(vectors, (struct row_range){ first, last });
	for (int64_t r = 0; r < ROWS; r++)
		removed[r] = removed[r] || (r * 2 >= first && r * 2 <= last);
}

static void
searches_what_is_there(void **state)
{
	struct vectors vectors;
	uint64_t seed = 7;

	(void)state;
	vectors_init(&vectors, DIM);
	memset(removed, 1, sizeof(removed));
	check_search(&vectors, &(struct best_case){ 0, { .all = true } });
	memset(removed, 0, sizeof(removed));
	for (size_t r = 0; r < ROWS; r++) {
		for (size_t i = 0; i < DIM; i++)
			all[r][i] = number(&seed);
		vectors_add(&vectors, (int64_t)r * 2, all[r]);
	}
	assert_true(vectors_bytes(&vectors) >= (size_t)ROWS * DIM * sizeof(float));
	check_searches(&vectors);
	remove_rows(&vectors, 50, 60);
	remove_rows(&vectors, 55, 3100);
	remove_rows(&vectors, 9999, 9999);
	check_searches(&vectors);

	size_t before = vectors_bytes(&vectors);

	remove_rows(&vectors, 400, 8800); /* enough to move the rest together */
	assert_true(vectors_bytes(&vectors) < before);
	check_searches(&vectors);
	remove_rows(&vectors, 0, 2 * (int64_t)ROWS);
	assert_int_equal(vectors_bytes(&vectors), 0);
	check_searches(&vectors);
	vectors_release(&vectors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dot_of_any_length_and_alignment),
		cmocka_unit_test(searches_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
