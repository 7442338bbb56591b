/*
 * health: when a worker process counts as alive. Pure but for the clock and the shared fields of struct worker_app.
 */
#ifndef RAG_WORKER_HEALTH_H
#define RAG_WORKER_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/app.h"

#define HEALTH_LIVE_MS 30000 /* silence of slots or keeper after which liveness fails */

/*
 * False, with a reason, when a restart would help: the keeper is silent, a job does not stop long after its deadline, or
 * no slot has asked for work. The last one is nobody's fault while the worker drains, Redis is away, all slots are
 * busy, or a queue is paused.
 */
bool health_live(struct worker_app *app, char *out_reason, size_t reason_bytes);

#endif
