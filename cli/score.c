#include "cli/score.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"

#define TAIL 0.025 /* of the means that lie outside of an interval, at either end */

const char *const score_names[SCORE_KINDS] = { "nDCG@10", "recall@10", "recall@100", "MRR" };
const char *const score_json_names[SCORE_KINDS] = { "ndcg_at_10", "recall_at_10", "recall_at_100",
						    "mrr" };

/* ---- one ranking ---- */

int
score_by_document(const void *a, const void *b)
{
	return str_cmp(((const struct score_judgement *)a)->document,
		       ((const struct score_judgement *)b)->document);
}

static int64_t
grade_of(struct str document, const struct score_judgement *judged, size_t count)
{
	const struct score_judgement key = { document, 0 };
	const struct score_judgement *found =
		bsearch(&key, judged, count, sizeof(*judged), score_by_document);

	return found ? found->grade : 0;
}

static double
discount(size_t index)
{
	return 1 / log2((double)index + 2);
}

/* The gain of the best order: the greatest grades first. */
static double
ideal_gain(const struct score_judgement *judged, size_t count)
{
	int64_t best[SCORE_CUT] = { 0 };
	double gain = 0;

	for (size_t i = 0; i < count; i++) {
		int64_t grade = judged[i].grade;

		for (size_t k = 0; k < SCORE_CUT && grade > 0; k++) {
			if (grade <= best[k])
				continue;

			int64_t pushed = best[k];

			best[k] = grade;
			grade = pushed;
		}
	}
	for (size_t k = 0; k < SCORE_CUT; k++)
		gain += (double)best[k] * discount(k);
	return gain;
}

struct score
score_ranking(const struct str *ranked, size_t count, const struct score_judgement *judged,
	      size_t judged_count)
{
	struct score score = { { 0 } };
	size_t relevant = 0, found = 0, found_cut = 0;
	double gain = 0;

	for (size_t i = 0; i < judged_count; i++)
		relevant += judged[i].grade > 0;
	assert(relevant > 0);
	for (size_t i = 0; i < count && i < SCORE_DEPTH; i++) {
		int64_t grade = grade_of(ranked[i], judged, judged_count);

		if (grade <= 0)
			continue;
		if (found++ == 0)
			score.values[SCORE_MRR] = 1 / ((double)i + 1);
		if (i >= SCORE_CUT)
			continue;
		found_cut++;
		gain += (double)grade * discount(i);
	}
	score.values[SCORE_NDCG] = gain / ideal_gain(judged, judged_count);
	score.values[SCORE_RECALL_CUT] = (double)found_cut / (double)relevant;
	score.values[SCORE_RECALL_DEPTH] = (double)found / (double)relevant;
	return score;
}

/* ---- means ---- */

/* splitmix64: the same numbers on every machine */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static int
by_value(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

struct score_interval
score_bootstrap(const double *values, size_t count, int64_t resamples, uint64_t seed)
{
	double *means = mem_array((size_t)resamples, sizeof(*means));
	struct score_interval interval = { 0, 0, 0 };
	size_t outside = (size_t)(TAIL * (double)resamples);
	uint64_t state = seed;

	assert(count > 0 && resamples > 0);
	for (size_t i = 0; i < count; i++)
		interval.mean += values[i] / (double)count;
	for (int64_t r = 0; r < resamples; r++) {
		double sum = 0;

		for (size_t i = 0; i < count; i++)
			sum += values[next_random(&state) % count];
		means[r] = sum / (double)count;
	}
	qsort(means, (size_t)resamples, sizeof(*means), by_value);
	interval.low = means[outside];
	interval.high = means[(size_t)resamples - 1 - outside];
	mem_free(means);
	return interval;
}
