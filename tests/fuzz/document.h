/*
 * document: the promises of a parser, down to the sentences of each chunk; shared by the targets of the formats.
 * A format's target is one call of fuzz_document.
 */
#ifndef RAG_TESTS_FUZZ_DOCUMENT_H
#define RAG_TESTS_FUZZ_DOCUMENT_H

#include "jobs/provider/sentence.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/text.h"

static inline void
must_be_kept(const char *broken)
{
	must(!broken, broken ? broken : "");
}

static inline void
check_sentences(struct str text)
{
	struct sentence piece;
	size_t before = 0;

	for (size_t at = 0; sentence_next(text, &at, &piece); before = piece.end)
		must(piece.start >= before && piece.end > piece.start && piece.end <= text.len,
		     "sentences ascend inside the text");
}

static inline void
check_chunks(const struct parsed *parsed, const struct chunk_opts *opts, struct arena *arena)
{
	struct err err = ERR_INIT;
	struct chunk *chunks = NULL;
	size_t count = 0;

	if (!chunk_text(parsed, opts, arena, &chunks, &count, &err)) {
		must(err.code == ERR_EMPTY_TEXT || err.code == ERR_TOO_LARGE,
		     "refused with a reason");
		return;
	}
	must_be_kept(text_check_chunks(parsed, opts, chunks, count));
	for (size_t i = 0; i < count; i++)
		check_sentences(chunks[i].text);
}

/* The first byte decides the sizes of the chunks, the rest is the document. */
static inline int
fuzz_document(const char *media_type, const uint8_t *data, size_t size)
{
	const struct parse_limits limits = { .max_text_bytes = 8 * MIB };
	uint8_t mood = take_byte(&data, &size);
	const struct chunk_opts opts = { .size = 16 + mood % 200, .overlap = mood / 2 };
	AUTO(arena) struct arena arena;
	struct parsed parsed;
	struct err err = ERR_INIT;

	arena_init(&arena, 64 * MIB);
	if (parse_document(str_of(media_type), str_make((const char *)data, size), &limits, &arena,
			   &parsed, &err)) {
		must_be_kept(text_check_parsed(&parsed));
		check_chunks(&parsed, &opts, &arena);
	} else {
		must(err.code == ERR_BAD_DOCUMENT || err.code == ERR_EMPTY_TEXT ||
			     err.code == ERR_TOO_LARGE ||
			     err.code == ERR_UNSUPPORTED_MEDIA, /* the bytes say another type */
		     "refused with a reason");
		must(err.msg[0] && str_utf8_valid(str_of(err.msg), NULL), "the reason is a text");
	}
	return 0;
}

#endif
