/*
 * score: how good a ranking is, by what people judged relevant; and how sure a mean over questions is. Pure.
 *
 * nDCG: the gain of a document is its grade, discounted by log2(rank + 1), against the best order there could be (as
 * trec_eval does it). Recall: the share of the relevant documents (grade above 0) that is found. MRR: 1 / rank of the
 * first relevant document among the best SCORE_DEPTH. The interval of a mean is the middle 95 % of the means of
 * samples drawn with replacement (bootstrap). Samples depend on seed and count alone, so an interval of differences
 * question by question (a paired bootstrap) uses the same questions for both sides.
 */
#ifndef RAG_CLI_SCORE_H
#define RAG_CLI_SCORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

#define SCORE_CUT 10
#define SCORE_DEPTH 100

enum score_kind { SCORE_NDCG, SCORE_RECALL_CUT, SCORE_RECALL_DEPTH, SCORE_MRR, SCORE_KINDS };

extern const char *const score_names[SCORE_KINDS];	/* "nDCG@10", for people */
extern const char *const score_json_names[SCORE_KINDS]; /* "ndcg_at_10" */

struct score_judgement {
	struct str document;
	int64_t grade; /* 0 = not relevant */
};

struct score {
	double values[SCORE_KINDS];
};

/* ranked: best first, each document once. judged: sorted by document, at least one of them relevant. */
struct score score_ranking(const struct str *ranked, size_t count,
			   const struct score_judgement *judged, size_t judged_count);

/* For sorting and looking up judgements. */
int score_by_document(const void *a, const void *b);

struct score_interval {
	double mean, low, high;
};

/* values: one a question; count > 0, resamples > 0. */
struct score_interval score_bootstrap(const double *values, size_t count, int64_t resamples,
				      uint64_t seed);

#endif
