#include "worker/slot.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/queue.h"
#include "worker/run.h"

#define SLOT_BLOCK_MS 1000 /* a drain and a pause are noticed within it */
#define SLOT_PAUSED_MS 200
#define SLOT_OUTAGE_MIN_MS 100
#define SLOT_OUTAGE_MAX_MS 2000
#define SLOT_START_RETRY_MS 500
#define SLOT_BREATH_MIN_MS 50
#define SLOT_BREATH_MAX_MS 2000

/* What one slot's thread owns. */
struct slot_state {
	struct slot *slot;
	struct run_slot run;
	struct arena arena;
	int64_t outage_wait_ms; /* 0 = Redis answered last time */
	int64_t breath_ms;	/* 0 = the last job did not have to wait */
};

/* An outage is logged when it begins and when it ends, not in between. */
static void
wait_out_outage(struct slot_state *state, const struct err *err)
{
	struct worker_app *app = state->slot->app;
	int64_t wait_ms = state->outage_wait_ms;

	if (wait_ms == 0) {
		log_err(LOG_WARN, err, "cannot take work from queue '%s', waiting",
			state->slot->queue->ref.name);
		wait_ms = SLOT_OUTAGE_MIN_MS;
	} else {
		wait_ms = wait_ms * 2 > SLOT_OUTAGE_MAX_MS ? SLOT_OUTAGE_MAX_MS : wait_ms * 2;
	}
	state->outage_wait_ms = wait_ms;
	worker_pause(app, wait_ms / 2 + (int64_t)(id_random_u64() % (uint64_t)(wait_ms / 2 + 1)));
}

static void
redis_answered(struct slot_state *state)
{
	atomic_store(&state->slot->app->fetched_mono_ms, clock_mono_ms());
	if (state->outage_wait_ms == 0)
		return;
	state->outage_wait_ms = 0;
	log_info("taking work from queue '%s' again", state->slot->queue->ref.name);
}

/*
 * After a job that has to wait for a dependency the next one most likely has to, too. A slot that went on at once would run through
 * the whole queue, each job to be put aside and taken up again; so it pauses, longer each time, until one job does not wait.
 */
static void
take_breath(struct slot_state *state)
{
	int64_t wait_ms = state->breath_ms * 2;

	if (!state->run.waits) {
		state->breath_ms = 0;
		return;
	}
	wait_ms = wait_ms < SLOT_BREATH_MIN_MS ? SLOT_BREATH_MIN_MS : wait_ms;
	state->breath_ms = wait_ms = wait_ms > SLOT_BREATH_MAX_MS ? SLOT_BREATH_MAX_MS : wait_ms;
	if (state->run.retry_after_ms >= 0 && state->run.retry_after_ms < wait_ms)
		wait_ms = state->run.retry_after_ms;
	worker_pause(state->slot->app,
		     wait_ms / 2 + (int64_t)(id_random_u64() % (uint64_t)(wait_ms / 2 + 1)));
}

static void
take_one(struct slot_state *state, const struct queue_entry *entry)
{
	struct slot *slot = state->slot;
	const struct config *config = slot->app->config;
	const struct queue_start how = { .consumer = slot->consumer,
					 .max_payload_bytes = (size_t)config->job_memory_bytes,
					 .arena = &state->arena };
	struct queue_started started = { .result = QUEUE_START_SKIPPED };
	struct err err = ERR_INIT;

	/*
	 * A start whose answer is lost may have been made, and is charged unless it is settled: ask again, the same epoch
	 * comes back. Stopping, the entry stays pending with this consumer; the reaper turns it into a new one.
	 */
	while (!queue_start(state->run.env.redis, slot->queue->ref, entry, &how, &started, &err)) {
		log_err(LOG_WARN, &err, "could not start job %s", entry->job_id);
		if (!err_info(err.code)->outage || !worker_pause(slot->app, SLOT_START_RETRY_MS))
			return;
		arena_reset(&state->arena);
		err_clear(&err);
	}
	if (started.result == QUEUE_START_PAUSED)
		atomic_store(&slot->queue->paused, true);
	if (started.result == QUEUE_START_BROKEN) {
		metric_add(slot->app->m.jobs_total,
			   METRIC_VALUES(started.job.type, job_status_name(started.job.status)), 1);
		log_error("job %s is dead: its payload cannot be read", started.job.id);
	}
	if (started.result == QUEUE_START_ENDED)
		job_settled(&state->run.env, &started.job, started.payload);
	if (started.result != QUEUE_STARTED)
		return;
	log_field("job_id", started.job.id);
	log_field("job_type", started.job.type);
	log_field_i64("attempt", started.job.starts);
	run_job(&state->run, &started.lease, &started.job, started.payload);
	log_clear_fields();
	take_breath(state);
}

static void *
slot_main(void *arg)
{
	struct slot_state *state = arg;
	struct slot *slot = state->slot;
	struct worker_app *app = slot->app;
	struct queue_entry entry;
	bool got;

	while (!atomic_load(&app->stopping)) {
		struct err err = ERR_INIT;

		if (atomic_load(&slot->queue->paused)) {
			worker_pause(app, SLOT_PAUSED_MS);
			continue;
		}
		if (!queue_fetch(state->run.env.redis, slot->queue->ref, slot->consumer,
				 SLOT_BLOCK_MS, &got, &entry, &err)) {
			wait_out_outage(state, &err);
			continue;
		}
		redis_answered(state);
		if (!got)
			continue;
		take_one(state, &entry);
		arena_reset(&state->arena);
	}
	embedder_close(state->run.env.embedder);
	reranker_close(state->run.env.reranker);
	generator_close(state->run.env.generator);
	redis_free(state->run.env.redis);
	arena_release(&state->arena);
	mem_free(state);
	return NULL;
}

static bool
open_env(struct slot_state *state, struct worker_app *app, struct err *err)
{
	struct job_env *env = &state->run.env;

	env->config = app->config;
	env->store = app->store;
	env->embed_pool = app->embed_pool;
	env->step_seconds = app->m.step_seconds;
	env->cache_total = app->m.cache_total;
	env->provider_metrics = &app->m.provider;
	env->prompt = app->prompt;
	return redis_new(&app->redis_opts, &env->redis, err) &&
	       embedder_open(app->config, &env->embedder, err) &&
	       reranker_open(app->config, &env->reranker, err) &&
	       generator_open(app->config, &env->generator, err);
}

bool
slot_start(struct slot *slot, struct worker_app *app, size_t index, struct worker_queue *queue,
	   struct err *err)
{
	struct slot_state *state = mem_alloc(sizeof(*state));

	slot->app = app;
	slot->index = index;
	slot->queue = queue;
	(void)snprintf(slot->consumer, sizeof(slot->consumer), "%s/%zu", app->instance, index);
	state->slot = slot;
	state->run.app = app;
	state->run.index = index;
	state->run.arena = &state->arena;
	arena_init(&state->arena, (size_t)app->config->job_memory_bytes);
	if (open_env(state, app, err)) {
		if (pthread_create(&slot->thread, NULL, slot_main, state) == 0)
			return true;
		err_set(err, ERR_INTERNAL, "could not start the thread of slot %zu", index);
	}
	embedder_close(state->run.env.embedder);
	reranker_close(state->run.env.reranker);
	generator_close(state->run.env.generator);
	redis_free(state->run.env.redis);
	arena_release(&state->arena);
	mem_free(state);
	return false;
}

void
slot_join(struct slot *slot)
{
	pthread_join(slot->thread, NULL);
}
