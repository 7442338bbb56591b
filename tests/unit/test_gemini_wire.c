/* Google's Generative Language API, trap by trap (https://ai.google.dev/api). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "jobs/provider/gemini_wire.h"
#include "jobs/spec/choice.h"
#include "tests/support/must.h"

#define MIB ((size_t)1024 * 1024)
#define NOT_USED ((struct remote_used){ -1, -1, -1 })

/* ---- requests ---- */

static void
check_embed(const struct gemini_embed *embed, bool single, const char *want)
{
	AUTO(buf) struct buf out = BUF_INIT(MIB);

	gemini_build_embed(embed, single, &out);
	assert_true(buf_ok(&out));
	assert_string_equal(out.data, want);
}

static void
check_path(const char *model, const char *want)
{
	AUTO(buf) struct buf out = BUF_INIT(MIB);

	gemini_build_path(model, "embedContent", &out);
	assert_string_equal(out.data, want);
}

static void
path_names_the_model_once_and_encoded(void **state)
{
	(void)state;
	check_path("gemini-embedding-001", "/models/gemini-embedding-001:embedContent");
	check_path("models/gemini-embedding-001", "/models/gemini-embedding-001:embedContent");
	check_path("a/../b?key=1#x y", "/models/a%2F..%2Fb%3Fkey%3D1%23x%20y:embedContent");
	check_path("\xc3\xa4", "/models/%C3%A4:embedContent");
}

static void
model_is_in_every_element_of_a_batch(void **state)
{
	const struct str texts[] = { STR("Chunk one"), STR("Chunk \"two\"\n") };
	const struct gemini_embed embed = { .model = "models/gemini-embedding-001",
					    .task = EMBED_DOCUMENT,
					    .texts = texts,
					    .count = 2,
					    .dim = 768 };

	(void)state;
	check_embed(&embed, false,
		    "{\"requests\":["
		    "{\"model\":\"models/gemini-embedding-001\",\"content\":{\"parts\":[{\"text\":"
		    "\"Chunk one\"}]},\"taskType\":\"RETRIEVAL_DOCUMENT\","
		    "\"outputDimensionality\":768},"
		    "{\"model\":\"models/gemini-embedding-001\",\"content\":{\"parts\":[{\"text\":"
		    "\"Chunk \\\"two\\\"\\n\"}]},\"taskType\":\"RETRIEVAL_DOCUMENT\","
		    "\"outputDimensionality\":768}]}");
}

static void
one_text_is_one_content_of_one_part(void **state)
{
	const struct gemini_embed embed = { .model = "gemini-embedding-001",
					    .task = EMBED_QUERY,
					    .prefix = STR("q: "),
					    .texts = &STR("Who?"),
					    .count = 1 };

	(void)state;
	/* no length: the model's own; a title would need RETRIEVAL_DOCUMENT and is never sent */
	check_embed(&embed, true,
		    "{\"model\":\"models/gemini-embedding-001\",\"content\":{\"parts\":[{\"text\":"
		    "\"q: Who?\"}]},\"taskType\":\"RETRIEVAL_QUERY\"}");
}

static void
embedding_2_has_its_task_in_the_text(void **state)
{
	struct gemini_embed embed = { .model = "gemini-embedding-2",
				      .task = EMBED_QUERY,
				      .texts = &STR("Who?"),
				      .count = 1,
				      .dim = 768 };

	(void)state;
	check_embed(&embed, true,
		    "{\"model\":\"models/gemini-embedding-2\",\"content\":{\"parts\":[{\"text\":"
		    "\"task: search result | query: Who?\"}]},\"outputDimensionality\":768}");
	embed.task = EMBED_DOCUMENT;
	check_embed(&embed, true,
		    "{\"model\":\"models/gemini-embedding-2\",\"content\":{\"parts\":[{\"text\":"
		    "\"title: none | text: Who?\"}]},\"outputDimensionality\":768}");
	/* what the settings say comes instead */
	embed.prefix = STR("title: Handbook | text: ");
	check_embed(&embed, true,
		    "{\"model\":\"models/gemini-embedding-2\",\"content\":{\"parts\":[{\"text\":"
		    "\"title: Handbook | text: Who?\"}]},\"outputDimensionality\":768}");
}

static void
broken_utf8_is_not_sent(void **state)
{
	const struct gemini_embed embed = { .model = "gemini-embedding-001",
					    .task = EMBED_DOCUMENT,
					    .texts = &STR("a\xff\xc3z"),
					    .count = 1,
					    .no_task = true };

	(void)state;
	check_embed(&embed, true,
		    "{\"model\":\"models/gemini-embedding-001\",\"content\":{\"parts\":[{\"text\":"
		    "\"a\xef\xbf\xbd\xef\xbf\xbdz\"}]}}");
}

