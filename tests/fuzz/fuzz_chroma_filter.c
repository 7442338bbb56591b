/*
 * fuzz_chroma_filter: metadata and a filter, two lines of any bytes. What is made of them for Chroma is JSON of the form that it takes, and a
 * document is always in the way of its own filter: one that it passes.
 */
#include "common/json.h"
#include "jobs/store/chroma_filter.h"
#include "jobs/store/filter_match.h"
#include "tests/fuzz/fuzz.h"

static void
check_clause(const struct js *clause, int depth)
{
	const struct js *value;
	struct str key;

	must(depth < 64, "a clause is not deeper than its filter");
	must(js_is(clause, JS_OBJECT) && js_len(clause) == 1, "a clause has exactly one key");
	key = js_iter_key(js_first(clause));
	value = js_iter_value(js_first(clause));
	if (str_eq_c(key, "$and") || str_eq_c(key, "$or")) {
		must(js_is(value, JS_ARRAY) && js_len(value) > 0, "a join has something in it");
		for (size_t i = 0; i < js_len(value); i++)
			check_clause(js_at(value, i), depth + 1);
		return;
	}
	must(js_is(value, JS_OBJECT) && js_len(value) == 1, "a comparison has one operator");
}

static void
check_fields(struct str fields)
{
	AUTO(buf) struct buf text = BUF_INIT(8 * MIB);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct err err = ERR_INIT;

	buf_add_str(&text, "{\"document_id\":\"d\"");
	buf_add(&text, fields.ptr, fields.len);
	buf_add_char(&text, '}');
	must(js_parse(text_of(&text), &root, &err), "fields are JSON, each once");
	must(js_len(root) <= CHROMA_MAX_FIELDS + 2, "fields are bounded");
	for (const struct js_iter *it = js_first(root); it; it = js_next(root, it)) {
		enum js_type type = js_type(js_iter_value(it));

		must(type == JS_STRING || type == JS_INT || type == JS_REAL, "fields are flat");
	}
}

static void
check_filter(struct str json, const struct filter_subject *subject)
{
	AUTO(arena) struct arena arena = { .max_bytes = 4 * MIB };
	AUTO(buf) struct buf where = BUF_INIT(4 * MIB);
	AUTO_PTR(js_free) struct js *clause = NULL;
	struct filter *filter = NULL;
	struct err err = ERR_INIT;
	enum chroma_where found;

	if (!filter_parse(json, &arena, &filter, &err) || !filter)
		return;
	found = chroma_filter_where(filter, &where);
	must(found != CHROMA_WHERE_NONE || !filter_matches(filter, subject),
	     "what passes is not left out");
	must((found == CHROMA_WHERE_CLAUSE) == (where.len > 0),
	     "a clause is there when it is said");
	if (found != CHROMA_WHERE_CLAUSE)
		return;
	must(js_parse(text_of(&where), &clause, &err), "a clause is JSON");
	check_clause(clause, 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str all = str_make((const char *)data, size), metadata = STR(""), json;
	AUTO(buf) struct buf fields = BUF_INIT(4 * MIB);
	AUTO_PTR(js_free) struct js *parsed = NULL;
	struct filter_subject subject = { STR("d"), STR("t"), STR(""), NULL };
	struct err err = ERR_INIT;

	(void)str_split(&all, '\n', &metadata);
	json = all;
	if (!chroma_filter_fields(metadata, &fields, &err)) {
		must(err.code == ERR_INVALID || err.code == ERR_TOO_LARGE, "refused with a reason");
		return 0;
	}
	check_fields(text_of(&fields));
	if (metadata.len > 0 && js_parse(metadata, &parsed, &err))
		subject.metadata = parsed;
	check_filter(json, &subject);
	return 0;
}
