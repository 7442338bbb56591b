/*
 * readers: one function a format that a converter reads; rows in readers.c. What they get is the document as it came. They
 * run in rag-convert, in the sandbox, and end in bounded memory for every input; time is the sandbox's to bound.
 */
#ifndef RAG_JOBS_CONVERT_READERS_H
#define RAG_JOBS_CONVERT_READERS_H

#include "jobs/step/parse.h"

bool read_docx(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	       struct parsed *out, struct err *err);
bool read_pptx(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	       struct parsed *out, struct err *err);
bool read_xlsx(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	       struct parsed *out, struct err *err);
bool read_odf(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	      struct parsed *out, struct err *err);
bool read_epub(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	       struct parsed *out, struct err *err);
bool read_xml(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	      struct parsed *out, struct err *err);
bool read_rtf(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	      struct parsed *out, struct err *err);

#endif
