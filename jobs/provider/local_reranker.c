/*
 * The built-in reranker: looks at each passage as a whole, which neither leg of the search does.
 *
 *	coverage   how much of the question's words (each by its weight) the passage has
 *	nearness   how often words that follow each other in the question stand close together in it
 *	headline   the coverage by title and heading alone
 *	repetition how often the words come, with less and less gain
 *
 * The score is the first one, moved a little by these: a question's words are no more than a hint, and on
 * the collections we measure with, greater shares made the order worse (docs/retrieval.md).
 */
#include <math.h>

#include "common/base/mem.h"
#include "common/words.h"
#include "jobs/provider/local.h"
#include "jobs/provider/word_weight.h"

#define MAX_TERMS 64
#define NEAR_WORDS 3 /* at most this far apart counts as close together */

/* Of the score; together 1. */
#define SHARE_FIRST 0.76F
#define SHARE_COVERAGE 0.08F
#define SHARE_NEARNESS 0.06F
#define SHARE_HEADLINE 0.05F
#define SHARE_REPETITION 0.05F

struct term {
	uint64_t stem; /* hash */
	float weight;
};

struct question {
	struct term terms[MAX_TERMS];
	size_t count;
	float weight; /* of all */
};

/* What a text has of the question. */
struct found {
	float times[MAX_TERMS];
	bool near[MAX_TERMS]; /* terms[i] and terms[i + 1] stand close together */
};

static uint64_t
stem_hash(struct str word, bool *out_stop, float *out_weight)
{
	char folded[WORDS_MAX_BYTES];
	struct str key = str_make(folded, words_fold(word, folded));

	*out_stop = words_is_stop(key);
	*out_weight = word_weight(key);
	key.len = words_stem(folded, key.len);
	return str_hash64(key, 0);
}

static size_t
find_term(const struct question *question, uint64_t stem)
{
	size_t i = 0;

	while (i < question->count && question->terms[i].stem != stem)
		i++;
	return i;
}

static void
read_question(struct str text, struct question *out)
{
	struct str word = STR("");

	*out = (struct question){ .count = 0 };
	for (size_t at = 0; out->count < MAX_TERMS && words_next(text, &at, &word);) {
		bool stop = false;
		float weight = 0;
		uint64_t stem = stem_hash(word, &stop, &weight);

		if (stop || find_term(out, stem) < out->count)
			continue;
		out->terms[out->count++] = (struct term){ stem, weight };
		out->weight += weight;
	}
}

static void
read_text(const struct question *question, struct str text, struct found *found)
{
	size_t last[MAX_TERMS]; /* position of the last occurrence */
	struct str word = STR("");
	size_t position = NEAR_WORDS + 1;

	for (size_t i = 0; i < MAX_TERMS; i++)
		last[i] = 0;
	for (size_t at = 0; words_next(text, &at, &word); position++) {
		bool stop = false;
		float weight = 0;
		size_t term = find_term(question, stem_hash(word, &stop, &weight));

		if (term == question->count)
			continue;
		found->times[term]++;
		last[term] = position;
		if (term > 0 && last[term - 1] != 0 && position - last[term - 1] <= NEAR_WORDS)
			found->near[term - 1] = true;
		if (term + 1 < question->count && last[term + 1] != 0 &&
		    position - last[term + 1] <= NEAR_WORDS)
			found->near[term] = true;
	}
}

static float
coverage(const struct question *question, const struct found *found)
{
	float sum = 0;

	for (size_t i = 0; i < question->count; i++)
		sum += found->times[i] > 0 ? question->terms[i].weight : 0;
	return sum / question->weight;
}

static float
nearness(const struct question *question, const struct found *found)
{
	float sum = 0, all = 0;

	for (size_t i = 0; i + 1 < question->count; i++) {
		float weight = question->terms[i].weight * question->terms[i + 1].weight;

		all += weight;
		sum += found->near[i] ? weight : 0;
	}
	return all > 0 ? sum / all : 0;
}

static float
repetition(const struct question *question, const struct found *found)
{
	float sum = 0;

	for (size_t i = 0; i < question->count; i++)
		sum += question->terms[i].weight * found->times[i] / (found->times[i] + 2);
	return sum / question->weight;
}

static float
clamp01(float value)
{
	return value >= 0 ? (value <= 1 ? value : 1) : 0;
}

static float
score(const struct question *question, const struct passage *passage)
{
	struct found body = { .times = { 0 } }, head = { .times = { 0 } };
	float first = clamp01(passage->score);

	if (question->weight <= 0)
		return first;
	read_text(question, passage->title, &head);
	read_text(question, passage->heading, &head);
	read_text(question, passage->text, &body);
	return clamp01(SHARE_FIRST * first + SHARE_COVERAGE * coverage(question, &body) +
		       SHARE_NEARNESS * nearness(question, &body) +
		       SHARE_HEADLINE * coverage(question, &head) +
		       SHARE_REPETITION * repetition(question, &body));
}

static bool
local_rerank(struct reranker *reranker, const struct provider_call *call, struct str query,
	     const struct passage *passages, size_t count, float *out_scores, struct err *err)
{
	struct question question;

	(void)reranker;
	read_question(query, &question);
	for (size_t i = 0; i < count; i++) {
		if (!local_call_check(call, err))
			return false;
		out_scores[i] = score(&question, &passages[i]);
	}
	return true;
}

static void
local_close(struct reranker *reranker)
{
	mem_free(reranker);
}

static bool
local_open(const struct config *config, struct reranker **out, struct err *err)
{
	struct reranker *reranker = mem_alloc(sizeof(*reranker));

	(void)config;
	(void)err;
	reranker->ops = &local_reranker_ops;
	*out = reranker;
	return true;
}

const struct reranker_ops local_reranker_ops = {
	.name = "local",
	.open = local_open,
	.close = local_close,
	.rerank = local_rerank,
};
