/*
 * ground: does an answer stand on its sources? A check by words, not by meaning: it finds what was made up from nothing, not what was
 * misunderstood.
 *
 * The answer is cut into statements: the text up to its marks, [1] or [1][3], or to the end of a paragraph. A statement without a mark
 * is uncited, unless it only announces (ends with a colon), asks, or holds fewer than GROUND_WORDS words that tell something. A cited one is
 * supported when the sources it cites hold at least a third of its words (stemmed, stop words aside; title and heading count) and all of
 * its numbers. Code is no statement. Pure.
 */
#ifndef RAG_JOBS_STEP_GROUND_H
#define RAG_JOBS_STEP_GROUND_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/str.h"
#include "jobs/provider/provider.h"

#define GROUND_WORDS 3
/* More than so much of an answer is not looked at, and it is not grounded. */
#define GROUND_STATEMENTS_MAX 200
#define GROUND_MAX_BYTES ((size_t)128 * 1024)

struct ground {
	size_t statements; /* that say something */
	size_t uncited, unsupported;
	bool too_long;
	struct str first_bad; /* a slice of the answer: the first that is either; empty = none */
};

/* answer: as cite_answer left it: each mark names one of the count sources. false: arena full. */
bool ground_answer(struct str answer, const struct source *sources, size_t count,
		   struct arena *arena, struct ground *out);

/* There are statements, and all of them stand. */
bool ground_holds(const struct ground *ground);

#endif
