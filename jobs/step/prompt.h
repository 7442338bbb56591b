/*
 * prompt: what a model is told: the instructions, the conversation so far, and the question with its numbered sources.
 *
 * How it is built: the texts around are those of the template (jobs/step/prompt_template.h). Sources are taken from the first on as
 * long as they fit their budget of tokens (common/tokens.h), whole; only a first one that is too long for it alone is cut. Of the
 * conversation the newest turns that fit their budget are kept, from a turn of the user's on. Turns of one side that follow each other
 * become one. Citation marks in earlier answers are taken out: they meant other sources.
 *
 * What comes from documents cannot pass for a part of the prompt: a mark like [7] and a tag <source> in a source's text get an invisible word
 * joiner (U+2060) behind their first character. Pure.
 */
#ifndef RAG_JOBS_STEP_PROMPT_H
#define RAG_JOBS_STEP_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/provider/provider.h"
#include "jobs/spec/history.h"
#include "jobs/step/prompt_template.h"

enum prompt_role { PROMPT_USER, PROMPT_ASSISTANT };

struct prompt_turn {
	enum prompt_role role;
	struct str text;
};

/* Valid UTF-8 throughout, no control characters but \t and \n. The first and the last turn are the user's, the last one is question and
 * sources. Turns alternate. */
struct prompt {
	struct str system;
	const struct prompt_turn *turns;
	size_t count;	/* 1 or more */
	size_t sources; /* how many of the request's sources, from the first, it holds */
	int64_t tokens; /* of all of it, estimated */
	/* parts of them */
	int64_t system_tokens, history_tokens, source_tokens;
	size_t history_turns; /* of the request's history, that were kept */
	bool source_cut;      /* the first source did not fit whole */
};

struct prompt_request {
	struct str question;
	const struct source *sources;
	size_t count;
	struct history history;
	int64_t source_tokens, history_tokens; /* budgets */
};

/* Strings are arena memory. ERR_TOO_LARGE when the arena is full. */
bool prompt_build(const struct prompt_template *template, const struct prompt_request *request,
		  struct arena *arena, struct prompt *out, struct err *err);

/* Does the answer begin with the template's refusal? White space, quotes and emphasis around and case do not matter. */
bool prompt_is_refusal(const struct prompt_template *template, struct str answer);

#endif
