/*
 * What servers do that a client does not expect, met by whole instances: vectors of nothing, texts that are too long, fields that are
 * refused, a stream that is none. Against the scripted server, or bytes as they are written here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "jobs/provider/provider.h"
#include "jobs/step/embed_call.h"
#include "jobs/step/prompt.h"
#include "tests/support/fake_http.h"
#include "tests/support/fake_provider.h"
#include "tests/support/must.h"

#define KEY "key-of-a-test"
#define DIM 256

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
	config.openai_url = fake_provider_url(fake, "openai");
	config.cohere_url = fake_provider_url(fake, "cohere");
	config.google_api_key.value = config.cohere_api_key.value = config.openai_api_key.value =
		KEY;
	config.provider_attempts = 1;
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

/* Does the body of the last request to the route have this? */
static bool
last_has(const char *route, const char *text)
{
	struct js *seen = fake_provider_requests(fake, route, 1);
	const struct js *last = js_at(js_get(seen, "requests"), 0);
	AUTO(buf) struct buf body = BUF_INIT((size_t)1024 * 1024);
	bool has;

	assert_non_null(last);
	buf_add(&body, js_str(js_get(last, "body")).ptr, js_str(js_get(last, "body")).len);
	has = strstr(body.data, text) != NULL;
	js_free(seen);
	return has;
}

/* ---- vectors ---- */

static struct embedder *
open_embedder(enum config_embedder kind)
{
	struct embedder *embedder = NULL;

	config.embedder = (int)kind;
	config.embedder_dim = DIM;
	MUST(embedder_open(&config, &embedder, e));
	return embedder;
}

static bool
embed(struct embedder *embedder, struct str last, float *out, struct err *err)
{
	const struct str texts[] = { STR("the lease"), last };

	return embedder->ops->embed(embedder, &no_limit, EMBED_DOCUMENT, texts, 2, out, err);
}

