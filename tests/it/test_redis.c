#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/redis.h"
#include "tests/support/must.h"
#include "tests/support/redis_server.h"

static struct redis_server *server;

static int
set_up(void **state)
{
	(void)state;
	server = redis_server_start(NULL);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	redis_server_stop(server);
	return 0;
}

static struct redis *
connect_with(const char *url, int timeout_ms)
{
	struct redis_opts opts = { .url = url,
				   .connect_timeout_ms = 2000,
				   .timeout_ms = timeout_ms,
				   .client_name = "a test" };
	struct redis *redis = NULL;

	MUST(redis_new(&opts, &redis, e));
	return redis;
}

/* Repeats a PING until Redis answers again; the wait between attempts is the connection's own back-off. */
static void
await_ping(struct redis *redis)
{
	int64_t deadline_ms = clock_mono_ms() + 20000;
	struct err err = ERR_INIT;

	while (!REDIS_CALL(redis, NULL, &err, "PING")) {
		assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
		assert_true(clock_mono_ms() < deadline_ms);
		clock_sleep_ms(err.retry_after_ms > 0 ? err.retry_after_ms : 1);
	}
}

static void
types(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct redis_cmd cmd;
	struct str text;
	int64_t number;

	(void)state;
	redis_cmd_init(&cmd, "HSET");
	redis_arg_c(&cmd, "h");
	redis_arg_c(&cmd, "bytes");
	redis_arg(&cmd, str_make("a\0\r\nb", 5));
	redis_arg_c(&cmd, "number");
	redis_arg_i64(&cmd, INT64_MIN);
	MUST(redis_run(redis, &cmd, &reply, e));
	assert_true(reply_i64(reply, &number));
	assert_int_equal(number, 2);
	assert_false(reply_str(reply, &text));
	assert_int_equal(reply_len(reply), 0);
	reply_free(TAKE(reply));
	MUST(REDIS_CALL(redis, &reply, e, "HGETALL", "h"));
	assert_int_equal(reply_len(reply), 4);
	assert_true(reply_str(reply_get(reply, "bytes"), &text));
	assert_int_equal(text.len, 5);
	assert_memory_equal(text.ptr, "a\0\r\nb", 5);
	assert_false(reply_i64(reply_get(reply, "bytes"), &number));
	assert_true(reply_i64(reply_get(reply, "number"), &number));
	assert_true(number == INT64_MIN);
	assert_null(reply_get(reply, "absent"));
	assert_null(reply_at(reply, 4));
	assert_false(reply_str(NULL, &text));
	assert_false(reply_i64(NULL, &number));
	assert_true(reply_is_nil(NULL));
	reply_free(TAKE(reply));
	MUST(REDIS_CALL(redis, &reply, e, "GET", "absent"));
	assert_true(reply_is_nil(reply));
	assert_true(redis_connected_since_ms(redis) > 0);
}

static void
errors_are_translated(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	static struct redis_cmd big;
	struct err err = ERR_INIT;

	(void)state;
	MUST(REDIS_CALL(redis, NULL, e, "SET", "text", "x"));
	assert_false(REDIS_CALL(redis, NULL, &err, "HGET", "text", "f"));
	assert_int_equal(err.code, ERR_REDIS_REPLY);
	assert_non_null(strstr(err.cause, "WRONGTYPE"));
	assert_int_equal(err.detail, 0);
	assert_true(redis_is_connected(redis));
	assert_false(REDIS_CALL(redis, NULL, &err, "XREADGROUP", "GROUP", "g", "c", "STREAMS",
				"none", ">"));
	assert_int_equal(err.detail, REDIS_DETAIL_NOGROUP);
	assert_false(REDIS_CALL(redis, NULL, &err, "NOSUCHCOMMAND"));
	assert_int_equal(err.detail, REDIS_DETAIL_DENIED);
	redis_cmd_init(&big, "DEL");
	for (int i = 0; i < REDIS_MAX_ARGS; i++)
		redis_arg_c(&big, "k");
	assert_false(redis_run(redis, &big, NULL, &err));
	assert_int_equal(err.code, ERR_INTERNAL);
	/* a replica's refusal: the connection is dropped, so that the next attempt finds the new primary */
	MUST(REDIS_CALL(redis, NULL, e, "REPLICAOF", "127.0.0.1", "1"));
	assert_false(REDIS_CALL(redis, NULL, &err, "SET", "text", "y"));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_false(redis_is_connected(redis));
	MUST(REDIS_CALL(redis, NULL, e, "REPLICAOF", "NO", "ONE"));
	MUST(REDIS_CALL(redis, NULL, e, "SET", "text", "y"));
}

