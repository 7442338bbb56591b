#include "common/multipart.h"

#include <string.h>

#include "common/base/auto.h"

#define NAME_MAX_BYTES 200

static bool
malformed(struct err *err, const char *why)
{
	return err_set(err, ERR_MALFORMED, "cannot read the multipart body: %s", why);
}

/* ---- parameters of a header: ; name=value ; name="value" ---- */

static bool
is_token(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static struct str
token(struct str text)
{
	size_t len = 0;

	while (len < text.len && is_token(text.ptr[len]))
		len++;
	return str_sub(text, 0, len);
}

static struct str
skip(struct str text, size_t bytes)
{
	return str_sub(text, bytes, text.len);
}

static struct str
skip_blanks(struct str text)
{
	while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
		text = skip(text, 1);
	return text;
}

/* A quoted value may not hold a backslash: clients disagree on what it means. */
static bool
quoted(struct str *rest, struct str *out)
{
	const char *end = rest->len > 1 ? memchr(rest->ptr + 1, '"', rest->len - 1) : NULL;

	if (!end)
		return false;
	*out = str_sub(*rest, 1, (size_t)(end - rest->ptr));
	*rest = skip(*rest, out->len + 2);
	return out->len == 0 || !memchr(out->ptr, '\\', out->len);
}

/* The next of *rest; false: no more, or (*out_bad) not understood. */
static bool
next_parameter(struct str *rest, struct str *out_name, struct str *out_value, bool *out_bad)
{
	*rest = skip_blanks(*rest);
	if (rest->len == 0)
		return false;
	*out_bad = true;
	if (rest->ptr[0] != ';')
		return false;
	*rest = skip_blanks(skip(*rest, 1));
	*out_name = token(*rest);
	*rest = skip(*rest, out_name->len);
	if (out_name->len == 0 || rest->len == 0 || rest->ptr[0] != '=')
		return false;
	*rest = skip(*rest, 1);
	if (rest->len > 0 && rest->ptr[0] == '"') {
		if (!quoted(rest, out_value))
			return false;
	} else {
		*out_value = token(*rest);
		*rest = skip(*rest, out_value->len);
	}
	*out_bad = false;
	return true;
}

/* ---- the boundary ---- */

static bool
is_boundary_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("'()+_,-./:=? ", c));
}

