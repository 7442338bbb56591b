#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/http_server.h"

static void
test_listen(void **state)
{
	static const struct {
		const char *listen, *host;
		int port;
		bool loopback;
	} good[] = {
		{ "127.0.0.1:8000", "127.0.0.1", 8000, true },
		{ "127.9.9.9:0", "127.9.9.9", 0, true },
		{ "0.0.0.0:65535", "0.0.0.0", 65535, false },
		{ "128.0.0.1:1", "128.0.0.1", 1, false },
		{ "LocalHost:8000", "LocalHost", 8000, true },
		{ "localhost.example:80", "localhost.example", 80, false },
		{ "[::1]:8000", "::1", 8000, true },
		{ "[::]:8000", "::", 8000, false },
		{ "[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", 1, true },
		{ "[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1, false },
	};
	static const char *const bad[] = { "",		 "8000",
					   ":8000",	 "127.0.0.1",
					   "127.0.0.1:", "h:65536",
					   "h:-1",	 "h:8000x",
					   "::1:8000",	 "[::1]8000",
					   "[::1:8000",	 "[]:8000",
					   "a b:80",	 "1.1.1.1:80,2.2.2.2:80",
					   "h: 80",	 "h:+80" };
	char host[256], longer[400];
	struct err err = ERR_INIT;
	bool loopback = false;
	int port = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(http_listen_parse(good[i].listen, host, &port, &loopback, &err));
		assert_string_equal(host, good[i].host);
		assert_int_equal(port, good[i].port);
		assert_int_equal(loopback, good[i].loopback);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = ERR_INIT;
		if (http_listen_parse(bad[i], host, &port, &loopback, &err))
			fail_msg("'%s' was accepted", bad[i]);
		assert_int_equal(err.code, ERR_CONFIG);
	}
	memset(longer, 'h', sizeof(longer));
	memcpy(longer + 300, ":80", 4);
	assert_false(http_listen_parse(longer, host, &port, &loopback, &err));
}

static void
test_path_decode(void **state)
{
	static const char *const good[][2] = {
		{ "", "" },	      { "abc", "abc" },	  { "a%2Fb", "a/b" },
		{ "a+b", "a+b" },     { "%41%7a", "Az" }, { "%C3%A9", "\xc3\xa9" },
		{ "100%25", "100%" }, { "%20", " " },
	};
	static const char *const bad[] = { "%",	  "%4",	 "a%zz",      "%00",   "a%00b",
					   "%ff", "%C3", "%ED%A0%80", "%c0%af" };
	struct arena arena;
	struct err err = ERR_INIT;
	struct str out = { 0 };

	(void)state;
	arena_init(&arena, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(http_path_decode(str_of(good[i][0]), &arena, &out, &err));
		assert_true(str_eq_c(out, good[i][1]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = ERR_INIT;
		assert_false(http_path_decode(str_of(bad[i]), &arena, &out, &err));
		assert_int_equal(err.code, ERR_MALFORMED);
	}
	arena_release(&arena);
	arena_init(&arena, 16); /* a capped arena, not a crash */
	assert_false(http_path_decode(STR("0123456789012345678901234567890123456789"), &arena, &out,
				      &err));
	assert_int_equal(err.code, ERR_TOO_LARGE);
	arena_release(&arena);
}

static struct http_request
with_query(const char *query)
{
	return (struct http_request){ .query = str_of(query) };
}

static void
test_param(void **state)
{
	struct http_request request = with_query("&a=1&b=x+y%26z&&c&d=&%65=2&a%3D=q=r");
	static const char *const want[][2] = { { "a", "1" }, { "b", "x y&z" }, { "c", "" },
					       { "d", "" },  { "e", "2" },     { "a=", "q=r" } };
	struct arena arena;
	struct err err = ERR_INIT;
	struct str out = { 0 };
	bool found = false;

	(void)state;
	arena_init(&arena, 65536);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_true(http_param(&request, want[i][0], &arena, &found, &out, &err));
		assert_true(found && str_eq_c(out, want[i][1]));
	}
	assert_true(http_param(&request, "x", &arena, &found, &out, &err));
	assert_false(found);
	request = with_query("a=1&b=2&%61=1");
	assert_true(http_param(&request, "b", &arena, &found, &out, &err));
	assert_false(http_param(&request, "a", &arena, &found, &out, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_string_equal(err.pointer, "/a");
	request = with_query("a=%f0%28");
	assert_false(http_param(&request, "a", &arena, &found, &out, &err));
	assert_int_equal(err.code, ERR_MALFORMED);
	assert_string_equal(err.pointer, "/a");
	request = with_query("%=1&a=1");
	assert_false(http_param(&request, "a", &arena, &found, &out, &err));
	assert_int_equal(err.code, ERR_MALFORMED);
	arena_release(&arena);
}

static bool
collect(void *user, struct str name, struct err *err)
{
	struct buf *names = user;

	if (str_eq_c(name, "stop"))
		return err_set(err, ERR_INVALID, "unknown");
	buf_add(names, name.ptr, name.len);
	buf_add_char(names, ';');
	return true;
}

static void
test_each_param(void **state)
{
	struct http_request request = with_query("a=1&&b+c=2&a");
	AUTO(buf) struct buf names = BUF_INIT(256);
	struct arena arena;
	struct err err = ERR_INIT;

	(void)state;
	arena_init(&arena, 65536);
	assert_true(http_each_param(&request, &arena, collect, &names, &err));
	assert_string_equal(names.data, "a;b c;a;");
	request = with_query("a&stop&b");
	buf_clear(&names);
	assert_false(http_each_param(&request, &arena, collect, &names, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_string_equal(names.data, "a;");
	request = with_query("%zz");
	assert_false(http_each_param(&request, &arena, collect, &names, &err));
	assert_int_equal(err.code, ERR_MALFORMED);
	request = with_query("");
	assert_true(http_each_param(&request, &arena, collect, &names, &err));
	arena_release(&arena);
}

static void
test_answer_headers(void **state)
{
	struct http_answer answer;
	char longer[500];

	(void)state;
	http_answer_init(&answer, 202);
	assert_int_equal(answer.status, 202);
	assert_int_equal(answer.header_count, 0);
	http_answer_header(&answer, "A", "%d\r\n\t\x7f%s", 1, "b\xc3\xa9");
	assert_string_equal(answer.headers[0].value, "1b\xc3\xa9");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	http_answer_header(&answer, "B", "%s", longer);
	assert_int_equal(strlen(answer.headers[1].value), sizeof(answer.headers[1].value) - 1);
	for (int i = 0; i < 100; i++) /* never past the array */
		http_answer_header(&answer, "C", "c");
	assert_int_equal(answer.header_count, HTTP_MAX_ANSWER_HEADERS);
	for (enum err_code code = ERR_NONE; code < ERR_CODE_COUNT; code++) /* each has a name */
		assert_string_not_equal(http_status_text(err_info(code)->http_status), "Unknown");
	assert_string_equal(http_status_text(799), "Unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen),	       cmocka_unit_test(test_path_decode),
		cmocka_unit_test(test_param),	       cmocka_unit_test(test_each_param),
		cmocka_unit_test(test_answer_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