/* A server in trouble; taken, the text would never be found again, and the cache would keep it so. */
static void
zeros_for_a_text_of_words_are_garbage(void **state)
{
	static const struct {
		enum config_embedder kind;
		const char *route;
	} rows[] = { { EMBEDDER_GEMINI, "gemini.*" },
		     { EMBEDDER_OPENAI, "openai.*" },
		     { EMBEDDER_COHERE, "cohere.*" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct embedder *embedder = open_embedder(rows[i].kind);
		AUTO(buf) struct buf row = BUF_INIT(1024);
		struct err err = ERR_INIT;
		float out[2 * DIM];

		buf_printf(&row, "\"route\": \"%s\", \"fault\": \"zero_vector\"", rows[i].route);
		fake_provider_fail(fake, row.data);
		assert_false(embed(embedder, STR("steel"), out, &err));
		assert_int_equal(err.code, ERR_PROVIDER_REPLY);
		assert_non_null(strstr(err.msg, "zeros"));
		/* of signs alone a model may have nothing to say */
		MUST(embed(embedder, STR("... -- !?"), out, e));
		for (size_t k = 0; k < DIM; k++)
			assert_true(out[DIM + k] == 0);
		/* it passes: asked again */
		fake_provider_heal(fake);
		buf_printf(&row, ", \"times\": 1");
		fake_provider_fail(fake, row.data);
		config.provider_attempts = 2;
		MUST(embed(embedder, STR("steel"), out, e));
		config.provider_attempts = 1;
		fake_provider_heal(fake);
		embedder_close(embedder);
	}
}

/* By itself Cohere would cut what is too long, and nobody would know. */
static void
cohere_refuses_a_long_text_and_it_goes_in_parts(void **state)
{
	struct embedder *embedder = open_embedder(EMBEDDER_COHERE);
	AUTO(buf) struct buf words = BUF_INIT((size_t)1024 * 1024);
	struct embed_limits limits = { 0 };
	float out[2 * DIM];
	bool split[2];

	(void)state;
	for (int i = 0; i < 200; i++)
		buf_add_str(&words, i % 2 ? "plate " : "steel ");
	fake_provider_config(fake, "\"cohere\": {\"max_input_tokens\": 120}");

	const struct str texts[] = { STR("a plate of steel"), str_make(words.data, words.len) };
	const struct embed_load load = { .texts = texts, .count = 2, .out = out, .split = split };

	MUST(embed_call(embedder, &no_limit, EMBED_DOCUMENT, &limits, &load, e));
	assert_true(last_has("cohere.embed", "\"truncate\":\"NONE\""));
	assert_false(split[0]);
	assert_true(split[1]);
	assert_true(fake_provider_count(fake, "cohere.embed", "ok") < requests("cohere.embed"));
	assert_true(atomic_load(&limits.text_tokens) > 0); /* and is not tried again */
	embedder_close(embedder);
}

/* What a compatible server does not know is left out, once and for all calls of the instance. */
static void
openai_embedder_leaves_out_what_is_refused(void **state)
{
	struct embedder *embedder;
	float out[2 * DIM];

	(void)state;
	config.embedder_model = "text-embedding-3-small";
	fake_provider_config(fake, "\"openai\": {\"strict\": false, \"dim\": 256, \"refuse\": "
				   "[\"dimensions\", \"encoding_format\"]}");
	embedder = open_embedder(EMBEDDER_OPENAI);
	MUST(embed(embedder, STR("steel"), out, e));
	assert_int_equal(requests("openai.embeddings"), 3);
	MUST(embed(embedder, STR("steel"), out, e));
	assert_int_equal(requests("openai.embeddings"), 4);
	assert_false(last_has("openai.embeddings", "dimensions"));
	assert_false(last_has("openai.embeddings", "encoding_format"));
	embedder_close(embedder);
}

/* A server that ignores encoding_format, one that mixes, one that does not keep the order. */
static void
openai_vectors_in_any_form_and_order(void **state)
{
	static const char *const forms[] = { "\"encoding\": \"float\"", "\"encoding\": \"base64\"",
					     "\"encoding\": \"mixed\"",
					     "\"encoding\": \"asked\", \"shuffle\": true" };
	struct embedder *embedder = open_embedder(EMBEDDER_OPENAI);
	float want[2 * DIM], out[2 * DIM];

	(void)state;
	MUST(embed(embedder, STR("steel"), want, e));
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		AUTO(buf) struct buf members = BUF_INIT(1024);

		buf_printf(&members, "\"openai\": {%s}", forms[i]);
		fake_provider_config(fake, members.data);
		MUST(embed(embedder, STR("steel"), out, e));
		for (size_t k = 0; k < ARRAY_SIZE(out); k++)
			if (out[k] - want[k] > 1e-6F || want[k] - out[k] > 1e-6F)
				fail_msg("%s: number %zu is %g, not %g", forms[i], k,
					 (double)out[k], (double)want[k]);
	}
	embedder_close(embedder);
}

/* ---- answers ---- */

struct asked {
	struct generator *generator;
	struct arena arena;
	struct buf text;
	size_t pieces;
	struct generated out;
	struct err err;
};

static bool
follow(void *user, struct str piece, struct err *err)
{
	struct asked *asked = user;

	(void)err;
	buf_add(&asked->text, piece.ptr, piece.len);
	asked->pieces += piece.len > 0;
	return true;
}

static void
open_asked(struct asked *asked)
{
	*asked = (struct asked){ .text = BUF_INIT((size_t)1024 * 1024), .err = ERR_INIT };
	config.generator = GENERATOR_OPENAI;
	arena_init(&asked->arena, (size_t)16 * 1024 * 1024);
	MUST(generator_open(&config, &asked->generator, e));
}

static void
close_asked(struct asked *asked)
{
	generator_close(asked->generator);
	arena_release(&asked->arena);
	buf_release(&asked->text);
}

