/*
 * The pool of redis.h: `size` connections, made at the start (they connect on first use), lent to one thread at a
 * time. Idle ones lie on a stack, so that a quiet time keeps few of them warm. A connection reconnects by itself; what
 * it may bring back is a half-read pipeline or a subscription, and those are dropped by the next command or here.
 */
#include <assert.h>
#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/redis.h"

struct redis_pool {
	pthread_mutex_t lock;
	pthread_cond_t given; /* waits by the monotonic clock */
	/* immutable after redis_pool_new */
	size_t size;
	/* shared, under lock */
	struct redis **idle; /* owned, those that are not lent */
	size_t idle_count;
};

bool
redis_pool_new(const struct redis_opts *opts, size_t size, struct redis_pool **out, struct err *err)
{
	struct redis_pool *pool = mem_alloc(sizeof(*pool));

	(void)pthread_mutex_init(&pool->lock, NULL);
	clock_cond_init(&pool->given);
	pool->idle = mem_array(size > 0 ? size : 1, sizeof(struct redis *));
	while (pool->idle_count < size) {
		if (!redis_new(opts, &pool->idle[pool->idle_count], err)) {
			pool->size = pool->idle_count;
			redis_pool_free(pool);
			return false;
		}
		pool->idle_count++;
	}
	pool->size = size;
	*out = pool;
	return true;
}

void
redis_pool_free(struct redis_pool *pool)
{
	if (!pool)
		return;
	assert(pool->idle_count == pool->size); /* all have been given back */
	for (size_t i = 0; i < pool->idle_count; i++)
		redis_free(pool->idle[i]);
	mem_free(pool->idle);
	(void)pthread_cond_destroy(&pool->given);
	(void)pthread_mutex_destroy(&pool->lock);
	mem_free(pool);
}

bool
redis_pool_take(struct redis_pool *pool, int wait_ms, struct redis **out, struct err *err)
{
	int64_t until_ms = clock_mono_ms() + wait_ms;
	struct redis *redis = NULL;

	(void)pthread_mutex_lock(&pool->lock);
	while (pool->idle_count == 0 && clock_cond_wait(&pool->given, &pool->lock, until_ms))
		;
	if (pool->idle_count > 0)
		redis = pool->idle[--pool->idle_count];
	(void)pthread_mutex_unlock(&pool->lock);
	if (!redis)
		return err_set(err, ERR_OVERLOADED,
			       "could not get a connection to Redis: all %zu are in use",
			       pool->size);
	*out = redis;
	return true;
}

void
redis_pool_give(struct redis_pool *pool, struct redis *redis)
{
	if (!redis)
		return;
	if (redis_is_subscribed(redis))
		redis_disconnect(redis);
	(void)pthread_mutex_lock(&pool->lock);
	assert(pool->idle_count < pool->size);
	pool->idle[pool->idle_count++] = redis;
	(void)pthread_cond_signal(&pool->given);
	(void)pthread_mutex_unlock(&pool->lock);
}
