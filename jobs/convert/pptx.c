/*
 * pptx: presentations (OOXML presentationml). Slides in the order of the presentation; a slide's number is its page.
 *
 * Kept: titles as headings, paragraphs of placeholders as list items, other text, table rows, speaker notes. Left out:
 * charts, pictures, what stands on the master (dates, slide numbers), copies for older programs (mc:Fallback).
 */
#include <string.h>

#include "common/base/auto.h"
#include "jobs/convert/flow.h"
#include "jobs/convert/package.h"
#include "jobs/convert/readers.h"

#define SLIDES_MAX 5000

enum shape { SHAPE_PLAIN, SHAPE_TITLE, SHAPE_BODY, SHAPE_LEFT_OUT };

struct pptx {
	struct flow flow;
	struct arena *arena;
	struct zip_archive archive;
	struct str *slide_ids; /* arena; of relations, in order */
	size_t slide_count;

	bool is_notes;
	size_t depth, skip_depth, shape_depth;
	size_t texts;
	enum shape shape;
};

/* ---- the order of slides ---- */

static void
slide_listed(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct pptx *pptx = user;
	struct str key, value;

	if (strcmp(name, "sldId") != 0 || pptx->slide_count == SLIDES_MAX)
		return;
	/* id="256" r:id="rId2": both have the local name id; the relation's comes with a letter */
	for (int i = 0; xml_attr_at(attrs, i, &key, &value); i++) {
		int64_t plain;

		if (!str_eq_c(key, "id") || str_to_i64(value, 0, INT64_MAX, &plain))
			continue;

		char *copy = arena_strndup(pptx->arena, value.ptr, value.len);

		if (copy)
			pptx->slide_ids[pptx->slide_count++] = str_make(copy, value.len);
	}
}

/* ---- one slide ---- */

static enum shape
shape_of(struct str placeholder, bool is_notes)
{
	static const char *const left_out[] = { "dt", "ftr", "hdr", "sldNum", "sldImg" };

	for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
		if (str_eq_c(placeholder, left_out[i]))
			return SHAPE_LEFT_OUT;
	if (is_notes)
		return SHAPE_PLAIN;
	if (str_eq_c(placeholder, "title") || str_eq_c(placeholder, "ctrTitle"))
		return SHAPE_TITLE;
	return SHAPE_BODY;
}

static void
begin_paragraph(struct pptx *pptx)
{
	bool is_title = pptx->shape == SHAPE_TITLE;

	/* the lines of a title are one */
	if (is_title && pptx->flow.out.is_open && pptx->flow.kind == BLOCK_HEADING) {
		pptx->flow.space = true;
		return;
	}
	flow_begin(&pptx->flow,
		   is_title		       ? BLOCK_HEADING
		   : pptx->shape == SHAPE_BODY ? BLOCK_LIST_ITEM
					       : BLOCK_PARAGRAPH,
		   is_title ? 1 : 0);
}

static void
on_start(void *user, const char *name, const struct xml_attrs *attrs)
{
	struct pptx *pptx = user;

	pptx->depth++;
	if (pptx->skip_depth > 0)
		return;
	if (strcmp(name, "Fallback") == 0) {
		pptx->skip_depth = pptx->depth;
	} else if (strcmp(name, "sp") == 0) {
		pptx->shape = SHAPE_PLAIN;
		pptx->shape_depth = pptx->depth;
		flow_begin(&pptx->flow, BLOCK_PARAGRAPH, 0);
	} else if (strcmp(name, "ph") == 0) {
		pptx->shape = shape_of(xml_attr(attrs, "type"), pptx->is_notes);
	} else if (pptx->shape == SHAPE_LEFT_OUT) {
		return;
	} else if (strcmp(name, "p") == 0) {
		begin_paragraph(pptx);
	} else if (strcmp(name, "t") == 0) {
		pptx->texts++;
	} else if (strcmp(name, "br") == 0) {
		flow_break(&pptx->flow);
	} else if (strcmp(name, "tr") == 0) {
		flow_row(&pptx->flow);
	} else if (strcmp(name, "tc") == 0) {
		flow_cell(&pptx->flow);
	}
}

