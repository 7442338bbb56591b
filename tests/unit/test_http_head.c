#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/http_head.h"

static const char good[] = "POST /a/b?c=d HTTP/1.1\r\nHost: h:80\r\nContent-Length: 12\r\n"
			   "X-Tab:\tv\t\r\nx-two:\r\nExpect: 100-Continue\r\n"
			   "Connection: Foo, Keep-Alive\r\n\r\n";

static void
test_parse(void **state)
{
	struct http_head head;
	struct err err = ERR_INIT;
	struct str value = { 0 };
	size_t at = 0, len = 0;

	(void)state;
	assert_int_equal(http_head_scan(good, strlen(good), &at, &len), HTTP_HEAD_DONE);
	assert_int_equal(len, strlen(good));
	assert_true(http_head_parse(good, len, &head, &err));
	assert_true(str_eq_c(head.method, "POST") && str_eq_c(head.path, "/a/b"));
	assert_true(str_eq_c(head.query, "c=d"));
	assert_true(head.content_length == 12 && !head.chunked && !head.http_1_0);
	assert_true(head.keep_alive && head.expect_continue);
	assert_true(http_head_field(&head, "X-TAB", &value) && str_eq_c(value, "v"));
	assert_true(http_head_field(&head, "X-Two", &value) && value.len == 0);
	assert_false(http_head_field(&head, "X", &value));
}

/* However the bytes are cut, the end is found at the same place. */
static void
test_scan_in_pieces(void **state)
{
	const char text[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\nrest\r\n\r\n";

	(void)state;
	for (size_t first = 0; first < strlen(text); first++) {
		size_t at = 0, len = 0;
		enum http_head_scan scan = http_head_scan(text, first, &at, &len);

		assert_int_equal(scan, first < 27 ? HTTP_HEAD_MORE : HTTP_HEAD_DONE);
		if (scan == HTTP_HEAD_MORE)
			assert_int_equal(http_head_scan(text, strlen(text), &at, &len),
					 HTTP_HEAD_DONE);
		assert_int_equal(len, 27);
	}
	for (size_t i = 0; i < 27; i++) { /* a bare LF in any line */
		char copy[sizeof(text)];
		size_t at = 0, len = 0;

		memcpy(copy, text, sizeof(text));
		if (copy[i] != '\r')
			continue;
		copy[i] = 'x';
		assert_int_equal(http_head_scan(copy, strlen(copy), &at, &len), HTTP_HEAD_BAD);
	}
}

static void
test_wishes(void **state)
{
	static const struct {
		const char *text;
		bool keep_alive, expect;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: h\r\n\r\n", true, false },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false, false },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: a\r\nConnection: b ,CLOSE\r\n\r\n",
		  false, false },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", true, false },
		{ "GET / HTTP/1.0\r\n\r\n", false, false },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, false },
		{ "GET / HTTP/1.2\r\nHost:\r\n\r\n", true, false },
		/* without a body there is nothing to wait for; HTTP/1.0 does not know it */
		{ "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", true, false },
		{ "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: "
		  "Chunked\r\n\r\n",
		  true, true },
		{ "POST / HTTP/1.0\r\nExpect: anything\r\nContent-Length: 1\r\n\r\n", false,
		  false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_head head;
		struct err err = ERR_INIT;

		if (!http_head_parse(cases[i].text, strlen(cases[i].text), &head, &err) ||
		    head.keep_alive != cases[i].keep_alive ||
		    head.expect_continue != cases[i].expect)
			fail_msg("case %zu %s", i, err.msg);
	}
}

/* Whatever the bytes: no crash, a status that fits, and slices inside of them. */
static void
test_mutations(void **state)
{
	uint64_t seed = 88172645463325252u;
	int accepted = 0, refused = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len = strlen(good);
		char *copy = malloc(len); /* on the heap and exact: reads beyond are seen */
		struct http_head head;
		struct err err = ERR_INIT;

		assert_non_null(copy);
		memcpy(copy, good, len);
		for (int i = 0; i < 1 + round % 3; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			copy[seed % len] = (char)(seed >> 32);
		}
		if (http_head_parse(copy, len, &head, &err)) {
			accepted++;
			assert_true(head.path.ptr >= copy &&
				    head.path.ptr + head.path.len <= copy + len);
			assert_true(head.path.len > 0 && head.method.len > 0);
			assert_true(!(head.chunked && head.content_length >= 0));
		} else {
			refused++;
			assert_true(err.detail == 400 || err.detail == 417 || err.detail == 505);
		}
		free(copy);
	}
	assert_true(accepted > 1000 && refused > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_scan_in_pieces),
		cmocka_unit_test(test_wishes),
		cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
