/*
 * One pass copies the text and leaves out what is most of it: each array of numbers, and each base64 of floats that is an "embedding",
 * becomes {"<mark>": n}, n being its place in `spans`. In strings, escapes that the strict parser refuses are mended. What is left is small and goes to the parser, which has the
 * last word on whether it is JSON at all: an array that was taken out was valid JSON, and an object may stand wherever an array may.
 */
#include "jobs/provider/reply.h"

#include <math.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

#define MARK                                                                                       \
	"\x7f"                                                                                     \
	"floats"
#define FIRST_SPANS 16
#define MAX_SPANS ((size_t)65536) /* arrays after them stay where they are */
#define SPAN_TEXT_BYTES 24	  /* what takes the place of one, at most */
#define SMALLEST_NORMAL 1e-30	  /* a shorter vector has no direction to speak of */

struct reply_span {
	size_t at, count; /* of floats.values */
};

static void
add_span(struct reply *reply, size_t at)
{
	if (reply->span_count == reply->span_cap) {
		reply->span_cap = reply->span_cap > 0 ? 2 * reply->span_cap : FIRST_SPANS;
		reply->spans = mem_grow(reply->spans, reply->span_cap, sizeof(*reply->spans));
	}
	reply->spans[reply->span_count++] =
		(struct reply_span){ .at = at, .count = reply->floats.count - at };
}

/* The four hex digits of an escape; -1 = they are not. */
static int
hex4(struct str text, size_t at)
{
	unsigned char bytes[2];

	if (at + 4 > text.len || !str_unhex(str_sub(text, at, at + 4), bytes, 2))
		return -1;
	return bytes[0] << 8 | bytes[1];
}

/* Copies the escape \uXXXX at `at`, mended; its length. */
static size_t
copy_unicode(struct str text, size_t at, struct buf *out)
{
	int unit = hex4(text, at + 2), low;

	if (unit < 0) { /* the parser will say so */
		buf_add(out, text.ptr + at, 2);
		return 2;
	}
	if (unit >= 0xd800 && unit <= 0xdbff) {
		low = text.len > at + 7 && text.ptr[at + 6] == '\\' && text.ptr[at + 7] == 'u'
			      ? hex4(text, at + 8)
			      : -1;
		if (low >= 0xdc00 && low <= 0xdfff) {
			buf_add(out, text.ptr + at, 12);
			return 12;
		}
	}
	if (unit == 0 || (unit >= 0xd800 && unit <= 0xdfff))
		buf_add_str(out, "\\ufffd");
	else
		buf_add(out, text.ptr + at, 6);
	return 6;
}

/* Copies the string whose opening quote is at `at`; its length, or to the end of the text. */
static size_t
copy_string(struct str text, size_t at, struct buf *out)
{
	size_t from = at, end = at + 1;

	while (end < text.len && text.ptr[end] != '"') {
		if (text.ptr[end] != '\\') {
			end++;
		} else if (end + 1 < text.len && text.ptr[end + 1] == 'u') {
			buf_add(out, text.ptr + from, end - from);
			from = end = end + copy_unicode(text, end, out);
		} else {
			end += 2;
		}
	}
	end = end < text.len ? end + 1 : text.len;
	buf_add(out, text.ptr + from, end - from);
	return end - at;
}

/* Is the value that begins at `at` the member "embedding"? */
static bool
is_embedding(struct str text, size_t at)
{
	const struct str name = STR("\"embedding\"");
	struct str before = str_trim(str_sub(text, at > 64 ? at - 64 : 0, at));

	return str_ends(before, ":") &&
	       str_ends(str_trim(str_sub(before, 0, before.len - 1)), name.ptr);
}

/* The string of base64 at `at`, its numbers added; its length, 0 = it is not one. */
static size_t
scan_base64(struct str text, size_t at, struct floats *into)
{
	const char *quote = memchr(text.ptr + at + 1, '"', text.len - at - 1);
	size_t end = quote ? (size_t)(quote - text.ptr) : 0;

	return quote && floats_add_base64(str_sub(text, at + 1, end), into) ? end + 1 - at : 0;
}

/* What at `at` is taken out, its numbers added; 0 = nothing. */
static size_t
scan_numbers(struct str text, size_t at, struct reply *reply)
{
	if (reply->span_count == MAX_SPANS)
		return 0;
	if (text.ptr[at] == '[')
		return floats_scan_array(str_make(text.ptr + at, text.len - at), &reply->floats);
	return text.ptr[at] == '"' && is_embedding(text, at) ? scan_base64(text, at, &reply->floats)
							     : 0;
}

