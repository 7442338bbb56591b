#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/multipart.h"

#define TYPE "multipart/form-data; boundary=xYz"
#define DISPOSITION(name) "Content-Disposition: form-data; name=\"" name "\"\r\n"

static bool
read_all(const char *type, struct str body, struct buf *out, struct err *err)
{
	struct multipart multipart;
	struct multipart_part part;
	bool more = true;

	if (!multipart_open(str_of(type), body, &multipart, err))
		return false;
	for (;;) {
		if (!multipart_next(&multipart, &part, &more, err))
			return false;
		if (!more)
			return true;
		buf_printf(out, STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT ";", STR_ARG(part.name),
			   STR_ARG(part.filename), STR_ARG(part.content_type), STR_ARG(part.body));
	}
}

static void
assert_parts(const char *type, const char *body, const char *expected)
{
	AUTO(buf) struct buf got = BUF_INIT(1 << 16);
	struct err err = ERR_INIT;

	if (!read_all(type, str_of(body), &got, &err))
		fail_msg("%s", err.msg);
	assert_string_equal(got.data, expected);
}

static void
assert_refused(const char *type, struct str body, const char *why)
{
	AUTO(buf) struct buf got = BUF_INIT(1 << 20);
	struct err err = ERR_INIT;

	assert_false(read_all(type, body, &got, &err));
	assert_int_equal(err.code, ERR_MALFORMED);
	if (!strstr(err.msg, why))
		fail_msg("not '%s': %s", why, err.msg);
}

static void
what_clients_send(void **state)
{
	(void)state;
	assert_parts(
		TYPE,
		"--xYz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\n"
		"Content-Type: text/plain; "
		"charset=utf-8\r\n\r\nline\r\n\r\n--xY\r\nline\r\n--xYz\r\n"
		"content-disposition:form-data;name=id\r\nX-Other: 1\r\n\r\n\r\n--xYz--\r\n",
		"file|a b.txt|text/plain; charset=utf-8|line\r\n\r\n--xY\r\nline;id|||;");
	assert_parts("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"",
		     "--a b\r\n" DISPOSITION("f") "\r\nx\r\n--a b--", "f|||x;");
	assert_parts(TYPE, "--xYz--\r\n", "");
}

static void
what_is_refused(void **state)
{
	static const struct {
		const char *type, *body, *why;
	} rows[] = {
		{ "multipart/form-data", "--x--", "no boundary" },
		{ "multipart/form-data; boundary=", "--x--", "no boundary" },
		{ "multipart/form-data; boundary=\"a", "--a--", "no boundary" },
		{ "multipart/form-data; boundary=\"a \"", "--a --", "no boundary" },
		{ "multipart/form-data; boundary=a; boundary=b", "--a--", "two boundaries" },
		{ TYPE, "", "does not begin" },
		{ TYPE, "preamble\r\n--xYz--", "does not begin" },
		{ TYPE, "--xYzz\r\n", "not followed by a line end" },
		{ TYPE, "--xYz--\r\nepilogue", "more behind" },
		{ TYPE, "--xYz\r\n", "ends within" },
		{ TYPE, "--xYz\r\n\r\nbody\r\n--xYz--", "no name" },
		{ TYPE, "--xYz\r\n" DISPOSITION("") "\r\nbody\r\n--xYz--", "no name" },
		{ TYPE, "--xYz\r\n" DISPOSITION("a") "\r\nbody", "last boundary" },
		{ TYPE, "--xYz\r\n" DISPOSITION("a") "\r\nbody\n--xYz--", "last boundary" },
		{ TYPE, "--xYz\r\n" DISPOSITION("a") DISPOSITION("b") "\r\n\r\n--xYz--",
		  "form-data" },
		{ TYPE, "--xYz\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n--xYz--",
		  "form-data" },
		{ TYPE, "--xYz\r\n" DISPOSITION("a\\\"b") "\r\n\r\n--xYz--", "not understood" },
		{ TYPE, "--xYz\r\nno header\r\n\r\n\r\n--xYz--", "is none" },
		{ TYPE,
		  "--xYz\r\n" DISPOSITION(
			  "a") "Content-Transfer-Encoding: base64\r\n\r\n\r\n--xYz--",
		  "transfer encoding" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_refused(rows[i].type, str_of(rows[i].body), rows[i].why);
}

static void
limits(void **state)
{
	AUTO(buf) struct buf body = BUF_INIT(1 << 20);

	(void)state;
	for (int i = 0; i < MULTIPART_PARTS_MAX + 1; i++)
		buf_add_str(&body, "--xYz\r\n" DISPOSITION("a") "\r\n\r\n");
	buf_add_str(&body, "--xYz--");
	assert_refused(TYPE, str_make(body.data, body.len), "too many parts");
	buf_clear(&body);
	buf_add_str(&body, "--xYz\r\n" DISPOSITION("a") "X: ");
	for (int i = 0; i < MULTIPART_HEAD_MAX; i++)
		buf_add_char(&body, 'x');
	buf_add_str(&body, "\r\n\r\n\r\n--xYz--");
	assert_refused(TYPE, str_make(body.data, body.len), "too long");
}

/* A body cut anywhere is refused: nothing is taken for whole that is not. */
static void
cut_anywhere(void **state)
{
	static const char body[] = "--xYz\r\n" DISPOSITION("a") "\r\nbody\r\n--xYz--";

	(void)state;
	for (size_t len = 0; len < sizeof(body) - 1; len++)
		assert_refused(TYPE, str_make(body, len), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_clients_send),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(limits),
		cmocka_unit_test(cut_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
