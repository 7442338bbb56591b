/*
 * parse: from a document's bytes to clean text with structure. One function a media type, in a table.
 *
 * The text is valid UTF-8 without NUL and control characters but \n and \t; for text/plain and text/markdown it
 * is the document itself (a BOM is cut, CRLF becomes LF, front matter of Markdown goes), for HTML and JSON what a
 * reader would see. Other formats are read by rag-convert in a process of their own (jobs/convert/convert.h). Byte ranges of chunks and citations are ranges in this text. Thread-safe, memory from the arena.
 */
#ifndef RAG_JOBS_STEP_PARSE_H
#define RAG_JOBS_STEP_PARSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define PARSE_TITLE_MAX_BYTES 500

enum block_kind { BLOCK_PARAGRAPH, BLOCK_HEADING, BLOCK_LIST_ITEM, BLOCK_CODE, BLOCK_TABLE_ROW };

struct block {
	enum block_kind kind;
	int level; /* headings: 1..6 */
	size_t start,
		end; /* bytes in the text; ascending, not overlapping; white space between is no block's */
	size_t label_start, label_end; /* headings: the words without their marks (##, ===) */
	int32_t page;		       /* page, slide or sheet, from 1; 0 = the format has none */
};

struct parsed {
	struct str text;
	struct str title; /* from the document (<title>, first heading), "" = none */
	struct block *blocks;
	size_t block_count;
};

struct convert_opts;

struct parse_limits {
	size_t max_text_bytes; /* ERR_TOO_LARGE above */
	int64_t deadline_mono_ms;
	/* for the formats that a converter reads; both may be NULL */
	const struct convert_opts *convert; /* NULL: such a format is ERR_UNSUPPORTED_MEDIA */
	const atomic_bool *cancel;	    /* ERR_CANCELLED when it becomes true */
};

/* media_type may carry parameters; a charset other than UTF-8 is ERR_UNSUPPORTED_MEDIA, as is an unknown type or one that
 * the bytes contradict (jobs/spec/media.h). Text in UTF-16 with a byte order mark is converted.
 * ERR_BAD_DOCUMENT (not UTF-8: says the byte; broken JSON; HTML built to take for ever), ERR_EMPTY_TEXT, ERR_TOO_LARGE,
 * ERR_DEADLINE, ERR_CANCELLED. */
bool parse_document(struct str media_type, struct str bytes, const struct parse_limits *limits,
		    struct arena *arena, struct parsed *out, struct err *err);

/* The way into a text parser, also for parts of other formats: UTF-16 with its mark becomes UTF-8, which is checked and
 * cleaned as said above; in the arena. ERR_BAD_DOCUMENT, ERR_TOO_LARGE. */
bool parse_clean(struct str bytes, struct arena *arena, struct str *out, struct err *err);

/* One parser a media type; rows in parse.c. What they get is cleaned: UTF-8, no BOM, no CR, no control characters. */
typedef bool (*parse_fn)(struct str bytes, const struct parse_limits *limits, struct arena *arena,
			 struct parsed *out, struct err *err);
bool parse_text(struct str bytes, const struct parse_limits *limits, struct arena *arena,
		struct parsed *out, struct err *err);
bool parse_markdown(struct str bytes, const struct parse_limits *limits, struct arena *arena,
		    struct parsed *out, struct err *err);
bool parse_html(struct str bytes, const struct parse_limits *limits, struct arena *arena,
		struct parsed *out, struct err *err);
bool parse_json(struct str bytes, const struct parse_limits *limits, struct arena *arena,
		struct parsed *out, struct err *err);
bool parse_csv(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	       struct parsed *out, struct err *err);

#endif
