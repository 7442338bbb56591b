/*
 * Calls that several jobs share, like the commits of a database that share one fsync.
 *
 * The problem. Most documents of an import are a chunk or two. A call for each would use up a limit of requests a minute with calls that
 * carry a hundredth of what they may. Waiting for more texts to come would make each job slower where nobody else comes.
 *
 * The idea. A load gets in line. If fewer than EMBED_FLIGHTS calls are in flight, the first in line makes one, with its own embedder, and
 * takes along who stands behind it, as many as one call may carry. The others wait for it. So a lone load goes at once, and while
 * calls are in flight, or wait for a provider's limit, the line grows and the next call carries more.
 *
 * Invariants, all under the pool's lock
 *  1. A load is in one state: WAITING (in line), ABOARD (of one flight), LANDED (has its outcome) or ALONE (to be called for by its own
 *     thread). Only the flight's leader ends ABOARD, but for 3.
 *  2. The leader reads texts and writes vectors of a flight of its own (copies), never a load's memory without the lock.
 *  3. A thread that must not wait any longer (cancel, deadline) gets off: its seat is emptied, or it leaves the line. So it never waits for
 *     somebody else's call longer than EMBED_LOOK_MS.
 *  4. Whoever ends a flight wakes all: somebody in line can lead now.
 *
 * Failures. An outage, or a limit, is everybody's: one call has found out for all, and all wait in the queue. What ends the leader alone
 * (cancel, deadline) is its own: the others are the first in line again. Anything else may be the fault of one text: each load
 * is called for on its own, and only the guilty one fails.
 */
#include "jobs/step/embed_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/embedding_cache.h"

#define EMBED_LOOK_MS 100
#define MAX_ABOARD 256
#define ROOM_LOOK_MS 1000

enum waiter_state { WAITING, ABOARD, LANDED, ALONE };

struct flight;
struct waiter {
	const struct embed_load *load;
	enum waiter_state state;
	struct flight *flight; /* ABOARD */
	size_t seat;
	struct provider_usage usage; /* LANDED */
	struct err err;		     /* LANDED; ERR_NONE = good */
	struct waiter *next;	     /* WAITING */
};

struct flight {
	struct waiter *aboard[MAX_ABOARD]; /* NULL: got off */
	size_t firsts[MAX_ABOARD];	   /* its first text */
	size_t seats, count;
	int64_t tokens;
	/* owned */
	struct str *texts;
	char *bytes;		/* of the texts */
	struct embed_load load; /* of all: texts, out and split */
};

struct embed_pool {
	/* immutable */
	struct embed_pool_opts opts;
	/* atomic */
	struct embed_limits limits;
	atomic_int_least64_t room_looked_ms;
	atomic_bool has_room;
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct waiter *first, *last; /* in line */
	size_t flights;
};

struct embed_pool *
embed_pool_new(const struct embed_pool_opts *opts)
{
	struct embed_pool *pool = mem_alloc(sizeof(*pool));

	pool->opts = *opts;
	atomic_store(&pool->limits.text_tokens, opts->text_tokens);
	atomic_store(&pool->has_room, true); /* for who asks while the first look is on its way */
	pthread_mutex_init(&pool->lock, NULL);
	clock_cond_init(&pool->changed);
	return pool;
}

void
embed_pool_free(struct embed_pool *pool)
{
	if (!pool)
		return;
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
	mem_free(pool);
}

const struct embed_pool_opts *
embed_pool_opts(const struct embed_pool *pool)
{
	return &pool->opts;
}

struct embed_limits *
embed_pool_limits(struct embed_pool *pool)
{
	return &pool->limits;
}

bool
embed_pool_has_room(struct embed_pool *pool, struct redis *redis)
{
	int64_t now_ms = clock_mono_ms(), looked_ms = atomic_load(&pool->room_looked_ms);
	int64_t used_bytes, maxmemory_bytes;
	struct err ignored = ERR_INIT;

	if (looked_ms != 0 && now_ms - looked_ms < ROOM_LOOK_MS)
		return atomic_load(&pool->has_room);
	atomic_store(&pool->room_looked_ms, now_ms);
	atomic_store(&pool->has_room,
		     redis_memory(redis, &used_bytes, &maxmemory_bytes, &ignored) &&
			     embedding_cache_room(used_bytes, maxmemory_bytes,
						  pool->opts.redis_headroom_percent,
						  EMBEDDING_CACHE_STOP_PERCENT));
	return atomic_load(&pool->has_room);
}

