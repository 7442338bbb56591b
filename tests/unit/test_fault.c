/* What answers of providers mean: each row of the table of retries, each form of an error body, each hint when to come again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "jobs/provider/fault.h"
#include "jobs/provider/provider.h"

static struct fault
judge_with(int status, const char *headers, const char *body, const char *key)
{
	struct http_reply reply;
	struct fault fault;

	http_reply_init(&reply, 1024);
	reply.status = status;
	buf_add_str(&reply.headers, headers);
	fault_of_reply(&reply, str_of(body), key, &fault);
	http_reply_release(&reply);
	return fault;
}

static struct fault
judge(int status, const char *body)
{
	return judge_with(status, "", body, "");
}

struct row {
	int status;
	const char *body;
	enum fault_class class;
	enum err_code code;
	int detail;
};

static void
check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct fault fault = judge(rows[i].status, rows[i].body);
		struct err err = ERR_INIT;

		fault_to_err(&fault, "p", &err);
		if (fault.class != rows[i].class || err.code != rows[i].code ||
		    (rows[i].detail && err.detail != rows[i].detail))
			fail_msg("row %zu (%d %s): class %d, %s %d", i, rows[i].status,
				 rows[i].body, (int)fault.class, err_info(err.code)->wire,
				 err.detail);
	}
}

#define CHECK(...)                                                                                 \
	do {                                                                                       \
		static const struct row rows_[] = { __VA_ARGS__ };                                 \
		check_rows(rows_, ARRAY_SIZE(rows_));                                              \
	} while (0)

static void
test_success_is_no_fault(void **state)
{
	(void)state;
	assert_int_equal(judge(200, "{\"error\":\"x\"}").class, FAULT_NONE);
	assert_int_equal(judge(204, "").class, FAULT_NONE);
}

static void
test_statuses_that_may_work_later(void **state)
{
	(void)state;
	CHECK({ 408, "", FAULT_FAILED, ERR_PROVIDER_REPLY, 408 },
	      { 425, "", FAULT_FAILED, ERR_PROVIDER_REPLY, 425 },
	      { 424, "{\"error\":\"inference failed\",\"error_type\":\"Backend\"}", FAULT_FAILED,
		ERR_PROVIDER_REPLY, 424 },
	      { 499, "", FAULT_FAILED, ERR_PROVIDER_REPLY, 499 },
	      { 500, "{\"error\":{\"code\":500,\"status\":\"INTERNAL\"}}", FAULT_FAILED,
		ERR_PROVIDER_REPLY, 500 },
	      { 520, "", FAULT_FAILED, ERR_PROVIDER_REPLY, 520 },
	      { 429, "", FAULT_LIMITED, ERR_PROVIDER_LIMITED, 429 },
	      { 429, "{\"error\":\"Model is overloaded\",\"error_type\":\"Overloaded\"}",
		FAULT_LIMITED, ERR_PROVIDER_LIMITED, 429 },
	      { 429,
		"{\"error\":{\"message\":\"Rate limit "
		"reached\",\"type\":\"requests\",\"param\":null,"
		"\"code\":\"rate_limit_exceeded\"}}",
		FAULT_LIMITED, ERR_PROVIDER_LIMITED, 429 },
	      { 502, "<html>bad gateway</html>", FAULT_OUTAGE, ERR_PROVIDER_UNAVAILABLE, 502 },
	      { 503,
		"{\"error\":{\"code\":503,\"message\":\"Loading "
		"model\",\"type\":\"unavailable_error\"}}",
		FAULT_OUTAGE, ERR_PROVIDER_UNAVAILABLE, 503 },
	      { 504, "", FAULT_OUTAGE, ERR_PROVIDER_UNAVAILABLE, 504 },
	      { 529, "", FAULT_OUTAGE, ERR_PROVIDER_UNAVAILABLE, 529 });
}

static void
test_batches_that_are_too_large(void **state)
{
	(void)state;
	CHECK({ 413, "Payload too large", FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH },
	      { 413, "<html>413</html>", FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH },
	      { 413, "", FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH },
	      { 400,
		"{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"message\":\"* "
		"BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\"}}",
		FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH },
	      { 422,
		"{\"error\":\"batch size 64 > maximum allowed batch size "
		"32\",\"error_type\":\"Validation\"}",
		FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH },
	      { 400,
		"{\"error\":{\"message\":\"Requested 512000 tokens, max 300000 tokens per "
		"request\",\"code\":\"max_tokens_per_request\"}}",
		FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH },
	      { 400, "{\"message\":\"invalid request: total number of texts must be at most 96\"}",
		FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH },
	      { 500,
		"{\"error\":\"InternalError\",\"message\":\"Query error: too many SQL "
		"variables\"}",
		FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH });
	assert_int_equal(judge(400, "{\"error\":{\"message\":\"at most 100 requests can be in "
				    "one batch\"}}")
				 .batch_limit,
			 100);
	assert_int_equal(judge(422, "{\"error\":\"batch size 64 > maximum allowed batch size 32\"}")
				 .batch_limit,
			 32);
	assert_int_equal(judge(400, "{\"message\":\"batch size is invalid, it should not be larger "
				    "than 10.\"}")
				 .batch_limit,
			 10);
	assert_int_equal(judge(413, "").batch_limit, 0);
}

static void
test_a_text_that_is_too_long(void **state)
{
	(void)state;
	CHECK({ 400,
		"{\"error\":{\"message\":\"This model's maximum context length is 8192 "
		"tokens\",\"code\":\"context_length_exceeded\"}}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 413,
		"{\"message\":\"Input validation error: `inputs` must have less than 512 tokens. "
		"Given: 700\",\"code\":413,\"type\":\"Validation\"}",
		FAULT_BATCH, ERR_TOO_LARGE, TOO_LARGE_BATCH },
	      { 422,
		"{\"error\":\"Input validation error: inputs must have less than 512 tokens. "
		"Given: 700\",\"error_type\":\"Validation\"}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 500,
		"{\"error\":{\"code\":500,\"message\":\"input is too large to process. increase "
		"the physical batch size\",\"type\":\"server_error\"}}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 400,
		"{\"error\":{\"code\":400,\"message\":\"input (600 tokens) is too large to "
		"process. increase "
		"the physical batch size (current batch size: "
		"512)\",\"type\":\"invalid_request_error\"}}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 500,
		"{\"error\":{\"code\":500,\"message\":\"input (600 tokens) is too large to "
		"process. increase "
		"the physical batch size (current batch size: 512)\",\"type\":\"server_error\"}}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 400,
		"{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context "
		"size\",\"type\":\"exceed_context_size_error\"}}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 400, "{\"error\":\"the input length exceeds the context length\"}", FAULT_TEXT,
		ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 400,
		"{\"error\":{\"message\":\"The input token count (9001) exceeds the maximum number "
		"of tokens allowed (2048).\"}}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      /* vLLM names max_tokens here: the text is what is too long */
	      { 400,
		"{\"object\":\"error\",\"message\":\"'max_tokens' is too large: 1024. This model's "
		"maximum context length is 2048 "
		"tokens\",\"type\":\"BadRequestError\",\"code\":400}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT });
}

