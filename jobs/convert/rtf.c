/*
 * rtf: Rich Text Format, 1.9 as far as text goes. One pass, a stack of groups with a fixed depth.
 *
 * Kept: paragraphs, headings (by \outlinelevel), list items (their marks are in the text), table rows, characters of
 * the code pages 1252 and 1251, and Unicode (\u with its fallback skipped; what every present program writes for the others). Left out: destinations that are no text (fonts, colours, styles, pictures,
 * headers, footers, fields' instructions, what \* marks and we do not know), hidden and deleted text. A byte of a code page
 * that is not known becomes U+FFFD.
 */
#include <string.h>

#include "common/base/auto.h"
#include "jobs/convert/flow.h"
#include "jobs/convert/readers.h"

#define DEPTH_MAX 512
#define WORD_MAX 32
#define LEVELS 6

enum destination { DEST_TEXT, DEST_TITLE, DEST_INFO, DEST_SKIP };

struct group {
	enum destination destination;
	int fallback; /* characters after \u that stand for it: \ucN */
	bool hidden;
};

struct rtf {
	struct flow flow;
	struct str in;
	size_t at;
	struct group stack[DEPTH_MAX];
	size_t depth; /* open groups */
	struct group now;
	int64_t code_page;
	int fallback_left;
	uint32_t high; /* first half of a surrogate pair */
	bool optional; /* \* was read: the next word names a destination */
	bool in_row;
	struct buf title;
};

/* ---- characters ---- */

/* 0x80 to 0x9f of Windows 1252; 0 = not used */
static const uint16_t cp1252[32] = {
	0x20ac, 0,	0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
	0x2039, 0x0152, 0,	0x017d, 0,	0,	0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,	0x017e, 0x0178,
};

/* 0x80 to 0xbf of Windows 1251; from 0xc0 on it is U+0410 and following */
static const uint16_t cp1251[64] = {
	0x0402, 0x0403, 0x201a, 0x0453, 0x201e, 0x2026, 0x2020, 0x2021, 0x20ac, 0x2030, 0x0409,
	0x2039, 0x040a, 0x040c, 0x040b, 0x040f, 0x0452, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	0x2013, 0x2014, 0,	0x2122, 0x0459, 0x203a, 0x045a, 0x045c, 0x045b, 0x045f, 0x00a0,
	0x040e, 0x045e, 0x0408, 0x00a4, 0x0490, 0x00a6, 0x00a7, 0x0401, 0x00a9, 0x0404, 0x00ab,
	0x00ac, 0x00ad, 0x00ae, 0x0407, 0x00b0, 0x00b1, 0x0406, 0x0456, 0x0491, 0x00b5, 0x00b6,
	0x00b7, 0x0451, 0x2116, 0x0454, 0x00bb, 0x0458, 0x0405, 0x0455, 0x0457,
};

static uint32_t
character_of(int64_t code_page, unsigned char byte)
{
	if (byte < 0x80)
		return byte;
	if (code_page == 1251)
		return byte >= 0xc0 ? 0x0410U + byte - 0xc0U : cp1251[byte - 0x80];
	if (code_page == 1252 || code_page == 0)
		return byte >= 0xa0 ? byte : cp1252[byte - 0x80];
	return 0; /* not known: told by a sign, not guessed */
}

static void
put(struct rtf *rtf, struct str text)
{
	if (rtf->now.hidden)
		return;
	if (rtf->now.destination == DEST_TEXT)
		flow_text(&rtf->flow, text);
	else if (rtf->now.destination == DEST_TITLE)
		buf_add(&rtf->title, text.ptr, text.len);
}

static void
put_character(struct rtf *rtf, uint32_t cp)
{
	char bytes[4];

	put(rtf, str_make(bytes, str_utf8_put(bytes, cp ? cp : 0xfffd)));
}

static void
put_byte(struct rtf *rtf, unsigned char byte)
{
	if (rtf->fallback_left > 0) {
		rtf->fallback_left--;
		return;
	}
	put_character(rtf, character_of(rtf->code_page, byte));
}

