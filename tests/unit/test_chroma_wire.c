/* What is said to Chroma, and what of its answers is believed; each trap of its protocol by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "jobs/store/chroma_wire.h"
#include "tests/support/must.h"

#define ARENA(name) AUTO(arena) struct arena name = { .max_bytes = 1 << 20 }
#define TEXT(literal)                                                                              \
	{                                                                                          \
		"" literal "", sizeof(literal) - 1                                                 \
	} /* as an initializer */
#define BUF(name) AUTO(buf) struct buf name = BUF_INIT(1 << 20)

static struct js *
parse(const struct buf *buf)
{
	struct js *root = NULL;

	MUST(js_parse(str_make(buf->data, buf->len), &root, e));
	return root;
}

static const float vectors[3][3] = { { 1, 0, 0 }, { 0.6F, 0.8F, 0 }, { 0.1F, -0.25F, 1e-9F } };
static const struct store_chunk chunks[3] = {
	{ .ordinal = 0, .text = TEXT("one"), .vector = vectors[0] },
	{ .ordinal = 1,
	  .text = TEXT("two \"quoted\"\n"),
	  .heading = TEXT("A > B"),
	  .start = 3,
	  .end = 9,
	  .page = 4,
	  .vector = vectors[1] },
	{ .ordinal = 2, .text = TEXT("three"), .vector = vectors[2] },
};
static const struct store_document document = {
	.uid = TEXT("c1"),
	.document_id = TEXT("d@1#x"),
	.gen = TEXT("7.2"),
	.title = TEXT("T"),
	.uri = TEXT("u:1"),
	.metadata = TEXT("{\"lang\":\"en\"}"),
	.chunks = chunks,
	.count = 3,
	.dim = 3,
};

/* ---- names and ids ---- */

static void
name_rules(void **state)
{
	static const char *const bad[] = { "", "a", "-a", "a/b", "a b", "a..b", "ab.", "\xc3\xbc" };
	char name[CHROMA_NAME_BYTES], longest[600];
	struct err err = ERR_INIT;

	(void)state;
	MUST(chroma_name_format(name, STR("rag-"), STR("01J0ABC"), e));
	assert_string_equal(name, "rag-01J0ABC");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(chroma_name_format(name, STR(""), str_of(bad[i]), &err));
		assert_int_equal(err.code, ERR_INVALID);
	}
	assert_false(chroma_name_format(name, STR("-"), STR("abc"), &err));
	memset(longest, 'a', sizeof(longest));
	assert_true(chroma_name_format(name, STR("r"), str_make(longest, 511), &err));
	assert_false(chroma_name_format(name, STR("r"), str_make(longest, 512), &err));
}

static void
ids_are_read_from_the_right(void **state)
{
	static const char *const bad[] = { "",	     "a",	"d@1.1",     "d#1",	 "@1.1#0",
					   "d@1.1#", "d@1.1#x", "d@first#0", "d@1.1#-1", "d@1#0" };
	char text[CHROMA_ID_BYTES];
	struct chroma_id id;

	(void)state;
	chroma_id_format(text, STR("a@9.9#3@#"), STR("12.3"), 45);
	assert_string_equal(text, "a@9.9#3@#@12.3#45");
	assert_true(chroma_id_parse(str_of(text), &id));
	assert_true(str_eq_c(id.document_id, "a@9.9#3@#"));
	assert_true(str_eq_c(id.gen, "12.3"));
	assert_int_equal(id.seq, 12);
	assert_int_equal(id.ordinal, 45);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (chroma_id_parse(str_of(bad[i]), &id))
			fail_msg("'%s' is taken for an id", bad[i]);
	}
}

/* ---- requests ---- */

static void
cosine_is_always_said(void **state)
{
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct str space = STR("");

	(void)state;
	chroma_build_collection(&buf, "rag-c1", STR("c1"), "local/hash-1/768");
	root = parse(&buf);
	assert_true(js_get_str(js_get(js_get(root, "configuration"), "hnsw"), "space", &space));
	assert_true(str_eq_c(space, "cosine")); /* the default is l2, and cannot be changed later */
	assert_true(js_bool(js_get(root, "get_or_create")));
}

