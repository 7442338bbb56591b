/*
 * parse_html: what a reader of the page would see, by libxml2's HTML parser. The door of libxml2.
 *
 * Why SAX and why pulled: libxml2's tree silently drops everything nested deeper than 256, and HTML from
 * outside is nested as deep as it likes. Here no tree is built: the parser calls us for each element and each run of
 * text, its own stack of names is all that grows. It pulls its input through a callback in pieces of a few
 * kilobytes, and that callback is where every limit is kept, because the parser's other traps sit inside single
 * tags, where nothing else gets control (measured with 2.9.14):
 *	- each attribute is compared with all before it in its tag: a million attributes would take half an
 *	  hour. The callback looks at the attributes of the open tag and ends the input above a limit.
 *	- each end tag that closes nothing is compared with all open elements: the error callback adds them up.
 *	- the deadline: at each piece, about 4 KB of input.
 * If the parser ever stops before the end of the input, for whatever reason, the document is refused: text
 * never goes missing silently.
 *
 * Nothing external is ever loaded: HTML has no external entities, the parser knows only its own table of
 * named characters (so none can expand), and HTML_PARSE_NONET is set. The encoding is UTF-8, checked by parse.c; what a <meta>
 * says about it is ignored.
 *
 * What becomes of elements (the table `elements`):
 *	headings (with level), paragraphs and other block elements, list items with their number or "- ", dt and dd as
 *	items, one block a table row with cells joined by " | ", pre as code with its white space.
 *	Left out with all they contain: script, style, template, noscript, svg and the like; what is hidden
 *	(hidden, display:none); navigation: <nav>, role=navigation, a class word such as nav, navbar, nav-*,
 *	navheader, navfooter (DocBook), or a table whose summary begins with "Navigation". Ids do not count: manuals
 *	give a chapter about navigation that id. header, footer and aside stay: their text is often the only place of a fact.
 */
#include <libxml/HTMLparser.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/step/parse.h"
#include "jobs/step/parse_out.h"

#define ATTRIBUTES_MAX 2000  /* of one element, name and value counted apart as libxml2 does */
#define WORK_MAX 500000000LL /* comparisons for tags that do not fit: about a second */
#define LIST_DEPTH_MAX 32    /* deeper lists are not numbered */
#define TITLE_TAKEN_MAX_BYTES 4096
#define PRE_INDENT_MAX 64

enum element_kind {
	EL_OTHER,
	EL_BLOCK,
	EL_SKIP,
	EL_HEADING,
	EL_PRE,
	EL_LIST,
	EL_ITEM,
	EL_TERM, /* dt, dd */
	EL_ROW,
	EL_CELL,
	EL_BREAK,
	EL_IMAGE,
	EL_TITLE,
};

struct element {
	const char *name;
	enum element_kind kind;
};

/* sorted by name */
static const struct element elements[] = {
	{ "address", EL_BLOCK },    { "article", EL_BLOCK }, { "aside", EL_BLOCK },
	{ "blockquote", EL_BLOCK }, { "body", EL_BLOCK },    { "br", EL_BREAK },
	{ "canvas", EL_SKIP },	    { "caption", EL_BLOCK }, { "center", EL_BLOCK },
	{ "datalist", EL_SKIP },    { "dd", EL_TERM },	     { "details", EL_BLOCK },
	{ "dialog", EL_BLOCK },	    { "dir", EL_LIST },	     { "div", EL_BLOCK },
	{ "dl", EL_BLOCK },	    { "dt", EL_TERM },	     { "fieldset", EL_BLOCK },
	{ "figcaption", EL_BLOCK }, { "figure", EL_BLOCK },  { "footer", EL_BLOCK },
	{ "form", EL_BLOCK },	    { "h1", EL_HEADING },    { "h2", EL_HEADING },
	{ "h3", EL_HEADING },	    { "h4", EL_HEADING },    { "h5", EL_HEADING },
	{ "h6", EL_HEADING },	    { "header", EL_BLOCK },  { "hgroup", EL_BLOCK },
	{ "hr", EL_BLOCK },	    { "iframe", EL_SKIP },   { "img", EL_IMAGE },
	{ "legend", EL_BLOCK },	    { "li", EL_ITEM },	     { "listing", EL_PRE },
	{ "main", EL_BLOCK },	    { "menu", EL_LIST },     { "nav", EL_SKIP },
	{ "noscript", EL_SKIP },    { "ol", EL_LIST },	     { "optgroup", EL_SKIP },
	{ "p", EL_BLOCK },	    { "plaintext", EL_PRE }, { "pre", EL_PRE },
	{ "script", EL_SKIP },	    { "search", EL_BLOCK },  { "section", EL_BLOCK },
	{ "select", EL_SKIP },	    { "style", EL_SKIP },    { "summary", EL_BLOCK },
	{ "svg", EL_SKIP },	    { "table", EL_BLOCK },   { "tbody", EL_BLOCK },
	{ "td", EL_CELL },	    { "template", EL_SKIP }, { "tfoot", EL_BLOCK },
	{ "th", EL_CELL },	    { "thead", EL_BLOCK },   { "title", EL_TITLE },
	{ "tr", EL_ROW },	    { "ul", EL_LIST },	     { "xmp", EL_PRE },
};

