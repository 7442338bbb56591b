/*
 * Gemini, Cohere, and the servers that rerank, as instances against the scripted server: what they learn from refusals, what a stream
 * does to an answer, what is sent where. The formats themselves: tests/unit/test_{gemini,cohere,rerank}_wire.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "common/governor.h"
#include "jobs/provider/provider.h"
#include "jobs/step/prompt.h"
#include "tests/support/fake_provider.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define KEY "key-of-a-test"
#define DIM 128
#define MAX_TEXTS 70

static struct fake_provider *fake;
static struct config config;
static const struct provider_call no_limit = { .deadline_mono_ms = 0 };

static int
begin(void **state)
{
	(void)state;
	MUST(config_load(&config, NULL, e));
	fake_provider_reset(fake);
	config.gemini_url = fake_provider_url(fake, "gemini");
	config.cohere_url = fake_provider_url(fake, "cohere");
	config.google_api_key.value = config.cohere_api_key.value = KEY;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	config_release(&config);
	return 0;
}

static int64_t
requests(const char *route)
{
	return fake_provider_count(fake, route, "requests");
}

/* Does the last request to the route have this in its body, path, query or headers? */
static bool
last_has(const char *route, const char *member, const char *text)
{
	struct js *seen = fake_provider_requests(fake, route, 1);
	const struct js *last = js_at(js_get(seen, "requests"), 0);
	AUTO(buf) struct buf value = BUF_INIT((size_t)1024 * 1024);
	bool has;

	assert_non_null(last);
	if (js_is(js_get(last, member), JS_STRING))
		buf_add(&value, js_str(js_get(last, member)).ptr, js_str(js_get(last, member)).len);
	else
		js_write(js_get(last, member), &value);
	has = strstr(value.data, text) != NULL;
	js_free(seen);
	return has;
}

/* ---- embedders ---- */

static struct embedder *
open_embedder(enum config_embedder kind)
{
	struct embedder *embedder = NULL;

	config.embedder = (int)kind;
	config.embedder_dim = kind == EMBEDDER_GEMINI ? DIM : 256;
	MUST(embedder_open(&config, &embedder, e));
	return embedder;
}

static const struct str five[] = { { "the lease", 9 },
				   { "a plate of steel", 16 },
				   { "the turbulent layer", 19 },
				   { "onions", 6 },
				   { "winter", 6 } };

static bool
embed(struct embedder *embedder, size_t count, float *out, struct err *err)
{
	return embedder->ops->embed(embedder, &no_limit, EMBED_DOCUMENT, five, count, out, err);
}

/* As users report: the minute's requests are counted by the texts, at Gemini only. */
static void
gemini_texts_of_a_batch_count_as_requests(void **state)
{
	static const struct {
		enum config_embedder kind;
		int64_t requests;
	} rows[] = { { EMBEDDER_GEMINI, 5 }, { EMBEDDER_COHERE, 1 } };
	struct redis_server *server = redis_server_start(NULL);
	struct redis *redis = redis_server_connect(server);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct provider_call call = { .redis = redis };
		struct governor_state states[2];
		struct embedder *embedder;
		size_t count;
		float *out;

		MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
		config.embedder_rpm = 100;
		embedder = open_embedder(rows[i].kind);
		out = mem_array(5 * embedder->dim, sizeof(float));
		MUST(embedder->ops->embed(embedder, &call, EMBED_DOCUMENT, five, 5, out, e));
		MUST(governor_list(redis, states, ARRAY_SIZE(states), &count, e));
		assert_int_equal(count, 1);
		assert_int_equal(states[0].requests, rows[i].requests);
		mem_free(out);
		embedder_close(embedder);
	}
	redis_free(redis);
	redis_server_stop(server);
}

static enum err_code
embed_fails(struct embedder *embedder)
{
	float *out = mem_array(5 * embedder->dim, sizeof(float));
	struct err err = ERR_INIT;

	assert_false(embed(embedder, 5, out, &err));
	assert_null(strstr(err.msg, KEY));
	assert_null(strstr(err.cause, KEY));
	mem_free(out);
	return err.code;
}