static void
out_of_memory(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	static const struct redis_script script = { "test",
						    "return redis.call('SET', KEYS[1], 1)" };
	struct redis_cmd cmd;
	struct err err = ERR_INIT;

	(void)state;
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "1"));
	assert_false(REDIS_CALL(redis, NULL, &err, "SET", "k", "v"));
	assert_int_equal(err.code, ERR_REDIS_FULL);
	redis_script_init(&cmd, &script, 1);
	redis_arg_c(&cmd, "k");
	assert_false(redis_run_script(redis, &cmd, &script, NULL, &err));
	assert_int_equal(err.code, ERR_REDIS_FULL);
	assert_true(redis_is_connected(redis));
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
}

/* Redis 6.2 words the error of a command inside a script in another way. */
static void
errors_inside_old_scripts(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	struct err err = ERR_INIT;
	static const struct {
		const char *text;
		enum err_code code;
	} rows[] = {
		{ "Error running script (call to f_ab): @user_script:1: -OOM command not allowed",
		  ERR_REDIS_FULL },
		{ "Error running script (call to f_ab): @user_script:1: -READONLY You can't write",
		  ERR_REDIS_UNAVAILABLE },
		{ "Error running script (call to f_ab): @user_script:1: user_script:1: nil",
		  ERR_REDIS_REPLY },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_false(REDIS_CALL(redis, NULL, &err, "EVAL",
					"return redis.error_reply('ERR ' .. ARGV[1])", "0",
					rows[i].text));
		assert_int_equal(err.code, rows[i].code);
	}
}

static void
pipelines(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	struct redis_cmd cmd;
	struct err err = ERR_INIT;
	static char large[300000];

	(void)state;
	memset(large, 'x', sizeof(large));
	for (int i = 0; i < 200; i++) { /* 60 MB each way: neither side may wait for the other */
		redis_cmd_init(&cmd, i == 100 ? "NOSUCHCOMMAND" : "ECHO");
		redis_arg(&cmd, str_make(large, sizeof(large)));
		MUST(redis_append(redis, &cmd, e));
	}
	for (int i = 0; i < 200; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct str text;
		bool ok = redis_next(redis, &reply, &err);

		assert_int_equal(ok, i != 100); /* an error reply fails its own command only */
		if (ok)
			assert_true(reply_str(reply, &text) && text.len == sizeof(large));
	}
	assert_false(redis_next(redis, NULL, &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);

	/* replies that nobody took do not reach the next command */
	for (int i = 0; i < 3; i++) {
		redis_cmd_init(&cmd, "ECHO");
		redis_arg_c(&cmd, "old");
		MUST(redis_append(redis, &cmd, e));
	}

	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct str text;

	MUST(REDIS_CALL(redis, &reply, e, "ECHO", "new"));
	assert_true(reply_str(reply, &text) && str_eq_c(text, "new"));
}

static void
scripts(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	static const struct redis_script script = { "sum",
						    "return {KEYS[1], ARGV[1] + ARGV[2], false}" };

	(void)state;
	for (int round = 0; round < 3; round++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct redis_cmd cmd;
		struct str key;
		int64_t sum;

		if (round == 2) /* somebody flushed them: EVAL brings the text again */
			MUST(REDIS_CALL(redis, NULL, e, "SCRIPT", "FLUSH"));
		redis_script_init(&cmd, &script, 1);
		assert_string_equal(cmd.argv[0].ptr, "EVALSHA");
		redis_arg_c(&cmd, "k");
		redis_arg_i64(&cmd, 40);
		redis_arg_i64(&cmd, 2);
		MUST(redis_run_script(redis, &cmd, &script, &reply, e));
		assert_true(reply_str(reply_at(reply, 0), &key) && str_eq_c(key, "k"));
		assert_true(reply_i64(reply_at(reply, 1), &sum) && sum == 42);
		assert_true(reply_is_nil(reply_at(reply, 2)));
	}
}

/* A listener that accepts (by its backlog) and never says a word. */
static int
silent_listener(char *url, size_t url_bytes)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(address);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(url, url_bytes, "redis://127.0.0.1:%d", ntohs(address.sin_port));
	return fd;
}

