/*
 * The built-in reranker: looks at each passage as a whole and at all of them together, which neither leg of the search
 * does.
 *
 *	company    how alike it is to the best three passages of other documents, from 0 for the least to 1 for the
 *		   most of all passages: what answers a question is rarely alone (van Rijsbergen's cluster hypothesis)
 *	coverage   how much of the question's words (each by its weight) the passage has
 *	nearness   how often words that follow each other in the question stand close together in it
 *	headline   the coverage by title and heading alone
 *
 * The score is the first one, moved a little by these (docs/retrieval.md has what each is worth).
 *
 * Alike is the cosine of bags of stems without stop words: a stem that stands n times weighs n / (n + 1.5), times its
 * word's weight (word_weight.h), times how rare it is among the passages. A passage of the same document does not
 * count: overlapping chunks would keep each other company.
 */
#include <math.h>
#include <stdlib.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/words.h"
#include "jobs/provider/local.h"
#include "jobs/provider/word_weight.h"

#define MAX_TERMS 64
#define NEAR_WORDS 3 /* at most this far apart counts as close together */
#define COMPANIONS 3 /* passages that others are compared with */
#define SATURATION 1.5F

const struct rerank_shares rerank_shares_chosen = {
	.company = 0.2F,
	.coverage = 0.08F,
	.nearness = 0.06F,
	.headline = 0.05F,
};

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
clamp01(float value)
{
	return value >= 0 ? (value <= 1 ? value : 1) : 0;
}

/* ---- company ---- */

struct stem {
	uint64_t hash;
	float weight; /* of the word, then of the stem in its bag */
	float times;
};

/* The stems of one passage, by hash: a part of bags.stems. */
struct bag {
	size_t first, count;
	float length; /* Euclidean */
};

struct bags {
	struct stem *stems; /* owned */
	size_t count, room;
	struct bag *items; /* owned */
};

static void
bags_release(struct bags *bags)
{
	mem_free(bags->stems);
	mem_free(bags->items);
}

static int
by_hash(const void *a, const void *b)
{
	const struct stem *left = a, *right = b;

	return (left->hash > right->hash) - (left->hash < right->hash);
}

static void
add_stems(struct bags *bags, struct str text)
{
	struct str word = STR("");

	for (size_t at = 0; words_next(text, &at, &word);) {
		bool stop = false;
		float weight = 0;
		uint64_t hash = stem_hash(word, &stop, &weight);

		if (stop)
			continue;
		if (bags->count == bags->room) {
			bags->room = bags->room > 0 ? 2 * bags->room : 1024;
			bags->stems = mem_grow(bags->stems, bags->room, sizeof(*bags->stems));
		}
		bags->stems[bags->count++] = (struct stem){ hash, weight, 1 };
	}
}

/* Sorts by hash and makes equal stems one. */
static size_t
merge_stems(struct stem *stems, size_t count)
{
	size_t kept = 0;

	if (count > 1)
		qsort(stems, count, sizeof(*stems), by_hash);
	for (size_t i = 0; i < count; i++) {
		if (kept > 0 && stems[kept - 1].hash == stems[i].hash)
			stems[kept - 1].times += stems[i].times;
		else
			stems[kept++] = stems[i];
	}
	return kept;
}

static void
add_bag(struct bags *bags, const struct passage *passage, size_t index)
{
	struct bag *bag = &bags->items[index];

	bag->first = bags->count;
	add_stems(bags, passage->title);
	add_stems(bags, passage->text);
	bag->count = merge_stems(bags->stems + bag->first, bags->count - bag->first);
	bags->count = bag->first + bag->count;
}

/* Gives the stems their final weights. */
static void
weigh_bags(struct bags *bags, size_t passage_count)
{
	struct stem *all = mem_array(bags->count + 1, sizeof(*all));
	size_t different = 0;

	for (size_t i = 0; i < bags->count; i++)
		all[i] = (struct stem){ bags->stems[i].hash, 0, 1 };
	different = merge_stems(all, bags->count);
	for (size_t b = 0; b < passage_count; b++) {
		struct bag *bag = &bags->items[b];
		float squares = 0;

		for (size_t i = bag->first; i < bag->first + bag->count; i++) {
			struct stem *stem = &bags->stems[i];
			const struct stem *held =
				bsearch(stem, all, different, sizeof(*all), by_hash);
			float holders = held ? held->times : 1; /* it is there */
			float others = (float)passage_count - holders;

			stem->weight *= stem->times / (stem->times + SATURATION) *
					log1pf((others + 0.5F) / (holders + 0.5F));
			squares += stem->weight * stem->weight;
		}
		bag->length = sqrtf(squares);
	}
	mem_free(all);
}