struct list {
	bool ordered;
	int next;
};

struct page {
	struct parse_out out;
	struct buf title;
	htmlParserCtxtPtr ctxt;
	struct str input;
	size_t at; /* of the input, given to the parser */
	bool at_end;
	const struct parse_limits *limits;
	const char *refused; /* why we ended the input early; NULL = did not */
	int64_t work;

	size_t depth;				    /* open elements */
	size_t skip_depth;			    /* depth of the element left out; 0 = none */
	size_t headings, pres, items, rows, titles; /* open ones of each */
	int heading_level;

	/* what must come before the next character of the open block */
	bool space, newline, cell;
	size_t pre_indent;
	bool item_starts; /* its first block gets the mark */
	struct list lists[LIST_DEPTH_MAX];
	size_t list_depth;
};

/* ---- input, and its limits ---- */

static void
refuse(struct page *page, const char *why)
{
	if (!page->refused)
		page->refused = why;
	xmlStopParser(page->ctxt);
}

static int
read_input(void *user, char *to, int len)
{
	struct page *page = user;
	struct err late = ERR_INIT;
	size_t left = page->input.len - page->at;
	size_t take = len > 0 && (size_t)len < left ? (size_t)len : left;

	if (page->refused)
		return 0;
	if (!parse_deadline(page->limits, &late)) {
		page->refused = "deadline";
		return 0;
	}
	if (page->ctxt->maxatts > ATTRIBUTES_MAX) {
		page->refused = "an element has more than 1000 attributes";
		return 0;
	}
	if (!parse_out_ok(&page->out)) {
		page->refused = "too large";
		return 0;
	}
	if (take == 0) {
		page->at_end = true;
		return 0;
	}
	memcpy(to, page->input.ptr + page->at, take);
	page->at += take;
	return (int)take;
}

static int
close_input(void *user)
{
	(void)user;
	return 0;
}

/* Errors are normal in HTML; they are counted by what they cost, and say nothing to anyone. */
static void
on_error(void *user, const char *fmt, ...)
{
	struct page *page = user;

	(void)fmt;
	page->work += page->ctxt->nameNr;
	if (page->work > WORK_MAX)
		refuse(page, "its tags are too badly nested");
}

/* ---- text ---- */

static enum block_kind
kind_here(const struct page *page)
{
	if (page->headings > 0)
		return BLOCK_HEADING;
	if (page->pres > 0)
		return BLOCK_CODE;
	if (page->rows > 0)
		return BLOCK_TABLE_ROW;
	return page->items > 0 ? BLOCK_LIST_ITEM : BLOCK_PARAGRAPH;
}

static void
end_block(struct page *page)
{
	parse_out_end(&page->out);
	page->space = page->newline = page->cell = false;
	page->pre_indent = 0;
}

static void
item_mark(struct page *page)
{
	struct list *list = page->list_depth > 0 && page->list_depth <= LIST_DEPTH_MAX
				    ? &page->lists[page->list_depth - 1]
				    : NULL;

	page->item_starts = false;
	if (list && list->ordered)
		buf_printf(&page->out.text, "%d. ", list->next++);
	else
		buf_add_str(&page->out.text, "- ");
}

/* What must stand before the next visible character. */
static void
lead_in(struct page *page)
{
	enum block_kind kind = kind_here(page);

	if (!page->out.is_open) {
		size_t indent = kind == BLOCK_CODE ? page->pre_indent : 0;

		parse_out_begin(&page->out, kind, kind == BLOCK_HEADING ? page->heading_level : 0);
		if (page->item_starts && kind == BLOCK_LIST_ITEM)
			item_mark(page);
		for (; indent > 0; indent--)
			buf_add_char(&page->out.text, ' ');
	} else if (page->cell) {
		buf_add_str(&page->out.text, " | ");
	} else if (page->newline) {
		buf_add_char(&page->out.text, '\n');
	} else if (page->space) {
		buf_add_char(&page->out.text, ' ');
	}
	page->space = page->newline = page->cell = false;
	page->pre_indent = 0;
}

/* Length of the white space at `at`: ASCII's, and the no-break space. Soft hyphens count as nothing (*out_nothing). */
static size_t
space_at(struct str text, size_t at, bool *out_nothing)
{
	*out_nothing = false;
	if (parse_is_space(text.ptr[at]))
		return 1;
	if (text.ptr[at] != '\xc2' || at + 1 >= text.len)
		return 0;
	*out_nothing = text.ptr[at + 1] == '\xad';
	return text.ptr[at + 1] == '\xa0' || *out_nothing ? 2 : 0;
}

