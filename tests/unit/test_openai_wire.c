/* What OpenAI and its like send and take: a test for each trap of their formats. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "jobs/provider/openai_wire.h"
#include "tests/support/must.h"

/* ---- embeddings: the request ---- */

static void
check_embed(const struct openai_embed *embed, const char *want)
{
	AUTO(buf) struct buf out = BUF_INIT(4096);

	openai_build_embed(embed, &out);
	assert_true(buf_ok(&out));
	assert_string_equal(out.data, want);
}

static void
test_embed_request(void **state)
{
	const struct str texts[] = { STR("a \"b\"\\\n\x01"), STR("bad \xff\xc3") };
	struct openai_embed embed = {
		.model = "m", .prefix = STR(""), .texts = texts, .count = 1, .base64 = true
	};

	(void)state;
	check_embed(&embed, "{\"model\":\"m\",\"input\":[\"a \\\"b\\\"\\\\\\n\\u0001\"],"
			    "\"encoding_format\":\"base64\"}");
	/* ill-formed UTF-8 would be refused by every server */
	embed.texts = texts + 1;
	embed.base64 = false;
	check_embed(&embed, "{\"model\":\"m\",\"input\":[\"bad \xef\xbf\xbd\xef\xbf\xbd\"],"
			    "\"encoding_format\":\"float\"}");
	/* a server with one model may want none; dimensions only when they are asked for */
	embed = (struct openai_embed){ .model = "",
				       .prefix = STR("passage: "),
				       .texts = (const struct str[]){ STR("x"), STR("y") },
				       .count = 2,
				       .dimensions = 512,
				       .no_encoding = true };
	check_embed(&embed, "{\"input\":[\"passage: x\",\"passage: y\"],\"dimensions\":512}");
}

/* ---- embeddings: the reply ---- */

static bool
parse_embed(const char *json, size_t count, float *out, struct remote_used *used, struct err *err)
{
	AUTO(reply) struct reply reply = { 0 };

	return reply_read(str_of(json), &reply, err) &&
	       openai_parse_embed(&reply, count, 2, out, used, err);
}

static void
check_vectors(const char *json, size_t count, const float *want, int64_t tokens)
{
	struct remote_used used = { -1, -1, -1 };
	float out[8] = { 0 };

	MUST(parse_embed(json, count, out, &used, e));
	for (size_t i = 0; i < 2 * count; i++)
		assert_true(fabsf(out[i] - want[i]) < 1e-6F);
	assert_int_equal(used.tokens_in, tokens);
}

static void
test_vectors_are_placed_by_index(void **state)
{
	static const float want[] = { 0.6F, 0.8F, 1, 0 };

	(void)state;
	check_vectors(
		"{\"data\":[{\"index\":1,\"embedding\":[1,0]},{\"index\":0,\"embedding\":[3,4]}],"
		"\"usage\":{\"prompt_tokens\":5,\"total_tokens\":6}}",
		2, want, 5);
	/* no index anywhere: as they come */
	check_vectors("{\"data\":[{\"embedding\":[3,4]},{\"embedding\":[1,0]}]}", 2, want, -1);
	/* the native route of llama.cpp: a bare array, nested once more */
	check_vectors("[{\"index\":0,\"embedding\":[[3,4]]},{\"index\":1,\"embedding\":[[1,0]]}]",
		      2, want, -1);
}

static void
test_each_vector_may_be_floats_or_base64(void **state)
{
	static const float want[] = { 1, 0, 0.6F, 0.8F };

	(void)state;
	check_vectors("{\"data\":[{\"index\":0,\"embedding\":\"AACAPwAAAAA=\"},"
		      "{\"index\":1,\"embedding\":[0.3,0.4]}]}",
		      2, want, -1);
}

static void
test_usage_may_be_missing(void **state)
{
	static const float want[] = { 1, 0 };

	(void)state;
	check_vectors("{\"data\":[{\"index\":0,\"embedding\":[1,0]}]}", 1, want, -1);
	check_vectors("{\"data\":[{\"index\":0,\"embedding\":[1,0]}],\"usage\":null}", 1, want, -1);
	check_vectors(
		"{\"data\":[{\"index\":0,\"embedding\":[1,0]}],\"usage\":{\"total_tokens\":3}}", 1,
		want, 3);
}

