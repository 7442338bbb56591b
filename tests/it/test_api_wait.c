/* Waiting for jobs: long-poll, entity tags, idempotency keys, and what many clients at once may expect. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/catalog.h"
#include "tests/support/api.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define V1 "/api/v1"
#define QUERY V1 "/collections/default/query"
#define DOCS V1 "/collections/default/documents"

static struct redis_server *redis_process;
static struct api_server *api;
static struct redis *redis;

static int
start_all(void **state)
{
	(void)state;
	MUST(http_client_global_init(e));
	redis_process = redis_server_start(NULL);
	redis = redis_server_connect(redis_process);
	api = api_server_start(redis_server_url(redis_process),
			       (const char *const[]){ "API_MAX_WAITERS=4", "API_MAX_WAIT_S=30",
						      "API_THREADS=48", NULL });
	return 0;
}

static int
stop_all(void **state)
{
	(void)state;
	int code = api_server_stop(api);

	redis_free(redis);
	redis_server_stop(redis_process);
	return code;
}

/* ---- a request on a thread of its own ---- */

struct asking {
	struct api_server *server;
	const char *method, *body;
	char path[256], header[2][256];
	struct answer answer;
	pthread_t thread;
};

static void *
asking_run(void *user)
{
	struct asking *asking = user;

	ask_with(asking->server->port, asking->method, asking->path,
		 (const char *const[]){ "Content-Type: application/json", asking->header[0],
					asking->header[1][0] ? asking->header[1] : NULL, NULL },
		 str_of(asking->body), &asking->answer);
	return NULL;
}

static void
asking_start(struct asking *asking)
{
	if (!asking->server)
		asking->server = api;
	assert_int_equal(pthread_create(&asking->thread, NULL, asking_run, asking), 0);
}

static void
asking_join(struct asking *asking)
{
	pthread_join(asking->thread, NULL);
}

static int waiters_wanted;
static int waiters_port;

static bool
waiters_are_there(void *user)
{
	struct answer answer = { 0 };
	bool ok;

	(void)user;
	ask_with(waiters_port, "GET", "/health", NULL, STR(""), &answer);
	ok = answer_int(&answer, "waiters") == waiters_wanted;
	answer_release(&answer);
	return ok;
}

static void
wait_for_waiters(struct api_server *server, int count)
{
	waiters_wanted = count;
	waiters_port = server->metrics_port;
	wait_until(waiters_are_there, NULL, 30000, "the number of waiting requests");
}

static void
submit_query(char out_id[JOB_ID_BYTES])
{
	struct answer answer = { 0 };

	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}");
	assert_int_equal(answer.status, 202);
	assert_true(str_copy(out_id, JOB_ID_BYTES, answer_str(&answer, "id")));
	answer_release(&answer);
}

/* ---- long-poll ---- */

/* The wait is far longer than the test may take: only the notice can end it. */
static void
test_post_waits_for_result(void **state)
{
	(void)state;
	struct asking asking = { .method = "POST",
				 .body = "{\"query\":\"x\"}",
				 .path = QUERY,
				 .header = { "Prefer: wait=30" } };
	int64_t began = clock_mono_ms();
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	asking_start(&asking);
	fake_take(redis, "query", &arena, &job);
	wait_for_waiters(api, 1);
	fake_succeed(redis, &job, "{\"answer\":\"42\"}");
	asking_join(&asking);
	assert_true(clock_mono_ms() - began < 29000);
	assert_int_equal(asking.answer.status, 200);
	assert_true(answer_is(&asking.answer, "answer", "42"));
	assert_true(str_eq_c(answer_header(&asking.answer, "preference-applied"), "wait=30"));
	assert_true(str_eq_c(answer_header(&asking.answer, "vary"), "Prefer"));
	assert_true(str_ends(answer_header(&asking.answer, "location"), job.job.id));
	answer_release(&asking.answer);
	arena_release(&arena);
}

static void
test_post_waits_for_failure(void **state)
{
	(void)state;
	struct asking asking = { .method = "POST",
				 .body = "{\"query\":\"x\"}",
				 .path = QUERY,
				 .header = { "Prefer: wait=30" } };
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	asking_start(&asking);
	fake_take(redis, "query", &arena, &job);
	fake_fail(redis, &job, ERR_STORE_UNSUPPORTED, "this store cannot do it");
	asking_join(&asking);
	assert_int_equal(asking.answer.status, 422);
	assert_true(str_eq_c(answer_header(&asking.answer, "content-type"),
			     "application/problem+json"));
	assert_true(answer_is(&asking.answer, "code", "STORE_UNSUPPORTED"));
	assert_true(answer_is(&asking.answer, "job_id", job.job.id));
	answer_release(&asking.answer);
	arena_release(&arena);
}