static void
a_silent_peer(void **state)
{
	char url[64];
	int fd = silent_listener(url, sizeof(url));
	AUTO_PTR(redis_free) struct redis *redis = NULL;
	struct redis_opts opts = { .url = url, .connect_timeout_ms = 1000, .timeout_ms = 30 };
	struct err err = ERR_INIT;
	struct redis_cmd cmd;

	(void)state;
	MUST(redis_new(&opts, &redis, e)); /* no client name: connecting itself says nothing */
	assert_false(REDIS_CALL(redis, NULL, &err, "PING"));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_false(redis_is_connected(redis));
	redis_cmd_init(&cmd, "PING");

	int64_t begin_ms = clock_mono_ms();

	assert_false(redis_run_blocking(redis, &cmd, 50, NULL, &err));
	assert_true(clock_mono_ms() - begin_ms >= 80);
	/* the second failure in a row: now commands fail at once, until the wait is over */
	bool fast = false;

	for (int i = 0; i < 50 && !fast; i++) {
		assert_false(REDIS_CALL(redis, NULL, &err, "PING"));
		assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
		fast = err.retry_after_ms > 0;
	}
	assert_true(fast);
	(void)close(fd);
}

static void
nobody_listens(void **state)
{
	char url[64];
	int fd = silent_listener(url, sizeof(url));
	AUTO_PTR(redis_free) struct redis *redis = connect_with(url, 1000);
	AUTO_PTR(redis_free) struct redis *unix_redis = connect_with("unix:///nonexistent/s", 1000);
	struct err err = ERR_INIT;

	(void)state;
	(void)close(fd);
	assert_false(REDIS_CALL(redis, NULL, &err, "PING"));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_non_null(strstr(err.msg, "Connection refused"));
	assert_non_null(strstr(err.cause, "127.0.0.1:"));
	assert_false(REDIS_CALL(unix_redis, NULL, &err, "PING"));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
}

