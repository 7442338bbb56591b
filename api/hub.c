#include "api/hub.h"

#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/events.h"

#define RECHECK_MS 5000
#define LISTEN_MS 500 /* how long one look at the subscription takes: the delay of a stop */
#define RETRY_MS 200

struct hub {
	/* immutable after start */
	size_t max_waiters;
	struct redis *redis; /* the thread's own */
	pthread_t thread;
	atomic_bool stop;
	/* shared, under lock */
	pthread_mutex_t lock;
	struct hub_waiter *waiters; /* list of borrowed */
	size_t count;
	bool draining;
};

/* ---- waking ---- */

static void
wake_all(struct hub *hub)
{
	pthread_mutex_lock(&hub->lock);
	for (struct hub_waiter *w = hub->waiters; w; w = w->next) {
		w->woken = true;
		pthread_cond_signal(&w->cond);
	}
	pthread_mutex_unlock(&hub->lock);
}

static void
wake_job(struct hub *hub, const struct event *event)
{
	uint64_t hash = str_hash64(event->job_id, 0);

	pthread_mutex_lock(&hub->lock);
	for (struct hub_waiter *w = hub->waiters; w; w = w->next) {
		if (w->hash != hash || !str_eq_c(event->job_id, w->job_id) ||
		    (event->emitted && !w->emitted))
			continue;
		w->woken = true;
		pthread_cond_signal(&w->cond);
	}
	pthread_mutex_unlock(&hub->lock);
}

/* ---- the thread ---- */

/* Listens until the connection fails or the hub stops. */
static bool
listen_once(struct hub *hub, struct err *err)
{
	int64_t recheck_at = clock_mono_ms() + RECHECK_MS;

	if (!redis_subscribe(hub->redis, KEYS_CHANNEL, err))
		return false;
	wake_all(hub); /* what happened before the subscription was not heard */
	while (!atomic_load(&hub->stop)) {
		struct str channel, message;
		struct event event;
		bool got;

		if (!redis_wait_message(hub->redis, LISTEN_MS, &got, &channel, &message, err))
			return false;
		if (got && event_parse(message, &event))
			wake_job(hub, &event);
		if (clock_mono_ms() >= recheck_at) {
			wake_all(hub);
			recheck_at = clock_mono_ms() + RECHECK_MS;
		}
	}
	return true;
}

static void *
hub_run(void *user)
{
	struct hub *hub = user;
	bool heard = true; /* log an outage once */

	while (!atomic_load(&hub->stop)) {
		struct err err = ERR_INIT;
		int64_t began = clock_mono_ms();

		if (listen_once(hub, &err))
			break;
		if (clock_mono_ms() - began > RECHECK_MS)
			heard = true;
		if (heard)
			log_err(LOG_WARN, &err,
				"no job notices for now: waits look every few seconds");
		heard = false;
		redis_disconnect(hub->redis);
		wake_all(hub);
		clock_sleep_ms(RETRY_MS);
	}
	return NULL;
}

/* ---- life ---- */

bool
hub_start(const struct redis_opts *opts, size_t max_waiters, struct hub **out, struct err *err)
{
	struct hub *hub = mem_alloc(sizeof(*hub));

	hub->max_waiters = max_waiters;
	if (!redis_new(opts, &hub->redis, err)) {
		mem_free(hub);
		return false;
	}
	pthread_mutex_init(&hub->lock, NULL);
	int errnum = pthread_create(&hub->thread, NULL, hub_run, hub);
	if (errnum != 0) {
		pthread_mutex_destroy(&hub->lock);
		redis_free(hub->redis);
		mem_free(hub);
		return err_errno(err, errnum, "start the thread of the hub");
	}
	*out = hub;
	return true;
}

void
hub_drain(struct hub *hub)
{
	pthread_mutex_lock(&hub->lock);
	hub->draining = true;
	pthread_mutex_unlock(&hub->lock);
	wake_all(hub);
}

void
hub_stop(struct hub *hub)
{
	if (!hub)
		return;
	atomic_store(&hub->stop, true);
	pthread_join(hub->thread, NULL);
	pthread_mutex_destroy(&hub->lock);
	redis_free(hub->redis);
	mem_free(hub);
}

/* ---- waiters ---- */

bool
hub_enter(struct hub *hub, const char *job_id, bool emitted, struct hub_waiter *waiter)
{
	bool room;

	*waiter = (struct hub_waiter){ .hash = str_hash64(str_of(job_id), 0), .emitted = emitted };
	str_copy(waiter->job_id, sizeof(waiter->job_id), str_of(job_id));
	pthread_mutex_lock(&hub->lock);
	room = !hub->draining && hub->count < hub->max_waiters;
	if (room) {
		clock_cond_init(&waiter->cond);
		waiter->next = hub->waiters;
		waiter->link = &hub->waiters;
		if (waiter->next)
			waiter->next->link = &waiter->next;
		hub->waiters = waiter;
		hub->count++;
	}
	pthread_mutex_unlock(&hub->lock);
	return room;
}

void
hub_leave(struct hub *hub, struct hub_waiter *waiter)
{
	pthread_mutex_lock(&hub->lock);
	*waiter->link = waiter->next;
	if (waiter->next)
		waiter->next->link = waiter->link;
	hub->count--;
	pthread_mutex_unlock(&hub->lock);
	pthread_cond_destroy(&waiter->cond);
}

enum hub_event
hub_wait(struct hub *hub, struct hub_waiter *waiter, int64_t deadline_mono_ms)
{
	int64_t now = clock_mono_ms();
	int64_t until = now + 1000 < deadline_mono_ms ? now + 1000 : deadline_mono_ms;
	enum hub_event event;

	pthread_mutex_lock(&hub->lock);
	while (!waiter->woken && !hub->draining &&
	       clock_cond_wait(&waiter->cond, &hub->lock, until))
		;
	if (waiter->woken)
		event = HUB_WOKEN;
	else if (hub->draining)
		event = HUB_DRAINING;
	else
		event = until >= deadline_mono_ms ? HUB_TIMEOUT : HUB_TICK;
	if (hub->draining)
		event = HUB_DRAINING;
	waiter->woken = false;
	pthread_mutex_unlock(&hub->lock);
	return event;
}

size_t
hub_waiters(struct hub *hub)
{
	size_t count;

	pthread_mutex_lock(&hub->lock);
	count = hub->count;
	pthread_mutex_unlock(&hub->lock);
	return count;
}
