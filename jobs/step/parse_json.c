/*
 * parse_json: readable text out of a JSON document.
 *
 * An object becomes a paragraph of "key: value" lines: first its plain members (strings, numbers, lists of them), then
 * each member that is an object or a list of objects, under a heading with its key, one level deeper. So a chunk's
 * heading path is the path in the document. A list of plain values is one line when short, else one item a value. Objects in
 * a list follow each other as paragraphs; one with a string member "title" or "name" gets it as its heading. A string
 * with line breaks is set as paragraphs under its key. null and "" say nothing and are left out.
 *
 * Depth is capped by the JSON reader (JSON_MAX_DEPTH), so recursion is safe.
 */
#include <string.h>

#include "common/json.h"
#include "jobs/step/parse.h"
#include "jobs/step/parse_out.h"

#define LINE_MAX_BYTES 300 /* a list of plain values longer than this gets one item a value */
#define DEADLINE_VALUES 4096
#define NUMBER_MAX_BYTES 64

struct writer {
	struct parse_out out;
	const struct parse_limits *limits;
	size_t values;
	bool in_record; /* a paragraph of "key: value" lines is open */
	bool late;
};

static bool
has_newline(struct str text)
{
	return text.len > 0 && memchr(text.ptr, '\n', text.len) != NULL;
}

static bool
is_plain(const struct js *value)
{
	return !js_is(value, JS_OBJECT) && !js_is(value, JS_ARRAY);
}

static bool
says_nothing(const struct js *value)
{
	return js_is(value, JS_NULL) ||
	       (js_is(value, JS_STRING) && parse_is_blank(js_str(value))) ||
	       (!is_plain(value) && js_len(value) == 0);
}

static bool
plain_list(const struct js *value)
{
	if (!js_is(value, JS_ARRAY))
		return false;
	for (size_t i = 0; i < js_len(value); i++)
		if (!is_plain(js_at(value, i)))
			return false;
	return true;
}

/* The length of a list of plain values on one line; stops above the limit. */
static bool
fits_line(const struct js *list)
{
	size_t len = 0;

	for (size_t i = 0; i < js_len(list) && len <= LINE_MAX_BYTES; i++) {
		const struct js *item = js_at(list, i);

		len += 2 + (js_is(item, JS_STRING) ? js_str(item).len : 8);
		if (js_is(item, JS_STRING) && has_newline(js_str(item)))
			return false;
	}
	return len <= LINE_MAX_BYTES;
}

static void
add_plain(struct writer *w, const struct js *value)
{
	if (js_is(value, JS_STRING)) {
		parse_out_add(&w->out, str_trim(js_str(value)));
		return;
	}

	AUTO(buf) struct buf number = BUF_INIT(NUMBER_MAX_BYTES);

	js_write(value, &number);
	if (buf_ok(&number))
		parse_out_add(&w->out, str_make(number.data, number.len));
}

static void
begin_line(struct writer *w)
{
	if (w->in_record)
		parse_out_add(&w->out, STR("\n"));
	else
		parse_out_begin(&w->out, BLOCK_PARAGRAPH, 0);
	w->in_record = true;
}

static void
end_record(struct writer *w)
{
	parse_out_end(&w->out);
	w->in_record = false;
}

static void
add_items(struct writer *w, const struct js *list)
{
	end_record(w);
	for (size_t i = 0; i < js_len(list); i++) {
		if (says_nothing(js_at(list, i)))
			continue;
		parse_out_begin(&w->out, BLOCK_LIST_ITEM, 0);
		parse_out_add(&w->out, STR("- "));
		add_plain(w, js_at(list, i));
	}
	parse_out_end(&w->out);
}

static void
add_inline_list(struct writer *w, const struct js *list)
{
	bool first = true;

	for (size_t i = 0; i < js_len(list); i++) {
		if (says_nothing(js_at(list, i)))
			continue;
		if (!first)
			parse_out_add(&w->out, STR(", "));
		add_plain(w, js_at(list, i));
		first = false;
	}
}

