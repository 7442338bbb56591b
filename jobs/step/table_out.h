/*
 * table_out: rows of cells written so that each says what its values are: "Name: Bolt | Price: 3.20".
 *
 * For CSV, workbooks and spreadsheets. The first row of two cells or more is the header if every cell in it is a text
 * and no two are the same; rows before it that have one cell are paragraphs (a caption). Without a header a row is its
 * cells, joined. A record that is long is a paragraph with a line for each value. Empty cells and rows leave
 * nothing. Memory: the header and one row. One thread.
 */
#ifndef RAG_JOBS_STEP_TABLE_OUT_H
#define RAG_JOBS_STEP_TABLE_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "jobs/step/parse_out.h"

#define TABLE_COLUMNS_MAX 16384

struct table_cell {
	size_t column, start, end; /* bytes of `text` */
	bool is_text;		   /* no number, date or truth value */
};

struct table_cells {
	struct buf text;
	struct table_cell *items; /* owned; ascending columns */
	size_t count, cap;
};

struct table_out {
	struct parse_out *out; /* borrowed */
	struct table_cells header, row;
	bool header_known; /* found, or there is none */
	bool header_used;  /* a record followed it */
};

void table_out_init(struct table_out *table, struct parse_out *out);
void table_out_release(struct table_out *table);
/* The table is over: a header that no record followed is a row. Also called by table_out_begin. */
void table_out_finish(struct table_out *table);
/* Another table begins: forgets the header. */
void table_out_begin(struct table_out *table);
/* Columns from 0, ascending within a row; at or above TABLE_COLUMNS_MAX they are dropped. */
void table_out_cell(struct table_out *table, size_t column, struct str text, bool is_text);
void table_out_end_row(struct table_out *table);

#endif