static void
test_vectors_that_do_not_fit_the_texts(void **state)
{
	static const char *const bodies[] = {
		"{\"data\":[{\"index\":0,\"embedding\":[1,0]}]}",
		"{\"data\":[]}",
		"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":0,\"embedding\":[1,0]}]}",
		"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":2,\"embedding\":[1,0]}]}",
		"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":-1,\"embedding\":[1,0]}]}",
		"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"embedding\":[1,0]}]}",
		("{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":[1,0,0]}]"
		 "}"),
		("{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":[1,null]}"
		 "]"
		 "}"),
		"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1}]}",
		"{\"data\":[{\"index\":0,\"embedding\":[1,0]},7]}",
		"{\"data\":{\"index\":0}}",
		"{\"error\":\"x\"}",
		"7",
		"[1,2]",
		"[]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct remote_used used = { -1, -1, -1 };
		struct err err = ERR_INIT;
		float out[8];

		if (parse_embed(bodies[i], 2, out, &used, &err))
			fail_msg("%s is taken for two vectors", bodies[i]);
		assert_int_equal(err.code, ERR_PROVIDER_REPLY);
	}
}

/* Servers that say 0 of each vector do not say whose it is: one text a call (EMBEDDING_BATCH=1) goes well, more are refused. */
static void
test_the_same_index_for_all_is_refused(void **state)
{
	static const float want[] = { 0.6F, 0.8F };
	struct remote_used used = { -1, -1, -1 };
	struct err err = ERR_INIT;
	float out[6];

	(void)state;
	check_vectors("{\"data\":[{\"index\":0,\"embedding\":[3,4]}]}", 1, want, -1);
	assert_false(parse_embed("{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":0,"
				 "\"embedding\":[0,1]},{\"index\":0,\"embedding\":[1,1]}]}",
				 3, out, &used, &err));
	assert_int_equal(err.code, ERR_PROVIDER_REPLY);
	assert_non_null(strstr(err.msg, "which vector belongs to which text"));
}

/* ---- chat: the request ---- */

static const struct prompt_turn turns[] = { { PROMPT_USER, { "q1", 2 } },
					    { PROMPT_ASSISTANT, { "a1", 2 } },
					    { PROMPT_USER, { "q2", 2 } } };
static const struct prompt prompt = { .system = { "be brief", 8 }, .turns = turns, .count = 3 };

#define MESSAGES                                                                                   \
	"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":" \
	"\"user\",\"content\":\"q1\"},{\"role\":\"assistant\",\"content\":\"a1\"},{\"role\":"      \
	"\"user\",\"content\":\"q2\"}]"

static void
check_chat(const struct openai_chat *chat, const char *want)
{
	AUTO(buf) struct buf out = BUF_INIT(4096);

	openai_build_chat(chat, &out);
	assert_string_equal(out.data, want);
}

static void
test_chat_request(void **state)
{
	struct openai_chat chat = { .model = "m", .prompt = &prompt, .temperature = STR("") };

	(void)state;
	check_chat(&chat, MESSAGES "}");
	chat.max_tokens = 800;
	chat.temperature = STR("0.2");
	check_chat(&chat, MESSAGES ",\"max_tokens\":800,\"temperature\":0.2}");
	chat.completion_tokens = true;
	chat.temperature = STR("");
	chat.stream = true;
	check_chat(&chat, MESSAGES ",\"max_completion_tokens\":800,\"stream\":true,"
				   "\"stream_options\":{\"include_usage\":true}}");
	chat.no_options = true;
	check_chat(&chat, MESSAGES ",\"max_completion_tokens\":800,\"stream\":true}");
}

/* ---- chat: the reply ---- */

static bool
parse_chat(const char *json, struct model_answer *answer, struct err *err)
{
	AUTO(reply) struct reply reply = { 0 };

	model_answer_init(answer);
	return reply_read(str_of(json), &reply, err) && openai_parse_chat(&reply, answer, err);
}