static void
test_get_waits(void **state)
{
	(void)state;
	struct asking record = { .method = "GET", .header = { "Prefer: wait=30" } };
	struct asking result = { .method = "GET", .header = { "Prefer: wait=30" } };
	char id[JOB_ID_BYTES];
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	submit_query(id);
	(void)snprintf(record.path, sizeof(record.path), V1 "/jobs/%s", id);
	(void)snprintf(result.path, sizeof(result.path), V1 "/jobs/%s/result", id);
	asking_start(&record);
	asking_start(&result);
	wait_for_waiters(api, 2);
	fake_take(redis, "query", &arena, &job);
	fake_succeed(redis, &job, "{\"answer\":\"7\"}");
	asking_join(&record);
	asking_join(&result);
	assert_int_equal(record.answer.status, 200);
	assert_true(answer_is(&record.answer, "status", "succeeded"));
	assert_int_equal(answer_header(&record.answer, "retry-after").len, 0);
	assert_int_equal(result.answer.status, 200);
	assert_true(answer_is(&result.answer, "answer", "7"));
	answer_release(&record.answer);
	answer_release(&result.answer);
	arena_release(&arena);
}

static void
test_wait_ends_in_time(void **state)
{
	(void)state;
	struct answer answer = { 0 };

	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}", "Prefer: wait=1");
	assert_int_equal(answer.status, 202);
	assert_true(answer_is(&answer, "status", "queued"));
	assert_true(str_eq_c(answer_header(&answer, "preference-applied"), "wait=1"));
	answer_release(&answer);
	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}", "Prefer: respond-async, foo=bar");
	assert_int_equal(answer.status, 202);
	assert_true(str_eq_c(answer_header(&answer, "preference-applied"), "respond-async"));
	answer_release(&answer);
	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}", "Prefer: wait=soon");
	assert_int_equal(answer.status, 202);
	assert_int_equal(answer_header(&answer, "preference-applied").len, 0);
	answer_release(&answer);
	for (int i = 0; i < 3; i++) { /* leave the queue as it was */
		struct fake_job job;
		struct arena arena;

		arena_init(&arena, 1 << 24);
		fake_take(redis, "query", &arena, &job);
		fake_succeed(redis, &job, "{}");
		arena_release(&arena);
	}
}

static void
test_too_many_waiters(void **state)
{
	(void)state;
	struct asking asking[4] = { 0 };
	struct answer answer = { 0 };
	char id[JOB_ID_BYTES], path[256];
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	submit_query(id);
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s", id);
	for (size_t i = 0; i < ARRAY_SIZE(asking); i++) {
		asking[i].method = "GET";
		(void)snprintf(asking[i].path, sizeof(asking[i].path), "%s", path);
		(void)snprintf(asking[i].header[0], sizeof(asking[i].header[0]), "Prefer: wait=30");
		asking_start(&asking[i]);
	}
	wait_for_waiters(api, 4);
	/* the fifth is answered at once, and says that it did not wait; others are served too */
	ask(api, &answer, "GET", path, NULL, "Prefer: wait=30");
	assert_int_equal(answer.status, 200);
	assert_true(answer_is(&answer, "status", "queued"));
	assert_int_equal(answer_header(&answer, "preference-applied").len, 0);
	answer_release(&answer);
	ask_status(api, 200, "GET", V1 "/queues", NULL);
	fake_take(redis, "query", &arena, &job);
	fake_succeed(redis, &job, "{}");
	for (size_t i = 0; i < ARRAY_SIZE(asking); i++) {
		asking_join(&asking[i]);
		assert_int_equal(asking[i].answer.status, 200);
		assert_true(answer_is(&asking[i].answer, "status", "succeeded"));
		answer_release(&asking[i].answer);
	}
	wait_for_waiters(api, 0);
	arena_release(&arena);
}

/* ---- entity tags ---- */

static void
test_etag(void **state)
{
	(void)state;
	struct asking asking = { .method = "GET", .header = { "Prefer: wait=30" } };
	char id[JOB_ID_BYTES], path[256], match[64];
	struct answer answer = { 0 };
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	submit_query(id);
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s", id);
	ask(api, &answer, "GET", path, NULL);
	(void)snprintf(match, sizeof(match), "If-None-Match: " STR_FMT,
		       STR_ARG(answer_header(&answer, "etag")));
	answer_release(&answer);

	ask(api, &answer, "GET", path, NULL, match);
	assert_int_equal(answer.status, 304);
	assert_int_equal(answer.reply.body.len, 0);
	assert_true(answer_header(&answer, "etag").len > 0);
	assert_true(answer_header(&answer, "retry-after").len > 0);
	answer_release(&answer);
	ask(api, &answer, "GET", path, NULL, "If-None-Match: \"v0\", W/\"v1\"");
	assert_int_equal(answer.status, 304);
	answer_release(&answer);
	ask(api, &answer, "GET", path, NULL, "If-None-Match: \"v99\"");
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	ask(api, &answer, "GET", path, NULL, match, "Prefer: wait=1"); /* nothing changed */
	assert_int_equal(answer.status, 304);
	answer_release(&answer);

	/* with a wait: tell me when it changes, which is before it is done */
	(void)snprintf(asking.path, sizeof(asking.path), "%s", path);
	(void)snprintf(asking.header[1], sizeof(asking.header[1]), "%s", match);
	asking_start(&asking);
	wait_for_waiters(api, 1);
	fake_take(redis, "query", &arena, &job);
	asking_join(&asking);
	assert_int_equal(asking.answer.status, 200);
	assert_true(answer_is(&asking.answer, "status", "running"));
	answer_release(&asking.answer);
	fake_succeed(redis, &job, "{}");
	arena_release(&arena);
}

