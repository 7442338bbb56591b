/*
 * question: a question as weighted terms, and how much of it a text holds. For generators that choose sentences.
 *
 * Terms are the question's words without stop words, stemmed; sets of terms are bit masks. A term has two
 * weights: rank, for ordering texts (rare among the sources counts more), and coverage, for deciding whether the
 * sources fit at all (a term that no source holds weighs more, a name or number that none holds most).
 * Pure, thread-safe.
 */
#ifndef RAG_JOBS_PROVIDER_QUESTION_H
#define RAG_JOBS_PROVIDER_QUESTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

#define QUESTION_TERMS_MAX 48 /* further words are not looked at */

/* A word as it is matched: stemmed; of a run of CJK characters each pair is one. */
struct token {
	struct str text;
	uint64_t stem;
	float weight; /* of the word, 0.1 for stop words to 1 */
};

/* Tokens of a text, one after the other. */
struct token_reader {
	struct str text;
	size_t at;
	struct str cjk; /* what is left of a run */
};

struct term {
	uint64_t stem;
	double weight;
	bool name;
	size_t sources; /* that hold it */
	double rank, coverage;
};

struct question {
	struct term terms[QUESTION_TERMS_MAX];
	size_t count;
	double rank_sum, coverage_sum;
	uint64_t telling;  /* terms that are no common words */
	bool how, what_is; /* it begins so */
};

/* The next token; false at the end. Begin with { .text = ... }. */
bool token_next(struct token_reader *reader, struct token *out);

/* question: zeroed by the caller. The mask functions work from here on, the weights after question_weigh. */
void question_read(struct question *question, struct str text);
uint64_t question_bit(const struct question *question, uint64_t stem); /* 0 = not asked for */
uint64_t question_mask(const struct question *question, struct str text);

/* terms[i].sources must be set. */
void question_weigh(struct question *question, size_t source_count);
double question_rank(const struct question *question, uint64_t mask);	  /* 0..1 */
double question_coverage(const struct question *question, uint64_t mask); /* 0..1 */

#endif
