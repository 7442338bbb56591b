/*
 * Two questions decide: does this line end the piece, and does this stop end it?
 *
 * A line break goes on with the piece only when it looks like wrapped prose: no empty line, the next line does
 * not begin with a mark or an indent, and this line is long or the next begins in lower case. A stop ends a sentence when white
 * space and no lower-case letter follow, and the word before it is no abbreviation or initial; CJK stops always do.
 * A short line that ends without a stop, right before a full sentence, is its term (a definition list) and stays with it.
 */
#include "jobs/provider/sentence.h"

#include <string.h>

#include "common/base/auto.h"

#define WRAPPED_MIN_BYTES 50 /* lines of wrapped prose are at least that long */
#define TERM_MAX_BYTES 60

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static size_t
skip_space(struct str text, size_t at)
{
	while (at < text.len && is_space(text.ptr[at]))
		at++;
	return at;
}

static size_t
line_end(struct str text, size_t at)
{
	const char *newline = at < text.len ? memchr(text.ptr + at, '\n', text.len - at) : NULL;

	return newline ? (size_t)(newline - text.ptr) : text.len;
}

/* The bytes of marks at `at`: "- ", "12. ", "## ", "> ". */
static size_t
mark_len(struct str text, size_t at, bool *out_heading)
{
	size_t i = at;

	*out_heading = false;
	while (i < text.len && i - at < 6 && text.ptr[i] == '#')
		i++;
	*out_heading = i > at;
	if (i == at && i < text.len && strchr("-*+>", text.ptr[i]))
		i++;
	if (i == at) {
		while (i < text.len && i - at < 3 && text.ptr[i] >= '0' && text.ptr[i] <= '9')
			i++;
		if (i == at || i == text.len || (text.ptr[i] != '.' && text.ptr[i] != ')'))
			return 0;
		i++;
	}
	if (i < text.len && text.ptr[i] == ' ')
		return i + 1 - at;
	*out_heading = false;
	return 0;
}

/* === or ---, a fence, |---|---| */
static bool
is_marks_only(struct str line)
{
	if (line.len >= 3 && (memcmp(line.ptr, "```", 3) == 0 || memcmp(line.ptr, "~~~", 3) == 0))
		return true;
	for (size_t i = 0; i < line.len; i++)
		if (!strchr("=-*_|: \t", line.ptr[i]))
			return false;
	return true;
}

static bool
is_underline(struct str line)
{
	if (line.len < 3 || (line.ptr[0] != '=' && line.ptr[0] != '-'))
		return false;
	for (size_t i = 1; i < line.len; i++)
		if (line.ptr[i] != line.ptr[0])
			return false;
	return true;
}

/* Does the piece that began at `start` go on after the line break at `at`? */
static bool
goes_on(struct str text, size_t start, size_t at)
{
	size_t line = at;
	size_t next = at + 1;
	bool heading = false;

	while (line > start && text.ptr[line - 1] != '\n')
		line--;
	if (next >= text.len || is_space(text.ptr[next]) || mark_len(text, next, &heading) > 0 ||
	    strchr("|#`~", text.ptr[next]) ||
	    is_marks_only(str_trim(str_sub(text, next, line_end(text, next)))))
		return false;
	return at - line >= WRAPPED_MIN_BYTES || is_lower(text.ptr[next]);
}

static size_t
strspn_of(struct str text, const char *set)
{
	size_t len = 0;

	while (len < text.len && strchr(set, text.ptr[len]))
		len++;
	return len;
}

/* The word that ends with the stop at `at`: e.g., Fig., J., U.S. */
static bool
is_abbreviation(struct str text, size_t start, size_t at)
{
	static const char *const known[] = { "e.g", "i.e",    "etc",  "vs",  "cf",  "dr", "mr",
					     "mrs", "ms",     "prof", "fig", "sec", "no", "inc",
					     "ltd", "approx", "al",   "eq",  "vol", "pp", "resp" };
	size_t from = at;

	while (from > start && !is_space(text.ptr[from - 1]) &&
	       !strchr("([\"'", text.ptr[from - 1]))
		from--;

	struct str word = str_sub(text, from, at);

	if (word.len == 1)
		return (word.ptr[0] >= 'A' && word.ptr[0] <= 'Z') || is_lower(word.ptr[0]);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq_nocase(word, str_of(known[i])))
			return true;
	if (word.len == 3 && word.ptr[1] == '.') /* U.S. */
		return true;
	/* 12.3.1. before a heading */
	return (from == start || text.ptr[from - 1] == '\n') &&
	       strspn_of(word, "0123456789.") == word.len;
}

