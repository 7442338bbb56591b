#include "cli/text.h"

#include <assert.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"

#define NARROWEST 8 /* columns that a cut cell keeps */

struct range {
	uint32_t first, last;
};

static bool
in_ranges(const struct range *ranges, size_t count, uint32_t cp)
{
	for (size_t i = 0; i < count; i++) {
		if (cp >= ranges[i].first && cp <= ranges[i].last)
			return true;
	}
	return false;
}

/* The blocks that matter in practice, not every line of Unicode's tables. */
int
text_char_columns(uint32_t cp)
{
	static const struct range none[] = {
		{ 0x0300, 0x036F }, { 0x0483, 0x0489 }, { 0x0591, 0x05BD },   { 0x064B, 0x065F },
		{ 0x093C, 0x093C }, { 0x094D, 0x094D }, { 0x0E34, 0x0E3A },   { 0x0E47, 0x0E4E },
		{ 0x1AB0, 0x1AFF }, { 0x1DC0, 0x1DFF }, { 0x200B, 0x200F },   { 0x20D0, 0x20FF },
		{ 0xFE00, 0xFE0F }, { 0xFE20, 0xFE2F }, { 0xE0100, 0xE01EF },
	};
	static const struct range wide[] = {
		{ 0x1100, 0x115F },   { 0x2E80, 0x303E },   { 0x3041, 0x33FF },
		{ 0x3400, 0x4DBF },   { 0x4E00, 0x9FFF },   { 0xA000, 0xA4CF },
		{ 0xA960, 0xA97F },   { 0xAC00, 0xD7A3 },   { 0xF900, 0xFAFF },
		{ 0xFE30, 0xFE6F },   { 0xFF00, 0xFF60 },   { 0xFFE0, 0xFFE6 },
		{ 0x1F300, 0x1F64F }, { 0x1F680, 0x1F6FF }, { 0x1F900, 0x1F9FF },
		{ 0x20000, 0x3FFFD },
	};

	if (cp < 0x300)
		return 1;
	if (in_ranges(none, ARRAY_SIZE(none), cp))
		return 0;
	return in_ranges(wide, ARRAY_SIZE(wide), cp) ? 2 : 1;
}

size_t
text_columns(struct str text)
{
	size_t columns = 0;

	for (size_t at = 0; at < text.len;) {
		uint32_t cp = 0;

		at += str_utf8_next(text, at, &cp);
		columns += (size_t)text_char_columns(cp);
	}
	return columns;
}

static bool
is_blank(uint32_t cp)
{
	return cp <= 0x20 || (cp >= 0x7f && cp <= 0xa0) || cp == 0x2028 || cp == 0x2029;
}

