/*
 * keeper: one round every KEEPER_TICK_MS.
 *
 *  every round    renew the leases that are due (a third of lease_ms after the last time; all at once after an outage)
 *  every second   read the cancel flags of running jobs and the pause flags of the queues; announce the consumers; keep the
 *                 queues (promote, reap, sweep: under an advisory lease, so many keepers do it once)
 *
 * Rules:
 *  1. Renewing comes first in every round, and nothing else in a round takes longer than a fraction of the lease.
 *  2. Reaping only after one full lease of unbroken connection: idle times go on counting while Redis or the network is
 *     away, and the owners must get their chance to renew.
 *  3. A job that is far past its deadline (one more lease) is not renewed: a handler that never returns must not keep its job
 *     for ever. The job starts again elsewhere, and liveness fails here.
 */
#include "worker/keeper.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/queue.h"

#define KEEPER_TICK_MS 100
#define KEEPER_SECOND_MS 1000
#define KEEPER_VIEW_MS 2000	 /* how dependencies stand, for people */
#define KEEPER_ANNOUNCE_LEASES 3 /* a consumer that is silent for this many leases counts as dead */

struct keeper_state {
	struct worker_app *app;
	struct redis *redis; /* owned */
	struct running_copy *rows;
	struct queue_lease *leases;
	bool *flags;
	size_t row_count;
	int64_t next_second_ms, next_view_ms;
	bool up;     /* Redis answered when it was last asked */
	bool failed; /* of the present round */
	bool spoke;
};

static void
renew_one(struct keeper_state *state, const struct running_copy *row, int64_t now_ms)
{
	struct worker_app *app = state->app;
	struct err err = ERR_INIT;
	bool cancel = false;

	if (queue_renew(state->redis, &row->lease, &cancel, &err)) {
		state->spoke = true;
		running_renewed(&app->running, row->slot, row->lease.epoch, now_ms);
		if (cancel)
			running_stop(&app->running, row->slot, &row->lease, STOP_CANCEL);
		return;
	}
	if (err.code == ERR_STALE) {
		running_stop(&app->running, row->slot, &row->lease, STOP_LOST);
		log_warn("lease of job %s lost to another start", row->lease.job_id);
	} else {
		state->failed = true;
	}
}

static void
renew_due(struct keeper_state *state)
{
	struct worker_app *app = state->app;
	int64_t now_ms = clock_mono_ms(), lease_ms = app->config->lease_ms;
	int stuck = 0;

	for (size_t i = 0; i < state->row_count && !state->failed; i++) {
		const struct running_copy *row = &state->rows[i];

		if (now_ms > row->deadline_mono_ms + lease_ms) {
			stuck++;
			running_stop(&app->running, row->slot, &row->lease, STOP_LOST);
			continue;
		}
		if (now_ms - row->renewed_mono_ms >= lease_ms / 3)
			renew_one(state, row, now_ms);
	}
	if (stuck && stuck != atomic_load(&app->stuck))
		log_error("%d jobs do not stop long after their deadline; not renewed any more",
			  stuck);
	atomic_store(&app->stuck, stuck);
}

/* The cancel flags of one queue's running jobs. */
static bool
look_at_cancels(struct keeper_state *state, const struct worker_queue *queue, struct err *err)
{
	size_t count = 0, at = 0;

	for (size_t i = 0; i < state->row_count; i++) {
		if (state->rows[i].lease.queue.name == queue->ref.name)
			state->leases[count++] = state->rows[i].lease;
	}
	if (count == 0)
		return true;
	if (!queue_cancel_flags(state->redis, state->leases, count, state->flags, err))
		return false;
	for (size_t i = 0; i < state->row_count; i++) {
		const struct running_copy *row = &state->rows[i];

		if (row->lease.queue.name != queue->ref.name)
			continue;
		if (state->flags[at++])
			running_stop(&state->app->running, row->slot, &row->lease, STOP_CANCEL);
	}
	return true;
}

static bool
announce(struct keeper_state *state, const struct worker_queue *queue, struct err *err)
{
	struct worker_app *app = state->app;
	char consumer[JOB_WORKER_BYTES];

	for (size_t i = 0; i < app->slot_count; i++) {
		if (app->slot_queue[i] != queue)
			continue;
		(void)snprintf(consumer, sizeof(consumer), "%s/%zu", app->instance, i);
		if (!queue_announce(state->redis, queue->ref, consumer,
				    KEEPER_ANNOUNCE_LEASES * app->config->lease_ms, err))
			return false;
	}
	return true;
}

