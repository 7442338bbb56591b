/* What `auto` and the defaults come to, whose key goes where, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "jobs/spec/choice.h"
#include "jobs/spec/spec.h"
#include "tests/support/must.h"

static struct config
defaults(void)
{
	struct config config;

	MUST(config_load(&config, NULL, e));
	return config;
}

static void
nothing_set_is_local(void **state)
{
	struct config config = defaults();
	struct embedder_choice embedder;
	struct generator_choice generator;
	struct reranker_choice reranker;

	(void)state;
	MUST(choose_embedder(&config, &embedder, e));
	MUST(choose_generator(&config, &generator, e));
	MUST(choose_reranker(&config, &reranker, e));
	assert_string_equal(embedder.at.provider, "local");
	assert_int_equal(embedder.dim, SPEC_LOCAL_DIM);
	assert_string_equal(generator.at.provider, "extractive");
	assert_string_equal(reranker.at.provider, "local");
	config_release(&config);
}

static void
a_key_is_enough(void **state)
{
	struct config config = defaults();
	struct embedder_choice embedder;
	struct generator_choice generator;
	struct reranker_choice reranker;

	(void)state;
	config.google_api_key.value = "g-key";
	config.cohere_api_key.value = "c-key";
	MUST(choose_embedder(&config, &embedder, e));
	MUST(choose_generator(&config, &generator, e));
	MUST(choose_reranker(&config, &reranker, e));
	assert_string_equal(embedder.at.provider, "gemini");
	assert_string_equal(embedder.at.model, "gemini-embedding-001");
	assert_string_equal(embedder.at.key, "g-key");
	assert_int_equal(embedder.dim, 768);
	assert_true(embedder.asks_dim);
	assert_int_equal(embedder.max_batch, 100);
	assert_string_equal(generator.at.model, "gemini-flash-latest");
	assert_string_equal(reranker.at.model, "rerank-v3.5");
	assert_string_equal(reranker.at.key, "c-key");
	config_release(&config);
}

static void
a_key_never_goes_to_another_server(void **state)
{
	struct config config = defaults();
	struct embedder_choice embedder;
	struct generator_choice generator;

	(void)state;
	config.embedder = EMBEDDER_OPENAI;
	config.generator = GENERATOR_OPENAI;
	config.openai_api_key.value = "o-key";
	config.embedder_url = "http://tei:8080/v1";
	config.embedder_model = "BAAI/bge-small-en-v1.5";
	MUST(choose_embedder(&config, &embedder, e));
	MUST(choose_generator(&config, &generator, e));
	assert_string_equal(embedder.at.url, "http://tei:8080/v1");
	assert_string_equal(embedder.at.key, "");
	assert_int_equal(embedder.dim, 384);
	assert_false(embedder.asks_dim);
	assert_string_equal(generator.at.key, "o-key");
	config.embedder_api_key.value = "own";
	MUST(choose_embedder(&config, &embedder, e));
	assert_string_equal(embedder.at.key, "own");
	config_release(&config);
}

static void
dimensions(void **state)
{
	static const struct {
		enum config_embedder kind;
		const char *model;
		int64_t given;
		size_t dim; /* 0 = refused */
		bool asks;
	} rows[] = {
		{ EMBEDDER_OPENAI, "", 0, 1536, false },
		{ EMBEDDER_OPENAI, "", 1536, 1536, false },
		{ EMBEDDER_OPENAI, "", 512, 512, true },
		{ EMBEDDER_OPENAI, "nomic-embed-text:latest", 0, 768, false },
		{ EMBEDDER_OPENAI, "nomic-embed-text", 512, 0, false },
		{ EMBEDDER_OPENAI, "nomic-embed-text-v9", 0, 0, false },
		{ EMBEDDER_OPENAI, "my-model", 0, 0, false },
		{ EMBEDDER_OPENAI, "my-model", 320, 320, false },
		{ EMBEDDER_GEMINI, "", 1536, 1536, true },
		{ EMBEDDER_COHERE, "", 0, 1536, true },
		{ EMBEDDER_COHERE, "embed-english-v3.0", 0, 1024, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config config = defaults();
		struct embedder_choice choice;
		struct err err = ERR_INIT;

		config.embedder = (int)rows[i].kind;
		config.embedder_model = rows[i].model;
		config.embedder_dim = rows[i].given;
		config.openai_api_key.value = config.google_api_key.value =
			config.cohere_api_key.value = "k";
		if (rows[i].dim == 0) {
			assert_false(choose_embedder(&config, &choice, &err));
			assert_int_equal(err.code, ERR_CONFIG);
			assert_non_null(strstr(err.msg, "EMBEDDING_DIM"));
		} else {
			MUST(choose_embedder(&config, &choice, e));
			assert_int_equal(choice.dim, rows[i].dim);
			assert_int_equal(choice.asks_dim, rows[i].asks);
		}
		config_release(&config);
	}
}

