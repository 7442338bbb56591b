/* The cache of vectors on a real Redis: what comes out is what went in, how much it may hold, what is given up first, and that a Redis
 * that is full or away only misses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/embedding_cache.h"
#include "common/keys.h"
#include "tests/support/must.h"
#include "tests/support/redis_group.h"
#include "tests/support/text.h"

#define DIM 64
#define HOUR_MS INT64_C(3600000)
#define PLENTY ((int64_t)1 << 30)

static struct embedding_cache
cache_of(int64_t max_bytes, int64_t ttl_ms)
{
	return (struct embedding_cache){
		.redis = redis, .dim = DIM, .max_bytes = max_bytes, .ttl_ms = ttl_ms
	};
}

static struct embedding_key
key_of(int64_t n)
{
	struct embedding_key key = { { 0 } };
	char hex[SHA256_HEX_BYTES], text[32];

	(void)snprintf(text, sizeof(text), "%lld", (long long)n);
	sha256_hex(str_of(text), hex);
	assert_true(str_unhex(str_of(hex), key.bytes, sizeof(key.bytes)));
	return key;
}

static void
vector_of(int64_t n, float out[DIM])
{
	for (int i = 0; i < DIM; i++)
		out[i] = (float)n + (float)i / 7.0F;
}

static void
put_one(const struct embedding_cache *cache, int64_t n)
{
	const struct embedding_key key = key_of(n);
	float vector[DIM];

	vector_of(n, vector);
	embedding_cache_put(cache, &key, 1, vector, NULL);
}

/* Found, and then it must be the vector that was put under this key. */
static bool
has(const struct embedding_cache *cache, int64_t n)
{
	const struct embedding_key key = key_of(n);
	float vector[DIM], expected[DIM];
	bool found = false;
	size_t count = embedding_cache_get(cache, &key, 1, vector, &found);

	assert_int_equal(count, found);
	if (!found)
		return false;
	vector_of(n, expected);
	assert_memory_equal(vector, expected, sizeof(expected));
	return true;
}

static int64_t
number(const char *command, const char *key)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t value = 0;

	MUST(REDIS_CALL(redis, &reply, e, command, key));
	assert_true(reply_i64(reply, &value));
	return value;
}

static int64_t
entries(void)
{
	int64_t sum = 0;

	for (int i = 0; i < EMBEDDING_CACHE_GENERATIONS; i++)
		sum += number("HLEN", key_embeddings(i).text);
	return sum;
}

static int64_t
memory(void)
{
	int64_t sum = 0;

	for (int i = 0; i < EMBEDDING_CACHE_GENERATIONS; i++) {
		AUTO_PTR(reply_free) struct reply *reply = NULL;
		struct key key = key_embeddings(i);
		int64_t bytes;

		MUST(REDIS_CALL(redis, &reply, e, "MEMORY", "USAGE", key.text, "SAMPLES", "0"));
		if (reply_i64(reply, &bytes))
			sum += bytes;
	}
	return sum;
}

/* ---- what comes out ---- */

static void
test_what_was_put_comes_out(void **state)
{
	(void)state;
	enum { MANY = 3 * EMBEDDING_CACHE_MANY + 7 };
	const struct embedding_cache cache = cache_of(PLENTY, HOUR_MS);
	static struct embedding_key keys[MANY];
	static float in[MANY * DIM], out[MANY * DIM];
	static bool skip[MANY], found[MANY];
	size_t kept = 0;

	for (int i = 0; i < MANY; i++) {
		keys[i] = key_of(i);
		vector_of(i, in + (ptrdiff_t)i * DIM);
		skip[i] = i % 3 == 1;
		kept += !skip[i];
	}
	assert_int_equal(embedding_cache_get(&cache, keys, MANY, out, found), 0);
	embedding_cache_put(&cache, keys, MANY, in, skip);
	embedding_cache_put(&cache, keys, MANY, in, skip); /* again: nothing changes */
	assert_int_equal(entries(), kept);
	assert_int_equal(embedding_cache_get(&cache, keys, MANY, out, found), kept);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(found[i], !skip[i]);
		if (found[i])
			assert_memory_equal(out + (ptrdiff_t)i * DIM, in + (ptrdiff_t)i * DIM,
					    DIM * sizeof(float));
	}
	embedding_cache_put(&cache, keys, 0, in, NULL);
	assert_int_equal(embedding_cache_get(&cache, keys, 0, out, found), 0);
}

/* What is in Redis may be of a program with a fault: a value that is no vector of this length is a miss. */
static void
test_bad_values_miss(void **state)
{
	(void)state;
	const struct embedding_cache cache = cache_of(PLENTY, HOUR_MS);
	const struct embedding_key key = key_of(1);
	struct embedding_cache other = cache;
	float vector[DIM + 1];
	bool found = true;

	put_one(&cache, 1);
	other.dim = DIM + 1;
	assert_int_equal(embedding_cache_get(&other, &key, 1, vector, &found), 0);
	assert_false(found);
	MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
	vector_of(1, vector);
	vector[DIM - 1] = (float)(0.0 / 0.0);
	embedding_cache_put(&cache, &key, 1, vector, NULL);
	assert_int_equal(entries(), 1);
	assert_false(has(&cache, 1));
	MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
	put_one(&cache, 1);
	MUST(REDIS_CALL(redis, NULL, e, "DEL", key_embeddings(0).text));
	MUST(REDIS_CALL(redis, NULL, e, "SET", key_embeddings(0).text, "a string"));
	assert_false(has(&cache, 1));
}

