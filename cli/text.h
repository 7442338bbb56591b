/*
 * text: text on a terminal: columns, cutting, and making foreign text harmless. Pure but for the print
 * functions.
 */
#ifndef RAG_CLI_TEXT_H
#define RAG_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/str.h"

/* Columns of one character: 0 for combining marks, 2 for East Asian wide ones and emoji. */
int text_char_columns(uint32_t cp);
size_t text_columns(struct str text);

/* Appends text as one line: control characters and white space become one blank, broken bytes U+FFFD;
 * bidirectional controls are dropped. */
void text_add_line(struct buf *out, struct str text);
/* The same, but lines stay lines. */
void text_add_lines(struct buf *out, struct str text);
/* A piece of a text that goes on: harmless too, but every blank and line end stays. */
void text_add_piece(struct buf *out, struct str text);

/* Appends a line cut to at most `columns`, with "…" at the end where something is missing, and padded
 * with blanks to `columns` when pad is set. */
void text_add_cell(struct buf *out, struct str text, size_t columns, bool pad);

/* Appends text word-wrapped to `columns`, each line after `indent` blanks; lines of the text are kept. */
void text_add_wrapped(struct buf *out, struct str text, size_t columns, size_t indent);

/* 1234567 -> "1,234,567" */
void text_add_count(struct buf *out, int64_t value);
/* 3723 s -> "1:02:03", 65 -> "01:05" */
void text_add_duration(struct buf *out, int64_t seconds);
/* "3s", "5m", "2h", "4d" */
void text_add_age(struct buf *out, int64_t seconds);
/* The same the other way round: "90s", "30m", "12h", "7d", "2w"; false when it is none, or of no time at all. */
bool text_parse_age(struct str text, int64_t *out_seconds);

/* Bytes of the longest beginning of the text that fits; *out_columns is what it takes. */
size_t text_fitting(struct str text, size_t columns, size_t *out_columns);

/* A table: cells are added row by row; printing makes the columns as wide as they need to be, and cuts
 * the one marked `flexible` so that a row fits `columns` (0 = no limit); when that does not suffice, and the table is
 * `tight`, the widest ones too. Numbers stand right. */
#define TEXT_TABLE_MAX_COLUMNS 12

struct text_table {
	const char *const *heads; /* borrowed */
	size_t column_count;
	size_t flexible;
	bool tight;
	unsigned right; /* columns with numbers, one bit each */
	char **cells;	/* owned, row by row */
	size_t cell_count, cell_room;
};

void text_table_init(struct text_table *table, const char *const *heads, size_t count,
		     size_t flexible);
void text_table_release(struct text_table *table);
void text_table_add(struct text_table *table, struct str cell);
void text_table_add_int(struct text_table *table, int64_t value);
void text_table_add_right(struct text_table *table, struct str cell);
/* Lines with their '\n', the heads first. */
void text_table_format(const struct text_table *table, size_t columns, struct buf *out);
void text_table_print(const struct text_table *table, size_t columns, FILE *out);

#endif
