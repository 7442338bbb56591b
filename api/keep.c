#include "api/keep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/embedding_cache.h"

#define TICK_MS 1000
#define AWAY_TICK_MS 200
#define RATE_SAMPLES 60
#define KEEP_ROUNDS 20 /* of at most 100 items each, a tick */
#define MIN_RETRY_MS 1000
#define MAX_RETRY_MS 60000
#define UNKNOWN_RATE_RETRY_MS 10000

struct sample {
	int64_t mono_ms, finished;
};

struct rate {
	struct sample samples[RATE_SAMPLES];
	size_t count, at; /* a ring; at = the next to write */
};

struct keep {
	/* immutable after start */
	const struct config *config;
	struct queue_ref queues[KEEP_MAX_QUEUES];
	size_t queue_count;
	char owner[JOB_WORKER_BYTES];
	pthread_t thread;
	/* owned by the thread */
	struct redis *redis;
	struct rate rates[KEEP_MAX_QUEUES];
	int64_t checked_connection_ms; /* of which connection the server was checked */
	/* shared */
	atomic_bool up;
	atomic_llong up_since_ms;
	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	struct keep_figures figures;
};

/* ---- Redis' state ---- */

static void
set_up(struct keep *keep)
{
	bool was_up = atomic_load(&keep->up);

	atomic_store(&keep->up_since_ms, redis_connected_since_ms(keep->redis));
	atomic_store(&keep->up, true);
	pthread_mutex_lock(&keep->lock);
	keep->figures.redis_up = true;
	keep->figures.reason[0] = '\0';
	pthread_mutex_unlock(&keep->lock);
	if (!was_up)
		log_info("Redis is there");
}

static void
set_away(struct keep *keep, const struct err *why)
{
	bool was_up = atomic_load(&keep->up), first;

	atomic_store(&keep->up, false);
	pthread_mutex_lock(&keep->lock);
	first = keep->figures.reason[0] == '\0';
	keep->figures.redis_up = false;
	str_copy(keep->figures.reason, sizeof(keep->figures.reason), str_of(why->msg));
	pthread_mutex_unlock(&keep->lock);
	if (was_up || first)
		log_err(LOG_WARN, why, "requests are answered 503 until Redis is back");
}

static bool
read_memory(struct keep *keep, struct err *err)
{
	int64_t used_bytes, maxmemory_bytes, headroom = keep->config->redis_headroom_percent;
	struct err ignored = ERR_INIT;
	bool dropped;

	if (!redis_memory(keep->redis, &used_bytes, &maxmemory_bytes, err))
		return false;
	pthread_mutex_lock(&keep->lock);
	keep->figures.used_bytes = used_bytes;
	keep->figures.maxmemory_bytes = maxmemory_bytes;
	pthread_mutex_unlock(&keep->lock);
	/* before submissions are refused for want of memory, vectors that can be had again go */
	if (!embedding_cache_room(used_bytes, maxmemory_bytes, headroom,
				  EMBEDDING_CACHE_DROP_PERCENT) &&
	    !embedding_cache_drop(keep->redis, &dropped, &ignored))
		log_debug("%s", ignored.msg);
	return true;
}

/* Once a connection: what it must not be was perhaps put right, or wrong, while it was away. */
static bool
check_server(struct keep *keep, struct err *err)
{
	char warning[ERR_MSG_MAX_BYTES] = "";

	if (redis_is_connected(keep->redis) &&
	    redis_connected_since_ms(keep->redis) == keep->checked_connection_ms)
		return true;
	if (!redis_check_server(keep->redis, warning, sizeof(warning), err))
		return false;
	keep->checked_connection_ms = redis_connected_since_ms(keep->redis);
	if (warning[0])
		log_warn("%s", warning);
	return true;
}

/* ---- figures ---- */

static double
rate_add(struct rate *rate, int64_t finished)
{
	int64_t now = clock_mono_ms();
	const struct sample *oldest;
	struct sample newest = { now, finished };

	rate->samples[rate->at] = newest;
	rate->at = (rate->at + 1) % RATE_SAMPLES;
	if (rate->count < RATE_SAMPLES)
		rate->count++;
	oldest = &rate->samples[rate->count < RATE_SAMPLES ? 0 : rate->at];
	if (now <= oldest->mono_ms || finished <= oldest->finished)
		return 0;
	return (double)(finished - oldest->finished) * 1000.0 / (double)(now - oldest->mono_ms);
}

