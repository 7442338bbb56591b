/*
 * xlsx: workbooks (OOXML spreadsheetml). Each visible sheet is a section under its name; its number is its page.
 *
 * A row becomes a record of "column: value" (table_out.h). Values are what is stored: texts, numbers as written, dates (by
 * the cell's number format) as ISO 8601, TRUE and FALSE, results of formulas. Left out: hidden sheets, comments,
 * charts, formulas themselves, error values. Rows without values cost nothing but their reading, whatever numbers they
 * claim; a column past XFD is dropped.
 */
#include <math.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "jobs/convert/package.h"
#include "jobs/convert/readers.h"
#include "jobs/step/table_out.h"

#define SHEETS_MAX 1000
#define FORMATS_MAX 10000
#define SHARED_MAX ((size_t)4 << 20)
#define VALUE_MAX_BYTES ((size_t)32768 * 4) /* Excel's own limit of characters */
#define DAY_MS 86400000.0
#define DAYS_1899 25569.0 /* from 1899-12-30 to 1970-01-01 */
#define DAYS_1904 24107.0 /* from 1904-01-01 */

struct sheet {
	struct str name, id;
	bool hidden;
};

struct shared {
	struct buf text;
	size_t *ends; /* owned; of each string */
	size_t count, cap;
};

enum cell_kind { CELL_NUMBER, CELL_SHARED, CELL_TEXT, CELL_BOOL, CELL_ERROR };

struct xlsx {
	struct parse_out out;
	struct table_out table;
	struct arena *arena;
	struct zip_archive archive;
	struct sheet *sheets; /* arena */
	size_t sheet_count;
	bool is_1904;
	struct shared shared;
	/* number formats: which ids mean a date, and the format of each cell style */
	bool *date_formats; /* arena, FORMATS_MAX */
	bool *date_styles;  /* arena, FORMATS_MAX */
	size_t style_count;
	bool in_styles;

	/* the cell at hand */
	enum cell_kind kind;
	size_t column;
	bool is_date;
	struct buf value;
	size_t values, texts, phonetics; /* open elements */
};

static struct str
keep(struct xlsx *xlsx, struct str text)
{
	char *copy = arena_strndup(xlsx->arena, text.ptr ? text.ptr : "", text.len);

	return copy ? str_make(copy, text.len) : STR("");
}

/* ---- the workbook ---- */

static void
workbook_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct xlsx *xlsx = user;
	struct str state = xml_attr(attrs, "state");

	if (strcmp(name, "workbookPr") == 0)
		(void)str_to_bool(xml_attr(attrs, "date1904"), &xlsx->is_1904);
	if (strcmp(name, "sheet") != 0 || xlsx->sheet_count == SHEETS_MAX)
		return;
	xlsx->sheets[xlsx->sheet_count++] = (struct sheet){
		.name = keep(xlsx, xml_attr(attrs, "name")),
		.id = keep(xlsx, xml_attr(attrs, "id")),
		.hidden = str_eq_c(state, "hidden") || str_eq_c(state, "veryHidden"),
	};
}

/* ---- number formats ---- */

static bool
is_date_code(struct str code)
{
	bool quoted = false, bracket = false;

	for (size_t i = 0; i < code.len; i++) {
		char c = code.ptr[i];

		if (c == '"')
			quoted = !quoted;
		else if (c == '[' || c == ']')
			bracket = c == '[';
		else if (c == '\\' || c == '_' || c == '*')
			i++; /* the next character is itself */
		else if (!quoted && !bracket && c != '\0' && strchr("ymdhsYMDHS", c))
			return true;
	}
	return false;
}