static bool
is_boundary(struct str text)
{
	if (text.len == 0 || text.len > MULTIPART_BOUNDARY_MAX || text.ptr[text.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (!is_boundary_char(text.ptr[i]))
			return false;
	return true;
}

static bool
find_boundary(struct str content_type, struct str *out, struct err *err)
{
	struct str rest = content_type, type, name, value;
	bool bad = false;

	*out = STR("");
	type = token(rest);
	rest = skip(rest, type.len);
	if (rest.len > 0 && rest.ptr[0] == '/') /* "multipart" "/" "form-data" */
		rest = skip(rest, 1 + token(skip(rest, 1)).len);
	while (next_parameter(&rest, &name, &value, &bad)) {
		if (!str_eq_nocase(name, STR("boundary")))
			continue;
		if (out->len > 0)
			return malformed(err, "two boundaries in Content-Type");
		*out = value;
	}
	if (bad || !is_boundary(*out))
		return malformed(err, "Content-Type has no boundary of 1 to 70 allowed characters");
	return true;
}

/* Behind a boundary: a line end begins a part, "--" ends the body. */
static bool
after_boundary(struct multipart *multipart, struct err *err)
{
	struct str rest = multipart->rest;

	if (str_starts(rest, "\r\n")) {
		multipart->rest = skip(rest, 2);
		return true;
	}
	if (!str_starts(rest, "--"))
		return malformed(err, "a boundary is not followed by a line end");
	rest = skip(rest, 2);
	if (rest.len > 0 && !str_eq_c(rest, "\r\n"))
		return malformed(err, "there is more behind the last boundary");
	multipart->rest = STR("");
	multipart->ended = true;
	return true;
}

bool
multipart_open(struct str content_type, struct str body, struct multipart *out, struct err *err)
{
	struct multipart multipart = { .ended = false };
	struct str boundary;

	if (!find_boundary(content_type, &boundary, err))
		return false;
	memcpy(multipart.boundary, "\r\n--", 4);
	memcpy(multipart.boundary + 4, boundary.ptr, boundary.len);
	multipart.boundary_len = boundary.len + 4;
	if (!str_starts(body, multipart.boundary + 2))
		return malformed(err, "it does not begin with the boundary of Content-Type");
	multipart.rest = skip(body, multipart.boundary_len - 2);
	if (!after_boundary(&multipart, err))
		return false;
	*out = multipart;
	return true;
}

/* ---- a part ---- */

static bool
read_disposition(struct str value, struct multipart_part *part, struct err *err)
{
	struct str type = token(value), rest = skip(value, type.len), name, text;
	bool bad = false;

	if (!str_eq_nocase(type, STR("form-data")) || part->name.len > 0)
		return malformed(err, "a part is not form-data");
	while (next_parameter(&rest, &name, &text, &bad)) {
		if (str_eq_nocase(name, STR("name"))) {
			if (part->name.len > 0)
				return malformed(err, "a part has two names");
			part->name = text;
		} else if (str_eq_nocase(name, STR("filename"))) {
			part->filename = text;
		}
	}
	if (bad)
		return malformed(err, "a Content-Disposition is not understood");
	return true;
}

static bool
read_header(struct str line, struct multipart_part *part, struct err *err)
{
	struct str name = token(line), value;

	if (name.len == 0 || name.len >= line.len || line.ptr[name.len] != ':')
		return malformed(err, "a line among a part's headers is none");
	value = str_trim(skip(line, name.len + 1));
	if (str_eq_nocase(name, STR("Content-Disposition")))
		return read_disposition(value, part, err);
	if (str_eq_nocase(name, STR("Content-Type"))) {
		if (part->content_type.len > 0)
			return malformed(err, "a part has two types");
		part->content_type = value;
	} else if (str_eq_nocase(name, STR("Content-Transfer-Encoding")) &&
		   !str_eq_nocase(value, STR("7bit")) && !str_eq_nocase(value, STR("8bit")) &&
		   !str_eq_nocase(value, STR("binary"))) {
		return malformed(err, "a part has a transfer encoding; send it as it is");
	}
	return true;
}

/* Takes the headers off multipart->rest. */
static bool
read_head(struct multipart *multipart, struct multipart_part *part, struct err *err)
{
	struct str head = str_sub(multipart->rest, 0, MULTIPART_HEAD_MAX);

	for (size_t at = 0;;) {
		struct str left = skip(head, at);
		size_t len;

		if (!str_find(left, STR("\r\n"), &len))
			return malformed(err, head.len < MULTIPART_HEAD_MAX
						      ? "it ends within a part's headers"
						      : "a part's headers are too long");
		at += len + 2;
		if (len == 0) {
			multipart->rest = skip(multipart->rest, at);
			break;
		}
		if (!read_header(str_sub(left, 0, len), part, err))
			return false;
	}
	if (part->name.len == 0 || part->name.len > NAME_MAX_BYTES)
		return malformed(err, "a part has no name");
	return true;
}

bool
multipart_next(struct multipart *multipart, struct multipart_part *out, bool *out_more,
	       struct err *err)
{
	struct multipart_part part = { .name = { 0 } };
	struct multipart next = *multipart;
	size_t end;

	if (multipart->ended) {
		*out_more = false;
		return true;
	}
	if (++next.count > MULTIPART_PARTS_MAX)
		return malformed(err, "too many parts");
	part.filename = part.content_type = STR("");
	if (!read_head(&next, &part, err))
		return false;
	if (str_find(next.rest, str_make(next.boundary, next.boundary_len), &end)) {
		part.body = str_sub(next.rest, 0, end);
		next.rest = skip(next.rest, end + next.boundary_len);
	} else {
		return malformed(err, "its last boundary is missing (cut off?)");
	}
	if (!after_boundary(&next, err))
		return false;
	*multipart = next;
	*out = part;
	*out_more = true;
	return true;
}