/* The end of the sentence when the stop at `at` ends it, else 0. */
static size_t
stop_end(struct str text, size_t start, size_t at)
{
	static const char *const cjk[] = { "。", "！", "？" };
	struct str rest = str_sub(text, at, text.len);

	for (size_t i = 0; i < ARRAY_SIZE(cjk); i++)
		if (str_starts(rest, cjk[i]))
			return at + 3;
	if (!strchr(".!?", text.ptr[at]))
		return 0;

	size_t end = at + 1;

	while (end < text.len && strchr(".!?)]\"'", text.ptr[end]))
		end++;
	while (str_starts(str_sub(text, end, text.len), "”") ||
	       str_starts(str_sub(text, end, text.len), "’"))
		end += 3;
	if (end < text.len && !is_space(text.ptr[end]))
		return 0;

	size_t next = skip_space(text, end);

	/* on a line of its own a name may begin so: a term of a list */
	if (next < text.len && is_lower(text.ptr[next]) &&
	    !memchr(text.ptr + end, '\n', next - end))
		return 0;
	return text.ptr[at] == '.' && is_abbreviation(text, start, at) ? 0 : end;
}

/* A piece that would be too long ends after the last word that fits. */
static size_t
cut_long(struct str text, size_t start)
{
	size_t end = str_utf8_floor(text, start + SENTENCE_MAX_BYTES);
	size_t at = end;

	while (at > start && !is_space(text.ptr[at - 1]))
		at--;
	return at > start + SENTENCE_MAX_BYTES / 2 ? at : end;
}

/* The piece that begins at `start`, without a look at what follows it. */
static void
read_piece(struct str text, size_t start, struct sentence *out)
{
	size_t at = start;

	out->start = start;
	out->full = false;
	for (; at < text.len; at++) {
		size_t end = stop_end(text, start, at);

		if (end > 0 && end - start <= SENTENCE_MAX_BYTES) { /* stops may go on for long */
			out->end = end;
			out->full = true;
			return;
		}
		if (text.ptr[at] == '\n' && !goes_on(text, start, at))
			break;
		if (at - start >= SENTENCE_MAX_BYTES) {
			at = cut_long(text, start);
			break;
		}
	}
	out->end = at;
	while (out->end > start && is_space(text.ptr[out->end - 1]))
		out->end--;
}

/* A short line right above a full sentence. */
static void
join_term(struct str text, struct sentence *piece)
{
	struct sentence next = { 0 };
	size_t at = piece->end;
	bool heading = false;

	if (piece->full || piece->heading || piece->end - piece->start > TERM_MAX_BYTES ||
	    at >= text.len || text.ptr[at] != '\n' || at + 1 >= text.len ||
	    is_space(text.ptr[at + 1]) || strchr("|:", text.ptr[piece->end - 1]) ||
	    mark_len(text, at + 1, &heading) > 0)
		return;
	read_piece(text, at + 1, &next);
	if (next.full && next.end - piece->start <= SENTENCE_MAX_BYTES) {
		piece->end = next.end;
		piece->full = true;
	}
}

bool
sentence_next(struct str text, size_t *at, struct sentence *out)
{
	struct sentence piece = { 0 };
	size_t start = skip_space(text, *at);

	while (start < text.len) {
		size_t end = line_end(text, start);

		if (!is_marks_only(str_trim(str_sub(text, start, end))))
			break;
		start = skip_space(text, end);
	}
	*at = start;
	if (start >= text.len)
		return false;
	for (size_t len = 1; len > 0 && start < text.len && !piece.heading; start += len)
		len = mark_len(text, start, &piece.heading);
	start = skip_space(text, start);
	if (start >= text.len)
		return false;
	read_piece(text, start, &piece);
	join_term(text, &piece);

	size_t below = piece.end < text.len ? piece.end + 1 : text.len;

	if (piece.end < text.len && text.ptr[piece.end] == '\n' &&
	    is_underline(str_trim(str_sub(text, below, line_end(text, below)))))
		piece.heading = true;
	*at = piece.end;
	*out = piece;
	return true;
}