static void
style_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct xlsx *xlsx = user;
	int64_t id = 0;

	if (strcmp(name, "numFmt") == 0 &&
	    str_to_i64(xml_attr(attrs, "numFmtId"), 0, FORMATS_MAX - 1, &id))
		xlsx->date_formats[id] = is_date_code(xml_attr(attrs, "formatCode"));
	else if (strcmp(name, "cellXfs") == 0)
		xlsx->in_styles = true;
	else if (strcmp(name, "xf") == 0 && xlsx->in_styles && xlsx->style_count < FORMATS_MAX)
		xlsx->date_styles[xlsx->style_count++] =
			str_to_i64(xml_attr(attrs, "numFmtId"), 0, FORMATS_MAX - 1, &id) &&
			xlsx->date_formats[id];
}

static void
style_end(void *user, const char *name)
{
	struct xlsx *xlsx = user;

	if (strcmp(name, "cellXfs") == 0)
		xlsx->in_styles = false;
}

static bool
read_styles(struct xlsx *xlsx, struct str part, struct err *err)
{
	const struct xml_handler handler = { .start = style_start, .end = style_end, .user = xlsx };

	/* the formats that Excel has built in: dates and times */
	for (size_t id = 14; id <= 47; id++)
		xlsx->date_formats[id] = id <= 22 || (id >= 27 && id <= 36) || id >= 45;
	return xml_read_part(&xlsx->archive, part, &handler, err);
}

/* ---- shared strings ---- */

static void
shared_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct xlsx *xlsx = user;

	(void)attrs;
	xlsx->texts += strcmp(name, "t") == 0;
	xlsx->phonetics += strcmp(name, "rPh") == 0;
}

static void
shared_end(void *user, const char *name)
{
	struct xlsx *xlsx = user;
	struct shared *shared = &xlsx->shared;

	if (strcmp(name, "t") == 0)
		xlsx->texts--;
	else if (strcmp(name, "rPh") == 0)
		xlsx->phonetics--;
	if (strcmp(name, "si") != 0 || shared->count == SHARED_MAX)
		return;
	if (shared->count == shared->cap) {
		shared->cap = shared->cap ? shared->cap * 2 : 1024;
		shared->ends = mem_grow(shared->ends, shared->cap, sizeof(*shared->ends));
	}
	shared->ends[shared->count++] = shared->text.len;
}

static void
shared_text(void *user, struct str text)
{
	struct xlsx *xlsx = user;

	if (xlsx->texts > 0 && xlsx->phonetics == 0)
		buf_add(&xlsx->shared.text, text.ptr, text.len);
}

static bool
shared_go_on(void *user)
{
	const struct xlsx *xlsx = user;

	return buf_ok(&xlsx->shared.text);
}

static bool
read_shared(struct xlsx *xlsx, struct str part, struct err *err)
{
	const struct xml_handler handler = { .start = shared_start,
					     .end = shared_end,
					     .text = shared_text,
					     .go_on = shared_go_on,
					     .user = xlsx };

	return xml_read_part(&xlsx->archive, part, &handler, err) &&
	       buf_check(&xlsx->shared.text, "the workbook's texts", err);
}

/* ---- cells ---- */

/* "BC12" is column 54; false when there are no letters. */
static bool
column_of(struct str reference, size_t *out)
{
	size_t column = 0, i = 0;

	for (; i < reference.len && i < 4; i++) {
		char c = reference.ptr[i];

		if (c < 'A' || c > 'Z')
			break;
		column = column * 26 + (size_t)(c - 'A') + 1;
	}
	if (i == 0)
		return false;
	*out = column - 1;
	return true;
}

static enum cell_kind
kind_of(struct str type)
{
	if (str_eq_c(type, "s"))
		return CELL_SHARED;
	if (str_eq_c(type, "str") || str_eq_c(type, "inlineStr") || str_eq_c(type, "d"))
		return CELL_TEXT;
	if (str_eq_c(type, "b"))
		return CELL_BOOL;
	return str_eq_c(type, "e") ? CELL_ERROR : CELL_NUMBER;
}

