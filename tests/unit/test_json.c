#include "common/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/id.h"
#include "common/base/mem.h"

static struct str
str_of_buf(const struct buf *buf)
{
	return str_make(buf->data, buf->len);
}

static struct js *
parse(const char *text)
{
	struct js *root = NULL;
	struct err err = ERR_INIT;

	if (!js_parse(str_of(text), &root, &err))
		fail_msg("%s: %s", text, err.msg);
	return root;
}

static void
check_refused(struct str text, const char *want_msg)
{
	struct js *root = NULL;
	struct err err = ERR_INIT;

	if (js_parse(text, &root, &err))
		fail_msg("accepted: %.60s", text.ptr);
	assert_null(root);
	assert_int_equal(err.code, ERR_MALFORMED);
	assert_true(str_starts(str_of(err.msg), "not valid JSON: "));
	if (want_msg)
		assert_string_equal(err.msg, want_msg);
}

static void
reads_values(void **state)
{
	(void)state;
	AUTO_PTR(js_free)
	struct js *root = parse("{\"b\":[1,-2.5,true,null,\"x\"],\"a\":{\"k\":9007199254740993}}");
	const struct js *list = js_get(root, "b");
	int64_t number = 0;
	bool flag = false;
	struct str text = { NULL, 0 };

	assert_true(js_is(root, JS_OBJECT) && js_len(root) == 2);
	assert_true(js_is(list, JS_ARRAY) && js_len(list) == 5);
	assert_int_equal(js_int(js_at(list, 0)), 1);
	assert_true(js_number(js_at(list, 0)) > 0.9);
	assert_true(js_number(js_at(list, 1)) < -2.4);
	assert_true(js_bool(js_at(list, 2)));
	assert_true(js_is(js_at(list, 3), JS_NULL));
	assert_true(str_eq_c(js_str(js_at(list, 4)), "x"));
	assert_null(js_at(list, 5));
	assert_null(js_get(root, "z"));
	assert_false(js_is(NULL, JS_NULL));
	assert_true(js_get_int(js_get(root, "a"), "k", &number));
	assert_int_equal(number, 9007199254740993);
	assert_false(js_get_str(root, "b", &text) || js_get_bool(root, "b", &flag));
	assert_false(js_get_int(root, "b", &number) || js_get_int(root, "none", &number));
}

static void
keeps_the_order_of_members(void **state)
{
	(void)state;
	AUTO_PTR(js_free) struct js *root = parse("{\"z\":1,\"a\":2,\"m\":3}");
	AUTO(buf) struct buf keys = BUF_INIT(100);

	for (const struct js_iter *it = js_first(root); it; it = js_next(root, it))
		buf_printf(&keys, STR_FMT "%lld", STR_ARG(js_iter_key(it)),
			   (long long)js_int(js_iter_value(it)));
	assert_string_equal(keys.data, "z1a2m3");
}

static void
refuses_what_is_not_json(void **state)
{
	(void)state;
	check_refused(STR(""), "not valid JSON: it is empty at line 1, column 1");
	check_refused(STR("\xEF\xBB\xBF{}"),
		      "not valid JSON: a byte order mark at line 1, column 1");
	check_refused(STR("{\"a\":\n \"\xff\"}"),
		      "not valid JSON: a byte that is not UTF-8 at line 2, column 3");
	check_refused(STR("\"\xed\xa0\x80\""), NULL); /* a surrogate in UTF-8 */
	check_refused(STR("{\"a\":\"\\u0000\"}"), NULL);
	check_refused(STR("{\"a\\u0000\":1}"), NULL);
	check_refused(STR("\"\\ud800\""), NULL);
	check_refused(STR("\"\\udc00\""), NULL);
	check_refused(STR("\"\\ud800\\u0041\""), NULL);
	check_refused(STR("{\"a\":1,\"a\":2}"), NULL);
	check_refused(STR("{} x"), NULL);
	check_refused(STR("{}{}"), NULL);
	check_refused(STR("{}\0"), NULL);
	check_refused(STR("[1e999]"), NULL);
	check_refused(STR("[9223372036854775808]"), NULL);
	check_refused(STR("[NaN]"), NULL);
	check_refused(STR("[Infinity]"), NULL);
	check_refused(STR("['a']"), NULL);
	check_refused(STR("[1,]"), NULL);
	check_refused(STR("[01]"), NULL);
	check_refused(STR("[\"a\nb\"]"), NULL);
	check_refused(STR("[1"), NULL);
	check_refused(STR("\"a"), NULL);
	check_refused(STR("\"a\\"), NULL);
	check_refused(STR("// c\n1"), NULL);
}