static void
check_field(const char *body, const char *field)
{
	struct fault fault = judge(400, body);
	struct err err = ERR_INIT;

	assert_int_equal(fault.class, FAULT_FIELD);
	assert_string_equal(fault.field, field);
	fault_to_err(&fault, "p", &err);
	assert_int_equal(err.code, ERR_PROVIDER_REJECTED);
}

static void
test_fields_that_are_refused(void **state)
{
	(void)state;
	check_field(
		"{\"error\":{\"message\":\"Unsupported parameter: 'max_tokens' is not supported "
		"with this model. Use 'max_completion_tokens' "
		"instead.\",\"param\":\"max_tokens\"}}",
		"max_tokens");
	check_field("{\"error\":{\"message\":\"Use 'max_completion_tokens', not "
		    "'max_tokens'\",\"param\":null}}",
		    "max_completion_tokens");
	check_field("{\"error\":{\"message\":\"Unsupported value: 'temperature' does not support 0 "
		    "with this model.\",\"param\":\"temperature\"}}",
		    "temperature");
	check_field(
		"{\"detail\":[{\"loc\":[\"body\",\"stream_options\"],\"msg\":\"extra fields not "
		"permitted\",\"type\":\"value_error.extra\"}]}",
		"stream_options");
	check_field("{\"error\":{\"message\":\"This model does not support specifying "
		    "dimensions.\"}}",
		    "dimensions");
	check_field("{\"error\":{\"code\":400,\"message\":\"Thinking_config: thinkingBudget is not "
		    "supported by this model\"}}",
		    "thinkingBudget");
	check_field("{\"error\":{\"code\":400,\"message\":\"Invalid JSON payload received. Unknown "
		    "name \\\"taskType\\\": Cannot find field.\"}}",
		    "taskType");
	/* only whole words */
	assert_int_equal(judge(400, "{\"error\":\"my_temperatures are high\"}").class,
			 FAULT_REJECTED);
}

