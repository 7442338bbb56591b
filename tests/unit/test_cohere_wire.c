/* Cohere's v2 embed, trap by trap (https://docs.cohere.com/reference/embed). Its rerank: test_rerank_wire.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "jobs/provider/cohere_wire.h"
#include "jobs/spec/choice.h"
#include "tests/support/must.h"

#define NOT_USED ((struct remote_used){ -1, -1, -1 })

static void
check_embed(const struct cohere_embed *embed, const char *want)
{
	AUTO(buf) struct buf out = BUF_INIT((size_t)1024 * 1024);

	cohere_build_embed(embed, &out);
	assert_string_equal(out.data, want);
}

static void
input_type_is_said_and_a_cut_is_not_wanted(void **state)
{
	const struct str texts[] = { STR("a"), STR("b\xff") };
	struct cohere_embed embed = { .model = "embed-v4.0",
				      .task = EMBED_DOCUMENT,
				      .texts = texts,
				      .count = 2,
				      .dim = 1024 };

	(void)state;
	check_embed(&embed, "{\"model\":\"embed-v4.0\",\"input_type\":\"search_document\","
			    "\"texts\":[\"a\",\"b\xef\xbf\xbd\"],\"embedding_types\":[\"float\"],"
			    "\"output_dimension\":1024,\"truncate\":\"NONE\"}");
	embed.task = EMBED_QUERY;
	embed.count = 1;
	embed.prefix = STR("q: ");
	embed.no_truncate = true;
	check_embed(&embed, "{\"model\":\"embed-v4.0\",\"input_type\":\"search_query\","
			    "\"texts\":[\"q: a\"],\"embedding_types\":[\"float\"],"
			    "\"output_dimension\":1024}");
}

/* Only v4 has several lengths; it refuses more than 96 texts. */
static void
output_dimension_is_for_v4_and_a_batch_has_96(void **state)
{
	struct embedder_choice choice;
	struct config config;

	(void)state;
	MUST(config_load(&config, NULL, e));
	config.embedder = EMBEDDER_COHERE;
	config.cohere_api_key.value = "key-of-a-test";
	config.embedder_batch = 2048;
	MUST(choose_embedder(&config, &choice, e));
	assert_true(choice.asks_dim);
	assert_int_equal(choice.max_batch, 96);
	config.embedder_model = "embed-multilingual-v3.0";
	MUST(choose_embedder(&config, &choice, e));
	assert_false(choice.asks_dim);
	config_release(&config);
}

static bool
parse(const char *body, size_t count, float *out, struct remote_used *used, struct err *err)
{
	AUTO(reply) struct reply reply = { 0 };

	return reply_read(str_of(body), &reply, err) &&
	       cohere_parse_embed(&reply, count, 2, out, used, err);
}

static void
vectors_by_type_and_billed_tokens(void **state)
{
	struct remote_used used = NOT_USED;
	float out[4] = { 0 };

	(void)state;
	MUST(parse("{\"id\":\"x\",\"response_type\":\"embeddings_by_type\",\"embeddings\":"
		   "{\"float\":[[0,2],[-3,0]]},\"texts\":[\"a\",\"b\"],\"meta\":{\"billed_units\":"
		   "{\"input_tokens\":4}}}",
		   2, out, &used, e));
	assert_true(out[0] == 0 && out[1] == 1 && out[2] == -1 && out[3] == 0);
	assert_int_equal(used.tokens_in, 4);
	used = NOT_USED;
	/* 1, 0 as base64 of little-endian floats */
	MUST(parse("{\"embeddings\":{\"base64\":[\"AACAPwAAAAA=\"]}}", 1, out, &used, e));
	assert_true(out[0] == 1 && out[1] == 0);
	assert_int_equal(used.tokens_in, -1);
}

static void
wrong_vectors_are_refused(void **state)
{
	static const char *const bodies[] = {
		"{}",
		"[[1,0],[0,1]]",
		"{\"embeddings\":{}}",
		"{\"embeddings\":{\"float\":[[1,0]]}}",
		"{\"embeddings\":{\"float\":[[1,0],[0,1],[1,0]]}}",
		"{\"embeddings\":{\"float\":[[1,0],[0,1,0]]}}",
		"{\"embeddings\":{\"float\":[[1,0],[0,null]]}}",
		"{\"embeddings\":{\"float\":[[1,0],[0,1e999]]}}",
		"{\"embeddings\":{\"int8\":[[1,0],[0,1]]}}",
		"{\"embeddings\":{\"float\":[1,0]}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct remote_used used = NOT_USED;
		struct err err = ERR_INIT;
		float out[6];

		if (parse(bodies[i], 2, out, &used, &err))
			fail_msg("%s was taken", bodies[i]);
		assert_int_equal(err.code, ERR_PROVIDER_REPLY);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(input_type_is_said_and_a_cut_is_not_wanted),
		cmocka_unit_test(output_dimension_is_for_v4_and_a_batch_has_96),
		cmocka_unit_test(vectors_by_type_and_billed_tokens),
		cmocka_unit_test(wrong_vectors_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