static void
gemini_key_is_in_a_header_never_in_the_url(void **state)
{
	struct embedder *embedder = open_embedder(EMBEDDER_GEMINI);
	float out[5 * DIM];

	(void)state;
	MUST(embed(embedder, 5, out, e));
	assert_true(last_has("gemini.*", "headers", "\"x-goog-api-key\":\"" KEY "\""));
	assert_false(last_has("gemini.*", "path", KEY));
	assert_false(last_has("gemini.*", "query", "key"));
	assert_true(last_has("gemini.*", "path", "gemini-embedding-001:batchEmbedContents"));
	embedder_close(embedder);
}

/* A list of methods may not name the call for many, and a 404 is all that says it is not there. */
static void
gemini_without_batches_embeds_one_by_one(void **state)
{
	struct embedder *embedder = open_embedder(EMBEDDER_GEMINI);
	float batch[5 * DIM], single[5 * DIM];

	(void)state;
	MUST(embed(embedder, 5, batch, e));
	fake_provider_config(fake, "\"gemini\": {\"batch_missing\": true}");
	MUST(embed(embedder, 5, single, e));
	assert_memory_equal(batch, single, sizeof(batch));
	assert_int_equal(requests("gemini.batch_embed"), 2);
	assert_int_equal(requests("gemini.embed"), 5);
	/* and that is remembered */
	MUST(embed(embedder, 5, single, e));
	assert_int_equal(requests("gemini.batch_embed"), 2);
	assert_int_equal(requests("gemini.embed"), 10);
	embedder_close(embedder);
}

static void
gemini_model_that_is_gone_is_final(void **state)
{
	struct embedder *embedder;

	(void)state;
	config.embedder_model = "text-embedding-004";
	embedder = open_embedder(EMBEDDER_GEMINI);
	assert_int_equal(embed_fails(embedder), ERR_PROVIDER_REJECTED);
	assert_int_equal(requests("gemini.embed"), 1);
	embedder_close(embedder);
}

static void
gemini_task_type_that_is_refused_is_left_out(void **state)
{
	struct embedder *embedder = open_embedder(EMBEDDER_GEMINI);
	float out[5 * DIM];

	(void)state;
	fake_provider_fail(fake, "\"route\": \"gemini.*\", \"fault\": \"status\", \"status\": 400, "
				 "\"match\": \"taskType\", \"message\": \"task_type is not "
				 "supported by this model\"");
	MUST(embed(embedder, 5, out, e));
	MUST(embed(embedder, 5, out, e));
	assert_int_equal(requests("gemini.*"), 3);
	assert_false(last_has("gemini.*", "body", "taskType"));
	embedder_close(embedder);
}

static void
gemini_batch_that_is_too_large_teaches_its_limit(void **state)
{
	struct embedder *embedder = open_embedder(EMBEDDER_GEMINI);

	(void)state;
	assert_int_equal(embedder->max_batch, 100);
	fake_provider_config(fake, "\"gemini\": {\"max_batch\": 3}");
	assert_int_equal(embed_fails(embedder), ERR_TOO_LARGE);
	assert_int_equal(embedder->max_batch, 3);
	assert_int_equal(requests("gemini.*"), 1);
	embedder_close(embedder);
}

/* No header says when: RetryInfo does, or the message. */
static void
gemini_minute_is_waited_for_and_a_day_is_not(void **state)
{
	struct embedder *embedder = open_embedder(EMBEDDER_GEMINI);
	float out[5 * DIM];

	(void)state;
	fake_provider_fail(fake, "\"route\": \"gemini.*\", \"fault\": \"limit\", \"ms\": 300, "
				 "\"times\": 1");
	MUST(embed(embedder, 5, out, e));
	fake_provider_heal(fake);
	fake_provider_fail(fake, "\"route\": \"gemini.*\", \"fault\": \"limit\", \"ms\": 300, "
				 "\"times\": 1, \"hint\": \"message\"");
	MUST(embed(embedder, 5, out, e));
	assert_int_equal(requests("gemini.*"), 4);
	fake_provider_heal(fake);
	fake_provider_fail(fake, "\"route\": \"gemini.*\", \"fault\": \"quota\"");
	assert_int_equal(embed_fails(embedder), ERR_PROVIDER_QUOTA);
	assert_int_equal(requests("gemini.*"), 5);
	embedder_close(embedder);
}