static bool
generate(struct asked *asked)
{
	const struct prompt_turn turns[] = { { PROMPT_USER,
					       STR("[1] Leases are renewed.\nWho?") } };
	const struct prompt prompt = { .system = STR("Cite."), .turns = turns, .count = 1 };
	const struct generate_request request = { .question = STR("Who?"),
						  .prompt = &prompt,
						  .max_tokens = 200,
						  .on_text = follow,
						  .user = asked };

	buf_clear(&asked->text);
	asked->pieces = 0;
	asked->err = ERR_INIT;
	return asked->generator->ops->generate(asked->generator, &no_limit, &request, &asked->arena,
					       &asked->out, &asked->err);
}

/* max_tokens under its other name, stream_options and temperature not at all. */
static void
openai_generator_renames_and_leaves_out_what_is_refused(void **state)
{
	struct asked asked;

	(void)state;
	config.generator_temperature = "0.2";
	fake_provider_config(fake, "\"openai\": {\"strict\": false, \"refuse\": [\"max_tokens\", "
				   "\"stream_options\", \"temperature\"]}");
	open_asked(&asked);
	MUST(generate(&asked) || (*e = asked.err, false));
	assert_int_equal(requests("openai.[cs]*"), 4);
	MUST(generate(&asked) || (*e = asked.err, false));
	assert_int_equal(requests("openai.[cs]*"), 5);
	assert_true(last_has("openai.stream", "\"max_completion_tokens\":200"));
	assert_false(last_has("openai.stream", "\"max_tokens\""));
	assert_false(last_has("openai.stream", "stream_options"));
	assert_false(last_has("openai.stream", "temperature"));
	close_asked(&asked);
}

/* Streams of compatible servers: no blank after the colon, comments, thinking, no [DONE]; one without an end is cut. */
static void
openai_streams_in_every_form_are_the_answer(void **state)
{
	static const char *const forms[] = {
		"\"sse\": {}",
		"\"sse\": {\"crlf\": true, \"no_space\": true, \"comments\": true}",
		"\"reasoning\": true, \"cut_writes\": true",
		"\"done\": false",
	};
	struct asked asked;

	(void)state;
	open_asked(&asked);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		AUTO(buf) struct buf members = BUF_INIT(1024);

		buf_printf(&members, "\"openai\": {\"answer\": \"Whoever holds it [1].\", %s}",
			   forms[i]);
		fake_provider_config(fake, members.data);
		if (!generate(&asked))
			fail_msg("%s: %s (%s)", forms[i], asked.err.msg, asked.err.cause);
		assert_string_equal(asked.text.data, "Whoever holds it [1].");
		assert_true(asked.pieces > 1);
	}
	fake_provider_fail(fake, "\"route\": \"openai.stream\", \"fault\": \"stream_end\"");
	assert_false(generate(&asked));
	assert_int_equal(asked.err.code, ERR_PROVIDER_REPLY);
	close_asked(&asked);
}

struct told {
	const char *type, *body;
};

static bool
tell(const struct fake_request *request, void *user)
{
	const struct told *told = user;
	AUTO(buf) struct buf reply = BUF_INIT(65536);

	buf_printf(&reply, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
		   told->type, strlen(told->body), told->body);
	fake_send(request, reply.data);
	return true;
}

