/*
 * xml: XML read as events, piece by piece, by libxml2's SAX interface. No tree is built: memory is bounded by the depth
 * (256, the parser's own limit) and the longest tag.
 *
 * Nothing external is ever loaded. A document that declares entities is refused, so none can expand: no bomb, no file
 * of ours in the text. Office formats allow no DOCTYPE at all (XML_NO_DOCTYPE). Names are local names, without
 * prefix: the vocabularies that we read do not clash. Encodings: UTF-8, UTF-16, ISO-8859-1, and what else the
 * parser knows without loading anything.
 */
#ifndef RAG_JOBS_CONVERT_XML_H
#define RAG_JOBS_CONVERT_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/convert/zip_part.h"

struct xml_attrs {
	const void *items; /* the parser's */
	int count;
};

/* By local name; "" = not there. Borrowed until the handler returns; entities in it are resolved. */
struct str xml_attr(const struct xml_attrs *attrs, const char *name);
/* The i-th, for a walk; false at the end. */
bool xml_attr_at(const struct xml_attrs *attrs, int i, struct str *out_name, struct str *out_value);

enum xml_doctype { XML_NO_DOCTYPE, XML_DOCTYPE };

struct xml_handler {
	void (*start)(void *user, const char *name, const struct xml_attrs *attrs);
	void (*end)(void *user, const char *name);
	void (*text)(void *user, struct str text);
	/* asked after each piece; false ends the reading without an error. May be NULL. */
	bool (*go_on)(void *user);
	void *user;
	enum xml_doctype doctype;
};

/* label: what is read, for errors: "word/document.xml". ERR_BAD_DOCUMENT: not well-formed (says the line). */
bool xml_read(struct str bytes, const char *label, const struct xml_handler *handler,
	      struct err *err);
bool xml_read_part(struct zip_archive *archive, struct str part, const struct xml_handler *handler,
		   struct err *err);

#endif
