#include "jobs/convert/xml.h"

#include <libxml/HTMLparser.h>
#include <libxml/parser.h>
#include <pthread.h>
#include <string.h>

#include "common/base/auto.h"

#define ATTR_FIELDS 5 /* local name, prefix, namespace, start and end of the value */
#define NAME_BYTES 100
#define PIECE_BYTES ((size_t)32768)

struct reader {
	const struct xml_handler *handler;
	xmlParserCtxtPtr ctxt;
	char label[NAME_BYTES];
	const char *refused; /* why we ended it; NULL = did not */
	bool stopped;	     /* by go_on */
};

struct str
xml_attr(const struct xml_attrs *attrs, const char *name)
{
	struct str key, value;

	for (int i = 0; xml_attr_at(attrs, i, &key, &value); i++)
		if (str_eq_c(key, name))
			return value;
	return STR("");
}

bool
xml_attr_at(const struct xml_attrs *attrs, int i, struct str *out_name, struct str *out_value)
{
	const xmlChar *const *items = attrs->items;

	if (i >= attrs->count)
		return false;
	items += (ptrdiff_t)i * ATTR_FIELDS;
	*out_name = str_of((const char *)items[0]);
	*out_value = str_make((const char *)items[3], (size_t)(items[4] - items[3]));
	return true;
}

/* ---- what the parser calls ---- */

static void
refuse(struct reader *reader, const char *why)
{
	if (!reader->refused)
		reader->refused = why;
	xmlStopParser(reader->ctxt);
}

static void // NOLINTNEXTLINE(readability-function-size): libxml2's list of parameters
on_start(void *user, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
	 int namespace_count, const xmlChar **namespaces, int count, int defaulted,
	 const xmlChar **attributes)
{
	struct reader *reader = user;
	const struct xml_attrs attrs = { .items = attributes, .count = count };

	(void)prefix, (void)uri, (void)namespace_count, (void)namespaces, (void)defaulted;
	if (!reader->refused && reader->handler->start)
		reader->handler->start(reader->handler->user, (const char *)name, &attrs);
}

static void
on_end(void *user, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	struct reader *reader = user;

	(void)prefix, (void)uri;
	if (!reader->refused && reader->handler->end)
		reader->handler->end(reader->handler->user, (const char *)name);
}

static void
on_text(void *user, const xmlChar *text, int len)
{
	struct reader *reader = user;

	if (len > 0 && !reader->refused && reader->handler->text)
		reader->handler->text(reader->handler->user,
				      str_make((const char *)text, (size_t)len));
}

static void
on_doctype(void *user, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
	struct reader *reader = user;

	(void)name, (void)external, (void)system;
	if (reader->handler->doctype == XML_NO_DOCTYPE)
		refuse(reader, "it has a DOCTYPE, which this format does not allow");
}

static void
on_entity_declaration(void *user, const xmlChar *name, int type, const xmlChar *public_id,
		      const xmlChar *system_id, xmlChar *content)
{
	(void)name, (void)type, (void)public_id, (void)system_id, (void)content;
	refuse(user, "it declares entities, which are not expanded");
}

static xmlEntityPtr
on_get_entity(void *user, const xmlChar *name)
{
	(void)user;
	return xmlGetPredefinedEntity(name);
}

/* An entity of an external DTD that we do not load: the names of HTML are known. */
static void
on_reference(void *user, const xmlChar *name)
{
	const htmlEntityDesc *entity = htmlEntityLookup(name);
	char bytes[4];

	if (entity)
		on_text(user, (const xmlChar *)bytes, (int)str_utf8_put(bytes, entity->value));
}

/* Errors are read from the context; said to nobody, because they may hold the document's words. */
static void
on_error(void *user, const char *fmt, ...)
{
	(void)user, (void)fmt;
}

/* ---- reading ---- */

/* Some errors of encodings pass by on_error. Per thread; a converter has one. */
static void
init_library(void)
{
	xmlInitParser();
	xmlSetGenericErrorFunc(NULL, on_error);
}

static bool
reader_open(struct reader *reader, const struct xml_handler *handler, struct str label,
	    struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	xmlSAXHandler sax = {
		.initialized = XML_SAX2_MAGIC,
		.startElementNs = on_start,
		.endElementNs = on_end,
		.characters = on_text,
		.ignorableWhitespace = on_text,
		.cdataBlock = on_text,
		.internalSubset = on_doctype,
		.entityDecl = on_entity_declaration,
		.getEntity = on_get_entity,
		.reference = on_reference,
		.error = on_error,
		.warning = on_error,
	};

	(void)pthread_once(&once, init_library);
	*reader = (struct reader){ .handler = handler };
	str_copy(reader->label, sizeof(reader->label), label);
	reader->ctxt = xmlCreatePushParserCtxt(&sax, reader, NULL, 0, NULL);
	if (!reader->ctxt)
		return err_set(err, ERR_TOO_LARGE, "cannot read XML: out of memory");
	(void)xmlCtxtUseOptions(reader->ctxt, XML_PARSE_NONET | XML_PARSE_NOERROR |
						      XML_PARSE_NOWARNING | XML_PARSE_COMPACT);
	return true;
}

static void
reader_release(struct reader *reader)
{
	if (!reader->ctxt)
		return;
	if (reader->ctxt->myDoc) {
		xmlFreeDoc(reader->ctxt->myDoc);
		reader->ctxt->myDoc = NULL;
	}
	xmlFreeParserCtxt(reader->ctxt);
	reader->ctxt = NULL;
}

static bool
feed(struct reader *reader, struct str bytes, bool last, struct err *err)
{
	int status;

	if (reader->stopped)
		return true;
	status = xmlParseChunk(reader->ctxt, bytes.ptr, (int)bytes.len, last);
	if (reader->refused)
		return err_set(err, ERR_BAD_DOCUMENT, "cannot read '%s': %s", reader->label,
			       reader->refused);
	if (status != XML_ERR_OK && !reader->ctxt->wellFormed) {
		const xmlError *error = xmlCtxtGetLastError(reader->ctxt);
		int line = error ? error->line : 0;

		if (status == XML_ERR_NO_MEMORY)
			return err_set(err, ERR_TOO_LARGE, "cannot read '%s': out of memory",
				       reader->label);
		return err_set(
			err, ERR_BAD_DOCUMENT,
			"cannot read '%s': not well-formed XML at line %d (libxml2 error %d)",
			reader->label, line, status);
	}
	if (reader->handler->go_on && !reader->handler->go_on(reader->handler->user))
		reader->stopped = true;
	return true;
}

static bool
sink(void *user, struct str bytes, struct err *err)
{
	return feed(user, bytes, false, err);
}

bool
xml_read(struct str bytes, const char *label, const struct xml_handler *handler, struct err *err)
{
	AUTO(reader) struct reader reader = { 0 };

	if (!reader_open(&reader, handler, str_of(label), err))
		return false;
	for (size_t at = 0; at < bytes.len; at += PIECE_BYTES)
		if (!feed(&reader, str_sub(bytes, at, at + PIECE_BYTES), false, err))
			return false;
	return feed(&reader, STR(""), true, err);
}

bool
xml_read_part(struct zip_archive *archive, struct str part, const struct xml_handler *handler,
	      struct err *err)
{
	AUTO(reader) struct reader reader = { 0 };

	return reader_open(&reader, handler, part, err) &&
	       zip_part_each(archive, part, sink, &reader, err) &&
	       feed(&reader, STR(""), true, err);
}
