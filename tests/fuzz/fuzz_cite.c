/*
 * fuzz_cite: any bytes as an answer with [n] marks; the first byte is the number of sources. Its pieces are the answer; what it says is
 * held against sources that are pieces of itself.
 */
#include <string.h>

#include "jobs/step/cite.h"
#include "jobs/step/ground.h"
#include "tests/fuzz/fuzz.h"

#define SOURCES_MAX 20

static void
check_pieces(struct str answer)
{
	struct cite_reader reader = { .text = answer };
	struct cite_piece piece;
	size_t len = 0;

	while (cite_next(&reader, &piece)) {
		size_t at = 0, from = 0, to = 0, numbers = 0;

		must(piece.text.len > 0 && piece.text.ptr == answer.ptr + len,
		     "pieces follow each other");
		len += piece.text.len;
		while (piece.kind == CITE_MARK && cite_mark_next(piece.text, &at, &from, &to))
			numbers++;
		must(piece.kind != CITE_MARK || numbers > 0, "a mark holds a number");
	}
	must(len == answer.len, "pieces are the answer");
}

static void
check_ground(struct str answer, size_t count, struct arena *arena)
{
	struct source sources[SOURCES_MAX];
	struct ground ground;

	for (size_t i = 0; i < count; i++)
		sources[i] = (struct source){ .n = (int)i + 1,
					      .text = str_sub(answer, answer.len * i / count,
							      answer.len * (i + 1) / count) };
	if (!ground_answer(answer, sources, count, arena, &ground))
		return;
	must(ground.uncited + ground.unsupported <= ground.statements,
	     "statements are counted once");
	must((ground.first_bad.len > 0) == (ground.uncited + ground.unsupported > 0),
	     "the first that does not stand is told");
	must(lies_in(ground.first_bad, answer), "it is a part of the answer");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t sources = take_byte(&data, &size) % SOURCES_MAX, used = 0;
	struct str answer = str_make((const char *)data, size);
	struct cite_check once, twice;
	AUTO(arena) struct arena arena;

	arena_init(&arena, 16 * MIB);
	if (!cite_answer(answer, sources, &arena, &once))
		return 0;
	must(once.text.len <= size, "marks are only taken out");
	for (size_t i = 0; i < sources; i++)
		used += once.used[i];
	must(used == once.used_count, "used sources are counted");
	if (str_utf8_valid(answer, NULL))
		must(str_utf8_valid(once.text, NULL), "no character is cut");
	must(cite_answer(once.text, sources, &arena, &twice), "a checked answer can be checked");
	must(twice.removed == 0 && str_eq(once.text, twice.text) &&
		     once.used_count == twice.used_count,
	     "checking twice changes nothing");
	check_pieces(answer);
	check_ground(once.text, sources, &arena);
	return 0;
}
