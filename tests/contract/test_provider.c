/*
 * What every embedder, reranker and generator must do; runs over each row of their registries. Those with a server run against the
 * scripted one of tests/fake, which speaks every format; what needs a server's good will (`is_remote`) is not asked of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "jobs/provider/provider.h"
#include "jobs/spec/choice.h"
#include "jobs/spec/spec.h"
#include "jobs/step/prompt.h"
#include "jobs/step/prompt_template.h"
#include "tests/support/fake_provider.h"
#include "tests/support/must.h"

/* for static data */
#define S(literal)                                                                                 \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static const struct provider_call no_limit = { .deadline_mono_ms = 0 };
static struct config config;
static struct fake_provider *fake;

/* ---- settings ---- */

static int
value_of(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	fail_msg("no setting is '%s'", name);
	return -1;
}

/* The settings of the servers, all of them the scripted one. */
static void
begin_row(void)
{
	config_release(&config);
	MUST(config_load(&config, NULL, e));
	fake_provider_reset(fake);
	config.gemini_url = fake_provider_url(fake, "gemini");
	config.openai_url = fake_provider_url(fake, "openai");
	config.cohere_url = fake_provider_url(fake, "cohere");
	config.google_api_key.value = config.openai_api_key.value = config.cohere_api_key.value =
		"key-of-a-test";
}

/* What of the scripted server's requests went to this provider. */
static int64_t
requests(void)
{
	return fake_provider_count(fake, "*", "requests");
}

/* ---- embedders ---- */

static const struct embedder_ops *embedder_row;
static struct embedder *embedder;

static int
open_embedder(void **state)
{
	(void)state;
	begin_row();
	config.embedder = value_of(config_embedder_names, embedder_row->name);
	MUST(embedder_open(&config, &embedder, e));
	assert_ptr_equal(embedder->ops, embedder_row);
	return 0;
}

static int
close_embedder(void **state)
{
	(void)state;
	embedder_close(embedder);
	return 0;
}

static float *
embed(enum embed_task task, const struct str *texts, size_t count)
{
	float *out = mem_array(count, embedder->dim * sizeof(float));

	MUST(embedder->ops->embed(embedder, &no_limit, task, texts, count, out, e));
	return out;
}

static double
dot(const float *a, const float *b)
{
	double sum = 0;

	for (size_t i = 0; i < embedder->dim; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

static const struct str samples[] = {
	S("The boundary layer on a flat plate becomes turbulent at high Reynolds numbers."),
	S("Turbulent boundary layers over flat plates at large Reynolds number."),
	S("Simmer the onions in butter, then add flour and milk for the sauce."),
	S("x"),
	S("what is this and that"),
	S("\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c"),
	S("bad \xff bytes \xc3"),
};

static void
describes_itself(void **state)
{
	char fingerprint[SPEC_FINGERPRINT_BYTES];

	(void)state;
	assert_true(embedder->dim > 0 && embedder->max_batch > 0);
	assert_true(embedder->dense_weight >= 0 && embedder->dense_weight <= 1);
	MUST(spec_embedder_fingerprint(&config, fingerprint, e));
	assert_string_equal(embedder->fingerprint, fingerprint);
}

static void
vectors_have_unit_length(void **state)
{
	float *vectors = embed(EMBED_DOCUMENT, samples, ARRAY_SIZE(samples));

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const float *vector = vectors + i * embedder->dim;

		assert_true(fabs(dot(vector, vector) - 1) < 1e-5);
	}
	mem_free(vectors);
}

static void
text_without_a_word_is_zero(void **state)
{
	const struct str empty[] = { STR(""), STR(" \n\t "), STR("... -- !?") };
	/* a model may see something in signs */
	size_t count = embedder_row->is_remote ? 2 : ARRAY_SIZE(empty);
	float *vectors = embed(EMBED_QUERY, empty, count);

	(void)state;
	for (size_t i = 0; i < count * embedder->dim; i++)
		assert_true(vectors[i] == 0);
	mem_free(vectors);
}

/* The same bytes, whatever was embedded before, in a batch or alone. */
static void
same_text_same_vector(void **state)
{
	size_t bytes = embedder->dim * sizeof(float);
	float *batch = embed(EMBED_DOCUMENT, samples, ARRAY_SIZE(samples));
	char *large = mem_alloc(200001);
	struct embedder *fresh = NULL;

	(void)state;
	for (int i = 0; i < 200000; i++)
		large[i] = (char)(i % 7 == 6 ? ' ' : "etaoinshrdlu"[(i * 7 / 5) % 12]);

	struct str large_text = str_of(large);

	if (!embedder_row->is_remote) /* a model takes so and so many tokens */
		mem_free(embed(EMBED_DOCUMENT, &large_text, 1));
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		float *single = embed(EMBED_DOCUMENT, &samples[i], 1);

		assert_memory_equal(single, batch + i * embedder->dim, bytes);
		mem_free(single);
	}
	MUST(embedder_row->open(&config, &fresh, e));

	float *again = mem_array(ARRAY_SIZE(samples), bytes);

	MUST(fresh->ops->embed(fresh, &no_limit, EMBED_DOCUMENT, samples, ARRAY_SIZE(samples),
			       again, e));
	assert_memory_equal(again, batch, ARRAY_SIZE(samples) * bytes);
	embedder_close(fresh);
	mem_free(again);
	mem_free(batch);
	mem_free(large);
}