static void
put_unicode(struct rtf *rtf, int64_t value)
{
	uint32_t unit = (uint32_t)(value < 0 ? value + 65536 : value) & 0xffff;

	rtf->fallback_left = rtf->now.fallback;
	if (unit >= 0xd800 && unit < 0xdc00) {
		rtf->high = unit;
		return;
	}
	if (unit >= 0xdc00 && unit < 0xe000)
		unit = rtf->high ? 0x10000 + ((rtf->high - 0xd800) << 10) + (unit - 0xdc00)
				 : 0xfffd;
	rtf->high = 0;
	put_character(rtf, unit < 0x20 ? ' ' : unit);
}

/* ---- words ---- */

static void
end_paragraph(struct rtf *rtf)
{
	if (rtf->now.destination != DEST_TEXT)
		return;
	if (rtf->in_row)
		rtf->flow.space = true;
	else
		flow_begin(&rtf->flow, rtf->flow.kind, rtf->flow.level);
}

static void
end_row(struct rtf *rtf)
{
	if (rtf->flow.rows > 0)
		flow_end_row(&rtf->flow);
	rtf->in_row = false;
}

static void
reset_paragraph(struct rtf *rtf)
{
	if (rtf->flow.rows > 0)
		return;
	if (!rtf->flow.out.is_open) {
		rtf->flow.kind = BLOCK_PARAGRAPH;
		rtf->flow.level = 0;
	}
}

static void
outline(struct rtf *rtf, int64_t level)
{
	if (level < 0 || level > 8 || rtf->flow.rows > 0 || rtf->flow.out.is_open)
		return;
	rtf->flow.kind = BLOCK_HEADING;
	rtf->flow.level = level < LEVELS ? (int)level + 1 : LEVELS;
}

struct word {
	const char *name;
	enum action {
		ACT_DESTINATION,
		ACT_TITLE,
		ACT_INFO,
		ACT_CHARACTER,
		ACT_PAR,
		ACT_LINE,
		ACT_PARD,
		ACT_CELL,
		ACT_ROW,
		ACT_IN_TABLE,
		ACT_OUTLINE,
		ACT_UNICODE,
		ACT_FALLBACK,
		ACT_CODE_PAGE,
		ACT_HIDDEN,
		ACT_SHOWN,
		ACT_BINARY,
	} action;
	uint32_t value;
};

static const struct word words[] = {
	{ "fonttbl", ACT_DESTINATION, 0 },
	{ "colortbl", ACT_DESTINATION, 0 },
	{ "stylesheet", ACT_DESTINATION, 0 },
	{ "listtable", ACT_DESTINATION, 0 },
	{ "listoverridetable", ACT_DESTINATION, 0 },
	{ "pict", ACT_DESTINATION, 0 },
	{ "object", ACT_DESTINATION, 0 },
	{ "header", ACT_DESTINATION, 0 },
	{ "headerl", ACT_DESTINATION, 0 },
	{ "headerr", ACT_DESTINATION, 0 },
	{ "headerf", ACT_DESTINATION, 0 },
	{ "footer", ACT_DESTINATION, 0 },
	{ "footerl", ACT_DESTINATION, 0 },
	{ "footerr", ACT_DESTINATION, 0 },
	{ "footerf", ACT_DESTINATION, 0 },
	{ "fldinst", ACT_DESTINATION, 0 },
	{ "annotation", ACT_DESTINATION, 0 },
	{ "xe", ACT_DESTINATION, 0 },
	{ "tc", ACT_DESTINATION, 0 },
	{ "rsidtbl", ACT_DESTINATION, 0 },
	{ "themedata", ACT_DESTINATION, 0 },
	{ "datastore", ACT_DESTINATION, 0 },
	{ "nonshppict", ACT_DESTINATION, 0 },
	{ "info", ACT_INFO, 0 },
	{ "title", ACT_TITLE, 0 },
	{ "tab", ACT_CHARACTER, ' ' },
	{ "emdash", ACT_CHARACTER, 0x2014 },
	{ "endash", ACT_CHARACTER, 0x2013 },
	{ "lquote", ACT_CHARACTER, 0x2018 },
	{ "rquote", ACT_CHARACTER, 0x2019 },
	{ "ldblquote", ACT_CHARACTER, 0x201c },
	{ "rdblquote", ACT_CHARACTER, 0x201d },
	{ "bullet", ACT_CHARACTER, 0x2022 },
	{ "emspace", ACT_CHARACTER, ' ' },
	{ "enspace", ACT_CHARACTER, ' ' },
	{ "par", ACT_PAR, 0 },
	{ "sect", ACT_PAR, 0 },
	{ "page", ACT_PAR, 0 },
	{ "line", ACT_LINE, 0 },
	{ "pard", ACT_PARD, 0 },
	{ "cell", ACT_CELL, 0 },
	{ "nestcell", ACT_CELL, 0 },
	{ "row", ACT_ROW, 0 },
	{ "intbl", ACT_IN_TABLE, 0 },
	{ "outlinelevel", ACT_OUTLINE, 0 },
	{ "u", ACT_UNICODE, 0 },
	{ "uc", ACT_FALLBACK, 0 },
	{ "ansicpg", ACT_CODE_PAGE, 0 },
	{ "v", ACT_HIDDEN, 0 },
	{ "deleted", ACT_HIDDEN, 0 },
	{ "plain", ACT_SHOWN, 0 },
	{ "bin", ACT_BINARY, 0 },
};

