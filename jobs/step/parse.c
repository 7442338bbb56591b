/*
 * parse: the way into every parser: which one, and bytes that all of them may trust.
 *
 * The bytes are checked and cleaned once, here, before any parser sees them: valid UTF-8 (a bad byte is named by
 * its place; what begins with the byte order mark of UTF-16 is converted first), the BOM cut, CRLF and lone CR (and NEL, form feed, vertical tab) become LF, other control characters
 * dropped. So a parser never meets NUL, which would end a C library's input silently, and never needs to think
 * about line ends. The clean copy is in the arena: text/plain and text/markdown borrow it as their text.
 */
#include "jobs/step/parse.h"

#include <string.h>

#include "jobs/convert/convert.h"
#include "jobs/spec/spec.h"
#include "jobs/step/parse_out.h"

struct parser {
	enum media_format format;
	parse_fn parse;
};

/* The formats that are text; the others have a converter. */
static const struct parser parsers[] = {
	{ MEDIA_TEXT, parse_text }, { MEDIA_MARKDOWN, parse_markdown }, { MEDIA_HTML, parse_html },
	{ MEDIA_JSON, parse_json }, { MEDIA_CSV, parse_csv },
};

static bool
find_type(struct str media_type, struct str bytes, const struct media_type **out, struct err *err)
{
	struct str type = { 0 };

	return spec_content_type(media_type, &type, err) && media_resolve(type, bytes, out, err);
}

static parse_fn
parser_of(enum media_format format)
{
	for (size_t i = 0; i < ARRAY_SIZE(parsers); i++)
		if (parsers[i].format == format)
			return parsers[i].parse;
	return NULL;
}

static bool
check_utf8(struct str bytes, struct err *err)
{
	size_t bad_at = 0;

	return str_utf8_valid(bytes, &bad_at) ||
	       err_set(err, ERR_BAD_DOCUMENT, "cannot read the document: not UTF-8 at byte %zu",
		       bad_at);
}

/* ---- UTF-16, told by its byte order mark ---- */

static uint32_t
unit_at(struct str bytes, size_t at, bool big_endian)
{
	unsigned char first = (unsigned char)bytes.ptr[at],
		      second = (unsigned char)bytes.ptr[at + 1];

	return big_endian ? (uint32_t)first << 8 | second : (uint32_t)second << 8 | first;
}

static bool
bad_utf16(size_t at, struct err *err)
{
	return err_set(err, ERR_BAD_DOCUMENT, "cannot read the document: not UTF-16 at byte %zu",
		       at);
}

/* bytes becomes UTF-8 in the arena when it is UTF-16; at most 3 bytes for each 2. */
static bool
from_utf16(struct str *bytes, struct arena *arena, struct err *err)
{
	struct str in = *bytes;
	void *copy = NULL;
	size_t len = 0;

	if (!media_is_utf16(in))
		return true;
	if (in.len % 2)
		return bad_utf16(in.len - 1, err);
	if (!arena_alloc_err(arena, in.len / 2 * 3 + 1, "the document", &copy, err))
		return false;

	bool big_endian = in.ptr[0] == '\xfe';
	char *to = copy;

	for (size_t at = 2; at < in.len; at += 2) {
		uint32_t unit = unit_at(in, at, big_endian);

		if (unit >= 0xd800 && unit < 0xe000) {
			uint32_t low = at + 2 < in.len ? unit_at(in, at + 2, big_endian) : 0;

			if (unit >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
				return bad_utf16(at, err);
			unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
			at += 2;
		}
		len += str_utf8_put(to + len, unit);
	}
	*bytes = str_make(to, len);
	return true;
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
parse_clean(struct str bytes, struct arena *arena, struct str *out, struct err *err)
{
	return from_utf16(&bytes, arena, err) && check_utf8(bytes, err) &&
	       clean(bytes, arena, out, err);
}

static bool
parse_as(const struct media_type *type, struct str bytes, const struct parse_limits *limits,
	 struct arena *arena, struct parsed *out, struct err *err)
{
	parse_fn parse = parser_of(type->format);
	struct str text = { 0 };

	if (!parse)
		return convert_document(type, bytes, limits, arena, out, err);
	return parse_clean(bytes, arena, &text, err) && parse(text, limits, arena, out, err);
}

bool
parse_document(struct str media_type, struct str bytes, const struct parse_limits *limits,
	       struct arena *arena, struct parsed *out, struct err *err)
{
	const struct media_type *type;
	struct parsed parsed = { 0 };

	if (!find_type(media_type, bytes, &type, err) || !parse_deadline(limits, err) ||
	    !parse_as(type, bytes, limits, arena, &parsed, err))
		return false;
	if (parsed.block_count == 0)
		return err_set(err, ERR_EMPTY_TEXT, "the document has no text");
	*out = parsed;
	return true;
}
