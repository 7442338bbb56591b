/*
 * The parts of http_server.h that are text only: addresses, percent-encoding, query parameters, the
 * names of status codes. No socket, no library.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "common/http_server.h"

/* ---- addresses ---- */

static bool
is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (str_eq_nocase(str_of(host), STR("localhost")))
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	if (inet_pton(AF_INET6, host, &v6) != 1)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

bool
http_listen_parse(const char *listen, char host[256], int *out_port, bool *out_loopback,
		  struct err *err)
{
	struct str text = str_of(listen), name = { 0 }, rest = { 0 };
	bool bracket = str_starts(text, "[");
	size_t at = 0;
	int64_t port = 0;
	char copy[256];

	if (!str_find(text, bracket ? STR("]") : STR(":"), &at))
		return err_set(err, ERR_CONFIG,
			       "'%s' is not an address and port, like 127.0.0.1:8000", listen);
	name = str_sub(text, bracket, at);
	rest = str_sub(text, at + bracket, text.len);
	if (name.len == 0)
		return err_set(err, ERR_CONFIG,
			       "'%s' names no address before the port (0.0.0.0 is all of IPv4)",
			       listen);
	if (!str_starts(rest, ":") || !str_to_i64(str_sub(rest, 1, rest.len), 0, 65535, &port))
		return err_set(err, ERR_CONFIG,
			       "'%s' does not end in a port from 0 to 65535 (IPv6 needs brackets)",
			       listen);
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] <= ' ' || strchr(",/[]", name.ptr[i]))
			return err_set(err, ERR_CONFIG, "'%s' does not begin with an address",
				       listen);
	if (!str_copy(copy, sizeof(copy), name))
		return err_set(err, ERR_CONFIG,
			       "the address in '%.40s...' is longer than 255 bytes", listen);
	memcpy(host, copy, sizeof(copy));
	*out_port = (int)port;
	*out_loopback = is_loopback(copy);
	return true;
}

/* ---- percent-encoding ---- */

/* into: room for raw.len bytes. Returns the decoded length, or -1 for a broken escape or a NUL. */
static ptrdiff_t
percent_decode(struct str raw, bool plus_is_blank, char *into)
{
	ptrdiff_t len = 0;

	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];

		if (c == '%') {
			if (i + 2 >= raw.len || !str_unhex(str_sub(raw, i + 1, i + 3), &c, 1))
				return -1;
			i += 2;
		} else if (c == '+' && plus_is_blank) {
			c = ' ';
		}
		if (c == '\0')
			return -1;
		into[len++] = c;
	}
	return len;
}

static bool
decode(struct str raw, bool plus_is_blank, const char *what, struct arena *arena, struct str *out,
       struct err *err)
{
	void *into = NULL;

	if (!arena_alloc_err(arena, raw.len + 1, what, &into, err))
		return false;

	ptrdiff_t len = percent_decode(raw, plus_is_blank, into);

	if (len < 0)
		return err_set(err, ERR_MALFORMED, "the %s holds a broken percent escape or a NUL",
			       what);

	struct str text = str_make(into, (size_t)len);

	if (!str_utf8_valid(text, NULL))
		return err_set(err, ERR_MALFORMED, "the %s is not valid UTF-8", what);
	*out = text;
	return true;
}

bool
http_path_decode(struct str raw, struct arena *arena, struct str *out, struct err *err)
{
	return decode(raw, false, "path", arena, out, err);
}

/* ---- query parameters ---- */

/* Cuts the next "name=value" off rest, both still encoded; false at the end. */
static bool
next_param(struct str *rest, struct str *out_name, struct str *out_value)
{
	struct str piece;

	while (str_split(rest, '&', &piece)) {
		size_t at = piece.len;

		if (piece.len == 0)
			continue;
		str_find(piece, STR("="), &at);
		*out_name = str_sub(piece, 0, at);
		*out_value = str_sub(piece, at + 1, piece.len);
		return true;
	}
	return false;
}

bool
http_param(const struct http_request *request, const char *name, struct arena *arena,
	   bool *out_found, struct str *out, struct err *err)
{
	struct str rest = request->query, raw_name = { 0 }, raw_value = { 0 };
	struct str found_value = { 0 };
	bool found = false;

	while (next_param(&rest, &raw_name, &raw_value)) {
		struct str decoded;

		if (!decode(raw_name, true, "query", arena, &decoded, err))
			return false;
		if (!str_eq(decoded, str_of(name)))
			continue;
		if (found) {
			err_set(err, ERR_INVALID, "the parameter '%s' is given twice", name);
			return err_at(err, "/%s", name);
		}
		found = true;
		if (!decode(raw_value, true, "query", arena, &found_value, err))
			return err_at(err, "/%s", name);
	}
	*out_found = found;
	if (found)
		*out = found_value;
	return true;
}

bool
http_each_param(const struct http_request *request, struct arena *arena,
		bool (*fn)(void *user, struct str name, struct err *err), void *user,
		struct err *err)
{
	struct str rest = request->query, raw_name = { 0 }, raw_value = { 0 };

	while (next_param(&rest, &raw_name, &raw_value)) {
		struct str name;

		if (!decode(raw_name, true, "query", arena, &name, err) || !fn(user, name, err))
			return false;
	}
	return true;
}

/* ---- answers ---- */

void
http_answer_init(struct http_answer *answer, int status)
{
	*answer = (struct http_answer){ .status = status };
}

void
http_answer_header(struct http_answer *answer, const char *name, const char *fmt, ...)
{
	va_list args;
	size_t kept = 0;

	if (answer->header_count == HTTP_MAX_ANSWER_HEADERS)
		return;

	char *value = answer->headers[answer->header_count].value;

	va_start(args, fmt);
	(void)vsnprintf(value, sizeof(answer->headers[0].value), fmt, args);
	va_end(args);
	for (size_t i = 0; value[i] != '\0'; i++)
		if ((unsigned char)value[i] >= 0x20 && value[i] != 0x7f)
			value[kept++] = value[i];
	value[kept] = '\0';
	answer->headers[answer->header_count++].name = name;
}

static const struct {
	int status;
	const char *text;
} status_texts[] = {
	{ 100, "Continue" },
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 206, "Partial Content" },
	{ 207, "Multi-Status" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" },
	{ 422, "Unprocessable Content" },
	{ 425, "Too Early" },
	{ 426, "Upgrade Required" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 499, "Client Closed Request" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
};

const char *
http_status_text(int status)
{
	for (size_t i = 0; i < sizeof(status_texts) / sizeof(status_texts[0]); i++)
		if (status_texts[i].status == status)
			return status_texts[i].text;
	return "Unknown";
}