/* ---- how much ---- */

/* Ten times what there is room for: the bytes that Redis counts itself stay under the bound, and what goes is the oldest. */
static void
test_bytes_are_bounded(void **state)
{
	(void)state;
	const int64_t max_bytes = INT64_C(512) * 1024, all = 10 * max_bytes / INT64_C(256);
	const struct embedding_cache cache = cache_of(max_bytes, HOUR_MS);
	int64_t most = 0, oldest = all;

	for (int64_t n = 0; n < all; n++) {
		put_one(&cache, n);
		if (n % 97 == 0 && memory() > most)
			most = memory();
	}
	assert_true(memory() <= max_bytes && most <= max_bytes);
	/* it is used, too: at least the generations that are full */
	assert_true(memory() > max_bytes / 2);
	for (int64_t n = all - 1; n >= 0 && has(&cache, n); n--)
		oldest = n;
	assert_true(oldest > 0 && all - oldest > entries() / 2);
	assert_false(has(&cache, 0));
	print_message("%lld bytes for %lld vectors of %d bytes: %.0f beside each\n",
		      (long long)memory(), (long long)entries(), DIM * 4,
		      (double)memory() / (double)entries() - DIM * 4);
}

/* What is asked for stays, however much goes through the cache beside it. */
static void
test_what_is_used_stays(void **state)
{
	(void)state;
	const int64_t max_bytes = INT64_C(512) * 1024, all = 10 * max_bytes / INT64_C(256);
	const struct embedding_cache cache = cache_of(max_bytes, HOUR_MS);

	put_one(&cache, -1);
	put_one(&cache, -2);
	for (int64_t n = 0; n < all; n++) {
		put_one(&cache, n);
		if (n % 200 == 0) /* 200 of them are a fifth of the cache */
			assert_true(has(&cache, -1));
	}
	assert_true(has(&cache, -1));
	assert_false(has(&cache, -2));
}

static void
test_too_large_for_the_cache(void **state)
{
	(void)state;
	const struct embedding_cache cache =
		cache_of(EMBEDDING_CACHE_GENERATIONS * INT64_C(100), HOUR_MS);

	put_one(&cache, 1);
	assert_int_equal(entries(), 0);
	assert_false(has(&cache, 1));
}

/* Any order of puts and gets under any bound: never a wrong vector (has() compares), never over the bound. */
static void
test_random_work(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct text_random random = { seed };
		const int64_t max_bytes = (int64_t)(16384 + text_random(&random, 200000));
		const struct embedding_cache cache = cache_of(max_bytes, HOUR_MS);
		int hits = 0;

		MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
		for (int i = 0; i < 3000; i++) {
			int64_t n = (int64_t)text_random(&random, 600);

			if (text_random(&random, 2) == 0)
				put_one(&cache, n);
			else
				hits += has(&cache, n);
		}
		assert_true(memory() <= max_bytes);
		assert_true(hits > 50);
	}
}

/* ---- how long ---- */

static bool
gone(const struct embedding_cache *cache)
{
	return entries() == 0 && !has(cache, 1);
}

static void
test_time_to_live(void **state)
{
	(void)state;
	const struct embedding_cache cache = cache_of(PLENTY, HOUR_MS),
				     brief = cache_of(PLENTY, 80);
	int64_t left_ms;

	put_one(&cache, 1);
	left_ms = number("PTTL", key_embeddings(0).text);
	assert_true(left_ms > HOUR_MS / 2 && left_ms <= HOUR_MS);
	MUST(REDIS_CALL(redis, NULL, e, "FLUSHALL"));
	put_one(&brief, 1);
	for (int64_t end = clock_mono_ms() + 30000; !gone(&brief);)
		assert_true(clock_mono_ms() < end);
	put_one(&brief, 1); /* and the ring goes on */
	assert_true(number("HLEN", key_embeddings_head().text) > 0);
}

/* ---- memory ---- */

static void
test_room(void **state)
{
	(void)state;
	assert_true(embedding_cache_room(1000, 0, 10, 10)); /* Redis has no limit */
	assert_true(embedding_cache_room(800, 1000, 10, 10));
	assert_false(embedding_cache_room(801, 1000, 10, 10));
	assert_true(embedding_cache_room(801, 1000, 10, 5));
}

static void
next_second(void)
{
	AUTO_PTR(reply_free) struct reply *reply = NULL;
	int64_t from, now;

	MUST(REDIS_CALL(redis, &reply, e, "TIME"));
	assert_true(reply_i64(reply_at(reply, 0), &from));
	do {
		reply_free(TAKE(reply));
		MUST(REDIS_CALL(redis, &reply, e, "TIME"));
		assert_true(reply_i64(reply_at(reply, 0), &now));
	} while (now == from);
}

