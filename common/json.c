/*
 * Reading is jansson behind one pass of our own over the text, because jansson checks too late or not
 * at all: that pass caps nesting before anything recurses, and the number of values before anything is
 * allocated (a two-byte item `0,` costs jansson about 50 bytes). It knows only strings and brackets;
 * whether the text is JSON stays jansson's business.
 *
 * `struct js` is jansson's json_t under our name, never completed. jansson's reference counts are not
 * used: a tree has one owner, who frees the root.
 *
 * Writing needs no tree: jw appends straight to a buf. Strings are copied in runs between the few
 * bytes that need an escape.
 */
#include "common/json.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

static_assert(JSON_MAX_DEPTH <= 64, "jw keeps one bit a level");

/* jansson takes its values as non-const even where it only reads. */
static json_t *
node(const struct js *value)
{
	return (json_t *)(uintptr_t)value;
}

static const struct js *
value_of(const json_t *json)
{
	return (const struct js *)(const void *)json;
}

/* ---- reading ---- */

static bool
fail_at(struct err *err, struct str text, size_t at, const char *what)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < at && i < text.len; i++) {
		if (text.ptr[i] == '\n') {
			line++;
			column = 0;
		}
		/* continuation bytes belong to the character before */
		if (((unsigned char)text.ptr[i] & 0xC0) != 0x80)
			column++;
	}
	return err_set(err, ERR_MALFORMED, "not valid JSON: %s at line %zu, column %zu", what, line,
		       column);
}

/* The end of the string whose opening quote is at `at`: its closing quote, or the end of the text. */
static size_t
string_end(struct str text, size_t at)
{
	for (at++; at < text.len && text.ptr[at] != '"'; at++) {
		if (text.ptr[at] == '\\')
			at++;
	}
	return at;
}

static bool
check_shape(struct str text, struct err *err)
{
	size_t depth = 0, values = 1;

	for (size_t at = 0; at < text.len; at++) {
		char c = text.ptr[at];

		if (c == '"') {
			at = string_end(text, at);
		} else if (c == '[' || c == '{') {
			if (++depth > JSON_MAX_DEPTH)
				return fail_at(err, text, at, "nested too deep");
			values++;
		} else if (c == ']' || c == '}') {
			if (depth > 0)
				depth--;
		} else if (c == ',') {
			values++;
		}
	}
	if (values > JSON_MAX_VALUES)
		return err_set(err, ERR_TOO_LARGE, "cannot read JSON: more than %d values",
			       JSON_MAX_VALUES);
	return true;
}

/* jansson's message without the options and limits that only its own users know. */
static bool
parse_failed(struct err *err, struct str text, const json_error_t *error)
{
	size_t at = error->position > 0 ? (size_t)error->position : 0;

	if (json_error_code(error) == json_error_null_character)
		return fail_at(err, text, at, "\\u0000 is not allowed");
	if (json_error_code(error) == json_error_out_of_memory)
		return err_set(err, ERR_TOO_LARGE, "cannot read JSON: out of memory");
	return fail_at(err, text, at, error->text);
}

bool
js_parse(struct str text, struct js **out_root, struct err *err)
{
	json_error_t error = { .text = "" };
	size_t bad_at = 0;

	if (text.len == 0)
		return fail_at(err, text, 0, "it is empty");
	if (str_starts(text, "\xEF\xBB\xBF"))
		return fail_at(err, text, 0, "a byte order mark");
	if (!str_utf8_valid(text, &bad_at))
		return fail_at(err, text, bad_at, "a byte that is not UTF-8");
	if (!check_shape(text, err))
		return false;

	json_t *root =
		json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

	if (!root)
		return parse_failed(err, text, &error);
	*out_root = (struct js *)(void *)root;
	return true;
}

void
js_free(struct js *root)
{
	json_decref(node(root));
}