static void
names_the_place(void **state)
{
	(void)state;
	struct js *root = NULL;
	struct err err = ERR_INIT;
	size_t at = 0;

	assert_false(js_parse(STR("{\n  \"a\": 1,\n  \"b\": x\n}"), &root, &err));
	assert_true(str_find(str_of(err.msg), STR("at line 3, column "), &at));
	assert_false(js_parse(STR("{\"a\":1,\n\"a\":2}"), &root, &err));
	assert_true(str_find(str_of(err.msg), STR("duplicate object key"), &at));
	assert_true(str_find(str_of(err.msg), STR("line 2"), &at));
	assert_false(js_parse(STR("[\"\\u0000\"]"), &root, &err));
	assert_true(str_find(str_of(err.msg), STR("\\u0000 is not allowed at line 1"), &at));
}

static void
caps_depth(void **state)
{
	(void)state;
	static char text[300000];

	for (size_t depth = JSON_MAX_DEPTH; depth <= 100000;
	     depth += depth <= JSON_MAX_DEPTH ? 1 : 99935) {
		struct js *root = NULL;
		struct err err = ERR_INIT;

		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		assert_int_equal(js_parse(str_make(text, 2 * depth), &root, &err),
				 depth <= JSON_MAX_DEPTH);
		js_free(root);
		root = NULL;
		/* never closed, and mixed */
		assert_false(js_parse(str_make(text, depth), &root, &err));
		for (size_t i = 0; i < depth; i++)
			memcpy(text + 5 * (i % 1000), "{\"a\":", 5);
		assert_false(js_parse(str_make(text, 2 * depth), &root, &err));
	}
	memset(text, '[', 100000);
	check_refused(str_make(text, 100000),
		      "not valid JSON: nested too deep at line 1, column 65");
	/* brackets inside strings do not count */
	text[0] = '"';
	text[99999] = '"';

	struct js *root = NULL;
	struct err err = ERR_INIT;

	assert_true(js_parse(str_make(text, 100000), &root, &err));
	js_free(root);
}

static void
caps_the_number_of_values(void **state)
{
	(void)state;
	size_t len = (size_t)2 * JSON_MAX_VALUES + 3;
	char *text = mem_alloc(len);
	struct js *root = NULL;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < len; i++)
		text[i] = i % 2 ? '0' : ',';
	text[0] = '[';
	text[len - 1] = ']';
	assert_false(js_parse(str_make(text, len), &root, &err));
	assert_int_equal(err.code, ERR_TOO_LARGE);
	mem_free(text);
}

static void
writes_canonical_text(void **state)
{
	(void)state;
	AUTO_PTR(js_free)
	struct js *root = parse("{ \"b\" : [ 1.0, 0.1, -0.0, 1e300, 3 ], \"a\" : {\"y\":null, "
				"\"\\u00e4\\n\\\"\":true}, \"B\":\"\\ud83d\\ude00/\" }");
	AUTO(buf) struct buf out = BUF_INIT(1000);

	js_write_canonical(root, &out);
	assert_string_equal(out.data, "{\"B\":\"😀/\",\"a\":{\"y\":null,\"ä\\n\\\"\":true},"
				      "\"b\":[1.0,0.1,0.0,1e+300,3]}");
	buf_clear(&out);
	js_write(root, &out);
	assert_string_equal(out.data, "{\"b\":[1.0,0.1,0.0,1e+300,3],\"a\":{\"y\":null,"
				      "\"ä\\n\\\"\":true},\"B\":\"😀/\"}");
}

