/*
 * Answers of a model, streamed: a real API, real workers, and a scripted server in the place of the model. Whatever happens to the
 * model's stream or to the worker in the middle of it, a reader who appends tokens and obeys resets has the answer of the result, and never
 * the words of two attempts in one text.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "jobs/provider/provider.h"
#include "tests/support/api.h"
#include "tests/support/fake_provider.h"
#include "tests/support/folder.h"
#include "tests/support/must.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/sse_client.h"

#define V1 "/api/v1"
#define QUERY V1 "/collections/default/query"
#define ACCEPT "Accept: text/event-stream"
#define QUESTION "{\"query\":\"Where does the heron nest?\"}"
#define HERON                                                                                      \
	"The grey heron stands still in shallow water and waits for fish. It nests in tall trees " \
	"near lakes."
#define ANSWER "It nests in tall trees near lakes [1]."
#define PATIENCE_MS 60000

/* The same story with each kind of model's server. */
static const struct dialect {
	const char *name;     /* of the fake's, and of its routes: "<name>.*" */
	const char *provider; /* label of metrics */
	const char *generator, *url, *model;
} dialects[] = {
	{ "vllm", "openai", "GENERATOR=openai", "OPENAI_BASE_URL", "GENERATION_MODEL=m" },
	{ "gemini", "gemini", "GENERATOR=gemini", "GEMINI_BASE_URL", "GENERATION_MODEL=" },
};
static const struct dialect *dialect = dialects;

static struct redis_server *redis_process;
static struct fake_provider *fake;
static struct api_server *api;
static struct process *worker;
static char folder[FOLDER_BYTES], env[5][320];
static int metrics_port;
static const char *extra[3]; /* of the next worker */

/* ---- the parts ---- */

static const char *const *
settings(void)
{
	static const char *all[15];

	(void)snprintf(env[0], sizeof(env[0]), "REDIS_URL=%s", redis_server_url(redis_process));
	(void)snprintf(env[1], sizeof(env[1]), "DATA_DIR=%s", folder);
	(void)snprintf(env[2], sizeof(env[2]), "%s=%s", dialect->url,
		       fake_provider_url(fake, dialect->name));
	(void)snprintf(env[3], sizeof(env[3]), "METRICS_LISTEN=127.0.0.1:%d", metrics_port);
	all[0] = env[0];
	all[1] = env[1];
	all[2] = env[2];
	all[3] = env[3];
	all[4] = dialect->generator;
	all[5] = dialect->model;
	all[6] = "LEASE_MS=1000";
	all[7] = "WORKERS=2";
	all[8] = "ENABLE_CACHING=false";
	all[9] = "PROVIDER_BREAKER_FAILURES=1000";
	all[10] = "GOOGLE_API_KEY=key"; /* of another provider it is not used */
	all[11] = "EMBEDDER=local";
	all[12] = extra[0];
	all[13] = extra[1];
	return all;
}

static void
start_worker(void)
{
	metrics_port = free_port();
	worker = process_start((const char *const[]){ "rag-worker", NULL }, settings());
}

static int
start_all(void **state)
{
	struct answer answer = { 0 };

	(void)state;
	MUST(http_client_global_init(e));
	folder_make(folder);
	redis_process = redis_server_start(NULL);
	fake = fake_provider_start();
	api = api_server_start(redis_server_url(redis_process),
			       (const char *const[]){ "EMBEDDER=local", NULL });
	start_worker();
	ask(api, &answer, "POST", V1 "/collections/default/documents",
	    "{\"id\":\"heron\",\"text\":\"" HERON "\"}", "Prefer: wait=30");
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	return 0;
}

static int
stop_all(void **state)
{
	int code;

	(void)state;
	process_signal(worker, SIGTERM);
	code = process_wait(worker);
	process_stop(worker);
	code |= api_server_stop(api);
	fake_provider_stop(fake);
	redis_server_stop(redis_process);
	folder_remove(folder);
	http_client_global_release();
	return code;
}

static int
anew(void **state)
{
	(void)state;
	fake_provider_reset(fake);
	return 0;
}

/* ---- helpers ---- */

/* What the model answers, and how long each word takes. */
static void
model_says(const char *text, int piece_ms)
{
	char members[2048];

	(void)snprintf(members, sizeof(members), "\"%s\":{\"answer\":\"%s\",\"piece_ms\":%d}",
		       dialect->name, text, piece_ms);
	fake_provider_config(fake, members);
}

/* Every stream of it breaks off so, or the next one (times 1). */
static void
model_breaks(const char *fault, int times)
{
	char row[160];

	(void)snprintf(row, sizeof(row),
		       "\"route\":\"%s.*\",\"fault\":\"%s\",\"pieces\":3,\"times\":%d",
		       dialect->name, fault, times);
	fake_provider_fail(fake, row);
}