static void
at_most_100_in_a_batch(void **state)
{
	struct embedder_choice choice;
	struct config config;

	(void)state;
	MUST(config_load(&config, NULL, e));
	config.embedder = EMBEDDER_GEMINI;
	config.google_api_key.value = "key-of-a-test";
	MUST(choose_embedder(&config, &choice, e));
	assert_int_equal(choice.max_batch, 100);
	config.embedder_batch = 2048;
	MUST(choose_embedder(&config, &choice, e));
	assert_int_equal(choice.max_batch, 100);
	config_release(&config);
}

static void
roles_are_user_and_model_and_the_system_is_no_content(void **state)
{
	const struct prompt_turn turns[] = { { PROMPT_USER, STR("What is a lease?") },
					     { PROMPT_ASSISTANT, STR("A right [1]") },
					     { PROMPT_USER, STR("Who renews it?") } };
	const struct prompt prompt = { .system = STR("Cite."), .turns = turns, .count = 3 };
	const struct gemini_generate generate = { .prompt = &prompt, .max_tokens = 1024 };
	AUTO(buf) struct buf out = BUF_INIT(MIB);

	(void)state;
	gemini_build_generate(&generate, &out);
	/* and the least is sent: no temperature, topP, topK, thinking */
	assert_string_equal(
		out.data, "{\"systemInstruction\":{\"parts\":[{\"text\":\"Cite.\"}]},\"contents\":["
			  "{\"role\":\"user\",\"parts\":[{\"text\":\"What is a lease?\"}]},"
			  "{\"role\":\"model\",\"parts\":[{\"text\":\"A right [1]\"}]},"
			  "{\"role\":\"user\",\"parts\":[{\"text\":\"Who renews it?\"}]}],"
			  "\"generationConfig\":{\"maxOutputTokens\":1024}}");
}

static void
temperature_and_thinking_only_when_set(void **state)
{
	const struct prompt_turn turn = { PROMPT_USER, STR("x") };
	const struct prompt prompt = { .turns = &turn, .count = 1 };
	const struct gemini_generate generate = { .prompt = &prompt,
						  .temperature = STR("0.2"),
						  .thinking = STR("low") };
	AUTO(buf) struct buf out = BUF_INIT(MIB);

	(void)state;
	gemini_build_generate(&generate, &out);
	assert_string_equal(out.data,
			    "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"x\"}]}],"
			    "\"generationConfig\":{\"temperature\":0.2,\"thinkingConfig\":"
			    "{\"thinkingLevel\":\"low\"}}}");
}

/* ---- vectors ---- */

static bool
parse(const char *body, size_t count, float *out, struct remote_used *used, struct err *err)
{
	AUTO(reply) struct reply reply = { 0 };

	return reply_read(str_of(body), &reply, err) &&
	       gemini_parse_embed(&reply, count, 2, out, used, err);
}

static void
vectors_are_of_unit_length_and_in_order(void **state)
{
	struct remote_used used = NOT_USED;
	float out[4] = { 0 };

	(void)state;
	/* shorter than 3072 they do not come normalised */
	MUST(parse("{\"embeddings\":[{\"values\":[3,4]},{\"values\":[0,-0.5]}]}", 2, out, &used,
		   e));
	assert_true(fabsf(out[0] - 0.6F) < 1e-6F && fabsf(out[1] - 0.8F) < 1e-6F);
	assert_true(out[2] == 0 && out[3] == -1);
	assert_int_equal(used.tokens_in, -1); /* usageMetadata may be missing */
}

static void
single_answer_and_its_usage(void **state)
{
	struct remote_used used = NOT_USED;
	float out[2] = { 0 };

	(void)state;
	MUST(parse("{\"embedding\":{\"values\":[2,0]},\"usageMetadata\":{\"promptTokenCount\":6}}",
		   1, out, &used, e));
	assert_true(out[0] == 1 && out[1] == 0);
	assert_int_equal(used.tokens_in, 6);
}

