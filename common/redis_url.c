#include "common/redis_url.h"

#include <stdio.h>
#include <string.h>

#define SOCKET_PATH_MAX_BYTES 107 /* sun_path of Linux without its NUL */
#define DB_MAX 1000000

static bool
refuse(struct err *err, const char *why)
{
	return err_set(err, ERR_CONFIG, "not a Redis URL: %s", why);
}

/* Percent-decoding; false for a broken escape, a NUL, or more bytes than fit. */
static bool
decode(struct str text, char *out, size_t out_bytes)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '%') {
			if (i + 2 >= text.len || !str_unhex(str_make(text.ptr + i + 1, 2), &c, 1))
				return false;
			i += 2;
		}
		if (c == '\0' || len + 1 >= out_bytes)
			return false;
		out[len++] = c;
	}
	out[len] = '\0';
	return true;
}

/* Cuts `text` at the first (or last) c: *out_head before it, *text after it. false when there is none. */
static bool
cut(struct str *text, char c, bool last, struct str *out_head)
{
	size_t at = text->len;

	for (size_t i = 0; i < text->len; i++) {
		if (text->ptr[i] == c) {
			at = i;
			if (!last)
				break;
		}
	}
	if (at == text->len)
		return false;
	*out_head = str_sub(*text, 0, at);
	*text = str_sub(*text, at + 1, text->len);
	return true;
}

static bool
parse_login(struct str login, struct redis_url *out, struct err *err)
{
	struct str user = { 0 };

	if (!cut(&login, ':', false, &user))
		return refuse(err, "the login must be 'user:password' or ':password'");
	if (!decode(user, out->user, sizeof(out->user)) ||
	    !decode(login, out->pass, sizeof(out->pass)))
		return refuse(err, "the login is too long or badly percent-encoded");
	if (out->pass[0] == '\0')
		return refuse(err, "the password is empty");
	return true;
}

/* host, host:port, [v6], [v6]:port */
static bool
parse_host(struct str text, struct redis_url *out, struct err *err)
{
	struct str host = text, port = STR("6379");

	if (str_starts(text, "[")) {
		struct str v6 = str_sub(text, 1, text.len);

		if (!cut(&v6, ']', false, &host))
			return refuse(err, "']' is missing");
		if (v6.len > 0 && v6.ptr[0] != ':')
			return refuse(err, "only ':port' may follow ']'");
		if (v6.len > 0)
			port = str_sub(v6, 1, v6.len);
	} else if (cut(&text, ':', true, &host)) {
		port = text;
	}

	int64_t number;

	if (!str_to_i64(port, 1, 65535, &number))
		return refuse(err, "the port must be a number from 1 to 65535");
	if (host.len == 0 || !str_copy(out->host, sizeof(out->host), host))
		return refuse(err, "the host is missing or too long");
	(void)snprintf(out->port, sizeof(out->port), "%d", (int)number);
	return true;
}

static bool
parse_db(struct str text, struct redis_url *out, struct err *err)
{
	if (text.len > 0 && !str_to_i64(text, 0, DB_MAX, &out->db))
		return refuse(err, "the database must be a number");
	return true;
}

static bool
parse_unix(struct str rest, struct redis_url *out, struct err *err)
{
	struct str path = rest;

	out->is_unix = true;
	if (cut(&rest, '?', false, &path)) {
		if (!str_starts(rest, "db="))
			return refuse(err, "after '?' only 'db=N' is known");
		if (!parse_db(str_sub(rest, 3, rest.len), out, err))
			return false;
	}
	if (path.len == 0 || path.len > SOCKET_PATH_MAX_BYTES)
		return refuse(err, "the path of the socket must have 1 to 107 bytes");
	(void)str_copy(out->host, sizeof(out->host), path);
	(void)snprintf(out->label, sizeof(out->label), "%s", out->host);
	return true;
}

static bool
parse_tcp(struct str rest, struct redis_url *out, struct err *err)
{
	struct str login, place;

	if (cut(&rest, '@', true, &login) && !parse_login(login, out, err))
		return false;
	place = rest;
	if (cut(&rest, '/', false, &place) && !parse_db(rest, out, err))
		return false;
	if (!parse_host(place, out, err))
		return false;
	(void)snprintf(out->label, sizeof(out->label), "%s:%s/%d", out->host, out->port,
		       (int)out->db);
	return true;
}

bool
redis_url_parse(struct str url, struct redis_url *out, struct err *err)
{
	struct redis_url parsed = { 0 };
	bool ok;

	for (size_t i = 0; i < url.len; i++)
		if ((unsigned char)url.ptr[i] < 0x20 || url.ptr[i] == 0x7f)
			return refuse(err, "it holds a control character");
	if (url.len == 0)
		url = STR("redis://127.0.0.1:6379/0");
	if (str_starts(url, "redis://"))
		ok = parse_tcp(str_sub(url, strlen("redis://"), url.len), &parsed, err);
	else if (str_starts(url, "unix://"))
		ok = parse_unix(str_sub(url, strlen("unix://"), url.len), &parsed, err);
	else if (str_starts(url, "rediss://"))
		ok = refuse(err, "TLS (rediss://) is not supported");
	else
		ok = refuse(err, "it must begin with 'redis://' or 'unix://'");
	if (ok)
		*out = parsed;
	return ok;
}