/* ---- the line; under lock ---- */

static void
join_line(struct embed_pool *pool, struct waiter *waiter)
{
	waiter->state = WAITING;
	waiter->next = NULL;
	if (pool->last)
		pool->last->next = waiter;
	else
		pool->first = waiter;
	pool->last = waiter;
}

static void
leave_line(struct embed_pool *pool, struct waiter *waiter)
{
	struct waiter **at = &pool->first, *before = NULL;

	while (*at != waiter) {
		before = *at;
		at = &(*at)->next;
	}
	*at = waiter->next;
	if (pool->last == waiter)
		pool->last = before;
}

static void
join_first(struct embed_pool *pool, struct waiter *waiter)
{
	waiter->state = WAITING;
	waiter->next = pool->first;
	pool->first = waiter;
	if (!pool->last)
		pool->last = waiter;
}

size_t
embed_pool_line(struct embed_pool *pool)
{
	size_t count = 0;

	pthread_mutex_lock(&pool->lock);
	for (const struct waiter *at = pool->first; at; at = at->next)
		count++;
	pthread_mutex_unlock(&pool->lock);
	return count;
}

/* ---- a flight ---- */

static size_t
bytes_of(const struct embed_load *load)
{
	size_t bytes = 0;

	for (size_t i = 0; i < load->count; i++)
		bytes += load->texts[i].len;
	return bytes;
}

/* The first in line, and who else fits behind it. */
static void
board(struct embed_pool *pool, const struct embedder *embedder, struct flight *flight)
{
	size_t batch = embed_batch(embedder, &pool->limits), bytes = 0;

	while (pool->first && flight->seats < MAX_ABOARD) {
		struct waiter *waiter = pool->first;
		const struct embed_load *load = waiter->load;
		size_t more = bytes_of(load);

		if (flight->seats > 0 &&
		    (flight->count + load->count > batch || bytes + more > EMBED_MAX_CALL_BYTES ||
		     flight->tokens + load->tokens > pool->opts.call_tokens))
			break;
		leave_line(pool, waiter);
		waiter->state = ABOARD;
		waiter->flight = flight;
		waiter->seat = flight->seats;
		flight->firsts[flight->seats] = flight->count;
		flight->aboard[flight->seats++] = waiter;
		flight->count += load->count;
		flight->tokens += load->tokens;
		bytes += more;
	}
	pool->flights++;
}

/* Copies of the texts: who gets off takes its own away (invariants 2 and 3). */
static void
pack(struct flight *flight, size_t dim)
{
	size_t bytes = 0, at = 0, n = 0;

	for (size_t i = 0; i < flight->seats; i++)
		bytes += bytes_of(flight->aboard[i]->load);
	flight->bytes = mem_alloc(bytes + 1);
	flight->texts = mem_array(flight->count, sizeof(*flight->texts));
	flight->load.texts = flight->texts;
	flight->load.count = flight->count;
	flight->load.tokens = flight->tokens;
	flight->load.out = mem_array(flight->count, dim * sizeof(float));
	flight->load.split = mem_array(flight->count, sizeof(bool));
	for (size_t i = 0; i < flight->seats; i++) {
		const struct embed_load *load = flight->aboard[i]->load;

		for (size_t k = 0; k < load->count; k++) {
			memcpy(flight->bytes + at, load->texts[k].ptr, load->texts[k].len);
			flight->texts[n++] = str_make(flight->bytes + at, load->texts[k].len);
			at += load->texts[k].len;
		}
	}
}

static void
unpack(struct flight *flight)
{
	mem_free(flight->bytes);
	mem_free(flight->texts);
	mem_free(flight->load.out);
	mem_free(flight->load.split);
}

static void
deliver(const struct flight *flight, size_t dim, struct waiter *waiter)
{
	const struct embed_load *load = waiter->load;
	size_t first = flight->firsts[waiter->seat];

	memcpy(load->out, flight->load.out + first * dim, load->count * dim * sizeof(float));
	memcpy(load->split, flight->load.split + first, load->count * sizeof(bool));
}

