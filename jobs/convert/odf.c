/*
 * odf: OpenDocument texts, spreadsheets and presentations: one reader, because content.xml is one vocabulary; what the
 * body holds says which it is.
 *
 * Texts: headings by their outline level, list items, table rows, notes where they stand; no pages, none are stored.
 * Spreadsheets: each visible table a section under its name, records as in table_out.h, values as they are shown.
 * Presentations: pages in order, titles as headings, speaker notes. Left out: deleted text of tracked changes, comments,
 * hidden tables, charts, headers and footers (they are in styles.xml). A repeated row or cell counts once, but empty
 * ones move the columns on.
 */
#include <string.h>

#include "common/base/auto.h"
#include "jobs/convert/flow.h"
#include "jobs/convert/package.h"
#include "jobs/convert/readers.h"
#include "jobs/step/table_out.h"

#define LEVELS 6
#define MANIFEST_MAX_BYTES ((size_t)8 << 20)
#define CELL_MAX_BYTES ((size_t)1 << 20)

enum body { BODY_TEXT, BODY_SPREADSHEET, BODY_PRESENTATION };

struct odf {
	struct flow flow;
	struct table_out table;
	enum body body;
	size_t depth, skip_depth;
	size_t paragraphs, items, notes, cells;
	bool is_title; /* the frame at hand of a presentation */
	size_t frame_depth;

	/* the cell at hand of a spreadsheet */
	struct buf value;
	size_t column, repeated;
	bool value_is_text;
	size_t blocks_before; /* when the table began */
};

/* ---- spreadsheets ---- */

static size_t
repeats(const struct xml_attrs *attrs, const char *name)
{
	int64_t times = 1;

	(void)str_to_i64(xml_attr(attrs, name), 1, TABLE_COLUMNS_MAX, &times);
	return (size_t)times;
}

static void
begin_sheet(struct odf *odf, const struct xml_attrs *attrs)
{
	odf->flow.out.page++;
	table_out_begin(&odf->table);
	parse_out_begin(&odf->flow.out, BLOCK_HEADING, 1);
	parse_out_add(&odf->flow.out, str_trim(xml_attr(attrs, "name")));
	parse_out_end(&odf->flow.out);
	odf->blocks_before = odf->flow.out.blocks.count;
}

static void
sheet_start(struct odf *odf, const char *name, const struct xml_attrs *attrs)
{
	if (strcmp(name, "table") == 0 && odf->cells == 0) {
		begin_sheet(odf, attrs);
	} else if (strcmp(name, "table-row") == 0 && odf->cells == 0) {
		odf->column = 0;
	} else if (strcmp(name, "table-cell") == 0 || strcmp(name, "covered-table-cell") == 0) {
		if (odf->cells++ > 0)
			return;
		buf_clear(&odf->value);
		odf->repeated = repeats(attrs, "number-columns-repeated");
		odf->value_is_text = xml_attr(attrs, "value-type").len == 0 ||
				     str_eq_c(xml_attr(attrs, "value-type"), "string");
	} else if (strcmp(name, "p") == 0 && odf->value.len > 0) {
		buf_add_char(&odf->value, '\n');
	}
}

static void
sheet_end(struct odf *odf, const char *name)
{
	if (strcmp(name, "table-cell") == 0 || strcmp(name, "covered-table-cell") == 0) {
		if (--odf->cells > 0)
			return;
		table_out_cell(&odf->table, odf->column, str_make(odf->value.data, odf->value.len),
			       odf->value_is_text);
		odf->column += odf->repeated;
	} else if (strcmp(name, "table-row") == 0 && odf->cells == 0) {
		table_out_end_row(&odf->table);
	} else if (strcmp(name, "table") == 0 && odf->cells == 0) {
		table_out_finish(&odf->table);
		if (odf->flow.out.blocks.count == odf->blocks_before)
			parse_out_drop_last(&odf->flow.out);
	}
}

/* ---- texts and presentations ---- */

static void
begin_paragraph(struct odf *odf, int level)
{
	bool is_item = odf->items > 0 && level == 0 && !odf->is_title;

	if (odf->notes > 0 && odf->body == BODY_TEXT) {
		odf->flow.space = true;
		return;
	}
	if (odf->is_title) {
		if (odf->flow.out.is_open && odf->flow.kind == BLOCK_HEADING) {
			odf->flow.space = true;
			return;
		}
		level = 1;
	}
	flow_begin(&odf->flow,
		   level     ? BLOCK_HEADING
		   : is_item ? BLOCK_LIST_ITEM
			     : BLOCK_PARAGRAPH,
		   level);
	if (is_item && odf->flow.rows == 0)
		odf->flow.mark = odf->body == BODY_TEXT;
}

static int
level_of(const struct xml_attrs *attrs)
{
	int64_t level = 1;

	(void)str_to_i64(xml_attr(attrs, "outline-level"), 1, 10, &level);
	return level < LEVELS ? (int)level : LEVELS;
}

static void
add_spaces(struct odf *odf)
{
	if (odf->body == BODY_SPREADSHEET)
		buf_add_char(&odf->value, ' ');
	else
		flow_text(&odf->flow, STR(" "));
}

