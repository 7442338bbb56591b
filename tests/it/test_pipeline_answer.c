/*
 * From candidates to an answer, with a generator that does as it is told: what it is given, what becomes of what it says, what its
 * readers are told when it fails in the middle, and what is done without when a provider is away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "jobs/step/prompt.h"
#include "tests/support/must.h"
#include "tests/support/pipeline.h"

#define MIB ((size_t)1024 * 1024)
#define HERON                                                                                      \
	"The grey heron stands still in shallow water and waits for fish. "                        \
	"It nests in tall trees near lakes, in colonies of 20 pairs."
#define KILN                                                                                       \
	"A kiln fires clay at more than a thousand degrees. Glaze melts and "                      \
	"seals the pot against water."
#define REFUSAL "I could not find an answer to this question in the documents."

static struct pipeline *pipeline;

/* ---- a generator that does as it is told ---- */

struct told {
	const char *pieces[8]; /* NULL-terminated */
	enum err_code fails;   /* after them */
	bool truncated;
};

static struct {
	const struct told *script; /* one a call; the last one stays */
	size_t scripts, calls;
	/* of the last call */
	struct buf system, last;
	size_t turns, sources, prompt_sources;
	bool prompted, followed;
	char question[512];
} model;

static void
note(const struct generate_request *request)
{
	const struct prompt *prompt = request->prompt;

	model.calls++;
	model.prompted = prompt != NULL;
	model.followed = request->on_text != NULL;
	model.sources = request->count;
	(void)str_copy(model.question, sizeof(model.question), request->question);
	if (!prompt)
		return;
	model.turns = prompt->count;
	model.prompt_sources = prompt->sources;
	buf_clear(&model.system);
	buf_clear(&model.last);
	buf_add(&model.system, prompt->system.ptr, prompt->system.len);
	buf_add(&model.last, prompt->turns[prompt->count - 1].text.ptr,
		prompt->turns[prompt->count - 1].text.len);
}

static bool
generate_as_told(struct generator *generator, const struct provider_call *call,
		 const struct generate_request *request, struct arena *arena, struct generated *out,
		 struct err *err)
{
	size_t at = model.calls < model.scripts ? model.calls : model.scripts - 1;
	const struct told *told = &model.script[at];
	AUTO(buf) struct buf text = BUF_INIT(MIB);

	note(request);
	if (call->usage) {
		call->usage->requests++;
		call->usage->prompt_tokens += 100;
		call->usage->completion_tokens += 7;
	}
	for (size_t i = 0; told->pieces[i]; i++) {
		buf_add_str(&text, told->pieces[i]);
		if (request->on_text &&
		    !request->on_text(request->user, str_of(told->pieces[i]), err))
			return false;
	}
	if (told->fails != ERR_NONE)
		return err_set(err, told->fails, "the model broke off");
	*out = (struct generated){ .text = str_make(arena_strndup(arena, text.data, text.len),
						    text.len),
				   .truncated = told->truncated,
				   .model = generator->model };
	return true;
}

static const struct generator_ops told_ops = { .name = "told", .generate = generate_as_told };
static struct generator told_generator = { .ops = &told_ops, .model = "told-1" };

static void
say(const struct told *script, size_t count)
{
	model.script = script;
	model.scripts = count;
	model.calls = 0;
	pipeline->env.generator = &told_generator;
}

/* ---- those who follow ---- */

static struct {
	struct buf text, events; /* events: kinds in order, t r s w a */
} heard;

static bool
on_emit(void *user, enum job_emit what, struct str data, struct err *err)
{
	static const char kinds[] = { [JOB_EMIT_TEXT] = 't',
				      [JOB_EMIT_RESET] = 'r',
				      [JOB_EMIT_SOURCES] = 's',
				      [JOB_EMIT_WARNING] = 'w',
				      [JOB_EMIT_ANSWER] = 'a' };

	(void)user;
	(void)err;
	buf_add_char(&heard.events, kinds[what]);
	if (what == JOB_EMIT_TEXT)
		buf_add(&heard.text, data.ptr, data.len);
	if (what == JOB_EMIT_RESET)
		buf_clear(&heard.text);
	return true;
}

static void
listen(void)
{
	buf_clear(&heard.text);
	buf_clear(&heard.events);
	pipeline->emit = on_emit;
}