static void
gemini_error_in_an_array_is_understood(void **state)
{
	struct embedder *embedder;

	(void)state;
	config.google_api_key.value = "bad-" KEY;
	fake_provider_config(fake, "\"gemini\": {\"wrap_errors\": true}");
	embedder = open_embedder(EMBEDDER_GEMINI);
	assert_int_equal(embed_fails(embedder), ERR_PROVIDER_REJECTED);
	assert_int_equal(requests("gemini.*"), 1);
	embedder_close(embedder);
}

static void
cohere_trial_month_is_final_and_a_minute_is_not(void **state)
{
	struct embedder *embedder = open_embedder(EMBEDDER_COHERE);

	(void)state;
	config.provider_attempts = 1;
	fake_provider_fail(fake, "\"route\": \"cohere.*\", \"fault\": \"quota\", \"times\": 1");
	assert_int_equal(embed_fails(embedder), ERR_PROVIDER_QUOTA);
	/* blocked content */
	fake_provider_fail(fake, "\"route\": \"cohere.*\", \"fault\": \"status\", \"status\": 498, "
				 "\"times\": 1");
	assert_int_equal(embed_fails(embedder), ERR_PROVIDER_REJECTED);
	fake_provider_fail(fake, "\"route\": \"cohere.*\", \"fault\": \"limit\"");
	assert_int_equal(embed_fails(embedder), ERR_PROVIDER_LIMITED);
	embedder_close(embedder);
}

static void
cohere_refused_truncate_is_left_out(void **state)
{
	struct embedder *embedder = open_embedder(EMBEDDER_COHERE);
	float *out = mem_array(5 * embedder->dim, sizeof(float));

	(void)state;
	fake_provider_config(fake, "\"cohere\": {\"refuse\": [\"truncate\"]}");
	MUST(embed(embedder, 5, out, e));
	assert_int_equal(requests("cohere.*"), 2);
	assert_true(last_has("cohere.*", "headers", "Bearer " KEY));
	mem_free(out);
	embedder_close(embedder);
}

/* ---- answers of Gemini ---- */

struct followed {
	struct buf text;
	size_t pieces;
};

static bool
follow(void *user, struct str piece, struct err *err)
{
	struct followed *followed = user;

	(void)err;
	buf_add(&followed->text, piece.ptr, piece.len);
	followed->pieces += piece.len > 0;
	return true;
}

struct asked {
	struct generator *generator;
	struct followed followed;
	struct arena arena;
	struct generated out;
	struct err err;
};

static const char answer_text[] = "The holder renews it \xf0\x9f\x98\x80 every ten seconds [1].";

static void
open_asked(struct asked *asked)
{
	*asked = (struct asked){ .followed = { .text = BUF_INIT((size_t)1024 * 1024) },
				 .err = ERR_INIT };
	config.generator = GENERATOR_GEMINI;
	arena_init(&asked->arena, (size_t)16 * 1024 * 1024);
	MUST(generator_open(&config, &asked->generator, e));
}

static void
close_asked(struct asked *asked)
{
	generator_close(asked->generator);
	arena_release(&asked->arena);
	buf_release(&asked->followed.text);
}

static bool
generate(struct asked *asked, bool stream)
{
	const struct prompt_turn turns[] = { { PROMPT_USER,
					       STR("[1] Leases are renewed.\nWho?") } };
	const struct prompt prompt = { .system = STR("Cite."), .turns = turns, .count = 1 };
	const struct generate_request request = { .question = STR("Who?"),
						  .prompt = &prompt,
						  .max_tokens = 200,
						  .on_text = stream ? follow : NULL,
						  .user = &asked->followed };

	buf_clear(&asked->followed.text);
	asked->followed.pieces = 0;
	asked->err = ERR_INIT;
	fake_provider_config(fake, "\"gemini\": {\"answer\": \"The holder renews it "
				   "\\ud83d\\ude00 every ten seconds [1].\"}");
	return asked->generator->ops->generate(asked->generator, &no_limit, &request, &asked->arena,
					       &asked->out, &asked->err);
}

