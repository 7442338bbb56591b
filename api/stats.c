#include "api/stats.h"

#include <pthread.h>
#include <stdio.h>

#include "api/hub.h"
#include "api/keep.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/json.h"

#define RATE_SECONDS 10
#define RING 16

struct second {
	int64_t at_s, count;
};

struct stats {
	struct api *api;	 /* borrowed */
	struct metrics *metrics; /* owned */
	struct metric *requests, *seconds, *per_second, *dependency, *waiters, *in_progress;
	struct metric *waiting, *running, *due, *dead, *demand, *oldest;
	pthread_mutex_t lock;
	struct second ring[RING]; /* under lock */
};

/* ---- requests ---- */

static void
count_second(struct stats *stats)
{
	int64_t now_s = clock_mono_ms() / 1000;
	struct second *slot = &stats->ring[now_s % RING];

	pthread_mutex_lock(&stats->lock);
	if (slot->at_s != now_s)
		*slot = (struct second){ .at_s = now_s };
	slot->count++;
	pthread_mutex_unlock(&stats->lock);
}

/* Over the last ten whole seconds. */
static double
requests_per_second(struct stats *stats)
{
	int64_t now_s = clock_mono_ms() / 1000, sum = 0;

	pthread_mutex_lock(&stats->lock);
	for (size_t i = 0; i < RING; i++)
		if (stats->ring[i].at_s < now_s && stats->ring[i].at_s >= now_s - RATE_SECONDS)
			sum += stats->ring[i].count;
	pthread_mutex_unlock(&stats->lock);
	return (double)sum / RATE_SECONDS;
}

void
stats_request(struct stats *stats, struct str method, const char *route, int status, int64_t dur_us)
{
	static const char *const methods[] = { "GET",	"HEAD",	  "POST",   "PUT",
					       "PATCH", "DELETE", "OPTIONS" };
	const char *label = "OTHER";
	char code[8];

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (str_eq_c(method, methods[i]))
			label = methods[i];
	(void)snprintf(code, sizeof(code), "%d", status);
	metric_add(stats->requests, METRIC_VALUES(label, route, code), 1);
	metric_observe(stats->seconds, METRIC_VALUES(label, route), (double)dur_us / 1e6);
	count_second(stats);
}

/* ---- scraping ---- */

static void
refresh(void *user)
{
	struct stats *stats = user;
	struct keep_figures figures;

	metric_set(stats->per_second, NULL, requests_per_second(stats));
	metric_set(stats->in_progress, NULL, atomic_load(&stats->api->in_progress));
	if (!atomic_load(&stats->api->started))
		return;
	metric_set(stats->waiters, NULL, (double)hub_waiters(stats->api->hub));
	keep_figures(stats->api->keep, &figures);
	metric_set(stats->dependency, METRIC_VALUES("redis"), figures.redis_up ? 1 : 0);
	for (const struct keep_queue *queue = figures.queues; queue->name; queue++) {
		const char *const *labels = METRIC_VALUES(queue->name);

		if (!queue->known)
			continue;
		metric_set(stats->waiting, labels, (double)queue->stats.waiting);
		metric_set(stats->running, labels, (double)queue->stats.running);
		metric_set(stats->due, labels, (double)queue->stats.due);
		metric_set(stats->dead, labels, (double)queue->stats.dead);
		metric_set(stats->demand, labels, (double)queue->stats.demand);
		metric_set(stats->oldest, labels, (double)queue->stats.oldest_waiting_ms / 1000);
	}
}

static struct metric *
gauge(struct stats *stats, const char *name, const char *const *labels, const char *help)
{
	return metrics_register(stats->metrics, &(struct metric_opts){ .kind = METRIC_GAUGE,
								       .name = name,
								       .help = help,
								       .labels = labels });
}

static const char *const by_queue[] = { "queue", NULL };
static const char *const by_dependency[] = { "dependency", NULL };
static const char *const by_version[] = { "version", NULL };

static void
register_queues(struct stats *stats)
{
	stats->waiting =
		gauge(stats, "rag_engine_queue_waiting", by_queue, "Jobs that wait for a worker.");
	stats->running = gauge(stats, "rag_engine_queue_running", by_queue, "Jobs in work.");
	stats->due = gauge(stats, "rag_engine_queue_due", by_queue,
			   "Jobs that wait for their time: scheduled and retrying.");
	stats->dead = gauge(stats, "rag_engine_queue_dead", by_queue, "Jobs that failed for good.");
	stats->demand =
		gauge(stats, "rag_engine_queue_demand", by_queue,
		      "Waiting, running and due within a lease; 0 when paused. Scale on it.");
	stats->oldest = gauge(stats, "rag_engine_queue_oldest_seconds", by_queue,
			      "Age of the oldest waiting job.");
}

