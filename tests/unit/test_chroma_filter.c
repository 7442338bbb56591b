/*
 * Filters in Chroma's terms. The rule that matters: a clause never leaves out what the filter lets pass. It is tried with random documents and
 * filters against Chroma's own rules for clauses, written down here from what servers do; that servers do so is tested by the contract suite.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/auto.h"
#include "common/json.h"
#include "jobs/store/chroma_filter.h"
#include "jobs/store/filter_match.h"
#include "tests/support/must.h"

#define BUF(name) AUTO(buf) struct buf name = BUF_INIT(1 << 20)
#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = 1 << 20 }
#define ROUNDS 30000

/* ---- Chroma's side ---- */

/* A key that the record lacks is equal to nothing and not equal to everything; types do not mix. */
static bool
compares(const struct js *have, const char *op, const struct js *want)
{
	bool numbers = (js_is(have, JS_REAL) || js_is(have, JS_INT)) &&
		       (js_is(want, JS_REAL) || js_is(want, JS_INT));
	bool equal =
		(js_is(have, JS_STRING) && js_is(want, JS_STRING) &&
		 str_eq(js_str(have), js_str(want))) ||
		(numbers && js_type(have) == js_type(want) && js_number(have) == js_number(want));

	if (strcmp(op, "$eq") == 0)
		return equal;
	if (strcmp(op, "$ne") == 0)
		return !equal;
	if (!js_is(want, JS_REAL) && !js_is(want, JS_INT))
		fail_msg("%s of something else than a number: Chroma answers 400", op);
	if (!numbers)
		return false;
	if (strcmp(op, "$gt") == 0)
		return js_number(have) > js_number(want);
	if (strcmp(op, "$gte") == 0)
		return js_number(have) >= js_number(want);
	if (strcmp(op, "$lt") == 0)
		return js_number(have) < js_number(want);
	assert_string_equal(op, "$lte");
	return js_number(have) <= js_number(want);
}

static bool
passes(const struct js *clause, const struct js *record)
{
	const struct js_iter *it = js_first(clause);
	const struct js *value = js_iter_value(it);
	bool is_and = str_eq_c(js_iter_key(it), "$and");

	assert_int_equal(js_len(clause), 1); /* more keys are a 400 */
	if (is_and || str_eq_c(js_iter_key(it), "$or")) {
		assert_true(js_len(value) > 0);
		for (size_t i = 0; i < js_len(value); i++) {
			if (passes(js_at(value, i), record) != is_and)
				return !is_and;
		}
		return is_and;
	}
	assert_int_equal(js_len(value), 1); /* exactly one operator */
	return compares(js_get(record, js_iter_key(it).ptr), js_iter_key(js_first(value)).ptr,
			js_iter_value(js_first(value)));
}

/* ---- the fields of a document ---- */

static void
fields_become(const char *metadata, const char *want)
{
	BUF(buf);

	MUST(chroma_filter_fields(str_of(metadata), &buf, e));
	assert_string_equal(buf.data, want);
}

static void
numbers_keep_their_type(void **state)
{
	(void)state;
	fields_become("{\"year\":2020}", ",\"m.year\":2020.0");
	fields_become("{\"year\":2020.5,\"big\":1e300,\"zero\":-0.0}",
		      ",\"m.year\":2020.5,\"m.big\":1.0000000000000001e+300,\"m.zero\":0.0");
}

static void
booleans_are_numbers(void **state)
{
	(void)state;
	fields_become("{\"ok\":true,\"no\":false}", ",\"b.ok\":1,\"b.no\":0");
}

static void
null_and_objects(void **state)
{
	(void)state;
	fields_become("{\"gone\":null,\"deep\":{\"a\":1}}", ",\"z.gone\":1");
	fields_become("{}", "");
	fields_become("", "");
	fields_become("{\"document_id\":\"x\",\"title\":\"y\"}",
		      ""); /* the document's own go before */
}

static void
lists_have_a_key_an_item(void **state)
{
	(void)state;
	fields_become("{\"tag\":[\"x\",\"x\",7,true,null,[1],{}]}",
		      ",\"i.tag=s:x\":1,\"i.tag=n:7.0\":1,\"i.tag=b:1\":1,\"i.tag=z:\":1,"
		      "\"lo.tag\":7.0,\"hi.tag\":7.0");
	fields_become("{\"t\":[]}", "");
}