static float
likeness(const struct bags *bags, size_t a, size_t b)
{
	const struct bag *left = &bags->items[a], *right = &bags->items[b];
	float sum = 0;

	for (size_t i = 0, k = 0; i < left->count && k < right->count;) {
		const struct stem *one = &bags->stems[left->first + i];
		const struct stem *other = &bags->stems[right->first + k];

		if (one->hash == other->hash)
			sum += one->weight * other->weight;
		i += one->hash <= other->hash;
		k += other->hash <= one->hash;
	}
	return sum > 0 ? sum / (left->length * right->length) : 0;
}

/* order: the passages by falling first score. The mean likeness to the first ones of other documents; NAN when there are
 * none. */
static float
company(const struct bags *bags, const struct passage *passages, const size_t *order, size_t count,
	size_t index)
{
	float sum = 0;
	size_t found = 0;

	for (size_t i = 0; i < count && found < COMPANIONS; i++) {
		const struct passage *other = &passages[order[i]];

		if (order[i] == index || (other->document_id.len > 0 &&
					  str_eq(other->document_id, passages[index].document_id)))
			continue;
		sum += likeness(bags, order[i], index);
		found++;
	}
	return found > 0 ? sum / (float)found : NAN;
}

/* From 0 to 1 over all passages; where nothing can be told apart, the first scores take its place. */
static void
company_of_all(const struct bags *bags, const struct passage *passages, const size_t *order,
	       size_t count, float *out)
{
	float low = INFINITY, high = -INFINITY;

	for (size_t i = 0; i < count; i++) {
		out[i] = company(bags, passages, order, count, i);
		low = fminf(low, out[i]);
		high = fmaxf(high, out[i]);
	}
	for (size_t i = 0; i < count; i++)
		out[i] = high > low && !isnan(out[i]) ? (out[i] - low) / (high - low)
						      : clamp01(passages[i].score);
}

/* ---- all together ---- */

static float
score(const struct question *question, const struct passage *passage, float company,
      const struct rerank_shares *shares)
{
	struct found body = { .times = { 0 } }, head = { .times = { 0 } };
	float first = clamp01(passage->score);
	float rest = 1 - shares->company;

	if (question->weight <= 0)
		return first;
	read_text(question, passage->title, &head);
	read_text(question, passage->heading, &head);
	read_text(question, passage->text, &body);
	rest -= shares->coverage + shares->nearness + shares->headline;
	return clamp01(rest * first + shares->company * company +
		       shares->coverage * coverage(question, &body) +
		       shares->nearness * nearness(question, &body) +
		       shares->headline * coverage(question, &head));
}

struct order {
	size_t *items; /* owned */
};

static void
order_release(struct order *order)
{
	mem_free(order->items);
}

/* Passage numbers by falling first score; few, and mostly in this order already. */
static void
sort_by_score(const struct passage *passages, size_t count, size_t *order)
{
	for (size_t i = 0; i < count; i++) {
		size_t at = i;

		for (; at > 0 && passages[order[at - 1]].score < passages[i].score; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
}

bool
local_rerank_by(const struct rerank_shares *shares, const struct provider_call *call,
		struct str query, const struct passage *passages, size_t count, float *out_scores,
		struct err *err)
{
	AUTO(bags) struct bags bags = { .items = mem_array(count + 1, sizeof(*bags.items)) };
	AUTO(order) struct order order = { .items = mem_array(count + 1, sizeof(*order.items)) };
	struct question question;

	read_question(query, &question);
	for (size_t i = 0; i < count; i++) {
		if (!provider_call_check(call, err))
			return false;
		add_bag(&bags, &passages[i], i);
	}
	weigh_bags(&bags, count);
	sort_by_score(passages, count, order.items);
	company_of_all(&bags, passages, order.items, count, out_scores);
	for (size_t i = 0; i < count; i++) {
		if (!provider_call_check(call, err))
			return false;
		out_scores[i] = score(&question, &passages[i], out_scores[i], shares);
	}
	return true;
}

static bool
local_rerank(struct reranker *reranker, const struct provider_call *call, struct str query,
	     const struct passage *passages, size_t count, float *out_scores, struct err *err)
{
	(void)reranker;
	return local_rerank_by(&rerank_shares_chosen, call, query, passages, count, out_scores,
			       err);
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
	str_copy(reranker->model, sizeof(reranker->model), STR("local-1"));
	*out = reranker;
	return true;
}

const struct reranker_ops local_reranker_ops = {
	.name = "local",
	.open = local_open,
	.close = local_close,
	.rerank = local_rerank,
};
