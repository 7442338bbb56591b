#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/sha256.h"
#include "jobs/spec/media.h"
#include "jobs/spec/spec.h"

static void
test_content_type(void **state)
{
	(void)state;
	static const struct {
		const char *header, *media; /* media NULL: refused */
	} rows[] = {
		{ "text/plain", "text/plain" },
		{ "Text/HTML; charset=utf-8", "text/html" },
		{ " text/markdown ;variant=GFM; Charset=\"UTF-8\"", "text/markdown" },
		{ "application/json;charset=us-ascii", "application/json" },
		{ "application/xhtml+xml", "application/xhtml+xml" },
		{ "text/plain; charset=latin1", NULL },
		{ "text/plain; a=b; charset=\"iso-8859-1\"", NULL },
		{ "text/plain; charset=", NULL },
		{ "application/pdf; charset=binary", "application/pdf" },
		{ "application/OCTET-stream", "application/octet-stream" },
		{ "application/zip", NULL },
		{ "text", NULL },
		{ "", NULL },
		{ ";charset=utf-8", NULL },
		{ "multipart/form-data; boundary=x", NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct str media = { 0 };
		bool ok = spec_content_type(str_of(rows[i].header), &media, &err);
		assert_int_equal(ok, rows[i].media != NULL);
		if (ok)
			assert_true(str_eq_c(media, rows[i].media));
		else
			assert_int_equal(err.code, ERR_UNSUPPORTED_MEDIA);
	}
	struct err err = ERR_INIT;
	struct str media;
	assert_false(spec_content_type(STR("image/png"), &media, &err));
	/* the message names what is accepted, in the words of the table's nouns */
	for (size_t i = 0; i < media_type_count; i++) {
		struct str noun = str_of(media_types[i].noun), word = { 0 };

		if (str_split(&noun, ' ', &word) && (str_eq_c(word, "a") || str_eq_c(word, "an")))
			(void)str_split(&noun, ' ', &word);
		char name[32];
		assert_true(str_copy(name, sizeof(name), word));
		assert_non_null(strstr(err.msg, name));
	}
}

static void
test_job_types(void **state)
{
	(void)state;
	for (size_t i = 0; i < job_type_count; i++) {
		const struct job_type *type = job_type_find(str_of(job_types[i].name));
		assert_ptr_equal(type, &job_types[i]);
		assert_string_equal(type->payload->kind, type->name);
	}
	assert_string_equal(job_type_find(STR("delete"))->queue, "ingest");
	assert_null(job_type_find(STR("")));
	assert_null(job_type_find(STR("ingestx")));
}

/* The tables point at members of the right type: a kind that does not fit would corrupt memory. */
static void
test_tables_fit(void **state)
{
	(void)state;
	static const struct {
		const struct fields *table;
		size_t bytes;
	} rows[] = {
		{ &document_body_fields, sizeof(struct document_body) },
		{ &ingest_payload_fields, sizeof(struct ingest_payload) },
		{ &query_payload_fields, sizeof(struct query_payload) },
		{ &delete_payload_fields, sizeof(struct delete_payload) },
	};
	static const size_t width[] = {
		[FIELD_STR] = sizeof(struct str),  [FIELD_BYTES] = sizeof(struct str),
		[FIELD_I64] = sizeof(int64_t),	   [FIELD_F64] = sizeof(double),
		[FIELD_BOOL] = sizeof(bool),	   [FIELD_ENUM] = sizeof(int),
		[FIELD_JSON] = sizeof(struct str), [FIELD_LIST] = sizeof(struct str),
	};
	for (size_t t = 0; t < ARRAY_SIZE(rows); t++) {
		for (size_t i = 0; i < rows[t].table->count; i++) {
			const struct field *row = &rows[t].table->rows[i];
			assert_true(row->offset + width[row->kind] <= rows[t].bytes);
			assert_non_null(row->doc);
			assert_true(row->kind != FIELD_ENUM || row->names != NULL);
			for (size_t k = 0; k < i; k++) {
				const struct field *other = &rows[t].table->rows[k];
				assert_string_not_equal(row->name, other->name);
				assert_true(row->offset + width[row->kind] <= other->offset ||
					    other->offset + width[other->kind] <= row->offset);
			}
		}
	}
}

static struct config
plain_config(void)
{
	return (struct config){ .chunk_size = 1000, .chunk_overlap = 100, .retrieval_k = 8 };
}

static void
test_fingerprints(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct config config = plain_config();
	char auto_made[SPEC_FINGERPRINT_BYTES], local[SPEC_FINGERPRINT_BYTES];
	assert_true(spec_embedder_fingerprint(&config, auto_made, &err));
	config.embedder = EMBEDDER_LOCAL;
	assert_true(spec_embedder_fingerprint(&config, local, &err));
	assert_string_equal(auto_made, local);
	assert_string_equal(local, "local/hash-1/768");

	char a[SPEC_FINGERPRINT_BYTES], b[SPEC_FINGERPRINT_BYTES];
	assert_true(spec_pipeline_fingerprint(&config, a, &err));
	assert_non_null(strstr(a, local));
	config.chunk_size = 999;
	assert_true(spec_pipeline_fingerprint(&config, b, &err));
	assert_string_not_equal(a, b);
	config.chunk_size = 1000;
	config.chunk_overlap = 99;
	assert_true(spec_pipeline_fingerprint(&config, b, &err));
	assert_string_not_equal(a, b);
}

static void
check_refused(const struct config *config, const char *env)
{
	struct err err = ERR_INIT;
	assert_false(spec_check_config(config, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_non_null(strstr(err.msg, env));
}

static void
test_check_config(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct config config = plain_config();
	assert_true(spec_check_config(&config, &err));
	config.embedder = EMBEDDER_GEMINI;
	config.gemini_url = "https://gemini.example/v1beta";
	check_refused(&config, "GOOGLE_API_KEY");
	config = plain_config();
	config.generator = GENERATOR_OPENAI;
	config.openai_url = "localhost:8000";
	check_refused(&config, "OPENAI_BASE_URL");
	config = plain_config();
	config.reranker = RERANKER_TEI;
	check_refused(&config, "RERANK_URL");
	config = plain_config();
	config.reranker = RERANKER_NONE;
	assert_true(spec_check_config(&config, &err));
	config.store = STORE_CHROMA;
	config.chroma_host = "chroma.example";
	config.chroma_tenant = "default_tenant";
	config.chroma_database = "default_database";
	config.chroma_prefix = "rag-";
	assert_true(spec_check_config(&config, &err));
	config.chroma_host = "http://chroma.example:8000";
	check_refused(&config, "CHROMA_HOST");
	config.chroma_host = "chroma.example";
	config.chroma_tenant = "t1";
	check_refused(&config, "CHROMA_TENANT");
	config.chroma_tenant = "default_tenant";
	config.chroma_database = "../x";
	check_refused(&config, "CHROMA_DATABASE");
	config.chroma_database = "default_database";
	config.chroma_prefix = "-rag";
	check_refused(&config, "CHROMA_PREFIX");
	config = plain_config();
	config.chunk_overlap = 500;
	assert_true(spec_check_config(&config, &err));
	config.chunk_overlap = 501;
	check_refused(&config, "CHUNK_OVERLAP");
}

static void
test_version_hash(void **state)
{
	(void)state;
	const struct ingest_payload base = {
		.seq = 1,
		.content_type = STR("text/plain"),
		.title = STR("t"),
		.uri = STR("u"),
		.metadata = STR("{}"),
		.content_hash = STR("00"),
	};
	char first[SHA256_HEX_BYTES], other[SHA256_HEX_BYTES];
	spec_version_hash(&base, "v1/a", first);

	struct ingest_payload same = base; /* seq and ids do not decide the chunks */
	same.seq = 2;
	same.document_id = STR("x");
	spec_version_hash(&same, "v1/a", other);
	assert_string_equal(first, other);

	spec_version_hash(&base, "v1/b", other);
	assert_string_not_equal(first, other);
	struct str *members[] = { &same.content_type, &same.title, &same.uri, &same.metadata,
				  &same.content_hash };
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct str kept = *members[i];
		*members[i] = STR("changed");
		spec_version_hash(&same, "v1/a", other);
		assert_string_not_equal(first, other);
		*members[i] = kept;
	}
	same.title = STR("tu"); /* fields do not run into each other */
	same.uri = STR("");
	spec_version_hash(&same, "v1/a", other);
	assert_string_not_equal(first, other);
}

static void
test_defaults(void **state)
{
	(void)state;
	struct config config = plain_config();
	config.enable_reranking = true;
	struct query_payload query;
	query_payload_init(&query, &config);
	assert_int_equal(query.top_k, 8);
	assert_true(query.rerank && query.generate && !query.explain);
	assert_int_equal(query.mode, QUERY_HYBRID);
	struct document_body body;
	document_body_init(&body);
	assert_true(str_eq_c(body.content_type, "text/plain"));
	assert_int_equal(body.id.len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content_type), cmocka_unit_test(test_job_types),
		cmocka_unit_test(test_tables_fit),   cmocka_unit_test(test_fingerprints),
		cmocka_unit_test(test_check_config), cmocka_unit_test(test_version_hash),
		cmocka_unit_test(test_defaults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
