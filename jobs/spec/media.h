/*
 * media: the media types a document may have, and what a document's bytes say it is.
 *
 * A format is told by content, never by a name: marks at the beginning, and for ZIP containers the parts they hold. The
 * API asks at submission, the worker again before it reads. Text formats cannot be told from each other for sure
 * (CSV from prose, Markdown from text): there the declared type counts, and content is looked at only when none was
 * declared. docs/formats.md is the table for people. Thread-safe, nothing is allocated.
 */
#ifndef RAG_JOBS_SPEC_MEDIA_H
#define RAG_JOBS_SPEC_MEDIA_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/base/str.h"

enum media_format {
	MEDIA_TEXT,
	MEDIA_MARKDOWN,
	MEDIA_HTML,
	MEDIA_JSON,
	MEDIA_CSV,
	MEDIA_XML,
	MEDIA_RTF,
	MEDIA_PDF,
	MEDIA_DOCX,
	MEDIA_XLSX,
	MEDIA_PPTX,
	MEDIA_ODF,
	MEDIA_EPUB,
};

struct media_type {
	const char *name; /* canonical, lower case */
	enum media_format format;
	bool is_text;	  /* may stand in a JSON string */
	const char *noun; /* for messages: "a PDF document" */
};

#define MEDIA_DETECT "application/octet-stream" /* the same as declaring nothing */

extern const struct media_type media_types[];
extern const size_t media_type_count;

const struct media_type *media_find(struct str name); /* any case, no parameters; NULL = unknown */

/* What the bytes must be, whatever anyone declares; NULL when their beginning says nothing (text, or unknown: *out_noun
 * then says which, or what else it is: "a PNG image"). */
const struct media_type *media_detect(struct str bytes, const char **out_noun);

/*
 * The type of a document: the declared one when the bytes do not contradict it, the detected one when none ("" or
 * MEDIA_DETECT) is declared. ERR_UNSUPPORTED_MEDIA names the declared type and what the content is; ERR_BAD_DOCUMENT
 * for what is encrypted or a damaged container. declared has no parameters.
 */
bool media_resolve(struct str declared, struct str bytes, const struct media_type **out,
		   struct err *err);

/* Text that must be UTF-8 (or UTF-16 with its mark): all text but RTF, which is its own, and XML, which says. */
bool media_is_utf8(const struct media_type *type);

/* FF FE or FE FF at the start: text in UTF-16, which is converted. */
bool media_is_utf16(struct str bytes);

#endif