static bool
read_stats(struct keep *keep, struct err *err)
{
	for (size_t i = 0; i < keep->queue_count; i++) {
		struct keep_queue *queue = &keep->figures.queues[i];
		struct queue_stats stats = { 0 };
		double per_s;

		if (!queue_stats(keep->redis, keep->queues[i], keep->config->lease_ms, &stats, err))
			return false;
		per_s = rate_add(&keep->rates[i], stats.finished_total);
		pthread_mutex_lock(&keep->lock);
		queue->stats = stats;
		queue->finished_per_s = per_s;
		queue->known = true;
		pthread_mutex_unlock(&keep->lock);
	}
	return true;
}

static bool
keep_queues(struct keep *keep, struct err *err)
{
	const struct config *config = keep->config;
	struct queue_keep_opts opts = {
		.lease_ms = config->lease_ms,
		.backoff_base_ms = config->backoff_base_ms,
		.backoff_max_ms = config->backoff_max_ms,
		.dead_max_age_ms = config->dead_max_age_s * 1000,
		.done_max_age_ms = config->done_max_age_s * 1000,
		.done_max_bytes = config->done_max_bytes,
	};

	for (size_t i = 0; i < keep->queue_count; i++) {
		for (int round = 0; round < KEEP_ROUNDS; round++) {
			int64_t since = redis_connected_since_ms(keep->redis);
			struct queue_kept kept = { 0 };

			opts.may_reap = since > 0 && clock_mono_ms() - since >= opts.lease_ms;
			if (!queue_keep(keep->redis, keep->queues[i], keep->owner, &opts, &kept,
					err))
				return false;
			if (kept.reaped > 0)
				log_info("%lld jobs of queue %s lost their worker",
					 (long long)kept.reaped, keep->queues[i].name);
			if (kept.promoted < 100 && kept.reaped < 100 && kept.swept < 100)
				break;
		}
	}
	return true;
}

static bool
tick(struct keep *keep)
{
	struct err err = ERR_INIT;

	if (!check_server(keep, &err) || !read_memory(keep, &err)) {
		set_away(keep, &err);
		return false;
	}
	set_up(keep);
	if (!read_stats(keep, &err) || !keep_queues(keep, &err)) {
		if (err.code == ERR_REDIS_UNAVAILABLE) {
			set_away(keep, &err);
			return false;
		}
		log_err(LOG_ERROR, &err, "could not look after the queues");
	}
	return true;
}

static void *
keep_run(void *user)
{
	struct keep *keep = user;

	pthread_mutex_lock(&keep->lock);
	while (!keep->stop) {
		pthread_mutex_unlock(&keep->lock);
		int64_t until = (tick(keep) ? TICK_MS : AWAY_TICK_MS) + clock_mono_ms();

		pthread_mutex_lock(&keep->lock);
		while (!keep->stop && clock_cond_wait(&keep->wake, &keep->lock, until))
			;
	}
	pthread_mutex_unlock(&keep->lock);
	return NULL;
}

/* ---- life ---- */

static bool
first_look(struct keep *keep, struct err *err)
{
	struct err first = ERR_INIT;

	if (check_server(keep, &first) && read_memory(keep, &first)) {
		set_up(keep);
		return true;
	}
	if (first.code == ERR_CONFIG) {
		*err = first;
		return false;
	}
	set_away(keep, &first);
	return true;
}

static void
keep_free(struct keep *keep)
{
	pthread_cond_destroy(&keep->wake);
	pthread_mutex_destroy(&keep->lock);
	redis_free(keep->redis);
	mem_free(keep);
}

bool
keep_start(const struct config *config, const struct redis_opts *opts, struct keep **out,
	   struct err *err)
{
	struct keep *keep = mem_alloc(sizeof(*keep));
	char ulid[ID_ULID_BYTES];