/* Its part of the tokens by its own estimate; the request itself is the leader's. */
static void
share_usage(const struct flight *flight, const struct provider_usage *used, struct waiter *waiter,
	    struct provider_usage *left)
{
	int64_t tokens = flight->tokens > 0
				 ? (int64_t)((double)used->embedding_tokens *
					     (double)waiter->load->tokens / (double)flight->tokens)
				 : 0;

	waiter->usage = (struct provider_usage){ .embedding_tokens = tokens };
	left->embedding_tokens -= tokens;
}

static bool
ends_the_caller_alone(enum err_code code)
{
	return code == ERR_CANCELLED || code == ERR_DEADLINE || code == ERR_STALE;
}

/* Under lock. failure: ERR_NONE when the call was good. */
static void
land(struct embed_pool *pool, struct flight *flight, size_t dim, const struct provider_usage *used,
     const struct err *failure)
{
	struct provider_usage left = *used;

	for (size_t i = flight->seats; i-- > 0;) { /* the leader last: it bears what is left */
		struct waiter *waiter = flight->aboard[i];

		if (!waiter)
			continue;
		if (i > 0)
			share_usage(flight, used, waiter, &left);
		else
			waiter->usage = left;
		waiter->state = LANDED;
		waiter->err = *failure;
		if (failure->code == ERR_NONE) {
			if (flight->seats > 1)
				deliver(flight, dim, waiter);
		} else if (ends_the_caller_alone(failure->code)) {
			if (i > 0)
				join_first(pool, waiter);
		} else if (!err_info(failure->code)->outage && flight->seats > 1) {
			waiter->state = ALONE;
		}
	}
	pool->flights--;
	pthread_cond_broadcast(&pool->changed);
}

/* The leader's part, from line to landing; the lock is held before and after, not meanwhile. */
static void
fly(struct embed_pool *pool, struct embedder *embedder, const struct provider_call *call,
    const struct embed_load *load)
{
	struct flight *flight = mem_alloc(sizeof(*flight));
	struct provider_usage used = { 0 };
	struct provider_call own = *call;
	struct err failure = ERR_INIT;

	board(pool, embedder, flight);
	if (flight->seats > 1)
		pack(flight, embedder->dim);
	/* there may be room for one more flight, and somebody left in line */
	pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
	own.usage = &used;
	(void)embed_call(embedder, &own, EMBED_DOCUMENT, &pool->limits,
			 flight->seats > 1 ? &flight->load : load, &failure);
	pthread_mutex_lock(&pool->lock);
	land(pool, flight, embedder->dim, &used, &failure);
	unpack(flight);
	mem_free(flight);
}

/* Until it has its outcome, or is to be called for alone, or must not wait any longer (false). Under lock. */
static bool
travel(struct embed_pool *pool, struct embedder *embedder, const struct provider_call *call,
       struct waiter *waiter, struct err *err)
{
	join_line(pool, waiter);
	while (waiter->state == WAITING || waiter->state == ABOARD) {
		if (!provider_call_check(call, err)) {
			if (waiter->state == WAITING)
				leave_line(pool, waiter);
			else
				waiter->flight->aboard[waiter->seat] = NULL;
			/* it may have been the one to lead */
			pthread_cond_broadcast(&pool->changed);
			return false;
		}
		if (waiter->state == WAITING && pool->first == waiter &&
		    pool->flights < EMBED_FLIGHTS)
			fly(pool, embedder, call, waiter->load);
		else
			(void)clock_cond_wait(&pool->changed, &pool->lock,
					      clock_mono_ms() + EMBED_LOOK_MS);
	}
	return true;
}

bool
embed_pool_call(struct embed_pool *pool, struct embedder *embedder,
		const struct provider_call *call, const struct embed_load *load, struct err *err)
{
	struct waiter waiter = { .load = load, .err = ERR_INIT };
	bool ok;

	pthread_mutex_lock(&pool->lock);
	ok = travel(pool, embedder, call, &waiter, err);
	pthread_mutex_unlock(&pool->lock);
	if (!ok)
		return false;
	if (call->usage) {
		call->usage->requests += waiter.usage.requests;
		call->usage->embedding_tokens += waiter.usage.embedding_tokens;
	}
	if (waiter.state == ALONE)
		return embed_call(embedder, call, EMBED_DOCUMENT, &pool->limits, load, err);
	if (waiter.err.code == ERR_NONE)
		return true;
	*err = waiter.err;
	return false;
}
