/*
 * model_answer: what a model has written so far, in the words of no provider.
 */
#ifndef RAG_JOBS_PROVIDER_MODEL_ANSWER_H
#define RAG_JOBS_PROVIDER_MODEL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/auto.h"
#include "common/base/buf.h"

#define MODEL_ANSWER_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define MODEL_ANSWER_WHY_BYTES 40

struct model_answer {
	struct buf text;		  /* owned */
	bool complete;			  /* it came to its end */
	bool truncated;			  /* the end was a limit of tokens */
	bool withheld;			  /* the end was a filter of the provider's */
	bool refused;			  /* the text is the model\'s own refusal */
	char why[MODEL_ANSWER_WHY_BYTES]; /* the provider's word for the end, e.g. "SAFETY"; "" = none */
	int64_t tokens_in, tokens_out; /* -1 = not said */
};

void model_answer_init(struct model_answer *answer);
void model_answer_release(struct model_answer *answer);

#endif
