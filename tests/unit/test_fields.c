#include "common/fields.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/id.h"
#include "common/suggest.h"

struct thing {
	struct str name;
	struct str note;
	struct str blob;
	struct str meta;
	struct str list;
	int64_t count;
	int64_t secret;
	double weight;
	bool loud;
	int mode;
};

static const char *const modes[] = { "hybrid", "dense", "lexical", NULL };

static const struct field thing_fields[] = {
	FIELD(struct thing, name, FIELD_STR, .required = true, .min = 1, .max = 8),
	FIELD(struct thing, note, FIELD_STR),
	FIELD(struct thing, blob, FIELD_BYTES, .max = 64),
	FIELD(struct thing, meta, FIELD_JSON, .max = 40),
	FIELD(struct thing, list, FIELD_LIST, .max = 40),
	FIELD(struct thing, count, FIELD_I64, .min = 1, .max = 200),
	FIELD(struct thing, secret, FIELD_I64, .internal = true),
	FIELD(struct thing, weight, FIELD_F64, .min = -1, .max = 1),
	FIELD(struct thing, loud, FIELD_BOOL),
	FIELD(struct thing, mode, FIELD_ENUM, .names = modes),
};
static const struct fields thing_table = FIELDS("thing", thing_fields);

struct fixture {
	struct arena arena;
	struct thing thing;
	struct err err;
};

static int
setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){ .thing = { .count = 7, .mode = 1 }, .err = ERR_INIT };
	arena_init(&fixture.arena, 1 << 20);
	*state = &fixture;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	arena_release(&f->arena);
	return 0;
}

static bool
from_json(struct fixture *f, const char *text)
{
	AUTO_PTR(js_free) struct js *root = NULL;

	if (!js_parse(str_of(text), &root, &f->err))
		fail_msg("%s: %s", text, f->err.msg);
	f->thing = (struct thing){ .count = 7, .mode = 1 };
	return fields_from_json(&thing_table, root, &f->thing, &f->arena, &f->err);
}

static void
reads_json_over_defaults(void **state)
{
	struct fixture *f = *state;

	assert_true(from_json(f, "{\"name\":\"n\"}"));
	assert_true(str_eq_c(f->thing.name, "n"));
	assert_int_equal(f->thing.count, 7);
	assert_int_equal(f->thing.mode, 1);
	assert_null(f->thing.note.ptr);
	assert_true(from_json(f, "{\"name\":\"n\",\"note\":null,\"count\":null,\"mode\":null}"));
	assert_int_equal(f->thing.count, 7);
	assert_true(
		from_json(f,
			  "{\"mode\":\"lexical\",\"loud\":true,\"weight\":1,\"count\":200,"
			  "\"list\":[ 2, {\"b\":1,\"a\":[]} ],"
			  "\"meta\":{\"b\":1,\"a\":[1.5]},\"note\":\"\",\"name\":\"12345678\"}"));
	assert_int_equal(f->thing.mode, 2);
	assert_true(f->thing.loud);
	assert_true(f->thing.weight > 0.99);
	assert_true(str_eq_c(f->thing.meta, "{\"a\":[1.5],\"b\":1}"));
	assert_true(str_eq_c(f->thing.list, "[2,{\"a\":[],\"b\":1}]"));
	assert_non_null(f->thing.note.ptr);
	assert_int_equal(f->thing.note.len, 0);
	assert_int_equal(f->thing.name.ptr[8], '\0');
}