static void
kill_and_restart(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	AUTO_PTR(redis_free) struct redis *idle = redis_server_connect(server);
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	struct redis_cmd cmd;
	struct err err = ERR_INIT;
	struct str text;

	(void)state;
	/* everysec lets a write wait for a slow disk before it is even written: not what is tested here */
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "appendfsync", "always"));
	MUST(REDIS_CALL(redis, NULL, e, "SET", "kept", "yes"));
	MUST(REDIS_CALL(idle, NULL, e, "PING"));

	int64_t since_ms = redis_connected_since_ms(redis);

	redis_cmd_init(&cmd, "PING");
	MUST(redis_append(redis, &cmd, e));
	redis_server_kill(server);
	assert_false(redis_next(redis, NULL, &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_int_equal(redis_connected_since_ms(redis), 0);
	for (int i = 0; i < 5; i++)
		assert_false(REDIS_CALL(redis, NULL, &err, "PING"));
	redis_server_restart(server);
	await_ping(redis);
	assert_true(redis_connected_since_ms(redis) >= since_ms);
	MUST(REDIS_CALL(redis, &reply, e, "GET", "kept"));
	assert_true(reply_str(reply, &text) && str_eq_c(text, "yes"));
	/* a connection that was idle meanwhile notices before it sends */
	int64_t begin_ms = clock_mono_ms();

	while (clock_mono_ms() - begin_ms < 150)
		MUST(REDIS_CALL(redis, NULL, e, "PING"));
	MUST(REDIS_CALL(idle, NULL, e, "PING"));
}

/* A server that wants a login: the main server is asked to want one for a moment, over TCP as well. */
static void
login(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	AUTO_PTR(redis_free) struct redis *nobody = redis_server_connect(server);
	AUTO_PTR(redis_free) struct redis *right = NULL;
	AUTO_PTR(redis_free) struct redis *wrong = NULL;
	struct err err = ERR_INIT;
	char url[128], port[8];

	(void)state;
	(void)close(silent_listener(url, sizeof(url))); /* a port that is free */
	assert_true(str_copy(port, sizeof(port), str_of(strrchr(url, ':') + 1)));

	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "port", port));
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "requirepass", "s3cret word"));
	assert_false(REDIS_CALL(nobody, NULL, &err, "PING"));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_int_equal(err.detail, REDIS_DETAIL_DENIED);
	(void)snprintf(url, sizeof(url), "redis://:s3cret%%20word@127.0.0.1:%s/3", port);
	right = connect_with(url, 5000);
	MUST(REDIS_CALL(right, NULL, e, "PING"));
	(void)snprintf(url, sizeof(url), "redis://default:other@localhost:%s", port);
	wrong = connect_with(url, 5000);
	assert_false(REDIS_CALL(wrong, NULL, &err, "PING"));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_int_equal(err.detail, REDIS_DETAIL_DENIED);
	assert_null(strstr(err.cause, "other"));
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "requirepass", ""));
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "port", "0"));
}

/* ---- the pool ---- */

struct pool_test {
	struct redis_pool *pool;
	atomic_int lent, most, failures;
};

static void *
use_pool(void *arg)
{
	struct pool_test *test = arg;

	for (int i = 0; i < 200; i++) {
		struct redis *redis = NULL;
		struct err err = ERR_INIT;

		if (!redis_pool_take(test->pool, 10000, &redis, &err)) {
			atomic_fetch_add(&test->failures, 1);
			continue;
		}

		int now = atomic_fetch_add(&test->lent, 1) + 1;
		int most = atomic_load(&test->most);
		char mine[64];
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct str text;

		while (now > most && !atomic_compare_exchange_weak(&test->most, &most, now))
			;
		(void)snprintf(mine, sizeof(mine), "%p %d", (void *)&mine, i);
		if (!REDIS_CALL(redis, &reply, &err, "ECHO", mine) || !reply_str(reply, &text) ||
		    !str_eq_c(text, mine))
			atomic_fetch_add(&test->failures, 1);
		if (i % 20 == 7) { /* gives back a half-read pipeline */
			struct redis_cmd cmd;

			redis_cmd_init(&cmd, "ECHO");
			redis_arg_c(&cmd, "left over");
			(void)redis_append(redis, &cmd, &err);
		}
		if (i % 50 == 9)
			(void)redis_subscribe(redis, "channel", &err);
		atomic_fetch_sub(&test->lent, 1);
		redis_pool_give(test->pool, redis);
	}
	return NULL;
}

static void
pool(void **state)
{
	struct pool_test test = { 0 };
	struct redis_opts opts = { .url = redis_server_url(server), .timeout_ms = 10000 };
	struct redis *held[4];
	struct redis *none = NULL;
	struct err err = ERR_INIT;
	pthread_t threads[8];

	(void)state;
	MUST(redis_pool_new(&opts, 4, &test.pool, e));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_pool, &test), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(atomic_load(&test.failures), 0);
	assert_in_range(atomic_load(&test.most), 1, 4);
	for (size_t i = 0; i < 4; i++)
		MUST(redis_pool_take(test.pool, 0, &held[i], e));
	assert_false(redis_pool_take(test.pool, 20, &none, &err));
	assert_int_equal(err.code, ERR_OVERLOADED);
	for (size_t i = 0; i < 4; i++)
		redis_pool_give(test.pool, held[i]);
	redis_pool_give(test.pool, NULL);
	redis_pool_free(test.pool);
}

