/*
 * app: what one worker process consists of; built in main, passed to its threads.
 */
#ifndef RAG_WORKER_APP_H
#define RAG_WORKER_APP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/governor_view.h"
#include "common/job.h"
#include "common/metrics.h"
#include "common/redis.h"
#include "jobs/provider/provider.h"
#include "jobs/step/embed.h"
#include "jobs/step/prompt_template.h"
#include "jobs/store/store.h"
#include "worker/running.h"

#define WORKER_MAX_QUEUES 4

struct worker_queue {
	struct queue_ref ref;
	atomic_bool paused; /* as the keeper last saw it */
};

struct worker_metrics {
	struct metric *jobs_total;    /* type, outcome */
	struct metric *wait_seconds;  /* type */
	struct metric *run_seconds;   /* type */
	struct metric *step_seconds;  /* step */
	struct metric *cache_total;   /* cache, result */
	struct metric *slots;	      /* state */
	struct metric *dependency_up; /* dependency */
	struct provider_metrics provider;
};

struct worker_app {
	/* immutable after start */
	const struct config *config;
	struct redis_opts redis_opts;
	struct store *store;		/* owned by main */
	struct prompt_template *prompt; /* owned by main */
	struct embed_pool *embed_pool;	/* owned by main */
	struct worker_queue queues[WORKER_MAX_QUEUES];
	size_t queue_count;
	size_t slot_count;
	struct worker_queue **slot_queue; /* owned; the queue each slot serves */
	char instance[40];		  /* "<host>/<nonce>": consumers are "<instance>/<slot>" */
	char warning[ERR_MSG_MAX_BYTES]; /* what it has to do without (a converter); "" = nothing */
	struct metrics *metrics;
	struct worker_metrics m;
	struct governor_view *dependencies; /* owned by main; refreshed by the keeper */
	struct running running;

	/* shared, under lock; the condition wakes slots that wait between jobs */
	pthread_mutex_t lock;
	pthread_cond_t wake;

	atomic_bool started;		      /* all slots are there */
	atomic_bool stopping;		      /* take no more work */
	atomic_bool keeper_stop;	      /* set when all slots have ended */
	atomic_int_least64_t fetched_mono_ms; /* last good fetch round trip of any slot */
	atomic_int_least64_t kept_mono_ms;    /* last complete round of the keeper */
	atomic_bool redis_up;		      /* as the keeper last saw it */
	atomic_int stuck;		      /* slots whose job is far past its deadline */
};

/* Waits up to ms, or until the worker is stopping. Returns false when stopping. */
bool worker_pause(struct worker_app *app, int64_t ms);
/* Tells all threads to stop taking work. */
void worker_stop(struct worker_app *app);

#endif