enum js_type
js_type(const struct js *value)
{
	switch (json_typeof(node(value))) {
	case JSON_OBJECT:
		return JS_OBJECT;
	case JSON_ARRAY:
		return JS_ARRAY;
	case JSON_STRING:
		return JS_STRING;
	case JSON_INTEGER:
		return JS_INT;
	case JSON_REAL:
		return JS_REAL;
	case JSON_TRUE:
	case JSON_FALSE:
		return JS_BOOL;
	case JSON_NULL:
	default:
		return JS_NULL;
	}
}

const char *
js_type_name(enum js_type type)
{
	static const char *const names[] = {
		[JS_NULL] = "null",	   [JS_BOOL] = "true or false", [JS_INT] = "a whole number",
		[JS_REAL] = "a number",	   [JS_STRING] = "a string",	[JS_ARRAY] = "an array",
		[JS_OBJECT] = "an object",
	};

	return (size_t)type < ARRAY_SIZE(names) ? names[type] : "unknown";
}

bool
js_is(const struct js *value, enum js_type type)
{
	return value && js_type(value) == type;
}

bool
js_bool(const struct js *value)
{
	assert(js_is(value, JS_BOOL));
	return json_is_true(node(value));
}

int64_t
js_int(const struct js *value)
{
	assert(js_is(value, JS_INT));
	return json_integer_value(node(value));
}

double
js_number(const struct js *value)
{
	assert(js_is(value, JS_INT) || js_is(value, JS_REAL));
	return json_number_value(node(value));
}

struct str
js_str(const struct js *value)
{
	assert(js_is(value, JS_STRING));
	return str_make(json_string_value(node(value)), json_string_length(node(value)));
}

size_t
js_len(const struct js *value)
{
	return js_is(value, JS_OBJECT) ? json_object_size(node(value))
				       : json_array_size(node(value));
}

const struct js *
js_at(const struct js *array, size_t index)
{
	return value_of(json_array_get(node(array), index));
}

const struct js *
js_get(const struct js *object, const char *key)
{
	return value_of(json_object_get(node(object), key));
}

/* An iterator is jansson's opaque pointer under our name. */
static void *
iter(const struct js_iter *it)
{
	return (void *)(uintptr_t)it;
}

const struct js_iter *
js_first(const struct js *object)
{
	return json_object_iter(node(object));
}

const struct js_iter *
js_next(const struct js *object, const struct js_iter *it)
{
	return json_object_iter_next(node(object), iter(it));
}

struct str
js_iter_key(const struct js_iter *it)
{
	return str_of(json_object_iter_key(iter(it)));
}

const struct js *
js_iter_value(const struct js_iter *it)
{
	return value_of(json_object_iter_value(iter(it)));
}

bool
js_get_str(const struct js *object, const char *key, struct str *out)
{
	const struct js *value = js_get(object, key);

	if (!js_is(value, JS_STRING))
		return false;
	*out = js_str(value);
	return true;
}

bool
js_get_int(const struct js *object, const char *key, int64_t *out)
{
	const struct js *value = js_get(object, key);

	if (!js_is(value, JS_INT))
		return false;
	*out = js_int(value);
	return true;
}

bool
js_get_bool(const struct js *object, const char *key, bool *out)
{
	const struct js *value = js_get(object, key);

	if (!js_is(value, JS_BOOL))
		return false;
	*out = js_bool(value);
	return true;
}

/* ---- writing a tree ---- */

static int
by_key(const void *a, const void *b)
{
	return str_cmp(js_iter_key(*(const struct js_iter *const *)a),
		       js_iter_key(*(const struct js_iter *const *)b));
}

static void write_value(const struct js *value, bool sorted, struct jw *w);

static void
write_object(const struct js *value, bool sorted, struct jw *w)
{
	size_t count = js_len(value), i = 0;
	const struct js_iter **members = mem_array(count + 1, sizeof(struct js_iter *));

	for (const struct js_iter *it = js_first(value); it; it = js_next(value, it))
		members[i++] = it;
	if (sorted)
		qsort(members, count, sizeof(struct js_iter *), by_key);
	jw_obj(w);
	for (i = 0; i < count; i++) {
		jw_key(w, js_iter_key(members[i]).ptr);
		write_value(js_iter_value(members[i]), sorted, w);
	}
	jw_end(w);
	mem_free(members);
}

