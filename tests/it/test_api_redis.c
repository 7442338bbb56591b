/* rag-api when Redis goes away, or was never there, and when it is killed itself. Each test starts its own. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/api.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define V1 "/api/v1"
#define QUERY V1 "/collections/default/query"
#define DOCS V1 "/collections/default/documents"

static int
start_curl(void **state)
{
	(void)state;
	MUST(http_client_global_init(e));
	return 0;
}

/* ---- Redis away ---- */

static void
check_unavailable(struct api_server *api, const char *method, const char *path, const char *body)
{
	struct answer answer = { 0 };

	ask(api, &answer, method, path, body);
	if (answer.status != 503)
		fail_msg("%s %s: %d", method, path, answer.status);
	assert_true(answer_is(&answer, "code", "REDIS_UNAVAILABLE"));
	assert_true(js_bool(answer_get(&answer, "retryable")));
	assert_true(answer_header(&answer, "retry-after").len > 0);
	answer_release(&answer);
}

static void
check_all_unavailable(struct api_server *api)
{
	static const char job[] = V1 "/jobs/query-0-01m83vp7a775yt6bfzws23a96x";

	check_unavailable(api, "GET", V1 "/collections", NULL);
	check_unavailable(api, "POST", V1 "/collections", "{\"name\":\"x\"}");
	check_unavailable(api, "GET", V1 "/collections/default", NULL);
	check_unavailable(api, "DELETE", V1 "/collections/default", NULL);
	check_unavailable(api, "GET", DOCS, NULL);
	check_unavailable(api, "POST", DOCS, "{\"text\":\"x\"}");
	check_unavailable(api, "GET", DOCS "/x", NULL);
	check_unavailable(api, "DELETE", DOCS "/x", NULL);
	check_unavailable(api, "POST", QUERY, "{\"query\":\"x\"}");
	check_unavailable(api, "GET", V1 "/jobs", NULL);
	check_unavailable(api, "GET", job, NULL);
	check_unavailable(api, "DELETE", job, NULL);
	check_unavailable(api, "GET", V1 "/queues", NULL);
	check_unavailable(api, "POST", V1 "/queues/query:pause", NULL);
	check_unavailable(api, "GET", V1 "/queues/query/dead", NULL);
	ask_status(api, 422, "POST", QUERY, "{}"); /* what is wrong anyway needs no Redis */
	ask_status(api, 404, "GET", V1 "/nothing", NULL);
}

static void
test_redis_dies_and_returns(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api = api_server_start(redis_server_url(server), NULL);
	struct answer answer = { 0 };
	char path[256];

	ask(api, &answer, "POST", QUERY, "{\"query\":\"kept\"}");
	assert_int_equal(answer.status, 202);
	(void)snprintf(path, sizeof(path), STR_FMT, STR_ARG(answer_header(&answer, "location")));
	answer_release(&answer);
	ask_until(api->metrics_port, 200, "GET", "/health/ready", NULL);

	redis_server_kill(server);
	check_all_unavailable(api);
	ask_until(api->metrics_port, 503, "GET", "/health/ready", NULL);
	ask_until(api->metrics_port, 200, "GET", "/health/live", NULL);

	redis_server_restart(server);
	ask_until(api->metrics_port, 200, "GET", "/health/ready", NULL);
	/* no connection of before may be used again: all of these work at the first try */
	for (int i = 0; i < 20; i++)
		ask_status(api, 200, "GET", V1 "/queues", NULL);
	ask(api, &answer, "GET", path, NULL); /* what was answered 202 is there */
	assert_int_equal(answer.status, 200);
	assert_true(answer_is(&answer, "status", "queued"));
	answer_release(&answer);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

/* After a restart notices are heard again: the wait is far longer than the test may take. */
static void
test_waits_heal(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api = api_server_start(redis_server_url(server), NULL);
	struct redis *redis;
	struct answer answer = { 0 };
	struct ask_until until;
	struct fake_job job;
	struct arena arena;
	char path[256];

	arena_init(&arena, 1 << 24);
	redis_server_kill(server);
	ask_until(api->metrics_port, 503, "GET", "/health/ready", NULL);
	redis_server_restart(server);
	redis = redis_server_connect(server);
	ask_until(api->metrics_port, 200, "GET", "/health/ready", NULL);
	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}");
	assert_int_equal(answer.status, 202);
	(void)snprintf(path, sizeof(path), STR_FMT "/result",
		       STR_ARG(answer_header(&answer, "location")));
	answer_release(&answer);
	fake_take(redis, "query", &arena, &job);
	fake_succeed(redis, &job, "{\"answer\":\"x\"}");
	until = (struct ask_until){ api->port, 200, "GET", path, NULL, "Prefer: wait=30" };
	assert_true(status_is(&until));
	redis_free(redis);
	arena_release(&arena);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

/* A Redis that takes connections and says nothing: requests do not hang on it. */
static void
test_redis_frozen(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ "REDIS_TIMEOUT_MS=300", NULL });

	ask_status(api, 200, "GET", V1 "/queues", NULL);
	assert_int_equal(kill(redis_server_pid(server), SIGSTOP), 0);
	check_all_unavailable(api);
	assert_int_equal(kill(redis_server_pid(server), SIGCONT), 0);
	ask_until(api->port, 200, "GET", V1 "/queues", NULL);
	ask_status(api, 202, "POST", QUERY, "{\"query\":\"x\"}");
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

static void
test_redis_away_at_start(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);

	redis_server_kill(server);
	struct api_server *api = api_server_start(redis_server_url(server), NULL);
	check_all_unavailable(api);
	redis_server_restart(server);
	ask_until(api->port, 200, "GET", V1 "/queues", NULL);
	ask_status(api, 202, "POST", QUERY, "{\"query\":\"x\"}");
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

/* ---- kill ---- */

static void
test_killed_api_loses_nothing(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api = api_server_start(redis_server_url(server), NULL);
	struct answer answer = { 0 };
	char path[256];

	ask(api, &answer, "POST", DOCS, "{\"text\":\"x\"}", "Idempotency-Key: once");
	assert_int_equal(answer.status, 202);
	(void)snprintf(path, sizeof(path), STR_FMT, STR_ARG(answer_header(&answer, "location")));
	answer_release(&answer);
	process_stop(api->process); /* SIGKILL */
	mem_free(api);

	api = api_server_start(redis_server_url(server), NULL);
	ask_status(api, 200, "GET", path, NULL);
	ask(api, &answer, "POST", DOCS, "{\"text\":\"x\"}", "Idempotency-Key: once");
	assert_true(str_eq_c(answer_header(&answer, "location"), path));
	assert_true(str_eq_c(answer_header(&answer, "idempotent-replayed"), "true"));
	answer_release(&answer);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_redis_dies_and_returns),
		cmocka_unit_test(test_waits_heal),
		cmocka_unit_test(test_redis_frozen),
		cmocka_unit_test(test_redis_away_at_start),
		cmocka_unit_test(test_killed_api_loses_nothing),
	};
	return cmocka_run_group_tests(tests, start_curl, NULL);
}