static void
test_final_refusals(void **state)
{
	(void)state;
	CHECK({ 400, "{\"error\":{\"message\":\"bad\"}}", FAULT_REJECTED, ERR_PROVIDER_REJECTED,
		400 },
	      { 422, "{\"detail\":\"no\"}", FAULT_REJECTED, ERR_PROVIDER_REJECTED, 422 },
	      { 401, "{\"error\":{\"code\":\"invalid_api_key\"}}", FAULT_REJECTED,
		ERR_PROVIDER_REJECTED, 401 },
	      { 403, "", FAULT_REJECTED, ERR_PROVIDER_REJECTED, 403 },
	      { 404, "{\"error\":\"model \\\"x\\\" not found, try pulling it first\"}",
		FAULT_REJECTED, ERR_PROVIDER_REJECTED, 404 },
	      { 410, "", FAULT_REJECTED, ERR_PROVIDER_REJECTED, 410 },
	      { 498, "{\"message\":\"blocked\"}", FAULT_REJECTED, ERR_PROVIDER_REJECTED, 498 },
	      { 301, "", FAULT_REJECTED, ERR_PROVIDER_REJECTED, 301 },
	      { 501, "", FAULT_REJECTED, ERR_PROVIDER_REJECTED, 501 },
	      { 500, "{\"error\":\"x\",\"message\":\"Internal error: Error finding id\"}",
		FAULT_REJECTED, ERR_PROVIDER_REJECTED, 500 },
	      { 402, "{\"message\":\"billing\"}", FAULT_QUOTA, ERR_PROVIDER_QUOTA, 402 });
	assert_true(judge(401, "").is_access && judge(402, "").is_access &&
		    judge(403, "").is_access && judge(404, "").is_access);
	assert_false(judge(400, "{}").is_access || judge(500, "").is_access);
	assert_true(judge(400, "{\"error\":{\"message\":\"API key not valid\",\"details\":[{"
			       "\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":"
			       "\"API_KEY_INVALID\"}]}}")
			    .is_access);
}

