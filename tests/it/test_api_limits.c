/* rag-api's limits: requests of a key within a time, shared by all processes, and requests in progress. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/mem.h"
#include "tests/support/api.h"
#include "tests/support/folder.h"
#include "tests/support/keys.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

#define V1 "/api/v1"
#define COLLECTION V1 "/collections/default"
#define QUERY COLLECTION "/query"

struct fixture {
	char folder[FOLDER_BYTES], setting[FOLDER_BYTES + 32];
	struct redis_server *redis;
};

/* Windows of a day: no token comes back while a test runs, so every figure is exact. */
static const struct test_key rows[] = {
	{ "three", "key-3", "rate=3/86400" },
	{ "also three", "key-3b", "rate=3/86400" },
	{ "ten", "key-10", "rate=10/86400 scopes=read" },
	{ "fifty", "key-50", "rate=50/86400" },
	{ "setting", "key-setting", NULL },
	{ "unlimited", "key-none", "rate=none" },
	{ NULL, NULL, NULL },
};

static int
setup(void **state)
{
	static struct fixture fixture;
	char path[FOLDER_BYTES + 16];

	MUST(http_client_global_init(e));
	folder_make(fixture.folder);
	(void)snprintf(path, sizeof(path), "%s/keys", fixture.folder);
	(void)snprintf(fixture.setting, sizeof(fixture.setting), "API_KEYS_FILE=%s", path);
	keys_write(path, rows, "");
	fixture.redis = redis_server_start(NULL);
	*state = &fixture;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	redis_server_stop(f->redis);
	folder_remove(f->folder);
	return 0;
}

static struct api_server *
start_api(struct fixture *f)
{
	return api_server_start(redis_server_url(f->redis),
				(const char *const[]){ f->setting, "API_RATE_LIMIT=7",
						       "API_RATE_WINDOW_S=86400", NULL });
}

/* "X-API-Key: <key>" */
static const char *
as(const char *key)
{
	static _Thread_local char header[64];

	(void)snprintf(header, sizeof(header), "X-API-Key: %s", key);
	return header;
}

static int64_t
member(struct str header, const char *name)
{
	struct str piece;
	int64_t value = -1;

	while (str_split(&header, ';', &piece)) {
		struct str key;

		if (str_split(&piece, '=', &key) && str_eq_c(str_trim(key), name))
			assert_true(str_to_i64(piece, 0, INT64_MAX, &value));
	}
	return value;
}

static void
check_limited(const struct answer *answer, int status, int64_t count, int64_t remaining)
{
	struct str policy = answer_header(answer, "ratelimit-policy");
	struct str limit = answer_header(answer, "ratelimit");

	assert_int_equal(answer->status, status);
	assert_true(str_starts(policy, "\"requests\";q="));
	assert_int_equal(member(policy, "q"), count);
	assert_int_equal(member(policy, "w"), 86400);
	assert_true(str_starts(limit, "\"requests\";r="));
	assert_int_equal(member(limit, "r"), remaining);
	assert_true(member(limit, "t") > 0 && member(limit, "t") <= 86400 / count + 1);
}

static void
check_unlimited(const struct answer *answer, int status)
{
	assert_int_equal(answer->status, status);
	assert_int_equal(answer_header(answer, "ratelimit").len, 0);
	assert_int_equal(answer_header(answer, "ratelimit-policy").len, 0);
}

