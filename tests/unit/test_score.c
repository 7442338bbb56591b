#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "cli/score.h"
#include "common/base/auto.h"

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-9)
#define LOG2_3 1.5849625007211562
#define LOG2_5 2.321928094887362

static void
check(const struct score *score, double ndcg, double recall_cut, double recall_depth, double mrr)
{
	NEAR(score->values[SCORE_NDCG], ndcg);
	NEAR(score->values[SCORE_RECALL_CUT], recall_cut);
	NEAR(score->values[SCORE_RECALL_DEPTH], recall_depth);
	NEAR(score->values[SCORE_MRR], mrr);
}

static void
scores_one_grade(void **state)
{
	/* relevant: a, c, z; z is not found */
	static const struct score_judgement judged[] = {
		{ { "a", 1 }, 1 }, { { "b", 1 }, 0 }, { { "c", 1 }, 1 }, { { "z", 1 }, 1 }
	};
	const struct str ranked[] = { STR("b"), STR("a"), STR("x"), STR("c") };
	struct score score = score_ranking(ranked, 4, judged, 4);

	(void)state;
	/* gain 1/log2(3) + 1/log2(5), best 1 + 1/log2(3) + 1/2 */
	check(&score, (1 / LOG2_3 + 1 / LOG2_5) / (1.5 + 1 / LOG2_3), 2.0 / 3, 2.0 / 3, 0.5);
	score = score_ranking(ranked, 0, judged, 4);
	check(&score, 0, 0, 0, 0);
	score = score_ranking(ranked, 1, judged, 4);
	check(&score, 0, 0, 0, 0);
}

static void
scores_grades(void **state)
{
	static const struct score_judgement judged[] = { { { "a", 1 }, 1 },
							 { { "b", 1 }, 3 },
							 { { "c", 1 }, 2 } };
	const struct str best[] = { STR("b"), STR("c"), STR("a") };
	const struct str other[] = { STR("c"), STR("x"), STR("b") };
	struct score score = score_ranking(best, 3, judged, 3);

	(void)state;
	check(&score, 1, 1, 1, 1);
	score = score_ranking(other, 3, judged, 3);
	check(&score, (2 + 3 / 2.0) / (3 + 2 / LOG2_3 + 1 / 2.0), 2.0 / 3, 2.0 / 3, 1);
}

/* Twelve relevant documents at the ranks 3, 6, 9 ... 36. */
static void
counts_to_its_depths(void **state)
{
	char names[120][4];
	struct str ranked[120];
	struct score_judgement judged[40];
	size_t judged_count = 0;
	double gain = 0, best = 0;

	(void)state;
	for (size_t i = 0; i < 120; i++) {
		names[i][0] = (char)('0' + i / 100);
		names[i][1] = (char)('0' + i / 10 % 10);
		names[i][2] = (char)('0' + i % 10);
		ranked[i] = str_make(names[i], 3);
		if (i % 3 == 2 && i <= 35)
			judged[judged_count++] = (struct score_judgement){ ranked[i], 1 };
	}
	judged[judged_count++] = (struct score_judgement){ ranked[105], 1 }; /* too deep */
	assert_int_equal(judged_count, 13);

	struct score score = score_ranking(ranked, 120, judged, judged_count);

	for (int rank = 3; rank <= 9; rank += 3)
		gain += 1 / log2(rank + 1);
	for (int rank = 1; rank <= 10; rank++)
		best += 1 / log2(rank + 1);
	check(&score, gain / best, 3.0 / 13, 12.0 / 13, 1.0 / 3);
}

static void
bootstraps(void **state)
{
	static const double same[] = { 0.25, 0.25, 0.25, 0.25 };
	static const double coin[] = { 0, 1 };
	double many[100];
	struct score_interval interval = score_bootstrap(same, 4, 1000, 7), again;

	(void)state;
	NEAR(interval.mean, 0.25);
	NEAR(interval.low, 0.25);
	NEAR(interval.high, 0.25);
	interval = score_bootstrap(coin, 2, 1000, 7); /* a quarter of the samples is 0, 0 */
	NEAR(interval.mean, 0.5);
	NEAR(interval.low, 0);
	NEAR(interval.high, 1);

	/* of 100 draws, half of them 1: the deviation of the mean is 0.05 */
	for (size_t i = 0; i < 100; i++)
		many[i] = (double)(i % 2);
	interval = score_bootstrap(many, 100, 10000, 7);
	NEAR(interval.mean, 0.5);
	assert_true(fabs(interval.low - (0.5 - 1.96 * 0.05)) < 0.011);
	assert_true(fabs(interval.high - (0.5 + 1.96 * 0.05)) < 0.011);
	again = score_bootstrap(many, 100, 10000, 7);
	NEAR(again.low, interval.low);
	NEAR(again.high, interval.high);
}

/* The same questions are drawn for every list of values: a difference that is the same for all questions has
 * no spread, however much the values have. */
static void
pairs_by_question(void **state)
{
	double left[30], right[30], difference[30];

	(void)state;
	for (size_t i = 0; i < 30; i++) {
		left[i] = (double)(i * 7 % 11) / 10;
		right[i] = left[i] + 0.125;
		difference[i] = right[i] - left[i];
	}

	struct score_interval a = score_bootstrap(left, 30, 1000, 3);
	struct score_interval b = score_bootstrap(right, 30, 1000, 3);
	struct score_interval d = score_bootstrap(difference, 30, 1000, 3);

	assert_true(a.high - a.low > 0.1);
	NEAR(b.low, a.low + 0.125);
	NEAR(b.high, a.high + 0.125);
	NEAR(d.low, 0.125);
	NEAR(d.high, 0.125);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scores_one_grade),	cmocka_unit_test(scores_grades),
		cmocka_unit_test(counts_to_its_depths), cmocka_unit_test(bootstraps),
		cmocka_unit_test(pairs_by_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