static void
test_whole_answer(void **state)
{
	struct model_answer answer;

	(void)state;
	MUST(parse_chat(
		"{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
		"\"Hi [1]\",\"reasoning_content\":\"hm\"},\"finish_reason\":\"stop\"}],\"usage\":{"
		"\"prompt_tokens\":40,\"completion_tokens\":12}}",
		&answer, e));
	assert_string_equal(answer.text.data, "Hi [1]");
	assert_true(answer.complete && !answer.truncated && !answer.withheld && !answer.refused);
	assert_int_equal(answer.tokens_in, 40);
	assert_int_equal(answer.tokens_out, 12);
	model_answer_release(&answer);

	MUST(parse_chat("{\"choices\":[{\"message\":{\"content\":\"Hi\"},\"finish_reason\":"
			"\"length\"}]}",
			&answer, e));
	assert_true(answer.truncated);
	assert_int_equal(answer.tokens_in, -1);
	model_answer_release(&answer);

	/* content may be null; an unknown finish_reason is accepted */
	MUST(parse_chat(
		"{\"choices\":[{\"message\":{\"content\":null},\"finish_reason\":\"novel\"}]}",
		&answer, e));
	assert_int_equal(answer.text.len, 0);
	assert_true(answer.complete);
	model_answer_release(&answer);

	MUST(parse_chat("{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"I cannot\"},"
			"\"finish_reason\":\"stop\"}],\"usage\":null}",
			&answer, e));
	assert_true(answer.refused);
	model_answer_release(&answer);

	MUST(parse_chat("{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":"
			"\"content_filter\"}]}",
			&answer, e));
	assert_true(answer.withheld);
	model_answer_release(&answer);
}

static void
test_answers_that_are_none(void **state)
{
	static const char *const bodies[] = { "{}",
					      "[]",
					      "7",
					      "{\"choices\":[]}",
					      "{\"choices\":7}",
					      "{\"choices\":[7]}",
					      "{\"choices\":[[1]]}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct model_answer answer;
		struct err err = ERR_INIT;

		assert_false(parse_chat(bodies[i], &answer, &err));
		assert_int_equal(err.code, ERR_PROVIDER_REPLY);
		model_answer_release(&answer);
	}
}

/* ---- chat: the stream ---- */

static bool
take_all(const char *const *events, struct model_answer *answer, struct err *err)
{
	model_answer_init(answer);
	for (; *events; events++)
		if (!openai_take_event(str_of(*events), "openai", "s3cret", answer, err))
			return false;
	return true;
}

#define DELTA(text)                                                                                \
	"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}]" \
	"}"

static void
test_a_stream_as_openai_sends_it(void **state)
{
	static const char *const events[] = {
		"{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
		"\"finish_"
		"reason\":null}]}",
		DELTA("The "),
		DELTA("holder"),
		"{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
		"{\"choices\":[],\"usage\":{\"prompt_tokens\":40,\"completion_tokens\":2}}",
		"[DONE]",
		NULL
	};
	struct model_answer answer;

	(void)state;
	MUST(take_all(events, &answer, e));
	assert_string_equal(answer.text.data, "The holder");
	assert_true(answer.complete && !answer.truncated);
	assert_int_equal(answer.tokens_in, 40);
	assert_int_equal(answer.tokens_out, 2);
	model_answer_release(&answer);
}

static void
test_reasoning_is_not_the_answer(void **state)
{
	static const char *const events[] = {
		"{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}",
		"{\"choices\":[{\"delta\":{\"reasoning\":\"hm\",\"content\":null}}]}",
		"{\"choices\":[{\"delta\":{\"content\":\"Yes\"}}]}", NULL
	};
	struct model_answer answer;

	(void)state;
	MUST(take_all(events, &answer, e));
	assert_string_equal(answer.text.data, "Yes");
	assert_false(answer.complete);
	model_answer_release(&answer);
}

static void
test_a_stream_without_done_is_complete_by_its_finish_reason(void **state)
{
	static const char *const events[] = {
		(DELTA("x")), "{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}", "",
		"  ", NULL
	};
	static const char *const only_done[] = { DELTA("x"), "[DONE]", NULL };
	static const char *const cut[] = { DELTA("x"), NULL };
	struct model_answer answer;

	(void)state;
	MUST(take_all(events, &answer, e));
	assert_true(answer.complete && answer.truncated);
	model_answer_release(&answer);
	MUST(take_all(only_done, &answer, e));
	assert_true(answer.complete);
	model_answer_release(&answer);
	MUST(take_all(cut, &answer, e));
	assert_false(answer.complete);
	model_answer_release(&answer);
}

