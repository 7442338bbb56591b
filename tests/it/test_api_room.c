/* rag-api when there is no room: in the queue, in Redis, among the requests. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/catalog.h"
#include "tests/support/api.h"
#include "tests/support/must.h"
#include "tests/support/raw_http.h"
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

/* ---- room ---- */

static int64_t
reservations(struct redis *redis)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct collection collection;
	int64_t count = -1;

	MUST(catalog_get(redis, STR("default"), &collection, e));
	struct key seqs = key_catalog(str_of(collection.uid), CK_SEQS);
	MUST(REDIS_CALL(redis, &reply, e, "HLEN", seqs.text));
	assert_true(reply_i64(reply, &count));
	return count;
}

static void
test_queue_full(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct redis *redis = redis_server_connect(server);
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ "QUEUE_MAX_JOBS=1", NULL });
	struct answer answer = { 0 };

	ask_status(api, 202, "POST", DOCS, "{\"id\":\"a\",\"text\":\"x\"}");
	ask(api, &answer, "POST", DOCS, "{\"id\":\"b\",\"text\":\"x\"}");
	assert_int_equal(answer.status, 429);
	assert_true(answer_is(&answer, "code", "QUEUE_FULL"));
	assert_true(answer_header(&answer, "retry-after").len > 0);
	assert_true(js_bool(answer_get(&answer, "retryable")));
	answer_release(&answer);
	assert_int_equal(reservations(redis), 1); /* what was refused holds nothing */
	ask_status(api, 202, "POST", QUERY, "{\"query\":\"x\"}"); /* queries are another queue */
	ask_status(api, 202, "DELETE", DOCS "/a", NULL);	  /* a delete makes room */
	redis_free(redis);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

static void
test_queue_too_old(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ "QUEUE_MAX_AGE_S=1", NULL });
	struct answer answer = { 0 };

	ask_until(api->port, 503, "POST", DOCS, "{\"text\":\"x\"}");
	ask(api, &answer, "POST", DOCS, "{\"text\":\"x\"}");
	assert_int_equal(answer.status, 503);
	assert_true(answer_is(&answer, "code", "OVERLOADED"));
	assert_true(answer_header(&answer, "retry-after").len > 0);
	answer_release(&answer);
	ask_status(api, 202, "POST", QUERY, "{\"query\":\"x\"}");
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

/* Far above what an empty Redis uses, far below what 90 % of headroom asks for. */
static void
test_memory_headroom(void **state)
{
	(void)state;
	struct redis_server *server =
		redis_server_start((const char *const[]){ "--maxmemory", "16mb", NULL });
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ "REDIS_HEADROOM_PERCENT=90", NULL });
	struct redis *redis = redis_server_connect(server);
	struct answer answer = { 0 };
	char *filler = mem_alloc((size_t)2 * 1024 * 1024);

	memset(filler, 'x', 2 * 1024 * 1024 - 1);
	MUST(REDIS_CALL(redis, NULL, e, "SET", "filler", filler));
	mem_free(filler);
	ask_until(api->port, 503, "POST", DOCS, "{\"text\":\"x\"}");
	ask(api, &answer, "POST", DOCS, "{\"text\":\"x\"}");
	assert_int_equal(answer.status, 503);
	assert_true(answer_is(&answer, "code", "OVERLOADED"));
	answer_release(&answer);
	ask_status(api, 202, "POST", QUERY, "{\"query\":\"x\"}"); /* half of it is theirs */
	redis_free(redis);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

static int64_t
used_memory(struct redis *redis)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str info, line;
	int64_t used = 0;

	MUST(REDIS_CALL(redis, &reply, e, "INFO", "memory"));
	assert_true(reply_str(reply, &info));
	while (str_split(&info, '\n', &line))
		if (str_starts(line, "used_memory:"))
			assert_true(str_to_i64(str_trim(str_sub(line, 12, line.len)), 1, INT64_MAX,
					       &used));
	return used;
}

/* Redis at maxmemory: a submission is refused whole, what needs no memory works, and it heals. */
static void
test_redis_full(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct redis *redis = redis_server_connect(server);
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ "REDIS_HEADROOM_PERCENT=0", NULL });
	struct answer answer = { 0 };
	char limit[32];

	ask_status(api, 202, "POST", DOCS, "{\"id\":\"a\",\"text\":\"x\"}");
	/* less than it uses now, whatever else it frees */
	(void)snprintf(limit, sizeof(limit), "%lld", (long long)used_memory(redis) / 2);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", limit));
	ask_until(api->port, 503, "POST", DOCS, "{\"text\":\"x\"}"); /* seen before it is hit */
	ask(api, &answer, "POST", V1 "/collections", "{\"name\":\"new\"}");
	assert_int_equal(answer.status, 507);
	assert_true(answer_is(&answer, "code", "REDIS_FULL"));
	assert_true(answer_header(&answer, "retry-after").len > 0);
	answer_release(&answer);
	ask_status(api, 200, "GET", V1 "/queues", NULL);
	ask_status(api, 200, "GET", V1 "/jobs", NULL);
	assert_int_equal(reservations(redis), 1);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
	ask_until(api->port, 202, "POST", DOCS, "{\"text\":\"x\"}");
	assert_int_equal(reservations(redis), 2);
	redis_free(redis);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

static bool
one_in_progress(void *user)
{
	struct api_server *api = user;
	struct answer answer = { 0 };
	bool ok;

	ask_with(api->metrics_port, "GET", "/health", NULL, STR(""), &answer);
	ok = answer_int(&answer, "requests_in_progress") == 1;
	answer_release(&answer);
	return ok;
}

static void
test_too_many_requests(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ "MAX_CONCURRENT_REQUESTS=1", NULL });
	struct raw_reply reply = { 0 };
	struct answer answer = { 0 };
	struct raw_http raw;

	raw_open(&raw, api->port);
	raw_send(&raw, "POST " QUERY " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
		       "Content-Length: 13\r\n\r\n{\"query\"");
	wait_until(one_in_progress, api, API_PATIENCE_MS, "a request in progress");
	ask(api, &answer, "GET", V1 "/queues", NULL);
	assert_int_equal(answer.status, 429);
	assert_true(answer_is(&answer, "code", "RATE_LIMITED"));
	assert_true(answer_header(&answer, "retry-after").len > 0);
	answer_release(&answer);
	raw_send(&raw, ":\"x\"}");
	raw_read(&raw, true, &reply);
	assert_int_equal(reply.status, 202);
	raw_reply_release(&reply);
	raw_close(&raw);
	ask_status(api, 200, "GET", V1 "/queues", NULL);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

/* A request that does not end is cut off when the time for draining is over. */
static void
test_drain_has_an_end(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ "API_DRAIN_MS=200",
							"API_BODY_TIMEOUT_MS=600000", NULL });
	struct raw_http raw;

	raw_open(&raw, api->port);
	raw_send(&raw, "POST " QUERY " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
		       "Content-Length: 13\r\n\r\n{\"query\"");
	wait_until(one_in_progress, api, API_PATIENCE_MS, "a request in progress");
	assert_int_equal(api_server_stop(api), 0);
	raw_close(&raw);
	redis_server_stop(server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_full),	  cmocka_unit_test(test_queue_too_old),
		cmocka_unit_test(test_memory_headroom),	  cmocka_unit_test(test_redis_full),
		cmocka_unit_test(test_too_many_requests), cmocka_unit_test(test_drain_has_an_end),
	};
	return cmocka_run_group_tests(tests, start_curl, NULL);
}