static void
begin_cell(struct xlsx *xlsx, const struct xml_attrs *attrs)
{
	int64_t style = 0;

	if (!column_of(xml_attr(attrs, "r"), &xlsx->column))
		xlsx->column++; /* the one after the cell before */
	xlsx->kind = kind_of(xml_attr(attrs, "t"));
	xlsx->is_date = str_to_i64(xml_attr(attrs, "s"), 0, FORMATS_MAX - 1, &style) &&
			(size_t)style < xlsx->style_count && xlsx->date_styles[style];
	buf_clear(&xlsx->value);
}

static void
date_cell(struct xlsx *xlsx, double serial)
{
	char iso[CLOCK_ISO_BYTES];
	double days = serial - (xlsx->is_1904 ? DAYS_1904 : DAYS_1899);
	struct str text;

	clock_format_iso(iso, (int64_t)llround(days * DAY_MS / 1000.0) * 1000);
	text = str_of(iso);
	if (serial < 1) /* a time of day */
		text = str_sub(text, 11, 16);
	else if (serial == floor(serial))
		text = str_sub(text, 0, 10);
	else
		text = str_sub(text, 0, 16);
	table_out_cell(&xlsx->table, xlsx->column, text, false);
}

static void
end_cell(struct xlsx *xlsx)
{
	struct str value = str_make(xlsx->value.data, xlsx->value.len);
	const struct shared *shared = &xlsx->shared;
	double number = 0;
	int64_t index;

	switch (xlsx->kind) {
	case CELL_SHARED:
		if (shared->count > 0 && str_to_i64(value, 0, (int64_t)shared->count - 1, &index)) {
			size_t start = index > 0 ? shared->ends[index - 1] : 0;

			table_out_cell(&xlsx->table, xlsx->column,
				       str_sub(str_make(shared->text.data, shared->text.len), start,
					       shared->ends[index]),
				       true);
		}
		return;
	case CELL_TEXT:
		table_out_cell(&xlsx->table, xlsx->column, value, true);
		return;
	case CELL_BOOL:
		table_out_cell(&xlsx->table, xlsx->column,
			       str_eq_c(value, "0") ? STR("FALSE") : STR("TRUE"), false);
		return;
	case CELL_NUMBER:
		if (xlsx->is_date && str_to_f64(value, &number) && number >= 0 && number < 2958466)
			date_cell(xlsx, number);
		else
			table_out_cell(&xlsx->table, xlsx->column, value, false);
		return;
	case CELL_ERROR:
		return;
	}
}

static void
sheet_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct xlsx *xlsx = user;

	if (strcmp(name, "row") == 0)
		xlsx->column = SIZE_MAX;
	else if (strcmp(name, "c") == 0)
		begin_cell(xlsx, attrs);
	else if (strcmp(name, "v") == 0)
		xlsx->values++;
	else if (strcmp(name, "t") == 0)
		xlsx->texts++;
	else if (strcmp(name, "rPh") == 0)
		xlsx->phonetics++;
}

static void
sheet_end(void *user, const char *name)
{
	struct xlsx *xlsx = user;

	if (strcmp(name, "row") == 0)
		table_out_end_row(&xlsx->table);
	else if (strcmp(name, "c") == 0)
		end_cell(xlsx);
	else if (strcmp(name, "v") == 0)
		xlsx->values--;
	else if (strcmp(name, "t") == 0)
		xlsx->texts--;
	else if (strcmp(name, "rPh") == 0)
		xlsx->phonetics--;
}

static void
sheet_text(void *user, struct str text)
{
	struct xlsx *xlsx = user;

	if (xlsx->values > 0 || (xlsx->texts > 0 && xlsx->phonetics == 0))
		buf_add(&xlsx->value, text.ptr, text.len);
}

static bool
sheet_go_on(void *user)
{
	const struct xlsx *xlsx = user;

	return parse_out_ok(&xlsx->out);
}

