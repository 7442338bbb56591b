/*
 * sentence: text in pieces that can be quoted: sentences of prose, single items, rows and lines of code. Works on
 * text without further structure (a chunk): Markdown or what a parser made of HTML. Pure, linear.
 */
#ifndef RAG_JOBS_PROVIDER_SENTENCE_H
#define RAG_JOBS_PROVIDER_SENTENCE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

#define SENTENCE_MAX_BYTES 480 /* longer ones are cut between words, or characters */

struct sentence {
	size_t start, end; /* in the text; no white space, list or quote marks around */
	bool full;	   /* ends as sentences do */
	bool heading;	   /* has heading marks, or is the line before === */
};

/* The next piece from *at on; false at the end. Lines of marks only (fences, rules) are left out. */
bool sentence_next(struct str text, size_t *at, struct sentence *out);

#endif