static int64_t
calls_of_model(void)
{
	char pattern[32];

	(void)snprintf(pattern, sizeof(pattern), "%s.*", dialect->name);
	return fake_provider_count(fake, pattern, "requests");
}

static void
follow(struct sse_client *client)
{
	sse_client_init(client);
	assert_int_equal(sse_client_open(client, api->port, "POST", QUERY, ACCEPT, QUESTION), 200);
}

static const struct js *
result_of(const struct sse_client *client)
{
	assert_true(client->done);
	return js_get(client->result, "result");
}

static struct str
answer_of(const struct sse_client *client)
{
	struct str answer = STR("");

	assert_true(js_get_str(result_of(client), "answer", &answer));
	return answer;
}

/* The reader's text is the answer, and that is this one. */
static void
expect_answer(const struct sse_client *client, const char *expected)
{
	assert_string_equal(client->status, "succeeded");
	assert_string_equal(client->text.data, expected);
	assert_true(str_eq_c(answer_of(client), expected));
}

static size_t
warnings_of(const struct sse_client *client)
{
	return js_len(js_get(result_of(client), "warnings"));
}

/* ---- streams ---- */

static void
tokens_come_as_the_model_says_them(void **state)
{
	struct sse_client client;
	struct answer metrics = { 0 };
	const struct js *usage;
	int64_t tokens = 0;
	const char *line;
	char series[128];

	(void)state;
	model_says(ANSWER, 60);
	follow(&client);
	/* the first words are there while the model is still speaking */
	(void)sse_client_until(&client, "token");
	assert_true(client.text.len < sizeof(ANSWER) - 1);
	sse_client_drain(&client);
	expect_answer(&client, ANSWER);
	assert_int_equal(client.resets, 0);
	assert_int_equal(warnings_of(&client), 0);
	assert_true(js_bool(js_get(result_of(&client), "grounded")));
	assert_true(js_number(js_get(js_get(result_of(&client), "timings_ms"), "first_token")) > 0);
	usage = js_get(result_of(&client), "usage");
	assert_true(js_get_int(usage, "prompt_tokens", &tokens) && tokens > 20);
	assert_true(js_get_int(usage, "completion_tokens", &tokens) && tokens > 0);
	ask_with(metrics_port, "GET", "/metrics", NULL, STR(""), &metrics);
	(void)snprintf(series, sizeof(series),
		       "rag_engine_time_to_first_token_seconds_count{provider=\"%s\"} ",
		       dialect->provider);
	line = strstr(metrics.reply.body.data, series);
	assert_non_null(line);
	assert_true(line[strlen(series)] >= '1');
	answer_release(&metrics);
	sse_client_release(&client);
}

/* A model that breaks off in the middle is asked again, and readers are told that what they have is void. */
static void
broken_streams_begin_anew(void **state)
{
	static const char *const faults[] = { "stream_cut", "stream_reset", "stream_error",
					      "stream_end" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct sse_client client;

		print_message("%s\n", faults[i]);
		fake_provider_reset(fake);
		model_says(ANSWER, 30);
		model_breaks(faults[i], 1);
		follow(&client);
		sse_client_drain(&client);
		expect_answer(&client, ANSWER);
		assert_int_equal(client.resets, 1);
		assert_string_equal(client.reset_reason, "restarted");
		assert_int_equal(warnings_of(&client), 0);
		assert_int_equal(calls_of_model(), 2);
		sse_client_release(&client);
	}
}

/* One that never comes to an end: in the end the sources' own words, from their beginning. */
static void
a_stream_that_always_breaks(void **state)
{
	struct sse_client client;
	const struct js *warnings;

	(void)state;
	model_says("Penguins live on ice and eat fish [1].", 10);
	model_breaks("stream_cut", 0);
	follow(&client);
	sse_client_drain(&client);
	assert_string_equal(client.status, "succeeded");
	assert_true(str_eq_c(answer_of(&client), client.text.data));
	assert_null(strstr(client.text.data, "Penguins"));
	assert_non_null(strstr(client.text.data, "tall trees"));
	warnings = js_get(result_of(&client), "warnings");
	assert_int_equal(js_len(warnings), 1);
	assert_true(str_eq_c(js_str(js_get(js_at(warnings, 0), "code")), "GENERATOR_FAILED"));
	assert_true(client.resets >= 1);
	sse_client_release(&client);
}