static void
takes_whole_numbers_in_any_spelling(void **state)
{
	static const struct {
		const char *json;
		int64_t count;
	} rows[] = {
		{ "{\"name\":\"n\",\"count\":5.0}", 5 },
		{ "{\"name\":\"n\",\"count\":1.2e2}", 120 },
		{ "{\"name\":\"n\",\"count\":200}", 200 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(from_json(f, rows[i].json));
		assert_int_equal(f->thing.count, rows[i].count);
	}
	assert_false(from_json(f, "{\"name\":\"n\",\"count\":1e300}"));
	assert_string_equal(f->err.pointer, "/count");
}

static void
refuses_with_pointer_and_reason(void **state)
{
	static const struct {
		const char *json, *pointer, *msg;
	} rows[] = {
		{ "{}", "/name", "'name' is required" },
		{ "{\"name\":null}", "/name", "'name' must be a string, not null" },
		{ "{\"name\":\"\"}", "/name", "'name' must not be empty" },
		{ "{\"name\":\"123456789\"}", "/name",
		  "'name' must have at most 8 characters, not 9" },
		{ "{\"name\":3}", "/name", "'name' must be a string, not a whole number" },
		{ "{\"name\":\"a\\u0007\"}", "/name",
		  "'name' holds the control character U+0007 at byte 1" },
		{ "{\"name\":\"a\\u007f\"}", "/name",
		  "'name' holds the control character U+007F at byte 1" },
		{ "{\"name\":\"n\",\"count\":0}", "/count",
		  "'count' must be between 1 and 200, not 0" },
		{ "{\"name\":\"n\",\"count\":201}", "/count",
		  "'count' must be between 1 and 200, not 201" },
		{ "{\"name\":\"n\",\"count\":5.5}", "/count",
		  "'count' must be a whole number, not a number" },
		{ "{\"name\":\"n\",\"count\":\"5\"}", "/count",
		  "'count' must be a whole number, not a string" },
		{ "{\"name\":\"n\",\"count\":true}", "/count",
		  "'count' must be a whole number, not true" },
		{ "{\"name\":\"n\",\"weight\":1.5}", "/weight",
		  "'weight' must be between -1 and 1, not 1.5" },
		{ "{\"name\":\"n\",\"weight\":[]}", "/weight",
		  "'weight' must be a number, not an array" },
		{ "{\"name\":\"n\",\"loud\":1}", "/loud",
		  "'loud' must be true or false, not a whole number" },
		{ "{\"name\":\"n\",\"mode\":\"fast\"}", "/mode",
		  "'mode' must be one of 'hybrid', 'dense', 'lexical', not 'fast'" },
		{ "{\"name\":\"n\",\"mode\":{}}", "/mode",
		  "'mode' must be a string, not an object" },
		{ "{\"name\":\"n\",\"list\":{}}", "/list",
		  "'list' must be an array, not an object" },
		{ "{\"name\":\"n\",\"list\":\"[]\"}", "/list",
		  "'list' must be an array, not a string" },
		{ "{\"name\":\"n\",\"list\":[\"0123456789012345678901234567890123456789\"]}",
		  "/list", "'list' must have at most 40 bytes as compact JSON, not 44" },
		{ "{\"name\":\"n\",\"meta\":[]}", "/meta",
		  "'meta' must be an object, not an array" },
		{ "{\"name\":\"n\",\"meta\":{\"k\":\"0123456789012345678901234567890123456789\"}}",
		  "/meta", "'meta' must have at most 40 bytes as compact JSON, not 48" },
		{ "{\"name\":\"n\",\"cuont\":1}", "/cuont",
		  "unknown member 'cuont' in a thing; did you mean 'count'?" },
		{ "{\"name\":\"n\",\"x/y~z\":1}", "/x~1y~0z", "unknown member 'x/y~z' in a thing" },
		{ "{\"name\":\"n\",\"secret\":1}", "/secret",
		  "unknown member 'secret' in a thing" },
		{ "{\"name\":\"n\",\"blob\":\"\"}", "/blob", "unknown member 'blob' in a thing" },
		{ "[]", "", "a thing must be an object, not an array" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (from_json(f, rows[i].json))
			fail_msg("accepted: %s", rows[i].json);
		assert_int_equal(f->err.code, ERR_INVALID);
		assert_string_equal(f->err.msg, rows[i].msg);
		assert_string_equal(f->err.pointer, rows[i].pointer);
	}
}

static void
keeps_the_arenas_cap(void **state)
{
	struct fixture *f = *state;

	arena_release(&f->arena);
	arena_init(&f->arena, 16);
	assert_false(from_json(f, "{\"name\":\"n\",\"note\":\"longer than sixteen bytes\"}"));
	assert_int_equal(f->err.code, ERR_TOO_LARGE);
	assert_string_equal(f->err.pointer, "/note");
}

/* ---- round trips ---- */

static struct str
random_text(struct arena *arena, size_t max_chars)
{
	AUTO(buf) struct buf text = BUF_INIT(1000);
	size_t count = 1 + id_random_u64() % max_chars;

	for (size_t i = 0; i < count; i++) {
		uint32_t cp = (uint32_t)(id_random_u64() % (i % 2 ? 0x10FFFF : 0x250));
		char bytes[4];

		if ((cp < 0x20 && cp != '\n') || cp == 0x7f)
			cp = '"';
		buf_add(&text, bytes, str_utf8_put(bytes, cp));
	}
	return str_make(arena_strndup(arena, text.data, text.len), text.len);
}

static double
random_weight(void)
{
	return (double)(int64_t)(id_random_u64() >> 11) / (double)(INT64_C(1) << 52) - 1;
}

static struct thing
random_thing(struct arena *arena)
{
	struct thing thing = {
		.name = random_text(arena, 8),
		.count = 1 + (int64_t)(id_random_u64() % 200),
		.secret = (int64_t)id_random_u64(),
		.weight = random_weight(),
		.loud = id_random_u64() % 2,
		.mode = (int)(id_random_u64() % 3),
	};

	if (id_random_u64() % 2)
		thing.note = random_text(arena, 50);
	if (id_random_u64() % 2) {
		char *bytes = arena_alloc(arena, 64);

		id_random(bytes, 64);
		thing.blob = str_make(bytes, id_random_u64() % 65);
	}
	if (id_random_u64() % 2)
		thing.meta = STR("{\"a\":[1.5],\"b\":\"ä\"}");
	thing.list = STR("[1,{\"b\":\"ä\"}]");
	return thing;
}

static void
check_same(const struct thing *a, const struct thing *b, bool json)
{
	assert_true(str_eq(a->name, b->name));
	assert_true(str_eq(a->note, b->note));
	assert_true(str_eq(a->meta, b->meta));
	assert_true(str_eq(a->list, b->list));
	assert_true(a->count == b->count && a->loud == b->loud && a->mode == b->mode);
	assert_memory_equal(&a->weight, &b->weight, sizeof(double));
	if (!json)
		assert_true(a->secret == b->secret && str_eq(a->blob, b->blob));
}

static void
any_value_survives_msgpack(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 2000; round++) {
		AUTO(buf) struct buf out = BUF_INIT(1 << 16);
		struct thing back = { .count = 7 };

		arena_reset(&f->arena);
		f->thing = random_thing(&f->arena);
		fields_to_pack(&thing_table, &f->thing, &out);
		assert_true(buf_ok(&out));
		if (!fields_from_pack(&thing_table, str_make(out.data, out.len), &back, &f->err))
			fail_msg("%s", f->err.msg);
		check_same(&f->thing, &back, false);
	}
}

static void
any_value_survives_json(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 2000; round++) {
		AUTO(buf) struct buf out = BUF_INIT(1 << 16);
		struct jw w = jw_start(&out);
		struct thing want;

		arena_reset(&f->arena);
		want = random_thing(&f->arena);
		jw_obj(&w);
		fields_to_json(&thing_table, &want, &w);
		jw_end(&w);
		if (!from_json(f, out.data))
			fail_msg("%s: %s", out.data, f->err.msg);
		check_same(&want, &f->thing, true);
	}
}