/* What a word in the document's text does to its structure. */
static void
act_on_text(struct rtf *rtf, enum action action, int64_t number)
{
	if (rtf->now.destination != DEST_TEXT)
		return;
	if (action == ACT_PAR)
		end_paragraph(rtf);
	else if (action == ACT_LINE)
		flow_break(&rtf->flow);
	else if (action == ACT_CELL)
		flow_cell(&rtf->flow);
	else if (action == ACT_ROW)
		end_row(rtf);
	else if (action == ACT_OUTLINE)
		outline(rtf, number);
	else if (action == ACT_PARD) {
		rtf->in_row = false;
		reset_paragraph(rtf);
	} else if (action == ACT_IN_TABLE && !rtf->in_row) {
		rtf->in_row = true;
		if (rtf->flow.rows == 0)
			flow_row(&rtf->flow);
	}
}

static void
act(struct rtf *rtf, const struct word *word, int64_t number)
{
	switch (word->action) {
	case ACT_DESTINATION:
		rtf->now.destination = DEST_SKIP;
		return;
	case ACT_INFO:
		if (rtf->now.destination == DEST_TEXT)
			rtf->now.destination = DEST_INFO;
		return;
	case ACT_TITLE:
		if (rtf->now.destination == DEST_INFO)
			rtf->now.destination = DEST_TITLE;
		return;
	case ACT_CHARACTER:
		if (rtf->fallback_left > 0)
			rtf->fallback_left--;
		else
			put_character(rtf, word->value);
		return;
	case ACT_UNICODE:
		put_unicode(rtf, number);
		return;
	case ACT_FALLBACK:
		rtf->now.fallback = number >= 0 && number <= 16 ? (int)number : 1;
		return;
	case ACT_CODE_PAGE:
		rtf->code_page = number;
		return;
	case ACT_HIDDEN:
		rtf->now.hidden = number != 0;
		return;
	case ACT_SHOWN:
		rtf->now.hidden = false;
		return;
	case ACT_BINARY:
		rtf->at = number > 0 && (size_t)number < rtf->in.len - rtf->at
				  ? rtf->at + (size_t)number
				  : rtf->in.len;
		return;
	case ACT_PAR:
	case ACT_LINE:
	case ACT_PARD:
	case ACT_CELL:
	case ACT_ROW:
	case ACT_IN_TABLE:
	case ACT_OUTLINE:
		act_on_text(rtf, word->action, number);
		return;
	}
}