static void
collection_metadata_is_never_empty(void **state)
{
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;
	struct str text = STR("");

	(void)state;
	chroma_build_collection(&buf, "rag-c1", STR("c1"), "");
	root = parse(&buf);
	assert_true(js_len(js_get(root, "metadata")) > 0);
	assert_true(js_get_str(js_get(root, "metadata"), "rag.collection", &text));
	assert_true(str_eq_c(text, "c1"));
}

static void
arrays_have_one_length(void **state)
{
	static const char *const names[] = { "ids", "embeddings", "documents", "metadatas" };
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;

	(void)state;
	MUST(chroma_build_upsert(&buf, &document, 1, 2, STR(",\"m.lang\":\"en\""), false, e));
	root = parse(&buf);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(js_len(js_get(root, names[i])), 2);
	assert_true(str_eq_c(js_str(js_at(js_get(root, "ids"), 0)), "d@1#x@7.2#1"));
}

static void
metadata_is_flat(void **state)
{
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;
	const struct js *metadata;

	(void)state;
	MUST(chroma_build_upsert(&buf, &document, 1, 1, STR(",\"m.lang\":\"en\""), false, e));
	root = parse(&buf);
	metadata = js_at(js_get(root, "metadatas"), 0);
	for (const struct js_iter *it = js_first(metadata); it; it = js_next(metadata, it)) {
		enum js_type type = js_type(js_iter_value(it));

		assert_true(type == JS_STRING || type == JS_INT || type == JS_REAL);
	}
	assert_int_equal(js_int(js_get(metadata, "ordinal")), 1);
	assert_int_equal(js_int(js_get(metadata, "page")), 4);
	assert_true(str_eq_c(js_str(js_get(metadata, "document_id")), "d@1#x"));
	assert_true(str_eq_c(js_str(js_get(metadata, "generation")), "7.2"));
	assert_true(str_eq_c(js_str(js_get(metadata, "heading")), "A > B"));
	assert_true(str_eq_c(js_str(js_get(metadata, "metadata")), "{\"lang\":\"en\"}"));
	assert_true(str_eq_c(js_str(js_get(metadata, "m.lang")), "en"));
}

static void
floats_keep_their_bits(void **state)
{
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;

	(void)state;
	MUST(chroma_build_upsert(&buf, &document, 2, 1, STR(""), false, e));
	root = parse(&buf);
	for (size_t d = 0; d < 3; d++) {
		float back = (float)js_number(js_at(js_at(js_get(root, "embeddings"), 0), d));

		assert_memory_equal(&back, &vectors[2][d], sizeof(back));
	}
}

static void
base64_is_little_endian_float32(void **state)
{
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;

	(void)state;
	MUST(chroma_build_upsert(&buf, &document, 0, 1, STR(""), true, e));
	root = parse(&buf);
	/* as a real server has taken it for [1, 0, 0] */
	assert_true(str_eq_c(js_str(js_at(js_get(root, "embeddings"), 0)), "AACAPwAAAAAAAAAA"));

	/* every rest of three bytes */
	for (size_t dim = 1; dim <= 3; dim++) {
		static const char *const want[] = { "mpkZPw==", "mpkZP83MTD8=",
						    "mpkZP83MTD8AAAAA" };
		struct store_document some = document;
		AUTO_PTR(js_free) struct js *tree = NULL;
		BUF(text);

		some.dim = dim;
		MUST(chroma_build_upsert(&text, &some, 1, 1, STR(""), true, e));
		tree = parse(&text);
		assert_true(str_eq_c(js_str(js_at(js_get(tree, "embeddings"), 0)), want[dim - 1]));
	}
}

static void
query_vector_is_never_base64(void **state)
{
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;
	const struct js *vector;

	(void)state;
	chroma_build_query(&buf, vectors[1], 3, 20, STR("{\"m.lang\":{\"$eq\":\"en\"}}"));
	root = parse(&buf);
	vector = js_at(js_get(root, "query_embeddings"), 0);
	assert_true(js_is(vector, JS_ARRAY));
	assert_int_equal(js_len(vector), 3);
	assert_int_equal(js_int(js_get(root, "n_results")), 20);
	assert_true(js_is(js_get(root, "where"), JS_OBJECT));
}