static bool
keep(struct keeper_state *state, const struct worker_queue *queue, struct err *err)
{
	const struct config *config = state->app->config;
	int64_t since_ms = redis_connected_since_ms(state->redis);
	const struct queue_keep_opts opts = {
		.lease_ms = config->lease_ms,
		.backoff_base_ms = config->backoff_base_ms,
		.backoff_max_ms = config->backoff_max_ms,
		.dead_max_age_ms = config->dead_max_age_s * 1000,
		.done_max_age_ms = config->done_max_age_s * 1000,
		.done_max_bytes = config->done_max_bytes,
		.may_reap = since_ms > 0 && clock_mono_ms() - since_ms >= config->lease_ms,
	};
	struct queue_kept kept;

	if (!queue_keep(state->redis, queue->ref, state->app->instance, &opts, &kept, err))
		return false;
	if (kept.reaped > 0)
		log_warn("queue '%s': %lld jobs of silent workers start again", queue->ref.name,
			 (long long)kept.reaped);
	return true;
}

static void
every_second(struct keeper_state *state)
{
	struct worker_app *app = state->app;
	struct err err = ERR_INIT;
	bool paused;

	for (size_t i = 0; i < app->queue_count && !state->failed; i++) {
		struct worker_queue *queue = &app->queues[i];

		if (!look_at_cancels(state, queue, &err) ||
		    !queue_is_paused(state->redis, queue->ref, &paused, &err) ||
		    !announce(state, queue, &err) || !keep(state, queue, &err)) {
			if (err_info(err.code)->outage)
				state->failed = true;
			else
				log_err(LOG_ERROR, &err, "keeping queue '%s'", queue->ref.name);
			continue;
		}
		state->spoke = true;
		atomic_store(&queue->paused, paused);
	}
}

static void
look_at_dependencies(struct keeper_state *state, int64_t now_ms)
{
	struct err err = ERR_INIT;

	if (now_ms < state->next_view_ms)
		return;
	state->next_view_ms = now_ms + KEEPER_VIEW_MS;
	if (!governor_view_refresh(state->app->dependencies, state->redis, &err))
		log_debug("dependencies not looked at: %s", err.msg);
}

static void
one_round(struct keeper_state *state)
{
	struct worker_app *app = state->app;
	int64_t now_ms = clock_mono_ms();
	bool was_up = state->up;

	state->failed = state->spoke = false;
	state->row_count = running_copy(&app->running, state->rows, app->slot_count);
	renew_due(state);
	if (!state->failed && now_ms >= state->next_second_ms) {
		every_second(state);
		state->next_second_ms = now_ms + KEEPER_SECOND_MS;
	}
	if (!state->failed)
		look_at_dependencies(state, now_ms);
	/* A round that asked nothing says nothing. */
	if (state->failed || state->spoke)
		state->up = !state->failed;
	if (state->up != was_up)
		log_line(state->up ? LOG_INFO : LOG_WARN, "keeper: Redis is %s",
			 state->up ? "back" : "away");
	atomic_store(&app->redis_up, state->up);
	atomic_store(&app->kept_mono_ms, clock_mono_ms());
	metric_set(app->m.dependency_up, METRIC_VALUES("redis"), state->up);
	metric_set(app->m.slots, METRIC_VALUES("busy"), (double)state->row_count);
	metric_set(app->m.slots, METRIC_VALUES("idle"),
		   (double)(app->slot_count - state->row_count));
}

static void
leave(struct keeper_state *state)
{
	struct worker_app *app = state->app;
	char consumer[JOB_WORKER_BYTES];
	struct err err = ERR_INIT;

	for (size_t i = 0; i < app->slot_count; i++) {
		(void)snprintf(consumer, sizeof(consumer), "%s/%zu", app->instance, i);
		if (!queue_leave(state->redis, app->slot_queue[i]->ref, consumer, &err))
			return;
	}
}

static void *
keeper_main(void *arg)
{
	struct keeper_state *state = arg;

	while (!atomic_load(&state->app->keeper_stop)) {
		one_round(state);
		clock_sleep_ms(KEEPER_TICK_MS);
	}
	leave(state);
	redis_free(state->redis);
	mem_free(state->rows);
	mem_free(state->leases);
	mem_free(state->flags);
	mem_free(state);
	return NULL;
}

bool
keeper_start(struct keeper *keeper, struct worker_app *app, struct err *err)
{
	struct keeper_state *state = mem_alloc(sizeof(*state));

	keeper->app = state->app = app;
	state->up = true;
	state->rows = mem_array(app->slot_count, sizeof(*state->rows));
	state->leases = mem_array(app->slot_count, sizeof(*state->leases));
	state->flags = mem_array(app->slot_count, sizeof(*state->flags));
	if (redis_new(&app->redis_opts, &state->redis, err)) {
		if (pthread_create(&keeper->thread, NULL, keeper_main, state) == 0)
			return true;
		err_set(err, ERR_INTERNAL, "could not start the keeper's thread");
	}
	redis_free(state->redis);
	mem_free(state->rows);
	mem_free(state->leases);
	mem_free(state->flags);
	mem_free(state);
	return false;
}

void
keeper_join(struct keeper *keeper)
{
	pthread_join(keeper->thread, NULL);
}