static void
test_quotas_that_a_minute_does_not_mend(void **state)
{
	(void)state;
	CHECK({ 429, "{\"error\":{\"message\":\"no money\",\"code\":\"insufficient_quota\"}}",
		FAULT_QUOTA, ERR_PROVIDER_QUOTA, 429 },
	      { 429, "{\"error\":{\"message\":\"no money\",\"type\":\"insufficient_quota\"}}",
		FAULT_QUOTA, ERR_PROVIDER_QUOTA, 429 },
	      { 429,
		"{\"message\":\"You are using a Trial key, which is limited to 1000 API calls / "
		"month\"}",
		FAULT_QUOTA, ERR_PROVIDER_QUOTA, 429 },
	      { 429, "{\"message\":\"You are using a Trial key, limited to 10 calls / minute\"}",
		FAULT_LIMITED, ERR_PROVIDER_LIMITED, 429 },
	      { 429,
		"{\"error\":{\"details\":[{\"@type\":\"type.googleapis.com/"
		"google.rpc.QuotaFailure\",\"violations\":[{\"quotaId\":"
		"\"EmbedContentRequestsPerDayPerProjectPerModel-FreeTier\"}]},{\"@type\":\"type."
		"googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"26s\"}]}}",
		FAULT_QUOTA, ERR_PROVIDER_QUOTA, 429 },
	      { 429,
		"{\"error\":{\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
		"\"retryDelay\":\"7200s\"}]}}",
		FAULT_QUOTA, ERR_PROVIDER_QUOTA, 429 });
}

/* No RetryInfo: the message alone says hours. What RetryInfo says comes first. */
static void
test_a_long_wait_said_in_words_alone_is_a_quota(void **state)
{
	(void)state;
	CHECK({ 429, "{\"error\":{\"message\":\"Quota exceeded. Please retry in 3h12m5.2s.\"}}",
		FAULT_QUOTA, ERR_PROVIDER_QUOTA, 429 },
	      { 429, "{\"error\":{\"message\":\"Please retry in 121s.\"}}", FAULT_QUOTA,
		ERR_PROVIDER_QUOTA, 429 },
	      { 429, "{\"error\":{\"message\":\"Please retry in 119.5s.\"}}", FAULT_LIMITED,
		ERR_PROVIDER_LIMITED, 429 },
	      { 429,
		"{\"error\":{\"message\":\"Please retry in 3h.\",\"details\":[{\"@type\":"
		"\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"26s\"}]}}",
		FAULT_LIMITED, ERR_PROVIDER_LIMITED, 429 },
	      /* other servers: minutes are waited */
	      { 429, "{\"error\":{\"message\":\"Please try again in 6m0s.\"}}", FAULT_LIMITED,
		ERR_PROVIDER_LIMITED, 429 });
}

