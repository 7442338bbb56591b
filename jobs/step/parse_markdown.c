/*
 * parse_markdown: the block structure of Markdown, as ranges in the document itself.
 *
 * A scan of our own and not a library: the text that is chunked, embedded and cited must be the document (a reader
 * finds the quoted words in his own file), so what is needed are the byte ranges of headings, paragraphs, list
 * items, table rows and code, and nothing of the inline syntax. cmark gives lines and columns of blocks only and
 * md4c none at all; both would parse all inline markup to throw it away, and nest as deep as the input says. This
 * scan looks at each line once, keeps one open block, and does not nest: quotes and lists inside lists are flat, which is
 * all that chunking needs. Time is linear for every input, memory is the list of blocks.
 *
 * One line decides by its own form and the open block:
 *	code fence open   -> everything up to the closing fence
 *	blank		  -> ends the block
 *	#..###### or ===/--- under a paragraph -> heading; its label is the words without the marks
 *	- * + 1. 1)	  -> list item; indented lines after a blank line go on as items
 *	| under a |---| row, up to a blank line	-> one block a row, the delimiter row with its header
 *	four blanks or a tab, no open block, no list before -> code
 *	anything else	  -> continues the open block, or begins a paragraph
 *
 * Front matter (a first line ---, "key: value" lines, ---) gives the title and is cut from the text: it is about the
 * document, not of it.
 */
#include <string.h>

#include "jobs/step/parse.h"
#include "jobs/step/parse_out.h"

#define DEADLINE_LINES 4096
#define FRONT_MATTER_MAX_LINES 200

struct md {
	struct str text;
	struct block_list blocks;
	struct block open; /* valid while is_open */
	bool is_open;
	bool in_table; /* after a delimiter row */
	bool in_list;  /* the last block that began without an indent was an item */
	char fence;    /* in fenced code: ` or ~, else 0 */
	size_t fence_len;
	size_t open_lines; /* lines of the open block */
};

struct line {
	size_t start, end; /* in the text, without \n */
	size_t indent;	   /* columns; a tab is four */
	struct str body;   /* without white space at both ends */
};

static struct line
line_of(struct str text, size_t start, size_t end)
{
	struct line line = { .start = start, .end = end };

	line.body = str_trim(str_sub(text, start, end));
	for (size_t i = start; i < end && (text.ptr[i] == ' ' || text.ptr[i] == '\t'); i++)
		line.indent += text.ptr[i] == '\t' ? 4 : 1;
	return line;
}

static size_t
run_of(struct str text, size_t at, char c)
{
	size_t len = 0;

	while (at + len < text.len && text.ptr[at + len] == c)
		len++;
	return len;
}

static void
close_block(struct md *md)
{
	if (md->is_open)
		block_list_add(&md->blocks, &md->open);
	md->is_open = false;
	md->open_lines = 0;
}

static void
extend_block(struct md *md, const struct line *line)
{
	md->open.end = (size_t)(line->body.ptr - md->text.ptr) + line->body.len;
	md->open_lines++;
}

static void
open_block(struct md *md, enum block_kind kind, const struct line *line)
{
	close_block(md);
	md->open = (struct block){
		.kind = kind,
		/* code begins with its indent */
		.start = kind == BLOCK_CODE ? line->start : (size_t)(line->body.ptr - md->text.ptr),
	};
	md->is_open = true;
	extend_block(md, line);
}

static void
label_is(struct md *md, struct str label)
{
	label = str_trim(label);
	md->open.label_start = label.len ? (size_t)(label.ptr - md->text.ptr) : md->open.start;
	md->open.label_end = md->open.label_start + label.len;
}

/* "## Title ##" */
static bool
atx_heading(struct md *md, const struct line *line)
{
	size_t level = run_of(line->body, 0, '#');

	if (level < 1 || level > 6 || line->indent > 3 ||
	    (level < line->body.len && line->body.ptr[level] != ' ' &&
	     line->body.ptr[level] != '\t'))
		return false;

	struct str label = str_trim(str_sub(line->body, level, line->body.len));
	size_t end = label.len;

	while (end > 0 && label.ptr[end - 1] == '#')
		end--;
	if (end == 0 || label.ptr[end - 1] == ' ' || label.ptr[end - 1] == '\t')
		label.len = end;
	open_block(md, BLOCK_HEADING, line);
	md->open.level = (int)level;
	label_is(md, label);
	close_block(md);
	md->in_list = false;
	return true;
}