/* ---- set up ---- */

static struct generator *own_generator;
static struct embedder *own_embedder;

static int
set_up(void **state)
{
	(void)state;
	pipeline = pipeline_start();
	own_generator = pipeline->env.generator;
	own_embedder = pipeline->env.embedder;
	buf_init(&heard.text, MIB);
	buf_init(&heard.events, MIB);
	buf_init(&model.system, MIB);
	buf_init(&model.last, MIB);
	MUST(pipeline_ingest(pipeline, "j1", 1, "heron", HERON, e));
	MUST(pipeline_ingest(pipeline, "j2", 1, "kiln", KILN, e));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	pipeline->env.generator = own_generator;
	pipeline->env.embedder = own_embedder;
	pipeline_stop(pipeline);
	buf_release(&heard.text);
	buf_release(&heard.events);
	buf_release(&model.system);
	buf_release(&model.last);
	return 0;
}

static struct js *
ask(const char *json)
{
	MUST(pipeline_query(pipeline, json, e));
	return pipeline_result(pipeline);
}

static const struct js *
at(const struct js *root, const char *path)
{
	struct str rest = str_of(path), step;

	while (root && str_split(&rest, '/', &step)) {
		char name[64];

		assert_true(str_copy(name, sizeof(name), step));
		root = js_is(root, JS_ARRAY) ? js_at(root, (size_t)(name[0] - '0'))
					     : js_get(root, name);
	}
	if (!root)
		fail_msg("there is no %s", path);
	return root;
}

static bool
flag(const struct js *root, const char *path)
{
	return js_bool(at(root, path));
}

static void
check_text(const struct js *root, const char *path, const char *expected)
{
	struct str text = js_str(at(root, path));

	if (!str_eq_c(text, expected))
		fail_msg("%s is '" STR_FMT "', not '%s'", path, STR_ARG(text), expected);
}

/* ---- what a model is given, and what becomes of its answer ---- */

static void
test_model_gets_the_prompt(void **state)
{
	static const struct told script = { .pieces = { "It nests in tall trees [1].", NULL } };
	AUTO_PTR(js_free) struct js *result = NULL;

	(void)state;
	say(&script, 1);
	result = ask("{\"query\":\"Where does the heron nest?\",\"top_k\":2}");
	assert_true(model.prompted);
	assert_false(model.followed);
	assert_int_equal(model.turns, 1);
	assert_int_equal(model.sources, model.prompt_sources);
	assert_non_null(strstr(model.system.data, REFUSAL));
	assert_non_null(strstr(model.last.data, "[1]\n<source>\nThe grey heron"));
	assert_non_null(strstr(model.last.data, "Question: Where does the heron nest?"));
	check_text(result, "answer", "It nests in tall trees [1].");
	check_text(result, "model", "told-1");
	check_text(result, "citations/0/document_id", "heron");
	assert_true(flag(result, "grounded"));
	assert_false(flag(result, "refused"));
	assert_false(flag(result, "truncated"));
	assert_int_equal(js_int(at(result, "usage/requests")), 1);
	assert_int_equal(js_int(at(result, "usage/prompt_tokens")), 100);
	assert_int_equal(js_int(at(result, "usage/completion_tokens")), 7);
	assert_int_equal(js_len(at(result, "warnings")), 0);
}

/* What a run out of the cache used: nothing. */
static void
test_usage_is_of_this_run(void **state)
{
	static const struct told script = { .pieces = { "It nests in tall trees [1].", NULL } };
	AUTO_PTR(js_free) struct js *first = NULL;
	AUTO_PTR(js_free) struct js *second = NULL;

	(void)state;
	say(&script, 1);
	first = ask("{\"query\":\"Where does the heron nest?\"}");
	second = ask("{\"query\":\"Where does the heron nest?\"}");
	assert_true(flag(second, "cached"));
	assert_int_equal(model.calls, 1);
	assert_int_equal(js_int(at(first, "usage/prompt_tokens")), 100);
	assert_int_equal(js_int(at(second, "usage/prompt_tokens")), 0);
}