static void
query_names_no_ids_and_no_empty_where(void **state)
{
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;

	(void)state;
	chroma_build_query(&buf, vectors[0], 3, 5, STR(""));
	root = parse(&buf);
	assert_null(js_get(root, "ids"));   /* one that is missing makes it a 500 */
	assert_null(js_get(root, "where")); /* {} is a 400 */
	assert_null(js_get(root, "query_texts"));
	/* which generation is current is no business of the filter: a where that matches all costs 15 times as much */
	assert_null(strstr(buf.data, "generation"));
}

static void
delete_has_no_limit(void **state)
{
	const struct str ids[2] = { STR("a"), STR("b") };
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;

	(void)state;
	chroma_build_delete(&buf, ids, 2);
	root = parse(&buf);
	assert_int_equal(js_len(root), 1); /* ids, no where: nothing else can match */
	assert_int_equal(js_len(js_get(root, "ids")), 2);
}

static void
gets_are_paged_and_say_what_to_include(void **state)
{
	BUF(buf);
	BUF(page);
	AUTO_PTR(js_free) struct js *root = NULL, *all = NULL;

	(void)state;
	chroma_build_get_document(&buf, STR("d1"), 100, 200);
	root = parse(&buf);
	assert_int_equal(js_int(js_get(root, "limit")), 100);
	assert_int_equal(js_int(js_get(root, "offset")), 200);
	assert_int_equal(js_len(js_get(root, "include")), 0);
	assert_int_equal(js_len(js_get(root, "where")), 1); /* exactly one key */
	chroma_build_get_page(&page, 10, 0);
	all = parse(&page);
	assert_int_equal(js_int(js_get(all, "limit")), 10);
	assert_null(js_get(all, "where"));
}

static void
numbers_must_be_finite(void **state)
{
	static const float odd[] = { NAN, INFINITY, -INFINITY };
	struct store_document some = document;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		float vector[3] = { 0, odd[i], 0 };
		struct store_chunk chunk = { .text = STR("x"), .vector = vector };
		BUF(buf);

		some.chunks = &chunk;
		some.count = 1;
		assert_false(chroma_build_upsert(&buf, &some, 0, 1, STR(""), true, &err));
		assert_int_equal(err.code, ERR_INVALID);
		assert_non_null(strstr(err.msg, "not finite"));
	}
}

static void
an_id_is_never_twice(void **state)
{
	struct store_chunk twice[2] = { chunks[0], chunks[0] };
	struct store_document some = document;
	struct err err = ERR_INIT;
	BUF(buf);

	(void)state;
	some.chunks = twice;
	some.count = 2;
	assert_false(chroma_build_upsert(&buf, &some, 0, 2, STR(""), true, &err));
	assert_int_equal(err.code, ERR_INVALID);
}

static void
nul_characters_are_replaced(void **state)
{
	struct store_chunk chunk = { .text = STR("a\0b"), .vector = vectors[0] };
	struct store_document some = document;
	BUF(buf);
	AUTO_PTR(js_free) struct js *root = NULL;

	(void)state;
	some.chunks = &chunk;
	some.count = 1;
	MUST(chroma_build_upsert(&buf, &some, 0, 1, STR(""), true, e));
	root = parse(&buf);
	assert_true(str_eq_c(js_str(js_at(js_get(root, "documents"), 0)), "a\xef\xbf\xbd"
									  "b"));
}

/* The bound that decides how many chunks go into a write is never too low. */
static void
row_bytes_cover_the_row(void **state)
{
	static const struct store_chunk nasty = {
		.text = TEXT("\x01\x02\"\\\n\xff\xfe\xc3\xbc\xf0\x9f\x98\x80"),
		.heading = TEXT("\"\"\"\"\x1f"),
		.start = INT64_MAX,
		.end = INT64_MAX,
		.page = INT64_MAX,
		.vector = vectors[2]
	};
	struct store_document some = document;

	(void)state;
	some.chunks = &nasty;
	some.count = 1;
	some.metadata = STR("{\"a\":\"\\\"\\\"\\\"\"}");
	for (int base64 = 0; base64 < 2; base64++) {
		BUF(buf);

		MUST(chroma_build_upsert(&buf, &some, 0, 1, STR(",\"m.a\":\"\\\"\""), base64, e));
		assert_in_range(buf.len, 1,
				chroma_row_bytes(&some, 0, STR(",\"m.a\":\"\\\"\""), base64));
	}
}

