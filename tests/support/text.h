/*
 * text: random documents, and the promises of jobs/step/parse.h and chunk.h as checks, for the tests of both.
 */
#ifndef RAG_TESTS_SUPPORT_TEXT_H
#define RAG_TESTS_SUPPORT_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "jobs/step/chunk.h"
#include "jobs/step/parse.h"

/* A repeatable sequence (xorshift): the seed of a failure is printed by the test that uses it. */
struct text_random {
	uint64_t state;
};
uint64_t text_random(struct text_random *random, uint64_t below);

/* Words, spaces, line breaks, stops, marks of Markdown, CJK, emoji with joiners; `chars` of them. */
void text_random_fill(struct text_random *random, struct buf *out, size_t chars);

/* NULL when every promise about *parsed holds, else which one does not. */
const char *text_check_parsed(const struct parsed *parsed);
/* The same for the chunks of a text. */
const char *text_check_chunks(const struct parsed *parsed, const struct chunk_opts *opts,
			      const struct chunk *chunks, size_t count);

#endif
