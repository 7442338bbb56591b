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

/* Invisible (U+2060); behind the '[' of a text that is quoted it keeps what follows from being a mark. */
#define CITE_WORD_JOINER "\xe2\x81\xa0"

/* Could the '[' at `at` begin a mark? A digit comes next, white space aside: rather too often than too rarely. */
bool cite_begins_mark(struct str text, size_t at);

/* An answer in pieces, one after the other: its marks, its code, and the text between. */
enum cite_kind { CITE_TEXT, CITE_MARK, CITE_CODE };
struct cite_piece {
	enum cite_kind kind;
	struct str text;
};
struct cite_reader {
	struct str text; /* begin with { .text = ... } */
	size_t at;
	size_t no_close; /* private */
};
bool cite_next(struct cite_reader *reader, struct cite_piece *out);

/* The next numbers of a mark, "[1,3-4]": 1 to 1, then 3 to 4. *at begins as 0; false at the end. */
bool cite_mark_next(struct str mark, size_t *at, size_t *out_from, size_t *out_to);

#endif