/* ---- answers ---- */

static void
errors_are_told_by_status(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum chroma_class want;
	} rows[] = {
		{ 200, "{}", CHROMA_OK },
		{ 201, "{}", CHROMA_OK },
		{ 400, "{\"error\":\"InvalidArgumentError\",\"message\":\"x\"}",
		  CHROMA_BAD_REQUEST },
		{ 422, "{\"error\":\"ChromaError\",\"message\":\"missing field\"}",
		  CHROMA_BAD_REQUEST },
		{ 401, "", CHROMA_REFUSED },
		{ 403, "<html>no</html>", CHROMA_REFUSED },
		{ 404, "", CHROMA_MISSING }, /* an unknown path has an empty body */
		{ 404, "{\"message\":\"Collection [x] does not exists\"}", CHROMA_MISSING },
		{ 405, "", CHROMA_ODD },
		{ 409, "{\"message\":\"already exists\"}", CHROMA_EXISTS },
		{ 410, "{\"error\":\"Unimplemented\"}", CHROMA_ODD },
		{ 413, "Payload too large", CHROMA_SPLIT }, /* plain text */
		{ 413, "{\"error\":\"ChromaError\",\"message\":\"length limit exceeded\"}",
		  CHROMA_SPLIT },
		{ 429, "", CHROMA_BUSY },
		{ 500, "{\"error\":\"InternalError\",\"message\":\"oops\"}", CHROMA_BUSY },
		{ 500, "Query error: Database error: too many SQL variables", CHROMA_SPLIT },
		{ 500, "Error executing plan: Internal error: Error finding id",
		  CHROMA_BAD_REQUEST },
		{ 501, "", CHROMA_ODD },
		{ 502, "<html>", CHROMA_BUSY },
		{ 503, "", CHROMA_BUSY },
		{ 504, "", CHROMA_BUSY },
		{ 301, "", CHROMA_ODD },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (chroma_classify(rows[i].status, str_of(rows[i].body)) != rows[i].want)
			fail_msg("%d '%s'", rows[i].status, rows[i].body);
	}
}

static void
old_servers_say_nothing_of_base64(void **state)
{
	struct chroma_preflight limits;
	struct err err = ERR_INIT;

	(void)state;
	MUST(chroma_parse_preflight(STR("{\"max_batch_size\":41666}"), &limits, e));
	assert_int_equal(limits.max_batch, 41666);
	assert_false(limits.base64);
	MUST(chroma_parse_preflight(
		STR("{\"max_batch_size\":5461,\"supports_base64_encoding\":true}"), &limits, e));
	assert_true(limits.base64);
	MUST(chroma_parse_preflight(STR("{}"), &limits, e));
	assert_int_equal(limits.max_batch, CHROMA_DEFAULT_BATCH);
	assert_false(chroma_parse_preflight(STR("<html>"), &limits, &err));
	assert_int_equal(err.code, ERR_STORE_FAILED);
	assert_false(chroma_parse_preflight(STR("\"1.0.0\""), &limits, &err));
}

#define ID "10e84028-2dd7-4386-b65a-2a74670a73c6"

static void
collections_of_all_versions_are_read(void **state)
{
	struct chroma_collection got;

	(void)state;
	/* 1.0.3: no schema; nothing written yet */
	MUST(chroma_parse_collection(
		STR("{\"id\":\"" ID "\",\"name\":\"rag-c1\",\"configuration_json\":{\"hnsw\":{"
		    "\"space\":\"cosine\",\"ef_construction\":100},\"spann\":null},\"metadata\":{"
		    "\"rag.collection\":\"c1\",\"rag.embedder\":\"local/hash-1/768\"},"
		    "\"dimension\":null,\"tenant\":\"t\",\"log_position\":0}"),
		&got, e));
	assert_string_equal(got.id, ID);
	assert_string_equal(got.uid, "c1");
	assert_string_equal(got.fingerprint, "local/hash-1/768");
	assert_true(got.cosine);
	assert_int_equal(got.dim, 0); /* null until the first record */
	/* by the older form of setting, with a schema */
	MUST(chroma_parse_collection(
		STR("{\"id\":\"" ID "\",\"name\":\"docs\",\"schema\":{\"defaults\":{}},"
		    "\"metadata\":{\"hnsw:space\":\"cosine\"},\"dimension\":3}"),
		&got, e));
	assert_true(got.cosine);
	assert_int_equal(got.dim, 3);
	assert_string_equal(got.uid, "");
	/* l2, what get-or-create brings back of another's */
	MUST(chroma_parse_collection(STR("{\"id\":\"" ID
					 "\",\"name\":\"docs\",\"configuration_json\":{\"hnsw\":{"
					 "\"space\":\"l2\"}},\"metadata\":null,\"dimension\":3}"),
				     &got, e));
	assert_false(got.cosine);
}