static void
write_array(const struct js *value, bool sorted, struct jw *w)
{
	jw_arr(w);
	for (size_t i = 0; i < js_len(value); i++)
		write_value(js_at(value, i), sorted, w);
	jw_end(w);
}

static void
write_value(const struct js *value, bool sorted, struct jw *w)
{
	switch (js_type(value)) {
	case JS_OBJECT:
		write_object(value, sorted, w);
		return;
	case JS_ARRAY:
		write_array(value, sorted, w);
		return;
	case JS_STRING:
		jw_str(w, js_str(value));
		return;
	case JS_INT:
		jw_int(w, js_int(value));
		return;
	case JS_REAL:
		jw_num(w, js_number(value), 0);
		return;
	case JS_BOOL:
		jw_bool(w, js_bool(value));
		return;
	case JS_NULL:
		jw_null(w);
		return;
	}
}

void
js_write_canonical(const struct js *value, struct buf *out)
{
	struct jw w = jw_start(out);

	write_value(value, true, &w);
}

void
js_write(const struct js *value, struct buf *out)
{
	struct jw w = jw_start(out);

	write_value(value, false, &w);
}

/* ---- writing ---- */

struct jw
jw_start(struct buf *out)
{
	return (struct jw){ .out = out };
}

static bool
in_object(const struct jw *w)
{
	return w->depth > 0 && (w->is_object >> (w->depth - 1) & 1) != 0;
}

/* Before every value: a comma where one is due, and the rule that an object's value has a key. */
static void
before_value(struct jw *w)
{
	assert(w->after_key == in_object(w));
	assert(w->depth > 0 || !w->need_comma);
	if (w->need_comma && !w->after_key)
		buf_add_char(w->out, ',');
	w->need_comma = true;
	w->after_key = false;
}

static void
begin(struct jw *w, bool object)
{
	before_value(w);
	assert(w->depth < JSON_MAX_DEPTH);

	uint64_t bit = UINT64_C(1) << w->depth;

	w->is_object = object ? w->is_object | bit : w->is_object & ~bit;
	w->depth++;
	w->need_comma = false;
	buf_add_char(w->out, object ? '{' : '[');
}

void
jw_obj(struct jw *w)
{
	begin(w, true);
}

void
jw_arr(struct jw *w)
{
	begin(w, false);
}

void
jw_end(struct jw *w)
{
	assert(w->depth > 0 && !w->after_key);
	buf_add_char(w->out, in_object(w) ? '}' : ']');
	w->depth--;
	w->need_comma = true;
}

static void
add_escape(struct buf *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char short_form[32] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
	};
	char text[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (c >= 0x20 || short_form[c]) {
		text[1] = (char)(c >= 0x20 ? c : short_form[c]);
		buf_add(out, text, 2);
	} else {
		buf_add(out, text, sizeof(text));
	}
}

/* Bytes that a string may hold as they are, given that the whole is valid UTF-8. */
static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

static void
add_valid(struct buf *out, struct str text)
{
	size_t from = 0;

	for (size_t at = 0; at < text.len; at++) {
		unsigned char c = (unsigned char)text.ptr[at];

		if (is_plain(c))
			continue;
		buf_add(out, text.ptr + from, at - from);
		add_escape(out, c);
		from = at + 1;
	}
	if (from < text.len)
		buf_add(out, text.ptr + from, text.len - from);
}

static void
add_string(struct buf *out, struct str text)
{
	size_t bad_at = 0;

	buf_add_char(out, '"');
	while (!str_utf8_valid(text, &bad_at)) {
		add_valid(out, str_sub(text, 0, bad_at));
		buf_add_str(out, "\xEF\xBF\xBD");
		text = str_sub(text, bad_at + 1, text.len);
	}
	add_valid(out, text);
	buf_add_char(out, '"');
}