/* === or --- under a paragraph */
static bool
setext_heading(struct md *md, const struct line *line)
{
	if (!md->is_open || md->open.kind != BLOCK_PARAGRAPH || line->indent > 3)
		return false;

	char c = line->body.ptr[0];

	if ((c != '=' && c != '-') || run_of(line->body, 0, c) != line->body.len ||
	    (c == '-' && line->body.len < 2))
		return false;
	md->open.kind = BLOCK_HEADING;
	md->open.level = c == '=' ? 1 : 2;
	label_is(md, str_sub(md->text, md->open.start, md->open.end));
	extend_block(md, line);
	close_block(md);
	return true;
}

/* "- x", "* x", "12. x", "3) x" */
static bool
is_item(struct str body)
{
	size_t at = 0;

	if (body.len == 0)
		return false;
	if (strchr("-*+", body.ptr[0])) {
		at = 1;
	} else {
		while (at < body.len && at < 9 && body.ptr[at] >= '0' && body.ptr[at] <= '9')
			at++;
		if (at == 0 || at == body.len || (body.ptr[at] != '.' && body.ptr[at] != ')'))
			return false;
		at++;
	}
	return at < body.len && (body.ptr[at] == ' ' || body.ptr[at] == '\t');
}

/* --- *** ___ with blanks between: a line across the page */
static bool
is_rule(struct str body)
{
	size_t marks = 0;

	if (body.len < 3 || !strchr("-*_", body.ptr[0]))
		return false;
	for (size_t i = 0; i < body.len; i++) {
		if (body.ptr[i] == body.ptr[0])
			marks++;
		else if (!parse_is_space(body.ptr[i]))
			return false;
	}
	return marks >= 3;
}

/* |---|:--:| */
static bool
is_delimiter_row(struct str body)
{
	bool bar = false, dash = false;

	for (size_t i = 0; i < body.len; i++) {
		char c = body.ptr[i];

		bar = bar || c == '|';
		dash = dash || c == '-';
		if (!strchr("|-: \t", c))
			return false;
	}
	return bar && dash;
}

/* A fence opens, goes on or closes. */
static bool
fenced(struct md *md, const struct line *line)
{
	char c = (char)(line->body.len ? line->body.ptr[0] : '\0');
	size_t run = c == '`' || c == '~' ? run_of(line->body, 0, c) : 0;

	if (md->fence) {
		if (line->body.len)
			extend_block(md, line);
		if (c == md->fence && run >= md->fence_len && run == line->body.len) {
			md->fence = 0;
			close_block(md);
		}
		return true;
	}
	if (run < 3 || (c == '`' && memchr(line->body.ptr + run, '`', line->body.len - run)))
		return false;
	open_block(md, BLOCK_CODE, line);
	md->fence = c;
	md->fence_len = run;
	return true;
}

static bool
table_line(struct md *md, const struct line *line)
{
	if (md->in_table && md->is_open) {
		open_block(md, BLOCK_TABLE_ROW, line);
		return true;
	}
	md->in_table = false;
	if (!md->is_open || md->open.kind != BLOCK_PARAGRAPH || md->open_lines != 1 ||
	    !is_delimiter_row(line->body) ||
	    !memchr(md->text.ptr + md->open.start, '|', md->open.end - md->open.start))
		return false;
	md->open.kind = BLOCK_TABLE_ROW;
	extend_block(md, line);
	md->in_table = true;
	return true;
}

static void
plain_line(struct md *md, const struct line *line)
{
	bool code = line->indent >= 4 && !md->in_list;

	if (md->is_open && !(md->open.kind == BLOCK_CODE && !code)) {
		extend_block(md, line);
	} else if (code) {
		open_block(md, BLOCK_CODE, line);
	} else if (line->indent >= 2 && md->in_list) {
		open_block(md, BLOCK_LIST_ITEM, line);
	} else {
		open_block(md, BLOCK_PARAGRAPH, line);
		md->in_list = false;
	}
}