/* "key: value", or the key and its text below */
static void
add_member(struct writer *w, struct str key, const struct js *value)
{
	begin_line(w);
	parse_out_add(&w->out, key);
	parse_out_add(&w->out, STR(": "));
	if (js_is(value, JS_ARRAY)) {
		if (fits_line(value))
			add_inline_list(w, value);
		else
			add_items(w, value);
	} else if (js_is(value, JS_STRING) && has_newline(js_str(value))) {
		end_record(w);
		parse_out_paragraphs(&w->out, js_str(value));
	} else {
		add_plain(w, value);
	}
}

static bool
go_on(struct writer *w)
{
	struct err ignored = ERR_INIT;

	if (++w->values % DEADLINE_VALUES == 0 && !parse_deadline(w->limits, &ignored))
		w->late = true;
	return !w->late && parse_out_ok(&w->out);
}

static void
add_heading(struct writer *w, struct str label, int depth)
{
	end_record(w);
	parse_out_begin(&w->out, BLOCK_HEADING, depth < 6 ? depth : 6);
	parse_out_add(&w->out, label);
	parse_out_end(&w->out);
}

static struct str
name_of(const struct js *value)
{
	struct str name = STR("");

	if (js_is(value, JS_OBJECT) && !js_get_str(value, "title", &name))
		(void)js_get_str(value, "name", &name);
	return has_newline(name) ? STR("") : str_trim(name);
}

static void add_container(struct writer *w, const struct js *value, int depth);

static void
add_object(struct writer *w, const struct js *object, int depth)
{
	for (const struct js_iter *it = js_first(object); it; it = js_next(object, it)) {
		const struct js *value = js_iter_value(it);

		if (!go_on(w))
			return;
		if (!says_nothing(value) && (is_plain(value) || plain_list(value)))
			add_member(w, js_iter_key(it), value);
	}
	for (const struct js_iter *it = js_first(object); it; it = js_next(object, it)) {
		const struct js *value = js_iter_value(it);

		if (!go_on(w))
			return;
		if (says_nothing(value) || is_plain(value) || plain_list(value))
			continue;
		add_heading(w, js_iter_key(it), depth);
		add_container(w, value, depth + 1);
	}
	end_record(w);
}

static void
add_array(struct writer *w, const struct js *array, int depth)
{
	for (size_t i = 0; i < js_len(array); i++) {
		const struct js *value = js_at(array, i);

		if (!go_on(w))
			return;
		if (says_nothing(value))
			continue;
		end_record(w);
		if (is_plain(value)) {
			begin_line(w);
			add_plain(w, value);
			continue;
		}
		if (name_of(value).len > 0) {
			add_heading(w, name_of(value), depth);
			add_container(w, value, depth + 1);
		} else {
			add_container(w, value, depth);
		}
	}
	end_record(w);
}

static void
add_container(struct writer *w, const struct js *value, int depth)
{
	if (js_is(value, JS_OBJECT))
		add_object(w, value, depth);
	else if (plain_list(value))
		add_items(w, value);
	else
		add_array(w, value, depth);
}

static bool
write_text(struct writer *w, const struct js *root, struct arena *arena, struct parsed *out,
	   struct err *err)
{
	if (is_plain(root)) {
		AUTO(buf) struct buf number = BUF_INIT(NUMBER_MAX_BYTES);

		if (js_is(root, JS_STRING)) {
			parse_out_paragraphs(&w->out, js_str(root));
		} else if (!js_is(root, JS_NULL)) {
			js_write(root, &number);
			parse_out_paragraphs(&w->out, str_make(number.data, number.len));
		}
	} else {
		add_container(w, root, 1);
	}
	if (w->late)
		return parse_deadline(w->limits, err);
	return parse_out_finish(&w->out, name_of(root), arena, out, err);
}

bool
parse_json(struct str bytes, const struct parse_limits *limits, struct arena *arena,
	   struct parsed *out, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct writer w = { .limits = limits };

	if (!js_parse(bytes, &root, err)) {
		if (err->code == ERR_MALFORMED)
			err->code = ERR_BAD_DOCUMENT;
		return false;
	}
	if (!parse_deadline(limits, err))
		return false;
	parse_out_init(&w.out, limits, arena);

	bool ok = write_text(&w, root, arena, out, err);

	parse_out_release(&w.out);
	return ok;
}
