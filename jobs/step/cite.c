/*
 * cite: one pass over the answer, which is text of a model: anything may stand in it.
 *
 * A mark is '[', numbers of one to three digits, single or as a range, with commas between, ']': [1], [1, 3], [2-4].
 * Numbers that name a source stay and count; others are taken out, and when none is left the mark goes, with the
 * blank before it. Not marks, and left alone: longer numbers ([2024]), anything else in brackets, a link's text
 * ([1](...)), and what stands in code between equal runs of backquotes (a[1] is no citation there).
 *
 * What is left after taking a mark out may be a new one ("[1[99]]" becomes "[1]"), so passes follow until one takes
 * nothing out: every mark in the result has been counted. Nesting alone makes more than two passes; a text that needs
 * PASSES_MAX of them is no answer of anybody, and loses all its brackets.
 */
#include "jobs/step/cite.h"

#include <string.h>

#define DIGITS_MAX 3
#define PASSES_MAX 16
#define RUN_LENGTHS 8 /* longer runs of backquotes open no code */

struct reader {
	struct str answer;
	size_t source_count;
	struct cite_check *out;
	char *to;      /* arena; room for the whole answer */
	size_t len;    /* written */
	size_t copied; /* bytes of the answer already written or dropped */
};

struct range {
	size_t from, to;
};

/* A number of one to three digits at *at. */
static bool
read_number(struct str text, size_t *at, size_t *out)
{
	size_t value = 0, i = *at;

	while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9' && i - *at <= DIGITS_MAX)
		value = value * 10 + (size_t)(text.ptr[i++] - '0');
	if (i == *at || i - *at > DIGITS_MAX)
		return false;
	*at = i;
	*out = value;
	return true;
}

static void
skip_blanks(struct str text, size_t *at)
{
	while (*at < text.len && text.ptr[*at] == ' ')
		(*at)++;
}

/* "3" or "2-4" with blanks around */
static bool
read_range(struct str text, size_t *at, struct range *out)
{
	skip_blanks(text, at);
	if (!read_number(text, at, &out->from))
		return false;
	out->to = out->from;
	if (*at < text.len && text.ptr[*at] == '-') {
		(*at)++;
		if (!read_number(text, at, &out->to))
			return false;
	}
	skip_blanks(text, at);
	return true;
}

/* The length of the mark at `start` (a '['); 0 = no mark. */
static size_t
mark_len(struct str text, size_t start)
{
	size_t at = start;
	struct range range;

	do {
		at++;
		if (!read_range(text, &at, &range))
			return 0;
	} while (at < text.len && text.ptr[at] == ',');
	if (at >= text.len || text.ptr[at] != ']')
		return 0;
	at++;
	return at < text.len && text.ptr[at] == '(' ? 0 : at - start;
}

/* The length of the code that begins with the backquotes at `start`; the run alone when nothing closes it. */
static size_t
code_len(struct cite_reader *reader, size_t start)
{
	struct str text = reader->text;
	size_t run = 0;

	while (start + run < text.len && text.ptr[start + run] == '`')
		run++;
	if (run >= RUN_LENGTHS || (reader->no_close >> run & 1))
		return run;
	for (size_t at = start + run; at < text.len;) {
		size_t closing = 0;

		while (at + closing < text.len && text.ptr[at + closing] == '`')
			closing++;
		if (closing == run)
			return at + closing - start;
		at += closing ? closing : 1;
	}
	reader->no_close |= (size_t)1 << run; /* keeps it linear */
	return run;
}

/* What begins at `at`: code or a mark, or a byte of text. */
static size_t
look(struct cite_reader *reader, size_t at, enum cite_kind *out_kind)
{
	size_t len = 0;

	*out_kind = CITE_TEXT;
	if (reader->text.ptr[at] == '`') {
		len = code_len(reader, at);
		*out_kind = CITE_CODE;
	} else if (reader->text.ptr[at] == '[') {
		len = mark_len(reader->text, at);
		*out_kind = len > 0 ? CITE_MARK : CITE_TEXT;
	}
	return len > 0 ? len : 1;
}