/* A generation a second, the oldest first, until none is left; and then it fills again. */
static void
test_drop(void **state)
{
	(void)state;
	const struct embedding_cache cache = cache_of(INT64_C(64) * 1024, HOUR_MS);
	bool dropped = true;

	MUST(embedding_cache_drop(redis, &dropped, e));
	assert_false(dropped);
	for (int64_t n = 0; n < 30; n++) /* in two generations */
		put_one(&cache, n);
	assert_true(number("HLEN", key_embeddings(1).text) > 0);
	assert_int_equal(number("HLEN", key_embeddings(2).text), 0);
	next_second();
	MUST(embedding_cache_drop(redis, &dropped, e));
	assert_true(dropped);
	assert_false(has(&cache, 0));
	assert_true(has(&cache, 29));
	next_second();
	MUST(embedding_cache_drop(redis, &dropped, e));
	assert_true(dropped);
	MUST(embedding_cache_drop(redis, &dropped,
				  e)); /* within the same second, or nothing left */
	assert_false(dropped);
	assert_int_equal(entries(), 0);
	put_one(&cache, 29);
	assert_true(has(&cache, 29));
}

/* Redis at maxmemory: what is there is found, nothing is kept, and giving back works. */
static void
test_full_redis(void **state)
{
	(void)state;
	const struct embedding_cache cache = cache_of(PLENTY, HOUR_MS);
	struct err err = ERR_INIT;
	bool dropped = false;

	for (int64_t n = 0; n < 500; n++)
		put_one(&cache, n);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "1mb"));
	assert_false(REDIS_CALL(redis, NULL, &err, "SET", "x", "y"));
	assert_int_equal(err.code, ERR_REDIS_FULL);
	put_one(&cache, 1000);
	assert_false(has(&cache, 1000));
	for (int64_t n = 0; n < 500; n++)
		assert_true(has(&cache, n));
	MUST(embedding_cache_drop(redis, &dropped, e));
	assert_true(dropped);
	assert_int_equal(entries(), 0);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
}

/* The same where finding moves entries to the newest generation: at maxmemory they stay where they are. */
static void
test_full_redis_moves_nothing(void **state)
{
	(void)state;
	const struct embedding_cache cache = cache_of(INT64_C(256) * 1024, HOUR_MS);
	int64_t oldest = 600;

	for (int64_t n = 0; n < 600; n++)
		put_one(&cache, n);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "1mb"));
	for (int64_t n = 599; n >= 0 && has(&cache, n); n--)
		oldest = n;
	assert_int_equal(600 - oldest, entries());
	for (int64_t n = 599; n >= oldest; n--)
		assert_true(has(&cache, n));
	assert_int_equal(600 - oldest, entries());
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
}

static void
test_memory_of_redis(void **state)
{
	(void)state;
	int64_t used = 0, most = -1;

	MUST(redis_memory(redis, &used, &most, e));
	assert_true(used > 100000);
	assert_int_equal(most, 0);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "64mb"));
	MUST(redis_memory(redis, &used, &most, e));
	assert_int_equal(most, 64 * 1024 * 1024);
	MUST(REDIS_CALL(redis, NULL, e, "CONFIG", "SET", "maxmemory", "0"));
}

/* Last: the server does not come back. */
static void
test_redis_is_away(void **state)
{
	(void)state;
	const struct embedding_cache cache = cache_of(PLENTY, HOUR_MS);
	struct err err = ERR_INIT;
	bool dropped;
	int64_t used, most;

	put_one(&cache, 1);
	redis_server_kill(server);
	assert_false(has(&cache, 1));
	put_one(&cache, 1);
	assert_false(embedding_cache_drop(redis, &dropped, &err));
	assert_int_equal(err.code, ERR_REDIS_UNAVAILABLE);
	assert_false(redis_memory(redis, &used, &most, &err));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_what_was_put_comes_out, redis_group_clear),
		cmocka_unit_test_setup(test_bad_values_miss, redis_group_clear),
		cmocka_unit_test_setup(test_bytes_are_bounded, redis_group_clear),
		cmocka_unit_test_setup(test_what_is_used_stays, redis_group_clear),
		cmocka_unit_test_setup(test_too_large_for_the_cache, redis_group_clear),
		cmocka_unit_test_setup(test_random_work, redis_group_clear),
		cmocka_unit_test_setup(test_time_to_live, redis_group_clear),
		cmocka_unit_test_setup(test_room, redis_group_clear),
		cmocka_unit_test_setup(test_drop, redis_group_clear),
		cmocka_unit_test_setup(test_full_redis, redis_group_clear),
		cmocka_unit_test_setup(test_full_redis_moves_nothing, redis_group_clear),
		cmocka_unit_test_setup(test_memory_of_redis, redis_group_clear),
		cmocka_unit_test_setup(test_redis_is_away, redis_group_clear),
	};

	return cmocka_run_group_tests(tests, redis_group_start, redis_group_stop);
}