static void
alike_is_near(void **state)
{
	float *documents = embed(EMBED_DOCUMENT, samples, 3);
	float *question = embed(EMBED_QUERY, &STR("when do boundary layers get turbulent?"), 1);
	size_t dim = embedder->dim;

	(void)state;
	assert_true(dot(documents, documents + dim) > dot(documents, documents + 2 * dim) + 0.2);
	assert_true(dot(question, documents) > dot(question, documents + 2 * dim) + 0.2);
	mem_free(documents);
	mem_free(question);
}

static void
embedder_stops_when_told(void **state)
{
	const atomic_bool cancelled = true;
	const struct provider_call cancel = { .cancel = &cancelled };
	const struct provider_call late = { .deadline_mono_ms = 1 };
	int64_t before = requests();
	float *out = mem_array(embedder->dim, sizeof(float));
	struct err err = ERR_INIT;

	(void)state;
	assert_false(embedder->ops->embed(embedder, &cancel, EMBED_QUERY, samples, 1, out, &err));
	assert_int_equal(err.code, ERR_CANCELLED);
	assert_false(embedder->ops->embed(embedder, &late, EMBED_QUERY, samples, 1, out, &err));
	assert_int_equal(err.code, ERR_DEADLINE);
	assert_int_equal(requests(), before);
	mem_free(out);
}

/* Texts with blank ones between them: each vector is its text's. */
static void
blank_texts_move_nothing(void **state)
{
	const struct str texts[] = { STR(""), samples[0], STR(" "), samples[2], STR("\n") };
	float *vectors = embed(EMBED_DOCUMENT, texts, ARRAY_SIZE(texts));
	float *alone = embed(EMBED_DOCUMENT, &samples[2], 1);
	size_t dim = embedder->dim;

	(void)state;
	assert_memory_equal(vectors + 3 * dim, alone, dim * sizeof(float));
	for (size_t i = 0; i < dim; i++)
		assert_true(vectors[i] == 0 && vectors[2 * dim + i] == 0 &&
			    vectors[4 * dim + i] == 0);
	mem_free(vectors);
	mem_free(alone);
}

/* What was used is added up, and the server saw as many requests as are counted. */
static void
embedder_counts_what_it_uses(void **state)
{
	struct provider_usage usage = { .embedding_tokens = 5 };
	const struct provider_call call = { .usage = &usage };
	int64_t before = requests();
	float *out = mem_array(2 * embedder->dim, sizeof(float));

	(void)state;
	MUST(embedder->ops->embed(embedder, &call, EMBED_DOCUMENT, samples, 2, out, e));
	assert_int_equal(usage.requests, requests() - before);
	assert_int_equal(usage.embedding_tokens > 5, embedder_row->is_remote);
	assert_int_equal(usage.requests > 0, embedder_row->is_remote);
	mem_free(out);
}

/* ---- rerankers ---- */

static const struct reranker_ops *reranker_row;
static struct reranker *reranker;

static int
open_reranker(void **state)
{
	(void)state;
	begin_row();
	config.reranker = value_of(config_reranker_names, reranker_row->name);
	if (config.reranker == RERANKER_JINA) {
		config.reranker_url = fake_provider_url(fake, "jina");
		config.reranker_model = "jina-reranker-v2-base-multilingual";
		config.reranker_api_key.value = "key-of-a-test";
	} else if (config.reranker == RERANKER_TEI) {
		config.reranker_url = fake_provider_url(fake, "tei");
	}
	MUST(reranker_open(&config, &reranker, e));
	assert_ptr_equal(reranker->ops, reranker_row);
	return 0;
}

static int
close_reranker(void **state)
{
	(void)state;
	reranker_close(reranker);
	return 0;
}

static const struct passage passages[] = {
	{ S("Cooking"), S(""), S("Simmer the onions in butter for the sauce."), 0.5F, S("") },
	{ S("Boundary layers"), S("Flat plate"),
	  S("The turbulent boundary layer on a flat plate grows with its length."), 0.5F, S("") },
	{ S(""), S(""), S(""), 0.5F, S("") },
	{ S(""), S(""), S("A plate of boundary stones; the layer below is flat."), 0.5F, S("") },
};

