#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/auto.h"
#include "common/redis.h"
#include "common/redis_url.h"

static struct redis_url
good(const char *text)
{
	struct redis_url url;
	struct err err = ERR_INIT;

	if (!redis_url_parse(str_of(text), &url, &err))
		fail_msg("%s: %s", text, err.msg);
	return url;
}

static void
places(void **state)
{
	struct redis_url url = good("");

	(void)state;
	assert_string_equal(url.label, "127.0.0.1:6379/0");
	url = good("redis://cache.example:7000/3");
	assert_string_equal(url.host, "cache.example");
	assert_string_equal(url.port, "7000");
	assert_int_equal(url.db, 3);
	assert_string_equal(url.pass, "");
	url = good("redis://[::1]");
	assert_string_equal(url.host, "::1");
	assert_string_equal(url.port, "6379");
	url = good("redis://[fe80::1%25]:1/");
	assert_string_equal(url.port, "1");
	url = good("unix:///run/redis.sock?db=2");
	assert_true(url.is_unix);
	assert_string_equal(url.host, "/run/redis.sock");
	assert_int_equal(url.db, 2);
	assert_string_equal(good("unix://s").host, "s");
}

static void
logins(void **state)
{
	struct redis_url url = good("redis://:secret@h");

	(void)state;
	assert_string_equal(url.user, "");
	assert_string_equal(url.pass, "secret");
	url = good("redis://me:a%40b%3a%2Fc@h:1/1");
	assert_string_equal(url.user, "me");
	assert_string_equal(url.pass, "a@b:/c");
	assert_null(strstr(url.label, "a@b"));
	assert_string_equal(url.label, "h:1/1");
	assert_string_equal(good("redis://u:p:q@h").pass, "p:q");
	assert_string_equal(good("redis://u:p@q@h").pass, "p@q");
}

static void
refused(void **state)
{
	static const char *const bad[] = {
		"redis://a\tb",
		"unix:///run/\x7f",
		"http://h",
		"rediss://h",
		"redis://",
		"redis://:6379",
		"redis://h:0",
		"redis://h:65536",
		"redis://h:x",
		"redis://h:",
		"redis://h/x",
		"redis://h/-1",
		"redis://u@h",
		"redis://u:@h",
		"redis://:topsecret%2@h",
		"redis://:topsecret%zz@h",
		"redis://:a%00b@h",
		"redis://[::1",
		"redis://[::1]6379",
		"unix://",
		"unix://s?dbx=1",
		"unix://s?db=x",
		"redis",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct redis_url url;
		struct err err = ERR_INIT;

		if (redis_url_parse(str_of(bad[i]), &url, &err))
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.code, ERR_CONFIG);
		assert_null(strstr(err.msg, "topsecret"));
		assert_null(strstr(err.cause, "topsecret"));
	}

	char path[128];
	struct err err = ERR_INIT;
	struct redis_url url;

	memset(path, 'p', sizeof(path));
	memcpy(path, "unix://", 7);
	assert_false(redis_url_parse(str_make(path, 7 + 108), &url, &err));
	assert_true(redis_url_parse(str_make(path, 7 + 107), &url, &err));
}

static void
redis_new_checks_the_url(void **state)
{
	struct redis_opts opts = { .url = "ftp://h" };
	struct redis *redis = NULL;
	struct redis_pool *pool = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_false(redis_new(&opts, &redis, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_false(redis_pool_new(&opts, 3, &pool, &err));
	opts.url = "redis://h";
	opts.client_name = "a name";
	assert_true(redis_new(&opts, &redis, &err));
	assert_false(redis_is_connected(redis));
	assert_int_equal(redis_connected_since_ms(redis), 0);
	redis_free(redis);
	redis_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places),
		cmocka_unit_test(logins),
		cmocka_unit_test(refused),
		cmocka_unit_test(redis_new_checks_the_url),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