/* kill -9 of the worker in the middle: the next one begins anew, with other words, and nothing of the first ones is left. */
static void
a_worker_killed_in_the_middle(void **state)
{
	struct sse_client client;

	(void)state;
	model_says("Long ago, before there were lakes, the old heron of this story built its first "
		   "nest "
		   "on the ground, and it took a very long time to tell all of it [1].",
		   200);
	follow(&client);
	for (int i = 0; i < 3; i++)
		(void)sse_client_until(&client, "token");
	assert_true(client.text.len > 0 && strncmp(client.text.data, "Long ago", 8) == 0);
	process_signal(worker, SIGKILL);
	(void)process_wait(worker);
	process_stop(worker);
	model_says(ANSWER, 20);
	start_worker();
	(void)sse_client_until(&client, "reset");
	assert_string_equal(client.reset_reason, "restarted");
	assert_null(strstr(client.text.data, "Long"));
	while (!client.done && sse_client_next(&client))
		assert_int_equal(strncmp(client.text.data, ANSWER, client.text.len), 0);
	expect_answer(&client, ANSWER);
	sse_client_release(&client);
}

/* A cancel ends the call in flight, not only the job. */
static void
a_cancel_in_the_middle(void **state)
{
	struct sse_client client;
	char path[160];

	(void)state;
	model_says("Long ago, before there were lakes, the old heron of this story built its first "
		   "nest "
		   "on the ground, and it took a very long time to tell all of it [1].",
		   1000);
	follow(&client);
	(void)sse_client_until(&client, "token");
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s:cancel", client.job_id);
	ask_status(api, 202, "POST", path, NULL);
	sse_client_drain(&client);
	assert_true(client.done);
	assert_string_equal(client.status, "cancelled");
	assert_true(client.text.len < 60);
	sse_client_release(&client);
}

static size_t
sources_of(const struct sse_seen *event)
{
	AUTO_PTR(js_free) struct js *root = NULL;

	MUST(js_parse(str_of(event->data), &root, e));
	return js_len(js_get(root, "sources"));
}

/*
 * A model that falls silent for longer than the job may take: the sources' own words come before the job's deadline, and readers know all the
 * sources that they may cite, also those that had no room in the model's prompt.
 */
static void
a_stream_that_stalls(void **state)
{
	struct sse_client client;
	const struct sse_seen *event;
	size_t first = 0, last = 0;

	(void)state;
	ask_status(api, 202, "POST", V1 "/collections/default/documents",
		   "{\"id\":\"heron2\",\"text\":\"" HERON " " HERON " " HERON "\"}");
	process_signal(worker, SIGTERM);
	(void)process_wait(worker);
	process_stop(worker);
	extra[0] = "QUERY_TIMEOUT_MS=6000"; /* one call to a provider may last ten times as long */
	extra[1] = "GENERATION_SOURCE_TOKENS=100";
	start_worker();
	ask_until(api->port, 200, "GET", V1 "/collections/default/documents/heron2", NULL);
	model_says("Penguins live on ice and eat fish [1].", 10);
	model_breaks("stream_stall", 0);
	follow(&client);
	while (!client.done && (event = sse_client_next(&client))) {
		if (strcmp(event->name, "sources") != 0)
			continue;
		last = sources_of(event);
		first = first > 0 ? first : last;
	}
	extra[0] = extra[1] = NULL;
	assert_string_equal(client.status, "succeeded");
	assert_true(str_eq_c(answer_of(&client), client.text.data));
	assert_null(strstr(client.text.data, "Penguins"));
	assert_non_null(strstr(client.text.data, "tall trees"));
	assert_int_equal(first, 1);
	assert_int_equal(last, 2);
	assert_true(js_number(js_get(js_get(result_of(&client), "timings_ms"), "total")) < 5600);
	sse_client_release(&client);
}

static bool
is_part_of_this_build(void)
{
	for (const struct generator_ops *const *row = generator_registry; *row; row++)
		if (strcmp((*row)->name, dialect->provider) == 0)
			return true;
	return false;
}

#define STREAM_TEST(fn) cmocka_unit_test_setup(fn, anew)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_TEST(tokens_come_as_the_model_says_them),
		STREAM_TEST(broken_streams_begin_anew),
		STREAM_TEST(a_stream_that_always_breaks),
		STREAM_TEST(a_worker_killed_in_the_middle),
		STREAM_TEST(a_cancel_in_the_middle),
		STREAM_TEST(
			a_stream_that_stalls), /* the last one: it changes the worker's settings */
	};

	int failed = 0;

	for (dialect = dialects; dialect < dialects + ARRAY_SIZE(dialects); dialect++)
		if (is_part_of_this_build())
			failed += cmocka_run_group_tests_name(dialect->name, tests, start_all,
							      stop_all);
	return failed;
}