static void
an_id_that_is_no_path_is_refused(void **state)
{
	static const char *const bad[] = {
		"[]",
		"{}",
		"{\"id\":\"../x\",\"name\":\"docs\"}",
		"{\"id\":\"\",\"name\":\"docs\"}",
		"{\"id\":7,\"name\":\"docs\"}",
		"{\"id\":\"" ID "\"}",
		"{\"id\":\"" ID ID "\",\"name\":\"docs\"}",
	};
	struct chroma_collection got;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (chroma_parse_collection(str_of(bad[i]), &got, &err))
			fail_msg("%s", bad[i]);
		assert_int_equal(err.code, ERR_STORE_FAILED);
	}
}

static bool
count_ours(void *user, const struct chroma_collection *collection, struct err *err)
{
	(void)err;
	*(int *)user += collection->uid[0] != '\0';
	return true;
}

static void
a_list_may_hold_what_is_not_ours(void **state)
{
	size_t count = 0;
	int ours = 0;

	(void)state;
	MUST(chroma_parse_collections(
		STR("[{\"id\":\"" ID "\",\"name\":\"a\",\"metadata\":null},{\"odd\":1},"
		    "{\"id\":\"" ID
		    "\",\"name\":\"rag-b\",\"metadata\":{\"rag.collection\":\"b\"}}]"),
		count_ours, &ours, &count, e));
	assert_int_equal(count, 3);
	assert_int_equal(ours, 1);
}

static void
hits_are_read(void **state)
{
	struct store_hit *hits = NULL;
	size_t count = 0, total = 0;
	ARENA(arena);

	(void)state;
	MUST(chroma_parse_query(
		STR("{\"ids\":[[\"d1@7.2#0\",\"d2@1.1#3\"]],\"embeddings\":null,\"documents\":[["
		    "\"alpha\",\"beta\"]],\"uris\":null,\"metadatas\":[[{\"title\":\"T\",\"start\":"
		    "3,"
		    "\"end\":9,\"page\":2,\"metadata\":\"{\\\"a\\\":1}\"},{\"heading\":\"H\"}]],"
		    "\"distances\":[[0.0,0.29289323]],\"include\":[]}"),
		&arena, &hits, &count, &total, e));
	assert_int_equal(count, 2);
	assert_int_equal(total, 2);
	assert_true(str_eq_c(hits[0].document_id, "d1"));
	assert_true(str_eq_c(hits[0].gen, "7.2"));
	assert_true(str_eq_c(hits[0].text, "alpha"));
	assert_true(str_eq_c(hits[0].metadata, "{\"a\":1}"));
	assert_int_equal(hits[0].start, 3);
	assert_int_equal(hits[0].page, 2);
	assert_true(hits[0].score == 1); /* cosine = 1 - distance */
	assert_true(fabsf(hits[1].score - 0.70710677F) < 1e-6F);
	assert_int_equal(hits[1].ordinal, 3);
	assert_true(hits[0].row != hits[1].row && hits[0].row >= 0 && hits[1].row >= 0);
}