	keep->config = config;
	id_ulid(ulid);
	(void)snprintf(keep->owner, sizeof(keep->owner), "api-%s", ulid);
	for (size_t i = 0; i < KEEP_MAX_QUEUES && job_queue_names[i]; i++) {
		if (!job_queue_find(str_of(job_queue_names[i]), 0, &keep->queues[i]))
			break;
		keep->figures.queues[i].name = keep->queues[i].name;
		keep->queue_count++;
	}
	pthread_mutex_init(&keep->lock, NULL);
	clock_cond_init(&keep->wake);
	if (!redis_new(opts, &keep->redis, err) || !first_look(keep, err)) {
		keep_free(keep);
		return false;
	}
	int errnum = pthread_create(&keep->thread, NULL, keep_run, keep);
	if (errnum != 0) {
		keep_free(keep);
		return err_errno(err, errnum, "start the thread of the queues");
	}
	*out = keep;
	return true;
}

void
keep_stop(struct keep *keep)
{
	if (!keep)
		return;
	pthread_mutex_lock(&keep->lock);
	keep->stop = true;
	pthread_cond_signal(&keep->wake);
	pthread_mutex_unlock(&keep->lock);
	pthread_join(keep->thread, NULL);
	keep_free(keep);
}

/* ---- what others ask ---- */

bool
keep_redis_up(struct keep *keep, int64_t *out_since_mono_ms, struct err *err)
{
	if (atomic_load(&keep->up)) {
		*out_since_mono_ms = atomic_load(&keep->up_since_ms);
		return true;
	}
	struct keep_figures figures;
	keep_figures(keep, &figures);
	return err_set(err, ERR_REDIS_UNAVAILABLE, "%s",
		       figures.reason[0] ? figures.reason : "the queue is not reachable");
}

void
keep_figures(struct keep *keep, struct keep_figures *out)
{
	pthread_mutex_lock(&keep->lock);
	*out = keep->figures;
	pthread_mutex_unlock(&keep->lock);
}

static const struct keep_queue *
find_queue(const struct keep_figures *figures, struct queue_ref queue)
{
	for (const struct keep_queue *row = figures->queues; row->name; row++)
		if (strcmp(row->name, queue.name) == 0)
			return row;
	return NULL;
}

static int64_t
drain_ms(const struct keep_queue *queue, double jobs)
{
	double ms;

	if (!queue || queue->finished_per_s <= 0)
		return UNKNOWN_RATE_RETRY_MS;
	ms = jobs * 1000.0 / queue->finished_per_s;
	if (ms < MIN_RETRY_MS)
		return MIN_RETRY_MS;
	return ms > MAX_RETRY_MS ? MAX_RETRY_MS : (int64_t)ms;
}

int64_t
keep_retry_after_ms(struct keep *keep, struct queue_ref queue)
{
	struct keep_figures figures;
	const struct keep_queue *row;

	keep_figures(keep, &figures);
	row = find_queue(&figures, queue);
	/* until a twentieth of the queue is done, so that not all come back for one free place */
	return drain_ms(row, row ? (double)(row->stats.waiting + row->stats.due_soon) / 20 : 0);
}

bool
keep_admit(struct keep *keep, struct queue_ref queue, bool small, struct err *err)
{
	const struct config *config = keep->config;
	int64_t percent =
		small ? config->redis_headroom_percent / 2 : config->redis_headroom_percent;
	struct keep_figures figures;
	const struct keep_queue *row;

	keep_figures(keep, &figures);
	row = find_queue(&figures, queue);
	if (figures.maxmemory_bytes > 0 &&
	    figures.used_bytes > figures.maxmemory_bytes / 100 * (100 - percent)) {
		err_set(err, ERR_OVERLOADED,
			"the queue's memory is short: less than %lld %% of it is free",
			(long long)percent);
		err->retry_after_ms = keep_retry_after_ms(keep, queue);
		return false;
	}
	if (config->queue_max_age_s > 0 && row && row->known && !row->stats.paused &&
	    row->stats.oldest_waiting_ms > config->queue_max_age_s * 1000) {
		err_set(err, ERR_OVERLOADED,
			"the oldest job of queue '%s' has waited for %lld s, at most %lld s may be",
			queue.name, (long long)(row->stats.oldest_waiting_ms / 1000),
			(long long)config->queue_max_age_s);
		err->retry_after_ms = keep_retry_after_ms(keep, queue);
		return false;
	}
	return true;
}
