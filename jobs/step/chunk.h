/*
 * chunk: from text with structure to pieces of about `size` characters, cut where structure allows: between
 * sections, blocks, paragraphs, sentences, words, in this order of preference.
 *
 * Properties (tested): the ranges of the chunks cover every byte of the text that is not white space; no range
 * begins or ends inside a UTF-8 character; ordinals ascend with the start; a chunk has at most 1.5 * size
 * characters (overlap included); the same input gives the same chunks. Pure, thread-safe.
 *
 * Whoever changes the cuts, or the text that a parser makes, raises SPEC_PIPELINE_VERSION.
 */
#ifndef RAG_JOBS_STEP_CHUNK_H
#define RAG_JOBS_STEP_CHUNK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "jobs/step/parse.h"

struct chunk_opts {
	size_t size, overlap; /* characters */
};

struct chunk {
	struct str text;    /* slice of the parsed text */
	struct str heading; /* path "Chapter > Section" in the arena, "" = none */
	size_t start, end;
	int32_t page; /* where what it brings new begins; 0 = the format has none */
};

/* size: at least 16 counts, overlap: at most half of it. ERR_EMPTY_TEXT: only white space; ERR_TOO_LARGE. */
bool chunk_text(const struct parsed *parsed, const struct chunk_opts *opts, struct arena *arena,
		struct chunk **out, size_t *out_count, struct err *err);

#endif
