/*
 * parse: the way into every parser: which one, and bytes that all of them may trust.
 *
 * The bytes are checked and cleaned once, here, before any parser sees them: valid UTF-8 (a bad byte is named by
 * its place), the BOM cut, CRLF and lone CR (and NEL, form feed, vertical tab) become LF, other control characters
 * dropped. So a parser never meets NUL, which would end a C library's input silently, and never needs to think
 * about line ends. The clean copy is in the arena: text/plain and text/markdown borrow it as their text.
 */
#include "jobs/step/parse.h"

#include <string.h>

#include "jobs/spec/spec.h"
#include "jobs/step/parse_out.h"

struct parser {
	const char *media_type;
	parse_fn parse;
};

static const struct parser parsers[] = {
	{ "text/plain", parse_text },	    { "text/markdown", parse_markdown },
	{ "text/html", parse_html },	    { "application/xhtml+xml", parse_html },
	{ "application/json", parse_json },
};

static const struct parser *
find_parser(struct str media_type, struct err *err)
{
	struct str type = { 0 };

	if (!spec_content_type(media_type, &type, err))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(parsers); i++)
		if (str_eq_c(type, parsers[i].media_type))
			return &parsers[i];
	err_set(err, ERR_UNSUPPORTED_MEDIA, "cannot read documents of type '" STR_FMT "'",
		STR_ARG(type));
	return NULL;
}

static bool
check_utf8(struct str bytes, struct err *err)
{
	size_t bad_at = 0;

	if (str_utf8_valid(bytes, &bad_at))
		return true;

	bool utf16 =
		bad_at == 0 && bytes.len > 1 &&
		(memcmp(bytes.ptr, "\xff\xfe", 2) == 0 || memcmp(bytes.ptr, "\xfe\xff", 2) == 0);

	return err_set(err, ERR_BAD_DOCUMENT, "cannot read the document: not UTF-8 at byte %zu%s",
		       bad_at, utf16 ? " (it looks like UTF-16)" : "");
}

/* Copies [from, from + *len) as clean text; returns the bytes written. */
static size_t
clean_at(struct str in, size_t from, size_t *len, char *to)
{
	unsigned char c = (unsigned char)in.ptr[from];
	bool next = from + 1 < in.len;

	*len = 1;
	if (c == '\r') {
		*len = next && in.ptr[from + 1] == '\n' ? 2 : 1;
		*to = '\n';
		return 1;
	}
	if (c == '\f' || c == '\v') {
		*to = '\n';
		return 1;
	}
	if (c == 0xc2 && next && (unsigned char)in.ptr[from + 1] < 0xa0) {
		*len = 2;
		*to = '\n';
		return (unsigned char)in.ptr[from + 1] == 0x85 ? 1 : 0; /* NEL */
	}
	if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
		return 0;
	*to = (char)c;
	return 1;
}

static bool
clean(struct str bytes, struct arena *arena, struct str *out, struct err *err)
{
	void *copy = NULL;
	size_t len = 0;

	if (str_starts(bytes, "\xef\xbb\xbf"))
		bytes = str_sub(bytes, 3, bytes.len);
	if (!arena_alloc_err(arena, bytes.len + 1, "the document", &copy, err))
		return false;

	char *to = copy;

	for (size_t i = 0, step = 1; i < bytes.len; i += step)
		len += clean_at(bytes, i, &step, to + len);
	*out = str_make(to, len);
	return true;
}

bool
parse_document(struct str media_type, struct str bytes, const struct parse_limits *limits,
	       struct arena *arena, struct parsed *out, struct err *err)
{
	const struct parser *parser = find_parser(media_type, err);
	struct parsed parsed = { 0 };
	struct str text = { 0 };

	if (!parser || !check_utf8(bytes, err) || !parse_deadline(limits, err) ||
	    !clean(bytes, arena, &text, err))
		return false;
	if (!parser->parse(text, limits, arena, &parsed, err))
		return false;
	if (parsed.block_count == 0)
		return err_set(err, ERR_EMPTY_TEXT, "the document has no text");
	*out = parsed;
	return true;
}
