/*
 * parse_out: what the parsers share: a growing list of blocks, and a writer for the formats whose text is not
 * the document itself (HTML, JSON).
 *
 * The writer keeps the promises of parse.h: text is valid UTF-8 as long as whole characters come in, control
 * characters are dropped, blocks do not begin or end with white space (code keeps its first indent), two blocks
 * are separated by an empty line, or by a line break inside a list or a table. Failure is sticky: write freely, then
 * parse_out_finish reports. Memory: heap while it grows, the arena at the end. One thread.
 */
#ifndef RAG_JOBS_STEP_PARSE_OUT_H
#define RAG_JOBS_STEP_PARSE_OUT_H

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "jobs/step/parse.h"

/* ---- a list of blocks ---- */

struct block_list {
	struct block *items; /* owned */
	size_t count, cap, max;
	bool failed; /* more than max */
};

void block_list_init(struct block_list *list, const struct arena *arena); /* max: what fits there */
void block_list_release(struct block_list *list);
void block_list_add(struct block_list *list, const struct block *block);

/* Copies the list into the arena and completes *out, whose text is set; ERR_TOO_LARGE. */
bool block_list_finish(const struct block_list *list, struct arena *arena, struct parsed *out,
		       struct err *err);

/* ---- the writer ---- */

struct parse_out {
	struct buf text;
	struct block_list blocks;
	struct block open; /* valid while is_open */
	bool is_open;
	int32_t page; /* of the blocks that begin from now on */
};

void parse_out_init(struct parse_out *out, const struct parse_limits *limits,
		    const struct arena *arena);
void parse_out_release(struct parse_out *out);

/* Begins a block; ends the open one. Nothing is written for a block that stays empty. */
void parse_out_begin(struct parse_out *out, enum block_kind kind, int level);
/* Adds to the open block: whole characters; \n and \t stay, other control characters go. */
void parse_out_add(struct parse_out *out, struct str text);
void parse_out_end(struct parse_out *out); /* no open block is fine */
/* Takes the last block back: a heading that nothing followed. */
void parse_out_drop_last(struct parse_out *out);
/* Whole text in paragraphs of their own, cut at empty lines. */
void parse_out_paragraphs(struct parse_out *out, struct str text);
bool parse_out_ok(const struct parse_out *out);

/* title: borrowed, copied to the arena. ERR_TOO_LARGE. */
bool parse_out_finish(struct parse_out *out, struct str title, struct arena *arena,
		      struct parsed *parsed, struct err *err);

/* ---- small helpers ---- */

bool parse_is_space(char c); /* the ASCII white space */
/* The next line of text from *at, without its \n; false at the end. */
bool parse_line(struct str text, size_t *at, size_t *out_start, size_t *out_end);
/* Is the line only white space? */
bool parse_is_blank(struct str line);
/* White space runs become one blank, at most max_bytes, in the arena; NULL ptr never. */
struct str parse_fold(struct arena *arena, struct str text, size_t max_bytes);
bool parse_deadline(const struct parse_limits *limits, struct err *err); /* false: ERR_DEADLINE */

#endif
