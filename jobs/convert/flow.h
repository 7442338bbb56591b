/*
 * flow: running text of office documents on its way into blocks: white space folded, a block begun by its first visible
 * character, rows of tables as one block with " | " between cells. What stands in a table row (paragraphs, lists, tables
 * in cells) stays in the row. One thread.
 */
#ifndef RAG_JOBS_CONVERT_FLOW_H
#define RAG_JOBS_CONVERT_FLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "jobs/step/parse_out.h"

struct flow {
	struct parse_out out;
	enum block_kind kind; /* of the next block */
	int level;
	bool mark; /* the next block is a list item that gets "- " */
	size_t rows;
	bool space, newline, cell; /* what must come before the next character */
};

void flow_init(struct flow *flow, const struct parse_limits *limits, const struct arena *arena);
void flow_release(struct flow *flow);

/* Another paragraph; ends the open block, or sets a blank in a row. */
void flow_begin(struct flow *flow, enum block_kind kind, int level);
void flow_row(struct flow *flow);
void flow_cell(struct flow *flow);
void flow_end_row(struct flow *flow);
void flow_text(struct flow *flow, struct str text);
void flow_break(struct flow *flow); /* a new line in the block */
void flow_end(struct flow *flow);
bool flow_ok(const struct flow *flow);

/* title: of the document's properties; "" = its first heading. */
bool flow_finish(struct flow *flow, struct str title, struct arena *arena, struct parsed *out,
		 struct err *err);

#endif
