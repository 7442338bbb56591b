#include "jobs/convert/flow.h"

void
flow_init(struct flow *flow, const struct parse_limits *limits, const struct arena *arena)
{
	*flow = (struct flow){ .kind = BLOCK_PARAGRAPH };
	parse_out_init(&flow->out, limits, arena);
}

void
flow_release(struct flow *flow)
{
	parse_out_release(&flow->out);
}

void
flow_end(struct flow *flow)
{
	parse_out_end(&flow->out);
	flow->space = flow->newline = flow->cell = flow->mark = false;
}

void
flow_begin(struct flow *flow, enum block_kind kind, int level)
{
	if (flow->rows > 0) {
		flow->space = true;
		return;
	}
	flow_end(flow);
	flow->kind = kind;
	flow->level = level;
}

void
flow_row(struct flow *flow)
{
	if (flow->rows++ > 0) {
		flow->space = true;
		return;
	}
	flow_end(flow);
	flow->kind = BLOCK_TABLE_ROW;
	flow->level = 0;
}

void
flow_cell(struct flow *flow)
{
	if (flow->rows == 1 && flow->out.is_open)
		flow->cell = true;
	else
		flow->space = true;
}

void
flow_end_row(struct flow *flow)
{
	if (flow->rows > 0 && --flow->rows == 0) {
		flow_end(flow);
		flow->kind = BLOCK_PARAGRAPH;
	}
}

static void
lead_in(struct flow *flow)
{
	if (!flow->out.is_open) {
		parse_out_begin(&flow->out, flow->kind, flow->level);
		if (flow->mark)
			parse_out_add(&flow->out, STR("- "));
		flow->mark = false;
	} else if (flow->cell) {
		parse_out_add(&flow->out, STR(" | "));
	} else if (flow->newline && flow->rows == 0) {
		parse_out_add(&flow->out, STR("\n"));
	} else if (flow->space || flow->newline) {
		parse_out_add(&flow->out, STR(" "));
	}
	flow->space = flow->newline = flow->cell = false;
}

/* Length of the white space at `at`; a no-break space is one, a soft hyphen is nothing. */
static size_t
space_at(struct str text, size_t at, bool *out_nothing)
{
	*out_nothing = false;
	if (parse_is_space(text.ptr[at]))
		return 1;
	if (text.ptr[at] != '\xc2' || at + 1 >= text.len)
		return 0;
	*out_nothing = text.ptr[at + 1] == '\xad';
	return text.ptr[at + 1] == '\xa0' || *out_nothing ? 2 : 0;
}

void
flow_text(struct flow *flow, struct str text)
{
	for (size_t at = 0; at < text.len;) {
		bool nothing = false;
		size_t len = space_at(text, at, &nothing), from = at;

		if (len > 0) {
			flow->space = flow->space || !nothing;
			at += len;
			continue;
		}
		while (at < text.len && space_at(text, at, &nothing) == 0)
			at++;
		lead_in(flow);
		parse_out_add(&flow->out, str_sub(text, from, at));
	}
}

void
flow_break(struct flow *flow)
{
	flow->newline = true;
}

bool
flow_ok(const struct flow *flow)
{
	return parse_out_ok(&flow->out);
}

static struct str
first_heading(const struct parse_out *out)
{
	for (size_t i = 0; i < out->blocks.count; i++) {
		const struct block *block = &out->blocks.items[i];

		if (block->kind == BLOCK_HEADING)
			return str_make(out->text.data + block->start, block->end - block->start);
	}
	return STR("");
}

bool
flow_finish(struct flow *flow, struct str title, struct arena *arena, struct parsed *out,
	    struct err *err)
{
	flow_end(flow);
	title = str_trim(title);
	return parse_out_finish(&flow->out, title.len ? title : first_heading(&flow->out), arena,
				out, err);
}