static void
what_does_not_fit_is_marked(void **state)
{
	BUF(metadata);
	BUF(fields);

	(void)state;
	buf_add_str(&metadata, "{\"tag\":[\"");
	for (int i = 0; i <= CHROMA_ITEM_MAX_BYTES; i++)
		buf_add_char(&metadata, 'x');
	buf_add_str(&metadata, "\"]}");
	fields_become(metadata.data, ",\"o\":1");
	buf_clear(&metadata);
	buf_add_char(&metadata, '{');
	for (int i = 0; i < CHROMA_MAX_FIELDS + 5; i++)
		buf_printf(&metadata, "%s\"k%d\":%d", i > 0 ? "," : "", i, i);
	buf_add_char(&metadata, '}');
	MUST(chroma_filter_fields(str_make(metadata.data, metadata.len), &fields, e));
	assert_non_null(strstr(fields.data, "\"m.k255\":255.0,\"o\":1"));
	assert_null(strstr(fields.data, "m.k256"));
}

static void
metadata_that_is_none(void **state)
{
	struct err err = ERR_INIT;
	BUF(buf);

	(void)state;
	assert_false(chroma_filter_fields(STR("[1]"), &buf, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_false(chroma_filter_fields(STR("{"), &buf, &err));
	assert_int_equal(err.code, ERR_INVALID);
}

/* ---- clauses ---- */

static enum chroma_where
clause_of(const char *json, struct buf *out)
{
	struct filter *filter = NULL;
	ARENA(arena);

	MUST(filter_parse(str_of(json), &arena, &filter, e));
	return chroma_filter_where(filter, out);
}

static void
becomes(const char *json, const char *want)
{
	BUF(buf);

	assert_int_equal(clause_of(json, &buf), CHROMA_WHERE_CLAUSE);
	assert_string_equal(buf.data, want);
}

static void
where_has_one_key(void **state)
{
	(void)state;
	becomes("{\"document_id\":\"d\",\"uri\":\"u\"}",
		"{\"$and\":[{\"$or\":[{\"document_id\":{\"$eq\":\"d\"}}]},{\"$or\":[{\"uri\":{\"$"
		"eq\":"
		"\"u\"}}]}]}");
	becomes("{\"lang\":\"en\"}",
		"{\"$and\":[{\"$or\":[{\"m.lang\":{\"$eq\":\"en\"}},{\"i.lang=s:en\":{\"$eq\":1}},"
		"{\"o\":{\"$eq\":1}}]}]}");
}

static void
empty_in_asks_nothing(void **state)
{
	BUF(buf);

	(void)state;
	assert_int_equal(clause_of("{\"a\":{\"$in\":[]}}", &buf), CHROMA_WHERE_NONE);
	assert_int_equal(buf.len, 0);
	assert_int_equal(clause_of("{\"a\":{\"$nin\":[]}}", &buf), CHROMA_WHERE_ALL);
	assert_int_equal(clause_of("{\"document_id\":5}", &buf), CHROMA_WHERE_NONE);
	assert_int_equal(clause_of("{\"$not\":{\"document_id\":5}}", &buf), CHROMA_WHERE_ALL);
	assert_int_equal(clause_of("{\"$or\":[{\"a\":{\"$in\":[]}},{\"document_id\":null}]}", &buf),
			 CHROMA_WHERE_NONE);
	assert_int_equal(buf.len, 0);
}

static void
strings_have_no_order_in_chroma(void **state)
{
	BUF(buf);

	(void)state;
	assert_int_equal(clause_of("{\"lang\":{\"$gt\":\"de\"}}", &buf), CHROMA_WHERE_ALL);
	assert_int_equal(clause_of("{\"$not\":{\"year\":{\"$gt\":2}}}", &buf), CHROMA_WHERE_ALL);
	/* the rest of the filter is still in the search */
	becomes("{\"lang\":{\"$gt\":\"de\"},\"uri\":\"u\"}",
		"{\"$and\":[{\"$or\":[{\"uri\":{\"$eq\":\"u\"}}]}]}");
}

/* ---- the rule, with random documents and filters ---- */

static uint64_t
draw(uint64_t *seed, uint64_t below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*seed >> 33) % below;
}

static const char *const scalars[] = { "\"x\"", "\"y\"", "\"\"",  "1",	  "2",	  "2.5",
				       "-3",	"true",	 "false", "null", "\"1\"" };
static const char *const fields[] = { "a", "b", "a=s:x", "title", "document_id" };

static void
draw_scalar(uint64_t *seed, struct buf *out)
{
	buf_add_str(out, scalars[draw(seed, ARRAY_SIZE(scalars))]);
}

static void
draw_metadata(uint64_t *seed, struct buf *out)
{
	bool first = true;

	buf_add_char(out, '{');
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (draw(seed, 3) == 0)
			continue;
		buf_printf(out, "%s\"%s\":", first ? "" : ",", fields[i]);
		first = false;
		if (draw(seed, 2) == 0) {
			draw_scalar(seed, out);
			continue;
		}
		buf_add_char(out, '[');
		for (uint64_t n = draw(seed, 4), k = 0; k < n; k++) {
			buf_add_str(out, k > 0 ? "," : "");
			draw_scalar(seed, out);
		}
		buf_add_char(out, ']');
	}
	buf_add_char(out, '}');
}

