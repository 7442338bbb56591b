/*
 * parse_csv: a table in text (RFC 4180, and what else calls itself CSV).
 *
 * The separator is the one of , ; tab | that the first lines have most of, outside quotes. A quote counts only at the
 * start of a field; inside, two are one. A quote that never closes would make one value of the rest of the table:
 * that is an error. What the rows become is table_out's; a table that is only a header is a row after all.
 */
#include <string.h>

#include "jobs/step/parse.h"
#include "jobs/step/table_out.h"

#define LOOKED_AT_BYTES ((size_t)16384)
#define DEADLINE_ROWS 4096

struct csv {
	struct str text;
	size_t at;
	char separator;
	struct buf field; /* of a quoted one */
	struct table_out table;
	size_t records;
};

static char
find_separator(struct str text)
{
	static const char candidates[] = { ',', ';', '\t', '|' };
	size_t counts[sizeof(candidates)] = { 0 }, best = 0;
	bool quoted = false;

	text = str_sub(text, 0, LOOKED_AT_BYTES);
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"')
			quoted = !quoted;
		for (size_t k = 0; k < sizeof(candidates) && !quoted; k++)
			counts[k] += text.ptr[i] == candidates[k];
	}
	for (size_t k = 1; k < sizeof(candidates); k++)
		if (counts[k] > counts[best])
			best = k;
	return candidates[best];
}

/* A value that is no number. */
static bool
is_words(struct str text)
{
	static const char figures[] = "0123456789.,:-+/% ";

	for (size_t i = 0; i < text.len; i++)
		if (!memchr(figures, text.ptr[i], sizeof(figures) - 1))
			return true;
	return false;
}

/* From the quote at csv->at to behind its end. */
static bool
quoted_field(struct csv *csv, struct err *err)
{
	buf_clear(&csv->field);
	for (csv->at++; csv->at < csv->text.len; csv->at++) {
		char c = csv->text.ptr[csv->at];

		if (c == '"') {
			csv->at++;
			if (csv->at >= csv->text.len || csv->text.ptr[csv->at] != '"')
				return buf_check(&csv->field, "a field", err);
		}
		buf_add_char(&csv->field, c);
	}
	return err_set(err, ERR_BAD_DOCUMENT,
		       "cannot read the table: a quote of record %zu never closes",
		       csv->records + 1);
}

static size_t
plain_end(const struct csv *csv)
{
	size_t end = csv->at;

	while (end < csv->text.len && csv->text.ptr[end] != csv->separator &&
	       csv->text.ptr[end] != '\n')
		end++;
	return end;
}

static bool
read_record(struct csv *csv, struct err *err)
{
	for (size_t column = 0;; column++) {
		struct str value, rest;

		value = STR("");
		if (csv->at < csv->text.len && csv->text.ptr[csv->at] == '"') {
			if (!quoted_field(csv, err))
				return false;
			value = str_make(csv->field.data, csv->field.len);
		}
		rest = str_sub(csv->text, csv->at, plain_end(csv));
		csv->at += rest.len;
		if (value.len == 0)
			value = rest;
		table_out_cell(&csv->table, column, value, is_words(str_trim(value)));
		if (csv->at >= csv->text.len || csv->text.ptr[csv->at++] == '\n')
			break;
	}
	csv->records++;
	table_out_end_row(&csv->table);
	return true;
}

static bool
read_all(struct csv *csv, const struct parse_limits *limits, struct err *err)
{
	while (csv->at < csv->text.len && parse_out_ok(csv->table.out)) {
		if (!read_record(csv, err) ||
		    (csv->records % DEADLINE_ROWS == 0 && !parse_deadline(limits, err)))
			return false;
	}
	table_out_finish(&csv->table);
	return true;
}

bool
parse_csv(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	  struct parsed *out, struct err *err)
{
	struct csv csv = { .text = bytes, .separator = find_separator(bytes) };
	struct parse_out text;
	bool ok;

	parse_out_init(&text, limits, arena);
	buf_init(&csv.field, limits->max_text_bytes);
	table_out_init(&csv.table, &text);
	ok = read_all(&csv, limits, err) && parse_out_finish(&text, STR(""), arena, out, err);
	table_out_release(&csv.table);
	buf_release(&csv.field);
	parse_out_release(&text);
	return ok;
}