static void
add_pre_space(struct page *page, char c)
{
	if (page->out.is_open)
		buf_add_char(&page->out.text, (char)(c == '\n' || c == '\t' ? c : ' '));
	else if (c == '\n')
		page->pre_indent = 0;
	else if (page->pre_indent < PRE_INDENT_MAX)
		page->pre_indent += c == '\t' ? 8 : 1;
}

static void
add_text(struct page *page, struct str text)
{
	size_t at = 0;

	while (at < text.len) {
		bool nothing = false;
		size_t len = space_at(text, at, &nothing);
		size_t from = at;

		if (len > 0) {
			if (!nothing && page->pres > 0)
				add_pre_space(page, text.ptr[at]);
			else if (!nothing)
				page->space = true;
			at += len;
			continue;
		}
		while (at < text.len && space_at(text, at, &nothing) == 0)
			at++;
		lead_in(page);
		parse_out_add(&page->out, str_sub(text, from, at));
	}
}

static void
on_characters(void *user, const xmlChar *text, int len)
{
	struct page *page = user;

	if (len <= 0 || page->skip_depth > 0)
		return;
	if (page->titles > 0)
		buf_add(&page->title, text, (size_t)len);
	else
		add_text(page, str_make((const char *)text, (size_t)len));
}

/* ---- elements ---- */

static int
by_name(const void *name, const void *element)
{
	return strcmp(name, ((const struct element *)element)->name);
}

static enum element_kind
kind_of(const xmlChar *name)
{
	const struct element *element =
		bsearch(name, elements, ARRAY_SIZE(elements), sizeof(elements[0]), by_name);

	return element ? element->kind : EL_OTHER;
}

static struct str
attribute(const xmlChar **atts, const char *name)
{
	for (; atts && atts[0]; atts += 2)
		if (strcmp((const char *)atts[0], name) == 0)
			return str_of(atts[1] ? (const char *)atts[1] : name);
	return STR("");
}

static bool
nav_word(struct str word)
{
	static const char *const words[] = { "nav",	  "navbar",	"navheader",
					     "navfooter", "navigation", "navpath" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq_nocase(word, str_of(words[i])))
			return true;
	return word.len > 4 && str_eq_nocase(str_sub(word, 0, 3), STR("nav")) &&
	       (word.ptr[3] == '-' || word.ptr[3] == '_');
}

static bool
is_hidden(const xmlChar **atts)
{
	struct str style = attribute(atts, "style");
	size_t at = 0;

	if (attribute(atts, "hidden").len > 0)
		return true;
	return str_find(style, STR("display:none"), &at) ||
	       str_find(style, STR("display: none"), &at);
}

static bool
is_left_out(enum element_kind kind, const xmlChar *name, const xmlChar **atts)
{
	if (kind == EL_SKIP)
		return true;
	if (!atts || strcmp((const char *)name, "body") == 0 ||
	    strcmp((const char *)name, "html") == 0)
		return false;
	if (is_hidden(atts) || str_eq_nocase(attribute(atts, "role"), STR("navigation")) ||
	    str_starts(attribute(atts, "summary"), "Navigation"))
		return true;

	struct str words = attribute(atts, "class");
	struct str word;

	if (kind == EL_OTHER)
		return false;
	while (str_split(&words, ' ', &word))
		if (nav_word(word))
			return true;
	return false;
}

/* Inside a table row only a new line: the row is one block. */
static void
boundary(struct page *page)
{
	if (page->rows > 0 && page->headings == 0 && page->pres == 0)
		page->newline = true;
	else
		end_block(page);
}

static void
open_list(struct page *page, const xmlChar *name)
{
	boundary(page);
	if (page->list_depth < LIST_DEPTH_MAX)
		page->lists[page->list_depth] = (struct list){
			.ordered = strcmp((const char *)name, "ol") == 0,
			.next = 1,
		};
	page->list_depth++;
}

static void
open_element(struct page *page, enum element_kind kind, const xmlChar *name, const xmlChar **atts)
{
	switch (kind) {
	case EL_BLOCK:
		boundary(page);
		break;
	case EL_HEADING:
		end_block(page);
		page->headings++;
		page->heading_level = name[1] - '0';
		break;
	case EL_PRE:
		boundary(page);
		page->pres++;
		break;
	case EL_LIST:
		open_list(page, name);
		break;
	case EL_ITEM:
	case EL_TERM:
		boundary(page);
		page->items++;
		page->item_starts = kind == EL_ITEM;
		break;
	case EL_ROW:
		end_block(page);
		page->rows++;
		break;
	case EL_CELL:
		page->cell = page->out.is_open && page->rows > 0;
		page->newline = page->space = false;
		break;
	case EL_BREAK:
		if (page->pres > 0)
			add_pre_space(page, '\n');
		else
			page->newline = true;
		break;
	case EL_IMAGE:
		page->space = true;
		add_text(page, attribute(atts, "alt"));
		page->space = true;
		break;
	case EL_TITLE:
		page->titles++;
		break;
	case EL_OTHER:
	case EL_SKIP:
		break;
	}
}