static void
refuses_corrupt_messages(void **state)
{
	struct fixture *f = *state;
	AUTO(buf) struct buf out = BUF_INIT(1 << 16);
	struct thing back;

	f->thing.name = STR("name");
	f->thing.meta = STR("{}");
	fields_to_pack(&thing_table, &f->thing, &out);
	assert_true(fields_from_pack(&thing_table, str_make(out.data, out.len), &back, &f->err));
	for (size_t len = 0; len < out.len; len++) {
		assert_false(
			fields_from_pack(&thing_table, str_make(out.data, len), &back, &f->err));
		assert_int_equal(f->err.code, ERR_CORRUPT);
	}
	/* any one byte changed: refused or read, never worse */
	for (size_t at = 0; at < out.len; at++) {
		for (int bit = 0; bit < 8; bit++) {
			out.data[at] = (char)(out.data[at] ^ 1 << bit);
			if (!fields_from_pack(&thing_table, str_make(out.data, out.len), &back,
					      &f->err))
				assert_int_equal(f->err.code, ERR_CORRUPT);
			out.data[at] = (char)(out.data[at] ^ 1 << bit);
		}
	}
}

static void
check_body(struct fixture *f, struct str body, const char *want)
{
	AUTO(buf) struct buf out = BUF_INIT(1000);
	struct thing back = { .count = 7 };

	pack_envelope_begin(&out, "thing");
	buf_add(&out, body.ptr, body.len);

	bool ok = fields_from_pack(&thing_table, str_make(out.data, out.len), &back, &f->err);

	assert_int_equal(ok, want == NULL);
	if (want) {
		assert_int_equal(f->err.code, ERR_CORRUPT);
		assert_string_equal(f->err.msg, want);
		assert_string_equal(f->err.pointer, "");
	}
}

