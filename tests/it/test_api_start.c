/* rag-api and its settings, its command line, and its keys. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/support/api.h"
#include "tests/support/folder.h"
#include "tests/support/keys.h"
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

/* ---- settings ---- */

static void
test_refused_settings(void **state)
{
	(void)state;
	static const struct {
		const char *env[3];
		int code;
		const char *said;
	} rows[] = {
		{ { "API_LISTEN=0.0.0.0:0" }, 78, "API_KEYS_FILE" },
		{ { "API_LISTEN=nonsense" }, 78, "API_LISTEN" },
		{ { "ENVIRONMENT=production", "API_LISTEN=127.0.0.1:0" }, 78, "API_KEYS_FILE" },
		{ { "API_LISTEN=127.0.0.1:0", "API_KEYS_FILE=/nonexistent" }, 78, "/nonexistent" },
		{ { "EMBEDDER=gemini" }, 78, "GOOGLE_API_KEY" },
		{ { "STORE=chroma", "CHROMA_TENANT=t1" }, 78, "CHROMA_TENANT" },
		{ { "CHUNK_SIZE=many" }, 78, "CHUNK_SIZE" },
		{ { "REDIS_URL=http://x" }, 78, "redis" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *log;

		print_message("%s\n", rows[i].env[0]);
		assert_int_equal(api_server_refused((const char *const[]){ "rag-api", NULL },
						    rows[i].env, &log),
				 rows[i].code);
		if (!strstr(log, rows[i].said))
			fail_msg("'%s' is not in %s", rows[i].said, log);
		mem_free(log);
	}
}

static void
test_command_line(void **state)
{
	(void)state;
	static const struct {
		const char *argv[4];
		int code;
		const char *said;
	} rows[] = {
		{ { "rag-api", "--help" }, 0, "usage: rag-api" },
		{ { "rag-api", "--version" }, 0, "rag-api " RAG_VERSION },
		{ { "rag-api", "--print-config" }, 0, "listen:" },
		{ { "rag-api", "--no-such-thing" }, 64, "--no-such-thing" },
		{ { "rag-api", "--config" }, 64, "--config" },
		{ { "rag-api", "--config", "/nonexistent.yaml" }, 78, "/nonexistent.yaml" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *log;

		print_message("%s\n", rows[i].argv[1]);
		assert_int_equal(api_server_refused(rows[i].argv, NULL, &log), rows[i].code);
		if (!strstr(log, rows[i].said))
			fail_msg("'%s' is not in %s", rows[i].said, log);
		mem_free(log);
	}
}

/* A Redis that would throw jobs away is refused; a port in use is not a matter of settings. */
static void
test_refused_at_start(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(
		(const char *const[]){ "--maxmemory-policy", "allkeys-lru", NULL });
	char url[512], listen[64], *log;

	(void)snprintf(url, sizeof(url), "REDIS_URL=%s", redis_server_url(server));
	assert_int_equal(api_server_refused((const char *const[]){ "rag-api", NULL },
					    (const char *const[]){ url, "API_LISTEN=127.0.0.1:0",
								   "METRICS_LISTEN=127.0.0.1:0",
								   NULL },
					    &log),
			 78);
	assert_non_null(strstr(log, "noeviction"));
	mem_free(log);
	redis_server_stop(server);

	server = redis_server_start(NULL);
	struct api_server *api = api_server_start(redis_server_url(server), NULL);
	(void)snprintf(url, sizeof(url), "REDIS_URL=%s", redis_server_url(server));
	(void)snprintf(listen, sizeof(listen), "API_LISTEN=127.0.0.1:%d", api->port);
	assert_int_equal(api_server_refused((const char *const[]){ "rag-api", NULL },
					    (const char *const[]){ url, listen,
								   "METRICS_LISTEN=127.0.0.1:0",
								   NULL },
					    &log),
			 1);
	mem_free(log);
	assert_int_equal(api_server_stop(api), 0);
	redis_server_stop(server);
}

/* ---- keys ---- */

static int
ask_as(struct api_server *api, const char *header, struct answer *out)
{
	ask(api, out, "POST", QUERY, "{\"query\":\"x\"}", "Idempotency-Key: k", header);
	return out->status;
}

static void
test_keys(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	char path[] = "/tmp/rag-keys-XXXXXX", setting[64], first_id[JOB_ID_BYTES];
	struct answer answer = { 0 };
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	keys_write(path,
		   (const struct test_key[]){
			   { "ann", "key-a", NULL }, { "bob", "key-b", NULL }, { 0 } },
		   "");
	(void)snprintf(setting, sizeof(setting), "API_KEYS_FILE=%s", path);
	/* with keys any address may be listened on */
	struct api_server *api =
		api_server_start(redis_server_url(server),
				 (const char *const[]){ setting, "API_LISTEN=0.0.0.0:0",
							"ENVIRONMENT=production", NULL });

	ask(api, &answer, "GET", V1 "/queues", NULL);
	assert_int_equal(answer.status, 401);
	assert_true(str_starts(answer_header(&answer, "www-authenticate"), "Bearer"));
	assert_true(answer_is(&answer, "code", "UNAUTHENTICATED"));
	answer_release(&answer);
	ask_status(api, 401, "GET", V1 "/nothing", NULL); /* tells nothing to strangers */
	assert_int_equal(ask_as(api, "Authorization: Bearer wrong", &answer), 401);
	answer_release(&answer);
	assert_int_equal(ask_as(api, "Authorization: Basic key-a", &answer), 401);
	answer_release(&answer);
	assert_int_equal(ask_as(api, "Authorization: Bearer key-a", &answer), 202);
	assert_true(str_copy(first_id, sizeof(first_id), answer_str(&answer, "id")));
	answer_release(&answer);
	assert_int_equal(ask_as(api, "X-API-Key: key-a", &answer), 202);
	assert_true(answer_is(&answer, "id", first_id)); /* the same caller, the same key */
	answer_release(&answer);
	assert_int_equal(ask_as(api, "X-API-Key: key-b", &answer), 202);
	assert_false(
		str_eq_c(answer_str(&answer, "id"), first_id)); /* keys of callers do not meet */
	answer_release(&answer);

	keys_write(path, (const struct test_key[]){ { "ann", "key-new", NULL }, { 0 } }, "");
	struct ask_until until = {
		api->port, 200, "GET", V1 "/queues", NULL, "X-API-Key: key-new"
	};
	wait_until(status_is, &until, API_PATIENCE_MS, "the new key");
	assert_int_equal(ask_as(api, "X-API-Key: key-a", &answer), 401);
	answer_release(&answer);

	/* the log names callers, never keys */
	assert_true(process_wait_log(api->process, "\"caller\":\"ann\"", API_PATIENCE_MS));
	char *log = process_log(api->process);
	assert_null(strstr(log, "key-a"));
	assert_null(strstr(log, "key-new"));
	mem_free(log);

	/* a broken file changes nothing and is told */
	keys_write(path, (const struct test_key[]){ { "ann", "key-x", NULL }, { 0 } },
		   "broken line\n");
	for (int64_t end = clock_mono_ms() + API_PATIENCE_MS;
	     !process_wait_log(api->process, "stay as they were", 50);) {
		assert_true(clock_mono_ms() < end);
		assert_true(status_is(&until));
	}
	assert_true(status_is(&until));
	assert_int_equal(api_server_stop(api), 0);
	unlink(path);
	redis_server_stop(server);
}

/* Production wants keys that can be read: no file, none in it, a folder, a bad line are all refused for good. */
static void
test_production(void **state)
{
	(void)state;
	char folder[FOLDER_BYTES], path[FOLDER_BYTES + 16], setting[FOLDER_BYTES + 48], *log;
	static const struct {
		const char *text, *said;
	} rows[] = {
		{ "", "it holds no key" },
		{ "# nobody yet\n\n", "it holds no key" },
		{ "ann:12\n", "keys:1: " },
		{ "#\nann:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 "
		  "scopes=all\n",
		  "keys:2: scopes" },
	};

	folder_make(folder);
	(void)snprintf(path, sizeof(path), "%s/keys", folder);
	(void)snprintf(setting, sizeof(setting), "API_KEYS_FILE=%s", path);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		keys_write(path, (const struct test_key[]){ { 0 } }, "");
		FILE *file = fopen(path, "w");
		assert_non_null(file);
		(void)fputs(rows[i].text, file);
		assert_int_equal(fclose(file), 0);
		assert_int_equal(api_server_refused((const char *const[]){ "rag-api", NULL },
						    (const char *const[]){
							    "ENVIRONMENT=production", setting,
							    "API_LISTEN=127.0.0.1:0", NULL },
						    &log),
				 78);
		if (!strstr(log, rows[i].said))
			fail_msg("'%s' is not in %s", rows[i].said, log);
		mem_free(log);
	}
	(void)snprintf(setting, sizeof(setting), "API_KEYS_FILE=%s",
		       folder); /* unreadable even for root */
	assert_int_equal(api_server_refused((const char *const[]){ "rag-api", NULL },
					    (const char *const[]){ "ENVIRONMENT=production",
								   setting,
								   "API_LISTEN=127.0.0.1:0", NULL },
					    &log),
			 78);
	assert_non_null(strstr(log, "could not read"));
	mem_free(log);
	folder_remove(folder);
}

static void
test_readable_for_all(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	char folder[FOLDER_BYTES], path[FOLDER_BYTES + 16], setting[FOLDER_BYTES + 48];

	folder_make(folder);
	(void)snprintf(path, sizeof(path), "%s/keys", folder);
	(void)snprintf(setting, sizeof(setting), "API_KEYS_FILE=%s", path);
	keys_write(path, (const struct test_key[]){ { "ann", "key-a", NULL }, { 0 } }, "");
	struct api_server *api =
		api_server_start(redis_server_url(server), (const char *const[]){ setting, NULL });
	assert_false(process_wait_log(api->process, "chmod 600", 0));
	assert_int_equal(api_server_stop(api), 0);
	assert_int_equal(chmod(path, 0644), 0);
	api = api_server_start(redis_server_url(server), (const char *const[]){ setting, NULL });
	assert_true(process_wait_log(api->process, "chmod 600", API_PATIENCE_MS));
	assert_int_equal(api_server_stop(api), 0);
	folder_remove(folder);
	redis_server_stop(server);
}

static void
wait_for(int port, int status, const char *header)
{
	struct ask_until until = { port, status, "GET", V1 "/queues", NULL, header };

	wait_until(status_is, &until, API_PATIENCE_MS, header);
}

/* A secret as Kubernetes mounts it: keys -> ..data/keys, ..data -> a folder, swapped by renaming a link. */
static void
test_swapped_link(void **state)
{
	(void)state;
	struct redis_server *server = redis_server_start(NULL);
	char folder[FOLDER_BYTES], path[FOLDER_BYTES + 32], setting[FOLDER_BYTES + 48];

	folder_make(folder);
	for (int i = 1; i <= 2; i++) {
		const struct test_key rows[] = { { "ann", i == 1 ? "key-1" : "key-2", NULL },
						 { 0 } };

		(void)snprintf(path, sizeof(path), "%s/v%d", folder, i);
		assert_int_equal(mkdir(path, 0700), 0);
		(void)snprintf(path, sizeof(path), "%s/v%d/keys", folder, i);
		keys_write(path, rows, "");
	}
	(void)snprintf(path, sizeof(path), "%s/..data", folder);
	assert_int_equal(symlink("v1", path), 0);
	(void)snprintf(path, sizeof(path), "%s/keys", folder);
	assert_int_equal(symlink("..data/keys", path), 0);
	(void)snprintf(setting, sizeof(setting), "API_KEYS_FILE=%s", path);
	struct api_server *api =
		api_server_start(redis_server_url(server), (const char *const[]){ setting, NULL });

	wait_for(api->port, 200, "X-API-Key: key-1");
	char link[FOLDER_BYTES + 32], next[FOLDER_BYTES + 32];
	(void)snprintf(next, sizeof(next), "%s/..data_tmp", folder);
	(void)snprintf(link, sizeof(link), "%s/..data", folder);
	assert_int_equal(symlink("v2", next), 0);
	assert_int_equal(rename(next, link), 0);
	wait_for(api->port, 200, "X-API-Key: key-2");
	wait_for(api->port, 401, "X-API-Key: key-1");

	/* the last key is revoked: it must not live on */
	(void)snprintf(path, sizeof(path), "%s/v2/keys", folder);
	keys_write(path, (const struct test_key[]){ { 0 } }, "");
	wait_for(api->port, 401, "X-API-Key: key-2");
	/* one that has expired is none */
	keys_write(path,
		   (const struct test_key[]){ { "old", "key-old", "expires=2020-01-01T00:00:00Z" },
					      { "new", "key-new", "expires=2999-01-01T00:00:00Z" },
					      { 0 } },
		   "");
	wait_for(api->port, 200, "X-API-Key: key-new");
	wait_for(api->port, 401, "X-API-Key: key-old");
	assert_int_equal(api_server_stop(api), 0);
	folder_remove(folder);
	redis_server_stop(server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_settings), cmocka_unit_test(test_command_line),
		cmocka_unit_test(test_refused_at_start), cmocka_unit_test(test_keys),
		cmocka_unit_test(test_production),	 cmocka_unit_test(test_readable_for_all),
		cmocka_unit_test(test_swapped_link),
	};
	return cmocka_run_group_tests(tests, start_curl, NULL);
}
