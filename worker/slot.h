/*
 * slot: a worker thread that takes one job at a time: fetch -> start -> run -> settle. It owns its Redis
 * connection, its providers and its arena, and shares nothing but the running table.
 */
#ifndef RAG_WORKER_SLOT_H
#define RAG_WORKER_SLOT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "worker/app.h"

struct slot {
	/* immutable after start */
	struct worker_app *app;
	size_t index;
	struct worker_queue *queue; /* the one it serves */
	char consumer[JOB_WORKER_BYTES];
	pthread_t thread;
};

/* Opens what the slot owns (providers: ERR_CONFIG) and starts its thread. */
bool slot_start(struct slot *slot, struct worker_app *app, size_t index, struct worker_queue *queue,
		struct err *err);
void slot_join(struct slot *slot);

#endif
