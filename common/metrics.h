/*
 * metrics: counters, gauges and histograms in the Prometheus text format, and the listener that serves them
 * with the health routes (8089 of every daemon).
 *
 * Names and labels are fixed at registration (bounded: route template, never a path); updates are atomics
 * and never fail. Series are made on first use up to METRICS_MAX_SERIES a metric, then land in one with
 * all labels "other". Thread-safe.
 */
#ifndef RAG_COMMON_METRICS_H
#define RAG_COMMON_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define METRICS_MAX_LABELS 4
#define METRICS_MAX_SERIES 512

struct metrics; /* a registry */
struct metric;	/* borrowed from its registry */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_opts {
	enum metric_kind kind;
	const char *name; /* "rag_engine_requests_total" */
	const char *help;
	const char *const *labels; /* NULL-terminated, at most METRICS_MAX_LABELS; may be NULL */
	const double *buckets;	   /* histogram: upper bounds, ascending, without +Inf */
	size_t bucket_count;
};

/* Seconds: 1 ms .. 60 s, for requests and jobs. */
extern const double metrics_seconds_buckets[];
extern const size_t metrics_seconds_bucket_count;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);
struct metric *metrics_register(struct metrics *metrics, const struct metric_opts *opts);

/* values: as many as the metric has labels; METRIC_VALUES("POST", "/x") makes the array. metric NULL is fine. */
#define METRIC_VALUES(...) ((const char *const[]){ __VA_ARGS__ })
void metric_add(struct metric *metric, const char *const *values,
		double amount); /* counter, gauge */
void metric_set(struct metric *metric, const char *const *values, double value);     /* gauge */
void metric_observe(struct metric *metric, const char *const *values, double value); /* histogram */

/* Called before each scrape to refresh gauges; at most 8. */
void metrics_on_scrape(struct metrics *metrics, void (*fn)(void *user), void *user);

/* The page, text format 0.0.4. */
void metrics_write(struct metrics *metrics, struct buf *out);

/* ---- the listener ---- */

enum health_probe { HEALTH_LIVE, HEALTH_READY, HEALTH_STARTUP };

struct monitor_opts {
	const char *listen;
	bool enable_metrics; /* false: /metrics is 404 */
	struct metrics *metrics;
	/* true = 200; false = 503 with the reason (short text). Called on the listener's thread: must not block long. */
	bool (*probe)(void *user, enum health_probe probe, char *out_reason, size_t reason_bytes);
	/* Writes a JSON object: the summary of /health. May be NULL. */
	void (*summary)(void *user, struct buf *out);
	void *user;
};

struct monitor; /* GET /metrics, /health, /health/live, /health/ready, /health/startup */
bool monitor_start(const struct monitor_opts *opts, struct monitor **out, struct err *err);
int monitor_port(const struct monitor *monitor);
void monitor_stop(struct monitor *monitor);

#endif