static void
wrong_vectors_are_refused(void **state)
{
	static const char *const bodies[] = {
		"{}",
		"[]",
		"{\"embeddings\":[{\"values\":[1,0]}]}",
		"{\"embeddings\":[{\"values\":[1,0]},{\"values\":[1,0]},{\"values\":[1,0]}]}",
		"{\"embeddings\":[{\"values\":[1,0]},{\"values\":[1,0,0]}]}",
		"{\"embeddings\":[{\"values\":[1,0]},{\"values\":[1,null]}]}",
		"{\"embeddings\":[{\"values\":[1,0]},{\"values\":[1,1e999]}]}",
		"{\"embeddings\":[{\"values\":[1,0]},{\"values\":[]}]}",
		"{\"embeddings\":[{\"values\":[1,0]},[1,0]]}",
		"{\"embeddings\":[{\"values\":[1,0]},{}]}",
		"{\"embedding\":{\"values\":[1,0]}}",
		"{\"embeddings\":[{\"values\":[1,0]},{\"values\":[NaN,0]}]}",
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

/* ---- answers ---- */

static void
take(const char *data, struct model_answer *answer)
{
	MUST(gemini_take_event(str_of(data), "gemini", "", answer, e));
}

#define CANDIDATE(parts, end)                                                                      \
	"{\"candidates\":[{\"index\":0,\"content\":{\"role\":\"model\",\"parts\":[" parts "]}" end \
	"}]}"

static void
stream_ends_with_its_reason_and_usage_is_cumulative(void **state)
{
	struct model_answer answer;

	(void)state;
	model_answer_init(&answer);
	take("{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"The holder "
	     "\"}]}}],\"usageMetadata\":{\"promptTokenCount\":311,\"totalTokenCount\":311}}",
	     &answer);
	assert_false(answer.complete); /* if it ended here it would be cut */
	assert_int_equal(answer.tokens_out, -1);
	take("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"renews it.\"}]},"
	     "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":311,"
	     "\"candidatesTokenCount\":9,\"thoughtsTokenCount\":44}}",
	     &answer);
	assert_true(answer.complete);
	assert_false(answer.truncated || answer.withheld);
	assert_string_equal(answer.text.data, "The holder renews it.");
	assert_int_equal(answer.tokens_in, 311);
	assert_int_equal(answer.tokens_out, 53);
	model_answer_release(&answer);
}

static void
thoughts_and_other_parts_are_not_the_answer(void **state)
{
	struct model_answer answer;

	(void)state;
	model_answer_init(&answer);
	take(CANDIDATE("{\"text\":\"Let me think\",\"thought\":true},{\"functionCall\":{\"name\":"
		       "\"f\"}},{\"text\":\"Yes\",\"thoughtSignature\":\"c2ln\"},{\"inlineData\":"
		       "{}},{\"text\":\".\",\"thought\":false}",
		       ",\"finishReason\":\"STOP\""),
	     &answer);
	assert_string_equal(answer.text.data, "Yes.");
	model_answer_release(&answer);
}

static void
blocked_prompt_is_withheld(void **state)
{
	static const char *const reasons[] = { "SAFETY",       "OTHER",
					       "BLOCKLIST",    "PROHIBITED_CONTENT",
					       "IMAGE_SAFETY", "NEW_ONE" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		AUTO(buf) struct buf data = BUF_INIT(1024);
		struct model_answer answer;

		model_answer_init(&answer);
		buf_printf(&data, "{\"promptFeedback\":{\"blockReason\":\"%s\"}}", reasons[i]);
		take(data.data, &answer);
		assert_true(answer.complete && answer.withheld);
		assert_string_equal(answer.why, reasons[i]);
		model_answer_release(&answer);
	}
}

static void
max_tokens_may_come_without_parts(void **state)
{
	struct model_answer answer;

	(void)state;
	model_answer_init(&answer);
	take("{\"candidates\":[{\"content\":{\"role\":\"model\"},\"finishReason\":\"MAX_TOKENS\"}],"
	     "\"usageMetadata\":{\"promptTokenCount\":10,\"thoughtsTokenCount\":500}}",
	     &answer);
	assert_true(answer.complete && answer.truncated);
	assert_int_equal(answer.text.len, 0);
	assert_int_equal(answer.tokens_out, 500);
	model_answer_release(&answer);
}

static void
every_finish_reason_is_understood(void **state)
{
	static const struct {
		const char *reason;
		bool complete, truncated, withheld;
	} rows[] = {
		{ "STOP", true, false, false },
		{ "MAX_TOKENS", true, true, false },
		{ "SAFETY", true, false, true },
		{ "RECITATION", true, false, true },
		{ "LANGUAGE", true, false, true },
		{ "BLOCKLIST", true, false, true },
		{ "PROHIBITED_CONTENT", true, false, true },
		{ "SPII", true, false, true },
		{ "IMAGE_SAFETY", true, false, true },
		{ "OTHER", true, false, false },
		{ "MALFORMED_FUNCTION_CALL", true, false, false },
		{ "UNEXPECTED_TOOL_CALL", true, false, false },
		{ "SOMETHING_NEW", true, false, false },
		{ "FINISH_REASON_UNSPECIFIED", false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO(buf) struct buf data = BUF_INIT(1024);
		struct model_answer answer;

		model_answer_init(&answer);
		buf_printf(&data, "{\"candidates\":[{\"finishReason\":\"%s\"}]}", rows[i].reason);
		take(data.data, &answer);
		if (answer.complete != rows[i].complete || answer.truncated != rows[i].truncated ||
		    answer.withheld != rows[i].withheld)
			fail_msg("%s is misunderstood", rows[i].reason);
		model_answer_release(&answer);
	}
}

static void
array_of_responses_is_read_too(void **state)
{
	AUTO(reply) struct reply reply = { 0 };
	struct model_answer answer;

	(void)state;
	model_answer_init(&answer);
	MUST(reply_read(STR("[" CANDIDATE("{\"text\":\"a\"}",
					  "") "," CANDIDATE("{\"text\":\"b\"}",
							    ",\"finishReason\":\"STOP\"") "]"),
			&reply, e));
	MUST(gemini_take_answer(&reply, &answer, e));
	assert_string_equal(answer.text.data, "ab");
	assert_true(answer.complete);
	model_answer_release(&answer);
}

static void
errors_in_a_stream_are_errors(void **state)
{
	static const struct {
		const char *data;
		enum err_code code;
		int64_t retry_ms;
	} rows[] = {
		{ "{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\",\"message\":\"overloaded\"}"
		  "}",
		  ERR_PROVIDER_UNAVAILABLE, -1 },
		{ "[{\"error\":{\"code\":500,\"status\":\"INTERNAL\",\"message\":\"x\"}}]",
		  ERR_PROVIDER_REPLY, -1 },
		{ "{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"x\","
		  "\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
		  "\"retryDelay\":\"26s\"}]}}",
		  ERR_PROVIDER_LIMITED, 26000 },
		{ "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"message\":\"no\"}}",
		  ERR_PROVIDER_REJECTED, -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct model_answer answer;

		model_answer_init(&answer);
		assert_false(gemini_take_event(str_of(rows[i].data), "gemini", "", &answer, &err));
		assert_int_equal(err.code, rows[i].code);
		assert_int_equal(err.retry_after_ms, rows[i].retry_ms);
		model_answer_release(&answer);
	}
}

static void
garbage_in_a_stream_is_refused(void **state)
{
	static const char *const rows[] = { "and more", "{\"candidates\":[\"x\"]}",	 "7",
					    "\"x\"",	"{\"candidates\":[{\"content\"", "[[]]" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct model_answer answer;

		model_answer_init(&answer);
		if (gemini_take_event(str_of(rows[i]), "gemini", "", &answer, &err))
			fail_msg("%s was taken", rows[i]);
		assert_int_equal(err.code, ERR_PROVIDER_REPLY);
		model_answer_release(&answer);
	}
}

static void
half_a_surrogate_pair_is_one_odd_character(void **state)
{
	struct model_answer answer;

	(void)state;
	model_answer_init(&answer);
	take(CANDIDATE("{\"text\":\"a\\uD83D\"}", ""), &answer);
	take(CANDIDATE("{\"text\":\"\\u0000\\uD83D\\uDE00\"}", ",\"finishReason\":\"STOP\""),
	     &answer);
	assert_string_equal(answer.text.data, "a\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80");
	model_answer_release(&answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(path_names_the_model_once_and_encoded),
		cmocka_unit_test(model_is_in_every_element_of_a_batch),
		cmocka_unit_test(one_text_is_one_content_of_one_part),
		cmocka_unit_test(embedding_2_has_its_task_in_the_text),
		cmocka_unit_test(broken_utf8_is_not_sent),
		cmocka_unit_test(at_most_100_in_a_batch),
		cmocka_unit_test(roles_are_user_and_model_and_the_system_is_no_content),
		cmocka_unit_test(temperature_and_thinking_only_when_set),
		cmocka_unit_test(vectors_are_of_unit_length_and_in_order),
		cmocka_unit_test(single_answer_and_its_usage),
		cmocka_unit_test(wrong_vectors_are_refused),
		cmocka_unit_test(stream_ends_with_its_reason_and_usage_is_cumulative),
		cmocka_unit_test(thoughts_and_other_parts_are_not_the_answer),
		cmocka_unit_test(blocked_prompt_is_withheld),
		cmocka_unit_test(max_tokens_may_come_without_parts),
		cmocka_unit_test(every_finish_reason_is_understood),
		cmocka_unit_test(array_of_responses_is_read_too),
		cmocka_unit_test(errors_in_a_stream_are_errors),
		cmocka_unit_test(garbage_in_a_stream_is_refused),
		cmocka_unit_test(half_a_surrogate_pair_is_one_odd_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
