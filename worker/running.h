/*
 * running: the small locked table in which slots and the keeper meet: which lease each slot holds, since when, and
 * whether its job should stop. Nothing else is shared between them. All functions are thread-safe.
 */
#ifndef RAG_WORKER_RUNNING_H
#define RAG_WORKER_RUNNING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/queue.h"
#include "worker/retry.h"

struct running_row {
	/* shared, under lock */
	bool active;
	struct queue_lease lease;
	int64_t started_mono_ms, deadline_mono_ms, renewed_mono_ms;
	enum stop_reason reason; /* the first one stays */
	/* read by steps and curl without the lock */
	atomic_bool cancel;
};

struct running {
	pthread_mutex_t lock;
	struct running_row *rows; /* owned; one a slot */
	size_t count;
};

void running_init(struct running *running, size_t slots);
void running_release(struct running *running);

/* The slot's side. */
void running_begin(struct running *running, size_t slot, const struct queue_lease *lease,
		   int64_t deadline_mono_ms);
/* Why the job was asked to stop, if it was. */
enum stop_reason running_reason(struct running *running, size_t slot);
/* The work is over: no deadline any more, the lease is still renewed. */
void running_settling(struct running *running, size_t slot);
void running_end(struct running *running, size_t slot);
const atomic_bool *running_cancel_flag(struct running *running, size_t slot);

/* The keeper's side: a copy of all active rows; returns how many. slots[i] is the row's slot. */
struct running_copy {
	size_t slot;
	struct queue_lease lease;
	int64_t deadline_mono_ms, renewed_mono_ms;
};
size_t running_copy(struct running *running, struct running_copy *out, size_t max);
void running_renewed(struct running *running, size_t slot, int64_t epoch, int64_t at_mono_ms);
/* Raises the cancel flag of the job that still holds this slot under this epoch and id. */
void running_stop(struct running *running, size_t slot, const struct queue_lease *lease,
		  enum stop_reason reason);
void running_stop_all(struct running *running, enum stop_reason reason);
size_t running_active(struct running *running);

#endif