static void
take_line(struct md *md, const struct line *line)
{
	if (fenced(md, line))
		return;
	if (line->body.len == 0) {
		close_block(md);
		md->in_table = false;
		return;
	}
	if (table_line(md, line) || atx_heading(md, line) || setext_heading(md, line))
		return;
	if (is_rule(line->body) && line->indent < 4) {
		open_block(md, BLOCK_PARAGRAPH, line);
		close_block(md);
		md->in_list = false;
		return;
	}
	if (is_item(line->body) && (line->indent < 4 || md->in_list)) {
		open_block(md, BLOCK_LIST_ITEM, line);
		md->in_list = true;
		return;
	}
	plain_line(md, line);
}

static struct str
front_matter_value(struct str line, const char *key)
{
	struct str rest = line, name = { 0 };

	if (!str_split(&rest, ':', &name) || !str_eq_c(name, key))
		return STR("");
	rest = str_trim(rest);
	if (rest.len >= 2 && (rest.ptr[0] == '"' || rest.ptr[0] == '\'') &&
	    rest.ptr[rest.len - 1] == rest.ptr[0])
		rest = str_sub(rest, 1, rest.len - 1);
	return rest;
}

/* Returns where the document proper begins; 0 = no front matter. */
static size_t
front_matter(struct str text, struct str *title)
{
	size_t at = 0, start = 0, end = 0;
	bool keys = false;

	if (!parse_line(text, &at, &start, &end) || !str_eq_c(str_sub(text, start, end), "---"))
		return 0;

	struct str found = STR("");

	for (int i = 0; i < FRONT_MATTER_MAX_LINES && parse_line(text, &at, &start, &end); i++) {
		struct str line = str_sub(text, start, end);

		if (str_eq_c(str_trim(line), "---") || str_eq_c(str_trim(line), "...")) {
			*title = found;
			return keys ? (at < text.len ? at : text.len) : 0;
		}
		if (!keys && (line.len == 0 || !memchr(line.ptr, ':', line.len)))
			return 0; /* two rules with text between */
		keys = true;
		if (found.len == 0)
			found = front_matter_value(line, "title");
	}
	return 0;
}

/* The first heading, but a later one of level 1 if the first is not. */
static struct str
first_heading(const struct md *md)
{
	struct str first = STR("");

	for (size_t i = 0; i < md->blocks.count; i++) {
		const struct block *block = &md->blocks.items[i];

		if (block->kind != BLOCK_HEADING || block->label_end == block->label_start)
			continue;
		if (first.len == 0 || block->level == 1)
			first = str_sub(md->text, block->label_start, block->label_end);
		if (block->level == 1)
			break;
	}
	return first;
}

static bool
scan(struct md *md, const struct parse_limits *limits, struct err *err)
{
	size_t at = 0, start = 0, end = 0, lines = 0;

	while (parse_line(md->text, &at, &start, &end)) {
		struct line line = line_of(md->text, start, end);

		if (++lines % DEADLINE_LINES == 0 && !parse_deadline(limits, err))
			return false;
		take_line(md, &line);
	}
	close_block(md);
	return true;
}

bool
parse_markdown(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	       struct parsed *out, struct err *err)
{
	struct str title = STR("");
	size_t body = front_matter(bytes, &title);
	struct md md = { .text = str_sub(bytes, body, bytes.len) };
	AUTO(block_list) struct block_list blocks = { 0 };

	if (md.text.len > limits->max_text_bytes)
		return err_set(err, ERR_TOO_LARGE,
			       "the document has %zu bytes of text; at most %zu", md.text.len,
			       limits->max_text_bytes);
	block_list_init(&md.blocks, arena);

	bool ok = scan(&md, limits, err);

	blocks = md.blocks; /* owned from here: released at the end of the scope */
	if (!ok)
		return false;

	struct parsed parsed = { .text = md.text };

	parsed.title =
		parse_fold(arena, title.len ? title : first_heading(&md), PARSE_TITLE_MAX_BYTES);
	if (!block_list_finish(&blocks, arena, &parsed, err))
		return false;
	*out = parsed;
	return true;
}
