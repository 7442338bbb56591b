/*
 * fuzz_parse: any bytes as any media type (the first byte chooses it, the second the sizes of the chunks). What is
 * not refused must keep every promise of parse.h and chunk.h, down to the sentences of each chunk.
 *
 * Built with clang and -DRAG_FUZZ=ON; ends by abort with the broken promise on stderr.
 */
#include <stdio.h>
#include <stdlib.h>

#include "jobs/provider/sentence.h"
#include "tests/support/text.h"

#define MIB ((size_t)1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_hold(const char *broken)
{
	if (!broken)
		return;
	(void)fprintf(stderr, "broken: %s\n", broken);
	abort();
}

static void
check_sentences(struct str text)
{
	struct sentence piece;
	size_t before = 0;

	for (size_t at = 0; sentence_next(text, &at, &piece); before = piece.end)
		if (piece.start < before || piece.end <= piece.start || piece.end > text.len)
			must_hold("sentences ascend inside the text");
}

static void
check_all(struct str media_type, struct str bytes, const struct chunk_opts *opts,
	  struct arena *arena)
{
	const struct parse_limits limits = { .max_text_bytes = 8 * MIB };
	struct parsed parsed;
	struct chunk *chunks = NULL;
	size_t count = 0;
	struct err err = ERR_INIT;

	if (!parse_document(media_type, bytes, &limits, arena, &parsed, &err))
		return;
	must_hold(text_check_parsed(&parsed));
	if (!chunk_text(&parsed, opts, arena, &chunks, &count, &err))
		return;
	must_hold(text_check_chunks(&parsed, opts, chunks, count));
	for (size_t i = 0; i < count; i++)
		check_sentences(chunks[i].text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const media_types[] = { "text/plain", "text/markdown", "text/html",
						   "application/json" };
	struct arena arena;

	if (size < 2)
		return 0;

	const struct chunk_opts opts = { .size = 16 + data[1] % 200, .overlap = data[1] / 2 };

	arena_init(&arena, 64 * MIB);
	check_all(str_of(media_types[data[0] % 4]), str_make((const char *)data + 2, size - 2),
		  &opts, &arena);
	arena_release(&arena);
	return 0;
}
