#include "worker/running.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

void
running_init(struct running *running, size_t slots)
{
	pthread_mutex_init(&running->lock, NULL);
	running->rows = mem_array(slots, sizeof(*running->rows));
	running->count = slots;
}

void
running_release(struct running *running)
{
	if (!running->rows)
		return;
	mem_free(running->rows);
	running->rows = NULL;
	running->count = 0;
	pthread_mutex_destroy(&running->lock);
}

void
running_begin(struct running *running, size_t slot, const struct queue_lease *lease,
	      int64_t deadline_mono_ms)
{
	struct running_row *row = &running->rows[slot];

	pthread_mutex_lock(&running->lock);
	row->active = true;
	row->lease = *lease;
	row->reason = STOP_NONE;
	row->deadline_mono_ms = deadline_mono_ms;
	row->started_mono_ms = row->renewed_mono_ms = clock_mono_ms();
	atomic_store(&row->cancel, false);
	pthread_mutex_unlock(&running->lock);
}

enum stop_reason
running_reason(struct running *running, size_t slot)
{
	enum stop_reason reason;

	pthread_mutex_lock(&running->lock);
	reason = running->rows[slot].reason;
	pthread_mutex_unlock(&running->lock);
	return reason;
}

void
running_settling(struct running *running, size_t slot)
{
	pthread_mutex_lock(&running->lock);
	running->rows[slot].deadline_mono_ms = INT64_MAX / 2;
	pthread_mutex_unlock(&running->lock);
}

void
running_end(struct running *running, size_t slot)
{
	pthread_mutex_lock(&running->lock);
	running->rows[slot].active = false;
	pthread_mutex_unlock(&running->lock);
}

const atomic_bool *
running_cancel_flag(struct running *running, size_t slot)
{
	return &running->rows[slot].cancel;
}

size_t
running_copy(struct running *running, struct running_copy *out, size_t max)
{
	size_t count = 0;

	pthread_mutex_lock(&running->lock);
	for (size_t i = 0; i < running->count && count < max; i++) {
		const struct running_row *row = &running->rows[i];

		if (!row->active)
			continue;
		out[count++] = (struct running_copy){ .slot = i,
						      .lease = row->lease,
						      .deadline_mono_ms = row->deadline_mono_ms,
						      .renewed_mono_ms = row->renewed_mono_ms };
	}
	pthread_mutex_unlock(&running->lock);
	return count;
}

static bool
holds(const struct running_row *row, const struct queue_lease *lease)
{
	return row->active && row->lease.epoch == lease->epoch &&
	       strcmp(row->lease.job_id, lease->job_id) == 0;
}

void
running_renewed(struct running *running, size_t slot, int64_t epoch, int64_t at_mono_ms)
{
	struct running_row *row = &running->rows[slot];

	pthread_mutex_lock(&running->lock);
	if (row->active && row->lease.epoch == epoch)
		row->renewed_mono_ms = at_mono_ms;
	pthread_mutex_unlock(&running->lock);
}

static void
stop_row(struct running_row *row, enum stop_reason reason)
{
	/* A lost lease outranks a request: nothing may be written any more. */
	if (row->reason == STOP_NONE || reason == STOP_LOST)
		row->reason = reason;
	atomic_store(&row->cancel, true);
}

void
running_stop(struct running *running, size_t slot, const struct queue_lease *lease,
	     enum stop_reason reason)
{
	pthread_mutex_lock(&running->lock);
	if (holds(&running->rows[slot], lease))
		stop_row(&running->rows[slot], reason);
	pthread_mutex_unlock(&running->lock);
}

void
running_stop_all(struct running *running, enum stop_reason reason)
{
	pthread_mutex_lock(&running->lock);
	for (size_t i = 0; i < running->count; i++) {
		if (running->rows[i].active)
			stop_row(&running->rows[i], reason);
	}
	pthread_mutex_unlock(&running->lock);
}

size_t
running_active(struct running *running)
{
	size_t count = 0;

	pthread_mutex_lock(&running->lock);
	for (size_t i = 0; i < running->count; i++)
		count += running->rows[i].active;
	pthread_mutex_unlock(&running->lock);
	return count;
}
