#include "jobs/step/parse_out.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define BLOCKS_MIN 64

void
block_list_init(struct block_list *list, const struct arena *arena)
{
	*list = (struct block_list){
		.max = (arena->max_bytes - arena->used_bytes) / sizeof(struct block),
	};
}

void
block_list_release(struct block_list *list)
{
	mem_free(list->items);
	*list = (struct block_list){ 0 };
}

void
block_list_add(struct block_list *list, const struct block *block)
{
	if (list->failed)
		return;
	if (list->count >= list->max) {
		list->failed = true;
		return;
	}
	if (list->count == list->cap) {
		list->cap = list->cap ? list->cap * 2 : BLOCKS_MIN;
		list->items = mem_grow(list->items, list->cap, sizeof(*list->items));
	}
	list->items[list->count++] = *block;
}

bool
block_list_finish(const struct block_list *list, struct arena *arena, struct parsed *out,
		  struct err *err)
{
	if (list->failed)
		return err_set(err, ERR_TOO_LARGE,
			       "cannot hold the document's structure: more than %zu blocks",
			       list->max);

	void *blocks = NULL;

	if (!arena_alloc_err(arena, list->count * sizeof(*list->items), "the document's structure",
			     &blocks, err))
		return false;
	if (list->count > 0)
		memcpy(blocks, list->items, list->count * sizeof(*list->items));
	out->blocks = blocks;
	out->block_count = list->count;
	return true;
}

void
parse_out_init(struct parse_out *out, const struct parse_limits *limits, const struct arena *arena)
{
	*out = (struct parse_out){ 0 };
	buf_init(&out->text, limits->max_text_bytes);
	block_list_init(&out->blocks, arena);
}

void
parse_out_release(struct parse_out *out)
{
	buf_release(&out->text);
	block_list_release(&out->blocks);
}

/* Items of one list and rows of one table stand on lines of their own, everything else apart. */
static const char *
separator(const struct parse_out *out, enum block_kind kind)
{
	const struct block_list *blocks = &out->blocks;

	if (blocks->count == 0)
		return "";
	if (kind == blocks->items[blocks->count - 1].kind &&
	    (kind == BLOCK_LIST_ITEM || kind == BLOCK_TABLE_ROW))
		return "\n";
	return "\n\n";
}

void
parse_out_begin(struct parse_out *out, enum block_kind kind, int level)
{
	parse_out_end(out);
	buf_add_str(&out->text, separator(out, kind));
	out->open = (struct block){
		.kind = kind, .level = level, .start = out->text.len, .page = out->page
	};
	out->is_open = true;
}

static bool
is_control(const char *ptr, size_t left, size_t *out_len)
{
	unsigned char c = (unsigned char)ptr[0];

	*out_len = 1;
	if (c < 0x20)
		return c != '\n' && c != '\t';
	if (c == 0xc2 && left > 1 && (unsigned char)ptr[1] < 0xa0) {
		*out_len = 2;
		return true;
	}
	return c == 0x7f;
}

void
parse_out_add(struct parse_out *out, struct str text)
{
	size_t from = 0;

	for (size_t i = 0, len = 1; i < text.len; i += len) {
		if (!is_control(text.ptr + i, text.len - i, &len)) {
			len = 1;
			continue;
		}
		buf_add(&out->text, text.ptr + from, i - from);
		from = i + len;
	}
	if (text.len > from)
		buf_add(&out->text, text.ptr + from, text.len - from);
}

void
parse_out_end(struct parse_out *out)
{
	if (!out->is_open)
		return;
	out->is_open = false;
	if (!buf_ok(&out->text))
		return;

	size_t end = out->text.len;

	while (end > out->open.start && parse_is_space(out->text.data[end - 1]))
		end--;
	if (end == out->open.start) { /* empty: take its separator back as well */
		size_t count = out->blocks.count;

		buf_truncate(&out->text, count ? out->blocks.items[count - 1].end : 0);
		return;
	}
	buf_truncate(&out->text, end);
	out->open.end = end;
	out->open.label_start = out->open.start;
	out->open.label_end = end;
	block_list_add(&out->blocks, &out->open);
}

void
parse_out_drop_last(struct parse_out *out)
{
	struct block_list *blocks = &out->blocks;

	parse_out_end(out);
	if (!parse_out_ok(out) || blocks->count == 0)
		return;
	blocks->count--;
	buf_truncate(&out->text, blocks->count ? blocks->items[blocks->count - 1].end : 0);
}

void
parse_out_paragraphs(struct parse_out *out, struct str text)
{
	size_t at = 0, start = 0, end = 0;
	bool in = false;

	parse_out_end(out);
	while (parse_line(text, &at, &start, &end)) {
		struct str line = str_sub(text, start, end);

		if (parse_is_blank(line)) {
			parse_out_end(out);
			in = false;
			continue;
		}
		if (!in)
			parse_out_begin(out, BLOCK_PARAGRAPH, 0);
		else
			parse_out_add(out, STR("\n"));
		parse_out_add(out, line);
		in = true;
	}
	parse_out_end(out);
}

bool
parse_out_ok(const struct parse_out *out)
{
	return buf_ok(&out->text) && !out->blocks.failed;
}

bool
parse_out_finish(struct parse_out *out, struct str title, struct arena *arena,
		 struct parsed *parsed, struct err *err)
{
	void *text = NULL;
	struct parsed result = { 0 };

	parse_out_end(out);
	if (!buf_check(&out->text, "the document's text", err) ||
	    !arena_alloc_err(arena, out->text.len + 1, "the document's text", &text, err))
		return false;
	memcpy(text, out->text.data, out->text.len);
	result.text = str_make(text, out->text.len);
	result.title = parse_fold(arena, title, PARSE_TITLE_MAX_BYTES);
	if (!block_list_finish(&out->blocks, arena, &result, err))
		return false;
	*parsed = result;
	return true;
}

bool
parse_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

bool
parse_line(struct str text, size_t *at, size_t *out_start, size_t *out_end)
{
	if (*at >= text.len)
		return false;

	const char *newline = memchr(text.ptr + *at, '\n', text.len - *at);
	size_t end = newline ? (size_t)(newline - text.ptr) : text.len;

	*out_start = *at;
	*out_end = end;
	*at = end + 1;
	return true;
}

bool
parse_is_blank(struct str line)
{
	for (size_t i = 0; i < line.len; i++)
		if (!parse_is_space(line.ptr[i]))
			return false;
	return true;
}

struct str
parse_fold(struct arena *arena, struct str text, size_t max_bytes)
{
	text = str_trim(text);

	size_t max = text.len < max_bytes ? text.len : max_bytes;
	char *to = arena_alloc(arena, max + 1);
	size_t len = 0;

	if (!to)
		return STR("");
	for (size_t i = 0; i < text.len && len < max; i++) {
		if (!parse_is_space(text.ptr[i]))
			to[len++] = text.ptr[i];
		else if (len > 0 && to[len - 1] != ' ')
			to[len++] = ' ';
	}

	struct str folded = str_make(to, len);

	/* cut in the middle: back to whole characters */
	if (!str_utf8_valid(folded, &len))
		folded.len = len;
	return str_trim(folded);
}

bool
parse_deadline(const struct parse_limits *limits, struct err *err)
{
	if (limits->deadline_mono_ms == 0 || clock_left_ms(limits->deadline_mono_ms) > 0)
		return true;
	return err_set(err, ERR_DEADLINE, "could not parse the document in time");
}