static void
test_answer_must_stand_on_its_sources(void **state)
{
	static const struct {
		struct told script;
		const char *answer;
		bool grounded;
		int64_t removed, uncited, unsupported;
	} rows[] = {
		{ { .pieces = { "In trees near lakes [1][9].", NULL } },
		  "In trees near lakes [1].",
		  false,
		  1,
		  0,
		  0 },
		{ { .pieces = { "It nests in tall trees.", NULL } },
		  "It nests in tall trees.",
		  false,
		  0,
		  1,
		  0 },
		{ { .pieces = { "It nests on antarctic ice shelves [1].", NULL } },
		  "It nests on antarctic ice shelves [1].",
		  false,
		  0,
		  0,
		  1 },
		{ { .pieces = { "Colonies have 20 pairs [1].", NULL } },
		  "Colonies have 20 pairs [1].",
		  true,
		  0,
		  0,
		  0 },
		{ { .pieces = { "Colonies have 30 pairs [1].", NULL } },
		  "Colonies have 30 pairs [1].",
		  false,
		  0,
		  0,
		  1 },
	};

	(void)state;
	pipeline->config.enable_caching = false;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_PTR(js_free) struct js *result = NULL;

		say(&rows[i].script, 1);
		result = ask("{\"query\":\"Where does the heron nest?\",\"explain\":true}");
		check_text(result, "answer", rows[i].answer);
		assert_int_equal(flag(result, "grounded"), rows[i].grounded);
		assert_int_equal(js_int(at(result, "explain/grounding/marks_removed")),
				 rows[i].removed);
		assert_int_equal(js_int(at(result, "explain/grounding/uncited")), rows[i].uncited);
		assert_int_equal(js_int(at(result, "explain/grounding/unsupported")),
				 rows[i].unsupported);
	}
}

/* A model that says in the words of its template that it does not know has refused. */
static void
test_refusals(void **state)
{
	static const struct {
		struct told script;
		bool refused;
	} rows[] = {
		{ { .pieces = { REFUSAL, NULL } }, true },
		{ { .pieces = { "*", REFUSAL, "*", NULL } }, true },
		{ { .pieces = { REFUSAL, " It nests in tall trees [1].", NULL } }, false },
		{ { .pieces = { "It nests in tall trees [1].", NULL } }, false },
	};

	(void)state;
	pipeline->config.enable_caching = false;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_PTR(js_free) struct js *result = NULL;

		say(&rows[i].script, 1);
		result = ask("{\"query\":\"Where does the heron nest?\"}");
		assert_int_equal(flag(result, "refused"), rows[i].refused);
		assert_int_equal(js_len(at(result, "citations")), rows[i].refused ? 0 : 1);
	}
}

/* With nothing to answer from, no model is asked: no call, no cost. */
static void
test_no_sources_no_call(void **state)
{
	static const struct told script = { .pieces = { "Something.", NULL } };
	AUTO_PTR(js_free) struct js *result = NULL;

	(void)state;
	say(&script, 1);
	listen();
	result = ask("{\"query\":\"heron\",\"filter\":{\"lang\":\"none\"}}");
	assert_int_equal(model.calls, 0);
	check_text(result, "answer", REFUSAL);
	check_text(result, "model", "told-1");
	assert_true(flag(result, "refused"));
	assert_string_equal(heard.text.data, REFUSAL);
	assert_string_equal(heard.events.data, "sta");
}

static void
test_truncated_answers_say_so(void **state)
{
	static const struct told script = { .pieces = { "It nests in tall", NULL },
					    .truncated = true };
	AUTO_PTR(js_free) struct js *result = NULL;

	(void)state;
	say(&script, 1);
	result = ask("{\"query\":\"Where does the heron nest?\",\"max_tokens\":16}");
	assert_true(flag(result, "truncated"));
	check_text(result, "warnings/0/code", "ANSWER_TRUNCATED");
}

/* The model sees what fits, and can cite nothing else. */
static void
test_sources_left_out_are_not_cited(void **state)
{
	static const struct told script = { .pieces = { "In trees [1], says [2].", NULL } };
	AUTO_PTR(js_free) struct js *result = NULL;

	(void)state;
	pipeline->config.source_tokens = 60; /* of one of the two */
	MUST(pipeline_ingest(
		pipeline, "j3", 1, "cliff",
		"Herons also nest on cliffs of the northern coast, in pairs and alone, "
		"far from any lake.",
		e));
	say(&script, 1);
	result =
		ask("{\"query\":\"Where does the heron nest?\",\"explain\":true,\"rerank\":false}");
	assert_true(model.prompt_sources < model.sources);
	assert_int_equal(js_int(at(result, "explain/prompt/sources")), model.prompt_sources);
	check_text(result, "warnings/0/code", "SOURCES_LEFT_OUT");
	assert_int_equal(js_len(at(result, "citations")), model.prompt_sources);
	if (model.prompt_sources == 1)
		check_text(result, "answer", "In trees [1], says.");
}