static bool
read_sheet(struct xlsx *xlsx, const struct sheet *sheet, struct str part, struct err *err)
{
	const struct xml_handler handler = { .start = sheet_start,
					     .end = sheet_end,
					     .text = sheet_text,
					     .go_on = sheet_go_on,
					     .user = xlsx };
	size_t blocks;

	xlsx->values = xlsx->texts = xlsx->phonetics = 0;
	table_out_begin(&xlsx->table);
	parse_out_begin(&xlsx->out, BLOCK_HEADING, 1);
	parse_out_add(&xlsx->out, str_trim(sheet->name));
	parse_out_end(&xlsx->out);
	blocks = xlsx->out.blocks.count;
	if (!xml_read_part(&xlsx->archive, part, &handler, err))
		return false;
	table_out_finish(&xlsx->table);
	if (xlsx->out.blocks.count == blocks)
		parse_out_drop_last(&xlsx->out); /* an empty sheet says nothing */
	return true;
}

/* ---- all of it ---- */

static bool
prepare(struct xlsx *xlsx, const struct relations *relations, struct str workbook, struct err *err)
{
	const struct xml_handler handler = { .start = workbook_start, .user = xlsx };
	const struct relation *styles = relation_by_type(relations, "styles");
	const struct relation *shared = relation_by_type(relations, "sharedStrings");

	xlsx->sheets = arena_array(xlsx->arena, SHEETS_MAX, sizeof(*xlsx->sheets));
	xlsx->date_formats = arena_array(xlsx->arena, FORMATS_MAX, sizeof(bool));
	xlsx->date_styles = arena_array(xlsx->arena, FORMATS_MAX, sizeof(bool));
	if (!xlsx->sheets || !xlsx->date_formats || !xlsx->date_styles)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the workbook's sheets");
	return xml_read_part(&xlsx->archive, workbook, &handler, err) &&
	       (!styles || !zip_part_exists(&xlsx->archive, styles->target) ||
		read_styles(xlsx, styles->target, err)) &&
	       (!shared || !zip_part_exists(&xlsx->archive, shared->target) ||
		read_shared(xlsx, shared->target, err));
}

static bool
read_all(struct xlsx *xlsx, struct err *err)
{
	struct relations package, relations;
	const struct relation *main_part;
	struct str workbook;

	if (!package_relations(&xlsx->archive, STR(""), xlsx->arena, &package, err))
		return false;
	main_part = relation_by_type(&package, "officeDocument");
	workbook = main_part ? main_part->target : STR("xl/workbook.xml");
	if (!package_relations(&xlsx->archive, workbook, xlsx->arena, &relations, err) ||
	    !prepare(xlsx, &relations, workbook, err))
		return false;
	for (size_t i = 0; i < xlsx->sheet_count && parse_out_ok(&xlsx->out); i++) {
		const struct sheet *sheet = &xlsx->sheets[i];
		const struct relation *part = relation_by_id(&relations, sheet->id);

		xlsx->out.page++;
		/* a sheet may be a chart */
		if (sheet->hidden || (part && !str_eq_c(part->type, "worksheet")))
			continue;
		if (!part)
			return err_set(err, ERR_BAD_DOCUMENT,
				       "cannot read the workbook: its sheet %zu is not there",
				       i + 1);
		if (!read_sheet(xlsx, sheet, part->target, err))
			return false;
	}
	return true;
}

bool
read_xlsx(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	  struct parsed *out, struct err *err)
{
	struct xlsx xlsx = { .arena = arena };
	bool ok;

	if (!zip_archive_open(bytes, &xlsx.archive, err))
		return false;
	parse_out_init(&xlsx.out, limits, arena);
	table_out_init(&xlsx.table, &xlsx.out);
	buf_init(&xlsx.value, VALUE_MAX_BYTES);
	buf_init(&xlsx.shared.text, limits->max_text_bytes);
	ok = read_all(&xlsx, err) &&
	     parse_out_finish(&xlsx.out,
			      package_title(&xlsx.archive, STR("docProps/core.xml"), arena), arena,
			      out, err);
	buf_release(&xlsx.value);
	buf_release(&xlsx.shared.text);
	mem_free(xlsx.shared.ends);
	table_out_release(&xlsx.table);
	parse_out_release(&xlsx.out);
	return ok;
}
