/*
 * The grammar is RFC 9112 (messages) and RFC 9110 (fields). Refused with 400 although some servers
 * let it pass, because a proxy in front may read it otherwise and then sees other requests than we:
 *
 *	bare LF, bare CR, NUL or other control characters anywhere in the head
 *	a line that continues the one before (obs-fold); a blank before the colon
 *	Content-Length twice (even equal), signed, empty, as a list, or not a number
 *	Transfer-Encoding twice, other than "chunked", together with Content-Length, or in HTTP/1.0
 *	no Host or two in HTTP/1.1; a target that is not visible ASCII, or holds '#'
 *
 * A target in absolute form ("http://host/path") is cut to its path, as RFC 9112 3.2.2 demands of
 * every server. "//x" is a path in origin form, never an authority.
 */
#include "common/http_head.h"

#include <string.h>

#define DIGITS_MAX 15 /* of Content-Length: enough for a petabyte, far from overflow */

/* token characters of RFC 9110 5.6.2 */
static bool
is_token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool
is_token(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!is_token_char((unsigned char)text.ptr[i]))
			return false;
	return text.len > 0;
}

/* Fails with the status that is to be answered. */
static bool
refuse(struct err *err, int status, const char *why)
{
	err_set(err, status == 431 ? ERR_HEADERS_TOO_LARGE : ERR_MALFORMED, "%s", why);
	err->detail = status;
	return false;
}

enum http_head_scan
http_head_scan(const char *data, size_t len, size_t *at, size_t *out_len)
{
	size_t line = *at; /* always the start of a line */

	for (;;) {
		const char *lf = line < len ? memchr(data + line, '\n', len - line) : NULL;

		if (!lf) {
			*at = line;
			return HTTP_HEAD_MORE;
		}
		size_t end = (size_t)(lf - data);

		if (end == line || data[end - 1] != '\r')
			return HTTP_HEAD_BAD;
		if (end == line + 1) {
			*out_len = end + 1;
			return HTTP_HEAD_DONE;
		}
		line = end + 1;
	}
}

/* Cuts the next line (without CRLF) off rest. The scan has seen to it that there is one. */
static struct str
next_line(struct str *rest)
{
	struct str line = { 0 };
	size_t end = 0;

	if (str_find(*rest, STR("\r\n"), &end)) {
		line = str_sub(*rest, 0, end);
		*rest = str_sub(*rest, end + 2, rest->len);
	}
	return line;
}

/* Origin, absolute or asterisk form -> path and query. */
static bool
parse_target(struct str target, struct http_head *out, struct err *err)
{
	struct str path = target;
	size_t at = 0;

	for (size_t i = 0; i < target.len; i++) {
		unsigned char c = (unsigned char)target.ptr[i];

		if (c <= 0x20 || c >= 0x7f || c == '#')
			return refuse(err, 400,
				      "the request target holds a character that is not allowed");
	}
	if (str_eq(target, STR("*"))) {
		if (!str_eq(out->method, STR("OPTIONS")))
			return refuse(err, 400, "the target '*' is for OPTIONS only");
		out->path = target;
		return true;
	}
	size_t scheme = 0;

	if (target.len >= 7 && str_eq_nocase(str_sub(target, 0, 7), STR("http://")))
		scheme = 7;
	else if (target.len >= 8 && str_eq_nocase(str_sub(target, 0, 8), STR("https://")))
		scheme = 8;
	if (scheme > 0) {
		path = str_sub(target, scheme, target.len);
		size_t authority = 0;

		while (authority < path.len && path.ptr[authority] != '/' &&
		       path.ptr[authority] != '?')
			authority++;
		if (authority == 0)
			return refuse(err, 400, "the request target names no host");
		path = str_sub(path, authority, path.len);
	}
	if (str_find(path, STR("?"), &at)) {
		out->query = str_sub(path, at + 1, path.len);
		path = str_sub(path, 0, at);
	}
	if (path.len == 0 && scheme > 0)
		path = STR("/");
	if (path.len == 0 || path.ptr[0] != '/')
		return refuse(err, 400, "the request target must begin with '/'");
	out->path = path;
	return true;
}