static void
checks_a_stored_value_again(void **state)
{
	struct fixture *f = *state;

	check_body(f, STR("\x81\xa4name\xa1n"), NULL);
	/* members of a newer writer are skipped, whatever they hold; nil is absent */
	check_body(f,
		   STR("\x83\xa4name\xa1n\xa3new\x92\x81\x01\x02\x03\xa5"
		       "count\xc0"),
		   NULL);
	check_body(f, STR("\x80"), "cannot read a stored thing: 'name' is required");
	check_body(f, STR("\x90"), "cannot read a stored thing: its body is no map");
	check_body(f, STR("\x81\x01\x01"),
		   "cannot read a stored thing: a member's name is no text");
	check_body(f, STR("\x81\xa4name\x01"),
		   "cannot read a stored thing: 'name' has another type");
	check_body(f, STR("\x82\xa4name\xa1n\xa4name\xa1m"),
		   "cannot read a stored thing: 'name' comes twice");
	check_body(f,
		   STR("\x82\xa4name\xa1n\xa5"
		       "count\x00"),
		   "cannot read a stored thing: 'count' must be between 1 and 200, not 0");
	check_body(
		f, STR("\x82\xa4name\xa1n\xa4mode\xa1x"),
		"cannot read a stored thing: 'mode' must be one of 'hybrid', 'dense', 'lexical', "
		"not 'x'");
	check_body(f, STR("\x82\xa4name\xa1n\xa4list\xa2{}"),
		   "cannot read a stored thing: 'list' must be an array, not an object");
	check_body(f, STR("\x82\xa4name\xa1n\xa4meta\xa2[]"),
		   "cannot read a stored thing: 'meta' must be an object, not an array");
	check_body(f, STR("\x81\xa4name\xa1\xff"),
		   "cannot read a stored thing: 'name' is not UTF-8 at byte 0");
}

static void
finds_the_nearest_name(void **state)
{
	(void)state;
	assert_int_equal(suggest_distance(STR("abc"), STR("abc")), 0);
	assert_int_equal(suggest_distance(STR(""), STR("abc")), 3);
	assert_int_equal(suggest_distance(STR("abc"), STR("acb")), 1);
	assert_int_equal(suggest_distance(STR("kitten"), STR("sitting")), 3);
	assert_true(suggest_distance(STR("0123456789012345678901234567890123456789"
					 "0123456789012345678901234567890123456789"),
				     STR("a")) == SIZE_MAX);

	struct suggest suggest = suggest_start(STR("treads"));

	suggest_offer(&suggest, "listen");
	assert_null(suggest.nearest);
	suggest_offer(&suggest, "threads");
	suggest_offer(&suggest, "thread_count");
	assert_string_equal(suggest.nearest, "threads");
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(reads_json_over_defaults),	       TEST(takes_whole_numbers_in_any_spelling),
		TEST(refuses_with_pointer_and_reason), TEST(keeps_the_arenas_cap),
		TEST(any_value_survives_msgpack),      TEST(any_value_survives_json),
		TEST(refuses_corrupt_messages),	       TEST(checks_a_stored_value_again),
		TEST(finds_the_nearest_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
