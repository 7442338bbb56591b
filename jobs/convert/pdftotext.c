/*
 * pdftotext: from what `pdftotext -htmlmeta` prints to blocks with page numbers.
 *
 * Its output is a head with <title>, "<pre>", the pages, each ended by a form feed, "</pre>" and two closing tags. The
 * title is escaped for HTML, the pages are not. Lines stay lines; empty lines separate paragraphs. A PDF
 * knows no headings, so there are none.
 */
#include <string.h>

#include "jobs/convert/convert.h"
#include "jobs/step/parse_out.h"

#define TITLE_TAKEN_MAX_BYTES ((size_t)4096)

static struct str
between(struct str text, const char *open, const char *close)
{
	size_t from = 0, to = 0;

	if (!str_find(text, str_of(open), &from))
		return STR("");
	text = str_sub(text, from + strlen(open), text.len);
	return str_find(text, str_of(close), &to) ? str_sub(text, 0, to) : STR("");
}

/* The five characters that pdftotext escapes. */
static void
unescape(struct str text, struct buf *out)
{
	static const struct {
		const char *name;
		char c;
	} names[] = { { "&lt;", '<' },	  { "&gt;", '>' },   { "&quot;", '"' },
		      { "&apos;", '\'' }, { "&#39;", '\'' }, { "&amp;", '&' } };

	for (size_t at = 0, len = 1; at < text.len; at += len) {
		struct str rest = str_sub(text, at, text.len);
		char c = text.ptr[at];

		len = 1;
		for (size_t i = 0; c == '&' && i < ARRAY_SIZE(names); i++) {
			if (str_starts(rest, names[i].name)) {
				len = strlen(names[i].name);
				c = names[i].c;
				break;
			}
		}
		buf_add_char(out, c);
	}
}

/* Cuts `tag` and the line breaks before it off the end. */
static struct str
without_end(struct str text, const char *tag)
{
	if (str_ends(text, tag))
		text.len -= strlen(tag);
	while (text.len > 0 && text.ptr[text.len - 1] == '\n')
		text.len--;
	return text;
}

static struct str
pages_of(struct str bytes, struct str *out_head)
{
	size_t at = 0;

	if (!str_find(bytes, STR("<pre>\n"), &at)) {
		*out_head = STR("");
		return bytes;
	}
	*out_head = str_sub(bytes, 0, at);
	bytes = str_sub(bytes, at + strlen("<pre>\n"), bytes.len);
	bytes = without_end(bytes, "\n");
	bytes = without_end(bytes, "</html>");
	bytes = without_end(bytes, "</body>");
	bytes = without_end(bytes, "</pre>");
	return bytes;
}

static bool
read_pages(struct str pages, const struct parse_limits *limits, struct parse_out *out,
	   struct err *err)
{
	struct str page;

	while (str_split(&pages, '\f', &page) && parse_out_ok(out)) {
		out->page++;
		parse_out_paragraphs(out, page);
		if (out->page % 1024 == 0 && !parse_deadline(limits, err))
			return false;
	}
	if (parse_out_ok(out) && out->blocks.count == 0)
		return err_set(
			err, ERR_EMPTY_TEXT,
			"the PDF document has no text on its %d pages (a scan? it needs text "
			"recognition, OCR, first)",
			(int)out->page);
	return true;
}

bool
convert_read_pdftotext(struct str bytes, const struct parse_limits *limits, struct arena *arena,
		       struct parsed *out, struct err *err)
{
	AUTO(buf) struct buf title = BUF_INIT(TITLE_TAKEN_MAX_BYTES);
	struct str head, pages = pages_of(bytes, &head);
	struct parse_out text;
	size_t bad_at;
	bool ok;

	if (!str_utf8_valid(bytes, &bad_at))
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the PDF document: its text is not UTF-8 at byte %zu",
			       bad_at);
	unescape(str_sub(between(head, "<title>", "</title>"), 0, TITLE_TAKEN_MAX_BYTES / 2),
		 &title);
	parse_out_init(&text, limits, arena);
	ok = read_pages(pages, limits, &text, err) &&
	     parse_out_finish(&text,
			      str_make(title.data,
				       str_utf8_floor(str_make(title.data, title.len), title.len)),
			      arena, out, err);
	parse_out_release(&text);
	return ok;
}