static void
test_an_emoji_that_was_cut_in_two(void **state)
{
	static const char *const events[] = { DELTA("a\\ud83d"), DELTA("\\ude00b"),
					      DELTA("\\ud83d\\ude00"), NULL };
	struct model_answer answer;

	(void)state;
	MUST(take_all(events, &answer, e));
	assert_string_equal(answer.text.data, "a\xef\xbf\xbd\xef\xbf\xbd"
					      "b\xf0\x9f\x98\x80");
	model_answer_release(&answer);
}

static void
check_event_fails(const char *event, enum err_code code)
{
	const char *const events[] = { DELTA("x"), event, NULL };
	struct model_answer answer;
	struct err err = ERR_INIT;
	size_t at = 0;

	assert_false(take_all(events, &answer, &err));
	assert_int_equal(err.code, code);
	assert_false(str_find(str_of(err.msg), STR("s3cret"), &at));
	assert_string_equal(answer.text.data, "x");
	model_answer_release(&answer);
}

static void
test_an_error_inside_the_stream(void **state)
{
	(void)state;
	check_event_fails("{\"error\":{\"message\":\"s3cret\",\"type\":\"server_error\"}}",
			  ERR_PROVIDER_REPLY);
	check_event_fails("{\"error\":{\"message\":\"slow\",\"code\":\"rate_limit_exceeded\"}}",
			  ERR_PROVIDER_LIMITED);
	check_event_fails("{\"error\":{\"code\":503,\"message\":\"Loading model\"}}",
			  ERR_PROVIDER_UNAVAILABLE);
	check_event_fails("{\"error\":\"model runner has stopped\"}", ERR_PROVIDER_REPLY);
	check_event_fails("{\"choices\":[{\"del", ERR_PROVIDER_REPLY);
	check_event_fails("{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", ERR_PROVIDER_REPLY);
	check_event_fails("7", ERR_PROVIDER_REPLY);
}

static void
test_null_errors_and_odd_choices_are_passed_over(void **state)
{
	static const char *const events[] = {
		"{\"error\":null,\"choices\":[]}",
		"{}",
		"{\"choices\":null}",
		"{\"choices\":[{\"finish_reason\":7}]}",
		"{\"choices\":[{\"delta\":7,\"finish_reason\":\"\"}]}",
		"{\"usage\":{\"prompt_tokens\":-4}}",
		NULL
	};
	struct model_answer answer;

	(void)state;
	MUST(take_all(events, &answer, e));
	assert_int_equal(answer.text.len, 0);
	assert_false(answer.complete);
	assert_int_equal(answer.tokens_in, -1);
	model_answer_release(&answer);
}

/* A server that ignores `stream`: the whole answer is one event, complete also where it says no reason. */
static void
test_a_whole_answer_in_the_place_of_a_stream(void **state)
{
	static const char *const whole[] = {
		"{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Yes [1]\"},"
		"\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":4}}",
		NULL
	};
	static const char *const odd[] = { "{\"choices\":[{\"message\":null}]}", NULL };
	struct model_answer answer;

	(void)state;
	MUST(take_all(whole, &answer, e));
	assert_string_equal(answer.text.data, "Yes [1]");
	assert_true(answer.complete);
	assert_int_equal(answer.tokens_in, 4);
	model_answer_release(&answer);
	MUST(take_all(odd, &answer, e));
	assert_false(answer.complete);
	model_answer_release(&answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_embed_request),
		cmocka_unit_test(test_vectors_are_placed_by_index),
		cmocka_unit_test(test_each_vector_may_be_floats_or_base64),
		cmocka_unit_test(test_usage_may_be_missing),
		cmocka_unit_test(test_vectors_that_do_not_fit_the_texts),
		cmocka_unit_test(test_the_same_index_for_all_is_refused),
		cmocka_unit_test(test_chat_request),
		cmocka_unit_test(test_whole_answer),
		cmocka_unit_test(test_answers_that_are_none),
		cmocka_unit_test(test_a_stream_as_openai_sends_it),
		cmocka_unit_test(test_reasoning_is_not_the_answer),
		cmocka_unit_test(test_a_stream_without_done_is_complete_by_its_finish_reason),
		cmocka_unit_test(test_an_emoji_that_was_cut_in_two),
		cmocka_unit_test(test_an_error_inside_the_stream),
		cmocka_unit_test(test_null_errors_and_odd_choices_are_passed_over),
		cmocka_unit_test(test_a_whole_answer_in_the_place_of_a_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