static void
test_headers(void **state)
{
	struct fixture *f = *state;
	struct api_server *api = start_api(f);
	struct answer answer = { 0 };
	int64_t after_s;

	ask(api, &answer, "GET", COLLECTION, NULL, as("key-3"));
	check_limited(&answer, 200, 3, 2);
	answer_release(&answer);
	ask(api, &answer, "GET", V1 "/nothing", NULL, as("key-3")); /* whatever comes of it */
	check_limited(&answer, 404, 3, 1);
	answer_release(&answer);
	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}", as("key-3"));
	check_limited(&answer, 202, 3, 0);
	answer_release(&answer);
	for (int i = 0; i < 2; i++) {
		ask(api, &answer, "GET", COLLECTION, NULL, as("key-3"));
		check_limited(&answer, 429, 3, 0);
		assert_true(answer_is(&answer, "code", "RATE_LIMITED"));
		assert_true(
			str_to_i64(answer_header(&answer, "retry-after"), 1, INT64_MAX, &after_s));
		assert_true(after_s >= member(answer_header(&answer, "ratelimit"), "t"));
		assert_true(after_s <= 86400 / 3);
		answer_release(&answer);
	}
	/* a key of its own, the engine's setting, none, and none for strangers */
	ask(api, &answer, "GET", COLLECTION, NULL, as("key-3b"));
	check_limited(&answer, 200, 3, 2);
	answer_release(&answer);
	ask(api, &answer, "GET", COLLECTION, NULL, as("key-setting"));
	check_limited(&answer, 200, 7, 6);
	answer_release(&answer);
	ask(api, &answer, "GET", COLLECTION, NULL, as("key-none"));
	check_unlimited(&answer, 200);
	answer_release(&answer);
	ask(api, &answer, "GET", COLLECTION, NULL, as("wrong"));
	check_unlimited(&answer, 401);
	answer_release(&answer);
	/* refused for its scope, wrong method, head: all count */
	ask(api, &answer, "PATCH", COLLECTION, "{}", as("key-10"));
	check_limited(&answer, 403, 10, 9);
	answer_release(&answer);
	ask(api, &answer, "PUT", COLLECTION, "{}", as("key-10"));
	check_limited(&answer, 405, 10, 8);
	answer_release(&answer);
	ask(api, &answer, "HEAD", COLLECTION, NULL, as("key-10"));
	check_limited(&answer, 200, 10, 7);
	answer_release(&answer);
	assert_int_equal(api_server_stop(api), 0);
}

/* Neither health nor an engine without keys is limited. */
static void
test_not_limited(void **state)
{
	struct fixture *f = *state;
	struct api_server *api = start_api(f);
	struct answer answer = { 0 };

	for (int i = 0; i < 4; i++)
		ask_until(api->metrics_port, 200, "GET", "/health/ready", NULL);
	assert_int_equal(api_server_stop(api), 0);
	api = api_server_start(redis_server_url(f->redis),
			       (const char *const[]){ "API_RATE_LIMIT=1", NULL });
	for (int i = 0; i < 3; i++) {
		ask(api, &answer, "GET", COLLECTION, NULL);
		check_unlimited(&answer, 200);
		answer_release(&answer);
	}
	assert_int_equal(api_server_stop(api), 0);
}

/* ---- two processes ---- */

struct asker {
	int port, allowed, refused;
};

#define ASKERS 6
#define ASKS 20

static void *
ask_often(void *user)
{
	struct asker *asker = user;

	for (int i = 0; i < ASKS; i++) {
		struct answer answer = { 0 };

		ask_with(asker->port, "GET", COLLECTION,
			 (const char *const[]){ "X-API-Key: key-50", NULL }, STR(""), &answer);
		asker->allowed += answer.status == 200;
		asker->refused += answer.status == 429;
		answer_release(&answer);
	}
	return NULL;
}

static void
test_shared_by_processes(void **state)
{
	struct fixture *f = *state;
	struct api_server *one = start_api(f), *two = start_api(f);
	struct asker askers[ASKERS] = { { 0 } };
	pthread_t threads[ASKERS];
	int allowed = 0, refused = 0;

	for (size_t i = 0; i < ASKERS; i++) {
		askers[i].port = i % 2 ? one->port : two->port;
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &askers[i]), 0);
	}
	for (size_t i = 0; i < ASKERS; i++) {
		pthread_join(threads[i], NULL);
		allowed += askers[i].allowed;
		refused += askers[i].refused;
	}
	assert_int_equal(allowed, 50);
	assert_int_equal(refused, ASKERS * ASKS - 50);
	assert_int_equal(api_server_stop(one), 0);
	assert_int_equal(api_server_stop(two), 0);
}

/* ---- Redis ---- */