/* "\r\n", no blank after the colon, comments, a byte order mark, thoughts, writes that cut lines and characters. */
static void
gemini_streams_in_every_form_are_the_answer(void **state)
{
	static const char *const forms[] = {
		"\"sse\": {}",
		"\"sse\": {\"crlf\": true}",
		"\"sse\": {\"no_space\": true, \"comments\": true}",
		"\"sse\": {\"bom\": true, \"thoughts\": true}",
		"\"sse\": {\"crlf\": true, \"thoughts\": true}, \"cut_writes\": true",
	};
	struct asked asked;

	(void)state;
	open_asked(&asked);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		AUTO(buf) struct buf members = BUF_INIT(1024);

		buf_printf(&members, "\"gemini\": {%s}", forms[i]);
		fake_provider_config(fake, members.data);
		if (!generate(&asked, true))
			fail_msg("%s: %s (%s)", forms[i], asked.err.msg, asked.err.cause);
		assert_string_equal(asked.followed.text.data, answer_text);
		assert_true(str_eq_c(asked.out.text, answer_text));
		assert_true(asked.followed.pieces > 1);
		assert_true(last_has("gemini.stream", "query", "alt=sse"));
	}
	assert_true(generate(&asked, false));
	assert_true(str_eq_c(asked.out.text, answer_text));
	close_asked(&asked);
}

/* The end of the body without a finishReason, a cut, a reset, an error as an event: after text was passed on it is not asked again. */
static void
gemini_stream_that_breaks_is_no_answer(void **state)
{
	static const struct {
		const char *fault;
		enum err_code code;
	} rows[] = { { "stream_end", ERR_PROVIDER_REPLY },
		     { "stream_cut", ERR_PROVIDER_REPLY },
		     { "stream_reset", ERR_PROVIDER_REPLY },
		     { "stream_error", ERR_PROVIDER_UNAVAILABLE } };
	struct asked asked;

	(void)state;
	open_asked(&asked);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO(buf) struct buf row = BUF_INIT(1024);
		int64_t before = requests("gemini.stream");
		size_t at = 1;

		buf_printf(&row, "\"route\": \"gemini.stream\", \"fault\": \"%s\"", rows[i].fault);
		fake_provider_heal(fake);
		fake_provider_fail(fake, row.data);
		if (generate(&asked, true))
			fail_msg("%s gave an answer", rows[i].fault);
		if (asked.err.code != rows[i].code)
			fail_msg("%s: %d %s", rows[i].fault, asked.err.code, asked.err.msg);
		assert_true(err_info(asked.err.code)->retryable);
		assert_int_equal(requests("gemini.stream"), before + 1);
		assert_true(asked.followed.text.len > 0);
		assert_true(str_find(str_of(answer_text), str_of(asked.followed.text.data), &at));
		assert_int_equal(at, 0);
	}
	close_asked(&asked);
}

static void
gemini_refused_settings_are_left_out_and_remembered(void **state)
{
	struct asked asked;

	(void)state;
	config.generator_temperature = "0.2";
	config.generator_thinking = "low";
	fake_provider_config(fake,
			     "\"gemini\": {\"refuse\": [\"temperature\", \"thinkingLevel\"]}");
	open_asked(&asked);
	assert_true(generate(&asked, true));
	assert_int_equal(requests("gemini.stream"), 3);
	assert_true(generate(&asked, true));
	assert_int_equal(requests("gemini.stream"), 4);
	assert_false(last_has("gemini.stream", "body", "temperature"));
	assert_false(last_has("gemini.stream", "body", "thinking"));
	close_asked(&asked);
}

static void
gemini_settings_are_sent_when_they_are_taken(void **state)
{
	struct asked asked;

	(void)state;
	config.generator_temperature = "0.2";
	config.generator_thinking = "low";
	open_asked(&asked);
	assert_true(generate(&asked, false));
	assert_true(last_has("gemini.generate", "body", "\"temperature\":0.2"));
	assert_true(last_has("gemini.generate", "body", "\"thinkingLevel\":\"low\""));
	close_asked(&asked);
	config.generator_thinking = "a lot";
	asked.err = ERR_INIT;
	assert_false(generator_open(&config, &asked.generator, &asked.err));
	assert_int_equal(asked.err.code, ERR_CONFIG);
}

