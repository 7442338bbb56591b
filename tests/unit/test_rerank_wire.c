/* Servers that reorder passages, trap by trap: Cohere v2, Jina's form (vLLM, llama.cpp, Infinity, ...), Text Embeddings Inference. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "jobs/provider/rerank_wire.h"
#include "tests/support/must.h"

#define NOT_USED ((struct remote_used){ -1, -1, -1 })

/* ---- requests ---- */

static const struct str two[] = { { "a", 1 }, { "b\xff", 2 } };

static void
check(void (*build)(const struct rerank_query *, struct buf *), const char *model, unsigned without,
      const char *want)
{
	const struct rerank_query rerank = {
		.model = model, .query = STR("q"), .texts = two, .count = 2, .without = without
	};
	AUTO(buf) struct buf out = BUF_INIT((size_t)1024 * 1024);

	build(&rerank, &out);
	assert_string_equal(out.data, want);
}

static void
cohere_v2_has_no_return_documents(void **state)
{
	(void)state;
	check(rerank_build_cohere, "rerank-v3.5", 0,
	      "{\"model\":\"rerank-v3.5\",\"query\":\"q\",\"documents\":[\"a\",\"b\xef\xbf\xbd\"],"
	      "\"top_n\":2}");
}

/* All scores are wanted, the texts are not. */
static void
jina_asks_for_all_scores_and_no_texts(void **state)
{
	(void)state;
	check(rerank_build_jina, "bge", 0,
	      "{\"model\":\"bge\",\"query\":\"q\",\"documents\":[\"a\",\"b\xef\xbf\xbd\"],"
	      "\"top_n\":2,\"return_documents\":false}");
	check(rerank_build_jina, "", RERANK_NO_TOP_N | RERANK_NO_RETURN,
	      "{\"query\":\"q\",\"documents\":[\"a\",\"b\xef\xbf\xbd\"]}");
}

static void
tei_has_texts_and_lets_them_be_cut(void **state)
{
	(void)state;
	check(rerank_build_tei, "unused", 0,
	      "{\"query\":\"q\",\"texts\":[\"a\",\"b\xef\xbf\xbd\"],\"raw_scores\":false,"
	      "\"truncate\":true}");
	check(rerank_build_tei, "", RERANK_NO_TRUNCATE,
	      "{\"query\":\"q\",\"texts\":[\"a\",\"b\xef\xbf\xbd\"],\"raw_scores\":false}");
}

/* ---- replies ---- */

static bool
parse(const char *body, float out[2], struct remote_used *used, struct err *err)
{
	AUTO(reply) struct reply reply = { 0 };

	return reply_read(str_of(body), &reply, err) && rerank_parse(&reply, 2, out, used, err);
}

static void
one_parser_reads_every_dialect(void **state)
{
	static const char *const bodies[] = {
		/* Cohere, sorted by score */
		"{\"id\":\"0b7f\",\"results\":[{\"index\":1,\"relevance_score\":0.75},{\"index\":0,"
		"\"relevance_score\":0.25}],\"meta\":{}}",
		/* Jina, with texts */
		"{\"model\":\"m\",\"results\":[{\"index\":1,\"relevance_score\":0.75,\"document\":"
		"{\"text\":\"b\"}},{\"index\":0,\"relevance_score\":0.25}]}",
		/* texts as strings; llama.cpp does not sort */
		"{\"results\":[{\"index\":0,\"relevance_score\":0.25,\"document\":\"a\"},{"
		"\"index\":1,"
		"\"relevance_score\":0.75}]}",
		/* `data`, `score` */
		"{\"data\":[{\"index\":1,\"score\":0.75},{\"index\":0,\"score\":0.25}]}",
		/* TEI: alone */
		"[{\"index\":1,\"score\":0.75,\"text\":\"b\"},{\"index\":0,\"score\":0.25}]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct remote_used used = NOT_USED;
		float out[2] = { 0 };

		MUST(parse(bodies[i], out, &used, e));
		assert_true(out[0] == 0.25F && out[1] == 0.75F);
		assert_int_equal(used.tokens_in, -1); /* usage may be missing */
		assert_int_equal(used.search_units, -1);
	}
}