static bool
parse_request_line(struct str line, struct http_head *out, struct err *err)
{
	struct str target = { 0 };
	size_t at = 0;

	if (!str_find(line, STR(" "), &at))
		return refuse(err, 400, "the request line is not 'METHOD target HTTP/1.1'");
	out->method = str_sub(line, 0, at);
	line = str_sub(line, at + 1, line.len);
	if (!str_find(line, STR(" "), &at))
		return refuse(err, 400, "the request line is not 'METHOD target HTTP/1.1'");
	target = str_sub(line, 0, at);

	struct str version = str_sub(line, at + 1, line.len);

	if (!is_token(out->method))
		return refuse(err, 400, "the method is not a token");
	if (version.len != 8 || !str_starts(version, "HTTP/") || version.ptr[6] != '.' ||
	    version.ptr[5] < '0' || version.ptr[5] > '9' || version.ptr[7] < '0' ||
	    version.ptr[7] > '9')
		return refuse(err, 400, "the request line is not 'METHOD target HTTP/1.1'");
	if (version.ptr[5] != '1')
		return refuse(err, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	out->http_1_0 = version.ptr[7] == '0';
	return parse_target(target, out, err);
}

static bool
parse_field(struct str line, struct http_head *out, struct err *err)
{
	size_t colon = 0;

	if (out->field_count == HTTP_HEAD_MAX_FIELDS)
		return refuse(err, 431, "more than 100 header fields");
	if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
		return refuse(err, 400, "a folded header line");
	if (!str_find(line, STR(":"), &colon) || !is_token(str_sub(line, 0, colon)))
		return refuse(err, 400, "a header line is not 'name: value'");

	struct http_field *field = &out->fields[out->field_count++];

	field->name = str_sub(line, 0, colon);
	field->value = str_trim(str_sub(line, colon + 1, line.len));
	return true;
}

/* True when the comma list holds the word, any case. */
static bool
list_has(struct str list, struct str word)
{
	struct str piece;

	while (str_split(&list, ',', &piece))
		if (str_eq_nocase(str_trim(piece), word))
			return true;
	return false;
}

/* The fields that decide where this message ends and the next begins. */
static bool
check_framing(struct http_head *out, struct err *err)
{
	size_t lengths = 0, encodings = 0, hosts = 0;
	struct str host = { 0 };

	for (size_t i = 0; i < out->field_count; i++) {
		const struct http_field *field = &out->fields[i];

		if (str_eq_nocase(field->name, STR("Content-Length"))) {
			uint64_t length = 0;

			lengths++;
			if (field->value.len > DIGITS_MAX || !str_to_u64(field->value, &length))
				return refuse(err, 400, "Content-Length is not a number of bytes");
			out->content_length = (int64_t)length;
		} else if (str_eq_nocase(field->name, STR("Transfer-Encoding"))) {
			encodings++;
			if (!str_eq_nocase(field->value, STR("chunked")))
				return refuse(
					err, 400,
					"a Transfer-Encoding other than chunked is not supported");
			out->chunked = true;
		} else if (str_eq_nocase(field->name, STR("Host"))) {
			hosts++;
			host = field->value;
		}
	}
	if (lengths > 1)
		return refuse(err, 400, "Content-Length is given twice");
	if (encodings > 1)
		return refuse(err, 400, "Transfer-Encoding is given twice");
	if (encodings && lengths)
		return refuse(err, 400, "Content-Length and Transfer-Encoding exclude each other");
	if (encodings && out->http_1_0)
		return refuse(err, 400, "Transfer-Encoding does not exist in HTTP/1.0");
	if (hosts > 1 || (hosts == 0 && !out->http_1_0))
		return refuse(err, 400, "an HTTP/1.1 request has exactly one Host field");
	for (size_t i = 0; i < host.len; i++)
		if (strchr(" \t/?#@,", host.ptr[i]))
			return refuse(err, 400, "the Host field is not a host");
	return true;
}

/* Connection and Expect. */
static bool
check_wishes(struct http_head *out, struct err *err)
{
	bool close = false, keep = false;

	for (size_t i = 0; i < out->field_count; i++) {
		const struct http_field *field = &out->fields[i];

		if (str_eq_nocase(field->name, STR("Connection"))) {
			close |= list_has(field->value, STR("close"));
			keep |= list_has(field->value, STR("keep-alive"));
		} else if (str_eq_nocase(field->name, STR("Expect")) && !out->http_1_0) {
			if (!str_eq_nocase(field->value, STR("100-continue")))
				return refuse(err, 417,
					      "the only expectation met here is 100-continue");
			out->expect_continue = out->chunked || out->content_length > 0;
		}
	}
	out->keep_alive = !close && (!out->http_1_0 || keep);
	return true;
}

bool
http_head_parse(const char *data, size_t len, struct http_head *out, struct err *err)
{
	struct str rest = str_make(data, len);

	*out = (struct http_head){ .content_length = -1 };
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];
		bool line_end = (c == '\r' && i + 1 < len && data[i + 1] == '\n') ||
				(c == '\n' && i > 0 && data[i - 1] == '\r');

		if ((c < 0x20 && c != '\t' && !line_end) || c == 0x7f)
			return refuse(err, 400, "a control character in the request's head");
	}
	if (!parse_request_line(next_line(&rest), out, err))
		return false;
	for (struct str line = next_line(&rest); line.len > 0; line = next_line(&rest))
		if (!parse_field(line, out, err))
			return false;
	return check_framing(out, err) && check_wishes(out, err);
}

bool
http_head_field(const struct http_head *head, const char *name, struct str *out)
{
	for (size_t i = 0; i < head->field_count; i++) {
		if (str_eq_nocase(head->fields[i].name, str_of(name))) {
			*out = head->fields[i].value;
			return true;
		}
	}
	return false;
}
