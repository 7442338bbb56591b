/* rag-api with no worker at all: what waits for its time becomes ready, what lost its worker does not strand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/api.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define V1 "/api/v1"
#define QUERY V1 "/collections/default/query"

static int
start_curl(void **state)
{
	(void)state;
	MUST(http_client_global_init(e));
	return 0;
}

struct expected {
	struct redis *redis;
	char id[JOB_ID_BYTES];
	enum job_status status;
};

static bool
job_is(void *user)
{
	const struct expected *expected = user;
	struct job job;

	MUST(queue_get(expected->redis, str_of(expected->id), &job, e));
	return job.status == expected->status;
}

static void
submit(struct api_server *api, const char *body, struct expected *out)
{
	struct answer answer = { 0 };

	ask(api, &answer, "POST", QUERY, body);
	assert_int_equal(answer.status, 202);
	assert_true(str_copy(out->id, sizeof(out->id), answer_str(&answer, "id")));
	answer_release(&answer);
}

static void
test_due_jobs_become_ready(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api = api_server_start(redis_server_url(server), NULL);
	struct expected job = { .redis = redis_server_connect(server), .status = JOB_QUEUED };

	submit(api, "{\"query\":\"x\",\"delay_s\":1}", &job);
	wait_until(job_is, &job, API_PATIENCE_MS, "a scheduled job in its queue");
	redis_free(job.redis);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

static void
test_lost_jobs_return(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ "LEASE_MS=500", "BACKOFF_BASE_MS=1",
							NULL });
	struct expected job = { .redis = redis_server_connect(server), .status = JOB_QUEUED };
	struct answer answer = { 0 };
	struct fake_job lost, again;
	struct arena arena;
	char path[256];

	arena_init(&arena, 1 << 24);
	submit(api, "{\"query\":\"x\"}", &job);
	fake_take(job.redis, "query", &arena, &lost); /* and never heard of again */
	fake_take(job.redis, "query", &arena, &again);
	assert_string_equal(again.job.id, job.id);
	assert_true(again.lease.epoch > lost.lease.epoch);
	fake_succeed(job.redis, &again, "{\"answer\":\"second\"}");
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s", job.id);
	ask(api, &answer, "GET", path, NULL);
	assert_true(answer_is(&answer, "status", "succeeded"));
	answer_release(&answer);
	redis_free(job.redis);
	arena_release(&arena);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_due_jobs_become_ready),
		cmocka_unit_test(test_lost_jobs_return),
	};

	return cmocka_run_group_tests(tests, start_curl, NULL);
}
