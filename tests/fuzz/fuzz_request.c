/*
 * fuzz_request: any bytes as the JSON body of a request, read into the tables of documents and queries. What is accepted
 * goes to msgpack and back, and to JSON and back, without a change.
 */
#include "common/fields.h"
#include "common/json.h"
#include "jobs/spec/filter.h"
#include "jobs/spec/history.h"
#include "jobs/spec/spec.h"
#include "tests/fuzz/fuzz.h"

union body {
	struct document_body document;
	struct query_payload query;
};

static void
write_packed(const struct fields *fields, const union body *body, struct buf *out)
{
	fields_to_pack(fields, body, out);
	must(buf_ok(out), "an accepted body can be packed");
}

static void
check_pack(const struct fields *fields, const union body *body)
{
	AUTO(buf) struct buf once = BUF_INIT(16 * MIB);
	AUTO(buf) struct buf twice = BUF_INIT(16 * MIB);
	union body again = *body;
	struct err err = ERR_INIT;

	write_packed(fields, body, &once);
	must(fields_from_pack(fields, text_of(&once), &again, &err), "what is packed can be read");
	write_packed(fields, &again, &twice);
	must(str_eq(text_of(&once), text_of(&twice)), "msgpack and back changes nothing");
}

static void
check_json(const struct fields *fields, const union body *body, struct arena *arena)
{
	AUTO(buf) struct buf text = BUF_INIT(64 * MIB);
	AUTO(buf) struct buf once = BUF_INIT(16 * MIB);
	AUTO(buf) struct buf twice = BUF_INIT(16 * MIB);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct jw w = jw_start(&text);
	union body again = *body;
	struct err err = ERR_INIT;

	jw_obj(&w);
	fields_to_json(fields, body, &w);
	jw_end(&w);
	must(js_parse(text_of(&text), &root, &err), "an accepted body can be shown");
	must(fields_from_json(fields, root, &again, arena, &err), "what is shown is accepted");
	write_packed(fields, body, &once);
	write_packed(fields, &again, &twice);
	must(str_eq(text_of(&once), text_of(&twice)), "JSON and back changes nothing");
}

static bool
try_table(const struct fields *fields, const struct js *root, union body *body, struct arena *arena)
{
	struct err err = ERR_INIT;

	if (!fields_from_json(fields, root, body, arena, &err)) {
		must(err.code == ERR_INVALID || err.code == ERR_TOO_LARGE, "refused with a reason");
		must(str_utf8_valid(str_of(err.pointer), NULL), "the place is a text");
		return false;
	}
	check_pack(fields, body);
	check_json(fields, body, arena);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	AUTO(arena) struct arena arena;
	union body body = { 0 };
	struct filter *filter;
	struct history history;
	struct str media_type;
	struct err err = ERR_INIT;

	arena_init(&arena, 64 * MIB);
	if (!js_parse(str_make((const char *)data, size), &root, &err) || !js_is(root, JS_OBJECT))
		return 0;
	document_body_init(&body.document);
	if (try_table(&document_body_fields, root, &body, &arena))
		(void)spec_content_type(body.document.content_type, &media_type, &err);
	body.query = (struct query_payload){ .top_k = 10, .generate = true, .max_tokens = 512 };
	if (try_table(&query_payload_fields, root, &body, &arena)) {
		(void)filter_parse(body.query.filter, &arena, &filter, &err);
		if (history_parse(body.query.history, &arena, &history, &err))
			must(history.count <= HISTORY_MAX_TURNS, "a history is bounded");
	}
	return 0;
}
