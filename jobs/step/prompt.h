/*
 * prompt: what a model is told: the instructions, the conversation so far, and the question with its numbered sources.
 */
#ifndef RAG_JOBS_STEP_PROMPT_H
#define RAG_JOBS_STEP_PROMPT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

enum prompt_role { PROMPT_USER, PROMPT_ASSISTANT };

struct prompt_turn {
	enum prompt_role role;
	struct str text;
};

/* Valid UTF-8 throughout. The last turn is the user's: question and sources. Turns alternate. */
struct prompt {
	struct str system;
	const struct prompt_turn *turns;
	size_t count;	/* 1 or more */
	size_t sources; /* how many of the request's sources, from the first, it holds */
	int64_t tokens; /* of all of it, estimated */
};

#endif