/* ---- the conversation ---- */

#define TALK                                                                                       \
	"\"history\":[{\"role\":\"user\",\"content\":\"Where does the heron nest?\"},"             \
	"{\"role\":\"assistant\",\"content\":\"In tall trees [1].\"}]"

static void
test_history_is_told_and_searched_with(void **state)
{
	static const struct told script = { .pieces = { "Colonies have 20 pairs [1].", NULL } };
	AUTO_PTR(js_free) struct js *result = NULL;

	(void)state;
	say(&script, 1);
	result = ask("{\"query\":\"And how many?\",\"top_k\":1,\"explain\":true," TALK "}");
	assert_int_equal(model.turns, 3);
	assert_non_null(strstr(model.last.data, "Question: And how many?"));
	check_text(result, "explain/search/query", "And how many?\nWhere does the heron nest?");
	assert_true(flag(result, "explain/search/condensed"));
	check_text(result, "citations/0/document_id", "heron");
	assert_int_equal(js_int(at(result, "explain/prompt/history_turns")), 2);
	assert_true(js_int(at(result, "explain/prompt/history_tokens")) > 0);
}

/* The extractive generator has no conversation: it is asked what was searched for. */
static void
test_history_without_a_model(void **state)
{
	AUTO_PTR(js_free) struct js *alone = NULL;
	AUTO_PTR(js_free) struct js *within = NULL;

	(void)state;
	alone = ask("{\"query\":\"Where is that?\"}");
	assert_true(flag(alone, "refused"));
	within = ask("{\"query\":\"Where is that?\"," TALK "}");
	assert_false(flag(within, "refused"));
	assert_non_null(strstr(js_str(at(within, "answer")).ptr, "tall trees"));
	assert_true(flag(within, "grounded"));
}

/* The same words in another conversation are another question. */
static void
test_cache_knows_the_history(void **state)
{
	static const struct told script = { .pieces = { "Colonies have 20 pairs [1].", NULL } };
	struct prompt_template *other = NULL;
	static const char *const questions[] = {
		"{\"query\":\"And how many?\"," TALK "}",
		"{\"query\":\"And how many?\"," TALK "}",
		"{\"query\":\"And how many?\"}",
		"{\"query\":\"And how many?\",\"history\":[{\"role\":\"user\",\"content\":\"A "
		"kiln?\"}]}",
		"{\"query\":\"And how many?\"," TALK "}",
	};

	(void)state;
	MUST(prompt_template_parse(STR("== system ==\nx\n== user ==\n{{sources}}{{question}}\n"
				       "== source ==\n{{n}} {{text}}\n== refusal ==\nNo."),
				   "t", &other, e));
	say(&script, 1);
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		AUTO_PTR(js_free) struct js *result = NULL;

		if (i == 4) /* another template, another answer */
			pipeline->env.prompt = other;
		result = ask(questions[i]);
		assert_int_equal(flag(result, "cached"), i == 1);
	}
	pipeline->env.prompt = pipeline->prompt;
	prompt_template_free(other);
}

/* ---- a generator that fails in the middle ---- */

static void
test_begins_anew_and_says_so(void **state)
{
	static const struct told script[] = {
		{ .pieces = { "Penguins ", "live ", NULL }, .fails = ERR_PROVIDER_REPLY },
		{ .pieces = { "It ", NULL }, .fails = ERR_PROVIDER_UNAVAILABLE },
		{ .pieces = { "It nests ", "in tall trees [1].", NULL } },
	};
	AUTO_PTR(js_free) struct js *result = NULL;

	(void)state;
	say(script, ARRAY_SIZE(script));
	listen();
	result = ask("{\"query\":\"Where does the heron nest?\"}");
	assert_int_equal(model.calls, 3);
	assert_string_equal(heard.events.data, "sttrtrtta");
	assert_string_equal(heard.text.data, "It nests in tall trees [1].");
	check_text(result, "answer", "It nests in tall trees [1].");
	assert_int_equal(js_len(at(result, "warnings")), 0);
	assert_int_equal(js_int(at(result, "usage/requests")), 3);
	assert_true(js_number(at(result, "timings_ms/first_token")) > 0);
}