struct stats *
stats_new(struct api *api)
{
	static const char *const request_labels[] = { "method", "route", "status", NULL };
	static const char *const seconds_labels[] = { "method", "route", NULL };
	struct stats *stats = mem_alloc(sizeof(*stats));

	stats->api = api;
	stats->metrics = metrics_new();
	pthread_mutex_init(&stats->lock, NULL);
	stats->requests =
		metrics_register(stats->metrics,
				 &(struct metric_opts){ .kind = METRIC_COUNTER,
							.name = "rag_engine_requests_total",
							.help = "Answered HTTP requests.",
							.labels = request_labels });
	stats->seconds =
		metrics_register(stats->metrics,
				 &(struct metric_opts){
					 .kind = METRIC_HISTOGRAM,
					 .name = "rag_engine_request_duration_seconds",
					 .help = "Time from request to answer, waits included.",
					 .labels = seconds_labels,
					 .buckets = metrics_seconds_buckets,
					 .bucket_count = metrics_seconds_bucket_count });
	stats->per_second = gauge(stats, "rag_engine_requests_per_second", NULL,
				  "Requests a second over the last 10 s.");
	stats->in_progress = gauge(stats, "rag_engine_requests_in_progress", NULL,
				   "Requests in progress, long-polls aside.");
	stats->waiters = gauge(stats, "rag_engine_waiters", NULL, "Requests that wait for a job.");
	stats->dependency = gauge(stats, "rag_engine_dependency_up", by_dependency,
				  "1 while it answers, else 0.");
	register_queues(stats);
	metric_set(gauge(stats, "rag_engine_build_info", by_version, "Always 1."),
		   METRIC_VALUES(RAG_VERSION), 1);
	metrics_on_scrape(stats->metrics, refresh, stats);
	return stats;
}

void
stats_free(struct stats *stats)
{
	if (!stats)
		return;
	metrics_free(stats->metrics);
	pthread_mutex_destroy(&stats->lock);
	mem_free(stats);
}

struct metrics *
stats_metrics(struct stats *stats)
{
	return stats->metrics;
}

/* ---- health ---- */

bool
stats_probe(void *user, enum health_probe probe, char *out_reason, size_t reason_bytes)
{
	struct api *api = user;
	struct keep_figures figures;

	if (probe == HEALTH_LIVE)
		return true;
	if (!atomic_load(&api->started)) {
		str_copy(out_reason, reason_bytes, STR("starting"));
		return false;
	}
	if (probe == HEALTH_STARTUP)
		return true;
	if (atomic_load(&api->draining)) {
		str_copy(out_reason, reason_bytes, STR("draining"));
		return false;
	}
	keep_figures(api->keep, &figures);
	if (!figures.redis_up)
		str_copy(out_reason, reason_bytes, str_of(figures.reason));
	return figures.redis_up;
}

void
stats_summary(void *user, struct buf *out)
{
	struct api *api = user;
	struct jw w = jw_start(out);
	struct keep_figures figures = { 0 };
	bool started = atomic_load(&api->started);

	if (started)
		keep_figures(api->keep, &figures);
	jw_obj(&w);
	jw_kcstr(&w, "service", "rag-api");
	jw_kcstr(&w, "version", RAG_VERSION);
	jw_kcstr(&w, "status",
		 !started		       ? "starting"
		 : atomic_load(&api->draining) ? "draining"
		 : figures.redis_up	       ? "ready"
					       : "degraded");
	jw_kint(&w, "uptime_s", (clock_mono_ms() - api->started_mono_ms) / 1000);
	jw_kint(&w, "requests_in_progress", atomic_load(&api->in_progress));
	jw_kint(&w, "waiters", started ? (int64_t)hub_waiters(api->hub) : 0);
	jw_kobj(&w, "redis");
	jw_kbool(&w, "up", figures.redis_up);
	jw_kcstr(&w, "reason", figures.reason[0] ? figures.reason : NULL);
	jw_kint(&w, "used_bytes", figures.used_bytes);
	jw_kint(&w, "maxmemory_bytes", figures.maxmemory_bytes);
	jw_end(&w);
	jw_kobj(&w, "queues");
	for (const struct keep_queue *queue = figures.queues; queue->name; queue++) {
		jw_kobj(&w, queue->name);
		jw_kint(&w, "waiting", queue->stats.waiting);
		jw_kint(&w, "running", queue->stats.running);
		jw_kint(&w, "due", queue->stats.due);
		jw_kint(&w, "dead", queue->stats.dead);
		jw_kbool(&w, "paused", queue->stats.paused);
		jw_end(&w);
	}
	jw_end(&w);
	jw_end(&w);
}