static void
copy(struct str text, struct reply *reply, struct buf *out)
{
	size_t from = 0, at = 0;

	while (at < text.len) {
		size_t before = reply->floats.count, len = scan_numbers(text, at, reply);

		if (len > 0) {
			buf_add(out, text.ptr + from, at - from);
			buf_printf(out, "{\"" MARK "\":%zu}", reply->span_count);
			add_span(reply, before);
			from = at = at + len;
			continue;
		}
		if (text.ptr[at] == '"') {
			buf_add(out, text.ptr + from, at - from);
			from = at = at + copy_string(text, at, out);
			continue;
		}
		at++;
	}
	buf_add(out, text.ptr + from, at - from);
}

bool
reply_read(struct str body, struct reply *out, struct err *err)
{
	/* an array "[1]" is shorter than what takes its place */
	AUTO(buf) struct buf rest = BUF_INIT(body.len + MAX_SPANS * SPAN_TEXT_BYTES);
	AUTO(reply) struct reply reply = { 0 };
	struct err why = ERR_INIT;

	floats_init(&reply.floats, REPLY_MAX_FLOATS);
	if (str_starts(body, "\xef\xbb\xbf"))
		body = str_sub(body, 3, body.len);
	copy(body, &reply, &rest);
	if (reply.floats.failed || !buf_ok(&rest))
		return err_set(err, ERR_PROVIDER_REPLY, "the reply holds more than %zu numbers",
			       REPLY_MAX_FLOATS);
	if (!js_parse(str_make(rest.data, rest.len), &reply.root, &why)) {
		err_set(err, ERR_PROVIDER_REPLY, "the reply is %s",
			body.len == 0 ? "empty" : "not valid JSON");
		return err_cause(err, "%s", why.msg);
	}
	*out = reply;
	reply = (struct reply){ 0 };
	return true;
}

void
reply_release(struct reply *reply)
{
	js_free(reply->root);
	floats_release(&reply->floats);
	mem_free(reply->spans);
	*reply = (struct reply){ 0 };
}

const float *
reply_numbers(const struct reply *reply, const struct js *value, size_t *out_count)
{
	int64_t nth = 0;

	if (!js_is(value, JS_OBJECT) || js_len(value) != 1 || !js_get_int(value, MARK, &nth) ||
	    nth < 0 || (uint64_t)nth >= reply->span_count)
		return NULL;
	*out_count = reply->spans[nth].count;
	return reply->floats.values + reply->spans[nth].at;
}

/* Copies with unit length; false when a number is not finite. */
static bool
normalise(const float *values, size_t count, float *out)
{
	double squares = 0, scale;

	for (size_t i = 0; i < count; i++)
		squares += (double)values[i] * (double)values[i];
	if (!isfinite(squares))
		return false;
	scale = squares > SMALLEST_NORMAL * SMALLEST_NORMAL ? 1 / sqrt(squares) : 0;
	for (size_t i = 0; i < count; i++)
		out[i] = (float)((double)values[i] * scale);
	return true;
}

bool
reply_vector(const struct reply *reply, const struct js *value, size_t dim, float *out,
	     struct err *err)
{
	size_t count = 0;
	const float *values = reply_numbers(reply, value, &count);
	struct floats decoded;
	bool finite;

	if (!values && js_is(value, JS_ARRAY) && js_len(value) == 1)
		return reply_vector(reply, js_at(value, 0), dim, out, err);
	floats_init(&decoded, REPLY_MAX_FLOATS);
	if (!values && js_is(value, JS_STRING) && floats_add_base64(js_str(value), &decoded)) {
		values = decoded.values;
		count = decoded.count;
	}
	if (!values || count != dim) {
		floats_release(&decoded);
		if (!values)
			return err_set(err, ERR_PROVIDER_REPLY,
				       "the reply holds a vector that is not one of numbers");
		return err_set(err, ERR_PROVIDER_REPLY,
			       "the reply holds a vector of %zu numbers instead of %zu", count,
			       dim);
	}
	finite = normalise(values, count, out);
	floats_release(&decoded);
	return finite || err_set(err, ERR_PROVIDER_REPLY,
				 "the reply holds a vector with a number that is not finite");
}