/* ---- idempotency ---- */

static void
test_replay(void **state)
{
	(void)state;
	static const char body[] = "{\"text\":\"same\"}";
	struct answer first = { 0 }, again = { 0 };
	struct fake_job job;
	struct arena arena;

	arena_init(&arena, 1 << 24);
	ask(api, &first, "POST", DOCS, body, "Idempotency-Key: \"abc\"");
	assert_int_equal(first.status, 202);
	assert_int_equal(answer_header(&first, "idempotent-replayed").len, 0);
	ask(api, &again, "POST", DOCS, body, "Idempotency-Key: abc"); /* quotes or none */
	assert_int_equal(again.status, 202);
	assert_true(str_eq_c(answer_header(&again, "idempotent-replayed"), "true"));
	assert_true(str_eq(answer_str(&again, "id"), answer_str(&first, "id")));
	answer_release(&again);

	ask(api, &again, "POST", DOCS, "{\"text\":\"other\"}", "Idempotency-Key: abc");
	assert_int_equal(again.status, 422);
	assert_true(answer_is(&again, "code", "IDEMPOTENCY_KEY_REUSED"));
	answer_release(&again);
	ask(api, &again, "POST", DOCS, "{\"text\":\"same\",\"delay_s\":1}", "Idempotency-Key: abc");
	assert_int_equal(again.status, 422);
	answer_release(&again);
	ask(api, &again, "POST", QUERY, "{\"query\":\"x\"}",
	    "Idempotency-Key: abc"); /* another path */
	assert_int_equal(again.status, 202);
	assert_int_equal(answer_header(&again, "idempotent-replayed").len, 0);
	answer_release(&again);

	fake_take(redis, "ingest", &arena, &job);
	assert_true(str_eq_c(answer_str(&first, "id"), job.job.id));
	fake_succeed(redis, &job, "{\"chunks\":1}");
	ask(api, &again, "POST", DOCS, body, "Idempotency-Key: abc"); /* the current record */
	assert_int_equal(again.status, 202);
	assert_true(answer_is(&again, "status", "succeeded"));
	answer_release(&again);
	ask(api, &again, "POST", DOCS, body, "Idempotency-Key: abc", "Prefer: wait=5");
	assert_int_equal(again.status, 200); /* or its result */
	assert_int_equal(answer_int(&again, "chunks"), 1);
	answer_release(&again);
	answer_release(&first);

	fake_take(redis, "query", &arena, &job);
	fake_succeed(redis, &job, "{}");
	arena_release(&arena);
}

static void
test_bad_keys(void **state)
{
	(void)state;
	struct answer answer = { 0 };
	char header[400] = "Idempotency-Key: ";
	size_t at = strlen(header);

	static const char *const bad[] = {
		"\"\"", "\"", "two\"s", "\"a\"b\"", "a\tb", "caf\xc3\xa9"
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		(void)snprintf(header + at, sizeof(header) - at, "%s", bad[i]);
		ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}", header);
		if (answer.status != 400)
			fail_msg("%s: %d", header, answer.status);
		answer_release(&answer);
	}
	memset(header + at, 'k', 256);
	header[at + 256] = '\0';
	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}", header);
	assert_int_equal(answer.status, 400);
	answer_release(&answer);
}

/* A key whose job was deleted in between names nothing any more. */
static void
test_replay_of_forgotten(void **state)
{
	(void)state;
	struct answer answer = { 0 };
	char path[256];

	ask(api, &answer, "POST", QUERY, "{\"query\":\"f\"}", "Idempotency-Key: forgotten");
	(void)snprintf(path, sizeof(path), V1 "/jobs/" STR_FMT ":cancel",
		       STR_ARG(answer_str(&answer, "id")));
	answer_release(&answer);
	ask_status(api, 200, "POST", path, NULL);
	*strstr(path, ":cancel") = '\0';
	ask_status(api, 204, "DELETE", path, NULL);
	ask(api, &answer, "POST", QUERY, "{\"query\":\"f\"}", "Idempotency-Key: forgotten");
	assert_int_equal(answer.status, 410);
	answer_release(&answer);
}