static void
puts_the_better_first(void **state)
{
	float scores[ARRAY_SIZE(passages)];

	(void)state;
	MUST(reranker->ops->rerank(reranker, &no_limit, STR("turbulent boundary layer on a plate"),
				   passages, ARRAY_SIZE(passages), scores, e));
	for (size_t i = 0; i < ARRAY_SIZE(passages); i++)
		assert_true(scores[i] >= 0 && scores[i] <= 1);
	assert_true(scores[1] > scores[3]);
	assert_true(scores[1] > scores[0] && scores[1] > scores[2]);
	if (reranker_row->is_remote) /* how much better is the model's own business */
		return;
	assert_true(scores[3] > scores[0]);
	assert_true(scores[0] >= scores[2]);
}

static void
odd_questions(void **state)
{
	const struct str questions[] = { STR(""), STR("?!"), STR("what is it"),
					 STR("bad \xff byte"), STR("plate") };
	struct passage odd[] = { passages[1], passages[1], passages[1] };
	float scores[3];

	(void)state;
	odd[1].score = -3;
	odd[2].score = NAN;
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		MUST(reranker->ops->rerank(reranker, &no_limit, questions[i], odd, 3, scores, e));
		for (size_t k = 0; k < 3; k++)
			assert_true(scores[k] >= 0 && scores[k] <= 1);
		assert_true(reranker_row->is_remote || scores[0] >= scores[1]);
	}
	MUST(reranker->ops->rerank(reranker, &no_limit, STR("plate"), odd, 0, scores, e));
}

static void
long_question_and_passage(void **state)
{
	char *text = mem_alloc(400001);
	float score = -1;

	(void)state;
	for (int i = 0; i < 400000; i++)
		text[i] = (char)(i % 5 == 4 ? ' ' : "etaoinshrdlu"[(i / 5 + i) % 12]);

	const struct passage passage = { STR(""), STR(""), str_of(text), 0.1F, STR("") };

	MUST(reranker->ops->rerank(reranker, &no_limit, str_make(text, 20000), &passage, 1, &score,
				   e));
	assert_true((score > 0 || reranker_row->is_remote) && score >= 0 && score <= 1);
	mem_free(text);
}

static void
reranker_stops_when_told(void **state)
{
	const atomic_bool cancelled = true;
	const struct provider_call cancel = { .cancel = &cancelled };
	const struct provider_call late = { .deadline_mono_ms = 1 };
	float scores[ARRAY_SIZE(passages)];
	struct err err = ERR_INIT;

	(void)state;
	assert_false(reranker->ops->rerank(reranker, &cancel, STR("x"), passages, 2, scores, &err));
	assert_int_equal(err.code, ERR_CANCELLED);
	assert_false(reranker->ops->rerank(reranker, &late, STR("x"), passages, 2, scores, &err));
	assert_int_equal(err.code, ERR_DEADLINE);
}

/* ---- generators ---- */

static const struct generator_ops *generator_row;
static struct generator *generator;

static int
open_generator(void **state)
{
	(void)state;
	begin_row();
	config.generator = value_of(config_generator_names, generator_row->name);
	MUST(generator_open(&config, &generator, e));
	assert_ptr_equal(generator->ops, generator_row);
	return 0;
}

static int
close_generator(void **state)
{
	(void)state;
	generator->ops->close(generator);
	return 0;
}

struct pieces {
	struct buf text;
	size_t count, stop_at; /* 0 = never */
};

static bool
add_piece(void *user, struct str piece, struct err *err)
{
	struct pieces *pieces = user;

	buf_add(&pieces->text, piece.ptr, piece.len);
	return ++pieces->count != pieces->stop_at || err_set(err, ERR_STALE, "enough");
}

