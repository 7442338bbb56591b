/*
 * cite: checks that every [n] in an answer names a source, and says which sources were used. Pure.
 */
#ifndef RAG_JOBS_STEP_CITE_H
#define RAG_JOBS_STEP_CITE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/str.h"

struct cite_check {
	struct str
		text; /* the answer with marks that name no source taken out; arena or the input */
	bool *used;   /* source_count flags, index n - 1 */
	size_t used_count; /* different sources cited */
	size_t removed;	   /* marks taken out */
};

/* Takes [1], [1, 3], [2-4], [1][2]; leaves other brackets, links and code alone. false: arena full. */
bool cite_answer(struct str answer, size_t source_count, struct arena *arena,
		 struct cite_check *out);

#endif
