#include "jobs/step/ground.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/provider/question.h"
#include "jobs/step/cite.h"

#define TELLING_WEIGHT 0.1F /* words that weigh more are no stop words */
#define SHARE_MIN 3	    /* one in so many words must be in the sources */

/* The words of a source, as a sorted list of stems; made when it is cited first. */
struct stems {
	uint64_t *list; /* arena; NULL = not made yet */
	size_t count;
};

struct reader {
	const struct source *sources;
	size_t count;
	struct arena *arena;
	struct stems *stems; /* one a source */
	bool *cited;	     /* one a source: by the present statement */
	struct ground *out;
	struct str text; /* of the present statement: from its first piece to its last */
	size_t words, numbers, words_held, numbers_held;
};

/* ---- the words of a source ---- */

static int
by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static size_t
add_stems(struct str text, uint64_t *list)
{
	struct token_reader reader = { .text = text };
	struct token token;
	size_t count = 0;

	while (token_next(&reader, &token)) {
		if (list)
			list[count] = token.stem;
		count++;
	}
	return count;
}

static bool
make_stems(struct reader *reader, size_t index)
{
	const struct source *source = &reader->sources[index];
	const struct str texts[] = { source->title, source->heading, source->text };
	struct stems *stems = &reader->stems[index];
	size_t total = 0;

	if (stems->list)
		return true;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		total += add_stems(texts[i], NULL);
	stems->list = arena_array(reader->arena, total + 1, sizeof(*stems->list));
	if (!stems->list)
		return false;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		stems->count += add_stems(texts[i], stems->list + stems->count);
	if (stems->count > 1)
		qsort(stems->list, stems->count, sizeof(*stems->list), by_value);
	return true;
}

static bool
is_held(const struct reader *reader, uint64_t stem)
{
	for (size_t i = 0; i < reader->count; i++) {
		const struct stems *stems = &reader->stems[i];

		if (reader->cited[i] && stems->count > 0 &&
		    bsearch(&stem, stems->list, stems->count, sizeof(stem), by_value))
			return true;
	}
	return false;
}

/* ---- statements ---- */

static bool
has_digit(struct str word)
{
	for (size_t i = 0; i < word.len; i++)
		if (word.ptr[i] >= '0' && word.ptr[i] <= '9')
			return true;
	return false;
}

/* "2." or "2)" at the beginning of a line numbers an item of a list. */
static bool
numbers_item(struct str text, struct str word)
{
	const char *before = word.ptr, *end = text.ptr + text.len, *after = word.ptr + word.len;

	while (before > text.ptr && (before[-1] == ' ' || before[-1] == '*'))
		before--;
	return (before == text.ptr || before[-1] == '\n') && after + 1 < end &&
	       (*after == '.' || *after == ')') && after[1] == ' ';
}

static void
count_words(struct reader *reader, struct str text)
{
	struct token_reader tokens = { .text = text };
	struct token token;

	while (token_next(&tokens, &token)) {
		bool number = has_digit(token.text);

		if ((!number && token.weight <= TELLING_WEIGHT) ||
		    (number && numbers_item(text, token.text)))
			continue;

		bool held = is_held(reader, token.stem);

		reader->words++;
		reader->words_held += held;
		reader->numbers += number;
		reader->numbers_held += number && held;
	}
}

/* It says nothing that a source could hold. */
static bool
is_empty(const struct reader *reader)
{
	struct str text = str_trim(reader->text);

	return reader->words < GROUND_WORDS || str_ends(text, ":") || str_ends(text, "?") ||
	       str_ends(text, ":**");
}

static void
end_statement(struct reader *reader, bool is_cited)
{
	struct ground *out = reader->out;
	bool stands;

	count_words(reader, reader->text);
	stands = is_cited && reader->words_held * SHARE_MIN >= reader->words &&
		 reader->numbers_held == reader->numbers;
	/* a short one that is cited counts: "Yes [1]." */
	if (is_cited ? reader->words > 0 : !is_empty(reader)) {
		out->statements++;
		out->uncited += !is_cited;
		out->unsupported += is_cited && !stands;
		if (!stands && out->first_bad.len == 0)
			out->first_bad = str_trim(reader->text);
	}
	memset(reader->cited, 0, reader->count * sizeof(*reader->cited));
	reader->text = str_make("", 0);
	reader->words = reader->words_held = reader->numbers = reader->numbers_held = 0;
}

static void
grow(struct reader *reader, struct str piece)
{
	if (reader->text.len == 0)
		reader->text = piece;
	else
		reader->text.len = (size_t)(piece.ptr + piece.len - reader->text.ptr);
}

static bool
take_mark(struct reader *reader, struct str mark)
{
	size_t at = 0, from = 0, to = 0;

	while (cite_mark_next(mark, &at, &from, &to)) {
		for (size_t n = from; n >= 1 && n <= to && n <= reader->count; n++) {
			if (!make_stems(reader, n - 1))
				return false;
			reader->cited[n - 1] = true;
		}
	}
	return true;
}

/* Text between marks: ends statements at blank lines, and the one before when its marks have come. */
static void
take_text(struct reader *reader, struct str text, bool *marked)
{
	struct str rest = text;
	size_t gap = 0;

	while (rest.len > 0) {
		struct str paragraph = rest;
		bool last = !str_find(rest, STR("\n\n"), &gap);

		if (!last)
			paragraph = str_sub(rest, 0, gap);
		rest = last ? str_sub(rest, rest.len, rest.len) : str_sub(rest, gap + 2, rest.len);
		if (*marked && (str_trim(paragraph).len > 0 || !last)) {
			end_statement(reader, true);
			*marked = false;
		}
		if (str_trim(paragraph).len > 0)
			grow(reader, paragraph);
		if (!last)
			end_statement(reader, false);
	}
}

static bool
read_answer(struct reader *reader, struct str answer)
{
	struct cite_reader pieces = { .text = answer };
	struct cite_piece piece;
	bool marked = false;

	while (reader->out->statements < GROUND_STATEMENTS_MAX && cite_next(&pieces, &piece)) {
		switch (piece.kind) {
		case CITE_TEXT:
			take_text(reader, piece.text, &marked);
			break;
		case CITE_MARK:
			if (!take_mark(reader, piece.text))
				return false;
			marked = true;
			break;
		case CITE_CODE:
			/* a name in a sentence; a block of it is no statement, and ends none */
			break;
		}
	}
	end_statement(reader, marked);
	return true;
}

bool
ground_answer(struct str answer, const struct source *sources, size_t count, struct arena *arena,
	      struct ground *out)
{
	struct ground ground = { .too_long = answer.len > GROUND_MAX_BYTES };
	struct reader reader = { .sources = sources,
				 .count = count,
				 .arena = arena,
				 .stems = arena_array(arena, count + 1, sizeof(struct stems)),
				 .cited = arena_array(arena, count + 1, sizeof(bool)),
				 .out = &ground,
				 .text = STR("") };

	answer = str_sub(answer, 0, str_utf8_floor(answer, GROUND_MAX_BYTES));
	if (!reader.stems || !reader.cited || !read_answer(&reader, answer))
		return false;
	ground.too_long |= ground.statements >= GROUND_STATEMENTS_MAX;
	*out = ground;
	return true;
}

bool
ground_holds(const struct ground *ground)
{
	return ground->statements > 0 && !ground->too_long &&
	       ground->uncited + ground->unsupported == 0;
}
