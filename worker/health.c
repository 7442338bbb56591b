#include "worker/health.h"

#include <stdio.h>

#include "common/base/clock.h"

bool
health_live(struct worker_app *app, char *out_reason, size_t reason_bytes)
{
	int64_t now_ms = clock_mono_ms();
	int stuck = atomic_load(&app->stuck);

	if (now_ms - atomic_load(&app->kept_mono_ms) > HEALTH_LIVE_MS) {
		(void)snprintf(out_reason, reason_bytes, "the keeper has been silent for %lld ms",
			       (long long)(now_ms - atomic_load(&app->kept_mono_ms)));
		return false;
	}
	if (stuck > 0) {
		(void)snprintf(out_reason, reason_bytes,
			       "%d jobs do not stop long after their deadline", stuck);
		return false;
	}
	if (atomic_load(&app->stopping) || !atomic_load(&app->redis_up) ||
	    running_active(&app->running) == app->slot_count)
		return true;
	for (size_t i = 0; i < app->queue_count; i++) {
		if (atomic_load(&app->queues[i].paused))
			return true;
	}
	if (now_ms - atomic_load(&app->fetched_mono_ms) > HEALTH_LIVE_MS) {
		(void)snprintf(out_reason, reason_bytes, "no slot has asked for work for %lld ms",
			       (long long)(now_ms - atomic_load(&app->fetched_mono_ms)));
		return false;
	}
	return true;
}