static void
subscribe(void **state)
{
	AUTO_PTR(redis_free) struct redis *ear = redis_server_connect(server);
	AUTO_PTR(redis_free) struct redis *mouth = redis_server_connect(server);
	struct str channel, message;
	struct err err = ERR_INIT;
	bool got = true;

	(void)state;
	assert_false(redis_wait_message(ear, 1, &got, &channel, &message, &err));
	MUST(redis_subscribe(ear, "news", e));
	MUST(redis_wait_message(ear, 1, &got, &channel, &message, e));
	assert_false(got);
	assert_false(REDIS_CALL(ear, NULL, &err, "PING"));
	MUST(REDIS_CALL(mouth, NULL, e, "PUBLISH", "news", "one"));
	MUST(REDIS_CALL(mouth, NULL, e, "PUBLISH", "news", "two"));
	MUST(redis_wait_message(ear, 10000, &got, &channel, &message, e));
	assert_true(got && str_eq_c(channel, "news") && str_eq_c(message, "one"));
	MUST(redis_wait_message(ear, 10000, &got, &channel, &message, e));
	assert_true(got && str_eq_c(message, "two"));
	/* silence for long: the peer is asked, and answers */
	int64_t now_ms = clock_mono_ms();

	clock_set_for_test(now_ms + 11000, -1);
	MUST(redis_wait_message(ear, 0, &got, &channel, &message, e));
	clock_set_for_test(-1, -1);
	assert_false(got);
	MUST(REDIS_CALL(mouth, NULL, e, "PUBLISH", "news", "three"));
	MUST(redis_wait_message(ear, 10000, &got, &channel, &message, e));
	assert_true(got && str_eq_c(message, "three"));
	/* and when it does not, the subscription is lost */
	assert_int_equal(kill(redis_server_pid(server), SIGSTOP), 0);
	/* it may answer for a moment after the signal: wait until it stands still */
	assert_int_equal(waitpid(redis_server_pid(server), NULL, WUNTRACED),
			 redis_server_pid(server));
	/* asked once, and once more where the answer to the question above came late */
	bool lost = false;

	for (int i = 0; i < 4 && !lost; i++) {
		clock_set_for_test(clock_mono_ms() + 11000, -1);
		lost = !redis_wait_message(ear, 0, &got, &channel, &message, &err);
		assert_true(lost || i < 3);
		assert_true(!lost || i > 0);
	}
	clock_set_for_test(-1, -1);
	assert_int_equal(kill(redis_server_pid(server), SIGCONT), 0);
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_false(redis_is_subscribed(ear));
	MUST(redis_subscribe(ear, "news", e));
	redis_server_kill(server);
	assert_false(redis_wait_message(ear, 10000, &got, &channel, &message, &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	redis_server_restart(server);
}

static void
check_server(void **state)
{
	AUTO_PTR(redis_free) struct redis *redis = redis_server_connect(server);
	char warning[256];
	struct err err = ERR_INIT;

	(void)state;
	MUST(redis_check_server(redis, warning, sizeof(warning), e));
	assert_string_equal(warning, "");
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "appendonly", "no"));
	MUST(redis_check_server(redis, warning, sizeof(warning), e));
	assert_non_null(strstr(warning, "appendonly"));
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "appendonly", "yes"));
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru"));
	assert_false(redis_check_server(redis, warning, sizeof(warning), &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_non_null(strstr(err.msg, "allkeys-lru"));
	MUST(REDIS_CALL(redis, NULL, e, "ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all",
			"-config"));
	MUST(REDIS_CALL(redis, NULL, e, "AUTH", "limited", "pw"));
	MUST(redis_check_server(redis, warning, sizeof(warning), e));
	assert_non_null(strstr(warning, "settings"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),
		cmocka_unit_test(errors_are_translated),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(errors_inside_old_scripts),
		cmocka_unit_test(pipelines),
		cmocka_unit_test(scripts),
		cmocka_unit_test(a_silent_peer),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(kill_and_restart),
		cmocka_unit_test(login),
		cmocka_unit_test(pool),
		cmocka_unit_test(subscribe),
		cmocka_unit_test(check_server),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
