/* What the filters mean is tested with the stores (tests/contract/test_store.c); here: what is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "jobs/spec/filter.h"

#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = 1 << 20 }

static void
tree(void **state)
{
	struct filter *filter = NULL;
	struct err err = ERR_INIT;
	ARENA(arena);

	(void)state;
	assert_true(filter_parse(
		STR("{\"a\":1.5,\"b\":{\"$in\":[\"x\",null,true]},\"$not\":{\"c\":2}}"), &arena,
		&filter, &err));
	assert_int_equal(filter->op, FILTER_AND);
	assert_int_equal(filter->count, 3);

	const struct filter *a = &filter->children[0];

	assert_int_equal(a->op, FILTER_EQ);
	assert_true(str_eq_c(a->field, "a"));
	assert_int_equal(a->count, 1);
	assert_int_equal(a->values[0].type, FILTER_NUMBER);
	assert_true(a->values[0].number > 1.49 && a->values[0].number < 1.51);

	const struct filter *b = &filter->children[1];

	assert_int_equal(b->op, FILTER_AND);
	b = &b->children[0];
	assert_int_equal(b->op, FILTER_IN);
	assert_int_equal(b->count, 3);
	assert_true(str_eq_c(b->values[0].string, "x"));
	assert_int_equal(b->values[1].type, FILTER_NULL);
	assert_true(b->values[2].boolean);
	assert_int_equal(filter->children[2].op, FILTER_NOT);
}

static void
no_filter(void **state)
{
	struct filter *filter = NULL;
	struct err err = ERR_INIT;
	ARENA(arena);

	(void)state;
	assert_true(filter_parse(STR(""), &arena, &filter, &err));
	assert_null(filter);
	assert_true(filter_parse(STR("{}"), &arena, &filter, &err));
	assert_null(filter);
}

static void
refusals(void **state)
{
	static const struct {
		const char *json, *pointer, *says;
	} cases[] = {
		{ "[]", "/filter", "expected an object" },
		{ "{\"a\":", "/filter", "not valid JSON" },
		{ "{\"a\":[1]}", "/filter/a", "expected a string, number, boolean or null" },
		{ "{\"a\":{}}", "/filter/a", "operator is missing" },
		{ "{\"a\":{\"b\":1}}", "/filter/a/b", "unknown operator 'b'" },
		{ "{\"a\":{\"$regex\":\"x\"}}", "/filter/a/$regex", "unknown operator" },
		{ "{\"$nor\":[]}", "/filter/$nor", "unknown operator '$nor'" },
		{ "{\"$or\":[]}", "/filter/$or", "at least one" },
		{ "{\"$or\":{}}", "/filter/$or", "expected an array" },
		{ "{\"$or\":[{\"x\":1},7]}", "/filter/$or/1", "expected an object" },
		{ "{\"$not\":[]}", "/filter/$not", "expected an object" },
		{ "{\"a\":{\"$in\":5}}", "/filter/a/$in", "expected an array" },
		{ "{\"a\":{\"$in\":[1,[2]]}}", "/filter/a/$in/1", "expected a string" },
		{ "{\"a\":{\"$gt\":true}}", "/filter/a/$gt", "expected a number or a string" },
		{ "{\"a/b~c\":[]}", "/filter/a~1b~0c", "expected a string" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct filter *filter = NULL;
		struct err err = ERR_INIT;
		ARENA(arena);

		if (filter_parse(str_of(cases[i].json), &arena, &filter, &err))
			fail_msg("%s was accepted", cases[i].json);
		assert_int_equal(err.code, ERR_INVALID);
		assert_string_equal(err.pointer, cases[i].pointer);
		if (!strstr(err.msg, cases[i].says))
			fail_msg("%s: '%s'", cases[i].json, err.msg);
	}
}

static void
limits(void **state)
{
	AUTO(buf) struct buf json = BUF_INIT(1 << 20);
	struct filter *filter = NULL;
	struct err err = ERR_INIT;
	ARENA(arena);

	(void)state;
	for (int i = 0; i < FILTER_MAX_DEPTH; i++)
		buf_add_str(&json, i < FILTER_MAX_DEPTH - 1 ? "{\"$not\":" : "{\"a\":1");
	for (int i = 0; i < FILTER_MAX_DEPTH; i++)
		buf_add_char(&json, '}');
	assert_true(filter_parse(str_make(json.data, json.len), &arena, &filter, &err));

	buf_clear(&json);
	for (int i = 0; i <= FILTER_MAX_DEPTH; i++)
		buf_add_str(&json, "{\"$or\":[");
	buf_add_str(&json, "{}");
	for (int i = 0; i <= FILTER_MAX_DEPTH; i++)
		buf_add_str(&json, "]}");
	assert_false(filter_parse(str_make(json.data, json.len), &arena, &filter, &err));
	assert_non_null(strstr(err.msg, "nested deeper"));

	buf_clear(&json);
	buf_add_str(&json, "{\"a\":{\"$in\":[0");
	for (int i = 0; i < FILTER_MAX_NODES; i++)
		buf_add_str(&json, ",1");
	buf_add_str(&json, "]}}");
	assert_false(filter_parse(str_make(json.data, json.len), &arena, &filter, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "more than"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree),
		cmocka_unit_test(no_filter),
		cmocka_unit_test(refusals),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
