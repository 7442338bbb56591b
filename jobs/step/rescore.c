#include "jobs/step/rescore.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/words.h"
#include "jobs/provider/word_weight.h"

#define TERMS_MAX 256 /* words of one question that are looked for */

struct term {
	char text[WORDS_MAX_BYTES];
	size_t len;
	double asked;	 /* how often it stands in the question */
	double list;	 /* weight of the built-in lists */
	size_t found_in; /* candidates */
	double weight;
};

struct terms {
	struct term *items; /* arena, sorted by text */
	size_t count;
};

/* Term frequencies of one candidate, one for each term, and its length in words. */
struct counted {
	double *tf; /* arena */
	double words;
};

static int
by_text(const void *a, const void *b)
{
	return strcmp(((const struct term *)a)->text, ((const struct term *)b)->text);
}

/* Words of the question, each once; stop words only when there is nothing else. */
static void
collect(struct str question, bool stops, struct terms *terms)
{
	struct str word;
	size_t at = 0, kept = 0;

	terms->count = 0;
	while (terms->count < TERMS_MAX && words_next(question, &at, &word)) {
		struct term *term = &terms->items[terms->count];

		*term = (struct term){ .asked = 1 };
		term->len = words_fold(word, term->text);
		if (words_is_stop(str_make(term->text, term->len)) != stops)
			continue;
		term->list = (double)word_weight(str_make(term->text, term->len));
		term->len = words_stem(term->text, term->len);
		term->text[term->len] = '\0';
		terms->count++;
	}
	if (terms->count > 1)
		qsort(terms->items, terms->count, sizeof(*terms->items), by_text);
	for (size_t i = 0; i < terms->count; i++) {
		if (kept > 0 && by_text(&terms->items[kept - 1], &terms->items[i]) == 0) {
			terms->items[kept - 1].asked++;
			continue;
		}
		terms->items[kept++] = terms->items[i];
	}
	terms->count = kept;
}

/* Adds what a part of a candidate has of the terms; its words. */
static size_t
count_words(const struct terms *terms, struct str text, double weight, double *tf)
{
	struct term wanted = { .asked = 0 };
	struct str word;
	size_t at = 0, words = 0;

	for (; words_next(text, &at, &word); words++) {
		const struct term *found;

		wanted.len = words_stem(wanted.text, words_fold(word, wanted.text));
		wanted.text[wanted.len] = '\0';
		found = bsearch(&wanted, terms->items, terms->count, sizeof(wanted), by_text);
		if (found)
			tf[found - terms->items] += weight;
	}
	return words;
}

static double
rarity_of(const struct term *term, size_t candidates, enum rescore_rarity rarity)
{
	double n = (double)term->found_in;
	double idf = log(1 + ((double)candidates - n + 0.5) / (n + 0.5));

	return rarity == RESCORE_CANDIDATES ? idf
	       : rarity == RESCORE_LISTS    ? term->list
					    : idf * term->list;
}

static double
score_of(const struct terms *terms, const struct counted *counted, double average,
	 const struct lexical_weights *weights)
{
	double norm = weights->k1 *
		      (1 - weights->b + weights->b * (average > 0 ? counted->words / average : 1));
	double score = 0;

	for (size_t t = 0; t < terms->count; t++) {
		double tf = counted->tf[t];

		score += terms->items[t].weight * tf * (weights->k1 + 1) / (tf + norm);
	}
	return score;
}

/* Counts every candidate; the average length. */
static double
count_all(struct terms *terms, const struct store_hits *hits, const struct lexical_weights *weights,
	  double *tf, struct counted *all)
{
	double words = 0;

	for (size_t i = 0; i < hits->dense_count; i++) {
		const struct store_hit *hit = &hits->dense[i];

		all[i].tf = tf + i * terms->count;
		all[i].words = (double)count_words(terms, hit->text, 1, all[i].tf);
		(void)count_words(terms, hit->title, weights->title, all[i].tf);
		(void)count_words(terms, hit->heading, weights->heading, all[i].tf);
		words += all[i].words;
		for (size_t t = 0; t < terms->count; t++)
			terms->items[t].found_in += all[i].tf[t] > 0;
	}
	return hits->dense_count > 0 ? words / (double)hits->dense_count : 0;
}

bool
rescore_hits(struct str question, const struct lexical_weights *weights, enum rescore_rarity rarity,
	     struct arena *arena, struct store_hits *hits)
{
	size_t count = hits->dense_count, kept = 0;
	struct terms terms = { .items = arena_array(arena, TERMS_MAX, sizeof(struct term)) };
	struct counted *all = arena_array(arena, count + 1, sizeof(*all));
	struct store_hit *found = arena_array(arena, count + 1, sizeof(*found));
	double *tf = NULL, average;

	weights = weights ? weights : &lexical_weights_chosen;
	if (!terms.items || !all || !found)
		return false;
	collect(question, false, &terms);
	if (terms.count == 0)
		collect(question, true, &terms);
	tf = arena_array(arena, count * terms.count + 1, sizeof(*tf));
	if (!tf)
		return false;
	average = count_all(&terms, hits, weights, tf, all);
	for (size_t t = 0; t < terms.count; t++) {
		struct term *term = &terms.items[t];

		term->weight = rarity_of(term, count, rarity) * term->asked *
			       (weights->repeat + 1) / (term->asked + weights->repeat);
	}
	for (size_t i = 0; i < count; i++) {
		double score = score_of(&terms, &all[i], average, weights);

		if (score <= 0)
			continue;
		found[kept] = hits->dense[i];
		found[kept++].score = (float)score;
	}
	if (kept > 1)
		qsort(found, kept, sizeof(*found), store_by_score);
	hits->lexical = found;
	hits->lexical_count = kept;
	return true;
}
