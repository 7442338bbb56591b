/*
 * keeper: the worker's thread that keeps leases alive and the queue moving. It has its own Redis connection, starts
 * before the slots and stops after them.
 */
#ifndef RAG_WORKER_KEEPER_H
#define RAG_WORKER_KEEPER_H

#include <pthread.h>
#include <stdbool.h>

#include "common/base/err.h"
#include "worker/app.h"

struct keeper {
	struct worker_app *app;
	pthread_t thread;
};

bool keeper_start(struct keeper *keeper, struct worker_app *app, struct err *err);
/* Set app->keeper_stop first. */
void keeper_join(struct keeper *keeper);

#endif