/* The tries are counted; then the sources' own words follow, from the beginning. */
static void
test_gives_up_and_falls_back(void **state)
{
	static const struct told script[] = { { .pieces = { "Penguins ", NULL },
						.fails = ERR_PROVIDER_REPLY } };
	AUTO_PTR(js_free) struct js *result = NULL;

	(void)state;
	say(script, 1);
	listen();
	result = ask("{\"query\":\"Where does the heron nest?\"}");
	assert_int_equal(model.calls, (size_t)pipeline->config.provider_attempts);
	assert_non_null(strstr(heard.text.data, "tall trees"));
	assert_null(strstr(heard.text.data, "Penguins"));
	check_text(result, "answer", heard.text.data);
	check_text(result, "warnings/0/code", "GENERATOR_FAILED");
	assert_true(flag(result, "grounded"));
}

/* What has told nothing has tried by itself; what is final is not tried again. */
static void
test_does_not_begin_anew(void **state)
{
	static const struct told rows[] = {
		{ .pieces = { NULL }, .fails = ERR_PROVIDER_UNAVAILABLE },
		{ .pieces = { "", NULL }, .fails = ERR_PROVIDER_REPLY },
		{ .pieces = { "Half", NULL }, .fails = ERR_PROVIDER_REJECTED },
		{ .pieces = { "Half", NULL }, .fails = ERR_PROVIDER_QUOTA },
		{ .pieces = { "Half", NULL }, .fails = ERR_PROVIDER_LIMITED },
		{ .pieces = { "Half", NULL }, .fails = ERR_DEADLINE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_PTR(js_free) struct js *result = NULL;

		say(&rows[i], 1);
		listen();
		result = ask("{\"query\":\"Where does the heron nest?\"}");
		assert_int_equal(model.calls, 1);
		check_text(result, "answer", heard.text.data);
		check_text(result, "warnings/0/code", "GENERATOR_FAILED");
	}
}

/* ---- an embedder that is away ---- */

static enum err_code embedder_fails_with;

static bool
embed_fails(struct embedder *embedder, const struct provider_call *call, enum embed_task task,
	    const struct str *texts, size_t count, float *out, struct err *err)
{
	(void)embedder;
	(void)task;
	(void)texts;
	(void)count;
	(void)out;
	/* something must be able to follow */
	assert_true(call->deadline_mono_ms == 0 ||
		    call->deadline_mono_ms < pipeline->deadline_mono_ms);
	return err_set(err, embedder_fails_with, "the embedder is away");
}

static void
take_embedder_away(struct embedder *broken, struct embedder_ops *ops, enum err_code code)
{
	*ops = *own_embedder->ops;
	ops->embed = embed_fails;
	*broken = *own_embedder;
	broken->ops = ops;
	embedder_fails_with = code;
	pipeline->env.embedder = broken;
}

static void
test_words_alone_when_the_embedder_is_away(void **state)
{
	static const enum err_code codes[] = { ERR_PROVIDER_UNAVAILABLE, ERR_PROVIDER_LIMITED,
					       ERR_PROVIDER_QUOTA,	 ERR_PROVIDER_REJECTED,
					       ERR_PROVIDER_REPLY,	 ERR_DEADLINE };

	(void)state;
	pipeline->deadline_mono_ms = clock_mono_ms() + 60000;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		AUTO_PTR(js_free) struct js *result = NULL;
		struct embedder broken;
		struct embedder_ops ops;

		take_embedder_away(&broken, &ops, codes[i]);
		result = ask("{\"query\":\"Where does the heron nest?\",\"explain\":true}");
		check_text(result, "warnings/0/code", "EMBEDDER_SKIPPED");
		check_text(result, "warnings/0/detail", "the embedder is away");
		check_text(result, "explain/search/mode", "lexical");
		check_text(result, "citations/0/document_id", "heron");
		assert_int_equal(js_len(at(result, "explain/dense")), 0);
		assert_false(flag(result, "cached"));
	}
	/* it is back: nothing of that was kept */
	pipeline->env.embedder = own_embedder;

	AUTO_PTR(js_free)
	struct js *result = ask("{\"query\":\"Where does the heron nest?\",\"explain\":true}");

	assert_false(flag(result, "cached"));
	assert_int_equal(js_len(at(result, "warnings")), 0);
	check_text(result, "explain/search/mode", "hybrid");
	pipeline->deadline_mono_ms = 0;
}

