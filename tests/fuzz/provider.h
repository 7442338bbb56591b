/*
 * provider: what the targets for replies of providers promise alike. Vectors have unit length or none; an answer is UTF-8, its counts are counts.
 */
#ifndef RAG_TESTS_FUZZ_PROVIDER_H
#define RAG_TESTS_FUZZ_PROVIDER_H

#include <math.h>

#include "jobs/provider/model_answer.h"
#include "tests/fuzz/fuzz.h"

static inline void
must_be_vectors(const float *vectors, size_t count, size_t dim)
{
	for (size_t i = 0; i < count; i++) {
		double squares = 0;

		for (size_t k = 0; k < dim; k++)
			squares += (double)vectors[i * dim + k] * (double)vectors[i * dim + k];
		must(squares == 0 || fabs(squares - 1) < 1e-5, "a vector has unit length");
	}
}

/* Releases it. */
static inline void
must_be_answer(struct model_answer *answer)
{
	must(str_utf8_valid(text_of(&answer->text), NULL), "an answer is UTF-8");
	must(answer->tokens_in >= -1 && answer->tokens_out >= -1, "counts are counts");
	model_answer_release(answer);
}

#endif