static void
text_start(struct odf *odf, const char *name, const struct xml_attrs *attrs)
{
	if (strcmp(name, "h") == 0) {
		begin_paragraph(odf, level_of(attrs));
	} else if (strcmp(name, "p") == 0) {
		begin_paragraph(odf, 0);
	} else if (strcmp(name, "list-item") == 0) {
		odf->items++;
	} else if (strcmp(name, "note") == 0 || strcmp(name, "notes") == 0) {
		odf->notes++;
	} else if (strcmp(name, "table-row") == 0) {
		flow_row(&odf->flow);
	} else if (strcmp(name, "table-cell") == 0) {
		flow_cell(&odf->flow);
	} else if (strcmp(name, "page") == 0 && odf->body == BODY_PRESENTATION) {
		odf->flow.out.page++;
		flow_end(&odf->flow);
	} else if (strcmp(name, "frame") == 0 && odf->body == BODY_PRESENTATION) {
		odf->is_title = str_eq_c(xml_attr(attrs, "class"), "title");
		odf->frame_depth = odf->depth;
		flow_begin(&odf->flow, BLOCK_PARAGRAPH, 0);
	}
}

static void
text_end(struct odf *odf, const char *name)
{
	if (strcmp(name, "list-item") == 0) {
		odf->items--;
	} else if (strcmp(name, "note") == 0 || strcmp(name, "notes") == 0) {
		odf->notes--;
		odf->flow.space = true;
	} else if (strcmp(name, "table-row") == 0) {
		flow_end_row(&odf->flow);
	} else if (strcmp(name, "frame") == 0 && odf->frame_depth == odf->depth) {
		odf->is_title = false;
		if (odf->body == BODY_PRESENTATION)
			flow_begin(&odf->flow, BLOCK_PARAGRAPH, 0);
	} else if ((strcmp(name, "p") == 0 || strcmp(name, "h") == 0) && odf->notes == 0 &&
		   !odf->is_title) {
		flow_begin(&odf->flow, BLOCK_PARAGRAPH, 0);
	}
}

/* ---- both ---- */

static bool
is_left_out(const struct odf *odf, const char *name, const struct xml_attrs *attrs)
{
	static const char *const names[] = { "tracked-changes", "annotation", "forms",
					     "note-citation",	"desc",	      "title",
					     "object",		"shapes" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return odf->body == BODY_SPREADSHEET && strcmp(name, "table") == 0 &&
	       str_eq_c(xml_attr(attrs, "display"), "false");
}

static void
on_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct odf *odf = user;

	odf->depth++;
	if (odf->skip_depth > 0)
		return;
	if (is_left_out(odf, name, attrs)) {
		odf->skip_depth = odf->depth;
		return;
	}
	if (strcmp(name, "spreadsheet") == 0)
		odf->body = BODY_SPREADSHEET;
	else if (strcmp(name, "presentation") == 0 || strcmp(name, "drawing") == 0)
		odf->body = BODY_PRESENTATION;
	if (odf->body == BODY_SPREADSHEET)
		sheet_start(odf, name, attrs);
	else
		text_start(odf, name, attrs);
	if (strcmp(name, "p") == 0 || strcmp(name, "h") == 0)
		odf->paragraphs++;
	else if (odf->paragraphs > 0 && (strcmp(name, "s") == 0 || strcmp(name, "tab") == 0))
		add_spaces(odf);
	else if (odf->paragraphs > 0 && strcmp(name, "line-break") == 0)
		flow_break(&odf->flow);
}

static void
on_end(void *user, const char *name)
{
	struct odf *odf = user;

	if (odf->skip_depth > 0) {
		if (odf->skip_depth == odf->depth)
			odf->skip_depth = 0;
	} else {
		if (strcmp(name, "p") == 0 || strcmp(name, "h") == 0)
			odf->paragraphs--;
		if (odf->body == BODY_SPREADSHEET)
			sheet_end(odf, name);
		else
			text_end(odf, name);
	}
	odf->depth--;
}

static void
on_text(void *user, struct str text)
{
	struct odf *odf = user;

	if (odf->paragraphs == 0 || odf->skip_depth > 0)
		return;
	if (odf->body != BODY_SPREADSHEET)
		flow_text(&odf->flow, text);
	else if (odf->cells > 0)
		buf_add(&odf->value, text.ptr, text.len);
}

static bool
go_on(void *user)
{
	const struct odf *odf = user;

	return flow_ok(&odf->flow);
}

/* An encrypted document has a content.xml of random bytes: the manifest says why. */
static bool
check_encryption(struct zip_archive *archive, struct arena *arena, struct err *err)
{
	struct str manifest;
	struct err ignored = ERR_INIT;
	size_t at;

	if (zip_part_read(archive, STR("META-INF/manifest.xml"), MANIFEST_MAX_BYTES, arena,
			  &manifest, &ignored) &&
	    str_find(manifest, STR("encryption-data"), &at))
		return err_set(err, ERR_BAD_DOCUMENT,
			       "cannot read the document: it is encrypted with a password");
	return true;
}

bool
read_odf(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	 struct parsed *out, struct err *err)
{
	struct zip_archive archive;
	struct odf odf = { .body = BODY_TEXT };
	const struct xml_handler handler = {
		.start = on_start, .end = on_end, .text = on_text, .go_on = go_on, .user = &odf
	};
	bool ok;

	if (!zip_archive_open(bytes, &archive, err) || !check_encryption(&archive, arena, err))
		return false;
	flow_init(&odf.flow, limits, arena);
	table_out_init(&odf.table, &odf.flow.out);
	buf_init(&odf.value, CELL_MAX_BYTES);
	ok = xml_read_part(&archive, STR("content.xml"), &handler, err) &&
	     flow_finish(&odf.flow, package_title(&archive, STR("meta.xml"), arena), arena, out,
			 err);
	buf_release(&odf.value);
	table_out_release(&odf.table);
	flow_release(&odf.flow);
	return ok;
}