/* MAX_TOKENS without a word: once more with more of them, and so from then on. */
static void
gemini_that_thinks_its_tokens_away_gets_more(void **state)
{
	struct asked asked;

	(void)state;
	fake_provider_fail(fake, "\"route\": \"gemini.*\", \"fault\": \"length_empty\", "
				 "\"match\": \"\\\"maxOutputTokens\\\":200\"");
	open_asked(&asked);
	assert_true(generate(&asked, true));
	assert_true(str_eq_c(asked.out.text, answer_text));
	assert_false(asked.out.truncated);
	assert_int_equal(requests("gemini.stream"), 2);
	assert_true(generate(&asked, true));
	assert_int_equal(requests("gemini.stream"), 3);
	fake_provider_heal(fake);
	fake_provider_fail(fake, "\"route\": \"gemini.*\", \"fault\": \"length_empty\"");
	assert_false(generate(&asked, true));
	assert_int_equal(asked.err.code, ERR_PROVIDER_REJECTED);
	close_asked(&asked);
}

static void
gemini_ends_of_every_kind(void **state)
{
	static const struct {
		const char *fault;
		enum err_code code;
		bool truncated;
	} rows[] = { { "blocked", ERR_PROVIDER_REJECTED, false },
		     { "safety", ERR_PROVIDER_REJECTED, false },
		     { "no_text", ERR_PROVIDER_REPLY, false },
		     { "length", ERR_NONE, true },
		     { "unknown_finish", ERR_NONE, false } };
	struct asked asked;

	(void)state;
	config.provider_attempts = 1;
	open_asked(&asked);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		AUTO(buf) struct buf row = BUF_INIT(1024);
		size_t nth = i / 2;

		buf_printf(&row, "\"route\": \"gemini.*\", \"fault\": \"%s\"", rows[nth].fault);
		fake_provider_heal(fake);
		fake_provider_fail(fake, row.data);
		assert_int_equal(generate(&asked, i % 2), rows[nth].code == ERR_NONE);
		if (asked.err.code != rows[nth].code)
			fail_msg("%s: %s", rows[nth].fault, asked.err.msg);
		if (rows[nth].code == ERR_NONE)
			assert_int_equal(asked.out.truncated, rows[nth].truncated);
	}
	close_asked(&asked);
}

/* ---- rerankers ---- */

static struct reranker *
open_reranker(enum config_reranker kind, const char *dialect)
{
	struct reranker *reranker = NULL;

	config.reranker = (int)kind;
	config.reranker_url = fake_provider_url(fake, dialect);
	config.reranker_api_key.value = KEY;
	if (kind == RERANKER_JINA)
		config.reranker_model = "bge-reranker-v2-m3";
	MUST(reranker_open(&config, &reranker, e));
	return reranker;
}

/* Passage 2 is the best; the others have nothing of the question. */
static bool
rerank(struct reranker *reranker, size_t count, float *scores, struct err *err)
{
	struct passage passages[MAX_TEXTS] = { 0 };

	for (size_t i = 0; i < count; i++)
		passages[i].text = i == 2 ? STR("turbulent boundary layer on a plate")
					  : STR("onions in butter");
	return reranker->ops->rerank(reranker, &no_limit, STR("turbulent boundary layer"), passages,
				     count, scores, err);
}

static void
check_ranking(struct reranker *reranker, size_t count)
{
	float scores[MAX_TEXTS];

	MUST(rerank(reranker, count, scores, e));
	for (size_t i = 0; i < count; i++) {
		assert_true(scores[i] >= 0 && scores[i] <= 1);
		assert_true(i == 2 || scores[i] < scores[2]);
	}
}