/* Asked not to cut, Cohere refuses; a field that is named beside it is not what is wrong. */
static void
test_cohere_refuses_what_it_may_not_cut(void **state)
{
	(void)state;
	CHECK({ 400,
		"{\"message\":\"invalid request: too many tokens: total number of tokens in the "
		"text cannot exceed 512\"}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 400,
		"{\"message\":\"text is too long: shorten it, or set truncate to START or END\"}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT },
	      { 422,
		"{\"message\":\"texts[3] exceeds the maximum input token length of the model\"}",
		FAULT_TEXT, ERR_TOO_LARGE, TOO_LARGE_TEXT });
}

#define GEMINI_MINUTE                                                                              \
	"{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"Please retry "   \
	"in "                                                                                      \
	"26.42s.\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\","       \
	"\"violations\":[{\"quotaId\":\"RequestsPerMinutePerProject\"}]},{\"@type\":\"type."       \
	"googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"0.847655010s\"}]}}"

static void
test_when_to_come_again(void **state)
{
	(void)state;
	clock_set_for_test(-1, INT64_C(1790000000000));
	assert_int_equal(judge(429, "").retry_after_ms, -1);
	assert_int_equal(judge_with(429, "retry-after: 7\n", "", "").retry_after_ms, 7000);
	assert_int_equal(judge_with(503, "retry-after: 7\n", "", "").retry_after_ms, 7000);
	assert_int_equal(judge_with(429, "retry-after: 7\nretry-after-ms: 250\n", "", "")
				 .retry_after_ms,
			 250);
	assert_int_equal(judge_with(429, "retry-after: Mon, 21 Sep 2026 14:13:25 GMT\n", "", "")
				 .retry_after_ms,
			 5000);
	assert_int_equal(judge(429, GEMINI_MINUTE).retry_after_ms, 848);
	assert_int_equal(judge(429, "[" GEMINI_MINUTE "]").retry_after_ms, 848);
	assert_int_equal(judge_with(429, "retry-after: 7\n", GEMINI_MINUTE, "").retry_after_ms,
			 7000);
	assert_int_equal(judge(429, "{\"error\":{\"message\":\"Quota. Please retry in 26.42s.\"}}")
				 .retry_after_ms,
			 26420);
	assert_int_equal(judge(429, "{\"error\":{\"message\":\"Please retry in 130ms\"}}")
				 .retry_after_ms,
			 130);
	assert_int_equal(
		judge_with(429,
			   "x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: "
			   "1m30s\nx-ratelimit-remaining-tokens: "
			   "5\nx-ratelimit-reset-tokens: 1h\n",
			   "", "")
			.retry_after_ms,
		90000);
	assert_int_equal(
		judge_with(429, "x-ratelimit-remaining-tokens: 0\n", "", "").retry_after_ms, -1);
	/* of a refusal for good nothing is to be awaited */
	assert_int_equal(judge_with(400, "retry-after: 7\n", "", "").retry_after_ms, -1);
	clock_set_for_test(-1, -1);
}

static void
test_go_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = { { "1s", 1000 },
		     { "12ms", 12 },
		     { "6m0s", 360000 },
		     { "1h2m3.5s", 3723500 },
		     { "26s", 26000 },
		     { "0s", 0 },
		     { "0.847655010s", 848 },
		     { "1d", 86400000 },
		     { "900000h", 8640000000 },
		     { "3us", 1 },
		     { "1.5h", 5400000 } };
	static const char *const bad[] = { "", "s", "12", "1x", "1s ", "-1s", "1..5s", "1e3s" };
	int64_t ms = -7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(fault_parse_duration(str_of(rows[i].text), &ms));
		assert_int_equal(ms, rows[i].ms);
	}
	ms = -7;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(fault_parse_duration(str_of(bad[i]), &ms));
	assert_int_equal(ms, -7);
}

static void
test_every_form_of_error_body(void **state)
{
	static const char *const bodies[] = {
		"{\"error\":{\"message\":\"the words\"}}",
		"{\"error\":\"the words\"}",
		"[{\"error\":{\"message\":\"the words\"}}]",
		"{\"message\":\"the words\",\"code\":400,\"type\":\"x\"}",
		"{\"detail\":\"the words\"}",
		"{\"detail\":[{\"loc\":[\"body\",\"x\"],\"msg\":\"the words\",\"type\":\"t\"}]}",
		"{\"object\":\"error\",\"message\":\"the words\",\"type\":\"t\",\"code\":400}",
		"{\"message\":\"the words\",\"id\":\"1\"}",
		"\"the words\"",
		"  {\"error\":\"the words\"}\n",
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct fault fault = judge(400, bodies[i]);

		assert_string_equal(fault.message, "the words");
		assert_string_equal(fault.excerpt, "");
		fault_to_err(&fault, "gemini", &err);
		assert_string_equal(err.msg,
				    "provider 'gemini' rejected the request (HTTP 400): the words");
	}
}

static void
test_what_is_no_error_object_is_for_operators(void **state)
{
	static const char *const bodies[] = {
		"<html><body>oops</body></html>", "oops",	  "{\"a\":1}", "[]",
		"{\"error\":{\"message\":7}}",	  "\xff\xfe oops"
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct fault fault = judge(502, bodies[i]);

		assert_string_equal(fault.message, "");
		assert_true(fault.excerpt[0] != '\0');
		fault_to_err(&fault, "p", &err);
		assert_string_equal(err.msg, "provider 'p' is not available (HTTP 502)");
		assert_string_equal(err.cause, fault.excerpt);
	}
	assert_string_equal(judge(502, "").excerpt, "");
}