/* Controls of writing direction can make a line show what it does not say. */
static bool
is_direction(uint32_t cp)
{
	return (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0x200E ||
	       cp == 0x200F || cp == 0xFEFF;
}

static void
add_clean(struct buf *out, struct str text, bool keep_lines)
{
	bool blank = false;

	for (size_t at = 0; at < text.len;) {
		uint32_t cp = 0;
		char bytes[4];

		at += str_utf8_next(text, at, &cp);
		if (is_direction(cp))
			continue;
		if (keep_lines && cp == '\n') {
			buf_add_char(out, '\n');
			blank = true; /* white space at the start of a line goes */
		} else if (is_blank(cp)) {
			if (!blank)
				buf_add_char(out, ' ');
			blank = true;
		} else {
			buf_add(out, bytes, str_utf8_put(bytes, cp));
			blank = false;
		}
	}
}

void
text_add_line(struct buf *out, struct str text)
{
	add_clean(out, str_trim(text), false);
}

void
text_add_lines(struct buf *out, struct str text)
{
	add_clean(out, str_trim(text), true);
}

void
text_add_piece(struct buf *out, struct str text)
{
	for (size_t at = 0; at < text.len;) {
		uint32_t cp = 0;
		char bytes[4];

		at += str_utf8_next(text, at, &cp);
		if (cp == '\n')
			buf_add_char(out, '\n');
		else if (is_blank(cp))
			buf_add_char(out, ' ');
		else if (!is_direction(cp))
			buf_add(out, bytes, str_utf8_put(bytes, cp));
	}
}

static void
add_blanks(struct buf *out, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_add_char(out, ' ');
}

size_t
text_fitting(struct str text, size_t columns, size_t *out_columns)
{
	size_t used = 0, at = 0;

	while (at < text.len) {
		uint32_t cp = 0;
		size_t step = str_utf8_next(text, at, &cp);
		size_t width = (size_t)text_char_columns(cp);

		if (used + width > columns)
			break;
		used += width;
		at += step;
	}
	*out_columns = used;
	return at;
}

void
text_add_cell(struct buf *out, struct str text, size_t columns, bool pad)
{
	AUTO(buf) struct buf line = BUF_INIT(SIZE_MAX / 4);
	size_t used = 0;

	text_add_line(&line, text);
	text = str_make(line.data, line.len);
	if (text_columns(text) <= columns) {
		used = text_columns(text);
		buf_add(out, text.ptr, text.len);
	} else if (columns > 0) {
		buf_add(out, text.ptr, text_fitting(text, columns - 1, &used));
		buf_add_str(out, "…");
		used++;
	}
	if (pad)
		add_blanks(out, columns - used);
}

/* The end of the line that begins at 0: a break at a blank where one fits, else in the middle of a word. */
static size_t
line_end(struct str text, size_t columns)
{
	size_t used = 0;
	size_t end = text_fitting(text, columns, &used);
	size_t blank = end;

	if (end == text.len)
		return end;
	while (blank > 0 && text.ptr[blank] != ' ')
		blank--;
	if (blank > 0)
		return blank;
	return end > 0 ? end : text.len;
}

static void
add_paragraph(struct buf *out, struct str text, size_t columns, size_t indent)
{
	do {
		size_t end = line_end(text, columns);

		add_blanks(out, text.len > 0 ? indent : 0);
		buf_add(out, text.ptr, end);
		buf_add_char(out, '\n');
		while (end < text.len && text.ptr[end] == ' ')
			end++;
		text = str_sub(text, end, text.len);
	} while (text.len > 0);
}

void
text_add_wrapped(struct buf *out, struct str text, size_t columns, size_t indent)
{
	AUTO(buf) struct buf clean = BUF_INIT(SIZE_MAX / 4);
	struct str rest, line;

	text_add_lines(&clean, text);
	rest = str_make(clean.data, clean.len);
	columns = columns > indent + 20 ? columns - indent : 20;
	while (str_split(&rest, '\n', &line))
		add_paragraph(out, line, columns, indent);
}

void
text_add_count(struct buf *out, int64_t value)
{
	AUTO(buf) struct buf digits = BUF_INIT(32);

	buf_add_i64(&digits, value);
	for (size_t i = 0; i < digits.len; i++) {
		if (i > 0 && (digits.len - i) % 3 == 0 && digits.data[i - 1] != '-')
			buf_add_char(out, ',');
		buf_add_char(out, digits.data[i]);
	}
}

void
text_add_duration(struct buf *out, int64_t seconds)
{
	long long s = seconds < 0 ? 0 : seconds;

	if (s >= 3600)
		buf_printf(out, "%lld:", s / 3600);
	buf_printf(out, "%02lld:%02lld", s / 60 % 60, s % 60);
}

void
text_add_age(struct buf *out, int64_t seconds)
{
	long long s = seconds < 0 ? 0 : seconds;

	if (s < 60)
		buf_printf(out, "%llds", s);
	else if (s < 3600)
		buf_printf(out, "%lldm", s / 60);
	else if (s < 86400)
		buf_printf(out, "%lldh", s / 3600);
	else
		buf_printf(out, "%lldd", s / 86400);
}

bool
text_parse_age(struct str text, int64_t *out_seconds)
{
	static const struct {
		char letter;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	int64_t count = 0;

	for (size_t i = 0; text.len > 0 && i < ARRAY_SIZE(units); i++) {
		if (text.ptr[text.len - 1] != units[i].letter)
			continue;
		if (!str_to_i64(str_sub(text, 0, text.len - 1), 1, 1000000, &count))
			return false;
		*out_seconds = count * units[i].seconds;
		return true;
	}
	return false;
}

/* ---- tables ---- */

void
text_table_init(struct text_table *table, const char *const *heads, size_t count, size_t flexible)
{
	assert(count > 0 && count <= TEXT_TABLE_MAX_COLUMNS);
	*table = (struct text_table){ .heads = heads, .column_count = count, .flexible = flexible };
}

void
text_table_release(struct text_table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		mem_free(table->cells[i]);
	mem_free(table->cells);
	table->cells = NULL;
	table->cell_count = table->cell_room = 0;
}

void
text_table_add(struct text_table *table, struct str cell)
{
	AUTO(buf) struct buf line = BUF_INIT(SIZE_MAX / 4);

	if (table->cell_count == table->cell_room) {
		table->cell_room = table->cell_room ? 2 * table->cell_room : 64;
		table->cells = mem_grow(table->cells, table->cell_room, sizeof(*table->cells));
	}
	text_add_line(&line, cell);
	table->cells[table->cell_count++] = mem_strndup(line.data, line.len);
}

void
text_table_add_right(struct text_table *table, struct str cell)
{
	table->right |= 1u << (table->cell_count % table->column_count);
	text_table_add(table, cell);
}

void
text_table_add_int(struct text_table *table, int64_t value)
{
	AUTO(buf) struct buf text = BUF_INIT(32);

	buf_add_i64(&text, value);
	text_table_add_right(table, str_make(text.data, text.len));
}

static const char *
cell_at(const struct text_table *table, size_t row, size_t column)
{
	return row == 0 ? table->heads[column]
			: table->cells[(row - 1) * table->column_count + column];
}

static size_t
row_count(const struct text_table *table)
{
	return 1 + table->cell_count / table->column_count;
}

/* How wide the columns must be, and then may be. */
static void
measure(const struct text_table *table, size_t columns, size_t *widths)
{
	size_t count = table->column_count, sum = 2 * (count - 1);
	size_t *flexible = &widths[table->flexible];

	for (size_t c = 0; c < count; c++) {
		for (size_t r = 0; r < row_count(table); r++) {
			size_t width = text_columns(str_of(cell_at(table, r, c)));

			if (width > widths[c])
				widths[c] = width;
		}
		sum += widths[c];
	}
	if (columns == 0 || sum <= columns)
		return;
	if (*flexible > NARROWEST) {
		size_t before = *flexible, over = sum - columns;

		*flexible = before - NARROWEST > over ? before - over : NARROWEST;
		sum -= before - *flexible;
	}
	while (table->tight && sum > columns) {
		size_t widest = 0;

		for (size_t c = 1; c < count; c++)
			if (widths[c] > widths[widest])
				widest = c;
		if (widths[widest] <= NARROWEST)
			return;
		widths[widest]--;
		sum--;
	}
}

static void
add_row(const struct text_table *table, const size_t *widths, size_t row, struct buf *out)
{
	AUTO(buf) struct buf line = BUF_INIT(SIZE_MAX / 4);

	for (size_t c = 0; c < table->column_count; c++) {
		struct str cell = str_of(cell_at(table, row, c));
		bool right = table->right >> c & 1;
		size_t width = text_columns(cell);

		if (right && width < widths[c])
			add_blanks(&line, widths[c] - width);
		text_add_cell(&line, cell, widths[c], !right && c + 1 < table->column_count);
		if (c + 1 < table->column_count)
			buf_add_str(&line, "  ");
	}
	while (line.len > 0 && line.data[line.len - 1] == ' ')
		buf_truncate(&line, line.len - 1);
	buf_add(out, line.data, line.len);
	buf_add_char(out, '\n');
}

void
text_table_format(const struct text_table *table, size_t columns, struct buf *out)
{
	size_t widths[TEXT_TABLE_MAX_COLUMNS] = { 0 };

	measure(table, columns, widths);
	for (size_t r = 0; r < row_count(table); r++)
		add_row(table, widths, r, out);
}

void
text_table_print(const struct text_table *table, size_t columns, FILE *out)
{
	AUTO(buf) struct buf text = BUF_INIT(SIZE_MAX / 4);

	text_table_format(table, columns, &text);
	(void)fputs(text.data, out);
}