static void
jina_dialects_rank_alike(void **state)
{
	static const char *const forms[] = {
		"\"jina\": {\"list_key\": \"data\", \"score_key\": \"score\"}",
		"\"jina\": {\"list_key\": \"\", \"sorted\": false}",
		"\"jina\": {\"list_key\": \"results\", \"scores\": \"logit\", \"usage\": false}",
	};
	struct reranker *reranker = open_reranker(RERANKER_JINA, "jina");

	(void)state;
	check_ranking(reranker, 5);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		fake_provider_config(fake, forms[i]);
		check_ranking(reranker, 5);
	}
	reranker_close(reranker);
	reranker = open_reranker(RERANKER_JINA, "llamacpp"); /* raw, unsorted */
	check_ranking(reranker, 5);
	reranker_close(reranker);
}

/* A 500 that says the text is too long is no failure of the server: texts are cut until they are taken. */
static void
llamacpp_500_for_a_long_text_cuts_it(void **state)
{
	struct reranker *reranker = open_reranker(RERANKER_JINA, "llamacpp");

	(void)state;
	fake_provider_fail(fake, "\"route\": \"llamacpp.*\", \"fault\": \"status\", \"status\": "
				 "500, \"match\": \"boundary layer on a plate\", \"message\": "
				 "\"input is too large to process. increase the physical batch "
				 "size\"");
	config.provider_attempts = 1;

	const struct passage passage = { .text = STR("turbulent boundary layer on a plate") };
	char *text = mem_alloc(2001);
	struct passage large = passage;
	float score = -1;

	memset(text, 'x', 2000);
	memcpy(text + 1000, passage.text.ptr, passage.text.len);
	large.text = str_make(text, 2000);
	MUST(reranker->ops->rerank(reranker, &no_limit, STR("turbulent"), &large, 1, &score, e));
	assert_true(score >= 0 && score <= 1);
	assert_int_equal(requests("llamacpp.*"), 2);
	mem_free(text);
	reranker_close(reranker);
}

static void
tei_is_asked_what_it_takes_and_gets_no_more(void **state)
{
	struct reranker *reranker;

	(void)state;
	fake_provider_config(fake, "\"tei\": {\"max_batch\": 16}");
	reranker = open_reranker(RERANKER_TEI, "tei");
	check_ranking(reranker, MAX_TEXTS); /* 70: five requests */
	assert_int_equal(requests("tei.info"), 1);
	assert_int_equal(requests("tei.rerank"), 5);
	check_ranking(reranker, 16);
	assert_int_equal(requests("tei.info"), 1);
	assert_int_equal(requests("tei.rerank"), 6);
	assert_int_equal(fake_provider_count(fake, "tei.rerank", "ok"), 6);
	/* smaller since: a 422 says so */
	fake_provider_config(fake, "\"tei\": {\"max_batch\": 5}");
	check_ranking(reranker, 10);
	assert_int_equal(requests("tei.rerank"), 9);
	reranker_close(reranker);
}

static void
tei_without_its_info_and_overloaded(void **state)
{
	struct reranker *reranker = open_reranker(RERANKER_TEI, "tei");

	(void)state;
	fake_provider_fail(fake, "\"route\": \"tei.info\", \"fault\": \"status\", \"status\": 404");
	fake_provider_fail(fake, "\"route\": \"tei.rerank\", \"fault\": \"limit\", \"times\": 1");
	check_ranking(reranker, 5);
	assert_int_equal(requests("tei.rerank"), 2);
	reranker_close(reranker);
}

static void
body_that_is_too_large_is_halved(void **state)
{
	struct reranker *reranker = open_reranker(RERANKER_COHERE, "cohere");

	(void)state;
	fake_provider_fail(fake, "\"route\": \"cohere.*\", \"fault\": \"status\", \"status\": 413, "
				 "\"message\": \"Payload too large\", \"times\": 2");
	check_ranking(reranker, 40); /* 40, 20, then four times 10 */
	assert_int_equal(requests("cohere.rerank"), 6);
	reranker_close(reranker);
}

static void
refused_top_n_is_left_out(void **state)
{
	struct reranker *reranker = open_reranker(RERANKER_COHERE, "cohere");

	(void)state;
	fake_provider_config(fake, "\"cohere\": {\"refuse\": [\"top_n\"]}");
	check_ranking(reranker, 5);
	check_ranking(reranker, 5);
	assert_int_equal(requests("cohere.rerank"), 3);
	reranker_close(reranker);
}

