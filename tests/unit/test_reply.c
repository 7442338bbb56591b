/* Replies of providers: vectors in every form, words with every flaw a stream gives them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "jobs/provider/reply.h"
#include "tests/support/must.h"

static void
check_string(const char *json, const char *want)
{
	AUTO(reply) struct reply reply = { 0 };

	MUST(reply_read(str_of(json), &reply, e));
	assert_true(js_is(reply.root, JS_STRING));
	assert_string_equal(js_str(reply.root).ptr, want);
}

/* wire formats, parsing pitfalls: surrogate pairs are one character, lone ones U+FFFD */
static void
test_surrogates_and_nul(void **state)
{
	(void)state;
	check_string("\"\\uD83D\\uDE00\"", "\xf0\x9f\x98\x80");
	check_string("\"a\\uD83D\"", "a\xef\xbf\xbd");
	check_string("\"\\uDE00b\"", "\xef\xbf\xbd"
				     "b");
	check_string("\"\\uD83Dx\\uDE00\"", "\xef\xbf\xbdx\xef\xbf\xbd");
	check_string("\"\\uD83D\\uD83D\\uDE00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80");
	check_string("\"\\u0000\"", "\xef\xbf\xbd");
	check_string("\"\\u00e4\\\\u0000\\\"\"", "\xc3\xa4\\u0000\"");
	check_string("\xef\xbb\xbf \"x\"", "x");
}

static void
check_garbage(struct str body)
{
	struct reply reply = { 0 };
	struct err err = ERR_INIT;

	assert_false(reply_read(body, &reply, &err));
	assert_int_equal(err.code, ERR_PROVIDER_REPLY);
}

static void
test_garbage(void **state)
{
	static const char *const bodies[] = { "",	   "<html></html>", "{",	"\"",
					      "\"\\u12\"", "\"\\uZZZZ\"",   "\"\\",	"[1,NaN]",
					      "[1,2",	   "{\"a\":[1]",    "\"\xff\"", "[1][2]",
					      "{\"a\":1}x" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		check_garbage(str_of(bodies[i]));
	check_garbage(str_make("\"a\0b\"", 5));
	check_garbage(str_make("\"\\u00", 5));
	check_garbage(str_make("\"\\ud83d\\u", 9));
}

static void
check_vector(const char *json, float first, float second)
{
	AUTO(reply) struct reply reply = { 0 };
	float out[2] = { 7, 7 };

	MUST(reply_read(str_of(json), &reply, e));
	MUST(reply_vector(&reply, js_get(reply.root, "v"), 2, out, e));
	assert_true(fabsf(out[0] - first) < 1e-6F && fabsf(out[1] - second) < 1e-6F);
}

static void
test_vectors_in_every_form(void **state)
{
	(void)state;
	check_vector("{\"v\":[3,4]}", 0.6F, 0.8F);
	check_vector("{\"v\":[[3,4]]}", 0.6F, 0.8F); /* llama.cpp's own route */
	check_vector("{\"v\":[ -3e-5 , 4.0E-5 ]}", -0.6F, 0.8F);
	check_vector("{\"v\":\"AACAPwAAAAA=\"}", 1, 0);
	check_vector("{\"v\":[\"AACAPwAAAAA=\"]}", 1, 0);
	check_vector("{\"v\":[0,0]}", 0, 0);
	check_vector("{\"v\":[3e30,4e30]}", 0.6F, 0.8F);
	check_vector("{\"x\":\"[1,2]\",\"y\":[1],\"v\":[3,4]}", 0.6F, 0.8F);
}

static void
test_vectors_that_are_none(void **state)
{
	static const char *const bodies[] = {
		"{\"v\":[1,2,3]}",
		"{\"v\":[1]}",
		"{\"v\":[]}",
		"{\"v\":[1,null]}",
		"{\"v\":[1,\"2\"]}",
		"{\"v\":null}",
		"{\"v\":7}",
		"{\"v\":\"abc\"}",
		"{\"v\":\"AACAPw==\"}",
		"{\"v\":[1e39,1]}",
		"{\"v\":[-1e999,1]}",
		"{\"v\":\"AADAfwAAAAA=\"}",
		"{\"v\":[[1,2],[1,2]]}",
		"{\"v\":{\"a\":[1,2]}}",
		"{\"w\":[1,2]}",
		"{\"v\":{\"\177floats\":9}}",
		"{\"v\":{\"\177floats\":-1}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		AUTO(reply) struct reply reply = { 0 };
		struct err err = ERR_INIT;
		float out[2];

		MUST(reply_read(str_of(bodies[i]), &reply, e));
		if (reply_vector(&reply, js_get(reply.root, "v"), 2, out, &err))
			fail_msg("%s is taken for a vector", bodies[i]);
		assert_int_equal(err.code, ERR_PROVIDER_REPLY);
	}
}

static void
test_numbers_beside_vectors(void **state)
{
	AUTO(reply) struct reply reply = { 0 };
	size_t count = 0;
	int64_t big = 0;

	(void)state;
	MUST(reply_read(STR("[[1,2],{\"n\":1795417105196004993,\"f\":1.5},[],\"[1]\",[3]]"), &reply,
			e));
	assert_int_equal(js_len(reply.root), 5);
	assert_true(reply_numbers(&reply, js_at(reply.root, 0), &count)[1] == 2);
	assert_int_equal(count, 2);
	assert_true(js_get_int(js_at(reply.root, 1), "n", &big));
	assert_true(big == INT64_C(1795417105196004993));
	assert_null(reply_numbers(&reply, js_at(reply.root, 1), &count));
	assert_null(reply_numbers(&reply, js_at(reply.root, 2), &count));
	assert_null(reply_numbers(&reply, js_at(reply.root, 3), &count));
	assert_true(reply_numbers(&reply, js_at(reply.root, 4), &count)[0] == 3);
	assert_null(reply_numbers(&reply, NULL, &count));
}

/* More arrays than are taken out: the others stay in the tree. */
static void
test_very_many_arrays(void **state)
{
	AUTO(buf) struct buf text = BUF_INIT((size_t)1024 * 1024);
	AUTO(reply) struct reply reply = { 0 };
	size_t count = 0;

	(void)state;
	buf_add_char(&text, '[');
	for (int i = 0; i < 70000; i++)
		buf_add_str(&text, i > 0 ? ",[1]" : "[1]");
	buf_add_char(&text, ']');
	MUST(reply_read(str_make(text.data, text.len), &reply, e));
	assert_int_equal(js_len(reply.root), 70000);
	assert_non_null(reply_numbers(&reply, js_at(reply.root, 65535), &count));
	assert_null(reply_numbers(&reply, js_at(reply.root, 65536), &count));
	assert_int_equal(js_len(js_at(reply.root, 69999)), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_surrogates_and_nul),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_vectors_in_every_form),
		cmocka_unit_test(test_vectors_that_are_none),
		cmocka_unit_test(test_numbers_beside_vectors),
		cmocka_unit_test(test_very_many_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