static void
reals_read_back_exactly(void **state)
{
	(void)state;
	for (int round = 0; round < 5000; round++) {
		AUTO(buf) struct buf out = BUF_INIT(100);
		AUTO(buf) struct buf again = BUF_INIT(100);
		struct jw w = jw_start(&out);
		double value = 0;
		uint64_t bits = id_random_u64();

		memcpy(&value, &bits, sizeof(value));
		if (!isfinite(value))
			continue;
		jw_arr(&w);
		jw_num(&w, value, 17);
		jw_end(&w);

		AUTO_PTR(js_free) struct js *root = parse(out.data);
		double back = js_number(js_at(root, 0));

		assert_memory_equal(&back, &value, sizeof(back));
		js_write_canonical(root, &again);

		AUTO_PTR(js_free) struct js *second = parse(again.data);

		back = js_number(js_at(second, 0));
		assert_memory_equal(&back, &value, sizeof(back));
	}
}

static void
writes_scopes(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(1000);
	struct jw w = jw_start(&out);

	jw_obj(&w);
	jw_kstr(&w, "s", STR("a\"\\\b\f\n\r\t\x01\x1f/\x7f"));
	jw_kcstr(&w, "n", NULL);
	jw_kint(&w, "i", INT64_MIN);
	jw_knum(&w, "f", 0.25, 6);
	jw_knum(&w, "nan", (double)NAN, 6);
	jw_knum(&w, "inf", (double)INFINITY, 6);
	jw_kbool(&w, "t", true);
	jw_knull(&w, "z");
	jw_kraw(&w, "raw", STR("{}"));
	jw_karr(&w, "e");
	jw_end(&w);
	jw_karr(&w, "arr");
	jw_obj(&w);
	jw_end(&w);
	jw_arr(&w);
	jw_end(&w);
	jw_bool(&w, false);
	jw_end(&w);
	jw_kobj(&w, "o");
	jw_end(&w);
	jw_ktime(&w, "at", 1795417200123);
	jw_ktime(&w, "never", 0);
	jw_end(&w);
	assert_string_equal(
		out.data,
		"{\"s\":\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/\x7f\",\"n\":null,"
		"\"i\":-9223372036854775808,\"f\":0.25,\"nan\":null,\"inf\":null,"
		"\"t\":true,\"z\":null,\"raw\":{},\"e\":[],\"arr\":[{},[],false],\"o\":{},"
		"\"at\":\"2026-11-23T07:00:00.123Z\",\"never\":null}");
	js_free(parse(out.data));
}

static void
mends_broken_utf8(void **state)
{
	(void)state;
	AUTO(buf) struct buf out = BUF_INIT(1000);
	struct jw w = jw_start(&out);

	jw_str(&w, STR("a\xff\"b\xc3\xa4\xc3"));
	assert_string_equal(out.data, "\"a\xEF\xBF\xBD\\\"bä\xEF\xBF\xBD\"");
}

static void
any_bytes_make_valid_json(void **state)
{
	(void)state;
	for (int round = 0; round < 3000; round++) {
		char bytes[40];
		AUTO(buf) struct buf out = BUF_INIT(1000);
		struct jw w = jw_start(&out);
		struct js *root = NULL;
		struct err err = ERR_INIT;

		id_random(bytes, sizeof(bytes));
		for (size_t i = 0; i < sizeof(bytes); i++) {
			if (bytes[i] == '\0')
				bytes[i] = 'x'; /* the one character our own reader refuses */
		}
		jw_str(&w, str_make(bytes, sizeof(bytes)));
		assert_true(js_parse(str_of_buf(&out), &root, &err));
		js_free(root);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_values),
		cmocka_unit_test(keeps_the_order_of_members),
		cmocka_unit_test(refuses_what_is_not_json),
		cmocka_unit_test(names_the_place),
		cmocka_unit_test(caps_depth),
		cmocka_unit_test(caps_the_number_of_values),
		cmocka_unit_test(writes_canonical_text),
		cmocka_unit_test(reals_read_back_exactly),
		cmocka_unit_test(writes_scopes),
		cmocka_unit_test(mends_broken_utf8),
		cmocka_unit_test(any_bytes_make_valid_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