static void
nulls_in_hits(void **state)
{
	struct store_hit *hits = NULL;
	size_t count = 0, total = 0;
	ARENA(arena);

	(void)state;
	/* a document and metadata that are null; a stored NaN has no distance; a record of somebody else */
	MUST(chroma_parse_query(
		STR("{\"ids\":[[\"d@1.1#0\",\"d@1.1#1\",\"foreign\"]],\"documents\":[[null,null,"
		    "\"x\"]],\"metadatas\":[[null,null,null]],\"distances\":[[0.5,null,0.6]]}"),
		&arena, &hits, &count, &total, e));
	assert_int_equal(total, 3);
	assert_int_equal(count, 1);
	assert_int_equal(hits[0].text.len, 0);
	/* what was not included is null */
	MUST(chroma_parse_query(
		STR("{\"ids\":[[\"d@1.1#0\"]],\"documents\":null,\"metadatas\":null,"
		    "\"distances\":[[1]]}"),
		&arena, &hits, &count, &total, e));
	assert_int_equal(count, 1);
	assert_true(hits[0].score == 0);
	/* nothing found */
	MUST(chroma_parse_query(STR("{\"ids\":[[]],\"documents\":[[]],\"metadatas\":[[]],"
				    "\"distances\":[[]]}"),
				&arena, &hits, &count, &total, e));
	assert_int_equal(count, 0);
}

static void
wrong_counts_shift_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"{}",
		"<html><body>502</body></html>",
		"{\"ids\":[\"a\"],\"distances\":[0.5]}",
		"{\"ids\":[[\"d@1.1#0\"]],\"distances\":null}",
		"{\"ids\":[[\"d@1.1#0\",\"d@1.1#1\"]],\"distances\":[[0.5]]}",
		"{\"ids\":[[\"d@1.1#0\"]],\"distances\":[[0.5]],\"documents\":[[]]}",
		"{\"ids\":[[\"d@1.1#0\"]],\"distances\":[[0.5]],\"metadatas\":[[{},{}]]}",
		"{\"ids\":[[7]],\"distances\":[[0.5]]}",
		"{\"ids\":[[\"d@1.1#0\"]],\"distances\":[[0.5]]",
	};
	struct store_hit *hits = NULL;
	struct err err = ERR_INIT;
	size_t count = 0, total = 0;
	ARENA(arena);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (chroma_parse_query(str_of(bad[i]), &arena, &hits, &count, &total, &err))
			fail_msg("%s", bad[i]);
		assert_int_equal(err.code, ERR_STORE_FAILED);
	}
}

static void
ids_are_read(void **state)
{
	struct str *ids = NULL;
	struct err err = ERR_INIT;
	size_t count = 0;
	ARENA(arena);

	(void)state;
	/* ids that are missing are just not there; a get's arrays are not nested */
	MUST(chroma_parse_ids(STR("{\"ids\":[\"d@1.1#1\",\"x\"],\"embeddings\":null,"
				  "\"documents\":null,\"include\":[]}"),
			      &arena, &ids, &count, e));
	assert_int_equal(count, 2);
	assert_true(str_eq_c(ids[1], "x"));
	assert_false(chroma_parse_ids(STR("{\"ids\":[[\"x\"]]}"), &arena, &ids, &count, &err));
	assert_false(chroma_parse_ids(STR("{\"ids\":null}"), &arena, &ids, &count, &err));
	assert_false(chroma_parse_ids(STR("[]"), &arena, &ids, &count, &err));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_rules),
		cmocka_unit_test(ids_are_read_from_the_right),
		cmocka_unit_test(cosine_is_always_said),
		cmocka_unit_test(collection_metadata_is_never_empty),
		cmocka_unit_test(arrays_have_one_length),
		cmocka_unit_test(metadata_is_flat),
		cmocka_unit_test(floats_keep_their_bits),
		cmocka_unit_test(base64_is_little_endian_float32),
		cmocka_unit_test(query_vector_is_never_base64),
		cmocka_unit_test(query_names_no_ids_and_no_empty_where),
		cmocka_unit_test(delete_has_no_limit),
		cmocka_unit_test(gets_are_paged_and_say_what_to_include),
		cmocka_unit_test(numbers_must_be_finite),
		cmocka_unit_test(an_id_is_never_twice),
		cmocka_unit_test(nul_characters_are_replaced),
		cmocka_unit_test(row_bytes_cover_the_row),
		cmocka_unit_test(errors_are_told_by_status),
		cmocka_unit_test(old_servers_say_nothing_of_base64),
		cmocka_unit_test(collections_of_all_versions_are_read),
		cmocka_unit_test(an_id_that_is_no_path_is_refused),
		cmocka_unit_test(a_list_may_hold_what_is_not_ours),
		cmocka_unit_test(hits_are_read),
		cmocka_unit_test(nulls_in_hits),
		cmocka_unit_test(wrong_counts_shift_nothing),
		cmocka_unit_test(ids_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
