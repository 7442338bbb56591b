/*
 * chunk: from text with structure to pieces of about `size` characters, cut where structure allows: between
 * sections, blocks, paragraphs, sentences, words, in this order of preference.
 *
 * Properties (tested): the ranges of the chunks cover every byte of the text that is not white space; no range
 * begins or ends inside a UTF-8 character; ordinals ascend with the start; a chunk has at most 1.5 * size
 * characters (overlap included); the same input gives the same chunks. Pure, thread-safe.
 */
#ifndef RAG_JOBS_STEP_CHUNK_H
#define RAG_JOBS_STEP_CHUNK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "jobs/step/parse.h"

#define CHUNK_VERSION 1 /* part of the pipeline fingerprint: raise when the cuts change */

struct chunk_opts {
	size_t size, overlap; /* characters */
};

struct chunk {
	struct str text;    /* slice of the parsed text */
	struct str heading; /* path "Chapter > Section" in the arena, "" = none */
	size_t start, end;
};

bool chunk_text(const struct parsed *parsed, const struct chunk_opts *opts, struct arena *arena,
		struct chunk **out, size_t *out_count, struct err *err);

#endif