static void
on_end(void *user, const char *name)
{
	struct pptx *pptx = user;

	if (pptx->skip_depth > 0) {
		if (pptx->skip_depth == pptx->depth)
			pptx->skip_depth = 0;
	} else if (strcmp(name, "sp") == 0 && pptx->shape_depth == pptx->depth) {
		pptx->shape = SHAPE_PLAIN;
		flow_begin(&pptx->flow, BLOCK_PARAGRAPH, 0);
	} else if (pptx->shape != SHAPE_LEFT_OUT && strcmp(name, "t") == 0) {
		pptx->texts--;
	} else if (pptx->shape != SHAPE_LEFT_OUT && strcmp(name, "tr") == 0) {
		flow_end_row(&pptx->flow);
	}
	pptx->depth--;
}

static void
on_text(void *user, struct str text)
{
	struct pptx *pptx = user;

	if (pptx->texts > 0 && pptx->skip_depth == 0 && pptx->shape != SHAPE_LEFT_OUT)
		flow_text(&pptx->flow, text);
}

static bool
go_on(void *user)
{
	const struct pptx *pptx = user;

	return flow_ok(&pptx->flow);
}

static bool
read_part(struct pptx *pptx, struct str part, bool is_notes, struct err *err)
{
	const struct xml_handler handler = {
		.start = on_start, .end = on_end, .text = on_text, .go_on = go_on, .user = pptx
	};

	pptx->depth = pptx->skip_depth = pptx->texts = 0;
	pptx->shape = SHAPE_PLAIN;
	pptx->is_notes = is_notes;
	flow_end(&pptx->flow);
	pptx->flow.rows = 0;
	return xml_read_part(&pptx->archive, part, &handler, err);
}

static bool
read_slide(struct pptx *pptx, struct str slide, struct err *err)
{
	struct relations relations;
	const struct relation *notes;

	pptx->flow.out.page++;
	if (!read_part(pptx, slide, false, err) ||
	    !package_relations(&pptx->archive, slide, pptx->arena, &relations, err))
		return false;
	notes = relation_by_type(&relations, "notesSlide");
	return !notes || !zip_part_exists(&pptx->archive, notes->target) ||
	       read_part(pptx, notes->target, true, err);
}

static bool
read_all(struct pptx *pptx, struct err *err)
{
	const struct xml_handler handler = { .start = slide_listed, .user = pptx };
	struct relations package, relations;
	const struct relation *main_part;
	struct str part;

	pptx->slide_ids = arena_array(pptx->arena, SLIDES_MAX, sizeof(*pptx->slide_ids));
	if (!pptx->slide_ids)
		return err_set(err, ERR_TOO_LARGE, "cannot hold the presentation's slides");
	if (!package_relations(&pptx->archive, STR(""), pptx->arena, &package, err))
		return false;
	main_part = relation_by_type(&package, "officeDocument");
	part = main_part ? main_part->target : STR("ppt/presentation.xml");
	if (!package_relations(&pptx->archive, part, pptx->arena, &relations, err) ||
	    !xml_read_part(&pptx->archive, part, &handler, err))
		return false;
	for (size_t i = 0; i < pptx->slide_count && flow_ok(&pptx->flow); i++) {
		const struct relation *slide = relation_by_id(&relations, pptx->slide_ids[i]);

		if (!slide)
			return err_set(err, ERR_BAD_DOCUMENT,
				       "cannot read the presentation: it has no slide %zu", i + 1);
		if (!read_slide(pptx, slide->target, err))
			return false;
	}
	return true;
}

bool
read_pptx(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	  struct parsed *out, struct err *err)
{
	struct pptx pptx = { .arena = arena };
	bool ok;

	if (!zip_archive_open(bytes, &pptx.archive, err))
		return false;
	flow_init(&pptx.flow, limits, arena);
	ok = read_all(&pptx, err) &&
	     flow_finish(&pptx.flow, package_title(&pptx.archive, STR("docProps/core.xml"), arena),
			 arena, out, err);
	flow_release(&pptx.flow);
	return ok;
}