/* The pieces are the answer, byte for byte, a refusal too; who listens can end it. */
static void
pieces_are_the_answer(void **state)
{
	static const char *const questions[] = { "Which plate is under the engine?",
						 "Who wrote the sonnet about winter?" };
	const struct source sources[] = {
		{ .n = 1,
		  .document_id = STR("a"),
		  .title = STR("Engine"),
		  .text = STR("The plate under the engine is of steel. It is held by six bolts."),
		  .score = 0.9F },
		{ .n = 2,
		  .document_id = STR("b"),
		  .title = STR("Plates"),
		  .text = STR("Each engine has one plate under it, and a second one above."),
		  .score = 0.8F },
	};
	AUTO_PTR(prompt_template_free) struct prompt_template *template = NULL;
	AUTO(arena) struct arena arena;

	(void)state;
	arena_init(&arena, (size_t)64 * 1024 * 1024);
	MUST(prompt_template_load(&config, &template, e));
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		struct pieces pieces = { .text = BUF_INIT((size_t)1024 * 1024) };
		struct provider_usage usage = { 0 };
		const struct provider_call call = { .usage = &usage };
		const struct prompt_request wanted = { .question = str_of(questions[i]),
						       .sources = sources,
						       .count = ARRAY_SIZE(sources),
						       .source_tokens = 1000 };
		struct prompt prompt;
		struct generate_request request = { .question = str_of(questions[i]),
						    .sources = sources,
						    .count = ARRAY_SIZE(sources),
						    .prompt = &prompt,
						    .refusal = template->parts[PROMPT_PART_REFUSAL],
						    .max_tokens = 500,
						    .on_text = add_piece,
						    .user = &pieces };
		struct generated out = { 0 };
		struct err err = ERR_INIT;

		MUST(prompt_build(template, &wanted, &arena, &prompt, e));
		MUST(generator->ops->generate(generator, &call, &request, &arena, &out, e));
		assert_true(out.text.len > 0);
		assert_true(str_eq_c(out.text, pieces.text.data));
		assert_int_equal(out.refused || prompt_is_refusal(template, out.text), i == 1);
		assert_false(out.truncated);
		assert_int_equal(usage.prompt_tokens > 0 && usage.completion_tokens > 0,
				 generator_row->is_remote);

		char *whole = mem_strdup(pieces.text.data);

		pieces.stop_at = pieces.count + 1;
		assert_false(generator->ops->generate(generator, &no_limit, &request, &arena, &out,
						      &err));
		assert_int_equal(err.code, ERR_STALE);

		/* nobody follows: the same answer */
		request.on_text = NULL;
		MUST(generator->ops->generate(generator, &no_limit, &request, &arena, &out, e));
		assert_true(str_eq_c(out.text, whole));
		mem_free(whole);
		buf_release(&pieces.text);
	}
}

/* ---- choosing ---- */

static void
configuration_chooses(void **state)
{
	struct config other;
	struct embedder *chosen = NULL;
	struct reranker *ranker = NULL;
	struct err err = ERR_INIT;

	(void)state;
	config_release(&config);
	MUST(config_load(&config, NULL, e));
	other = config;
	MUST(embedder_open(&other, &chosen, e));
	assert_string_equal(chosen->ops->name, "local");
	embedder_close(chosen);
	embedder_close(NULL);
	reranker_close(NULL);
	other.embedder = EMBEDDER_GEMINI;
	assert_false(embedder_open(&other, &chosen, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	MUST(reranker_open(&other, &ranker, e));
	assert_string_equal(ranker->ops->name, "local");
	reranker_close(ranker);
	other.reranker = RERANKER_NONE;
	MUST(reranker_open(&other, &ranker, e));
	assert_null(ranker);
	other.reranker = RERANKER_COHERE;
	assert_false(reranker_open(&other, &ranker, &err));
	assert_int_equal(err.code, ERR_CONFIG);
}

int
main(void)
{
	const struct CMUnitTest embedder_tests[] = {
		cmocka_unit_test(describes_itself),
		cmocka_unit_test(vectors_have_unit_length),
		cmocka_unit_test(text_without_a_word_is_zero),
		cmocka_unit_test(same_text_same_vector),
		cmocka_unit_test(alike_is_near),
		cmocka_unit_test(blank_texts_move_nothing),
		cmocka_unit_test(embedder_counts_what_it_uses),
		cmocka_unit_test(embedder_stops_when_told),
	};
	const struct CMUnitTest reranker_tests[] = {
		cmocka_unit_test(puts_the_better_first),
		cmocka_unit_test(odd_questions),
		cmocka_unit_test(long_question_and_passage),
		cmocka_unit_test(reranker_stops_when_told),
	};
	const struct CMUnitTest generator_tests[] = { cmocka_unit_test(pieces_are_the_answer) };
	const struct CMUnitTest choice_tests[] = { cmocka_unit_test(configuration_chooses) };
	int failed = 0;

	fake = fake_provider_start();
	for (size_t i = 0; embedder_registry[i]; i++) {
		embedder_row = embedder_registry[i];
		failed += cmocka_run_group_tests_name(embedder_row->name, embedder_tests,
						      open_embedder, close_embedder);
	}
	for (size_t i = 0; reranker_registry[i]; i++) {
		reranker_row = reranker_registry[i];
		failed += cmocka_run_group_tests_name(reranker_row->name, reranker_tests,
						      open_reranker, close_reranker);
	}
	for (size_t i = 0; generator_registry[i]; i++) {
		generator_row = generator_registry[i];
		failed += cmocka_run_group_tests_name(generator_row->name, generator_tests,
						      open_generator, close_generator);
	}
	failed += cmocka_run_group_tests_name("choice", choice_tests, NULL, NULL);
	config_release(&config);
	fake_provider_stop(fake);
	return failed;
}