/* Searches are billed as the reply says: long documents count as several. */
static void
usage_is_read_not_computed(void **state)
{
	struct remote_used used = NOT_USED;
	float out[2] = { 0 };

	(void)state;
	MUST(parse("{\"results\":[{\"index\":0,\"score\":1},{\"index\":1,\"score\":0}],\"meta\":"
		   "{\"billed_units\":{\"search_units\":3}},\"usage\":{\"prompt_tokens\":20,"
		   "\"total_tokens\":30}}",
		   out, &used, e));
	assert_int_equal(used.search_units, 3);
	assert_int_equal(used.tokens_in, 30);
}

#define HEAD "{\"results\":[{\"index\":0,\"score\":1}"

static void
every_text_has_one_score_or_it_is_garbage(void **state)
{
	static const char *const bodies[] = {
		"{}",
		"[]",
		"\"x\"",
		"{\"results\":{}}",
		"{\"results\":[0.1,0.2]}",
		HEAD "]}",
		HEAD ",{\"index\":1,\"score\":1},{\"index\":1,\"score\":1}]}",
		HEAD ",{\"index\":0,\"score\":1}]}",
		HEAD ",{\"index\":2,\"score\":1}]}",
		HEAD ",{\"index\":-1,\"score\":1}]}",
		HEAD ",{\"index\":1.0,\"score\":1}]}",
		HEAD ",{\"score\":1}]}",
		HEAD ",{\"index\":1}]}",
		HEAD ",{\"index\":1,\"score\":null}]}",
		HEAD ",{\"index\":1,\"score\":\"1\"}]}",
		HEAD ",{\"index\":1,\"score\":1e99}]}",
		HEAD ",{\"index\":1,\"score\":NaN}]}",
		HEAD ",7]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct remote_used used = NOT_USED;
		struct err err = ERR_INIT;
		float out[2];

		if (parse(bodies[i], out, &used, &err))
			fail_msg("%s was taken", bodies[i]);
		assert_int_equal(err.code, ERR_PROVIDER_REPLY);
	}
}

/* llama.cpp gives raw logits, from negative to positive. */
static void
raw_logits_come_into_0_to_1_in_their_order(void **state)
{
	float logits[] = { -11.5F, 0, 4.25F, -0.5F, 60 };
	float same[] = { 0, 1, 0.3F };

	(void)state;
	rerank_squash(logits, ARRAY_SIZE(logits));
	for (size_t i = 0; i < ARRAY_SIZE(logits); i++)
		assert_true(logits[i] >= 0 && logits[i] <= 1);
	assert_true(logits[1] == 0.5F);
	assert_true(logits[4] > logits[2] && logits[2] > logits[1] && logits[1] > logits[3] &&
		    logits[3] > logits[0]);
	rerank_squash(same, ARRAY_SIZE(same));
	assert_true(same[0] == 0 && same[1] == 1 && same[2] == 0.3F);
	rerank_squash(NULL, 0);
}

static size_t
info(const char *body)
{
	AUTO(reply) struct reply reply = { 0 };

	MUST(reply_read(str_of(body), &reply, e));
	return rerank_parse_tei_info(&reply);
}

static void
tei_says_how_many_texts_it_takes(void **state)
{
	(void)state;
	assert_int_equal(info("{\"model_id\":\"m\",\"max_input_length\":512,"
			      "\"max_batch_requests\":null,\"max_client_batch_size\":48}"),
			 48);
	assert_int_equal(info("{}"), 0);
	assert_int_equal(info("[]"), 0);
	assert_int_equal(info("{\"max_client_batch_size\":null}"), 0);
	assert_int_equal(info("{\"max_client_batch_size\":-3}"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cohere_v2_has_no_return_documents),
		cmocka_unit_test(jina_asks_for_all_scores_and_no_texts),
		cmocka_unit_test(tei_has_texts_and_lets_them_be_cut),
		cmocka_unit_test(one_parser_reads_every_dialect),
		cmocka_unit_test(usage_is_read_not_computed),
		cmocka_unit_test(every_text_has_one_score_or_it_is_garbage),
		cmocka_unit_test(raw_logits_come_into_0_to_1_in_their_order),
		cmocka_unit_test(tei_says_how_many_texts_it_takes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
