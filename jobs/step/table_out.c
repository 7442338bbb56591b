#include "jobs/step/table_out.h"

#include <string.h>

#include "common/base/mem.h"

#define LINE_MAX_BYTES 400 /* a record longer than this is set as lines */
#define LABEL_MAX_BYTES 200
#define ROW_MAX_BYTES ((size_t)64 << 20)

static void
cells_init(struct table_cells *cells)
{
	*cells = (struct table_cells){ .count = 0 };
	buf_init(&cells->text, ROW_MAX_BYTES);
}

static void
cells_release(struct table_cells *cells)
{
	buf_release(&cells->text);
	mem_free(cells->items);
	*cells = (struct table_cells){ .count = 0 };
}

static void
cells_clear(struct table_cells *cells)
{
	buf_clear(&cells->text);
	cells->count = 0;
}

static struct str
cell_text(const struct table_cells *cells, size_t i)
{
	return str_sub(str_make(cells->text.data, cells->text.len), cells->items[i].start,
		       cells->items[i].end);
}

void
table_out_init(struct table_out *table, struct parse_out *out)
{
	*table = (struct table_out){ .out = out };
	cells_init(&table->header);
	cells_init(&table->row);
}

void
table_out_release(struct table_out *table)
{
	cells_release(&table->header);
	cells_release(&table->row);
}

static void write_record(struct table_out *table);

void
table_out_finish(struct table_out *table)
{
	if (table->header.count > 0 && !table->header_used) {
		struct table_cells header = table->header;

		table->header = table->row;
		table->row = header;
		cells_clear(&table->header);
		write_record(table);
		cells_clear(&table->row);
	}
	parse_out_end(table->out);
}

void
table_out_begin(struct table_out *table)
{
	table_out_finish(table);
	table->header_used = false;
	cells_clear(&table->header);
	cells_clear(&table->row);
	table->header_known = false;
}

void
table_out_cell(struct table_out *table, size_t column, struct str text, bool is_text)
{
	struct table_cells *cells = &table->row;
	size_t start = cells->text.len;

	text = str_trim(text);
	if (text.len == 0 || column >= TABLE_COLUMNS_MAX ||
	    (cells->count > 0 && cells->items[cells->count - 1].column >= column))
		return;
	buf_add(&cells->text, text.ptr, text.len);
	if (!buf_ok(&cells->text)) {
		table->out->text.failed = true; /* more than any text may hold */
		return;
	}
	if (cells->count == cells->cap) {
		cells->cap = cells->cap ? cells->cap * 2 : 16;
		cells->items = mem_grow(cells->items, cells->cap, sizeof(*cells->items));
	}
	cells->items[cells->count++] = (struct table_cell){
		.column = column, .start = start, .end = cells->text.len, .is_text = is_text
	};
}

/* Labels are short and on one line. */
static bool
is_header(const struct table_cells *row)
{
	for (size_t i = 0; i < row->count; i++) {
		struct str text = cell_text(row, i);

		if (!row->items[i].is_text || text.len > LABEL_MAX_BYTES ||
		    memchr(text.ptr, '\n', text.len))
			return false;
		/* of many columns only neighbours are compared: it is a heuristic, and must be linear */
		for (size_t k = i > 8 ? i - 8 : 0; k < i; k++)
			if (str_eq(cell_text(row, k), text))
				return false;
	}
	return true;
}

/* With line breaks as blanks. */
static void
add_line(struct parse_out *out, struct str text)
{
	struct str line;
	bool first = true;

	while (str_split(&text, '\n', &line)) {
		line = str_trim(line);
		if (line.len == 0)
			continue;
		if (!first)
			parse_out_add(out, STR(" "));
		parse_out_add(out, line);
		first = false;
	}
}

/* *at: of the header, for ascending columns. */
static struct str
label_of(const struct table_out *table, size_t column, size_t *at)
{
	const struct table_cells *header = &table->header;

	while (*at < header->count && header->items[*at].column < column)
		(*at)++;
	return *at < header->count && header->items[*at].column == column ? cell_text(header, *at)
									  : STR("");
}

static void
write_record(struct table_out *table)
{
	const struct table_cells *row = &table->row;
	bool is_long = row->text.len > LINE_MAX_BYTES;
	size_t at = 0;

	parse_out_begin(table->out, is_long ? BLOCK_PARAGRAPH : BLOCK_TABLE_ROW, 0);
	for (size_t i = 0; i < row->count && parse_out_ok(table->out); i++) {
		struct str label = label_of(table, row->items[i].column, &at);

		if (i > 0)
			parse_out_add(table->out, is_long ? STR("\n") : STR(" | "));
		if (label.len > 0) {
			parse_out_add(table->out, label);
			parse_out_add(table->out, STR(": "));
		}
		add_line(table->out, cell_text(row, i));
	}
	parse_out_end(table->out);
}

void
table_out_end_row(struct table_out *table)
{
	struct table_cells *row = &table->row;

	if (row->count == 0)
		return;
	if (!table->header_known && row->count == 1) {
		parse_out_begin(table->out, BLOCK_PARAGRAPH, 0);
		add_line(table->out, cell_text(row, 0));
		parse_out_end(table->out);
	} else if (!table->header_known && is_header(row)) {
		const struct table_cells swap = table->header;

		table->header = *row;
		*row = swap;
		table->header_known = true;
	} else {
		table->header_known = table->header_used = true;
		write_record(table);
	}
	cells_clear(row);
}