static void
on_word(struct rtf *rtf, struct str name, bool has_number, int64_t number)
{
	bool optional = rtf->optional;

	rtf->optional = false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (str_eq_c(name, words[i].name)) {
			act(rtf, &words[i], has_number ? number : 1);
			return;
		}
	}
	if (optional)
		rtf->now.destination = DEST_SKIP; /* made for those who know it */
}

/* ---- the syntax ---- */

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char
peek(const struct rtf *rtf)
{
	return (char)(rtf->at < rtf->in.len ? rtf->in.ptr[rtf->at] : '\0');
}

static void
read_word(struct rtf *rtf)
{
	size_t start = rtf->at, digits;
	struct str name, text;
	int64_t number = 0;
	bool has_number;

	while (is_letter(peek(rtf)))
		rtf->at++;
	name = str_sub(rtf->in, start, rtf->at);
	digits = rtf->at;
	if (peek(rtf) == '-')
		rtf->at++;
	while (is_digit(peek(rtf)))
		rtf->at++;
	text = str_sub(rtf->in, digits, rtf->at);
	has_number = str_to_i64(text, INT32_MIN, INT32_MAX, &number);
	if (peek(rtf) == ' ')
		rtf->at++;
	if (name.len <= WORD_MAX)
		on_word(rtf, name, has_number, number);
}

static int
hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
read_symbol(struct rtf *rtf)
{
	char c = peek(rtf);

	rtf->at++;
	switch (c) {
	case '\'': {
		int high = hex_digit(peek(rtf));
		int low = rtf->at + 1 < rtf->in.len ? hex_digit(rtf->in.ptr[rtf->at + 1]) : -1;

		if (high >= 0 && low >= 0) {
			rtf->at += 2;
			put_byte(rtf, (unsigned char)(high * 16 + low));
		}
		return;
	}
	case '*':
		rtf->optional = true;
		return;
	case '~':
		put_byte(rtf, ' ');
		return;
	case '_':
		put_byte(rtf, '-');
		return;
	case '-':
		return; /* where a word may be broken */
	case '\n':
	case '\r':
		act_on_text(rtf, ACT_PAR, 0);
		return;
	default: /* \\ \{ \} */
		put_byte(rtf, (unsigned char)c);
	}
}

static bool
open_group(struct rtf *rtf, struct err *err)
{
	if (rtf->depth == DEPTH_MAX)
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the RTF document: groups nested more than %d deep",
			       DEPTH_MAX);
	rtf->stack[rtf->depth++] = rtf->now;
	rtf->fallback_left = 0;
	return true;
}

static bool
read_all(struct rtf *rtf, struct err *err)
{
	while (rtf->at < rtf->in.len && flow_ok(&rtf->flow)) {
		char c = rtf->in.ptr[rtf->at++];

		if (c == '{') {
			if (!open_group(rtf, err))
				return false;
		} else if (c == '}') {
			if (rtf->depth == 0)
				break;
			rtf->now = rtf->stack[--rtf->depth];
			rtf->fallback_left = 0;
			rtf->optional = false;
			if (rtf->depth == 0)
				return true;
		} else if (c == '\\') {
			if (is_letter(peek(rtf)))
				read_word(rtf);
			else
				read_symbol(rtf);
		} else if (c != '\r' && c != '\n' && c != '\0') {
			put_byte(rtf, (unsigned char)c);
		}
	}
	return !flow_ok(&rtf->flow) ||
	       err_set(err, ERR_BAD_DOCUMENT,
		       "cannot read the RTF document: it ends inside a group (cut off?)");
}

bool
read_rtf(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	 struct parsed *out, struct err *err)
{
	struct rtf rtf = { .in = bytes, .now = { .fallback = 1 } };
	bool ok;

	flow_init(&rtf.flow, limits, arena);
	buf_init(&rtf.title, (size_t)PARSE_TITLE_MAX_BYTES * 4);
	ok = read_all(&rtf, err) &&
	     flow_finish(&rtf.flow, str_make(rtf.title.data, rtf.title.len), arena, out, err);
	buf_release(&rtf.title);
	flow_release(&rtf.flow);
	return ok;
}