/* A Redis that takes no more writes limits as before, and reads go on. */
static void
test_redis_full(void **state)
{
	struct fixture *f = *state;
	struct api_server *api = start_api(f);
	struct redis *redis = redis_server_connect(f->redis);
	struct answer answer = { 0 };

	ask(api, &answer, "GET", COLLECTION, NULL, as("key-none")); /* the collection is there */
	check_unlimited(&answer, 200);
	answer_release(&answer);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "1"));
	for (int i = 2; i >= 0; i--) {
		ask(api, &answer, "GET", COLLECTION, NULL, as("key-3"));
		check_limited(&answer, 200, 3, i);
		answer_release(&answer);
	}
	ask(api, &answer, "GET", COLLECTION, NULL, as("key-3"));
	check_limited(&answer, 429, 3, 0);
	answer_release(&answer);
	redis_free(redis);
	assert_int_equal(api_server_stop(api), 0);
}

/* Without Redis nothing is limited: each route says for itself what it can do. */
static void
test_redis_away(void **state)
{
	struct fixture *f = *state;
	struct api_server *api = start_api(f);
	struct answer answer = { 0 };

	redis_server_stop(f->redis);
	f->redis = NULL;
	struct ask_until until = { api->port, 503, "GET", COLLECTION, NULL, "X-API-Key: key-none" };
	wait_until(status_is, &until, API_PATIENCE_MS, "503");
	for (int i = 0; i < 5; i++) {
		ask(api, &answer, "GET", COLLECTION, NULL, as("key-3"));
		check_unlimited(&answer, 503);
		answer_release(&answer);
		ask(api, &answer, "GET", V1 "/nothing", NULL, as("key-3"));
		check_unlimited(&answer, 404);
		answer_release(&answer);
	}
	assert_int_equal(api_server_stop(api), 0);
}

/* ---- requests in progress ---- */

static int64_t
health_figure(int port, const char *name)
{
	struct answer answer = { 0 };
	int64_t value;

	ask_with(port, "GET", "/health", NULL, STR(""), &answer);
	value = answer_int(&answer, name);
	answer_release(&answer);
	return value;
}

struct waiter {
	int port, metrics_port, status;
	char id[JOB_ID_BYTES];
};

static void *
wait_for_job(void *user)
{
	struct waiter *waiter = user;
	struct answer answer = { 0 };
	char path[128];

	(void)snprintf(path, sizeof(path), V1 "/jobs/%s", waiter->id);
	ask_with(waiter->port, "GET", path, (const char *const[]){ "Prefer: wait=30", NULL },
		 STR(""), &answer);
	waiter->status = answer.status;
	answer_release(&answer);
	return NULL;
}

static bool
is_waiting(void *user)
{
	struct waiter *waiter = user;

	return health_figure(waiter->metrics_port, "waiters") == 1 &&
	       health_figure(waiter->metrics_port, "requests_in_progress") == 0;
}

/* One request may be in progress: one that waits for its job is none. */
static void
test_waiting_is_not_in_progress(void **state)
{
	struct fixture *f = *state;
	struct api_server *api =
		api_server_start(redis_server_url(f->redis),
				 (const char *const[]){ "MAX_CONCURRENT_REQUESTS=1", NULL });
	struct waiter waiter = { .port = api->port, .metrics_port = api->metrics_port };
	struct answer answer = { 0 };
	char path[128];
	pthread_t thread;

	ask(api, &answer, "POST", QUERY, "{\"query\":\"x\"}");
	assert_int_equal(answer.status, 202);
	assert_true(str_copy(waiter.id, sizeof(waiter.id), answer_str(&answer, "id")));
	answer_release(&answer);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_job, &waiter), 0);
	wait_until(is_waiting, &waiter, API_PATIENCE_MS, "a request that waits");
	for (int i = 0; i < 3; i++)
		ask_status(api, 200, "GET", COLLECTION, NULL);
	(void)snprintf(path, sizeof(path), V1 "/jobs/%s:cancel", waiter.id);
	ask_status(api, 200, "POST", path, NULL);
	pthread_join(thread, NULL);
	assert_int_equal(waiter.status, 200);
	assert_int_equal(api_server_stop(api), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_by_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redis_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redis_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiting_is_not_in_progress, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