static void
count_down(size_t *count)
{
	if (*count > 0)
		(*count)--;
}

static void
close_element(struct page *page, enum element_kind kind)
{
	switch (kind) {
	case EL_BLOCK:
		boundary(page);
		break;
	case EL_HEADING:
		end_block(page);
		count_down(&page->headings);
		break;
	case EL_PRE:
		count_down(&page->pres);
		boundary(page);
		break;
	case EL_LIST:
		boundary(page);
		count_down(&page->list_depth);
		page->item_starts = false;
		break;
	case EL_ITEM:
	case EL_TERM:
		boundary(page);
		count_down(&page->items);
		page->item_starts = false;
		break;
	case EL_ROW:
		end_block(page);
		count_down(&page->rows);
		break;
	case EL_TITLE:
		count_down(&page->titles);
		break;
	case EL_CELL:
	case EL_BREAK:
	case EL_IMAGE:
	case EL_OTHER:
	case EL_SKIP:
		break;
	}
}

static void
on_start(void *user, const xmlChar *name, const xmlChar **atts)
{
	struct page *page = user;
	enum element_kind kind = kind_of(name);

	page->depth++;
	if (page->skip_depth > 0)
		return;
	if (is_left_out(kind, name, atts)) {
		page->skip_depth = page->depth;
		if (kind != EL_OTHER)
			boundary(page);
		return;
	}
	open_element(page, kind, name, atts);
}

static void
on_end(void *user, const xmlChar *name)
{
	struct page *page = user;

	if (page->skip_depth == 0)
		close_element(page, kind_of(name));
	else if (page->depth <= page->skip_depth)
		page->skip_depth = 0;
	count_down(&page->depth);
}

/* ---- the whole page ---- */

static void
init_library(void)
{
	xmlInitParser();
}

static bool
run_parser(struct page *page)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, init_library);
	page->ctxt = htmlNewParserCtxt();
	if (!page->ctxt)
		return false;
	memset(page->ctxt->sax, 0, sizeof(*page->ctxt->sax));
	page->ctxt->sax->startElement = on_start;
	page->ctxt->sax->endElement = on_end;
	page->ctxt->sax->characters = on_characters;
	page->ctxt->sax->ignorableWhitespace = on_characters;
	page->ctxt->sax->cdataBlock = on_characters;
	page->ctxt->sax->error = on_error;
	page->ctxt->sax->warning = on_error;
	page->ctxt->sax->initialized = 1;
	page->ctxt->userData = page;

	xmlDocPtr none = htmlCtxtReadIO(page->ctxt, read_input, close_input, page, NULL, "UTF-8",
					HTML_PARSE_RECOVER | HTML_PARSE_NONET |
						HTML_PARSE_NODEFDTD | HTML_PARSE_IGNORE_ENC);

	xmlFreeDoc(none); /* is NULL: no tree was asked for */

	bool whole = page->at_end;

	htmlFreeParserCtxt(page->ctxt);
	page->ctxt = NULL;
	return whole;
}

static struct str
first_heading(const struct page *page)
{
	for (size_t i = 0; i < page->out.blocks.count; i++) {
		const struct block *block = &page->out.blocks.items[i];

		if (block->kind == BLOCK_HEADING)
			return str_make(page->out.text.data + block->start,
					block->end - block->start);
	}
	return STR("");
}

static bool
page_text(struct page *page, struct arena *arena, struct parsed *out, struct err *err)
{
	bool whole = run_parser(page);

	if (!parse_deadline(page->limits, err))
		return false;
	if (parse_out_ok(&page->out) && (!whole || page->refused))
		return err_set(err, ERR_BAD_DOCUMENT, "cannot read the HTML near byte %zu: %s",
			       page->at, page->refused ? page->refused : "the parser gave up");

	struct str title = str_trim(str_make(page->title.data, page->title.len));

	return parse_out_finish(&page->out, title.len ? title : first_heading(page), arena, out,
				err);
}

bool
parse_html(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	   struct parsed *out, struct err *err)
{
	struct page page = { .input = bytes, .limits = limits };

	parse_out_init(&page.out, limits, arena);
	buf_init(&page.title, TITLE_TAKEN_MAX_BYTES);

	bool ok = page_text(&page, arena, out, err);

	parse_out_release(&page.out);
	buf_release(&page.title);
	return ok;
}
