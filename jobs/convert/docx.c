/*
 * docx: Word documents (OOXML wordprocessing).
 *
 * Kept: paragraphs, headings (by the style's name or outline level), list items, table rows, text boxes, foot- and
 * endnotes (at the end), text inserted by tracked changes. Left out: what tracked changes deleted, comments, headers and
 * footers, field codes, the copies of drawings for older programs (mc:Fallback). Word stores no pages: there are
 * none.
 */
#include <string.h>

#include "common/base/auto.h"
#include "jobs/convert/flow.h"
#include "jobs/convert/package.h"
#include "jobs/convert/readers.h"

#define STYLES_MAX 2000
#define BASED_ON_MAX 8
#define LEVELS 6

struct style {
	struct str id, based_on;
	int level; /* 1..6; 0 = no heading */
};

struct docx {
	struct flow flow;
	struct arena *arena;
	struct zip_archive archive;
	struct relations relations;

	struct style *styles; /* arena */
	size_t style_count;
	bool in_style; /* while styles are read: the last one is open */

	size_t depth, skip_depth; /* skip_depth: of the element left out; 0 = none */
	size_t texts, runs;
	bool is_list;
	int level;
};

/* ---- styles ---- */

static int
level_of_name(struct str name)
{
	int64_t level;

	if (str_eq_nocase(name, STR("title")))
		return 1;
	if (!str_eq_nocase(str_sub(name, 0, 8), STR("heading ")) ||
	    !str_to_i64(str_sub(name, 8, name.len), 1, 9, &level))
		return 0;
	return level < LEVELS ? (int)level : LEVELS;
}

static struct str
keep(struct docx *docx, struct str text)
{
	char *copy = arena_strndup(docx->arena, text.ptr ? text.ptr : "", text.len);

	return copy ? str_make(copy, text.len) : STR("");
}

static int
outline_level(struct str value)
{
	int64_t level;

	return str_to_i64(value, 0, 8, &level) ? (level < LEVELS ? (int)level + 1 : LEVELS) : 0;
}

static void
style_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct docx *docx = user;
	struct style *style = docx->style_count ? &docx->styles[docx->style_count - 1] : NULL;

	if (strcmp(name, "style") == 0) {
		docx->in_style = docx->style_count < STYLES_MAX &&
				 str_eq_c(xml_attr(attrs, "type"), "paragraph");
		if (docx->in_style)
			docx->styles[docx->style_count++] =
				(struct style){ .id = keep(docx, xml_attr(attrs, "styleId")) };
	} else if (!style || !docx->in_style) {
		return;
	} else if (strcmp(name, "name") == 0 && style->level == 0) {
		style->level = level_of_name(xml_attr(attrs, "val"));
	} else if (strcmp(name, "outlineLvl") == 0 && style->level == 0) {
		style->level = outline_level(xml_attr(attrs, "val"));
	} else if (strcmp(name, "basedOn") == 0) {
		style->based_on = keep(docx, xml_attr(attrs, "val"));
	}
}

static void
style_end(void *user, const char *name)
{
	struct docx *docx = user;

	if (strcmp(name, "style") == 0)
		docx->in_style = false;
}

static int
style_level(const struct docx *docx, struct str id)
{
	for (int step = 0; step < BASED_ON_MAX && id.len > 0; step++) {
		struct str next = STR("");

		for (size_t i = 0; i < docx->style_count; i++) {
			if (!str_eq(docx->styles[i].id, id))
				continue;
			if (docx->styles[i].level > 0)
				return docx->styles[i].level;
			next = docx->styles[i].based_on;
			break;
		}
		id = next;
	}
	return 0;
}

static bool
read_styles(struct docx *docx, struct err *err)
{
	const struct relation *styles = relation_by_type(&docx->relations, "styles");
	const struct xml_handler handler = { .start = style_start, .end = style_end, .user = docx };

	docx->styles = arena_array(docx->arena, STYLES_MAX, sizeof(*docx->styles));
	if (!docx->styles)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the document's styles");
	return !styles || !zip_part_exists(&docx->archive, styles->target) ||
	       xml_read_part(&docx->archive, styles->target, &handler, err);
}

/* ---- text ---- */

