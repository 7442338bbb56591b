/*
 * run: one job from lease to outcome: decode, call the handler, decide, settle.
 */
#ifndef RAG_WORKER_RUN_H
#define RAG_WORKER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/job.h"
#include "common/queue.h"
#include "jobs/handler.h"
#include "worker/app.h"

struct run_slot {
	struct worker_app *app;
	size_t index;
	struct job_env env;
	struct arena *arena; /* reset by the slot between jobs */
	/* Of the last job: it waits for a dependency now, which said when (-1: it did not). */
	bool waits;
	int64_t retry_after_ms;
};

/* How long the job waited for this start: since it was last put into the queue, which the id of its entry tells. What it did
 * before (a delay, earlier runs, their back-off) is no waiting. */
int64_t run_waited_ms(const struct job *job, const char *entry);

/* Runs the job under the lease and settles it. Never fails: what goes wrong is in the job's record, or the lease
 * is left to expire. */
void run_job(struct run_slot *slot, const struct queue_lease *lease, const struct job *job,
	     struct str payload);

#endif
