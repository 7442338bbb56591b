#include "cron/task.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/job.h"
#include "common/queue.h"

#define PING_MS 1000
#define ROUNDS_MAX                                                                                 \
	100000 /* of at most 100 items each: a queue that grows faster than this is not kept by us */

static void
keep_opts(const struct config *config, struct queue_keep_opts *out)
{
	*out = (struct queue_keep_opts){
		.lease_ms = config->lease_ms,
		.backoff_base_ms = config->backoff_base_ms,
		.backoff_max_ms = config->backoff_max_ms,
		.dead_max_age_ms = config->dead_max_age_s * 1000,
		.done_max_age_ms = config->done_max_age_s * 1000,
		.done_max_bytes = config->done_max_bytes,
	};
}

/* Again and again while there is something to do. */
static bool
keep_queue(struct cron *cron, struct queue_ref queue, const char *owner,
	   const struct queue_keep_opts *opts, struct err *err)
{
	for (int round = 0; round < ROUNDS_MAX; round++) {
		struct queue_kept kept;

		if (!queue_keep(cron->redis, queue, owner, opts, &kept, err))
			return err_wrap(err, "keep queue %s", queue.name);
		report_add(cron->report, queue.name, "promoted", kept.promoted);
		report_add(cron->report, queue.name, "reaped", kept.reaped);
		report_add(cron->report, queue.name, "swept", kept.swept);
		report_add(cron->report, queue.name, "consumers removed", kept.consumers_removed);
		report_add(cron->report, queue.name, "imports sealed", kept.sealed);
		if (kept.promoted + kept.reaped + kept.swept == 0)
			break;
	}
	return true;
}

static bool
keep_all(struct cron *cron, const char *owner, const struct queue_keep_opts *opts, struct err *err)
{
	for (size_t i = 0; job_queue_names[i]; i++) {
		for (unsigned partition = 0; partition < JOB_PARTITIONS; partition++) {
			struct queue_ref queue = { job_queue_names[i], partition };

			if (!keep_queue(cron, queue, owner, opts, err))
				return false;
		}
	}
	return true;
}

static bool
any_running(struct cron *cron, bool *out, struct err *err)
{
	*out = false;
	for (size_t i = 0; job_queue_names[i]; i++) {
		for (unsigned partition = 0; partition < JOB_PARTITIONS; partition++) {
			struct queue_ref queue = { job_queue_names[i], partition };
			struct queue_stats stats;

			if (!queue_stats(cron->redis, queue, cron->config->lease_ms, &stats, err))
				return err_wrap(err, "look at queue %s", queue.name);
			*out = *out || stats.running > 0;
		}
	}
	return true;
}

/* Stays connected for a lease: only then an idle entry tells of a lost worker and not of a lost Redis. */
static bool
wait_a_lease(struct cron *cron, struct err *err)
{
	int64_t lease_ms = cron->config->lease_ms;

	for (;;) {
		int64_t since_ms, left_ms;

		if (!REDIS_CALL(cron->redis, NULL, err, "PING"))
			return err_wrap(err, "wait for a lease to pass");
		since_ms = redis_connected_since_ms(cron->redis);
		left_ms = since_ms + lease_ms - clock_mono_ms();
		if (left_ms < 0)
			return true;
		clock_sleep_ms(left_ms < PING_MS ? left_ms + 1 : PING_MS);
	}
}

bool
cron_keep(struct cron *cron, struct err *err)
{
	struct queue_keep_opts opts;
	char owner[8 + ID_ULID_BYTES], id[ID_ULID_BYTES];
	bool running;

	id_ulid(id);
	(void)snprintf(owner, sizeof(owner), "cron/%s", id);
	keep_opts(cron->config, &opts);
	if (!keep_all(cron, owner, &opts, err) || !any_running(cron, &running, err))
		return false;
	if (!running)
		return true;
	opts.may_reap = true;
	return wait_a_lease(cron, err) && keep_all(cron, owner, &opts, err);
}
