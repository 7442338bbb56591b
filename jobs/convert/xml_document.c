/*
 * xml_document: any XML, whose vocabulary is not known: the text of its elements.
 *
 * An element that holds words of its own beside elements (mixed content) is a paragraph with all it contains; others are
 * structure. An element <title>, <heading> or <h1> to <h6> is a heading: its level is by how many <section>-like elements
 * are open; the first is the document's title. Attributes, comments and processing instructions are left out.
 */
#include <string.h>

#include "common/base/auto.h"
#include "jobs/convert/flow.h"
#include "jobs/convert/readers.h"
#include "jobs/convert/xml.h"

#define DEPTH_MAX 256 /* the parser's own */
#define LEVELS 6

struct xml_document {
	struct flow flow;
	size_t depth;
	size_t inline_depth;	    /* of the element whose words are being written; 0 = none */
	size_t heading_depth;	    /* the same for a heading */
	size_t sections;	    /* open elements that have had a title */
	bool titled[DEPTH_MAX + 1]; /* of each open element: a title was among its children */
};

static bool
is_title(const char *name)
{
	static const char *const names[] = { "title", "heading", "head", "h1", "h2",
					     "h3",    "h4",	 "h5",	 "h6" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void
on_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct xml_document *document = user;

	(void)attrs;
	document->depth++;
	if (document->depth <= DEPTH_MAX)
		document->titled[document->depth] = false;
	if (document->inline_depth > 0) {
		document->flow.space = true;
		return;
	}
	flow_begin(&document->flow, BLOCK_PARAGRAPH, 0);
	if (is_title(name) && document->depth > 1 && document->depth <= DEPTH_MAX) {
		if (!document->titled[document->depth - 1])
			document->sections++;
		document->titled[document->depth - 1] = true;
		document->heading_depth = document->depth;
		document->flow.kind = BLOCK_HEADING;
		document->flow.level =
			document->sections < LEVELS ? (int)document->sections : LEVELS;
	}
}

static void
on_end(void *user, const char *name)
{
	struct xml_document *document = user;

	(void)name;
	if (document->inline_depth == document->depth)
		document->inline_depth = 0;
	if (document->inline_depth == 0)
		flow_begin(&document->flow, BLOCK_PARAGRAPH, 0);
	else
		document->flow.space = true;
	if (document->depth <= DEPTH_MAX && document->titled[document->depth] &&
	    document->sections > 0)
		document->sections--;
	if (document->heading_depth == document->depth)
		document->heading_depth = 0;
	document->depth--;
}

static void
on_text(void *user, struct str text)
{
	struct xml_document *document = user;

	if (document->inline_depth == 0 && !parse_is_blank(text))
		document->inline_depth =
			document->heading_depth > 0 ? document->heading_depth : document->depth;
	if (document->inline_depth > 0)
		flow_text(&document->flow, text);
}

static bool
go_on(void *user)
{
	const struct xml_document *document = user;

	return flow_ok(&document->flow);
}

bool
read_xml(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	 struct parsed *out, struct err *err)
{
	struct xml_document document = { .depth = 0 };
	const struct xml_handler handler = { .start = on_start,
					     .end = on_end,
					     .text = on_text,
					     .go_on = go_on,
					     .user = &document,
					     .doctype = XML_DOCTYPE };
	bool ok;

	flow_init(&document.flow, limits, arena);
	ok = xml_read(bytes, "the XML document", &handler, err) &&
	     flow_finish(&document.flow, STR(""), arena, out, err);
	flow_release(&document.flow);
	return ok;
}