/* A batch that the settings ask for is never more than the provider takes. */
static void
batches(void **state)
{
	struct config config = defaults();
	struct embedder_choice choice;

	(void)state;
	config.google_api_key.value = config.cohere_api_key.value = "k";
	config.embedder_batch = 500;
	MUST(choose_embedder(&config, &choice, e));
	assert_int_equal(choice.max_batch, 100);
	config.embedder_rpm = 60; /* Gemini counts texts */
	MUST(choose_embedder(&config, &choice, e));
	assert_int_equal(choice.max_batch, 60);
	config.embedder = EMBEDDER_COHERE;
	MUST(choose_embedder(&config, &choice, e));
	assert_int_equal(choice.max_batch, 96);
	config.embedder_batch = 7;
	MUST(choose_embedder(&config, &choice, e));
	assert_int_equal(choice.max_batch, 7);
	config_release(&config);
}

/* Vectors of other prefixes, models and lengths never meet in one collection. */
static void
fingerprints_differ(void **state)
{
	struct config config = defaults();
	char plain[SPEC_FINGERPRINT_BYTES], other[SPEC_FINGERPRINT_BYTES];

	(void)state;
	config.embedder = EMBEDDER_OPENAI;
	config.openai_api_key.value = "k";
	MUST(spec_embedder_fingerprint(&config, plain, e));
	assert_string_equal(plain, "openai/text-embedding-3-small/1536");
	config.embedder_query_prefix = "query: ";
	MUST(spec_embedder_fingerprint(&config, other, e));
	assert_string_not_equal(plain, other);
	assert_int_equal(strncmp(plain, other, strlen(plain)), 0);
	config.embedder_query_prefix = "";
	config.embedder_document_prefix = "query: ";
	MUST(spec_embedder_fingerprint(&config, plain, e));
	assert_string_not_equal(plain, other);
	config_release(&config);
}

static void
refusals(void **state)
{
	static const struct {
		const char *expect;
		int embedder, generator, reranker;
		const char *embedder_url, *reranker_url, *reranker_model;
	} rows[] = {
		{ "GOOGLE_API_KEY", EMBEDDER_GEMINI, 0, 0, "", "", "" },
		{ "OPENAI_API_KEY", EMBEDDER_OPENAI, 0, 0, "", "", "" },
		{ "COHERE_API_KEY", EMBEDDER_COHERE, 0, 0, "", "", "" },
		{ "GOOGLE_API_KEY", 0, GENERATOR_GEMINI, 0, "", "", "" },
		{ "OPENAI_API_KEY", 0, GENERATOR_OPENAI, 0, "", "", "" },
		{ "COHERE_API_KEY", 0, 0, RERANKER_COHERE, "", "", "" },
		{ "RERANK_URL", 0, 0, RERANKER_TEI, "", "", "" },
		{ "RERANK_URL", 0, 0, RERANKER_JINA, "", "", "m" },
		{ "RERANK_MODEL", 0, 0, RERANKER_JINA, "", "http://x", "" },
		{ "EMBEDDING_URL", EMBEDDER_OPENAI, 0, 0, "ftp://x", "", "" },
		{ "EMBEDDING_URL", EMBEDDER_OPENAI, 0, 0, "http://", "", "" },
		{ "RERANK_URL", 0, 0, RERANKER_TEI, "", "tei:80", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config config = defaults();
		struct err err = ERR_INIT;

		config.embedder = rows[i].embedder;
		config.generator = rows[i].generator;
		config.reranker = rows[i].reranker;
		config.embedder_url = rows[i].embedder_url;
		config.reranker_url = rows[i].reranker_url;
		config.reranker_model = rows[i].reranker_model;
		assert_false(spec_check_config(&config, &err));
		assert_int_equal(err.code, ERR_CONFIG);
		if (!strstr(err.msg, rows[i].expect))
			fail_msg("row %zu: '%s' does not name %s", i, err.msg, rows[i].expect);
		config_release(&config);
	}
}

/* Not only where it is used: the API says so at its start, too. */
static void
temperature_and_thinking_are_checked_at_the_start(void **state)
{
	static const char *const temperatures[] = { "warm", "-0.1", "2.1",   "nan",  "0x1",
						    ".5",   "01",   "[0.5]", "1e400" };
	static const char *const good[] = { "", "0", "0.2", "2", "1e-1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(temperatures) + ARRAY_SIZE(good) + 1; i++) {
		struct config config = defaults();
		struct err err = ERR_INIT;
		size_t bad = ARRAY_SIZE(temperatures);

		config.generator_temperature = i < bad			    ? temperatures[i]
					       : i < bad + ARRAY_SIZE(good) ? good[i - bad]
									    : "";
		config.generator_thinking = i == bad + ARRAY_SIZE(good) ? "a lot" : "low";
		if (spec_check_config(&config, &err) != (i >= bad && i < bad + ARRAY_SIZE(good)))
			fail_msg("temperature '%s', thinking '%s': %s",
				 config.generator_temperature, config.generator_thinking, err.msg);
		if (i < bad)
			assert_non_null(strstr(err.msg, "GENERATION_TEMPERATURE"));
		config_release(&config);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_set_is_local),
		cmocka_unit_test(a_key_is_enough),
		cmocka_unit_test(a_key_never_goes_to_another_server),
		cmocka_unit_test(dimensions),
		cmocka_unit_test(batches),
		cmocka_unit_test(fingerprints_differ),
		cmocka_unit_test(refusals),
		cmocka_unit_test(temperature_and_thinking_are_checked_at_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