bool
cite_next(struct cite_reader *reader, struct cite_piece *out)
{
	enum cite_kind kind = CITE_TEXT;
	size_t start = reader->at, at = start, len = 0;

	for (; at < reader->text.len; at += len) {
		len = look(reader, at, &kind);
		if (kind != CITE_TEXT)
			break;
	}
	if (at == start && at == reader->text.len)
		return false;
	if (at > start)
		kind = CITE_TEXT; /* what stopped it is the next one */
	else
		at += len;
	*out = (struct cite_piece){ .kind = kind, .text = str_sub(reader->text, start, at) };
	reader->at = at;
	return true;
}

bool
cite_mark_next(struct str mark, size_t *at, size_t *out_from, size_t *out_to)
{
	struct range range = { 0 };

	if (*at + 1 >= mark.len)
		return false;
	(*at)++; /* the '[' or the ',' */
	if (!read_range(mark, at, &range))
		return false;
	*out_from = range.from;
	*out_to = range.to;
	return true;
}

bool
cite_begins_mark(struct str text, size_t at)
{
	for (at++; at < text.len; at++)
		if (text.ptr[at] != ' ' && (text.ptr[at] < '\t' || text.ptr[at] > '\r'))
			break;
	return at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9';
}

static void
copy_until(struct reader *reader, size_t at)
{
	memcpy(reader->to + reader->len, reader->answer.ptr + reader->copied, at - reader->copied);
	reader->len += at - reader->copied;
	reader->copied = at;
}

static bool
names_sources(const struct reader *reader, struct range range)
{
	return range.from >= 1 && range.from <= range.to && range.to <= reader->source_count;
}

static void
use(struct reader *reader, struct range range)
{
	for (size_t n = range.from; n <= range.to; n++) {
		reader->out->used_count += !reader->out->used[n - 1];
		reader->out->used[n - 1] = true;
	}
}

static void
take_mark(struct reader *reader, size_t start, size_t len)
{
	struct str text = reader->answer;
	size_t at = start, kept = 0;

	copy_until(reader, start);

	size_t before = reader->len; /* nothing is written when no number stays */

	do {
		struct range range = { 0 };
		size_t from = at + 1;

		at = from;
		(void)read_range(text, &at, &range);
		if (!names_sources(reader, range)) {
			reader->out->removed++;
			continue;
		}
		use(reader, range);
		reader->to[reader->len++] = kept++ ? ',' : '[';
		reader->copied = from;
		copy_until(reader, at);
	} while (text.ptr[at] == ',');
	if (kept > 0)
		reader->to[reader->len++] = ']';
	else if (before > 0 && reader->to[before - 1] == ' ')
		reader->len--;
	reader->copied = start + len;
}

/* One pass over check->text into `to`; the marks taken out. */
static size_t
take_marks(struct cite_check *check, size_t source_count, char *to)
{
	struct str answer = check->text;
	struct reader reader = {
		.answer = answer, .source_count = source_count, .out = check, .to = to
	};
	struct cite_reader pieces = { .text = answer };
	struct cite_piece piece;
	size_t before = check->removed;

	while (cite_next(&pieces, &piece))
		if (piece.kind == CITE_MARK)
			take_mark(&reader, (size_t)(piece.text.ptr - answer.ptr), piece.text.len);
	if (check->removed > before) {
		copy_until(&reader, answer.len);
		check->text = str_make(to, reader.len);
	}
	return check->removed - before;
}

static void
drop_brackets(struct cite_check *check, char *to)
{
	size_t len = 0;

	for (size_t i = 0; i < check->text.len; i++)
		if (check->text.ptr[i] != '[')
			to[len++] = check->text.ptr[i];
	check->text = str_make(to, len);
}

bool
cite_answer(struct str answer, size_t source_count, struct arena *arena, struct cite_check *out)
{
	struct cite_check check = { .text = answer };
	char *to = arena_alloc(arena, answer.len + 1);
	char *other = NULL;

	check.used = arena_array(arena, source_count + 1, sizeof(*check.used));
	if (!check.used || !to)
		return false;
	for (int pass = 1; take_marks(&check, source_count, to) > 0; pass++) {
		char *read = to; /* the next pass reads it */

		if (!other)
			other = arena_alloc(arena, answer.len + 1);
		if (!other)
			return false;
		to = other;
		other = read;
		memset(check.used, 0, source_count * sizeof(*check.used));
		check.used_count = 0;
		if (pass == PASSES_MAX)
			drop_brackets(&check, to);
	}
	*out = check;
	return true;
}