/* A stream was asked for, a whole body is what comes. */
static void
openai_body_in_the_place_of_a_stream_is_the_answer(void **state)
{
	struct told told = { .type = "application/json" };
	struct fake_http *server = fake_http_start(tell, &told);
	char url[64];
	struct asked asked;

	(void)state;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1", fake_http_port(server));
	config.generator_url = url;
	config.generator_model = "m";
	open_asked(&asked);
	told.body = " {\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
		    "\"Whoever holds it [1].\"},\"finish_reason\":\"stop\"}],\"usage\":{"
		    "\"prompt_tokens\":40,\"completion_tokens\":6}}\n";
	MUST(generate(&asked) || (*e = asked.err, false));
	assert_string_equal(asked.text.data, "Whoever holds it [1].");
	assert_int_equal(asked.pieces, 1);
	told.body =
		"{\"choices\":[{\"message\":{\"content\":\"Whoever\"},\"finish_reason\":null}]}";
	MUST(generate(&asked) || (*e = asked.err, false));
	assert_false(asked.out.truncated);
	told.body =
		"{\"choices\":[{\"message\":{\"content\":\"Who\"},\"finish_reason\":\"length\"}]}";
	MUST(generate(&asked) || (*e = asked.err, false));
	assert_true(asked.out.truncated);
	/* half of one is none, and nobody has been told a word of it */
	told.body = "{\"choices\":[{\"message\":{\"content\":\"Whoever holds";
	assert_false(generate(&asked));
	assert_int_equal(asked.err.code, ERR_PROVIDER_REPLY);
	assert_int_equal(asked.pieces, 0);
	told.body = "{\"error\":{\"code\":503,\"message\":\"Loading model\"}}";
	assert_false(generate(&asked));
	assert_int_equal(asked.err.code, ERR_PROVIDER_UNAVAILABLE);
	close_asked(&asked);
	fake_http_stop(server);
}

/* The last event's blank line, or even its line end, may be missing: its JSON is complete on its own line. */
static void
last_event_without_its_blank_line_counts(void **state)
{
#define SAID "data: {\"choices\":[{\"delta\":{\"content\":\"Whoever holds it.\"}}]}\n\n"
#define LAST "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}"
	static const char *const bodies[] = { SAID LAST, SAID LAST "\n", SAID LAST "\n\n" };
	struct told told = { .type = "text/event-stream" };
	struct fake_http *server = fake_http_start(tell, &told);
	char url[64];
	struct asked asked;

	(void)state;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1", fake_http_port(server));
	config.generator_url = url;
	config.generator_model = "m";
	open_asked(&asked);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		told.body = bodies[i];
		if (!generate(&asked))
			fail_msg("%zu: %s", i, asked.err.msg);
		assert_string_equal(asked.text.data, "Whoever holds it.");
	}
	told.body = SAID "data: {\"choices\":[{\"delta\":{},\"finish_reas";
	assert_false(generate(&asked));
	assert_int_equal(asked.err.code, ERR_PROVIDER_REPLY);
	close_asked(&asked);
	fake_http_stop(server);
}

/* Ollama's own route answers in lines of JSON: a wrong URL, not an answer. */
static void
ollama_lines_are_no_answer(void **state)
{
	struct told told = { .type = "application/x-ndjson",
			     .body = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\","
				     "\"content\":\"Hi\"},\"done\":false}\n{\"done\":true,"
				     "\"done_reason\":\"stop\"}\n" };
	struct fake_http *server = fake_http_start(tell, &told);
	char url[64];
	struct asked asked;

	(void)state;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/api", fake_http_port(server));
	config.generator_url = url;
	config.generator_model = "m";
	open_asked(&asked);
	assert_false(generate(&asked));
	assert_int_equal(asked.err.code, ERR_PROVIDER_REPLY);
	assert_int_equal(asked.pieces, 0);
	close_asked(&asked);
	fake_http_stop(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(zeros_for_a_text_of_words_are_garbage),
		TEST(cohere_refuses_a_long_text_and_it_goes_in_parts),
		TEST(openai_embedder_leaves_out_what_is_refused),
		TEST(openai_vectors_in_any_form_and_order),
		TEST(openai_generator_renames_and_leaves_out_what_is_refused),
		TEST(openai_streams_in_every_form_are_the_answer),
		TEST(openai_body_in_the_place_of_a_stream_is_the_answer),
		TEST(last_event_without_its_blank_line_counts),
		TEST(ollama_lines_are_no_answer),
	};
	int failed;

	fake = fake_provider_start();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	fake_provider_stop(fake);
	return failed;
}