static bool
is_left_out(const char *name, const struct xml_attrs *attrs)
{
	static const char *const names[] = { "Fallback", "moveFrom",  "pPrChange", "rPrChange",
					     "sectPr",	 "instrText", "delText" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	/* the lines that separate notes from the page */
	return (strcmp(name, "footnote") == 0 || strcmp(name, "endnote") == 0) &&
	       xml_attr(attrs, "type").len > 0 && !str_eq_c(xml_attr(attrs, "type"), "normal");
}

/* The paragraph's properties come before its text: the block begins with the first character. */
static void
set_kind(struct docx *docx)
{
	struct flow *flow = &docx->flow;

	if (flow->rows > 0 || flow->out.is_open)
		return;
	flow->kind = docx->level     ? BLOCK_HEADING
		     : docx->is_list ? BLOCK_LIST_ITEM
				     : BLOCK_PARAGRAPH;
	flow->level = docx->level;
	flow->mark = docx->is_list && !docx->level;
}

static void
property(struct docx *docx, const char *name, const struct xml_attrs *attrs)
{
	struct str value = xml_attr(attrs, "val");

	if (strcmp(name, "pStyle") == 0)
		docx->level = style_level(docx, value);
	else if (strcmp(name, "outlineLvl") == 0)
		docx->level = outline_level(value) ? outline_level(value) : docx->level;
	else if (strcmp(name, "numId") == 0)
		docx->is_list = !str_eq_c(value, "0");
	else
		return;
	set_kind(docx);
}

static void
run_content(struct docx *docx, const char *name)
{
	if (strcmp(name, "tab") == 0)
		flow_text(&docx->flow, STR(" "));
	else if (strcmp(name, "br") == 0 || strcmp(name, "cr") == 0)
		flow_break(&docx->flow);
	else if (strcmp(name, "noBreakHyphen") == 0)
		flow_text(&docx->flow, STR("-"));
}

static void
on_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct docx *docx = user;

	docx->depth++;
	if (docx->skip_depth > 0)
		return;
	if (is_left_out(name, attrs)) {
		docx->skip_depth = docx->depth;
	} else if (strcmp(name, "p") == 0) {
		docx->level = 0;
		docx->is_list = false;
		flow_begin(&docx->flow, BLOCK_PARAGRAPH, 0);
	} else if (strcmp(name, "t") == 0) {
		docx->texts++;
	} else if (strcmp(name, "r") == 0) {
		docx->runs++;
	} else if (strcmp(name, "tr") == 0) {
		flow_row(&docx->flow);
	} else if (strcmp(name, "tc") == 0) {
		flow_cell(&docx->flow);
	} else if (docx->runs > 0) {
		run_content(docx, name);
	} else {
		property(docx, name, attrs);
	}
}

static void
on_end(void *user, const char *name)
{
	struct docx *docx = user;

	if (docx->skip_depth > 0) {
		if (docx->skip_depth == docx->depth)
			docx->skip_depth = 0;
	} else if (strcmp(name, "t") == 0) {
		docx->texts--;
	} else if (strcmp(name, "r") == 0) {
		docx->runs--;
	} else if (strcmp(name, "p") == 0) {
		flow_begin(&docx->flow, BLOCK_PARAGRAPH, 0);
	} else if (strcmp(name, "tr") == 0) {
		flow_end_row(&docx->flow);
	}
	docx->depth--;
}

static void
on_text(void *user, struct str text)
{
	struct docx *docx = user;

	if (docx->texts > 0 && docx->skip_depth == 0)
		flow_text(&docx->flow, text);
}

static bool
go_on(void *user)
{
	const struct docx *docx = user;

	return flow_ok(&docx->flow);
}

static bool
read_part(struct docx *docx, struct str part, struct err *err)
{
	const struct xml_handler handler = {
		.start = on_start, .end = on_end, .text = on_text, .go_on = go_on, .user = docx
	};

	docx->depth = docx->skip_depth = docx->texts = docx->runs = 0;
	flow_end(&docx->flow);
	docx->flow.rows = 0;
	return xml_read_part(&docx->archive, part, &handler, err);
}

static bool
read_all(struct docx *docx, struct err *err)
{
	static const char *const notes[] = { "footnotes", "endnotes" };
	struct relations package;
	const struct relation *main_part;
	struct str part;

	if (!package_relations(&docx->archive, STR(""), docx->arena, &package, err))
		return false;
	main_part = relation_by_type(&package, "officeDocument");
	part = main_part ? main_part->target : STR("word/document.xml");
	if (!package_relations(&docx->archive, part, docx->arena, &docx->relations, err) ||
	    !read_styles(docx, err) || !read_part(docx, part, err))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
		const struct relation *note = relation_by_type(&docx->relations, notes[i]);

		if (note && zip_part_exists(&docx->archive, note->target) &&
		    !read_part(docx, note->target, err))
			return false;
	}
	return true;
}

bool
read_docx(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	  struct parsed *out, struct err *err)
{
	struct docx docx = { .arena = arena };
	bool ok;

	if (!zip_archive_open(bytes, &docx.archive, err))
		return false;
	flow_init(&docx.flow, limits, arena);
	ok = read_all(&docx, err) &&
	     flow_finish(&docx.flow, package_title(&docx.archive, STR("docProps/core.xml"), arena),
			 arena, out, err);
	flow_release(&docx.flow);
	return ok;
}