static void
test_keys_are_masked(void **state)
{
	static const struct {
		const char *text, *key, *out;
	} rows[] = {
		{ "bad key s3cret here", "s3cret", "bad key *** here" },
		{ "GET /x?key=abc-123&alt=sse", "", "GET /x?key=***&alt=sse" },
		{ "Authorization: Bearer abc.def", "", "Authorization: Bearer ***" },
		{ "Incorrect API key provided: sk-ab12cd34.", "",
		  "Incorrect API key provided: ***" },
		{ "key AIzaSyA-1234567890 is bad", "", "key *** is bad" },
		{ "a sk-y AIza", "", "a sk-y AIza" },
		{ "the is a word", "the", "the is a word" },
		{ " two\r\n\tlines\x01 ", "", "two lines" },
		{ "bad \xff byte", "", "bad \xef\xbf\xbd byte" },
	};
	char out[FAULT_MESSAGE_BYTES], small[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fault_redact(str_of(rows[i].text), rows[i].key, out, sizeof(out));
		assert_string_equal(out, rows[i].out);
	}
	fault_redact(STR("a long line \xc3\xa4"), "", small, sizeof(small));
	assert_string_equal(small, "a long ");
	/* a key at the very border of what is shown is never shown in part */
	for (size_t pad = 0; pad < 1100; pad++) {
		char text[1200];
		size_t at = 0;

		memset(text, '-', pad);
		(void)str_copy(text + pad, sizeof(text) - pad, STR("verysecretkey"));
		fault_redact(str_of(text), "verysecretkey", out, sizeof(out));
		assert_false(str_find(str_of(out), STR("very"), &at));
	}
	assert_string_equal(judge_with(401, "", "{\"error\":{\"message\":\"no k-123456789\"}}",
				       "k-123456789")
				    .message,
			    "no ***");
}

static void
check_event(const char *json, enum err_code code, int status)
{
	struct fault fault;
	struct err err = ERR_INIT;

	fault_of_event(str_of(json), "", &fault);
	fault_to_err(&fault, "p", &err);
	assert_int_equal(err.code, code);
	assert_int_equal(fault.status, status);
}

static void
test_errors_inside_a_stream(void **state)
{
	(void)state;
	check_event("{\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":"
		    "\"UNAVAILABLE\"}}",
		    ERR_PROVIDER_UNAVAILABLE, 503);
	check_event("{\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}", ERR_PROVIDER_REPLY,
		    500);
	check_event("{\"error\":{\"message\":\"x\",\"code\":\"rate_limit_exceeded\"}}",
		    ERR_PROVIDER_LIMITED, 429);
	check_event("{\"error\":{\"message\":\"x\",\"code\":\"insufficient_quota\"}}",
		    ERR_PROVIDER_QUOTA, 429);
	check_event("{\"error\":{\"message\":\"x\",\"type\":\"invalid_request_error\"}}",
		    ERR_PROVIDER_REJECTED, 400);
	check_event("{\"error\":{\"status\":\"RESOURCE_EXHAUSTED\"}}", ERR_PROVIDER_LIMITED, 429);
	check_event("{\"error\":\"out of memory\"}", ERR_PROVIDER_REPLY, 500);
	check_event("garbage", ERR_PROVIDER_REPLY, 500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_success_is_no_fault),
		cmocka_unit_test(test_statuses_that_may_work_later),
		cmocka_unit_test(test_batches_that_are_too_large),
		cmocka_unit_test(test_a_text_that_is_too_long),
		cmocka_unit_test(test_fields_that_are_refused),
		cmocka_unit_test(test_final_refusals),
		cmocka_unit_test(test_quotas_that_a_minute_does_not_mend),
		cmocka_unit_test(test_a_long_wait_said_in_words_alone_is_a_quota),
		cmocka_unit_test(test_cohere_refuses_what_it_may_not_cut),
		cmocka_unit_test(test_when_to_come_again),
		cmocka_unit_test(test_go_durations),
		cmocka_unit_test(test_every_form_of_error_body),
		cmocka_unit_test(test_what_is_no_error_object_is_for_operators),
		cmocka_unit_test(test_keys_are_masked),
		cmocka_unit_test(test_errors_inside_a_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