static void
searches_are_counted_as_billed(void **state)
{
	struct reranker *reranker = open_reranker(RERANKER_COHERE, "cohere");
	struct provider_usage usage = { 0 };
	const struct provider_call call = { .usage = &usage };
	const struct passage passages[] = { { .text = STR("a plate") }, { .text = STR(" ") } };
	float scores[2];

	(void)state;
	MUST(reranker->ops->rerank(reranker, &call, STR("plate"), passages, 2, scores, e));
	assert_int_equal(usage.search_units, 1);
	assert_int_equal(usage.requests, 1);
	assert_true(scores[1] == 0); /* nothing to read: not sent */
	MUST(reranker->ops->rerank(reranker, &call, STR(" "), passages, 2, scores, e));
	assert_int_equal(usage.requests, 1); /* nothing to ask */
	reranker_close(reranker);
}

/* Never a ranking that some text is missing from. */
static void
garbled_rankings_fail(void **state)
{
	static const char *const faults[] = {
		"wrong_count", "extra_count",	  "bad_index",	"nan",
		"null_number", "html_ok",	  "not_json",	"empty",
		"cut",	       "duplicate_index", "broken_utf8"
	};
	static const struct {
		enum config_reranker kind;
		const char *dialect;
	} servers[] = { { RERANKER_COHERE, "cohere" },
			{ RERANKER_JINA, "jina" },
			{ RERANKER_TEI, "tei" } };

	(void)state;
	config.provider_attempts = 1;
	for (size_t i = 0; i < ARRAY_SIZE(servers) * ARRAY_SIZE(faults); i++) {
		size_t nth = i % ARRAY_SIZE(servers);
		const char *fault = faults[i / ARRAY_SIZE(servers)];
		struct reranker *reranker = open_reranker(servers[nth].kind, servers[nth].dialect);
		AUTO(buf) struct buf row = BUF_INIT(1024);
		struct err err = ERR_INIT;
		float scores[5];

		buf_printf(&row, "\"route\": \"%s.rerank\", \"fault\": \"%s\"",
			   servers[nth].dialect, fault);
		fake_provider_heal(fake);
		fake_provider_fail(fake, row.data);
		if (rerank(reranker, 5, scores, &err))
			fail_msg("%s: %s was taken", servers[nth].dialect, fault);
		if (err.code != ERR_PROVIDER_REPLY)
			fail_msg("%s: %s is %s", servers[nth].dialect, fault, err.msg);
		reranker_close(reranker);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(gemini_key_is_in_a_header_never_in_the_url),
		TEST(gemini_without_batches_embeds_one_by_one),
		TEST(gemini_model_that_is_gone_is_final),
		TEST(gemini_task_type_that_is_refused_is_left_out),
		TEST(gemini_batch_that_is_too_large_teaches_its_limit),
		TEST(gemini_texts_of_a_batch_count_as_requests),
		TEST(gemini_minute_is_waited_for_and_a_day_is_not),
		TEST(gemini_error_in_an_array_is_understood),
		TEST(cohere_trial_month_is_final_and_a_minute_is_not),
		TEST(cohere_refused_truncate_is_left_out),
		TEST(gemini_streams_in_every_form_are_the_answer),
		TEST(gemini_stream_that_breaks_is_no_answer),
		TEST(gemini_refused_settings_are_left_out_and_remembered),
		TEST(gemini_settings_are_sent_when_they_are_taken),
		TEST(gemini_that_thinks_its_tokens_away_gets_more),
		TEST(gemini_ends_of_every_kind),
		TEST(jina_dialects_rank_alike),
		TEST(llamacpp_500_for_a_long_text_cuts_it),
		TEST(tei_is_asked_what_it_takes_and_gets_no_more),
		TEST(tei_without_its_info_and_overloaded),
		TEST(body_that_is_too_large_is_halved),
		TEST(refused_top_n_is_left_out),
		TEST(searches_are_counted_as_billed),
		TEST(garbled_rankings_fail),
	};
	int failed;

	fake = fake_provider_start();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	fake_provider_stop(fake);
	return failed;
}