/* Where vectors alone were asked for, or the failure is not the provider's, the job fails with it. */
static void
test_no_words_where_vectors_were_asked_for(void **state)
{
	struct embedder broken;
	struct embedder_ops ops;
	struct err err = ERR_INIT;

	(void)state;
	take_embedder_away(&broken, &ops, ERR_PROVIDER_UNAVAILABLE);
	assert_false(pipeline_query(pipeline, "{\"query\":\"heron\",\"mode\":\"dense\"}", &err));
	assert_int_equal(err.code, ERR_PROVIDER_UNAVAILABLE);
	err = ERR_INIT;
	take_embedder_away(&broken, &ops, ERR_REDIS_UNAVAILABLE);
	assert_false(pipeline_query(pipeline, "{\"query\":\"heron\"}", &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	/* words alone need no embedder */
	MUST(pipeline_query(pipeline, "{\"query\":\"heron\",\"mode\":\"lexical\"}", e));
}

/* ---- explain ---- */

static void
test_explain_shows_everything(void **state)
{
	AUTO_PTR(js_free) struct js *result = NULL;
	const struct js *candidates;

	(void)state;
	result = ask("{\"query\":\"Where does the heron "
		     "nest?\",\"top_k\":1,\"explain\":true,\"rerank\":true,"
		     "\"filter\":{\"document_id\":{\"$in\":[\"heron\",\"kiln\"]}}}");
	check_text(result, "explain/search/query", "Where does the heron nest?");
	check_text(result, "explain/search/mode", "hybrid");
	check_text(result, "explain/search/store", "sqlite");
	check_text(result, "explain/search/embedder", "local/hash-1/768");
	check_text(result, "explain/search/reranker", "local");
	assert_false(flag(result, "explain/search/condensed"));
	check_text(result, "explain/search/filter/document_id/$in/1", "kiln");
	check_text(result, "explain/dense/0/document_id", "heron");
	check_text(result, "explain/lexical/0/document_id", "heron");
	candidates = at(result, "explain/candidates");
	assert_int_equal(js_len(candidates), 2);
	assert_true(flag(result, "explain/candidates/0/used"));
	assert_false(flag(result, "explain/candidates/1/used"));
	assert_true(js_number(at(result, "explain/candidates/0/rerank")) > 0);
	assert_true(js_number(at(result, "explain/candidates/0/fused")) > 0);
	assert_true(js_is(at(result, "explain/candidates/1/lexical"), JS_NULL)); /* of no word */
	assert_true(js_is(at(result, "explain/prompt"), JS_NULL)); /* no model was asked */
	assert_int_equal(js_len(at(result, "results")), 1);
	assert_true(js_number(at(result, "results/0/rerank")) > 0);
}

#define ANSWER_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ANSWER_TEST(test_model_gets_the_prompt),
		ANSWER_TEST(test_usage_is_of_this_run),
		ANSWER_TEST(test_answer_must_stand_on_its_sources),
		ANSWER_TEST(test_refusals),
		ANSWER_TEST(test_no_sources_no_call),
		ANSWER_TEST(test_truncated_answers_say_so),
		ANSWER_TEST(test_sources_left_out_are_not_cited),
		ANSWER_TEST(test_history_is_told_and_searched_with),
		ANSWER_TEST(test_history_without_a_model),
		ANSWER_TEST(test_cache_knows_the_history),
		ANSWER_TEST(test_begins_anew_and_says_so),
		ANSWER_TEST(test_gives_up_and_falls_back),
		ANSWER_TEST(test_does_not_begin_anew),
		ANSWER_TEST(test_words_alone_when_the_embedder_is_away),
		ANSWER_TEST(test_no_words_where_vectors_were_asked_for),
		ANSWER_TEST(test_explain_shows_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
