/*
 * convert: documents that are no text (PDF, DOCX and friends), read by rag-convert in a process of its own.
 *
 * The worker starts rag-convert with the document on its input (a sealed memory file), reads a result from its output up to
 * a cap, and believes none of it (wire.h). The converter limits itself before it looks at the document
 * (sandbox.h). Deadline, cancel, the cap, and the worker's death kill it; afterwards nothing of it is left. No file
 * is written anywhere. Any number of threads may convert at once.
 */
#ifndef RAG_JOBS_CONVERT_CONVERT_H
#define RAG_JOBS_CONVERT_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "jobs/spec/media.h"
#include "jobs/step/parse.h"

struct convert_opts {
	const char *helper;    /* path of rag-convert; "" = beside the running program */
	const char *pdftotext; /* path */
	int64_t memory_bytes;
	int64_t cpu_s;
};

struct convert_opts convert_opts_of(const struct config *config); /* borrows from it */

/* Does a converter read this format? */
bool convert_reads(enum media_format format);

/*
 * bytes: the document as it came. ERR_BAD_DOCUMENT (damaged, encrypted, takes too much processor time), ERR_EMPTY_TEXT,
 * ERR_TOO_LARGE (text, or the converter's memory), ERR_UNSUPPORTED_MEDIA (its tool is not installed), ERR_DEADLINE,
 * ERR_CANCELLED, ERR_CONFIG (no rag-convert, no sandbox), ERR_INTERNAL (killed from outside: may be repeated).
 */
bool convert_document(const struct media_type *type, struct str bytes,
		      const struct parse_limits *limits, struct arena *arena, struct parsed *out,
		      struct err *err);

/* What is missing for converters to run, for the log of the start and /health: ERR_CONFIG. */
bool convert_check(const struct convert_opts *opts, struct err *err);

/* pdftotext -htmlmeta: a small HTML head with the title, then pages that end with a form feed. In the worker's own
 * process: it is a loop over lines. */
bool convert_read_pdftotext(struct str bytes, const struct parse_limits *limits,
			    struct arena *arena, struct parsed *out, struct err *err);

/* ---- the readers, run by rag-convert; also by the tests and fuzzers ---- */

struct convert_reader {
	const char *name; /* rag-convert's first argument */
	enum media_format format;
	parse_fn read; /* bytes: as they came. NULL: an external tool */
};
extern const struct convert_reader convert_readers[];
extern const size_t convert_reader_count;
const struct convert_reader *convert_reader_of(enum media_format format); /* NULL = none */

#endif