static void
draw_comparison(uint64_t *seed, struct buf *out)
{
	static const char *const ops[] = {
		"$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte"
	};
	static const char *const ordered[] = { "\"x\"", "1", "2", "2.5", "\"\"" };
	uint64_t op = draw(seed, ARRAY_SIZE(ops));

	buf_printf(out, "{\"%s\":{\"%s\":", fields[draw(seed, ARRAY_SIZE(fields))], ops[op]);
	if (op >= 4) {
		buf_add_str(out, ordered[draw(seed, ARRAY_SIZE(ordered))]);
	} else if (op >= 2) {
		buf_add_char(out, '[');
		for (uint64_t n = draw(seed, 3), k = 0; k < n; k++) {
			buf_add_str(out, k > 0 ? "," : "");
			draw_scalar(seed, out);
		}
		buf_add_char(out, ']');
	} else {
		draw_scalar(seed, out);
	}
	buf_add_str(out, "}}");
}

static void
draw_filter(uint64_t *seed, int depth, struct buf *out) // NOLINT(misc-no-recursion)
{
	uint64_t kind = depth > 2 ? 9 : draw(seed, 10);

	if (kind > 3) {
		draw_comparison(seed, out);
	} else if (kind == 0) {
		buf_add_str(out, "{\"$not\":");
		draw_filter(seed, depth + 1, out);
		buf_add_char(out, '}');
	} else {
		buf_add_str(out, kind == 1 ? "{\"$and\":[" : "{\"$or\":[");
		for (uint64_t n = 1 + draw(seed, 3), k = 0; k < n; k++) {
			buf_add_str(out, k > 0 ? "," : "");
			draw_filter(seed, depth + 1, out);
		}
		buf_add_str(out, "]}");
	}
}

/* What a record of such a document is to Chroma. */
static struct js *
record_of(const char *metadata)
{
	struct js *record = NULL;
	BUF(text);

	buf_add_str(&text, "{\"document_id\":\"x\",\"title\":\"y\",\"uri\":\"\"");
	MUST(chroma_filter_fields(str_of(metadata), &text, e));
	buf_add_char(&text, '}');
	MUST(js_parse(str_make(text.data, text.len), &record, e)); /* no key twice, too */
	return record;
}

static void
a_clause_leaves_nothing_out(void **state)
{
	uint64_t seed = 7;
	int passed = 0, exact = 0, clauses = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		AUTO_PTR(js_free) struct js *record = NULL, *clause = NULL, *parsed = NULL;
		struct filter_subject subject = { STR("x"), STR("y"), STR(""), NULL };
		struct filter *filter = NULL;
		enum chroma_where where;
		bool wanted, found = true;
		BUF(metadata);
		BUF(json);
		BUF(text);
		ARENA(arena);

		draw_metadata(&seed, &metadata);
		draw_filter(&seed, 0, &json);
		record = record_of(metadata.data);
		MUST(js_parse(str_make(metadata.data, metadata.len), &parsed, e));
		subject.metadata = parsed;
		MUST(filter_parse(str_make(json.data, json.len), &arena, &filter, e));
		wanted = filter_matches(filter, &subject);
		where = chroma_filter_where(filter, &text);
		if (where == CHROMA_WHERE_CLAUSE) {
			MUST(js_parse(str_make(text.data, text.len), &clause, e));
			found = passes(clause, record);
			clauses++;
			exact += found == wanted;
		} else if (where == CHROMA_WHERE_NONE) {
			found = false;
		}
		passed += wanted;
		if (wanted && !found)
			fail_msg("%s does not find %s: %s", text.data, metadata.data, json.data);
	}
	print_message("%d of %d pass; %d clauses, %d of them exact\n", passed, ROUNDS, clauses,
		      exact);
	assert_true(passed > ROUNDS / 10 && passed < ROUNDS - ROUNDS / 10);
	assert_true(exact > clauses / 10 * 9);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_keep_their_type),
		cmocka_unit_test(booleans_are_numbers),
		cmocka_unit_test(null_and_objects),
		cmocka_unit_test(lists_have_a_key_an_item),
		cmocka_unit_test(what_does_not_fit_is_marked),
		cmocka_unit_test(metadata_that_is_none),
		cmocka_unit_test(where_has_one_key),
		cmocka_unit_test(empty_in_asks_nothing),
		cmocka_unit_test(strings_have_no_order_in_chroma),
		cmocka_unit_test(a_clause_leaves_nothing_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