/* The key's time is over but the job is still kept: it is still that job, and no second version is reserved. */
static void
test_replay_after_key_expired(void **state)
{
	(void)state;
	AUTO_PTR(reply_free) struct reply *keys = NULL;
	struct answer first = { 0 }, again = { 0 };

	ask(api, &first, "POST", QUERY, "{\"query\":\"late\"}", "Idempotency-Key: late");
	assert_int_equal(first.status, 202);
	MUST(REDIS_CALL(redis, &keys, e, "KEYS", "*:idem:*"));
	assert_true(reply_len(keys) > 0);
	for (size_t i = 0; i < reply_len(keys); i++) {
		struct str key;

		assert_true(reply_str(reply_at(keys, i), &key));
		MUST(REDIS_CALL(redis, NULL, e, "DEL", key.ptr));
	}
	ask(api, &again, "POST", QUERY, "{\"query\":\"late\"}", "Idempotency-Key: late");
	assert_int_equal(again.status, 202);
	assert_true(str_eq(answer_str(&again, "id"), answer_str(&first, "id")));
	assert_true(str_eq_c(answer_header(&again, "idempotent-replayed"), "true"));
	answer_release(&again);
	answer_release(&first);
}

#define DUPLICATES 32

static void
test_concurrent_duplicates(void **state)
{
	(void)state;
	static struct asking asking[DUPLICATES];
	int64_t before = 0, after = 0;
	struct collection collection;
	struct queue_ref queue;
	struct queue_stats stats;
	struct key meta;
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int fresh = 0;

	assert_true(job_queue_find(STR("ingest"), 0, &queue));
	MUST(catalog_get(redis, STR("default"), &collection, e));
	meta = key_catalog(str_of(collection.uid), CK_META);
	MUST(REDIS_CALL(redis, &reply, e, "HGET", meta.text, "seq"));
	assert_true(reply_i64(reply, &before));
	reply_free(TAKE(reply));
	for (size_t i = 0; i < DUPLICATES; i++) {
		asking[i] = (struct asking){ .method = "POST",
					     .path = DOCS,
					     .body = "{\"text\":\"many times\"}",
					     .header = { "Idempotency-Key: storm" } };
		asking_start(&asking[i]);
	}
	for (size_t i = 0; i < DUPLICATES; i++) {
		asking_join(&asking[i]);
		assert_int_equal(asking[i].answer.status, 202);
		assert_true(str_eq(answer_str(&asking[i].answer, "id"),
				   answer_str(&asking[0].answer, "id")));
		fresh += answer_header(&asking[i].answer, "idempotent-replayed").len == 0;
	}
	/* those that came while the first was on its way may not be marked: no answer was there to repeat */
	assert_in_range(fresh, 1, DUPLICATES);
	MUST(queue_stats(redis, queue, 1000, &stats, e));
	assert_int_equal(stats.waiting + stats.due, 1); /* one job */
	MUST(REDIS_CALL(redis, &reply, e, "HGET", meta.text, "seq"));
	assert_true(reply_i64(reply, &after));
	assert_int_equal(after, before + 1); /* and one version number */
	for (size_t i = 0; i < DUPLICATES; i++)
		answer_release(&asking[i].answer);
}

/* ---- drain ---- */

static void
test_drain(void **state)
{
	(void)state;
	struct api_server *other = api_server_start(redis_server_url(redis_process), NULL);
	struct asking asking = { .server = other,
				 .method = "POST",
				 .path = QUERY,
				 .body = "{\"query\":\"x\"}",
				 .header = { "Prefer: wait=30" } };
	int64_t began = clock_mono_ms();

	asking_start(&asking);
	wait_for_waiters(other, 1);
	process_signal(other->process, SIGTERM);
	asking_join(&asking); /* answered with what is known, not cut off */
	assert_int_equal(asking.answer.status, 202);
	assert_true(answer_is(&asking.answer, "status", "queued"));
	answer_release(&asking.answer);
	assert_int_equal(api_server_stop(other), 0);
	assert_true(clock_mono_ms() - began < 29000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_post_waits_for_result),
		cmocka_unit_test(test_post_waits_for_failure),
		cmocka_unit_test(test_get_waits),
		cmocka_unit_test(test_wait_ends_in_time),
		cmocka_unit_test(test_too_many_waiters),
		cmocka_unit_test(test_etag),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_replay_of_forgotten),
		cmocka_unit_test(test_replay_after_key_expired),
		cmocka_unit_test(test_concurrent_duplicates),
		cmocka_unit_test(test_drain),
	};
	return cmocka_run_group_tests(tests, start_all, stop_all);
}