void
jw_key(struct jw *w, const char *key)
{
	assert(in_object(w) && !w->after_key);
	if (w->need_comma)
		buf_add_char(w->out, ',');
	add_string(w->out, str_of(key));
	buf_add_char(w->out, ':');
	w->after_key = true;
}

void
jw_str(struct jw *w, struct str value)
{
	before_value(w);
	add_string(w->out, value);
}

void
jw_cstr(struct jw *w, const char *value)
{
	if (value)
		jw_str(w, str_of(value));
	else
		jw_null(w);
}

void
jw_int(struct jw *w, int64_t value)
{
	before_value(w);
	buf_add_i64(w->out, value);
}

#define NUMBER_BYTES 40

static void
format_number(char text[NUMBER_BYTES], double value, int digits)
{
	(void)snprintf(text, NUMBER_BYTES, "%.*g", digits, value);
	/* a locale may write a comma */
	for (char *c = text; *c; c++) {
		if (*c == ',')
			*c = '.';
	}
}

/* The fewest digits, 15 to 17, that read back as the same number; always with a '.' or an 'e', so that
 * a real stays a real. Equal values give equal bytes: there is no -0. */
static void
format_exact(char text[NUMBER_BYTES], double value)
{
	double back = 0;

	if (value == 0) {
		(void)str_copy(text, NUMBER_BYTES, STR("0.0"));
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		format_number(text, value, digits);
		if (str_to_f64(str_of(text), &back) && back == value)
			break;
	}

	size_t len = strlen(text);

	if (!strpbrk(text, ".e"))
		(void)str_copy(text + len, NUMBER_BYTES - len, STR(".0"));
}

void
jw_num(struct jw *w, double value, int digits)
{
	char text[NUMBER_BYTES];

	if (!isfinite(value)) {
		jw_null(w);
		return;
	}
	if (digits < 1)
		format_exact(text, value);
	else
		format_number(text, value, digits > 17 ? 17 : digits);
	before_value(w);
	buf_add_str(w->out, text);
}

void
jw_bool(struct jw *w, bool value)
{
	before_value(w);
	buf_add_str(w->out, value ? "true" : "false");
}

void
jw_null(struct jw *w)
{
	before_value(w);
	buf_add_str(w->out, "null");
}

void
jw_js(struct jw *w, const struct js *value)
{
	write_value(value, false, w);
}

void
jw_raw(struct jw *w, struct str json)
{
	before_value(w);
	buf_add(w->out, json.ptr, json.len);
}

void
jw_kstr(struct jw *w, const char *key, struct str value)
{
	jw_key(w, key);
	jw_str(w, value);
}

void
jw_kcstr(struct jw *w, const char *key, const char *value)
{
	jw_key(w, key);
	jw_cstr(w, value);
}

void
jw_kint(struct jw *w, const char *key, int64_t value)
{
	jw_key(w, key);
	jw_int(w, value);
}

void
jw_knum(struct jw *w, const char *key, double value, int digits)
{
	jw_key(w, key);
	jw_num(w, value, digits);
}

void
jw_kbool(struct jw *w, const char *key, bool value)
{
	jw_key(w, key);
	jw_bool(w, value);
}

void
jw_knull(struct jw *w, const char *key)
{
	jw_key(w, key);
	jw_null(w);
}

void
jw_kraw(struct jw *w, const char *key, struct str json)
{
	jw_key(w, key);
	jw_raw(w, json);
}

void
jw_kobj(struct jw *w, const char *key)
{
	jw_key(w, key);
	jw_obj(w);
}

void
jw_karr(struct jw *w, const char *key)
{
	jw_key(w, key);
	jw_arr(w);
}

void
jw_ktime(struct jw *w, const char *key, int64_t unix_ms)
{
	char text[CLOCK_ISO_BYTES];

	if (unix_ms <= 0) {
		jw_knull(w, key);
		return;
	}
	clock_format_iso(text, unix_ms);
	jw_kcstr(w, key, text);
}
